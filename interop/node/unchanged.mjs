// Programs without any setting but the environment: Microsoft's names lead to
// the emulator here, and NODE_EXTRA_CA_CERTS says whom to trust.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DefaultAzureCredential } from "@azure/identity";
import { ConfidentialClientApplication } from "@azure/msal-node";

const { AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET } = process.env;
const scope = "https://graph.microsoft.com/.default";

async function users(token) {
  const res = await fetch("https://graph.microsoft.com/v1.0/users", { headers: { Authorization: `Bearer ${token}` } });
  assert.equal(res.status, 200);
  assert.equal((await res.json()).value.length, 3);
}

test("MSAL Node", async () => {
  const authority = `https://login.microsoftonline.com/${AZURE_TENANT_ID}`;
  const client = new ConfidentialClientApplication({ auth: { clientId: AZURE_CLIENT_ID, clientSecret: AZURE_CLIENT_SECRET, authority } });
  await users((await client.acquireTokenByClientCredential({ scopes: [scope] })).accessToken);
});

test("@azure/identity", async () => {
  await users((await new DefaultAzureCredential().getToken(scope)).token);
});
