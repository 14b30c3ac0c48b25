// MSAL Node takes another authority if its host, port included, is among the
// knownAuthorities.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { ConfidentialClientApplication, InteractionRequiredAuthError, PublicClientApplication } from "@azure/msal-node";
import * as emulator from "./emulator.mjs";
import { api, ben, cli, daemon, graphDefault, userRead, web } from "./emulator.mjs";

const auth = (more) => ({ auth: { authority: emulator.authority, knownAuthorities: [emulator.host], ...more } });
const daemonWith = (more) => new ConfidentialClientApplication(auth({ clientId: daemon.id, ...more }));
const user = (more) => new PublicClientApplication(auth({ clientId: cli.id, ...more }));
const password = (client, scopes) => client.acquireTokenByUsernamePassword({ scopes, username: ben.upn, password: ben.password });

const pem = emulator.certificate;
const leaf = new X509Certificate(pem);
const privateKey = pem.slice(pem.indexOf("-----BEGIN PRIVATE KEY-----"));
const nbf = JSON.stringify({ access_token: { nbf: { essential: true, value: "1700000000" } } });

test("signs in with a secret", async () => {
  const got = await daemonWith({ clientSecret: daemon.secret }).acquireTokenByClientCredential({ scopes: [graphDefault] });
  assert.equal(emulator.claims(got.accessToken).appid, daemon.id);
  await emulator.callGraph(got.accessToken, "/v1.0/users");
});

test("tells that a secret is wrong", async () => {
  await assert.rejects(daemonWith({ clientSecret: "guess" }).acquireTokenByClientCredential({ scopes: [graphDefault] }), (err) => {
    assert.equal(err.errorCode, "invalid_client");
    assert.match(err.errorMessage, /AADSTS7000215: Invalid client secret provided/);
    return true;
  });
});

test("keeps an app token in its cache", async () => {
  const client = daemonWith({ clientSecret: daemon.secret });
  const first = await client.acquireTokenByClientCredential({ scopes: [graphDefault] });
  await emulator.forget();
  const second = await client.acquireTokenByClientCredential({ scopes: [graphDefault] });
  assert.equal(second.accessToken, first.accessToken);
  assert.equal(second.fromCache, true);
  assert.equal((await emulator.exchanges()).length, 0);
});

test("signs in with a certificate", async () => {
  const clientCertificate = { thumbprintSha256: leaf.fingerprint256.replaceAll(":", ""), privateKey };
  const got = await daemonWith({ clientCertificate }).acquireTokenByClientCredential({ scopes: [graphDefault] });
  await emulator.callGraph(got.accessToken, "/v1.0/users");
});

test("signs in with a certificate and its chain", async () => {
  const clientCertificate = { thumbprintSha256: leaf.fingerprint256.replaceAll(":", ""), privateKey, x5c: leaf.toString() };
  const got = await daemonWith({ clientCertificate }).acquireTokenByClientCredential({ scopes: [graphDefault] });
  await emulator.callGraph(got.accessToken, "/v1.0/users");
});

test("signs in with a certificate by its SHA-1 thumbprint", async () => {
  const clientCertificate = { thumbprint: leaf.fingerprint.replaceAll(":", ""), privateKey };
  const got = await daemonWith({ clientCertificate }).acquireTokenByClientCredential({ scopes: [graphDefault] });
  await emulator.callGraph(got.accessToken, "/v1.0/users");
});

test("signs in with a device code", async () => {
  let message;
  const got = await user().acquireTokenByDeviceCode({
    scopes: [userRead],
    deviceCodeCallback: (code) => {
      message = code.message;
      emulator.approve(code.userCode);
    },
  });
  assert.match(message, /enter the code [A-Z0-9]+/);
  assert.equal(got.account.username, ben.upn);
  assert.equal(got.account.homeAccountId, `${ben.id}.${emulator.tenant}`);
  await emulator.callGraph(got.accessToken, "/v1.0/me");
});

test("tells that a device code was declined", async () => {
  await assert.rejects(
    user().acquireTokenByDeviceCode({ scopes: [userRead], deviceCodeCallback: (code) => emulator.deny(code.userCode) }),
    { message: /authorization_declined/ },
  );
});

test("signs in with a browser and a form post", async () => {
  let address;
  const got = await user().acquireTokenInteractive({
    scopes: [userRead],
    openBrowser: async (to) => {
      address = new URL(to);
      await emulator.visit(to);
    },
  });
  assert.equal(address.searchParams.get("response_mode"), "form_post");
  assert.equal(got.idTokenClaims.name, ben.name);
  await emulator.callGraph(got.accessToken, "/v1.0/me");
});

test("redeems a code of a web app", async () => {
  const client = new ConfidentialClientApplication(auth({ clientId: web.id, clientSecret: web.secret }));
  const app = await emulator.listen();
  try {
    const address = await client.getAuthCodeUrl({ scopes: [userRead], redirectUri: app.redirectUri, state: "state-1" });
    await emulator.visit(address);
    const answer = await app.answer;
    assert.equal(answer.get("state"), "state-1");
    const got = await client.acquireTokenByCode({ scopes: [userRead], redirectUri: app.redirectUri, code: answer.get("code") });
    await emulator.callGraph(got.accessToken, "/v1.0/me");
  } finally {
    app.close();
  }
});

test("signs in with a password", async () => {
  const got = await password(user(), [userRead]);
  assert.equal(emulator.claims(got.accessToken).oid, ben.id);
});

test("renews a user token in silence", async () => {
  const client = user();
  const first = await password(client, [userRead]);
  await emulator.forget();
  const second = await client.acquireTokenSilent({ scopes: [userRead], account: first.account, forceRefresh: true });
  assert.notEqual(second.accessToken, first.accessToken);
  const [exchange, ...more] = await emulator.exchanges();
  assert.equal(exchange.form.grant_type[0], "refresh_token");
  assert.equal(more.length, 0);
  await emulator.callGraph(second.accessToken, "/v1.0/me");
});

test("keeps a user token in its cache", async () => {
  const client = user();
  const first = await password(client, [userRead]);
  await emulator.forget();
  const second = await client.acquireTokenSilent({ scopes: [userRead], account: first.account });
  assert.equal(second.accessToken, first.accessToken);
  assert.equal((await emulator.exchanges()).length, 0);
});

test("gets a token for another API in silence", async () => {
  const client = user();
  const first = await password(client, [userRead]);
  const second = await client.acquireTokenSilent({ scopes: [api.scope], account: first.account });
  assert.equal(emulator.claims(second.accessToken).aud, api.id);
});

test("answers a claims challenge in silence", async () => {
  const client = user({ clientCapabilities: ["CP1"] });
  const first = await password(client, [userRead]);
  const second = await client.acquireTokenSilent({ scopes: [userRead], account: first.account, claims: nbf });
  assert.notEqual(second.accessToken, first.accessToken);
  assert.ok(emulator.claims(second.accessToken).xms_cc.includes("CP1"));
});

test("tells that a revoked session needs a person", async () => {
  const client = user();
  const { account } = await password(client, [userRead]);
  await emulator.revoke();
  await assert.rejects(client.acquireTokenSilent({ scopes: [userRead], account, forceRefresh: true }), (err) => {
    assert.ok(err instanceof InteractionRequiredAuthError, `${err.name}: ${err.message}`);
    assert.match(err.errorMessage, /AADSTS50173/);
    return true;
  });
});

test("acts on behalf of a user", async () => {
  const { accessToken } = await password(user(), [api.scope]);
  const client = new ConfidentialClientApplication(auth({ clientId: api.id, clientSecret: api.secret }));
  const got = await client.acquireTokenOnBehalfOf({ oboAssertion: accessToken, scopes: [userRead] });
  assert.equal((await emulator.callGraph(got.accessToken, "/v1.0/me")).id, ben.id);
});

test("finds the tenant by its domain", async () => {
  const got = await password(user({ authority: `${emulator.url}/fob.example` }), [userRead]);
  assert.equal(got.tenantId, emulator.tenant);
});

test("tells that a tenant does not exist", async () => {
  await assert.rejects(password(user({ authority: `${emulator.url}/nowhere.example` }), [userRead]));
});
