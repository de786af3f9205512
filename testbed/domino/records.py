"""Domino's records: model APIs, their versions, and the variables, which belong to a model API."""

import itertools
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

BUILDING: Final = "Building"
STARTING: Final = "Starting"
RUNNING: Final = "Running"
FAILED: Final = "Failed"
STOPPED: Final = "Stopped"
PENDING: Final = frozenset({BUILDING, STARTING})
PROCESS: Final = secrets.token_hex(5)
COUNTER: Final = itertools.count(1)


class UnknownError(LookupError):
    """No such model API or version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a model API. `log` holds the lines of its build and its pod."""

    id: str
    number: int
    file: str
    function: str
    description: str = ""
    environment_id: str = ""
    created: int = 0
    status: str = BUILDING
    log: tuple[str, ...] = ()

    @property
    def pending(self) -> bool:
        return self.status in PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelApi:
    """A model API. A caller of a restricted one sends `access_token` as user and as password."""

    id: str
    name: str
    description: str
    project_id: str
    environment_id: str
    created: int
    variables: Mapping[str, str] = field(default_factory=dict)
    archived: bool = False
    access_token: str = ""
    versions: tuple[Version, ...] = ()

    @property
    def newest(self) -> Version:
        return self.versions[-1]

    @property
    def active(self) -> Version:
        """The version that answers; if none does, the newest."""
        return next((version for version in reversed(self.versions) if version.status == RUNNING), self.newest)

    def version(self, version_id: str) -> Version:
        """Return a version. Raises UnknownError."""
        for version in self.versions:
            if version.id == version_id:
                return version
        raise UnknownError(version_id)


class Records:
    """All model APIs, in a file that a restart finds again. Each method is one atomic step."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._models = read(file) if file.exists() else {}

    def read_again(self) -> None:
        """Forget everything but the contents of the file."""
        with self._lock:
            self._models = read(self._file) if self._file.exists() else {}

    def all(self) -> list[ModelApi]:
        with self._lock:
            return list(self._models.values())

    def get(self, model_id: str) -> ModelApi:
        """Return a model API. Raises UnknownError."""
        with self._lock:
            if model_id not in self._models:
                raise UnknownError(model_id)
            return self._models[model_id]

    def add(self, model: ModelApi) -> ModelApi:
        with self._lock:
            self._models[model.id] = model
            self._write()
            return model

    def change(self, model_id: str, **fields: Any) -> ModelApi:
        """Change fields of a model API. Raises UnknownError."""
        with self._lock:
            return self.add(replace(self.get(model_id), **fields))

    def add_version(self, model_id: str, **fields: Any) -> Version:
        """Add a version. Raises UnknownError."""
        with self._lock:
            model = self.get(model_id)
            version = Version(id=object_id(), number=len(model.versions) + 1, created=now(), **fields)
            self.change(model_id, versions=(*model.versions, version))
            return version

    def change_version(self, model_id: str, version_id: str, *, say: str | None = None, **fields: Any) -> None:
        """Change fields of a version; `say` is one more line of its log. Raises UnknownError."""
        with self._lock:
            model = self.get(model_id)
            found = model.version(version_id)
            changed = replace(found, log=(*found.log, *([say] if say else [])), **fields)
            self.change(model_id, versions=tuple(changed if one.id == version_id else one for one in model.versions))

    def _write(self) -> None:
        new_file = self._file.with_suffix(".new")
        new_file.write_text(json.dumps([asdict(model) for model in self._models.values()]))
        new_file.rename(self._file)


def read(file: Path) -> dict[str, ModelApi]:
    models = {}
    for entry in json.loads(file.read_text()):
        versions = tuple(Version(**version | {"log": tuple(version["log"])}) for version in entry.pop("versions"))
        models[entry["id"]] = ModelApi(**entry, versions=versions)
    return models


def object_id() -> str:
    """Return 24 hexadecimal digits, later ones greater, as Domino's database names things."""
    return f"{int(time.time()):08x}{PROCESS}{next(COUNTER):06x}"


def now() -> int:
    """Return milliseconds, as Domino has them."""
    return int(time.time() * 1000)
