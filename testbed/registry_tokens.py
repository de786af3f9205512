"""A server that gives the tokens of a registry to a user with a password, as the registries of clouds have one."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from testbed.http_server import in_thread, send_json

ISSUER: Final = "testbed-tokens"
SERVICE: Final = "testbed-registry"
KEY_ID: Final = "testbed"
COORDINATE: Final = 32  # bytes of a number of P-256

Json = dict[str, Any]


@dataclass(slots=True)
class TokenServer:
    """A running server; `uri` is its address for a registry's setting `realm`. A token is valid for `seconds`."""

    uri: str
    seconds: float = 300
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def settings(self, directory: Path) -> Json:
        """Return the registry's settings, with the key in a file."""
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "EC", "crv": "P-256", "x": _number(numbers.x), "y": _number(numbers.y), "kid": KEY_ID}
        file = directory / "jwks.json"
        file.write_text(json.dumps({"keys": [key | {"use": "sig", "alg": "ES256"}]}))
        return {"token": {"realm": self.uri, "service": SERVICE, "issuer": ISSUER, "jwks": str(file)}}

    def token(self, scopes: list[str]) -> str:
        """Return a token for scopes such as "repository:wine:pull,push"."""
        now = int(time.time())
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.split(":") for scope in scopes)
        ]
        times = {"iat": now, "nbf": now - 10, "exp": now + self.seconds}
        claims = {"iss": ISSUER, "sub": "testbed", "aud": SERVICE, "jti": str(now), "access": access, **times}
        head = {"typ": "JWT", "alg": "ES256", "kid": KEY_ID}
        signed = ".".join(_text(json.dumps(part).encode()) for part in (head, claims))
        one, other = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_text(one.to_bytes(COORDINATE, 'big') + other.to_bytes(COORDINATE, 'big'))}"


@contextmanager
def token_server(user: str, password: str) -> Iterator[TokenServer]:
    """Give tokens to this user, for the length of a `with` block; others get 401."""
    login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != login:
                send_json(self, 401, {"details": "incorrect username or password"})
                return
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            send_json(self, 200, {"token": found.token(scopes)})

        def do_POST(self) -> None:
            """Give a token for the password as a refresh token, as Azure's registry does."""
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if (form["grant_type"], form["refresh_token"], form["service"]) != (
                ["refresh_token"],
                [password],
                [SERVICE],
            ):
                send_json(self, 401, {"errors": [{"code": "UNAUTHORIZED"}]})
                return
            send_json(self, 200, {"access_token": found.token(form.get("scope", []))})

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = TokenServer(uri=f"http://127.0.0.1:{server.server_port}/token")
        with in_thread(server):
            yield found


def _number(value: int) -> str:
    return _text(value.to_bytes(COORDINATE, "big"))


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
