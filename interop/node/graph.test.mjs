// Microsoft's Graph client for JavaScript is pointed at another Graph by its
// base URL, and by customHosts, the hosts that it gives a token. It speaks
// https only.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientSecretCredential } from "@azure/identity";
import graph from "@microsoft/microsoft-graph-client";
import azure from "@microsoft/microsoft-graph-client/authProviders/azureTokenCredentials/index.js";
import * as emulator from "./emulator.mjs";
import { daemon, graphDefault } from "./emulator.mjs";

const { BatchRequestContent, BatchResponseContent, Client, PageIterator } = graph;

function connect() {
  const credential = new ClientSecretCredential(emulator.tenant, daemon.id, daemon.secret, { authorityHost: emulator.url, disableInstanceDiscovery: true });
  return Client.initWithMiddleware({
    baseUrl: `${emulator.graph}/`, customHosts: new Set([new URL(emulator.graph).hostname]),
    authProvider: new azure.TokenCredentialAuthenticationProvider(credential, { scopes: [graphDefault] }),
  });
}

test("iterates over the users of all pages", async () => {
  const client = connect();
  const names = [];
  const first = await client.api("/users").top(1).select(["displayName", "id"]).get();
  await new PageIterator(client, first, (user) => names.push(user.displayName) > 0).iterate();
  assert.deepEqual(names.sort(), ["Ada Quill", "Ben Ostrow", "Cleo Marsh"]);
});

test("filters, and counts with the header of advanced queries", async () => {
  const client = connect();
  const found = await client.api("/users").header("ConsistencyLevel", "eventual").filter("startswith(displayName,'A')").count(true).get();
  assert.equal(found["@odata.count"], 1);
  assert.equal(found.value[0].displayName, "Ada Quill");
});

test("reads the refusal", async () => {
  await assert.rejects(connect().api("/users/nobody@fob.example").get(), (err) => {
    assert.equal(err.statusCode, 404);
    assert.equal(err.code, "Request_ResourceNotFound");
    assert.ok(err.requestId);
    return true;
  });
});

test("sends a batch", async () => {
  const client = connect();
  const steps = ["ada", "nobody"].map((name, i) => ({ id: String(i + 1), request: new Request(`${emulator.graph}/v1.0/users/${name}@fob.example?$select=displayName`, { method: "GET" }) }));
  const content = await new BatchRequestContent(steps).getContent();
  const answers = new BatchResponseContent(await client.api("/$batch").post(content));
  assert.equal((await answers.getResponseById("1").json()).displayName, "Ada Quill");
  assert.equal(answers.getResponseById("2").status, 404);
});
