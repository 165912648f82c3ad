/** One HTTP exchange with the service's origin: bounded in time and size, and never led elsewhere. */

import * as http from 'node:http';
import * as https from 'node:https';

/** What came back, whoever sent it. */
export interface Answer {
    status: number;
    contentType: string;
    retryAfterS: number | null;
    body: string;
}

/** No answer: no connection, none that came in time and in full, or more than an answer can be. */
export interface Lost {
    lost: 'no-connection' | 'no-answer' | 'not-understood';
}

export interface Outgoing {
    method: 'GET' | 'POST';
    path: string;
    headers: Record<string, string>;
    body: string;
}

/** No answer of the service is nearly as long. */
const LONGEST_ANSWER = 256 * 1024;

/**
 * The origin of an address that may be trusted with codes: https, or http on this very machine. Throws for everything
 * else, and for more than an origin.
 */
export function readOrigin(url: unknown): string {
    let parsed: URL;
    try {
        parsed = new URL(String(url));
    } catch {
        throw new Error('ScripPlugin: `url` must be an origin, as https://cards.example.');
    }
    const bare = parsed.pathname === '/' && !parsed.search && !parsed.hash && !parsed.username && !parsed.password;
    if (typeof url !== 'string' || !bare || !['http:', 'https:'].includes(parsed.protocol)) {
        throw new Error('ScripPlugin: `url` must be an origin, as https://cards.example.');
    }
    const isLoopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(parsed.hostname);
    if (parsed.protocol === 'http:' && !isLoopback) {
        throw new Error('ScripPlugin: `url` must begin with https: codes are never sent in clear.');
    }
    return parsed.origin;
}

/** Connections to one origin. A redirect is an answer like any other: nobody follows it. */
export class Wire {
    private readonly agent: http.Agent;
    private readonly request: typeof http.request;

    constructor(private readonly origin: string) {
        const module = origin.startsWith('https:') ? https : http;
        this.agent = new module.Agent({ keepAlive: true, maxSockets: 32 });
        this.request = module.request;
    }

    /** `connectMs`: until a connection stands; `totalMs`: until the answer has arrived in full. Never throws. */
    send(out: Outgoing, connectMs: number, totalMs: number): Promise<Answer | Lost> {
        return new Promise(resolve => {
            let connected = false;
            const headers = { ...out.headers, ...(out.body && { 'Content-Length': String(Buffer.byteLength(out.body)) }) };
            const request = this.request(this.origin + out.path, { method: out.method, headers, agent: this.agent });
            const end = (came: Answer | Lost): void => {
                clearTimeout(connecting);
                clearTimeout(waiting);
                resolve(came);
                if ('lost' in came) {
                    request.destroy();
                }
            };
            const gone = (): void => end({ lost: connected ? 'no-answer' : 'no-connection' });
            const connecting = setTimeout(gone, Math.min(connectMs, totalMs));
            const waiting = setTimeout(gone, totalMs);
            const stands = (): void => {
                connected = true;
                clearTimeout(connecting);
            };
            request.on('socket', socket => {
                if (request.reusedSocket) {
                    stands();
                } else {
                    socket.once(this.origin.startsWith('https:') ? 'secureConnect' : 'connect', stands);
                }
            });
            request.on('error', gone);
            request.on('response', response => {
                const chunks: Buffer[] = [];
                let length = 0;
                response.on('data', (chunk: Buffer) => {
                    length += chunk.length;
                    if (length > LONGEST_ANSWER) {
                        end({ lost: 'not-understood' });
                    } else {
                        chunks.push(chunk);
                    }
                });
                response.on('error', gone);
                response.on('aborted', gone);
                response.on('end', () => {
                    const asked = response.headers['retry-after'] ?? '';
                    end({
                        status: response.statusCode ?? 0,
                        contentType: (response.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase(),
                        retryAfterS: /^[0-9]{1,6}$/.test(asked) ? Number(asked) : null,
                        body: Buffer.concat(chunks).toString('utf8'),
                    });
                });
            });
            request.end(out.body || undefined);
        });
    }
}
