"""A model API that runs: the one that an earlier run has made, or a new one; then patience, with an end."""

import time
from collections.abc import Callable
from typing import Final

from model_lifecycle.domino.model_apis import ModelApis, Publication, Published, State
from model_lifecycle.errors import NotFoundError, PreconditionError, UnavailableError, UnclearError
from model_lifecycle.staging.progress import Progress

FIRST_PAUSE: Final = 0.5  # seconds between two looks
LONGEST_PAUSE: Final = 10.0
LOOKS: Final = 4  # for what an unclear answer may have made


def deployed(apis: ModelApis, publication: Publication, progress: Progress) -> Published:
    """A version that runs or is on its way, made where there is none. Raises LifecycleError."""
    found = apis.find(publication)
    if found and found.state in {State.RUNNING, State.PENDING}:
        progress.done("model API", f"{publication.name} is there ({found.model_id})")
        return found
    if found:
        made = _made(lambda: apis.publish_again(found.model_id, publication), apis, publication, before=found)
        progress.done(
            "model API", f"{publication.name}: version published again, the last one is {found.said or found.state}"
        )
        return made
    made = _made(lambda: apis.publish(publication), apis, publication, before=None)
    progress.done("model API", f"{publication.name} is published ({made.model_id})")
    return made


def running(apis: ModelApis, published: Published, progress: Progress, *, seconds: float) -> Published:
    """The version when it runs. Raises PreconditionError where it will not, UnavailableError where the time is up."""
    begun, pause, now = time.monotonic(), FIRST_PAUSE, published
    while now.state is not State.RUNNING:
        _check(apis, now)
        spent = time.monotonic() - begun
        if spent >= seconds:
            raise UnavailableError(
                f"the model API {now.model_id} is {now.said or now.state} after {seconds:.0f} s. It goes on in Domino: "
                "the same command waits for it again"
            )
        progress.waiting(now.said or str(now.state), spent)
        time.sleep(min(pause, seconds - spent))
        pause = min(LONGEST_PAUSE, pause * 1.5)
        now = _look(apis, now)
    progress.done("running", f"after {time.monotonic() - begun:.0f} s")
    return now


def _look(apis: ModelApis, last: Published) -> Published:
    """Domino may be away for a while: the deadline ends that too."""
    try:
        return apis.look(last.model_id, last.version_id)
    except UnavailableError:
        return last
    except NotFoundError as error:
        raise PreconditionError(f"the model API {last.model_id} was taken away meanwhile: stage it again") from error


def _check(apis: ModelApis, now: Published) -> None:
    if now.state is State.FAILED:
        log = apis.log(now.model_id, now.version_id)
        raise PreconditionError(
            f"the model API {now.model_id} is {now.said}; stage it again when it is mended"
            + (f". Its log ends with:\n{log}" if log else "")
        )
    if now.state is State.STOPPED:
        raise PreconditionError(f"the model API {now.model_id} was stopped meanwhile: stage it again")


def _made(
    make: Callable[[], Published], apis: ModelApis, publication: Publication, *, before: Published | None
) -> Published:
    """Sent once; where no answer says what came of it, or somebody else was faster, what Domino has does."""
    try:
        return make()
    except PreconditionError:
        if found := _other(apis, publication, before):
            return found
        raise
    except UnclearError as error:
        for look in range(1, LOOKS + 1):
            time.sleep(FIRST_PAUSE * look)
            if found := _other(apis, publication, before):
                return found
        raise UnavailableError(
            f"{error}. Whether it has published anything is not known: the same command looks for it again"
        ) from error


def _other(apis: ModelApis, publication: Publication, before: Published | None) -> Published | None:
    """What is there now and was not before."""
    found = apis.find(publication)
    return found if found and (before is None or found.version_id != before.version_id) else None
