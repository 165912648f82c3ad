import { Inject, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { defaultRefundProcess, EventBus, Logger, PluginCommonModule, Type, VendurePlugin } from '@vendure/core';
import { Subscription } from 'rxjs';

import { adminSchema, ScripAdminResolver, scripPermission, ScripShopResolver, shopSchema } from './api';
import { Client } from './client';
import { Deliverer } from './deliver';
import { GiftCards } from './gift-cards';
import { scripGiftCardHandler, scripOrderProcess, scripRefundProcess } from './handler';
import { ScripInstruction } from './instruction';
import { checkOptions, LOG, SCRIP_OPTIONS, ScripOptions } from './options';
import { InstructionAdded, Outbox } from './outbox';

/** Takes Scrip's gift cards in a Vendure shop on PostgreSQL. `plugins: [ScripPlugin.init({ … })]` */
@VendurePlugin({
    imports: [PluginCommonModule],
    compatibility: '^3.7.0',
    entities: [ScripInstruction],
    providers: [
        Outbox,
        Deliverer,
        GiftCards,
        { provide: SCRIP_OPTIONS, useFactory: () => ScripPlugin.options },
        { provide: Client, useFactory: () => ScripPlugin.client },
    ],
    shopApiExtensions: { schema: shopSchema, resolvers: [ScripShopResolver] },
    adminApiExtensions: { schema: adminSchema, resolvers: [ScripAdminResolver] },
    configuration: config => {
        const { paymentOptions, orderOptions, authOptions } = config;
        paymentOptions.paymentMethodHandlers.push(scripGiftCardHandler);
        paymentOptions.refundProcess = [...(paymentOptions.refundProcess ?? [defaultRefundProcess]), scripRefundProcess];
        orderOptions.process = [...orderOptions.process, scripOrderProcess];
        authOptions.customPermissions.push(scripPermission);
        return config;
    },
})
export class ScripPlugin implements OnApplicationBootstrap, OnApplicationShutdown {
    /** @internal */
    static options: ScripOptions | undefined;
    /** @internal */
    static client: Client | undefined;

    private timer: NodeJS.Timeout | undefined;
    private heard: Subscription | undefined;
    private running: Promise<void> | null = null;
    private isAskedAgain = false;

    constructor(
        private readonly eventBus: EventBus,
        private readonly outbox: Outbox,
        private readonly deliverer: Deliverer,
        @Inject(SCRIP_OPTIONS) private readonly options: ScripOptions | undefined,
    ) {}

    /** Throws an Error whose sentence says which option is wrong. */
    static init(options: ScripOptions): Type<ScripPlugin> {
        checkOptions(options);
        const { url, clientId, clientSecret, budget } = options;
        ScripPlugin.client = new Client({ url, clientId, clientSecret, budget });
        ScripPlugin.options = { ...options };
        return ScripPlugin;
    }

    /** Server and worker both deliver: what one has claimed the other leaves alone. */
    onApplicationBootstrap(): void {
        if (this.options === undefined) {
            throw new Error('ScripPlugin: say ScripPlugin.init({ … }) among the plugins.');
        }
        this.outbox.assertPostgres();
        this.heard = this.eventBus.ofType(InstructionAdded).subscribe(() => this.deliverSoon());
        this.timer = setInterval(() => this.deliverSoon(), this.options.deliverEveryMs ?? 30_000);
        this.timer.unref();
    }

    async onApplicationShutdown(): Promise<void> {
        clearInterval(this.timer);
        this.heard?.unsubscribe();
        this.isAskedAgain = false;
        await this.running;
    }

    /** Nobody waits for it; while one run is on, whatever comes is told by one more after it. */
    private deliverSoon(): void {
        if (this.running !== null) {
            this.isAskedAgain = true;
            return;
        }
        this.isAskedAgain = false;
        this.running = this.deliverer
            .deliver()
            .then(run => {
                this.isAskedAgain &&= !run.away; // else the next tick tries
            })
            .catch((error: unknown) => {
                const name = error instanceof Error ? error.name : 'unknown';
                Logger.error(`${name}: the outbox could not be read; it is tried again`, LOG);
                this.isAskedAgain = false;
            })
            .finally(() => {
                this.running = null;
                if (this.isAskedAgain) {
                    this.deliverSoon();
                }
            });
    }
}
