"""What a staging needs of Domino, whichever of its APIs answers, and the two things that go to and fro."""

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
    """Of a version of a model API, as far as anybody has to act on it."""

    PENDING = "pending"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"

    @classmethod
    def of(cls, said: str) -> "State":
        """Domino's words are more, and no list of them is published: what is not known is under way."""
        word = said.strip().casefold()
        if word == "running":
            return cls.RUNNING
        if "fail" in word or "error" in word:
            return cls.FAILED
        return cls.STOPPED if word in {"stopped", "stopping", "not_running"} else cls.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelApiSpec:
    """A model API that is to be: of one version of a registered model, whose variables it has from the beginning.

    Name and description together are how it is found again.
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
    """A version of a model API. `said` is Domino's own word for its state, `url` where Domino says that
    it is called.
    """

    model_id: str
    version_id: str
    state: State
    said: str = ""
    url: str | None = None


class ModelApis(Protocol):
    """Every method raises a LifecycleError."""

    title: str

    def find(self, spec: ModelApiSpec) -> ModelApiVersion | None:
        """The newest version of the model API that an earlier call has made for it, whatever became of it."""

    def publish(self, spec: ModelApiSpec) -> ModelApiVersion:
        """Makes the model API, with its variables. Raises UnclearError, too: `find` says then what there is."""

    def publish_again(self, model_id: str, spec: ModelApiSpec) -> ModelApiVersion:
        """One more version of a model API that is there. Raises UnclearError, too."""

    def look(self, model_id: str, version_id: str) -> ModelApiVersion:
        """As it is now. Raises NotFoundError, where it is archived too."""

    def log(self, model_id: str, version_id: str) -> str:
        """The last lines of what its build said; empty where Domino does not tell."""

    def archive(self, model_id: str) -> None:
        """Takes the model API away."""


def model_url(domino_uri: str, model_id: str, routing: str = "basic") -> str:
    """Return the URL of a model API. `routing` is one of ROUTES, as in the settings of the model API."""
    return f"{domino_uri.rstrip('/')}/models/{quote(model_id, safe='')}/{ROUTES[routing]}/model"
