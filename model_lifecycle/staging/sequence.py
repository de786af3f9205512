"""The steps of a staging, in their order. After an interrupt, the same call goes on from the present state."""

from dataclasses import dataclass
from typing import Any

from model_lifecycle.domino.choice import model_apis
from model_lifecycle.domino.model_apis import ModelApiVersion, model_url
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.progress import Progress
from model_lifecycle.registry import Registry
from model_lifecycle.staging.deploy import ensure_published, wait_until_running
from model_lifecycle.staging.example_call import ModelAnswer, call_model_api, example_of
from model_lifecycle.staging.marks import record_digest, write_marks
from model_lifecycle.staging.preflight import StageableVersion, spec_of, stageable_version
from model_lifecycle.staging.request import StageOptions, StageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A version in Staging, and its URL. `result` is its answer to the model's example; None if it was not called."""

    name: str
    version: str
    model_id: str
    model_version_id: str
    url: str
    digest: str
    result: Any = None


def stage_version(
    request: StageRequest, registry: Registry, rest: DominoRest, options: StageOptions, progress: Progress
) -> Staged:
    """Stage a version. Raises LifecycleError."""
    stageable = stageable_version(request, registry)
    spec = spec_of(stageable, request.environment_id)
    progress.done(
        "version",
        f"{request.name} version {request.version}, run {stageable.ref.run_id}, project {stageable.project_id}",
    )
    digest = record_digest(registry, stageable.version)
    progress.done("digest", digest)
    apis = model_apis(rest, options.api)
    published = wait_until_running(apis, ensure_published(apis, spec, progress), progress, seconds=options.wait)
    url = published.url or model_url(rest.access.public_uri, published.model_id)
    model_answer = _called(registry, rest, stageable, url, progress) if options.calls else None
    changed = write_marks(registry, stageable.version, published, alias_only=request.alias_only)
    progress.done("registry", f"set: {', '.join(changed)}" if changed else "is as it should be")
    progress.done("url", url)
    return _staged(request, published, url=url, digest=digest, model_answer=model_answer)


def _called(
    registry: Registry, rest: DominoRest, stageable: StageableVersion, url: str, progress: Progress
) -> ModelAnswer | None:
    example = example_of(registry, stageable.version)
    if example is None:
        progress.done("call", "left out: the model was logged without input_example, or with one above 1 MiB")
        return None
    model_answer = call_model_api(rest, url, example)
    spent = "" if model_answer.model_time_in_ms is None else f" in {model_answer.model_time_in_ms} ms"
    progress.done("call", f"the model's own example is answered{spent}")
    return model_answer


def _staged(
    request: StageRequest, published: ModelApiVersion, *, url: str, digest: str, model_answer: ModelAnswer | None
) -> Staged:
    return Staged(
        name=request.name,
        version=request.version,
        model_id=published.model_id,
        model_version_id=published.version_id,
        url=url,
        digest=digest,
        result=model_answer.result if model_answer else None,
    )
