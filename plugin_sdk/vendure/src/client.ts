/** The client that asks the service on the store's behalf, within a budget of time, repeating what may be repeated. */

import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

import { Code } from './code';
import { NotAllowed, refusal, RequestRejected, unavailable } from './errors';
import { requestKey } from './keys';
import { Shopper } from './shopper';
import { Answer, Lost, readOrigin, Wire } from './wire';

/** One call's whole life in milliseconds, its repeats, the waits between them and the access token included. */
export interface Budget {
    connectMs: number;
    readMs: number;
    totalMs: number;
}

export interface Money {
    amountMinor: number;
    currency: string;
}

/** A code that became a payment of this store's. `held` can be settled until `expiresAt`. */
export interface ScripPayment {
    id: string;
    state: string;
    confirmed: boolean;
    orderReference: string;
    held: Money;
    settled: Money;
    refunded: Money;
    expiresAt: Date;
}

export interface ClientOptions {
    url: string;
    clientId: string;
    clientSecret: string;
    budget?: Partial<Budget>;
}

interface Call<T> {
    method: 'GET' | 'POST';
    path: string;
    body: string;
    key?: string;
    read: (content: Record<string, unknown>) => T;
    /** A shopper's code stands in it: a 429 is told at once and not waited for. */
    ofShopper?: boolean;
    /** The client's own credentials are sent, in a form, in place of an access token. */
    isToken?: boolean;
}

interface AccessToken {
    text: string;
    renewedAt: number;
    goodUntil: number;
}

const USUAL_BUDGET: Budget = { connectMs: 2_000, readMs: 3_000, totalMs: 8_000 };
/** With less than this left nothing more is sent: it could not be answered. */
const LEAST_MS = 100;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
/** A token is not sent when it has less than this to live. */
const MARGIN_MS = 10_000;
const PAYMENT_ID = /^pay_[0-9a-z]{26}$/;
const SLUG = /^[a-z]{2,20}([-_][a-z]{2,20}){0,5}$/;

/** An answer has not the shape that it must have. */
class NotUnderstood extends Error {}

/** One object for a whole process. It shows none of its secrets to whoever prints it. Throws for bad options. */
export class Client {
    readonly #basic: string;
    readonly #origin: string;
    readonly #budget: Budget;
    readonly #wire: Wire;
    #token: AccessToken | null = null;
    #renewal: Promise<AccessToken> | null = null;

    constructor(options: ClientOptions) {
        this.#origin = readOrigin(options.url);
        for (const name of ['clientId', 'clientSecret'] as const) {
            if (typeof options[name] !== 'string' || !/^[!-~]+$/.test(options[name])) {
                throw new Error(`ScripPlugin: \`${name}\` is missing, or has spaces or other than ASCII in it.`);
            }
        }
        this.#budget = { ...USUAL_BUDGET, ...options.budget };
        for (const name of ['connectMs', 'readMs', 'totalMs'] as const) {
            if (!Number.isFinite(this.#budget[name]) || this.#budget[name] <= 0) {
                throw new Error(`ScripPlugin: \`budget.${name}\` must be a number of milliseconds above zero.`);
            }
        }
        // RFC 6749, 2.3.1: both are form-encoded first.
        const pair = new URLSearchParams([[options.clientId, options.clientSecret]]).toString().replace('=', ':');
        this.#basic = `Basic ${Buffer.from(pair).toString('base64')}`;
        this.#wire = new Wire(this.#origin);
    }

    toJSON(): string {
        return `Client(${this.#origin})`;
    }

    [inspect.custom](): string {
        return this.toJSON();
    }

    /** A code becomes a payment that holds `amount` at most. Throws CodeRefused, TryLater at once. */
    exchange(code: Code, orderReference: string, amount: Money, shopper: Shopper, key: string): Promise<ScripPayment> {
        const named = {
            key_hash: shopper.keyHash,
            ...(shopper.addressPrefix !== null && { address_prefix: shopper.addressPrefix }),
        };
        const body = { code: code.reveal(), order_reference: orderReference, shopper: named, amount: shown(amount) };
        return this.ask({ ...post('/v1/payments', body, key, readPayment), ofShopper: true });
    }

    /** The payment as it is now. */
    get(paymentId: string): Promise<ScripPayment> {
        return this.ask({ method: 'GET', path: pathOf(paymentId), body: '', read: paymentOf(paymentId) });
    }

    /** The order stands on the payment. Each call draws its key, so that the answer is how things stand now. */
    confirm(paymentId: string, orderReference: string, amount: Money): Promise<ScripPayment> {
        const key = requestKey('confirm', paymentId, orderReference, randomBytes(8).toString('hex'));
        const body = { order_reference: orderReference, amount: shown(amount) };
        return this.ask(post(pathOf(paymentId, '/confirm'), body, key, paymentOf(paymentId)));
    }

    /** Takes the amount for good; a final one releases the rest. Returns the settlement's ID. */
    settle(paymentId: string, orderReference: string, amount: Money, final: boolean, key: string): Promise<string> {
        const body = { amount: shown(amount), final, order_reference: orderReference };
        return this.ask(post(pathOf(paymentId, '/settlements'), body, key, idBeside(paymentId)));
    }

    /** Releases the whole hold. */
    async void(paymentId: string, key: string): Promise<void> {
        await this.ask(post(pathOf(paymentId, '/void'), {}, key, paymentOf(paymentId)));
    }

    /** Gives settled money back to the card. Returns the refund's ID. */
    refund(paymentId: string, amount: Money, key: string): Promise<string> {
        return this.ask(post(pathOf(paymentId, '/refunds'), { amount: shown(amount) }, key, idBeside(paymentId)));
    }

    private ask<T>(call: Call<T>): Promise<T> {
        return this.take(call, performance.now() + this.#budget.totalMs);
    }

    /** All that one call takes before `endsAt`: token, repeats under the same key, one renewal on 401. */
    private async take<T>(call: Call<T>, endsAt: number): Promise<T> {
        let refused: AccessToken | null = null;
        for (let attempt = 0; ; ) {
            const token: AccessToken | null = call.isToken ? null : await this.accessToken(endsAt, refused);
            const came = await this.send(call, token, endsAt);
            if (!('lost' in came) && came.status === 401 && token !== null && refused === null) {
                refused = token;
                continue;
            }
            const pauseMs = mayComeAgain(call, came) ? pause(attempt, came) : Infinity;
            if (performance.now() + pauseMs + LEAST_MS > endsAt) {
                return result(call, came);
            }
            await new Promise(resolve => setTimeout(resolve, pauseMs));
            attempt += 1;
        }
    }

    private send<T>(call: Call<T>, token: AccessToken | null, endsAt: number): Promise<Answer | Lost> {
        const leftMs = endsAt - performance.now();
        if (leftMs < LEAST_MS) {
            throw unavailable('out-of-time');
        }
        const headers: Record<string, string> = {
            Accept: 'application/json',
            'User-Agent': 'scrip-vendure',
            Authorization: token === null ? this.#basic : `Bearer ${token.text}`,
            ...(call.body && { 'Content-Type': call.isToken ? 'application/x-www-form-urlencoded' : 'application/json' }),
            ...(call.key && { 'Idempotency-Key': call.key }),
        };
        const { connectMs, readMs } = this.#budget;
        const out = { method: call.method, path: call.path, headers, body: call.body };
        return this.#wire.send(out, connectMs, Math.min(connectMs + readMs, leftMs));
    }

    /** One that is good, and not the one that was just `refused`; all calls of a process wait for the same renewal. */
    private async accessToken(endsAt: number, refused: AccessToken | null): Promise<AccessToken> {
        const atHand = this.#token;
        const now = performance.now();
        const isGood = atHand !== null && atHand !== refused && now < atHand.goodUntil;
        if (isGood && now < atHand.renewedAt) {
            return atHand;
        }
        this.#renewal ??= this.renew().finally(() => (this.#renewal = null));
        const renewal = this.#renewal;
        if (isGood) {
            renewal.catch(() => {
                atHand.renewedAt = performance.now() + 5_000; // it failed early: nobody tries again for a while
            });
            return atHand;
        }
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<never>((_, reject) => {
            timer = setTimeout(() => reject(unavailable('out-of-time')), Math.max(0, endsAt - performance.now()));
        });
        try {
            return await Promise.race([renewal, late]);
        } finally {
            clearTimeout(timer);
            renewal.catch(() => undefined);
        }
    }

    private async renew(): Promise<AccessToken> {
        const askedAt = performance.now();
        const read = (content: Record<string, unknown>): AccessToken => {
            const { access_token: text, token_type: type, expires_in: lifeS } = content;
            const isText = typeof text === 'string' && /^[!-~]{8,8192}$/.test(text);
            const isLife = typeof lifeS === 'number' && Number.isInteger(lifeS) && lifeS > 0 && lifeS <= 86_400;
            if (!isText || !isLife || typeof type !== 'string' || type.toLowerCase() !== 'bearer') {
                throw new NotUnderstood();
            }
            const lifeMs = lifeS * 1_000;
            return {
                text,
                renewedAt: askedAt + lifeMs * (0.7 + 0.1 * Math.random()),
                goodUntil: askedAt + lifeMs - Math.min(MARGIN_MS, lifeMs / 10),
            };
        };
        const body = 'grant_type=client_credentials';
        this.#token = await this.ask<AccessToken>({ method: 'POST', path: '/oauth/token', body, read, isToken: true });
        return this.#token;
    }
}

function mayComeAgain<T>(call: Call<T>, came: Answer | Lost): boolean {
    if ('lost' in came) {
        return came.lost !== 'not-understood';
    }
    if (came.status === 429 && call.ofShopper) {
        return false; // it is the shopper who must wait
    }
    const isCut = [200, 201, 202].includes(came.status) && contentOf(came) === null;
    return [408, 425, 429].includes(came.status) || came.status >= 500 || isCut;
}

/** How long to wait after a failed attempt, in milliseconds; what the service asked for is the least. */
function pause(attempt: number, came: Answer | Lost): number {
    const usual = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 8)) * (0.5 + 0.5 * Math.random());
    const askedS = 'lost' in came ? null : came.retryAfterS;
    return askedS === null ? usual : Math.max(usual, askedS * 1_000 * (1 + 0.1 * Math.random()));
}

/**
 * What was asked for. Nobody but the service answers with its JSON: a redirect, a page of HTML or JSON of another shape
 * come from whoever stands in between, so that no gateway's 404 is taken for the last word.
 */
function result<T>(call: Call<T>, came: Answer | Lost): T {
    if ('lost' in came) {
        throw unavailable(came.lost);
    }
    const content = contentOf(came);
    if (came.status >= 200 && came.status < 300 && content !== null) {
        try {
            return call.read(content);
        } catch (error) {
            if (!(error instanceof NotUnderstood)) {
                throw error;
            }
        }
    } else if (came.status >= 400 && content !== null) {
        const said = call.isToken ? content.error : came.contentType === 'application/problem+json' && content.slug;
        if (typeof said === 'string' && SLUG.test(said)) {
            const error = refusal(said, came.status, came.retryAfterS, call.ofShopper ?? false);
            throw call.isToken && !error.worthRepeating ? new NotAllowed(said, undefined, came.status) : error;
        }
    }
    throw unavailable(came.status < 500 ? 'not-understood' : 'internal-error', came.status, came.retryAfterS);
}

function contentOf(answer: Answer): Record<string, unknown> | null {
    try {
        return objectOf(JSON.parse(answer.body));
    } catch {
        return null;
    }
}

function objectOf(value: unknown): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw new NotUnderstood();
    }
    return value as Record<string, unknown>;
}

function post<T>(path: string, body: object, key: string, read: Call<T>['read']): Call<T> {
    return { method: 'POST', path, body: JSON.stringify(body), key, read };
}

function pathOf(paymentId: string, verb = ''): string {
    if (!PAYMENT_ID.test(paymentId)) {
        throw new RequestRejected('not-found', 'This is not the ID of a payment.');
    }
    return `/v1/payments/${paymentId}${verb}`;
}

function shown(money: Money): object {
    return { amount_minor: money.amountMinor, currency: money.currency };
}

function readText(value: unknown): string {
    if (typeof value !== 'string') {
        throw new NotUnderstood();
    }
    return value;
}

function readMoney(value: unknown): Money {
    const { amount_minor: amountMinor, currency } = objectOf(value);
    if (!Number.isSafeInteger(amountMinor) || typeof currency !== 'string' || !/^[A-Z]{3}$/.test(currency)) {
        throw new NotUnderstood();
    }
    return { amountMinor: amountMinor as number, currency };
}

function readPayment(content: Record<string, unknown>): ScripPayment {
    const expiresAt = new Date(readText(content.expires_at));
    const id = readText(content.id);
    if (typeof content.confirmed !== 'boolean' || Number.isNaN(expiresAt.getTime()) || !PAYMENT_ID.test(id)) {
        throw new NotUnderstood();
    }
    return {
        id,
        state: readText(content.state),
        confirmed: content.confirmed,
        orderReference: readText(content.order_reference),
        held: readMoney(content.held),
        settled: readMoney(content.settled),
        refunded: readMoney(content.refunded),
        expiresAt,
    };
}

/** Reads the payment, which must be the one that was asked for. */
function paymentOf(paymentId: string): (content: Record<string, unknown>) => ScripPayment {
    return content => {
        const payment = readPayment(content);
        if (payment.id !== paymentId) {
            throw new NotUnderstood();
        }
        return payment;
    };
}

/** Reads the ID of a settlement or refund, whose payment must be the one that was asked for. */
function idBeside(paymentId: string): (content: Record<string, unknown>) => string {
    return content => {
        paymentOf(paymentId)(objectOf(content.payment));
        return readText(content.id);
    };
}
