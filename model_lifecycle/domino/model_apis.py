"""The interface of Domino's APIs for a staging, with the data that both APIs take and return."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from urllib.parse import quote

FILE: Final = "model.py"
FUNCTION: Final = "predict"
# Basic routing knows the newest version only; advanced routing also the one that Domino's own page has promoted.
ROUTES: Final = {"basic": "latest", "advanced": "labels/prod"}


class State(StrEnum):
    """The state of a version of a model API, as far as staging acts on it."""

    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"

    @classmethod
    def of(cls, status_text: str) -> "State":
        """Return the state for Domino's word. Domino publishes no list of its words: an unknown word means PENDING."""
        word = status_text.strip().casefold()
        if word == "running":
            return cls.RUNNING
        if "fail" in word or "error" in word:
            return cls.FAILED
        return cls.STOPPED if word in {"stopped", "stopping", "not_running"} else cls.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelApiSpec:
    """A model API to publish, for one version of a registered model, with its environment variables.

    Name and description together identify it later.
    """

    name: str
    description: str
    project_id: str
    environment_id: str
    variables: Mapping[str, str]
    file: str = FILE
    function: str = FUNCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelApiVersion:
    """A version of a model API. `status_text` is Domino's own word for its state, `url` its address if it is known."""

    model_id: str
    version_id: str
    state: State
    status_text: str = ""
    url: str | None = None


class ModelApis(Protocol):
    """One of Domino's APIs. Every method raises a LifecycleError."""

    title: str

    def find(self, spec: ModelApiSpec) -> ModelApiVersion | None:
        """Return the newest version of the model API that an earlier call has made for this spec, in any state."""

    def publish(self, spec: ModelApiSpec) -> ModelApiVersion:
        """Make the model API, with its variables. Raises UnclearError; then `find` shows if it was made."""

    def publish_again(self, model_id: str, spec: ModelApiSpec) -> ModelApiVersion:
        """Make one more version of a model API. Raises UnclearError, too."""

    def read_version(self, model_id: str, version_id: str) -> ModelApiVersion:
        """Return the version as it is now. Raises NotFoundError, also if it is archived."""

    def log(self, model_id: str, version_id: str) -> str:
        """Return the last lines of the build's log; no text if Domino does not tell."""

    def archive(self, model_id: str) -> None:
        """Archive the model API."""


def model_url(domino_uri: str, model_id: str, routing: str = "basic") -> str:
    """Return the URL of a model API. `routing` is a key of ROUTES, as set in the model API."""
    return f"{domino_uri.rstrip('/')}/models/{quote(model_id, safe='')}/{ROUTES[routing]}/model"
