"""The HTTP routes: one for reviews, which `webhook.admission` decides, and two for the kubelet's probes."""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from webhook.admission import decide
from webhook.decision import Decision
from webhook.review import InvalidReview, answer, parse
from webhook.server.metrics import Metrics
from webhook.settings import Settings

JSON: Final = "application/json"
SHORT_HASH: Final = 12  # characters: enough to find the reviews of one model in a log, too few to be its name

_log = logging.getLogger("webhook.review")


def create_app(settings: Settings, metrics: Metrics, *, max_body: int, fault: Callable[[], str | None]) -> Flask:
    """Return the Flask app. `fault` returns the reason why the server is not ready, or None."""
    app = Flask("webhook", static_folder=None)

    @app.post("/mutate")
    def mutate() -> Response:
        if request.mimetype != JSON:
            raise UnsupportedMediaType("the Content-Type must be application/json")
        body = read_body(max_body)
        with metrics.in_flight(len(body)):
            return Response(review(body, settings, metrics), mimetype=JSON)

    @app.get("/livez")
    def alive() -> Response:
        return plain_text("ok")

    @app.get("/readyz")
    def ready() -> Response:
        reason = fault()
        return plain_text(reason, status=503) if reason else plain_text("ok")

    @app.errorhandler(InvalidReview)
    def invalid(error: InvalidReview) -> Response:
        return plain_text(str(error), status=error.status)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        allowed = getattr(error, "valid_methods", None)
        return plain_text(
            str(error.description),
            status=error.code,
            headers={"Allow": ", ".join(sorted(allowed))} if allowed else None,
        )

    @app.errorhandler(Exception)
    def failed(_: Exception) -> Response:
        """Answer 500, not `allowed: false`, so that the registration's `failurePolicy` decides."""
        return plain_text("the webhook failed; its log says why", status=500)

    return app


def read_body(longest: int) -> bytes:
    """Return the body, also of a chunked request, which has no Content-Length. Raises RequestEntityTooLarge."""
    announced = request.content_length or 0
    body: bytes = request.environ["wsgi.input"].read(longest + 1) if announced <= longest else b""
    if max(announced, len(body)) > longest:
        raise RequestEntityTooLarge(f"the review is larger than {longest} bytes")
    return body


def plain_text(sentence: str, *, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    return Response(f"{sentence}\n", status=status, headers=headers, mimetype="text/plain")


def review(body: bytes, settings: Settings, metrics: Metrics) -> bytes:
    """Return the answer to one review, counted and logged. Raises InvalidReview; other exceptions are bugs."""
    started, stage = time.perf_counter(), "parse"
    try:
        document = parse(body)
        stage = "decide"
        decision = decide(document, settings)
        stage = "encode"
        answered = orjson.dumps(answer(document, decision))
    except InvalidReview as error:
        metrics.failed(stage, time.perf_counter() - started)
        _log.warning("no review", extra={"fields": {"error": str(error)}})
        raise
    except Exception:
        metrics.failed(stage, time.perf_counter() - started)
        _log.exception("the review failed", extra={"fields": {"stage": stage}})
        raise
    seconds = time.perf_counter() - started
    metrics.answered(decision, seconds, dry_run=bool(document["request"].get("dryRun")))
    _log.info("review", extra={"fields": log_fields(document["request"], decision, seconds)})
    return answered


def log_fields(admission: Mapping[str, Any], decision: Decision, seconds: float) -> dict[str, Any]:
    """Return the fields of the log line about a review: the pod, and the decision."""
    pod = admission.get("object")
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    fields = {
        "uid": admission["uid"],
        "namespace": admission.get("namespace"),
        "name": admission.get("name") or metadata.get("name"),
        "generate_name": metadata.get("generateName"),
        "outcome": decision.outcome,
        "reason": decision.reason,
        "ms": round(seconds * 1000, 3),
        "operations": len(decision.operations),
        "dry_run": bool(admission.get("dryRun")),
    }
    return {key: value for key, value in (fields | model_fields(decision)).items() if value is not None}


def model_fields(decision: Decision) -> dict[str, str]:
    """Return a hash of the model, and the model itself if the log level is debug."""
    if decision.model is None:
        return {}
    values = decision.model.variables()
    digest = hashlib.sha256(orjson.dumps(values)).hexdigest()[:SHORT_HASH]
    return {"model": digest} | (values if _log.isEnabledFor(logging.DEBUG) else {})
