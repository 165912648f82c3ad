// What the suites share: the service as they were told of it, keys, and a fetch that presents a certificate.

import { readFileSync } from "node:fs";
import { request } from "node:https";
import * as oauth from "oauth4webapi";

export const told = JSON.parse(process.env.SCRIP);
export const issuer = new URL(told.issuer);

export const discover = async () =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2" }));

const KINDS = {
  ES256: { name: "ECDSA", namedCurve: "P-256" },
  PS256: { name: "RSA-PSS", hash: "SHA-256" },
  EdDSA: { name: "Ed25519" },
};

export const privateKey = async (algorithm) => {
  const { jwk, kid } = told.keyed[algorithm];
  const { kty, crv, x, y, d, n, e, p, q, dp, dq, qi } = jwk;
  const bare = JSON.parse(JSON.stringify({ kty, crv, x, y, d, n, e, p, q, dp, dq, qi }));
  return { key: await crypto.subtle.importKey("jwk", bare, KINDS[algorithm], false, ["sign"]), kid };
};

export const basic = (known) => [{ client_id: known.client_id }, oauth.ClientSecretBasic(known.client_secret)];

export const keyed = async (algorithm) => [
  { client_id: told.keyed[algorithm].client_id },
  oauth.PrivateKeyJwt(await privateKey(algorithm)),
];

/** What `fetch` does, over a connection that presents the client's certificate. */
export const certifiedFetch = (url, options = {}) =>
  new Promise((resolve, reject) => {
    const { certificate, key } = told.certified;
    const asked = request(
      url,
      {
        method: options.method ?? "GET",
        headers: Object.fromEntries(new Headers(options.headers)),
        ca: readFileSync(told.ca),
        cert: readFileSync(certificate),
        key: readFileSync(key),
        agent: false,
      },
      (answer) => {
        const parts = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("end", () =>
          resolve(new Response(parts.length ? Buffer.concat(parts) : null, { status: answer.statusCode, headers: answer.headers })),
        );
      },
    );
    asked.on("error", reject);
    asked.end(options.body?.toString());
  });

/** Asks again when the server wants a nonce in the proof, as every client of DPoP must. */
export const withNonce = async (ask) => {
  try {
    return await ask();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return ask();
  }
};

/** The error by which a request was refused, wherever the client puts it; undefined when it was not refused. */
export const refusalOf = async (asked) => {
  try {
    await asked;
    return undefined;
  } catch (error) {
    if (error.error) return error.error;
    return error.response && !error.response.bodyUsed ? (await error.response.json()).error : error.message;
  }
};

export const payment = new URL(`/v1/payments/${told.payment}`, issuer);
export const post = (path, form, headers = {}) =>
  fetch(new URL(path, issuer), { method: "POST", body: new URLSearchParams(form), headers });
