/** A gift card's code: what a shopper typed, checked before any call, and shown by nothing. */

import { CodeMistyped } from './errors';

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const LENGTH = 16;
/** Text longer than this is no typed code, whatever spaces and dashes are in it. */
const LONGEST_TYPED = 64;

/**
 * What a shopper typed, as the sixteen characters of a code. Only `reveal` shows them: not `toString`, JSON, a copy or
 * `util.inspect`, so that they reach no log, table or job queue by accident.
 */
export class Code {
    readonly #code: string;

    /** Throws CodeMistyped: it has not the shape of a code, or its check character does not fit. */
    constructor(typed: unknown) {
        const code = typeof typed === 'string' ? readCode(typed) : null;
        if (code === null) {
            throw new CodeMistyped();
        }
        this.#code = code;
    }

    /** The sixteen characters, to be sent to the service and to nobody else. */
    reveal(): string {
        return this.#code;
    }

    toString(): string {
        return 'Code(…)';
    }
}

/**
 * What somebody typed, as sixteen capitals; null when it has a typing mistake (docs/codes.md).
 *
 * Case, spaces and dashes do not count; O is read as 0, I and L as 1. No character outside ASCII is accepted.
 */
export function readCode(typed: string): string | null {
    if (typed.length > LONGEST_TYPED || !/^[\0-\x7f]*$/.test(typed)) {
        return null;
    }
    const code = typed.toUpperCase().replace(/[ -]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
    const isOne = code.length === LENGTH && [...code].every(character => ALPHABET.includes(character));
    return isOne && hasCheck(code) ? code : null;
}

/** Whether Σ αⁱ·cᵢ = 0 over GF(32), by Horner's rule from the last character to the first. */
function hasCheck(code: string): boolean {
    let total = 0;
    for (const character of [...code].reverse()) {
        total <<= 1;
        if (total & 32) {
            total ^= 0b100101; // α = x modulo x⁵+x²+1
        }
        total ^= ALPHABET.indexOf(character);
    }
    return total === 0;
}
