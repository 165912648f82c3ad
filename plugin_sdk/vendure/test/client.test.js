'use strict';
// The client against the fake service of scrip_sdk, and against those who stand in a service's place.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { createServer } = require('node:http');
const { join } = require('node:path');
const { after, before, test } = require('node:test');
const { inspect } = require('node:util');

const { Client } = require('../dist/client');
const { Code } = require('../dist/code');
const errors = require('../dist/errors');
const { exchangeKey, requestKey } = require('../dist/keys');
const { ScripPlugin } = require('../dist/plugin');
const { shopperOf } = require('../dist/shopper');

const SECRET = 'a secret of the shop';
const SHOPPER = shopperOf(SECRET, 'session 1', '198.51.100.7');
const gbp = amountMinor => ({ amountMinor, currency: 'GBP' });
const key = () => exchangeKey(String(Math.random()), 'order-1', SHOPPER);
const refusedWith = (kind, slug) => error => error instanceof errors[kind] && error.slug === slug;

let fake;
let python;
let client;

before(async () => {
    const env = { ...process.env, PYTHONPATH: join(__dirname, '../..') };
    python = spawn('python3', ['-m', 'scrip_sdk.testing'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    fake = await new Promise((resolve, reject) => {
        python.stdout.once('data', line => resolve(JSON.parse(line)));
        python.once('exit', () => reject(new Error('the fake service did not start')));
    });
    client = clientOf(fake.url);
});

after(() => python.kill());

function clientOf(url, budget = {}) {
    const { client_id: clientId, client_secret: clientSecret } = fake;
    return new Client({ url, clientId, clientSecret, budget });
}

/** A server that answers each request in turn by the next of `answers`; the last one stays. Returns what it was asked. */
async function serving(t, ...answers) {
    const asked = [];
    const server = createServer((request, response) => {
        let body = '';
        request.on('data', chunk => (body += chunk));
        request.on('end', () => {
            if (request.url === '/oauth/token') {
                const token = { access_token: `token-${asked.tokens++}-of-the-store`, token_type: 'Bearer', expires_in: 300 };
                response.setHeader('Content-Type', 'application/json');
                response.end(JSON.stringify(token));
                return;
            }
            asked.push({ ...request.headers, url: request.url, body });
            answers[Math.min(asked.length, answers.length) - 1](response);
        });
    });
    asked.tokens = 0;
    await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
        server.closeAllConnections();
        server.close();
    });
    asked.client = clientOf(`http://127.0.0.1:${server.address().port}`, { readMs: 300, totalMs: 1_500 });
    return asked;
}

const says = (status, body, headers = {}) => response => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
};
const problem = (status, slug, more = {}) =>
    says(status, { slug }, { 'Content-Type': 'application/problem+json', ...more });
const ID = `pay_${'0'.repeat(26)}`;
const PAYMENT = {
    id: ID,
    state: 'held',
    confirmed: false,
    order_reference: 'order-1',
    held: { amount_minor: 100, currency: 'GBP' },
    settled: { amount_minor: 0, currency: 'GBP' },
    refunded: { amount_minor: 0, currency: 'GBP' },
    expires_at: '2030-01-01T00:00:00Z',
};

test('a card is held, confirmed, settled and refunded', async () => {
    const { id, held, confirmed } = await client.exchange(new Code(fake.codes.VALID), 'order-1', gbp(3_000), SHOPPER, key());
    assert.deepEqual([held, confirmed], [gbp(3_000), false]);
    assert.deepEqual((await client.confirm(id, 'order-1', gbp(2_500))).held, gbp(2_500));
    const settleKey = requestKey('settle', id, 'order-1');
    const settlement = await client.settle(id, 'order-1', gbp(2_000), true, settleKey);
    assert.equal(await client.settle(id, 'order-1', gbp(2_000), true, settleKey), settlement);
    await client.refund(id, gbp(500), requestKey('refund', id, 'order-1', 'one'));
    const { state, settled, refunded } = await client.get(id);
    assert.deepEqual([state, settled, refunded], ['settled', gbp(2_000), gbp(500)]);
    await assert.rejects(client.refund(id, gbp(1_501), 'another'), refusedWith('AmountTooHigh', 'amount-over-settled'));
    await assert.rejects(client.void(id, 'yet-another'), refusedWith('PaymentClosed', 'payment-closed'));
});

test('a hold that is given back holds nothing', async () => {
    const { id, held } = await client.exchange(new Code(fake.codes.VALID_SMALL), 'order-2', gbp(3_000), SHOPPER, key());
    assert.deepEqual(held, gbp(500));
    await client.void(id, requestKey('void', id, 'order-2'));
    assert.equal((await client.get(id)).state, 'voided');
});

test('each refusal has its class, and tells no code', async () => {
    const expected = { EMPTY: 'CodeRefused', REFUSED: 'CodeRefused', VALID_EUR: 'CodeRefused', TRY_LATER: 'TryLater' };
    for (const [name, kind] of Object.entries(expected)) {
        const asked = client.exchange(new Code(fake.codes[name]), 'order-3', gbp(3_000), SHOPPER, key());
        await assert.rejects(asked, error => {
            assert.ok(error instanceof errors[kind], name);
            assert.ok(!inspect(error, { depth: 9 }).includes(fake.codes[name].replaceAll('-', '')));
            return name !== 'TRY_LATER' || error.retryAfterS === 30;
        });
    }
});

test('an answer that was lost is asked for again under the same key', async () => {
    const lost = clientOf(fake.url).exchange(new Code(fake.codes.LOST_ONCE), 'order-4', gbp(3_000), SHOPPER, key());
    assert.deepEqual((await lost).held, gbp(3_000));
    const busy = await client.exchange(new Code(fake.codes.BUSY_ONCE), 'order-4', gbp(3_000), SHOPPER, key());
    assert.deepEqual(busy.held, gbp(3_000));
});

test('a service that is away is said to be so within the budget', async () => {
    const hasty = clientOf(fake.url, { totalMs: 700 });
    const began = performance.now();
    const asked = hasty.exchange(new Code(fake.codes.DOWN), 'order-5', gbp(3_000), SHOPPER, key());
    await assert.rejects(asked, errors.ServiceUnavailable);
    assert.ok(performance.now() - began < 1_000);
});

test('credentials that are wrong are said to be so', async () => {
    const stranger = new Client({ url: fake.url, clientId: fake.client_id, clientSecret: 'no-secret-of-anybody' });
    await assert.rejects(stranger.get(ID), errors.NotAllowed);
});

test('a token that is refused is renewed once', async t => {
    const asked = await serving(t, problem(401, 'invalid-access-token'), says(200, PAYMENT));
    assert.equal((await asked.client.get(ID)).id, ID);
    assert.deepEqual([asked.length, asked.tokens], [2, 2]);
    const never = await serving(t, problem(401, 'invalid-access-token'));
    await assert.rejects(never.client.get(ID), errors.NotAllowed);
    assert.deepEqual([never.length, never.tokens], [2, 2]);
});

test('many calls at once share one token', async t => {
    const asked = await serving(t, says(200, PAYMENT));
    await Promise.all(Array.from({ length: 20 }, () => asked.client.get(ID)));
    assert.deepEqual([asked.length, asked.tokens], [20, 1]);
});

test('what is asked again has the same key and body', async t => {
    const asked = await serving(t, problem(503, 'busy'), response => response.destroy(), says(200, PAYMENT));
    await asked.client.confirm(ID, 'order-1', gbp(100));
    assert.equal(asked.length, 3);
    assert.equal(new Set(asked.map(each => each['idempotency-key'] + each.body)).size, 1);
});

test('a Retry-After beyond the budget ends the call at once', async t => {
    const asked = await serving(t, problem(503, 'busy', { 'Retry-After': '60' }));
    await assert.rejects(asked.client.get(ID), error => error.slug === 'busy' && error.retryAfterS === 60);
    assert.equal(asked.length, 1);
});

test("a shopper's 429 is told and not waited for", async t => {
    const asked = await serving(t, problem(429, 'try-later', { 'Retry-After': '1' }));
    const tried = asked.client.exchange(new Code(fake.codes.VALID), 'order-1', gbp(100), SHOPPER, key());
    await assert.rejects(tried, error => error instanceof errors.TryLater && error.retryAfterS === 1);
    assert.equal(asked.length, 1);
});

test('what others say in the place of the service is not believed', async t => {
    const elsewhere = await serving(t, says(200, PAYMENT));
    const { port } = new URL(elsewhere.client.toJSON().slice('Client('.length, -1));
    const answers = {
        redirect: says(307, '', { Location: `http://127.0.0.1:${port}/v1/payments/${ID}` }),
        page: says(404, '<h1>not here</h1>', { 'Content-Type': 'text/html' }),
        'JSON of a gateway': says(404, { slug: 'not-found' }),
        'another payment': says(200, { ...PAYMENT, id: `pay_${'1'.repeat(26)}` }),
        'another shape': says(200, { ...PAYMENT, held: { amount_minor: '100', currency: 'GBP' } }),
        'too long': says(200, { ...PAYMENT, more: 'x'.repeat(300_000) }),
    };
    for (const [name, answer] of Object.entries(answers)) {
        const asked = await serving(t, answer);
        await assert.rejects(asked.client.get(ID), errors.ServiceUnavailable, name);
        assert.equal(asked.length, 1, name);
    }
    assert.equal(elsewhere.length, 0);
});

test('an answer that trickles is given up in time', async t => {
    const asked = await serving(t, response => {
        response.writeHead(200, { 'Content-Type': 'application/json' });
        const drop = setInterval(() => response.write(' '), 50);
        response.on('close', () => clearInterval(drop));
    });
    const hasty = clientOf(asked.client.toJSON().slice('Client('.length, -1), { connectMs: 100, readMs: 200, totalMs: 600 });
    const began = performance.now();
    await assert.rejects(hasty.get(ID), refusedWith('ServiceUnavailable', 'no-answer'));
    assert.ok(performance.now() - began < 900);
});

test('what is no ID of a payment leads nowhere', async () => {
    for (const id of ['', 'pay_1', '../oauth/token', `${ID}/void`]) {
        assert.throws(() => client.get(id), refusedWith('RequestRejected', 'not-found'));
    }
});

test('the client shows no secret', () => {
    for (const shown of [inspect(client, { depth: 9, showHidden: true }), JSON.stringify({ client }), String(client)]) {
        assert.ok(!shown.includes(fake.client_secret));
    }
});

test('bad options are refused with a sentence that says which', () => {
    const good = { url: 'https://cards.example', clientId: 'cli', clientSecret: 'sec', shopperSecret: SECRET };
    assert.equal(ScripPlugin.init({ ...good, deliverEveryMs: 1_000, budget: { totalMs: 2_000 } }), ScripPlugin);
    for (const [bad, said] of [
        [{ url: 'http://cards.example' }, /`url` must begin with https/],
        [{ url: 'https://cards.example/pay' }, /`url` must be an origin/],
        [{ url: 'https://a:b@cards.example' }, /`url` must be an origin/],
        [{ url: undefined }, /`url` must be an origin/],
        [{ clientId: '' }, /`clientId` is missing/],
        [{ clientSecret: undefined }, /`clientSecret` is missing/],
        [{ shopperSecret: 'short' }, /`shopperSecret` must have 16 bytes/],
        [{ budget: { readMs: 0 } }, /`budget.readMs`/],
        [{ deliverEveryMs: 1.5 }, /`deliverEveryMs`/],
        [{ cleintId: 'cli' }, /no option `cleintId`/],
    ]) {
        assert.throws(() => ScripPlugin.init({ ...good, ...bad }), said);
    }
});
