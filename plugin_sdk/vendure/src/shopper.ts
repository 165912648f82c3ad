/** The shopper as the service may know him: a keyed hash of the store's session or customer, and his network. */

import { createHmac } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';

/** What the key is made for: the same secret gives other keys for other things. */
const PURPOSE = 'scrip-sdk: who the shopper is, 1';
const SHORTEST_SECRET = 16;

/** `keyHash`: 64 hexadecimal digits, of use to the store alone. `addressPrefix`: IPv4 /24 or IPv6 /64. */
export interface Shopper {
    keyHash: string;
    addressPrefix: string | null;
}

/**
 * Who is at the checkout. With it the same shopper may type the same code again, and nobody else may.
 *
 * `secret` is the store's own, of 16 bytes at least, and only a key made from it is used. `who` is the ID of a session
 * or customer, and must stay the same while he fills his basket. `address` is his own, not that of a proxy in front of
 * the store; one that is no address counts as none. Throws: the secret is too short, or there is no ID.
 */
export function shopperOf(secret: string, who: string, address?: string | null): Shopper {
    if (Buffer.byteLength(secret) < SHORTEST_SECRET) {
        throw new Error(`ScripPlugin: \`shopperSecret\` must have ${SHORTEST_SECRET} bytes at least.`);
    }
    if (!who) {
        throw new Error('A shopper needs the ID of his session or account, or all strangers would share one.');
    }
    const key = createHmac('sha256', secret).update(PURPOSE).digest();
    const keyHash = createHmac('sha256', key).update(who).digest('hex');
    return { keyHash, addressPrefix: prefixOf(address) };
}

/** The network of an address: IPv4 /24, IPv6 /64, an IPv4 address inside IPv6 as IPv4; null for anything else. */
export function prefixOf(address: string | null | undefined): string | null {
    const bare = (address ?? '').trim().split('%')[0]!;
    if (isIPv4(bare)) {
        return `${bare.split('.').slice(0, 3).join('.')}.0/24`;
    }
    if (!isIPv6(bare)) {
        return null;
    }
    const groups = groupsOf(bare);
    if (groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff) {
        return `${groups[6]! >> 8}.${groups[6]! & 255}.${groups[7]! >> 8}.0/24`;
    }
    // A URL's host is written in the shortest form (RFC 5952 but for mapped addresses, which are none here).
    const network = groups.slice(0, 4).map(group => group.toString(16)).join(':');
    return `${new URL(`http://[${network}::]`).hostname.slice(1, -1)}/64`;
}

/** The eight numbers of an IPv6 address. */
function groupsOf(address: string): number[] {
    const plain = new URL(`http://[${address}]`).hostname.slice(1, -1);
    const [head = '', tail] = plain.split('::');
    const read = (text: string): number[] => (text ? text.split(':').map(group => parseInt(group, 16)) : []);
    const [first, last] = [read(head), read(tail ?? '')];
    return tail === undefined ? first : [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
}
