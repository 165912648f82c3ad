// oauth4webapi, which checks each answer against the RFCs before it passes it on.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import * as oauth from "oauth4webapi";
import {
  basic,
  certifiedFetch,
  discover,
  issuer,
  keyed,
  payment,
  post,
  privateKey,
  refusalOf,
  told,
  withNonce,
} from "./service.mjs";

let as;
before(async () => {
  as = await discover();
});

const tokenFor = async (client, auth, parameters = {}, options = {}) =>
  withNonce(async () =>
    oauth.processClientCredentialsResponse(
      as,
      client,
      await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams(parameters), options),
    ),
  );

describe("metadata (RFC 8414)", () => {
  test("is that of the issuer, and names what FAPI 2.0 asks for", () => {
    assert.equal(as.issuer, told.issuer);
    for (const endpoint of ["token_endpoint", "revocation_endpoint", "introspection_endpoint", "jwks_uri"]) {
      assert.equal(new URL(as[endpoint]).origin, issuer.origin, endpoint);
    }
    for (const method of ["client_secret_basic", "private_key_jwt", "tls_client_auth"]) {
      assert.ok(as.token_endpoint_auth_methods_supported.includes(method), method);
    }
    for (const algorithm of ["ES256", "PS256", "EdDSA"]) {
      assert.ok(as.token_endpoint_auth_signing_alg_values_supported.includes(algorithm), algorithm);
      assert.ok(as.dpop_signing_alg_values_supported.includes(algorithm), algorithm);
    }
    assert.ok(!as.token_endpoint_auth_signing_alg_values_supported.includes("none"));
    assert.equal(as.tls_client_certificate_bound_access_tokens, true);
  });

  test("another issuer is not accepted", async () => {
    const answer = await oauth.discoveryRequest(issuer, { algorithm: "oauth2" });
    await assert.rejects(oauth.processDiscoveryResponse(new URL("https://evil.example"), answer));
  });

  test("its keys are public ones, for signatures", async () => {
    const { keys } = await (await fetch(as.jwks_uri)).json();
    for (const key of keys) {
      assert.equal(key.use, "sig");
      assert.ok(!("d" in key));
    }
  });
});

describe("client_secret_basic", () => {
  test("gets a bearer token, which opens a payment", async () => {
    const [client, auth] = basic(told.basic);
    const token = await tokenFor(client, auth, { scope: "settle bill" });
    assert.equal(token.token_type, "bearer");
    assert.equal(token.scope, "settle bill");
    assert.ok(token.expires_in <= 300);
    const answer = await oauth.protectedResourceRequest(token.access_token, "GET", payment);
    assert.equal(answer.status, 200);
  });

  test("the access token is one of RFC 9068", async () => {
    const [client, auth] = basic(told.basic);
    const { access_token } = await tokenFor(client, auth);
    const request = new Request(payment, { headers: { authorization: `Bearer ${access_token}` } });
    const claims = await oauth.validateJwtAccessToken(as, request, told.issuer);
    assert.equal(claims.client_id, client.client_id);
  });

  test("a wrong secret and an unknown client are refused alike", async () => {
    const refusals = [];
    for (const known of [
      { ...told.basic, client_secret: `${told.basic.client_secret}x` },
      { ...told.basic, client_id: `cli_${"0".repeat(26)}` },
    ]) {
      const [client, auth] = basic(known);
      const answer = await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams());
      refusals.push([answer.status, await answer.text()]);
    }
    assert.deepEqual(refusals[0], refusals[1]);
    assert.equal(refusals[0][0], 401);
  });

  test("client_secret_post is refused", async () => {
    const { client_id, client_secret } = told.basic;
    const answer = await post("/oauth/token", { grant_type: "client_credentials", client_id, client_secret });
    assert.equal(answer.status, 401);
    assert.equal((await answer.json()).error, "invalid_client");
  });

  test("may ask for a token that is bound to a key", async () => {
    const [client, auth] = basic(told.basic);
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    assert.equal((await tokenFor(client, auth, {}, { DPoP })).token_type, "dpop");
  });

  test("a scope that is not held, an unknown grant and a missing one are refused by name", async () => {
    const [client, auth] = basic(told.basic);
    assert.equal(await refusalOf(tokenFor(client, auth, { scope: "issue" })), "invalid_scope");
    const authorization = `Basic ${btoa(`${told.basic.client_id}:${told.basic.client_secret}`)}`;
    for (const [form, error] of [
      [{ grant_type: "password" }, "unsupported_grant_type"],
      [{ grant_type: "refresh_token" }, "unsupported_grant_type"],
      [{}, "invalid_request"],
    ]) {
      const answer = await post("/oauth/token", form, { authorization });
      assert.equal(answer.status, 400);
      assert.equal((await answer.json()).error, error);
      assert.equal(answer.headers.get("cache-control"), "no-store");
    }
  });
});

for (const algorithm of ["ES256", "PS256", "EdDSA"]) {
  describe(`private_key_jwt and DPoP by ${algorithm}`, () => {
    let client, auth, DPoP, pair;
    before(async () => {
      [client, auth] = await keyed(algorithm);
      pair = await oauth.generateKeyPair(algorithm === "EdDSA" ? "Ed25519" : algorithm);
      DPoP = oauth.DPoP(client, pair);
    });

    test("gets a token that is bound to its key, which opens a payment", async () => {
      const token = await tokenFor(client, auth, {}, { DPoP });
      assert.equal(token.token_type, "dpop");
      const call = () => oauth.protectedResourceRequest(token.access_token, "GET", payment, undefined, undefined, { DPoP });
      assert.equal((await withNonce(call)).status, 200);
      assert.equal((await withNonce(call)).status, 200, "each request has a proof of its own");
    });

    test("the token is worth nothing to a thief", async () => {
      const { access_token } = await tokenFor(client, auth, {}, { DPoP });
      await assert.rejects(oauth.protectedResourceRequest(access_token, "GET", payment));
      const thief = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
      const steal = () => oauth.protectedResourceRequest(access_token, "GET", payment, undefined, undefined, { DPoP: thief });
      await assert.rejects(withNonce(steal));
    });

    test("without a proof there is no token", async () => {
      assert.equal(await refusalOf(tokenFor(client, auth)), "invalid_dpop_proof");
    });

    test("the validated claims name the key", async () => {
      const { access_token } = await tokenFor(client, auth, {}, { DPoP });
      const { cnf } = JSON.parse(Buffer.from(access_token.split(".")[1], "base64url"));
      assert.equal(cnf.jkt, await DPoP.calculateThumbprint());
    });
  });
}

describe("an assertion", () => {
  const changed = async (change) => {
    const { key, kid } = await privateKey("ES256");
    const client = { client_id: told.keyed.ES256.client_id };
    const auth = oauth.PrivateKeyJwt({ key, kid }, { [oauth.modifyAssertion]: change });
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    return tokenFor(client, auth, {}, { DPoP });
  };
  const bad = {
    "for the token endpoint": (_, claims) => (claims.aud = as.token_endpoint),
    "for several audiences": (_, claims) => (claims.aud = [told.issuer, "https://evil.example"]),
    "for another server": (_, claims) => (claims.aud = "https://evil.example"),
    "without an audience": (_, claims) => delete claims.aud,
    "that is over": (_, claims) => (claims.exp = Math.floor(Date.now() / 1000) - 60),
    "without an end": (_, claims) => delete claims.exp,
    "for ten years": (_, claims) => (claims.exp = Math.floor(Date.now() / 1000) + 315_360_000),
    "not yet good": (_, claims) => (claims.nbf = Math.floor(Date.now() / 1000) + 120),
    "from the future": (_, claims) => (claims.iat = Math.floor(Date.now() / 1000) + 120),
    "without a name": (_, claims) => delete claims.jti,
    "about somebody else": (_, claims) => (claims.sub = `cli_${"0".repeat(26)}`),
    "by somebody else": (_, claims) => (claims.iss = `cli_${"0".repeat(26)}`),
    "under another key's name": (header) => (header.kid = "another"),
    "under another algorithm": (header) => (header.alg = "PS256"),
    "without a signature": (header) => (header.alg = "none"),
  };
  for (const [name, change] of Object.entries(bad)) {
    test(`${name} is refused`, async () => {
      assert.equal(await refusalOf(changed(change)), "invalid_client");
    });
  }

  test("up to ten seconds ahead is taken, as FAPI 2.0 asks", async () => {
    assert.ok(await changed((_, claims) => (claims.iat = claims.nbf = Math.floor(Date.now() / 1000) + 8)));
  });

  test("is good once", async () => {
    const jti = oauth.generateRandomNonce();
    const same = (_, claims) => (claims.jti = jti);
    assert.ok(await changed(same));
    assert.equal(await refusalOf(changed(same)), "invalid_client");
  });
});

describe("a proof", () => {
  const changed = async (change) => {
    const [client, auth] = await keyed("ES256");
    const pair = await oauth.generateKeyPair("ES256");
    const honest = oauth.DPoP(client, pair);
    const { access_token } = await tokenFor(client, auth, {}, { DPoP: honest });
    const DPoP = oauth.DPoP(client, pair, { [oauth.modifyAssertion]: change });
    return withNonce(() => oauth.protectedResourceRequest(access_token, "GET", payment, undefined, undefined, { DPoP }));
  };
  const bad = {
    "for another method": (_, claims) => (claims.htm = "POST"),
    "for another address": (_, claims) => (claims.htu = told.issuer),
    "for another token": (_, claims) => (claims.ath = "x".repeat(43)),
    "without its token": (_, claims) => delete claims.ath,
    "without a name": (_, claims) => delete claims.jti,
    "without a time": (_, claims) => delete claims.iat,
    "that is old": (_, claims) => (claims.iat -= 3_600),
    "from the future": (_, claims) => (claims.iat += 3_600),
    "of another type": (header) => (header.typ = "jwt"),
    "without its key": (header) => delete header.jwk,
    "without a signature": (header) => (header.alg = "none"),
  };
  for (const [name, change] of Object.entries(bad)) {
    test(`${name} is refused`, async () => {
      await assert.rejects(changed(change), (error) => error.status === 401 || error.response?.status === 401);
    });
  }

  test("unchanged is taken", async () => {
    assert.equal((await changed(() => {})).status, 200);
  });

  test("without a nonce of ours is answered with one", async () => {
    const [client, auth] = await keyed("ES256");
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    const answer = await oauth.clientCredentialsGrantRequest(as, client, auth, new URLSearchParams(), { DPoP });
    assert.equal(answer.status, 400);
    assert.equal((await answer.clone().json()).error, "use_dpop_nonce");
    assert.ok(answer.headers.get("dpop-nonce"));
  });
});

describe("tls_client_auth and certificate-bound tokens (RFC 8705)", () => {
  const client = { client_id: told.certified.client_id, use_mtls_endpoint_aliases: false };
  const certified = { [oauth.customFetch]: certifiedFetch };

  test("gets a token that is bound to its certificate, which opens a payment", async () => {
    const token = await tokenFor(client, oauth.TlsClientAuth(), {}, certified);
    assert.equal(token.token_type, "bearer");
    const answer = await oauth.protectedResourceRequest(token.access_token, "GET", payment, undefined, undefined, certified);
    assert.equal(answer.status, 200);
    await assert.rejects(oauth.protectedResourceRequest(token.access_token, "GET", payment), "a thief has no certificate");
  });

  test("without the certificate it is nobody, whatever header it sends", async () => {
    assert.equal(await refusalOf(tokenFor(client, oauth.TlsClientAuth())), "invalid_client");
    const forged = { "client-cert": `:${btoa("anything")}:` };
    const answer = await post("/oauth/token", { grant_type: "client_credentials", client_id: client.client_id }, forged);
    assert.equal(answer.status, 401);
  });

  test("a client that signs may be bound to a certificate too", async () => {
    const [signer, auth] = await keyed("PS256");
    const { access_token } = await tokenFor(signer, auth, {}, certified);
    const { cnf } = JSON.parse(Buffer.from(access_token.split(".")[1], "base64url"));
    assert.equal(Object.keys(cnf).join(), "x5t#S256");
  });
});

describe("introspection (RFC 7662) and revocation (RFC 7009)", () => {
  test("an access token is told, given up, and told no more", async () => {
    const [client, auth] = basic(told.basic);
    const { access_token } = await tokenFor(client, auth, { scope: "settle" });
    const introspect = async () =>
      oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, access_token));
    const before = await introspect();
    assert.equal(before.active, true);
    assert.equal(before.scope, "settle");
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, access_token));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.deepEqual({ ...(await introspect()) }, { active: false });
    await assert.rejects(oauth.protectedResourceRequest(access_token, "GET", payment));
  });

  test("a client that signs is known at both", async () => {
    const [client, auth] = await keyed("EdDSA");
    const told_ = await oauth.introspectionRequest(as, client, auth, "unknown");
    assert.deepEqual({ ...(await oauth.processIntrospectionResponse(as, client, told_)) }, { active: false });
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, "unknown"));
  });

  test("another client's token cannot be given up", async () => {
    const [client, auth] = basic(told.basic);
    const { access_token } = await tokenFor(client, auth);
    const [other, otherAuth] = basic(told.issuing);
    const answer = await oauth.revocationRequest(as, other, otherAuth, access_token);
    assert.equal(await refusalOf(oauth.processRevocationResponse(answer)), "invalid_grant");
  });
});

describe("where parameters and tokens belong", () => {
  test("not into a URL", async () => {
    const authorization = `Basic ${btoa(`${told.basic.client_id}:${told.basic.client_secret}`)}`;
    const answer = await post("/oauth/token?grant_type=client_credentials", {}, { authorization });
    assert.equal(answer.status, 400);
    const [client, auth] = basic(told.basic);
    const { access_token } = await tokenFor(client, auth);
    const url = new URL(payment);
    url.searchParams.set("access_token", access_token);
    assert.equal((await fetch(url)).status, 401);
  });

  test("a token that was changed is refused", async () => {
    const [client, auth] = basic(told.basic);
    const { access_token } = await tokenFor(client, auth);
    const [head, claims, signature] = access_token.split(".");
    const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString("base64url");
    for (const forged of [`${none}.${claims}.`, `${head}.${claims}.${signature.slice(0, -4)}AAAA`, `${head}.${claims}.`]) {
      const answer = await fetch(payment, { headers: { authorization: `Bearer ${forged}` } });
      assert.equal(answer.status, 401);
      assert.match(answer.headers.get("www-authenticate"), /^Bearer error="invalid_token"/);
    }
  });
});
