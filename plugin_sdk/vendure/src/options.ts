import { Budget } from './client';

/** What a shop tells the plugin. */
export interface ScripOptions {
    /** The service's origin, as https://cards.example; codes are sent nowhere else. */
    url: string;
    clientId: string;
    clientSecret: string;
    /** The shop's own, of 16 bytes at least; from it comes the hash by which the service knows a shopper again. */
    shopperSecret: string;
    /** How long one call may take: 2000 to connect, 3000 to be answered, 8000 in all, if not said otherwise. */
    budget?: Partial<Budget>;
    /** How often each process looks for what the service was not told yet: 30000 if not said otherwise. */
    deliverEveryMs?: number;
}

/** By this name the plugin's lines stand in Vendure's log. */
export const LOG = 'ScripPlugin';
export const SCRIP_OPTIONS = Symbol('SCRIP_OPTIONS');

const NAMES = ['url', 'clientId', 'clientSecret', 'shopperSecret', 'budget', 'deliverEveryMs'];

/** Throws an Error whose sentence says which option is wrong. The client looks at its own. */
export function checkOptions(options: ScripOptions): void {
    if (typeof options !== 'object' || options === null) {
        throw new Error('ScripPlugin: init wants an object with the options.');
    }
    const unknown = Object.keys(options).find(name => !NAMES.includes(name));
    if (unknown !== undefined) {
        throw new Error(`ScripPlugin: there is no option \`${unknown}\`.`);
    }
    const { shopperSecret, deliverEveryMs } = options;
    if (typeof shopperSecret !== 'string' || Buffer.byteLength(shopperSecret) < 16) {
        throw new Error('ScripPlugin: `shopperSecret` must have 16 bytes at least.');
    }
    const isInterval = Number.isInteger(deliverEveryMs) && deliverEveryMs! >= 100 && deliverEveryMs! < 2 ** 31;
    if (deliverEveryMs !== undefined && !isInterval) {
        throw new Error('ScripPlugin: `deliverEveryMs` must be a whole number of milliseconds, 100 at least.');
    }
}
