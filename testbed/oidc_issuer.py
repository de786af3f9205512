"""An issuer of OpenID Connect with keys of its own, over TLS, in the place of GitHub, GitLab or a company's provider.

Its claims are those that GitHub documents: https://docs.github.com/en/actions/reference/security/oidc.
"""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from joserfc import jws, jwt
from joserfc.jwk import ECKey, RSAKey

from testbed.certificates import issue
from testbed.http_server import in_thread, send_json

HOST: Final = "localhost"
REQUEST_TOKEN: Final = "request-token-of-the-runner"
LIFE: Final = 300  # seconds
PIECE: Final = 10  # bytes that are sent at a time, if the issuer is slow
# GitHub's claims of a job of acme/wine on its branch main.
GITHUB: Final = {
    "sub": "repo:acme@11/wine@22:ref:refs/heads/main",
    "repository": "acme/wine",
    "repository_id": "22",
    "repository_owner": "acme",
    "repository_owner_id": "11",
    "ref": "refs/heads/main",
    "ref_type": "branch",
    "event_name": "push",
    "actor": "jane",
    "actor_id": "33",
    "run_id": "1234567890",
    "run_number": "7",
    "run_attempt": "1",
    "workflow": "Promote models",
    "workflow_ref": "acme/wine/.github/workflows/model-promote.yml@refs/heads/main",
    "job_workflow_ref": "acme/wine/.github/workflows/model-promote.yml@refs/heads/main",
    "runner_environment": "github-hosted",
    "repository_visibility": "private",
    "jti": "2f1e0c4a-8f0b-4f0e-9a7c-3c9b6f3d2a11",
}

Json = dict[str, Any]
SigningKey = RSAKey | ECKey


@dataclass(slots=True)
class Issuer:
    """A running issuer, and its faults: keys that are other than published, slow, huge, redirected or away."""

    uri: str
    authority: Path
    keys: list[SigningKey] = field(default_factory=lambda: [new_key("one")])
    claims: Json = field(default_factory=lambda: dict(GITHUB))  # of a token that a runner asks for
    document: bytes | None = None  # is sent instead of the keys
    status: int = 200
    location: str | None = None
    padding: int = 0  # bytes of white space after the keys
    pause: float = 0  # seconds before each piece of the keys
    asked: list[str] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)  # of the same requests

    def token(self, claims: Mapping[str, Any], *, key: SigningKey | None = None, **header: Any) -> str:
        """Return a token with these claims; one that is None is left out."""
        now, signing = int(time.time()), key or self.keys[-1]
        times = {"iss": self.uri, "iat": now, "nbf": now - 5, "exp": now + LIFE}
        kept = {name: value for name, value in {**times, **claims}.items() if value is not None}
        head = {"alg": "RS256" if isinstance(signing, RSAKey) else "ES256", "kid": signing.kid, **header}
        return jwt.encode(head, kept, signing, algorithms=[head["alg"]])

    def signed(self, claims: bytes) -> str:
        """Return a token of claims that are this text."""
        key = self.keys[-1]
        return jws.serialize_compact({"alg": "RS256", "kid": key.kid}, claims, key, algorithms=["RS256"])

    @property
    def request_url(self) -> str:
        """The value of ACTIONS_ID_TOKEN_REQUEST_URL, which has a query as GitHub's has."""
        return f"{self.uri}/request?api-version=2.0"

    def runner_variables(self) -> dict[str, str]:
        """Return the variables of a job that may ask for a token."""
        return {"ACTIONS_ID_TOKEN_REQUEST_URL": self.request_url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN}

    def published(self) -> Json:
        return {"keys": [{**key.as_dict(private=False), "use": "sig"} for key in self.keys]}


def new_key(key_id: str, kind: str = "RSA") -> SigningKey:
    if kind == "RSA":
        return RSAKey.generate_key(2048, {"kid": key_id})
    return ECKey.generate_key("P-256", {"kid": key_id})


class Handler(BaseHTTPRequestHandler):
    """Answers for the issuer of its server."""

    @property
    def issuer(self) -> Issuer:
        server = self.server
        assert isinstance(server, Server)  # noqa: S101  it is made by nothing else
        return server.issuer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.issuer.asked.append(parts.path)
        self.issuer.authorizations.append(self.headers.get("Authorization"))
        if parts.path == "/request":
            self._give_token(parse_qs(parts.query))
        elif parts.path == "/keys":
            self._give_keys()
        elif parts.path == "/.well-known/openid-configuration":
            send_json(self, 200, {"issuer": self.issuer.uri, "jwks_uri": f"{self.issuer.uri}/keys"})
        else:
            send_json(self, 200, self.issuer.published())  # where a redirect leads

    def _give_token(self, query: Mapping[str, list[str]]) -> None:
        if self.headers.get("Authorization") != f"Bearer {REQUEST_TOKEN}":
            send_json(self, 401, {"message": "the request token is wrong"})
        else:
            claims = {"aud": query["audience"][0], **self.issuer.claims}
            send_json(self, 200, {"count": 1, "value": self.issuer.token(claims)})

    def _give_keys(self) -> None:
        found = self.issuer
        body = b"" if found.location else found.document or json.dumps(found.published()).encode()
        body += b" " * found.padding
        self.send_response(found.status)
        self.send_header("Content-Length", str(len(body)))
        if found.location:
            self.send_header("Location", found.location)
        self.end_headers()
        size = PIECE if found.pause else max(len(body), 1)
        for start in range(0, len(body), size):
            time.sleep(found.pause)
            self.wfile.write(body[start : start + size])

    def log_message(self, *_: Any) -> None: ...


class Server(ThreadingHTTPServer):
    """The server of one issuer."""

    issuer: Issuer

    def handle_error(self, *_: Any) -> None:
        """Keep quiet about a client that hangs up."""


@contextmanager
def oidc_issuer(directory: Path) -> Iterator[Issuer]:
    """Run an issuer for the length of a `with` block; `directory` takes its certificates."""
    files = issue(directory, HOST)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.certificate, files.key)
    with Server((HOST, 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.issuer = Issuer(uri=f"https://{HOST}:{server.server_port}", authority=files.authority)
        with in_thread(server):
            yield server.issuer
