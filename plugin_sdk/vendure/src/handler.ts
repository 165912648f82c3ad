import { defaultRefundProcess, Injector, LanguageCode, OrderProcess, PaymentMethodHandler } from '@vendure/core';

import { GiftCards } from './gift-cards';

let giftCards: GiftCards;
const init = (injector: Injector): void => {
    giftCards = injector.get(GiftCards);
};

/**
 * Takes a gift card as a part of an order, or all of it: `addPaymentToOrder` with `metadata: { code, nonce? }`.
 *
 * The payment is Authorized with what the card can pay; it is settled once the order stands.
 */
export const scripGiftCardHandler = new PaymentMethodHandler({
    code: 'scrip-gift-card',
    description: [{ languageCode: LanguageCode.en, value: 'Scrip gift card' }],
    args: {},
    init,
    createPayment: (ctx, order, _amount, _args, metadata) => giftCards.take(ctx, order, metadata),
    settlePayment: (ctx, order, payment) => giftCards.settle(ctx, order, payment),
    cancelPayment: (ctx, order, payment) => giftCards.cancel(ctx, order, payment),
    createRefund: (ctx, _input, amount, order, payment) => giftCards.refund(ctx, order, payment, amount),
});

/** In these an order does not stand: it is not placed yet, it is changed, or it is given up. */
const DOES_NOT_STAND = ['AddingItems', 'ArrangingPayment', 'ArrangingAdditionalPayment', 'Modifying', 'Cancelled'];

/** What is told to the service stands or falls with the order's own transition: both are one transaction. */
export const scripOrderProcess: OrderProcess<never> = {
    init,
    async onTransitionEnd(_from, to, { ctx, order }) {
        if (to === 'Cancelled') {
            await giftCards.cancelAuthorized(ctx, order.id);
        } else if (!order.active && !DOES_NOT_STAND.includes(to)) {
            await giftCards.placed(ctx, order); // Vendure's own process has said before whether it is placed
        }
    },
};

/** Vendure moves a new refund to the state that its handler answers, and by itself knows no way from Pending to it. */
export const scripRefundProcess: typeof defaultRefundProcess = {
    transitions: { Pending: { to: ['Pending'] }, Settled: { to: [] }, Failed: { to: [] } },
};
