/** What can go wrong, as a shop can act on it. No text of an error has anything in it that came over the network. */

/** The call did not do what was asked. `slug`: what happened (docs/problems.md); `status`: HTTP's, if there was one. */
export class ScripError extends Error {
    /** Whether the very same request, with the same Idempotency-Key, may succeed later. */
    readonly worthRepeating: boolean = false;

    constructor(
        readonly slug: string,
        sentence = 'The call did not do what was asked.',
        readonly status: number | null = null,
        readonly retryAfterS: number | null = null,
    ) {
        super(`${sentence} (${slug}${status === null ? '' : `, ${status}`})`);
        this.name = new.target.name;
    }
}

/** The code has a typing mistake; found without asking the service. */
export class CodeMistyped extends ScripError {
    constructor() {
        super('code-mistyped', 'The code has a typing mistake.');
    }
}

/** The card cannot be used here; why is told to nobody. */
export class CodeRefused extends ScripError {}

/** Too many tries: nothing was done. Wait for `retryAfterS` seconds. */
export class TryLater extends ScripError {
    override readonly worthRepeating = true;
}

/** No answer, or none that can be understood; whether anything was done is not known. */
export class ServiceUnavailable extends ScripError {
    override readonly worthRepeating = true;
}

/** More than the payment holds, or than was settled, or than may be refunded today. */
export class AmountTooHigh extends ScripError {}

/** The payment is not there for this order any more. */
export class PaymentClosed extends ScripError {}

/** The store's credentials or scopes are not good for this: repeated, for once they are mended it succeeds. */
export class NotAllowed extends ScripError {
    override readonly worthRepeating = true;
}

/** The request itself is wrong, and stays so: a bug of the caller's. */
export class RequestRejected extends ScripError {}

type Kind = new (slug: string, sentence?: string, status?: number | null, retryAfterS?: number | null) => ScripError;

const SENTENCES = new Map<Kind, string>([
    [CodeRefused, 'The code is not accepted.'],
    [TryLater, 'Too many tries; wait before the next.'],
    [ServiceUnavailable, 'The gift card service cannot be reached now.'],
    [AmountTooHigh, 'The amount is higher than the payment allows.'],
    [PaymentClosed, 'The payment is no longer held for this order.'],
    [NotAllowed, "The gift card service does not accept this store's credentials, or not for this call."],
    [RequestRejected, 'The gift card service rejects the request as wrong.'],
]);

/** Slugs whose class does not follow from their HTTP status. */
const BY_SLUG: Record<string, Kind> = {
    'code-mistyped': CodeRefused,
    'code-not-accepted': CodeRefused,
    'checkout-not-found': PaymentClosed,
    'checkout-over': PaymentClosed,
    'payment-closed': PaymentClosed,
    'order-superseded': PaymentClosed,
    'amount-over-hold': AmountTooHigh,
    'amount-over-settled': AmountTooHigh,
    'refund-limit-reached': AmountTooHigh,
    'refund-not-covered': AmountTooHigh,
    'try-later': TryLater,
    'captcha-needed': NotAllowed,
    'invalid-dpop-proof': NotAllowed,
    'use-dpop-nonce': NotAllowed,
    'request-timeout': ServiceUnavailable,
    busy: ServiceUnavailable,
    'internal-error': ServiceUnavailable,
    invalid_client: NotAllowed,
    unauthorized_client: NotAllowed,
    invalid_scope: NotAllowed,
    temporarily_unavailable: ServiceUnavailable,
    server_error: ServiceUnavailable,
};
const BY_STATUS: Record<number, Kind> = {
    401: NotAllowed,
    403: NotAllowed,
    408: ServiceUnavailable,
    425: ServiceUnavailable,
    429: TryLater,
};

/** The error of a refusal: by its slug, or for one that is not known by its status. */
export function refusal(slug: string, status: number, retryAfterS: number | null, ofShopper: boolean): ScripError {
    // At the exchange the currency is that of a shopper's card, and no mistake of the store's.
    const ofACard = ofShopper && slug === 'currency-mismatch' ? CodeRefused : undefined;
    const bySlug = Object.hasOwn(BY_SLUG, slug) ? BY_SLUG[slug] : undefined;
    const byStatus = status >= 400 && status < 500 ? (BY_STATUS[status] ?? RequestRejected) : ServiceUnavailable;
    const kind = ofACard ?? bySlug ?? byStatus;
    return new kind(slug, SENTENCES.get(kind), status, kind === TryLater ? (retryAfterS ?? 1) : retryAfterS);
}

/** The service was not reached, or not in time, or what came is none of its answers. */
export function unavailable(slug: string, status: number | null = null, retryAfterS: number | null = null): ScripError {
    return new ServiceUnavailable(slug, SENTENCES.get(ServiceUnavailable), status, retryAfterS);
}
