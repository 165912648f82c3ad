/** Tells the service what stands in the outbox, until it has said yes, or that it never will. */

import { Injectable } from '@nestjs/common';
import {
    Logger,
    Order,
    OrderService,
    Payment,
    PaymentService,
    Refund,
    RequestContext,
    RequestContextService,
    TransactionalConnection,
} from '@vendure/core';

import { Client } from './client';
import { NotAllowed, PaymentClosed, ScripError } from './errors';
import { ScripInstruction } from './instruction';
import { LOG } from './options';
import { isUnlessPlaced, Outbox } from './outbox';

/** What a run has done. `away`: the service is away, and the others wait in line. */
export interface Delivery {
    done: number;
    putOff: number;
    dead: number;
    away: boolean;
}

/** `endsRun`: the next in line would fare alike. */
type Outcome =
    | { kind: 'done'; answerId: string | null }
    | { kind: 'dead'; error: string }
    | { kind: 'putOff'; error: string; waitS: number; endsRun: boolean }
    | { kind: 'gone' };

const DONE: Outcome = { kind: 'done', answerId: null };
/** A settle of a payment whose hold is over succeeds for so long, once its value is free again. */
const LATE_SETTLE_MS = 72 * 3_600_000;
const LATE_WAIT_S = 900;
/** What a day's end mends, and nothing sooner. */
const LIMIT_WAIT_S = 3_600;
const LONGEST_WAIT_S = 300;
const AT_A_TIME = 1_000;
/** A run begins nothing after so long. */
const LONGEST_RUN_MS = 60_000;
/** So many bugs of the service, one after the other, mean that nothing works there. */
const MOST_BUGS_IN_A_ROW = 3;

/** Seconds until the next try after so many: not all come back at once. */
function waitBefore(tries: number): number {
    return Math.min(0.5 * 2 ** Math.min(Math.max(tries, 1) - 1, 30), LONGEST_WAIT_S) * (1 - Math.random() / 2);
}

@Injectable()
export class Deliverer {
    constructor(
        private readonly connection: TransactionalConnection,
        private readonly outbox: Outbox,
        private readonly client: Client,
        private readonly contexts: RequestContextService,
        private readonly paymentService: PaymentService,
        private readonly orderService: OrderService,
    ) {}

    /**
     * Sends what is due, one after the other; `everything`: also what is put off until later. May run in several
     * processes at once, and be killed at any moment: what was not marked as done is sent again with the same key.
     */
    async deliver(everything = false): Promise<Delivery> {
        const run: Delivery = { done: 0, putOff: 0, dead: 0, away: false };
        const had: string[] = [];
        const endsAt = performance.now() + LONGEST_RUN_MS;
        let bugs = 0;
        while (had.length < AT_A_TIME && !run.away && performance.now() < endsAt) {
            const one = await this.outbox.claim(everything, had);
            if (one === null) {
                break;
            }
            had.push(one.id);
            const outcome = await this.tellAndWriteDown(one);
            if (outcome.kind !== 'gone') {
                run[outcome.kind] += 1;
            }
            bugs = outcome.kind === 'putOff' && ['bug', 'internal-error'].includes(outcome.error) ? bugs + 1 : 0;
            run.away = (outcome.kind === 'putOff' && outcome.endsRun) || bugs === MOST_BUGS_IN_A_ROW;
        }
        return run;
    }

    private async tellAndWriteDown(one: ScripInstruction): Promise<Outcome> {
        const outcome = await this.tell(one);
        if (outcome.kind === 'putOff') {
            const waitS = Math.max(waitBefore(one.tries), outcome.waitS * (1 + Math.random() / 10));
            await this.outbox.putOff(one, waitS, outcome.error);
        } else if (outcome.kind === 'done') {
            await this.end(one, ctx => this.outbox.done(ctx, one, outcome.answerId), true, outcome.answerId);
        } else if (outcome.kind === 'dead') {
            await this.end(one, ctx => this.outbox.dead(ctx, one, outcome.error), false, null);
            const what = `${one.verb} ${one.id} of payment ${one.payment_id} for order ${one.order_code}`;
            Logger.error(`${what} is given up: ${outcome.error}; a person must look`, LOG);
        }
        return outcome;
    }

    private async tell(one: ScripInstruction): Promise<Outcome> {
        try {
            if (one.verb === 'void') {
                return isUnlessPlaced(one) ? await this.voidUnlessPlaced(one) : await this.void(one);
            }
            const amount = { amountMinor: one.amount_minor ?? 0, currency: one.currency };
            if (one.verb === 'refund') {
                return { kind: 'done', answerId: await this.client.refund(one.payment_id, amount, one.key) };
            }
            try {
                const { payment_id: paymentId, order_code: orderCode, final, key } = one;
                return { kind: 'done', answerId: await this.client.settle(paymentId, orderCode, amount, final, key) };
            } catch (error) {
                if (error instanceof PaymentClosed) {
                    return await this.decideClosed(one, error);
                }
                throw error;
            }
        } catch (error) {
            return this.decide(one, error);
        }
    }

    /** The payment holds nothing for this settle: what it says of itself decides. */
    private async decideClosed(one: ScripInstruction, closed: PaymentClosed): Promise<Outcome> {
        const isGivenUp = (await this.outbox.of(one.payment_id)).some(
            each => each.verb === 'void' && each.state === 'pending' && !isUnlessPlaced(each),
        );
        if (isGivenUp) {
            return { kind: 'putOff', error: closed.slug, waitS: 0, endsRun: false }; // the void takes it out
        }
        const payment = await this.client.get(one.payment_id);
        const settled = payment.settled.amountMinor - (await this.settledMinor(one.payment_id));
        const isOurs = payment.orderReference === one.order_code;
        if (isOurs && payment.state === 'settled' && settled === one.amount_minor) {
            return DONE;
        }
        if (payment.state === 'expired' && Date.now() < payment.expiresAt.getTime() + LATE_SETTLE_MS) {
            return { kind: 'putOff', error: closed.slug, waitS: LATE_WAIT_S, endsRun: false };
        }
        if (payment.state === 'held' && isOurs) {
            return { kind: 'putOff', error: closed.slug, waitS: 0, endsRun: false };
        }
        return { kind: 'dead', error: closed.slug };
    }

    /** Of a confirm whose answer was lost nobody knows whether it was this order's: another's is left alone. */
    private async voidUnlessPlaced(one: ScripInstruction): Promise<Outcome> {
        const ended = await this.outbox.endWhileOrderRests(one, async () => {
            const payment = await this.client.get(one.payment_id);
            if (payment.state === 'held' && !(payment.confirmed && payment.orderReference !== one.order_code)) {
                await this.release(one);
            }
        });
        if (ended === 'order in work') {
            return { kind: 'putOff', error: 'order-in-work', waitS: 5, endsRun: false };
        }
        return ended === 'gone' ? { kind: 'gone' } : DONE;
    }

    /** The order is given up. Where it was settled after all, for that was under way already, the money goes back. */
    private async void(one: ScripInstruction): Promise<Outcome> {
        const rows = await this.outbox.of(one.payment_id);
        const settle = rows.find(each => each.verb === 'settle' && each.state === 'pending');
        if (settle?.lease_until && settle.lease_until.getTime() > Date.now()) {
            return { kind: 'putOff', error: 'settle-in-work', waitS: 1, endsRun: false };
        }
        const payment = await this.client.get(one.payment_id);
        if (payment.confirmed && payment.orderReference !== one.order_code) {
            return DONE;
        }
        const takenMinor = payment.settled.amountMinor - payment.refunded.amountMinor;
        const ctx = await this.contexts.create({ apiType: 'admin' });
        if (takenMinor > 0) {
            await this.connection.withTransaction(ctx, async tx => {
                if (settle) {
                    await this.outbox.done(tx, settle, null);
                }
                const amount = { amountMinor: takenMinor, currency: one.currency };
                await this.outbox.refund(tx, one.payment_id, one.order_code, amount, 'cancelled');
            });
            return DONE;
        }
        if (payment.state === 'held') {
            // A settle that was sent and is still under way may come first: then the next try finds it.
            if (!(await this.release(one)) && settle) {
                return { kind: 'putOff', error: 'payment-closed', waitS: 1, endsRun: false };
            }
        }
        if (settle) {
            await this.outbox.withdraw(ctx, settle);
        }
        return DONE;
    }

    /** Whether the service released the hold now; false: nothing was held any more. */
    private async release(one: ScripInstruction): Promise<boolean> {
        try {
            await this.client.void(one.payment_id, one.key);
            return true;
        } catch (error) {
            if (error instanceof PaymentClosed) {
                return false;
            }
            throw error;
        }
    }

    /** What a refusal means for an instruction, and whether the next one would hear the same. */
    private decide(one: ScripInstruction, error: unknown): Outcome {
        if (!(error instanceof ScripError)) {
            // A bug of ours, or the shop's database: it must not stop those in line behind it, for good.
            const name = error instanceof Error ? error.name : 'unknown';
            Logger.error(`${name} while telling the service of ${one.verb} ${one.id}`, LOG);
            return { kind: 'putOff', error: 'bug', waitS: 1, endsRun: false };
        }
        if (['refund-limit-reached', 'refund-not-covered'].includes(error.slug)) {
            return { kind: 'putOff', error: error.slug, waitS: LIMIT_WAIT_S, endsRun: false };
        }
        if (!error.worthRepeating) {
            return { kind: 'dead', error: error.slug };
        }
        if (error instanceof NotAllowed) {
            Logger.warn(`this store's credentials are not taken (${error.slug}): it is tried again`, LOG);
            const endsRun = error.slug !== 'insufficient-scope';
            return { kind: 'putOff', error: error.slug, waitS: LONGEST_WAIT_S / 2, endsRun };
        }
        return { kind: 'putOff', error: error.slug, waitS: error.retryAfterS ?? 0, endsRun: error.status !== 500 };
    }

    private async settledMinor(paymentId: string): Promise<number> {
        const rows = await this.outbox.of(paymentId);
        const done = rows.filter(each => each.verb === 'settle' && each.state === 'done');
        return done.reduce((sum, each) => sum + (each.amount_minor ?? 0), 0);
    }

    /**
     * Marks it, and moves what Vendure has of it in the same transaction. Where Vendure will not have that, it is
     * marked all the same: what the service has said is true.
     */
    private async end(
        one: ScripInstruction,
        mark: (ctx?: RequestContext) => Promise<void>,
        isDone: boolean,
        answerId: string | null,
    ): Promise<void> {
        if (one.verb === 'void') {
            return mark(); // Vendure has moved its payment before
        }
        try {
            const ctx = await this.contexts.create({ apiType: 'admin' });
            await this.connection.withTransaction(ctx, async tx => {
                // Two cards of one order take turns, so that the second sees that both are settled.
                await this.connection
                    .getRepository(tx, Order)
                    .createQueryBuilder('o')
                    .select('o.id')
                    .setLock('pessimistic_write')
                    .where('o.code = :code', { code: one.order_code })
                    .getOne();
                await mark(tx);
                if (one.verb === 'settle' && isDone) {
                    await this.settleInVendure(tx, one);
                } else if (one.verb === 'refund') {
                    await this.endRefundInVendure(tx, one, isDone, answerId);
                }
            });
        } catch (error) {
            const name = error instanceof Error ? error.name : 'unknown';
            Logger.error(`${name}: order ${one.order_code} does not show that its ${one.verb} was ended`, LOG);
            await mark(undefined);
        }
    }

    private async settleInVendure(tx: RequestContext, one: ScripInstruction): Promise<void> {
        const where = { transactionId: one.payment_id, state: 'Authorized' as const, order: { code: one.order_code } };
        const payment = await this.connection.getRepository(tx, Payment).findOne({ where });
        if (payment !== null) {
            await this.paymentService.settlePayment(tx, payment.id);
        }
    }

    private async endRefundInVendure(
        tx: RequestContext,
        one: ScripInstruction,
        isDone: boolean,
        answerId: string | null,
    ): Promise<void> {
        const where = { transactionId: one.id, state: 'Pending' as const };
        const refund = await this.connection.getRepository(tx, Refund).findOne({ where });
        if (refund !== null) {
            const to = isDone ? 'Settled' : 'Failed';
            await this.orderService.transitionRefundToState(tx, refund.id, to, answerId ?? one.id);
        }
    }
}
