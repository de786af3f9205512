"""One call of the model API, with the example that the model was logged with."""

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx2

from model_delivery.errors import DeliveryError
from model_delivery.listed_model import find_model
from model_delivery.source import artifacts_of
from model_lifecycle.domino.access import MODEL_TOKEN
from model_lifecycle.domino.rest import DominoRest, message_of
from model_lifecycle.errors import NotAuthorisedError, NotFoundError, PreconditionError, UnavailableError
from model_lifecycle.registry import Registry, Version, file_path

EXAMPLE: Final = "serving_input_example.json"  # MLflow writes it beside a model that is logged with an example
MOST_BYTES: Final = 1 << 20
TIMEOUT: Final = 60.0  # seconds for one answer: the first one loads the model
PATIENCE: Final = 60.0  # seconds in which a route that is new may not be known everywhere
PAUSE: Final = 1.0
NOT_YET: Final = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """The answer of a model API."""

    result: Any
    model_time_in_ms: float | None


def example_of(registry: Registry, version: Version) -> dict[str, Any] | None:
    """Return the example as a body of MLflow's protocol; None if there is none, or if it is larger than MOST_BYTES."""
    try:
        # As the files of the digest and of the pods: the model may lie below the version's source.
        model = find_model(*artifacts_of(registry, version.name, version.version, version.source))
        content = b""
        with registry.files.stream(file_path(f"{model.source}/{EXAMPLE}")) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) > MOST_BYTES:
                    return None
        example = json.loads(content)
    except (NotFoundError, DeliveryError, ValueError, RecursionError):
        return None
    return example if isinstance(example, dict) else None


def call_model_api(rest: DominoRest, url: str, data: dict[str, Any]) -> ModelAnswer:
    """Call the model API, again while its route is new.

    Raises NotAuthorisedError, PreconditionError, UnavailableError.
    """
    begun = time.monotonic()
    while True:
        answer = _answer(rest, url, data)
        if answer is not None and answer.status_code not in NOT_YET:
            return _read(rest, url, answer)
        if time.monotonic() - begun > PATIENCE:
            said = f"answers {answer.status_code}" if answer is not None else "does not answer"
            raise UnavailableError(f"the model API runs, and {url} {said}; the same command tries again")
        time.sleep(PAUSE)


def _answer(rest: DominoRest, url: str, data: dict[str, Any]) -> httpx2.Response | None:
    try:
        return rest.call(url, {"data": data}, timeout=TIMEOUT)
    except UnavailableError:
        return None


def _read(rest: DominoRest, url: str, answer: httpx2.Response) -> ModelAnswer:
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise NotAuthorisedError(
            f"the model API runs, and {url} answers {answer.status_code}: it requires its access token. Make one in its"
            f" settings in Domino, set {MODEL_TOKEN}, and run the same command again; or leave the call out (--no-call)"
        )
    if not answer.is_success:
        said = rest.access.redacted(message_of(answer))
        raise PreconditionError(
            f"the model API runs, and answers its own example with {answer.status_code}: {said or 'no reason'}"
        )
    try:
        document = answer.json()
        return ModelAnswer(result=document["result"], model_time_in_ms=document.get("model_time_in_ms"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PreconditionError(f"{url} answers without a result: is it a model API?") from error
