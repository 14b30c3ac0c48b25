// What the tests know of the emulator they run against: the Go test that starts
// them says it by the environment.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

function need(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run these tests with "go test -run TestNode" in interop/`);
  return value;
}

export const url = need("FOB_EMULATOR");
export const host = new URL(url).host;
export const graph = need("FOB_INTEROP_GRAPH");
export const tenant = need("AZURE_TENANT_ID");
export const authority = `${url}/${tenant}`;
export const certificateFile = need("FOB_INTEROP_CERTIFICATE");
export const certificate = readFileSync(certificateFile, "utf8");

// The default world of the emulator.
export const cli = { id: "f0b00000-1003-4000-8000-000000000001" };
export const daemon = { id: "f0b00000-1003-4000-8000-000000000002", secret: "daemon-secret-value-1" };
export const api = { id: "f0b00000-1003-4000-8000-000000000003", secret: "api-secret-value-1", scope: "api://fob-api/access_as_user" };
export const spa = { id: "f0b00000-1003-4000-8000-000000000005" };
export const web = { id: "f0b00000-1003-4000-8000-000000000004", secret: "web-secret-value-1" };
export const ben = { id: "f0b00000-1001-4000-8000-000000000002", upn: "ben@fob.example", password: "ben-password-1", name: "Ben Ostrow" };
export const graphDefault = "https://graph.microsoft.com/.default";
export const userRead = "https://graph.microsoft.com/User.Read";

// control calls the emulator's control server.
async function control(method, path, body) {
  const res = await fetch(need("FOB_EMULATOR_CONTROL") + path, { method, body: body && JSON.stringify(body) });
  const text = await res.text();
  assert.equal(res.status, 200, `${method} ${path}: ${text}`);
  return JSON.parse(text);
}

export const approve = (userCode) => control("POST", "/device/approve", { user_code: userCode, user: ben.upn });
export const deny = (userCode) => control("POST", "/device/deny", { user_code: userCode });
export const revoke = () => control("POST", "/revoke", { user: ben.upn });
export const challenge = (n) => control("POST", "/challenge", { n });
export const forget = () => control("DELETE", "/requests");

// exchanges are the requests to the token endpoint since the last forget().
export async function exchanges() {
  return (await control("GET", "/requests")).filter((r) => r.path.endsWith("/token"));
}

// visit sends ben's browser to an address; he signs in and agrees.
export async function visit(address) {
  const res = await fetch(need("FOB_INTEROP_BROWSER"), { method: "POST", body: address });
  const text = await res.text();
  assert.equal(res.status, 200, `the browser: ${text}`);
  return text;
}

export async function callGraph(token, path) {
  const res = await fetch(graph + path, { headers: { Authorization: `Bearer ${token}` } });
  const text = await res.text();
  assert.equal(res.status, 200, `GET ${path}: ${text}`);
  return JSON.parse(text);
}

// claims reads a token without checking it.
export function claims(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
}

// listen starts the server of an app that waits for the answer to a sign-in.
export async function listen() {
  let tell;
  const answer = new Promise((resolve) => (tell = resolve));
  const server = createServer(async (req, res) => {
    const form = Buffer.concat(await req.toArray()).toString();
    res.setHeader("Connection", "close");
    res.end("you may close this window");
    tell(req.method === "POST" ? new URLSearchParams(form) : new URL(req.url, redirectUri).searchParams);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const redirectUri = `http://localhost:${server.address().port}`;
  return { redirectUri, answer, close: () => server.close() };
}
