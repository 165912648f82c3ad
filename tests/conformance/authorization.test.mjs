// The hosted checkout by oauth4webapi: pushed requests, codes with PKCE, and what is answered for a payment.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import * as oauth from "oauth4webapi";
import { basic, discover, issuer, keyed, payment, post, refusalOf, told, withNonce } from "./service.mjs";
import { details, openPage, pay, REDIRECT_URI } from "./shopper.mjs";

const codes = [...told.codes];
let as;
before(async () => {
  as = await discover();
});

/** A pushed request of a client; changes replace parameters, or leave them out where they are undefined. */
const push = async ([client, auth], changes = {}, options = {}) => {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const parameters = {
    response_type: "code",
    redirect_uri: REDIRECT_URI,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    authorization_details: details(),
    state,
    ...changes,
  };
  const given = Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined));
  const pushed = await withNonce(async () =>
    oauth.processPushedAuthorizationResponse(
      as,
      client,
      await oauth.pushedAuthorizationRequest(as, client, auth, new URLSearchParams(given), options),
    ),
  );
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri });
  return { client, auth, verifier, state, url, pushed };
};

const redeem = async ({ client, auth, verifier, state }, back, options = {}) => {
  const parameters = oauth.validateAuthResponse(as, client, back, state);
  return withNonce(async () =>
    oauth.processAuthorizationCodeResponse(
      as,
      client,
      await oauth.authorizationCodeGrantRequest(as, client, auth, parameters, REDIRECT_URI, verifier, options),
    ),
  );
};

describe("metadata", () => {
  test("names what the checkout offers", () => {
    assert.equal(as.require_pushed_authorization_requests, true);
    assert.equal(as.authorization_response_iss_parameter_supported, true);
    assert.deepEqual(as.response_types_supported, ["code"]);
    assert.deepEqual(as.code_challenge_methods_supported, ["S256"]);
    assert.deepEqual(as.authorization_details_types_supported, ["giftcard_payment"]);
    assert.ok(as.grant_types_supported.includes("authorization_code"));
  });
});

describe("a payment at the hosted checkout", () => {
  test("of a client with a secret", async () => {
    const pushed = await push(basic(told.basic));
    assert.ok(pushed.pushed.expires_in < 600, "FAPI 2.0, section 5.3.2.2");
    const token = await redeem(pushed, await pay(pushed.url, codes.pop()));
    const [answered] = token.authorization_details;
    assert.deepEqual(answered.instructed_amount, { currency: "GBP", amount: "30.00" });
    assert.deepEqual(answered.approved_amount, { currency: "GBP", amount: "30.00" });
    assert.equal(answered.order, "123");
    const own = new URL(`/v1/payments/${answered.payment_id}`, issuer);
    const held = await (await oauth.protectedResourceRequest(token.access_token, "GET", own)).json();
    assert.deepEqual(held.held, { amount_minor: 3000, currency: "GBP" });
    const foreign = await fetch(payment, { headers: { authorization: `Bearer ${token.access_token}` } });
    assert.equal(foreign.status, 403, "it is good for this payment alone");
    assert.match(foreign.headers.get("www-authenticate"), /^Bearer error="insufficient_scope"/);
  });

  for (const algorithm of ["ES256", "PS256", "EdDSA"]) {
    test(`of a client that signs by ${algorithm}, bound to a key from the first request on`, async () => {
      const known = await keyed(algorithm);
      const DPoP = oauth.DPoP(known[0], await oauth.generateKeyPair("ES256"));
      const pushed = await push(known, {}, { DPoP });
      const token = await redeem(pushed, await pay(pushed.url, codes.pop()), { DPoP });
      assert.equal(token.token_type, "dpop");
      const own = new URL(`/v1/payments/${token.authorization_details[0].payment_id}`, issuer);
      const call = () => oauth.protectedResourceRequest(token.access_token, "GET", own, undefined, undefined, { DPoP });
      assert.equal((await withNonce(call)).status, 200);
    });
  }

  test("of a card that has less", async () => {
    const pushed = await push(basic(told.basic), { authorization_details: details("80.00") });
    const page = await openPage(pushed.url);
    assert.equal(await page.send({ action: "code", code: codes.pop() }), undefined);
    assert.match(page.page(), /Your card has 50\.00 GBP/);
    const token = await redeem(pushed, await page.send({ action: "approve" }));
    assert.equal(token.authorization_details[0].approved_amount.amount, "50.00");
  });

  test("that the shopper gives up", async () => {
    const pushed = await push(basic(told.basic));
    const back = await (await openPage(pushed.url)).send({ action: "cancel" });
    assert.equal(back.searchParams.get("iss"), told.issuer);
    assert.throws(() => oauth.validateAuthResponse(as, pushed.client, back, pushed.state), { error: "access_denied" });
  });

  test("after a code that was wrong", async () => {
    const pushed = await push(basic(told.basic));
    const page = await openPage(pushed.url);
    assert.equal(await page.send({ action: "code", code: told.dead_code }), undefined);
    assert.ok(await redeem(pushed, await page.send({ action: "code", code: codes.pop() })));
  });

  test("whose address has no state, for a store that gave none", async () => {
    const pushed = await push(basic(told.basic), { state: undefined });
    const back = await pay(pushed.url, codes.pop());
    assert.ok(oauth.validateAuthResponse(as, pushed.client, back, oauth.expectNoState));
  });
});

describe("an authorization code", () => {
  const approved = async (known, options) => {
    const pushed = await push(known ?? basic(told.basic), {}, options);
    return [pushed, await pay(pushed.url, codes.pop())];
  };

  test("is good once, and a second time ends what the first one got", async () => {
    const [pushed, back] = await approved();
    const token = await redeem(pushed, back);
    assert.equal(await refusalOf(redeem(pushed, back)), "invalid_grant");
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const own = new URL(`/v1/payments/${token.authorization_details[0].payment_id}`, issuer);
    await assert.rejects(oauth.protectedResourceRequest(token.access_token, "GET", own));
  });

  test("of eight redemptions at once serves one", async () => {
    const [pushed, back] = await approved();
    const all = await Promise.allSettled(Array.from({ length: 8 }, () => redeem(pushed, back)));
    assert.equal(all.filter(({ status }) => status === "fulfilled").length, 1);
  });

  test("needs its verifier", async () => {
    const [pushed, back] = await approved();
    const wrong = { ...pushed, verifier: oauth.generateRandomCodeVerifier() };
    assert.equal(await refusalOf(redeem(wrong, back)), "invalid_grant");
    const { client_id, client_secret } = told.basic;
    const without = { grant_type: "authorization_code", code: back.searchParams.get("code"), redirect_uri: REDIRECT_URI };
    const headers = { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` };
    assert.equal((await post("/oauth/token", without, headers)).status, 400);
    assert.ok(await redeem(pushed, back), "whoever tried with a wrong one has not spoilt it");
  });

  test("is its client's alone", async () => {
    const [pushed, back] = await approved();
    const [client, auth] = basic(told.other);
    assert.equal(await refusalOf(redeem({ ...pushed, client, auth }, back)), "invalid_grant");
  });

  test("that was bound to a key is redeemed with that key alone", async () => {
    const known = await keyed("ES256");
    const DPoP = oauth.DPoP(known[0], await oauth.generateKeyPair("ES256"));
    const [pushed, back] = await approved(known, { DPoP });
    const thief = oauth.DPoP(known[0], await oauth.generateKeyPair("ES256"));
    assert.equal(await refusalOf(redeem(pushed, back, { DPoP: thief })), "invalid_grant");
    assert.ok(await redeem(pushed, back, { DPoP }));
  });
});

describe("a pushed request is refused", () => {
  const bad = {
    "without PKCE": { code_challenge: undefined, code_challenge_method: undefined },
    "with plain PKCE": { code_challenge_method: "plain" },
    "without the method of PKCE": { code_challenge_method: undefined },
    "for another address": { redirect_uri: "https://evil.example/back" },
    "for a longer address": { redirect_uri: `${REDIRECT_URI}/more` },
    "for the address with a query": { redirect_uri: `${REDIRECT_URI}?a=b` },
    "for the address without TLS": { redirect_uri: REDIRECT_URI.replace("https", "http") },
    "without an address": { redirect_uri: undefined },
    "for a token": { response_type: "token" },
    "for an ID token": { response_type: "code id_token" },
    "without a response type": { response_type: undefined },
    "for an answer in the fragment": { response_mode: "fragment" },
    "with a request object": { request: "eyJhbGciOiJub25lIn0.e30." },
    "with a request_uri": { request_uri: "urn:ietf:params:oauth:request_uri:x" },
    "for a scope that is not held": { scope: "issue" },
    "without details": { authorization_details: undefined },
    "with other details": { authorization_details: '[{"type":"payment_initiation"}]' },
    "with no details": { authorization_details: "[]" },
    "with details twice": { authorization_details: `[${details().slice(1, -1)},${details().slice(1, -1)}]` },
    "with details that are no JSON": { authorization_details: "{" },
    "for nothing": { authorization_details: details("0.00") },
    "for less than nothing": { authorization_details: details("-1.00") },
    "for a part of a penny": { authorization_details: details("1.001") },
    "for everything": { authorization_details: details("1e9") },
    "for another action": { authorization_details: details("1.00", { actions: ["refund"] }) },
    "for something more": { authorization_details: details("1.00", { tip: "1.00" }) },
  };
  for (const [name, changes] of Object.entries(bad)) {
    test(name, async () => {
      const error = await refusalOf(push(basic(told.basic), changes));
      assert.match(error, /^(invalid_request|unsupported_response_type|invalid_scope|invalid_authorization_details)$/);
    });
  }

  test("of nobody", async () => {
    assert.equal(await refusalOf(push(basic({ ...told.basic, client_secret: "wrong" }))), "invalid_client");
  });

  test("of an issuer", async () => {
    assert.equal(await refusalOf(push(basic(told.issuing))), "unauthorized_client");
  });
});

describe("the page is refused, and leads nowhere", () => {
  const refused = async (parameters) => {
    const url = new URL(as.authorization_endpoint);
    url.search = new URLSearchParams(parameters);
    const answer = await fetch(url, { redirect: "manual" });
    assert.equal(answer.status, 404);
    assert.equal(answer.headers.get("location"), null);
  };

  test("to a request that was not pushed", async () => {
    const { client_id } = told.basic;
    await refused({ client_id, response_type: "code", redirect_uri: REDIRECT_URI });
    await refused({ client_id, request_uri: "urn:ietf:params:oauth:request_uri:unknown" });
    await refused({ client_id, request_uri: "https://evil.example/request" });
  });

  test("to another client's request", async () => {
    const { pushed } = await push(basic(told.basic));
    await refused({ client_id: told.other.client_id, request_uri: pushed.request_uri });
  });

  test("to a second browser", async () => {
    const { url } = await push(basic(told.basic));
    assert.equal((await openPage(url)).status, 200);
    assert.equal((await openPage(url)).status, 404);
  });

  test("to a form of another site", async () => {
    const { url } = await push(basic(told.basic));
    const { headers, page } = await openPage(url);
    const cookie = headers.get("set-cookie").split(";")[0];
    const csrf = page().match(/name="csrf" value="([^"]*)"/)[1];
    for (const [origin, key] of [["https://evil.example", csrf], [issuer.origin, "forged"], [issuer.origin, ""]]) {
      const body = new URLSearchParams({ action: "cancel", csrf: key });
      const answer = await fetch(url, { method: "POST", body, headers: { cookie, origin }, redirect: "manual" });
      assert.equal(answer.status, 403);
    }
  });

  test("and is kept by nobody and framed by nobody", async () => {
    const { url } = await push(basic(told.basic));
    const { headers } = await openPage(url);
    assert.equal(headers.get("cache-control"), "no-store");
    assert.equal(headers.get("referrer-policy"), "no-referrer");
    assert.match(headers.get("content-security-policy"), /frame-ancestors 'none'/);
    assert.match(headers.get("set-cookie"), /HttpOnly/);
  });
});
