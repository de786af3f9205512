"""A Flask view that does nothing, over TLS in one process with threads: the webhook's server until decision 15.

`python -m benchmarks.empty_view <port> <certificate> <key>`
"""

import ssl
import sys
from typing import Any

from flask import Flask, Response, request
from gunicorn.app.base import BaseApplication

from benchmarks.gthread_worker import SlowClientWorker, socket_with_deadline


class EmptyView(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    """Reads the body and answers with two bytes."""

    def __init__(self, port: str, certificate: str, key: str) -> None:
        self._files = {"certfile": certificate, "keyfile": key}
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols(["http/1.1"])
        self._context.sslsocket_class = socket_with_deadline(10)
        self._context.load_cert_chain(certificate, key)
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": [f"127.0.0.1:{self._port}"],
            "worker_class": SlowClientWorker,
            "threads": 16,
            "keepalive": 95,
            "ssl_context": lambda _config, _default: self._context,
            "control_socket_disable": True,
            **self._files,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        app = Flask("empty")

        @app.post("/mutate")
        def mutate() -> Response:
            request.get_data()
            return Response(b"{}", mimetype="application/json")

        return app


if __name__ == "__main__":
    EmptyView(*sys.argv[1:]).run()
