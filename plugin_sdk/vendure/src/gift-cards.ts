/** Gift cards as ways to pay an order: taken, settled once the order stands, given back, refunded. */

import { Inject, Injectable } from '@nestjs/common';
import {
    CancelPaymentErrorResult,
    CancelPaymentResult,
    ConfigService,
    CreatePaymentErrorResult,
    CreatePaymentResult,
    CreateRefundResult,
    ID,
    idsAreEqual,
    isGraphQlErrorResult,
    Logger,
    Order,
    OrderService,
    Payment,
    PaymentMetadata,
    PaymentService,
    RequestContext,
    SettlePaymentErrorResult,
    SettlePaymentResult,
    totalCoveredByPayments,
    TransactionalConnection,
} from '@vendure/core';
import { randomBytes } from 'node:crypto';

import { Client, Money, ScripPayment } from './client';
import { Code } from './code';
import { CodeMistyped, CodeRefused, PaymentClosed, ScripError, TryLater } from './errors';
import { ScripInstruction } from './instruction';
import { exchangeKey } from './keys';
import { LOG, SCRIP_OPTIONS, ScripOptions } from './options';
import { isUnlessPlaced, Outbox } from './outbox';
import { Shopper, shopperOf } from './shopper';

export const WORDS = {
    mistyped: 'There is a typing mistake in this gift card code. Please check it.',
    refused: 'This gift card code is not accepted. Please check it, or pay in another way.',
    wait: (seconds: number): string => `Please wait ${seconds} seconds before the next try.`,
    away: 'Gift cards cannot be taken at the moment. You can try again later, or pay in another way.',
    onOrder: 'This gift card is on the order already.',
    paid: 'This order is paid already.',
};

const LONGEST_NONCE = 200;
/** A form that comes again finds the payment of the first time, and when that is over a second one, and no third. */
const MOST_EXCHANGES = 2;

/** What is told to the shopper in place of a payment. */
class Said extends Error {}

/** The Scrip payment's ID behind one of Vendure's payments, or null for one that is no gift card's. */
export function paymentIdOf(payment: Payment): string | null {
    const id: unknown = (payment.metadata as PaymentMetadata | null)?.paymentId;
    return typeof id === 'string' && id.startsWith('pay_') && id === payment.transactionId ? id : null;
}

@Injectable()
export class GiftCards {
    constructor(
        private readonly connection: TransactionalConnection,
        private readonly config: ConfigService,
        private readonly orderService: OrderService,
        private readonly paymentService: PaymentService,
        private readonly outbox: Outbox,
        private readonly client: Client,
        @Inject(SCRIP_OPTIONS) private readonly options: ScripOptions,
    ) {}

    /** A code pays what it can of what is left of the order. The code goes no further than this. */
    async take(
        ctx: RequestContext,
        given: Order,
        metadata: PaymentMetadata,
    ): Promise<CreatePaymentResult | CreatePaymentErrorResult> {
        const { code: typed, nonce } = metadata as Record<string, unknown>;
        delete metadata.code; // it is Vendure's object: nobody after us may find the code in it
        try {
            const code = new Code(typed);
            const order = await this.lockedOrder(ctx, given.id);
            const due = this.due(order);
            const payment = await this.hold(ctx, order, due, code, nonce);
            const { amountMinor, currency } = payment.held;
            await this.outbox.unguard(ctx, payment.id, order.code);
            return {
                amount: amountMinor,
                state: 'Authorized',
                transactionId: payment.id,
                metadata: factsOf(payment.id, { amountMinor, currency }),
            };
        } catch (error) {
            return { amount: 0, state: 'Declined', errorMessage: wordsFor(error), metadata: {} };
        }
    }

    /** Whether the money was taken. Where it was not yet, the service is told of it, and Vendure when it said yes. */
    async settle(
        ctx: RequestContext,
        given: Order,
        payment: Payment,
    ): Promise<SettlePaymentResult | SettlePaymentErrorResult> {
        const paymentId = paymentIdOf(payment);
        if (paymentId === null) {
            return { success: false, state: payment.state as 'Error', errorMessage: 'This is no gift card.' };
        }
        const order = await this.lockedOrder(ctx, given.id);
        const { amount, state } = order.payments.find(each => idsAreEqual(each.id, payment.id)) ?? payment;
        const settles = (await this.outbox.of(paymentId, ctx)).filter(each => each.verb === 'settle');
        if (settles.some(each => each.state === 'done')) {
            Object.assign(payment, { errorMessage: null }); // Vendure saves it: what was said meanwhile is over
            return { success: true };
        }
        let errorMessage = 'The order does not stand: nothing can be taken from the gift card.';
        if (!order.active && order.state !== 'Cancelled' && state === 'Authorized') {
            await this.outbox.settle(ctx, paymentId, order.code, moneyOf(order, amount));
            await this.outbox.revive(ctx, settles.find(each => each.state === 'dead'));
            errorMessage = 'The gift card service is being told; the payment is settled when it has said yes.';
        }
        return { success: false, state: state as 'Authorized', errorMessage };
    }

    /** The hold is given back. */
    async cancel(
        ctx: RequestContext,
        given: Order,
        payment: Payment,
    ): Promise<CancelPaymentResult | CancelPaymentErrorResult> {
        const paymentId = paymentIdOf(payment);
        if (paymentId === null) {
            return { success: true }; // it was declined: nothing is held
        }
        const order = await this.lockedOrder(ctx, given.id);
        const { state } = order.payments.find(each => idsAreEqual(each.id, payment.id)) ?? payment;
        const rows = await this.outbox.of(paymentId, ctx);
        if (state === 'Settled' || rows.some(each => each.verb === 'settle' && each.state === 'done')) {
            const errorMessage = 'The money was taken: refund it.';
            return { success: false, state: state as 'Settled', errorMessage };
        }
        await this.outbox.void(ctx, paymentId, order.code, order.currencyCode);
        return { success: true };
    }

    /** Gives money back to the card; Vendure's refund is pending until the service has said yes. */
    async refund(ctx: RequestContext, order: Order, payment: Payment, amount: number): Promise<CreateRefundResult> {
        const paymentId = paymentIdOf(payment);
        if (paymentId === null || amount <= 0) {
            return { state: 'Failed', metadata: {} };
        }
        const part = randomBytes(8).toString('hex');
        const id = await this.outbox.refund(ctx, paymentId, order.code, moneyOf(order, amount), part);
        return { state: 'Pending', transactionId: id, metadata: {} };
    }

    /** Takes the gift cards off an order that is not placed. */
    async removeAll(ctx: RequestContext, orderId: ID): Promise<void> {
        const order = await this.lockedOrder(ctx, orderId);
        if (order.active) {
            await this.cancelAuthorized(ctx, orderId);
        }
    }

    /** The order is cancelled: what was not taken yet is given back. In the transaction of the order's transition. */
    async cancelAuthorized(ctx: RequestContext, orderId: ID): Promise<void> {
        for (const payment of await this.paymentsOf(ctx, orderId)) {
            if (payment.state === 'Authorized' && paymentIdOf(payment) !== null) {
                await this.cancelInVendure(ctx, payment);
            }
        }
    }

    /**
     * The order stands: what it needs of each gift card is settled, and what it does not need is given back. In the
     * transaction of the order's transition.
     */
    async placed(ctx: RequestContext, order: Order): Promise<void> {
        const payments = await this.paymentsOf(ctx, order.id);
        const open: Payment[] = [];
        for (const payment of payments) {
            const paymentId = payment.state === 'Authorized' ? paymentIdOf(payment) : null;
            const rows = paymentId === null ? [] : await this.outbox.of(paymentId, ctx);
            if (paymentId !== null && !rows.some(each => each.verb === 'settle')) {
                open.push(payment);
            }
        }
        const paidOtherwise = { ...order, payments: payments.filter(each => !open.includes(each)) } as Order;
        let needed = order.totalWithTax - totalCoveredByPayments(paidOtherwise);
        for (const payment of open) {
            const amount = Math.min(payment.amount, Math.max(0, needed));
            needed -= amount;
            if (amount === 0) {
                await this.cancelInVendure(ctx, payment);
                continue;
            }
            if (amount < payment.amount) {
                const metadata = factsOf(payment.transactionId, moneyOf(order, amount));
                await this.connection.getRepository(ctx, Payment).update(payment.id, { amount, metadata });
            }
            await this.outbox.settle(ctx, payment.transactionId, order.code, moneyOf(order, amount));
        }
    }

    /** A confirmed payment of this order's. Throws Said, ScripError. */
    private async hold(
        ctx: RequestContext,
        order: Order,
        due: Money,
        code: Code,
        nonce: unknown,
    ): Promise<ScripPayment> {
        const shopper = this.shopper(ctx, order);
        const isNonce = typeof nonce === 'string' && nonce.length > 0 && nonce.length <= LONGEST_NONCE;
        let name = isNonce ? nonce : randomBytes(16).toString('base64url');
        for (let left = MOST_EXCHANGES; ; ) {
            left -= 1;
            const key = exchangeKey(name, order.code, shopper, due);
            const { id, held } = await this.client.exchange(code, order.code, due, shopper, key);
            name = `${id} after ${name}`.slice(0, LONGEST_NONCE);
            const isOn = order.payments.some(each => paymentIdOf(each) === id && each.state !== 'Cancelled');
            if (isOn) {
                throw new Said(WORDS.onOrder);
            }
            const givenBack = (await this.outbox.of(id, ctx)).find(each => each.verb === 'void' && !isUnlessPlaced(each));
            if (givenBack !== undefined) {
                // It was taken off an order. It must be free before the code is taken anew, or the void in the outbox
                // would release it once more. The instruction stays: whoever delivers it finds nothing held.
                if (givenBack.state === 'pending') {
                    await this.release(givenBack);
                }
                if (left > 0) {
                    continue;
                }
                throw new Said(WORDS.away);
            }
            await this.outbox.guard(id, order.code, due.currency);
            try {
                const amountMinor = Math.min(held.amountMinor, due.amountMinor);
                const isOfUse = held.currency === due.currency && amountMinor > 0;
                const payment = isOfUse && (await this.client.confirm(id, order.code, { ...due, amountMinor }));
                if (!payment || payment.state !== 'held' || payment.held.amountMinor !== amountMinor) {
                    await this.outbox.unneeded(id, order.code);
                    throw new Said(WORDS.refused);
                }
                return payment;
            } catch (error) {
                if (!(error instanceof PaymentClosed)) {
                    throw error;
                }
                await this.outbox.unneeded(id, order.code);
                if (left === 0) {
                    throw error;
                }
            }
        }
    }

    /** Tells the service of a void now; the shop's database is left alone, for its order is locked. Throws ScripError. */
    private async release(one: ScripInstruction): Promise<void> {
        try {
            await this.client.void(one.payment_id, one.key);
        } catch (error) {
            if (!(error instanceof PaymentClosed)) {
                throw error;
            }
        }
    }

    /** What is left to pay. Throws Said: nothing, or nothing that a gift card can pay. */
    private due(order: Order): Money {
        if (!['ArrangingPayment', 'ArrangingAdditionalPayment'].includes(order.state)) {
            throw new Said(WORDS.paid);
        }
        const { precision = 2 } = this.config.entityOptions.moneyStrategy;
        const currency: string = order.currencyCode;
        const format = new Intl.NumberFormat('en', { style: 'currency', currency });
        if (format.resolvedOptions().maximumFractionDigits !== precision) {
            Logger.error(`amounts in ${currency} have other digits in Vendure: no gift card is taken`, LOG);
            throw new Said(WORDS.away);
        }
        const amountMinor = order.totalWithTax - totalCoveredByPayments(order);
        if (amountMinor <= 0) {
            throw new Said(WORDS.paid);
        }
        return { amountMinor, currency };
    }

    /** Whoever is at the checkout: his account, or his session. */
    private shopper(ctx: RequestContext, order: Order): Shopper {
        const { session } = ctx;
        const who = session?.user ? `user ${session.user.id}` : session ? `session ${session.id}` : `order ${order.code}`;
        return shopperOf(this.options.shopperSecret, who, ctx.req?.ip);
    }

    /**
     * The order as it is now, with its payments; nobody else pays, places or cancels it until the transaction of `ctx`
     * ends. Vendure takes no such lock, and read the order before.
     */
    private async lockedOrder(ctx: RequestContext, orderId: ID): Promise<Order> {
        await this.connection
            .getRepository(ctx, Order)
            .createQueryBuilder('o')
            .select('o.id')
            .setLock('pessimistic_write')
            .where('o.id = :orderId', { orderId })
            .getOne();
        const order = await this.connection.getEntityOrThrow(ctx, Order, orderId, {
            relations: ['lines', 'shippingLines', 'surcharges'],
        });
        order.payments = await this.paymentsOf(ctx, orderId);
        return order;
    }

    private paymentsOf(ctx: RequestContext, orderId: ID): Promise<Payment[]> {
        return this.connection.getRepository(ctx, Payment).find({
            where: { order: { id: orderId } },
            relations: ['refunds'],
            order: { createdAt: 'ASC', id: 'ASC' },
        });
    }

    private async cancelInVendure(ctx: RequestContext, payment: Payment): Promise<void> {
        const cancelled = await this.paymentService.cancelPayment(ctx, payment.id);
        if (isGraphQlErrorResult(cancelled)) {
            throw new Error('The gift card could not be taken off the order.');
        }
    }

    /** The order with all that the Shop API shows of it. */
    shown(ctx: RequestContext, orderId: ID): Promise<Order | undefined> {
        return this.orderService.findOne(ctx, orderId);
    }
}

/** What the shopper is told. What the store's people must know goes into the log, without a word of the request. */
function wordsFor(error: unknown): string {
    if (error instanceof Said) {
        return error.message;
    }
    if (error instanceof CodeMistyped) {
        return WORDS.mistyped;
    }
    if (error instanceof CodeRefused || error instanceof PaymentClosed) {
        return WORDS.refused;
    }
    if (error instanceof TryLater) {
        return WORDS.wait(error.retryAfterS ?? 1);
    }
    if (!(error instanceof ScripError)) {
        throw error; // the shop's own database: its transaction is of no use any more
    }
    Logger.warn(`a gift card could not be taken: ${error.message}`, LOG);
    return WORDS.away;
}

/** All that Vendure keeps of a card; shoppers see what is `public`. */
function factsOf(paymentId: string, { amountMinor, currency }: Money): PaymentMetadata {
    return { paymentId, takenMinor: amountMinor, public: { takenMinor: amountMinor, currency } };
}

function moneyOf(order: Order, amountMinor: number): Money {
    return { amountMinor, currency: order.currencyCode };
}
