// Libraries that APIs verify access tokens with, and what they look up by
// themselves: the issuer's keys.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRemoteJWKSet, importSPKI, jwtVerify } from "jose";
import jwksRsa from "jwks-rsa";
import * as emulator from "./emulator.mjs";
import { api, daemon, graphDefault } from "./emulator.mjs";

const metadata = async (path) => (await fetch(`${emulator.authority}/${path}.well-known/openid-configuration`)).json();

async function appToken(scope) {
  const body = new URLSearchParams({ grant_type: "client_credentials", client_id: daemon.id, client_secret: daemon.secret, scope });
  return (await (await fetch(`${emulator.authority}/oauth2/v2.0/token`, { method: "POST", body })).json()).access_token;
}

// another puts other bytes into the signature.
const another = (token) => token.replace(/[^.]*$/, (signature) => signature.split("").reverse().join(""));

test("jose verifies a v2 token", async () => {
  const { issuer, jwks_uri } = await metadata("v2.0/");
  const [token, keys] = [await appToken("api://fob-api/.default"), createRemoteJWKSet(new URL(jwks_uri))];
  const { payload } = await jwtVerify(token, keys, { issuer, audience: api.id });
  assert.deepEqual(payload.roles, ["Tasks.Read.All"]);
  await assert.rejects(jwtVerify(another(token), keys), { code: "ERR_JWS_SIGNATURE_VERIFICATION_FAILED" });
});

test("jose verifies a v1 token", async () => {
  const { issuer, jwks_uri } = await metadata("");
  await jwtVerify(await appToken(graphDefault), createRemoteJWKSet(new URL(jwks_uri)), { issuer, audience: "https://graph.microsoft.com" });
});

test("jwks-rsa finds the key", async () => {
  const token = await appToken("api://fob-api/.default");
  const { kid } = JSON.parse(Buffer.from(token.split(".")[0], "base64url"));
  const { jwks_uri } = await metadata("v2.0/");
  const key = await jwksRsa({ jwksUri: jwks_uri }).getSigningKey(kid);
  await jwtVerify(token, await importSPKI(key.getPublicKey(), "RS256"), { audience: api.id });
});
