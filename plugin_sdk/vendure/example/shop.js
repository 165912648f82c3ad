'use strict';
// A Vendure shop that takes gift cards. It reads its settings from the environment; its database is the one that
// PostgreSQL's own variables name: PGHOST, PGUSER, PGPASSWORD, PGDATABASE.

process.env.VENDURE_DISABLE_TELEMETRY ??= 'true';

const { bootstrap, DefaultLogger, LogLevel } = require('@vendure/core');
const { ScripPlugin } = require('scrip-vendure');
const { bankHandler } = require('./bank');
const { fill } = require('./goods');

const env = process.env;
const verbose = env.SHOP_LOG === 'everything';

/** What the shop must be told, without which it does not start. */
function needed(name) {
    if (!env[name]) {
        throw new Error(`The environment variable ${name} is missing.`);
    }
    return env[name];
}

const config = {
    apiOptions: { hostname: '127.0.0.1', port: Number(env.PORT ?? 3000), cors: false },
    authOptions: {
        tokenMethod: 'bearer',
        superadminCredentials: { identifier: 'staff', password: needed('SHOP_STAFF_PASSWORD') },
    },
    dbConnectionOptions: {
        type: 'postgres',
        host: env.PGHOST,
        port: Number(env.PGPORT ?? 5432),
        username: env.PGUSER,
        password: env.PGPASSWORD,
        database: env.PGDATABASE,
        synchronize: env.SHOP_MAKES_TABLES !== 'no', // a shop with customers has migrations
        logging: verbose,
    },
    logger: new DefaultLogger({ level: verbose ? LogLevel.Debug : LogLevel.Info, timestamp: true }),
    paymentOptions: { paymentMethodHandlers: [bankHandler] },
    plugins: [
        ScripPlugin.init({
            url: needed('SCRIP_URL'),
            clientId: needed('SCRIP_CLIENT_ID'),
            clientSecret: needed('SCRIP_CLIENT_SECRET'),
            shopperSecret: needed('SHOP_SECRET'),
            ...(env.SHOP_PATIENCE_MS && {
                budget: { connectMs: 1_000, readMs: Number(env.SHOP_PATIENCE_MS), totalMs: Number(env.SHOP_PATIENCE_MS) },
            }),
            ...(env.SHOP_DELIVERS_EVERY_MS && { deliverEveryMs: Number(env.SHOP_DELIVERS_EVERY_MS) }),
        }),
    ],
};

bootstrap(config, { onBeforeAppListen: fill }).catch(error => {
    console.error(error);
    process.exit(1);
});
