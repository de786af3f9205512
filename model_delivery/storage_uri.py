"""URIs by which KServe names a model in MLflow: `mlflow://...`.

| URI | model |
|---|---|
| `mlflow://wine/3`, `mlflow://models/wine/3` | version 3 of the registered model `wine` |
| `mlflow://wine/3?digest=sha256:<64 hexadecimal digits>` | the same, if its files have this digest |
| `mlflow://wine@production`, `mlflow://models/wine@production` | the version that the alias names now |
| `mlflow://runs/<run id>/model` | the model that a run logged as `model` |

Characters that a URI cannot hold are percent-encoded. The forms with `models/` are those of KServe's pull request 4925.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from model_contract.digest import DIGEST
from model_contract.model_ref import RULES, shown
from model_contract.names import MODEL_NAME, MODEL_VERSION, RUN_ID
from model_delivery.artifact_paths import checked_path
from model_delivery.errors import InvalidInputError

SCHEME: Final = "mlflow"
ALIAS: Final = re.compile(r"[\w-]{1,255}")
QUERY: Final = "digest="
FORMS: Final = "mlflow://<name>/<version>, mlflow://<name>@<alias> or mlflow://runs/<run id>/<path>"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionUri:
    """A version of a registered model. Its files must have the `digest`, if there is one."""

    name: str
    version: str
    digest: str | None = None

    def __str__(self) -> str:
        return f"version {self.version} of model {self.name!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasUri:
    """The version of a registered model that an alias names."""

    name: str
    alias: str

    def __str__(self) -> str:
        return f"alias {self.alias!r} of model {self.name!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUri:
    """A model among the artifacts of a run, or logged by it."""

    run_id: str
    path: str

    def __str__(self) -> str:
        return f"model {self.path!r} of run {self.run_id}"


StorageUri = VersionUri | AliasUri | RunUri


def parse_storage_uri(text: str) -> StorageUri:
    """Return the model that a URI names. Raises InvalidInputError."""
    scheme, separator, rest = text.partition("://")
    if scheme != SCHEME or not separator:
        raise InvalidInputError(f"the storage URI {shown(text)} does not begin with {SCHEME}://; give {FORMS}")
    rest, _, query = rest.partition("?")
    if "#" in rest + query:
        raise InvalidInputError(f"the storage URI {shown(text)} has a fragment; write %23 for #")
    found = _parsed(text, rest)
    if not query and not text.endswith("?"):
        return found
    digest = query.removeprefix(QUERY)
    if not isinstance(found, VersionUri) or not query.startswith(QUERY) or not DIGEST.fullmatch(digest):
        raise InvalidInputError(
            f"the storage URI {shown(text)} has another query than a version's ?{QUERY}sha256:<64 hexadecimal digits>;"
            " write %3F for ?"
        )
    return VersionUri(name=found.name, version=found.version, digest=digest)


def _parsed(text: str, rest: str) -> StorageUri:
    try:
        segments = [unquote(segment, errors="strict") for segment in rest.split("/")]
    except UnicodeDecodeError:
        raise InvalidInputError(f"the storage URI {shown(text)} is not UTF-8 when it is decoded") from None
    match segments:
        case ["runs", run_id, first, *others]:
            return RunUri(run_id=_checked(RUN_ID, "run id", run_id), path=_path("/".join([first, *others])))
        case ["models", name, version] | [name, version] if "@" not in version:
            return VersionUri(name=_name(name), version=_checked(MODEL_VERSION, "version", version))
        case ["models", named] | [named] if "@" in named:
            name, _, alias = named.rpartition("@")
            if not ALIAS.fullmatch(alias):
                raise InvalidInputError(f"the alias in the storage URI is {shown(alias)}, which MLflow cannot have")
            return AliasUri(name=_name(name), alias=alias)
    raise InvalidInputError(f"the storage URI {shown(text)} names no version, alias or run; give {FORMS}")


def _path(text: str) -> str:
    try:
        return checked_path(text)
    except InvalidInputError:
        raise InvalidInputError(
            f"the path in the storage URI is {shown(text)}, which no artifact can have; give the names of its"
            " directories and its own, with / in between"
        ) from None


def _name(text: str) -> str:
    return _checked(MODEL_NAME, "model's name", text)


def _checked(variable: str, what: str, text: str) -> str:
    rule = RULES[variable]
    if not rule.accepts(text):
        raise InvalidInputError(
            f"the {what} in the storage URI is {shown(text)}: {rule.fault(text)}; it must be {rule.expected}"
        )
    return text
