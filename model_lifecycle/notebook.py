"""Staging as a function, for notebooks and for MLflow's deployments plugin."""

import os
import sys
from pathlib import Path
from typing import Final

from model_contract.model_ref import InvalidVariableError, validate
from model_contract.names import MODEL_NAME, MODEL_VERSION
from model_lifecycle.domino.access import DominoAccess
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import InvalidError
from model_lifecycle.presigned_files import presigned_hosts
from model_lifecycle.progress import Progress, ProgressLines
from model_lifecycle.registry import Registry
from model_lifecycle.staging.request import PROJECT, StageOptions, request_of
from model_lifecycle.staging.sequence import Staged, stage_version
from model_lifecycle.tracking import Credentials, Tracking, tls_of, tracking_uri

# The names of what a caller gives by an option or an argument, and a pod by a variable.
SAID: Final = {MODEL_NAME: "the name", MODEL_VERSION: "the version"}


def stage(  # noqa: PLR0913  each has a default that fits in a workspace
    name: str,
    version: str | int,
    *,
    env_id: str | None = None,
    owner: str | None = None,
    wait: float = 900,
    call: bool = True,
    alias_only: bool = False,
    tracking: str | None = None,
    token_file: str | Path | None = None,
    domino_url: str | None = None,
    domino_api: str | None = None,
    progress: Progress | None = None,
) -> Staged:
    """Deploy a version of a registered model to Staging, and return its URL, as `model-api stage` does.

    In a workspace of Domino `name` and `version` are enough. `wait` is in seconds. A repeated call goes on from the
    present state. Raises LifecycleError, whose message says what to do.
    """
    name, version = checked(name, str(version))
    request = request_of(
        os.environ, name=name, version=version, environment_id=env_id, owner=owner, alias_only=alias_only
    )
    options = StageOptions(wait=wait, calls=call, api=domino_api)
    with registry_of(tracking, token_file) as registry, domino_of(domino_url) as rest:
        return stage_version(
            request, registry, rest, options, progress or ProgressLines(sys.stdout)
        )  # what goes to stderr is red in a notebook


def registry_of(uri: str | None, token_file: str | Path | None = None) -> Registry:
    """Return the registry with the credentials of the environment. Raises LifecycleError."""
    credentials = Credentials(environ=os.environ, uri=uri, token_file=Path(token_file) if token_file else None)
    project = os.environ.get(PROJECT, "").lower()
    authorization = credentials.of_project(project) if project else credentials.for_any_project()
    address = tracking_uri(uri, os.environ)
    tls, presigned = tls_of(address, os.environ), presigned_hosts(os.environ)
    return Registry(Tracking(uri=address, authorization=authorization, tls=tls, presigned=presigned))


def domino_of(url: str | None = None) -> DominoRest:
    """Return the client of Domino for this address, or for that of the environment. Raises LifecycleError."""
    return DominoRest(DominoAccess.from_environ(os.environ, uri=url))


def checked(name: str, version: str) -> tuple[str, str]:
    """Return name and version in their normal form. Raises InvalidError if one is not valid."""
    try:
        return validate(MODEL_NAME, name), str(int(validate(MODEL_VERSION, version)))
    except InvalidVariableError as error:
        raise InvalidError(SAID[error.variable] + str(error).removeprefix(error.variable)) from error
