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

const { BatchRequestContent, BatchResponseContent, Client, FileUpload, LargeFileUploadTask, PageIterator } = graph;

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

// It sends its token to every port of the hosts that it knows; where files go,
// tokens are refused.
test("uploads large files to a drive and to a message", async () => {
  const client = connect();
  const ada = "/users/ada@fob.example";
  const content = new Uint8Array(4 << 20).fill(65);
  const upload = async (url, item) => {
    const session = await LargeFileUploadTask.createUploadSession(client, url, item);
    return new LargeFileUploadTask(client, new FileUpload(content.buffer, "big.bin", content.length), session, { rangeSize: 3 * 320 * 1024 }).upload();
  };
  const file = await upload(`${ada}/drive/root:/big.bin:/createUploadSession`, { item: {} });
  assert.equal(file.responseBody.size, content.length);

  const draft = await client.api(`${ada}/messages`).post({ subject: "big" });
  const attached = await upload(`${ada}/messages/${draft.id}/attachments/createUploadSession`,
    { AttachmentItem: { attachmentType: "file", name: "big.bin", size: content.length } });
  assert.ok(attached.location.includes("/Attachments('"));
  const { value } = await client.api(`${ada}/messages/${draft.id}/attachments`).select("name,size").get();
  assert.deepEqual(value.map(({ name, size }) => ({ name, size })), [{ name: "big.bin", size: content.length }]);
});

test("writes and reads mail as MIME", async () => {
  const client = connect();
  const mime = "From: ada@fob.example\r\nTo: ben@fob.example\r\nSubject: =?utf-8?q?Gr=C3=BCezi?=\r\n\r\nHello\r\n";
  const draft = await client.api("/users/ada@fob.example/messages").header("Content-Type", "text/plain").post(Buffer.from(mime).toString("base64"));
  assert.equal(draft.subject, "Grüezi");
  const read = await new Response(await client.api(`/users/ada@fob.example/messages/${draft.id}/$value`).getStream()).text();
  assert.match(read, /^Subject: =\?utf-8\?q\?Gr=C3=BCezi\?=\r$/m);
});
