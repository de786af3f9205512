"""The Flask app: the kubelet's probes, and the answer to every request that is no review."""

import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from webhook.server.reviews import Answer

REVIEW_PATH: Final = "/mutate"


def create_app(fault: Callable[[], str | None]) -> Flask:
    """Return the Flask app. `fault` returns the reason why the server is not ready, or None."""
    app = Flask("webhook", static_folder=None)

    @app.post(REVIEW_PATH)
    def mutate() -> Response:
        """Refuse a request to the path of reviews that is not a review."""
        raise UnsupportedMediaType("the Content-Type must be application/json")

    @app.get("/livez")
    def alive() -> Response:
        return plain_text("ok")

    @app.get("/readyz")
    def ready() -> Response:
        reason = fault()
        return plain_text(reason, status=503) if reason else plain_text("ok")

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        allowed = getattr(error, "valid_methods", None)
        return plain_text(
            str(error.description),
            status=error.code,
            headers={"Allow": ", ".join(sorted(allowed))} if allowed else None,
        )

    return app


def plain_text(sentence: str, *, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{sentence}\n", status=status, headers=headers, mimetype="text/plain")


def page(app: Flask, method: str, path: str) -> Answer:
    """Return the app's answer to a request without a body; that of HEAD has the headers of GET."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path.encode().decode("latin-1"),
        "SERVER_NAME": "webhook",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    with app.request_context(environ):
        body, status, headers = app.full_dispatch_request().get_wsgi_response(environ)
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers)
        return Answer(int(status[:3]), lines.encode("latin-1"), b"".join(body))
