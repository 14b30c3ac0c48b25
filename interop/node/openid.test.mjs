// openid-client certifies itself against the OpenID Connect conformance suite,
// and is as strict: the issuer of discovery must be the URL that was asked.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as client from "openid-client";
import * as emulator from "./emulator.mjs";
import { ben, cli, daemon, graphDefault, userRead, web } from "./emulator.mjs";

const issuer = new URL(`${emulator.authority}/v2.0`);
const discover = (app, authentication) => client.discovery(issuer, app.id, undefined, authentication ?? client.None());

test("finds the tenant", async () => {
  const server = (await discover(cli)).serverMetadata();
  assert.equal(server.issuer, issuer.href);
  assert.equal(server.token_endpoint, `${emulator.authority}/oauth2/v2.0/token`);
});

for (const [how, authentication] of [["a posted secret", client.ClientSecretPost], ["HTTP Basic", client.ClientSecretBasic]]) {
  test(`gets an app token with ${how}`, async () => {
    const config = await discover(daemon, authentication(daemon.secret));
    const got = await client.clientCredentialsGrant(config, { scope: graphDefault });
    await emulator.callGraph(got.access_token, "/v1.0/users");
  });
}

test("tells that a secret is wrong", async () => {
  const config = await discover(daemon, client.ClientSecretPost("guess"));
  await assert.rejects(client.clientCredentialsGrant(config, { scope: graphDefault }), (err) => {
    assert.equal(err.error ?? err.cause?.error, "invalid_client");
    assert.match(JSON.stringify([err.error_description, err.cause]), /AADSTS7000215/);
    return true;
  });
});

// signIn takes ben through the browser and redeems the code.
async function signIn(config, scope) {
  const app = await emulator.listen();
  try {
    const redirectUri = `${app.redirectUri}/`; // as it normalizes URLs itself
    const verifier = client.randomPKCECodeVerifier();
    const [state, nonce] = [client.randomState(), client.randomNonce()];
    const address = client.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri, scope, state, nonce,
      code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
    });
    await emulator.visit(address.href);
    const here = new URL(`${redirectUri}?${await app.answer}`);
    return await client.authorizationCodeGrant(config, here, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });
  } finally {
    app.close();
  }
}

test("redeems a code with PKCE and verifies the ID token", async () => {
  const config = await discover(cli);
  client.enableNonRepudiationChecks(config);
  const got = await signIn(config, `openid profile ${userRead}`);
  assert.equal(got.claims().name, ben.name);
  assert.equal((await emulator.callGraph(got.access_token, "/v1.0/me")).id, ben.id);
});

test("redeems a code of a web app and reads the user info", async () => {
  const config = await discover(web, client.ClientSecretPost(web.secret));
  client.enableNonRepudiationChecks(config);
  const got = await signIn(config, `openid profile email ${userRead}`);
  const info = await client.fetchUserInfo(config, got.access_token, got.claims().sub);
  assert.equal(info.name, ben.name);
});

test("refreshes a token", async () => {
  const config = await discover(cli);
  const first = await signIn(config, `openid offline_access ${userRead}`);
  const second = await client.refreshTokenGrant(config, first.refresh_token, { scope: `offline_access ${userRead}` });
  assert.ok(second.refresh_token && second.refresh_token !== first.refresh_token);
  await emulator.callGraph(second.access_token, "/v1.0/me");
});

test("signs in with a device code", async () => {
  const config = await discover(cli);
  const device = await client.initiateDeviceAuthorization(config, { scope: userRead });
  await emulator.approve(device.user_code);
  const got = await client.pollDeviceAuthorizationGrant(config, device);
  await emulator.callGraph(got.access_token, "/v1.0/me");
});

// answered sends ben to sign in where the answer comes as a form, and returns
// the request that carried it.
async function answered(config, parameters) {
  const app = await emulator.listen();
  try {
    const redirectUri = `${app.redirectUri}/`;
    const address = client.buildAuthorizationUrl(config, { redirect_uri: redirectUri, response_mode: "form_post", ...parameters });
    await emulator.visit(address.href);
    return new Request(redirectUri, { method: "POST", body: await app.answer });
  } finally {
    app.close();
  }
}

test("verifies the ID token that comes with a code, its c_hash and nonce", async () => {
  const config = await discover(web, client.ClientSecretPost(web.secret));
  client.useCodeIdTokenResponseType(config);
  const [expectedState, expectedNonce, pkceCodeVerifier] = [client.randomState(), client.randomNonce(), client.randomPKCECodeVerifier()];
  const request = await answered(config, {
    scope: `openid profile ${userRead}`, state: expectedState, nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: "S256",
  });
  const got = await client.authorizationCodeGrant(config, request, { expectedState, expectedNonce, pkceCodeVerifier });
  assert.equal(got.claims().name, ben.name);
});

test("verifies an ID token that comes alone", async () => {
  const config = await discover(web);
  client.useIdTokenResponseType(config);
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  const request = await answered(config, { scope: "openid profile", state: expectedState, nonce: expectedNonce });
  const claims = await client.implicitAuthentication(config, request, expectedNonce, { expectedState });
  assert.equal(claims.name, ben.name);
});
