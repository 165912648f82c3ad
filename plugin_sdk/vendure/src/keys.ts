/** Idempotency-Keys from the store's own data, so that a process that was restarted repeats and never doubles. */

import { createHash, createHmac } from 'node:crypto';

import { Shopper } from './shopper';

/** What stands in a key as it is. Neither the separator nor the mark of a hash is in it, so no two keys collide. */
const PLAIN = /^[A-Za-z0-9._-]{1,64}$/;
const [SEPARATOR, HASHED] = [':', '~'];
const LONGEST_NONCE = 200;

/**
 * The name of what is done once to a payment for an order, or once for each `part` of it: 1 to 255 visible ASCII
 * characters. Other arguments give another key: what is long or unusual stands in it as its SHA-256.
 */
export function requestKey(verb: string, paymentId: string, orderReference: string, part = ''): string {
    return [verb, paymentId, orderReference, ...(part ? [part] : [])]
        .map(text => (PLAIN.test(text) ? text : HASHED + sha256(text).toString('hex')))
        .join(SEPARATOR);
}

/**
 * The key for the code that was typed into the form with this nonce.
 *
 * The nonce comes from a browser, so the shopper is in the key: nobody can name somebody else's exchange. The code is
 * not, for nothing of it may be kept: one that is typed into a form that was answered already is answered with the
 * payment of the first. What else the exchange sends is in the key too. Throws for a nonce that is empty or too long.
 */
export function exchangeKey(
    nonce: string,
    orderReference: string,
    shopper: Shopper,
    amount?: { amountMinor: number; currency: string },
): string {
    if (typeof nonce !== 'string' || nonce.length === 0 || nonce.length > LONGEST_NONCE) {
        throw new Error('The form has no nonce.');
    }
    const texts = [shopper.keyHash, orderReference];
    // Each with a mark of its own, so that neither can be taken for the other; what is not given changes no key.
    if (shopper.addressPrefix !== null) {
        texts.push(`network ${shopper.addressPrefix}`);
    }
    if (amount) {
        texts.push(`amount ${amount.amountMinor} ${amount.currency}`);
    }
    const digest = createHmac('sha256', nonce);
    for (const text of texts) {
        digest.update(sha256(text));
    }
    return `exchange${SEPARATOR}${digest.digest('hex')}`;
}

function sha256(text: string): Buffer {
    return createHash('sha256').update(text).digest();
}
