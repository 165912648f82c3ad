'use strict';
// The shop's other way to pay: it always has the money at once, unless the card's number ends in 0002.

const { LanguageCode, PaymentMethodHandler } = require('@vendure/core');

exports.bankHandler = new PaymentMethodHandler({
    code: 'bank',
    description: [{ languageCode: LanguageCode.en, value: 'A bank that takes no money' }],
    args: {},
    createPayment: (ctx, order, amount, args, metadata) =>
        String(metadata.number).endsWith('0002')
            ? { amount, state: 'Declined', errorMessage: 'The bank has declined the card.' }
            : { amount, state: 'Settled', transactionId: `bank-${order.code}-${amount}`, metadata: {} },
    settlePayment: () => ({ success: true }),
    createRefund: (ctx, input, amount, order) => ({ state: 'Settled', transactionId: `back-${order.code}-${amount}` }),
});
