// openid-client, the way in which most JavaScript programs speak OAuth.

import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import * as client from "openid-client";
import { certifiedFetch, issuer, payment, privateKey, told } from "./service.mjs";
import { details, pay, REDIRECT_URI } from "./shopper.mjs";

const discover = (clientId, metadata, auth, options = {}) =>
  client.discovery(issuer, clientId, metadata, auth, { algorithm: "oauth2", ...options });

/** From a pushed request to the payment, as a program does that knows nothing but this library. */
const checkOut = async (config, code, options) => {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const expectedState = client.randomState();
  const parameters = {
    redirect_uri: REDIRECT_URI,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: "S256",
    state: expectedState,
    authorization_details: details(),
  };
  const url = await client.buildAuthorizationUrlWithPAR(config, parameters, options);
  const back = await pay(url, code);
  return client.authorizationCodeGrant(config, back, { pkceCodeVerifier, expectedState }, undefined, options);
};

describe("with a secret", () => {
  let config;
  before(async () => {
    config = await discover(told.basic.client_id, undefined, client.ClientSecretBasic(told.basic.client_secret));
  });

  test("discovers the server", () => {
    assert.equal(config.serverMetadata().issuer, told.issuer);
    assert.equal(config.serverMetadata().supportsPKCE(), true);
  });

  test("gets a token and calls the API", async () => {
    const token = await client.clientCredentialsGrant(config, { scope: "bill" });
    assert.equal(token.scope, "bill");
    const answer = await client.fetchProtectedResource(config, token.access_token, payment, "GET");
    assert.equal((await answer.json()).id, told.payment);
  });

  test("asks about a token and gives it up", async () => {
    const { access_token } = await client.clientCredentialsGrant(config);
    assert.equal((await client.tokenIntrospection(config, access_token)).active, true);
    await client.tokenRevocation(config, access_token);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.equal((await client.tokenIntrospection(config, access_token)).active, false);
    await assert.rejects(client.fetchProtectedResource(config, access_token, payment, "GET"));
  });

  test("has a shopper pay at the hosted checkout", async () => {
    const token = await checkOut(config, told.codes[0]);
    assert.equal(token.authorization_details[0].approved_amount.amount, "30.00");
  });

  test("is told what was wrong", async () => {
    await assert.rejects(client.clientCredentialsGrant(config, { scope: "issue" }), { error: "invalid_scope" });
  });
});

for (const algorithm of ["ES256", "PS256", "EdDSA"]) {
  describe(`signing by ${algorithm}, with DPoP`, () => {
    let config, DPoP;
    before(async () => {
      const auth = client.PrivateKeyJwt(await privateKey(algorithm));
      config = await discover(told.keyed[algorithm].client_id, undefined, auth);
      DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
    });

    test("gets a token and calls the API, the nonce found by itself", async () => {
      const token = await client.clientCredentialsGrant(config, { scope: "bill settle" }, { DPoP });
      assert.equal(token.token_type, "dpop");
      for (let call = 0; call < 3; call += 1) {
        const answer = await client.fetchProtectedResource(config, token.access_token, payment, "GET", null, undefined, { DPoP });
        assert.equal(answer.status, 200);
      }
    });

    test("has a shopper pay at the hosted checkout", async () => {
      const place = 1 + ["ES256", "PS256", "EdDSA"].indexOf(algorithm);
      const token = await checkOut(config, told.codes[place], { DPoP });
      assert.equal(token.token_type, "dpop");
      assert.equal(token.authorization_details[0].approved_amount.amount, "30.00");
    });
  });
}

describe("with a certificate", () => {
  test("gets a token and calls the API", async () => {
    const { client_id } = told.certified;
    const options = { [client.customFetch]: certifiedFetch };
    const config = await discover(client_id, { use_mtls_endpoint_aliases: false }, client.TlsClientAuth(), options);
    config[client.customFetch] = certifiedFetch;
    const token = await client.clientCredentialsGrant(config, { scope: "bill" });
    assert.equal((await client.fetchProtectedResource(config, token.access_token, payment, "GET")).status, 200);
  });
});
