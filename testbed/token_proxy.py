"""A reverse proxy that requires a token, as one stands in front of MLflow in a Domino installation.

As a process: `python -m testbed.token_proxy --upstream http://127.0.0.1:5000 --token-file FILE [--host ADDRESS] [--port
N]` prints its address.
"""

import argparse
import hmac
import json
import signal
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.reverse_proxy import Exchange, Rule, reverse_proxy


def require_token(token: str) -> Rule:
    """Answer 401 to a request without `Authorization: Bearer <token>`."""

    def check(exchange: Exchange) -> bool:
        shown = exchange.headers.get("Authorization", "")
        if hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            return False
        answer = {"error_code": "UNAUTHENTICATED", "message": "token not accepted" if shown else "no token"}
        headers = {"Content-Type": "application/json", "WWW-Authenticate": 'Bearer realm="mlflow"'}
        exchange.send(401, json.dumps(answer).encode(), headers)
        return True

    return check


@contextmanager
def token_proxy(upstream: str, token: str, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yield the address of a proxy in front of `upstream` that requires `token`."""
    with reverse_proxy(upstream, require_token(token), tls=tls) as proxy:
        yield proxy.uri


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Let through who shows the right token")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(argv)
    token = options.token_file.read_text().strip()
    with reverse_proxy(options.upstream, require_token(token), port=options.port, host=options.host) as proxy:
        print(proxy.uri, flush=True)  # noqa: T201  the command's answer
        signal.pause()


if __name__ == "__main__":
    main()
