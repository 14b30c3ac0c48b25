"""MSAL for Python, unmodified, where Microsoft's names lead to the emulator.

Its older versions, Debian's among them, drop the port of an authority and ask
Microsoft about a host they do not know, so there is no other way for them."""

import hashlib
import json
import os
import ssl
import unittest
import urllib.request

import msal

TENANT = os.environ["AZURE_TENANT_ID"]
DAEMON, SECRET = os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"]
CLI = "f0b00000-1003-4000-8000-000000000001"
API, API_SECRET, API_SCOPE = "f0b00000-1003-4000-8000-000000000003", "api-secret-value-1", "api://fob-api/access_as_user"
BEN, PASSWORD = "ben@fob.example", "ben-password-1"
GRAPH, USER_READ = ["https://graph.microsoft.com/.default"], ["https://graph.microsoft.com/User.Read"]

ssl._create_default_https_context = lambda: ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])


def daemon(credential=SECRET, client_id=DAEMON):
    return msal.ConfidentialClientApplication(client_id, authority=f"https://login.microsoftonline.com/{TENANT}", client_credential=credential)


def desktop():
    return msal.PublicClientApplication(CLI, authority=f"https://login.microsoftonline.com/{TENANT}")


def call(path, token):
    request = urllib.request.Request("https://graph.microsoft.com" + path, headers={"Authorization": "Bearer " + token})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


class MSAL(unittest.TestCase):
    def token(self, answer):
        self.assertIn("access_token", answer)
        return answer["access_token"]

    def password(self, app, scopes=USER_READ):
        return self.token(app.acquire_token_by_username_password(BEN, PASSWORD, scopes))

    def test_secret(self):
        app = daemon()
        token = self.token(app.acquire_token_for_client(GRAPH))
        self.assertEqual(len(call("/v1.0/users", token)["value"]), 3)
        self.assertEqual(self.token(app.acquire_token_silent(GRAPH, None)), token)

    def test_wrong_secret(self):
        answer = daemon("guess").acquire_token_for_client(GRAPH)
        self.assertEqual((answer["error"], answer["error_codes"]), ("invalid_client", [7000215]))

    def test_certificate(self):
        with open(os.environ["FOB_INTEROP_CERTIFICATE"]) as f:
            certificate, key = f.read().split("-----BEGIN PRIVATE KEY-----")
        credential = {"private_key": "-----BEGIN PRIVATE KEY-----" + key, "public_certificate": certificate,
                      "thumbprint": hashlib.sha1(ssl.PEM_cert_to_DER_cert(certificate.strip())).hexdigest()}
        call("/v1.0/users", self.token(daemon(credential).acquire_token_for_client(GRAPH)))

    def test_password_and_silence(self):
        app = desktop()
        first = self.password(app)
        self.assertEqual(call("/v1.0/me", first)["userPrincipalName"], BEN)
        [account] = app.get_accounts()
        self.assertEqual(self.token(app.acquire_token_silent(USER_READ, account)), first)
        self.assertNotEqual(self.token(app.acquire_token_silent(USER_READ, account, force_refresh=True)), first)
        self.token(app.acquire_token_silent([API_SCOPE], account))

    def test_device_code(self):
        app = desktop()
        flow = app.initiate_device_flow(USER_READ)
        self.assertIn(flow["user_code"], flow["message"])
        approval = json.dumps({"user_code": flow["user_code"], "user": BEN}).encode()
        urllib.request.urlopen(os.environ["FOB_EMULATOR_CONTROL"] + "/device/approve", approval).close()
        self.assertEqual(call("/v1.0/me", self.token(app.acquire_token_by_device_flow(flow)))["userPrincipalName"], BEN)

    def test_browser(self):
        self.assertEqual(call("/v1.0/me", self.token(desktop().acquire_token_interactive(USER_READ)))["userPrincipalName"], BEN)

    def test_on_behalf_of(self):
        token = self.password(desktop(), [API_SCOPE])
        self.assertEqual(call("/v1.0/me", self.token(daemon(API_SECRET, API).acquire_token_on_behalf_of(token, USER_READ)))["userPrincipalName"], BEN)

    def test_unknown_tenant(self):
        with self.assertRaisesRegex(ValueError, "invalid_tenant|Unable to get authority configuration"):
            msal.PublicClientApplication(CLI, authority="https://login.microsoftonline.com/nowhere.example").initiate_device_flow(USER_READ)


if __name__ == "__main__":
    unittest.main()
