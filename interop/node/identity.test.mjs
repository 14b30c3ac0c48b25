// @azure/identity is pointed at another authority by authorityHost, and must be
// told not to validate it.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ClientCertificateCredential,
  ClientSecretCredential,
  DeviceCodeCredential,
  EnvironmentCredential,
  InteractiveBrowserCredential,
  OnBehalfOfCredential,
  UsernamePasswordCredential,
} from "@azure/identity";
import { bearerTokenAuthenticationPolicy, createEmptyPipeline, createDefaultHttpClient, createPipelineRequest } from "@azure/core-rest-pipeline";
import * as emulator from "./emulator.mjs";
import { api, ben, cli, daemon, graphDefault, tenant, userRead } from "./emulator.mjs";

const here = { authorityHost: emulator.url, disableInstanceDiscovery: true };

test("signs in with a secret", async () => {
  const { token } = await new ClientSecretCredential(tenant, daemon.id, daemon.secret, here).getToken(graphDefault);
  await emulator.callGraph(token, "/v1.0/users");
});

test("tells that a secret is wrong", async () => {
  await assert.rejects(new ClientSecretCredential(tenant, daemon.id, "guess", here).getToken(graphDefault), (err) => {
    assert.match(err.message, /AADSTS7000215/);
    return true;
  });
});

test("signs in with a certificate", async () => {
  const credential = new ClientCertificateCredential(tenant, daemon.id, { certificatePath: emulator.certificateFile }, here);
  await emulator.callGraph((await credential.getToken(graphDefault)).token, "/v1.0/users");
});

test("signs in with a certificate and its chain", async () => {
  const credential = new ClientCertificateCredential(tenant, daemon.id, { certificate: emulator.certificate }, { ...here, sendCertificateChain: true });
  await emulator.callGraph((await credential.getToken(graphDefault)).token, "/v1.0/users");
});

test("reads a secret from the environment", async () => {
  await emulator.callGraph((await new EnvironmentCredential({ disableInstanceDiscovery: true }).getToken(graphDefault)).token, "/v1.0/users");
});

test("signs in with a device code", async () => {
  const credential = new DeviceCodeCredential({ ...here, tenantId: tenant, clientId: cli.id, userPromptCallback: (info) => emulator.approve(info.userCode) });
  const { token } = await credential.getToken(userRead);
  assert.equal((await emulator.callGraph(token, "/v1.0/me")).id, ben.id);
  await emulator.forget();
  assert.equal((await credential.getToken(userRead)).token, token);
  assert.equal((await emulator.exchanges()).length, 0);
});

test("opens a browser", { skip: process.platform !== "linux" && "the browser is not found by $BROWSER here" }, async () => {
  const credential = new InteractiveBrowserCredential({ ...here, tenantId: tenant, clientId: cli.id });
  const { token } = await credential.getToken(userRead);
  assert.equal((await emulator.callGraph(token, "/v1.0/me")).id, ben.id);
});

test("acts on behalf of a user", async () => {
  const user = new UsernamePasswordCredential(tenant, cli.id, ben.upn, ben.password, here);
  const userAssertionToken = (await user.getToken(api.scope)).token;
  const credential = new OnBehalfOfCredential({ ...here, tenantId: tenant, clientId: api.id, clientSecret: api.secret, userAssertionToken });
  assert.equal((await emulator.callGraph((await credential.getToken(userRead)).token, "/v1.0/me")).id, ben.id);
});

test("answers a claims challenge once", async () => {
  const credential = new ClientSecretCredential(tenant, daemon.id, daemon.secret, here);
  const pipeline = createEmptyPipeline();
  pipeline.addPolicy(bearerTokenAuthenticationPolicy({ credential, scopes: graphDefault }));
  await emulator.forget();
  await emulator.challenge(1);
  const res = await pipeline.sendRequest(createDefaultHttpClient(), createPipelineRequest({ url: `${emulator.graph}/v1.0/users` }));
  assert.equal(res.status, 200);
  const [, second, ...more] = await emulator.exchanges();
  assert.match(second.form.claims[0], /nbf/);
  assert.equal(more.length, 0);
});
