"""The answer to one review: decided, counted, and written to the log as one line, when the answer has been sent."""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

import orjson

from model_contract.model_ref import ModelRef
from webhook.admission import decide
from webhook.decision import Decision
from webhook.review import InvalidReview, answer, parse
from webhook.server.metrics import Metrics
from webhook.settings import Settings

SHORT_HASH: Final = 12  # characters: enough to find the reviews of one model in a log, too few to be its name

_log = logging.getLogger("webhook.review")


@dataclass(slots=True)
class Answer:
    """An HTTP answer. `headers` are whole lines; the connection adds the header `connection`."""

    status: int
    headers: bytes
    body: bytes


def json_answer(body: bytes) -> Answer:
    return Answer(HTTPStatus.OK, b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body), body)


def text_answer(status: int, sentence: str) -> Answer:
    body = f"{sentence}\n".encode()
    return Answer(status, b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body), body)


@dataclass(slots=True)
class Reviewed:
    """The answer to a review, and what is counted and logged of it. `error` is the exception that ended it."""

    answer: Answer
    seconds: float
    stage: str
    request: Mapping[str, Any] | None = None
    decision: Decision | None = None
    error: Exception | None = None


class Reviews:
    """Answers reviews with the settings, and counts and logs each one."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics

    def review(self, body: bytes) -> Reviewed:
        """Return the answer to one review, counted but not logged: call `log` when the answer has been sent."""
        self.begin(body)
        reviewed = self.decide(body)
        self.count(reviewed)
        return reviewed

    def begin(self, body: bytes) -> None:
        """Count the review as under way; `count` ends that."""
        self._metrics.began(len(body))

    def decide(self, body: bytes) -> Reviewed:
        """Return the answer to one review. Any thread may call it."""
        started, stage = time.perf_counter(), "parse"
        try:
            document = parse(body)
            stage = "decide"
            decision = decide(document, self._settings)
            stage = "encode"
            answered = json_answer(orjson.dumps(answer(document, decision)))
        except InvalidReview as error:
            return Reviewed(text_answer(error.status, str(error)), time.perf_counter() - started, stage, error=error)
        except Exception as error:  # noqa: BLE001  the edge; `log` writes it
            # Not `allowed: false`, so that the registration's `failurePolicy` decides.
            failed = text_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the webhook failed; its log says why")
            return Reviewed(failed, time.perf_counter() - started, stage, error=error)
        return Reviewed(answered, time.perf_counter() - started, stage, document["request"], decision)

    def count(self, reviewed: Reviewed) -> None:
        """Count the review. One thread of the process may call it."""
        request, decision = reviewed.request, reviewed.decision
        if request is not None and decision is not None:
            self._metrics.answered(decision, reviewed.seconds, dry_run=bool(request.get("dryRun")))
        else:
            self._metrics.failed(reviewed.stage, reviewed.seconds)

    def log(self, reviewed: Reviewed) -> None:
        """Write the line about the review."""
        request, decision, error = reviewed.request, reviewed.decision, reviewed.error
        if request is not None and decision is not None:
            if _log.isEnabledFor(logging.INFO):
                _log.handle(log_record(log_fields(request, decision, reviewed.seconds)))
        elif isinstance(error, InvalidReview):
            _log.warning("no review", extra={"fields": {"error": str(error)}})
        else:
            _log.error("the review failed", exc_info=error, extra={"fields": {"stage": reviewed.stage}})


def log_record(fields: dict[str, Any]) -> logging.LogRecord:
    """Return the record of a review's line, without a search for the calling line of code as in `Logger.info`."""
    record = logging.LogRecord(_log.name, logging.INFO, "", 0, "review", None, None)
    record.fields = fields
    return record


def log_fields(admission: Mapping[str, Any], decision: Decision, seconds: float) -> dict[str, Any]:
    """Return the fields of the log line about a review: the pod, and the decision."""
    pod = admission.get("object")
    metadata = pod.get("metadata") if isinstance(pod, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    fields: dict[str, Any] = {
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
    if decision.model is not None:
        fields["model"] = model_hash(decision.model)
        if _log.isEnabledFor(logging.DEBUG):
            fields |= decision.model.variables()
    return {key: value for key, value in fields.items() if value is not None}


@lru_cache(maxsize=1024)
def model_hash(model: ModelRef) -> str:
    """Return a short hash of the model: a log line names no owner."""
    return hashlib.sha256(orjson.dumps(model.variables())).hexdigest()[:SHORT_HASH]
