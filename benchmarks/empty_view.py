"""Lower bound of the webhook's times: a Flask view that does nothing, in the same server, behind the same TLS.

`python -m benchmarks.empty_view <port> <metrics port> <certificate> <key>`
"""

import sys
from pathlib import Path

from flask import Flask, Response, request

from webhook.server.settings import ServerSettings
from webhook.server.supervisor import Supervisor
from webhook.settings import Settings


class EmptyView(Supervisor):
    """Reads the body and answers with two bytes."""

    def load(self) -> Flask:
        app = Flask("empty")

        @app.post("/mutate")
        def mutate() -> Response:
            request.get_data()
            return Response(b"{}", mimetype="application/json")

        return app


if __name__ == "__main__":
    port, metrics_port, certificate, key = sys.argv[1:]
    server = ServerSettings(
        host="127.0.0.1",
        port=int(port),
        metrics_port=int(metrics_port),
        certificate_file=Path(certificate),
        key_file=Path(key),
    )
    EmptyView(Settings(), server).run()
