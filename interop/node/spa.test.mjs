// A single-page app in a real browser: MSAL for browsers is told the authority
// like MSAL Node, by knownAuthorities with the port. Chromium is told to trust
// the emulator's certificate, and to let its cookies into frames of the app:
// http://localhost and https://localhost are different sites.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import puppeteer from "puppeteer-core";
import * as emulator from "./emulator.mjs";
import { api, ben, cli, spa, userRead } from "./emulator.mjs";

const lib = "node_modules/@azure/msal-browser/lib/";
const scripts = {
  "/msal.js": readFileSync(`${lib}msal-browser.min.js`),
  "/bridge.js": readFileSync(`${lib}redirect-bridge/msal-redirect-bridge.min.js`),
};
const head = `<!doctype html><link rel=icon href="data:,">`;
const pages = {
  "/": `${head}<title>app</title><script src=/msal.js></script>`,
  "/spa": `${head}<title>answer</title><script src=/bridge.js></script><script>msalRedirectBridge.broadcastResponseToMainFrame()</script>`,
};
const server = createServer((req, res) => {
  const { pathname } = new URL(req.url, "http://localhost");
  res.setHeader("Content-Type", scripts[pathname] ? "text/javascript" : "text/html");
  res.end(scripts[pathname] ?? pages[pathname]);
});

let app, browser, profile;

before(async () => {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  app = `http://localhost:${server.address().port}`;
  profile = mkdtempSync(join(tmpdir(), "fob-interop-"));
  mkdirSync(join(profile, "Default"));
  writeFileSync(join(profile, "Default", "Preferences"), JSON.stringify({ profile: { cookie_controls_mode: 0 } }));
  browser = await puppeteer.launch({
    executablePath: process.env.FOB_INTEROP_CHROMIUM, userDataDir: profile,
    args: ["--no-sandbox", "--disable-gpu", `--ignore-certificate-errors-spki-list=${await fingerprint()}`],
  });
});

after(async () => {
  await browser?.close();
  server.close();
  if (profile) rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
});

// fingerprint is the SHA-256 of the public key in the emulator's certificate.
async function fingerprint() {
  const { hostname, port } = new URL(emulator.url);
  const socket = connect({ host: hostname, port, servername: hostname });
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  const key = socket.getPeerX509Certificate().publicKey.export({ type: "spki", format: "der" });
  socket.destroy();
  return createHash("sha256").update(key).digest("base64");
}

// inBrowser is a test in a browser of its own, where the app has been opened.
const inBrowser = (name, run, { client = spa.id, redirect = "/spa" } = {}) => test(name, async () => {
  const context = await browser.createBrowserContext();
  try {
    const page = await context.newPage();
    await page.goto(app);
    await loadMSAL(page, client, redirect);
    await run(page, context);
  } finally {
    await context.close();
  }
});

const loadMSAL = (page, clientId, redirect) => page.evaluate(async (clientId, redirect, authority, host) => {
  window.client = new msal.PublicClientApplication({ auth: { clientId, authority, knownAuthorities: [host], redirectUri: location.origin + redirect } });
  await client.initialize();
}, clientId, redirect, emulator.authority, emulator.host);

// signIn fills in the form on the sign-in page and sends it.
async function signIn(page) {
  await page.waitForSelector("[name=passwd]");
  await page.type("[name=loginfmt]", ben.upn);
  await page.type("[name=passwd]", ben.password);
  await page.click("[type=submit], button[value=signin]");
}

// popup signs ben in, in a window that the app opens.
async function popup(page, context) {
  const opened = new Promise((resolve) => context.once("targetcreated", resolve));
  const got = page.evaluate((scope) => client.loginPopup({ scopes: [scope] }).then(
    (r) => ({ token: r.accessToken, user: r.account.username }), (err) => ({ error: err.errorCode, message: err.message })), userRead);
  const page2 = await (await opened).page();
  await signIn(page2);
  return got;
}

// silently asks for a token without the user; options are of MSAL.
const silently = (page, scope, options) => page.evaluate(async (scope, options) => {
  const r = await client.acquireTokenSilent({ scopes: [scope], account: client.getAllAccounts()[0], ...options });
  return { token: r.accessToken, cached: r.fromCache };
}, scope, options ?? {});

inBrowser("signs in with a popup, and calls Graph from the page", async (page, context) => {
  const { token, user } = await popup(page, context);
  assert.equal(user, ben.upn);
  const [status, name] = await page.evaluate(async (url, token) => {
    const res = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
    return [res.status, (await res.json()).displayName];
  }, `${emulator.graph}/v1.0/me`, token);
  assert.deepEqual([status, name], [200, ben.name]);
});

inBrowser("renews in silence, for another API as well", async (page, context) => {
  const { token } = await popup(page, context);
  assert.deepEqual(await silently(page, userRead), { token, cached: true });
  assert.notEqual((await silently(page, userRead, { forceRefresh: true })).token, token);
  const other = await silently(page, api.scope);
  assert.equal(emulator.claims(other.token).aud, api.id);
});

inBrowser("signs its calls with a key that the token is bound to", async (page, context) => {
  await popup(page, context);
  const me = `${emulator.graph}/v1.0/me`;
  const pop = { authenticationScheme: "pop", resourceRequestMethod: "GET", resourceRequestUri: me };
  const { token } = await silently(page, userRead, pop);
  const call = (url, authorization) => page.evaluate(async (url, authorization) => {
    const res = await fetch(url, { headers: { Authorization: authorization } });
    return { status: res.status, challenge: res.headers.get("WWW-Authenticate"), next: res.headers.get("Authentication-Info") };
  }, url, authorization);
  const first = await call(me, `PoP ${token}`);
  assert.equal(first.status, 200);
  const shrNonce = first.next.match(/nextnonce="([^"]+)"/)[1];
  const second = (await silently(page, userRead, { ...pop, shrNonce })).token;
  assert.equal(emulator.claims(second).nonce, shrNonce);
  assert.equal((await call(me, `PoP ${second}`)).status, 200);
  for (const [url, authorization] of [[`${me}/messages`, `PoP ${token}`], [me, `Bearer ${emulator.claims(token).at}`]]) {
    const { status, challenge } = await call(url, authorization);
    assert.equal(status, 401);
    assert.match(challenge, /^Bearer .*, PoP .*nonce="/);
  }
});

inBrowser("signs in in a hidden frame where ben is signed in", async (page, context) => {
  await popup(page, context);
  const user = await page.evaluate((scope, loginHint) => client.ssoSilent({ scopes: [scope], loginHint }).then((r) => r.account.username), userRead, ben.upn);
  assert.equal(user, ben.upn);
});

inBrowser("tells in a hidden frame that nobody is signed in", async (page) => {
  const err = await page.evaluate((scope) => client.ssoSilent({ scopes: [scope] }).catch((err) => ({ kind: err instanceof msal.InteractionRequiredAuthError, message: err.message })), userRead);
  assert.ok(err.kind, err.message);
  assert.match(err.message, /AADSTS50058/);
});

// leave waits until the page is another one.
const leave = (page, what) => Promise.all([page.waitForNavigation(), what]);

// redirected sends ben away to sign in, and reads the answer in the page that
// he comes back to.
async function redirected(page, clientId) {
  await leave(page, page.evaluate((scope) => void client.loginRedirect({ scopes: [scope] }), userRead));
  await leave(page, signIn(page));
  assert.equal(page.url().split("#")[0], `${app}/`);
  await loadMSAL(page, clientId, "/");
  return page.evaluate(() => client.handleRedirectPromise({ navigateToLoginRequestUrl: false }).then(
    (r) => ({ user: r.account.username }), (err) => ({ error: err.errorCode, message: err.message })));
}

inBrowser("signs in with a redirect, and out again", async (page) => {
  assert.equal((await redirected(page, spa.id)).user, ben.upn);
  await leave(page, page.evaluate(() => void client.logoutRedirect({ account: client.getAllAccounts()[0] })));
  await page.goto(app);
  await loadMSAL(page, spa.id, "/spa");
  assert.match(await page.evaluate((scope) => client.ssoSilent({ scopes: [scope] }).catch((err) => err.message), userRead), /AADSTS50058/);
}, { redirect: "/" });

inBrowser("tells a page that its app is not registered as one", async (page) => {
  const { error, message } = await redirected(page, cli.id);
  assert.equal(error, "invalid_request", message);
  assert.match(message, /AADSTS9002326: Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type/);
}, { client: cli.id, redirect: "/" });
