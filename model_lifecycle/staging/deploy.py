"""Publish a model API, or find the one of an earlier run, and wait until it runs."""

import time
from collections.abc import Callable
from typing import Final

from model_lifecycle.domino.model_apis import ModelApis, ModelApiSpec, ModelApiVersion, State
from model_lifecycle.errors import NotFoundError, PreconditionError, UnavailableError, UnclearError
from model_lifecycle.progress import Progress

FIRST_PAUSE: Final = 0.5  # seconds between two looks
LONGEST_PAUSE: Final = 10.0
LOOKS_AFTER_UNCLEAR: Final = 4  # for a model API that an unclear answer may have made


def ensure_published(apis: ModelApis, spec: ModelApiSpec, progress: Progress) -> ModelApiVersion:
    """Return a version that runs or starts; publish one if there is none. Raises LifecycleError."""
    found = apis.find(spec)
    if found and found.state in {State.RUNNING, State.PENDING}:
        progress.done("model API", f"{spec.name} is there ({found.model_id})")
        return found
    if found:
        made = _publish_once(lambda: apis.publish_again(found.model_id, spec), apis, spec, before=found)
        progress.done(
            "model API", f"{spec.name}: version published again, the last one is {found.status_text or found.state}"
        )
        return made
    made = _publish_once(lambda: apis.publish(spec), apis, spec, before=None)
    progress.done("model API", f"{spec.name} is published ({made.model_id})")
    return made


def wait_until_running(
    apis: ModelApis, published: ModelApiVersion, progress: Progress, *, seconds: float
) -> ModelApiVersion:
    """Return the version once it runs.

    Raises PreconditionError if it failed or stopped, UnavailableError after `seconds`.
    """
    begun, pause, now = time.monotonic(), FIRST_PAUSE, published
    while now.state is not State.RUNNING:
        _check(apis, now)
        spent = time.monotonic() - begun
        if spent >= seconds:
            raise UnavailableError(
                f"the model API {now.model_id} is {now.status_text or now.state} after {seconds:.0f} s. Domino goes on"
                " with it: run the same command again to wait for it"
            )
        progress.waiting(now.status_text or str(now.state), spent)
        time.sleep(min(pause, seconds - spent))
        pause = min(LONGEST_PAUSE, pause * 1.5)
        now = _latest(apis, now)
    progress.done("running", f"after {time.monotonic() - begun:.0f} s")
    return now


def _latest(apis: ModelApis, last: ModelApiVersion) -> ModelApiVersion:
    """Return the present state; the last known one if Domino does not answer: the deadline limits an outage too."""
    try:
        return apis.read_version(last.model_id, last.version_id)
    except UnavailableError:
        return last
    except NotFoundError as error:
        raise PreconditionError(f"the model API {last.model_id} was archived meanwhile: stage it again") from error


def _check(apis: ModelApis, now: ModelApiVersion) -> None:
    if now.state is State.FAILED:
        log = apis.log(now.model_id, now.version_id)
        raise PreconditionError(
            f"the model API {now.model_id} is {now.status_text}; stage it again when the cause is repaired"
            + (f". Its log ends with:\n{log}" if log else "")
        )
    if now.state is State.STOPPED:
        raise PreconditionError(f"the model API {now.model_id} was stopped meanwhile: stage it again")


def _publish_once(
    make: Callable[[], ModelApiVersion], apis: ModelApis, spec: ModelApiSpec, *, before: ModelApiVersion | None
) -> ModelApiVersion:
    """Publish once. If no answer tells the result, or another caller was first, return the version that Domino has."""
    try:
        return make()
    except PreconditionError:
        if found := _newer_version(apis, spec, before):
            return found
        raise
    except UnclearError as error:
        for look in range(1, LOOKS_AFTER_UNCLEAR + 1):
            time.sleep(FIRST_PAUSE * look)
            if found := _newer_version(apis, spec, before):
                return found
        raise UnavailableError(
            f"{error}. It is not known if Domino has published anything: run the same command again, which looks for it"
        ) from error


def _newer_version(apis: ModelApis, spec: ModelApiSpec, before: ModelApiVersion | None) -> ModelApiVersion | None:
    """Return the version that Domino has now, if it differs from the one before."""
    found = apis.find(spec)
    return found if found and (before is None or found.version_id != before.version_id) else None
