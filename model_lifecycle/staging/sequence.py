"""The steps of a staging, in their order. Whatever it breaks off at, the same call goes on from what MLflow and Domino
have.
"""

import math
from dataclasses import dataclass
from typing import Any

from model_lifecycle.domino.choice import model_apis
from model_lifecycle.domino.model_apis import Published
from model_lifecycle.domino.model_url import model_url
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import InvalidError
from model_lifecycle.registry import Registry
from model_lifecycle.staging.call import Answered, call
from model_lifecycle.staging.deploy import deployed, running
from model_lifecycle.staging.example import example_of
from model_lifecycle.staging.mark import mark, record_digest
from model_lifecycle.staging.preflight import Order, Subject, publication_of, subject_of
from model_lifecycle.staging.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How it is done. `wait` is in seconds; `api` is one of Domino's two, by name, None for the one that answers.
    Raises InvalidError.
    """

    wait: float = 900
    calls: bool = True
    api: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.wait < math.inf:
            raise InvalidError(f"the wait of {self.wait} is no number of seconds from 0 on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A version in Staging, and where it is called. `result` is its answer to the model's own example; None where it
    was not called.
    """

    name: str
    version: str
    model_id: str
    model_version_id: str
    url: str
    digest: str
    result: Any = None


def stage_version(order: Order, registry: Registry, rest: DominoRest, ways: Ways, progress: Progress) -> Staged:
    """Raises LifecycleError."""
    subject = subject_of(order, registry)
    publication = publication_of(subject, order.environment_id)
    progress.done(
        "version", f"{order.name} version {order.version}, run {subject.ref.run_id}, project {subject.project_id}"
    )
    digest = record_digest(registry, subject.version)
    progress.done("digest", digest)
    apis = model_apis(rest, ways.api)
    published = running(apis, deployed(apis, publication, progress), progress, seconds=ways.wait)
    url = published.url or model_url(rest.access.public_uri, published.model_id)
    answered = _called(registry, rest, subject, url, progress) if ways.calls else None
    changed = mark(registry, subject.version, published, alias_only=order.alias_only)
    progress.done("registry", f"set: {', '.join(changed)}" if changed else "is as it should be")
    progress.done("url", url)
    return _staged(order, published, url=url, digest=digest, answered=answered)


def _called(registry: Registry, rest: DominoRest, subject: Subject, url: str, progress: Progress) -> Answered | None:
    example = example_of(registry, subject.version)
    if example is None:
        progress.done("call", "left out: the model was logged without input_example, or with one above 1 MiB")
        return None
    answered = call(rest, url, example)
    spent = "" if answered.model_time_in_ms is None else f" in {answered.model_time_in_ms} ms"
    progress.done("call", f"the model's own example is answered{spent}")
    return answered


def _staged(order: Order, published: Published, *, url: str, digest: str, answered: Answered | None) -> Staged:
    return Staged(
        name=order.name,
        version=order.version,
        model_id=published.model_id,
        model_version_id=published.version_id,
        url=url,
        digest=digest,
        result=answered.result if answered else None,
    )
