"""Calls of MLflow's REST API that a delivery needs; they are the same in 2.22 and 3.17."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from model_contract.names import TAG_DIGEST
from model_delivery.answer import Answer
from model_delivery.client import Client
from model_delivery.errors import InvalidInputError, NotFoundError
from model_delivery.listed_model import Listing
from model_delivery.listing import parse_listing

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# Headers of a presigned URL, but none that names another host or another body.
HEADER_NAME: Final = re.compile(r"(?i)(?!(?:host|content-length|transfer-encoding)$)[a-z0-9-]{1,64}")
SURROGATE: Final = re.compile(r"[\ud800-\udfff]")  # comes through a JSON escape, and cannot be encoded again
MOST_SHOWN: Final = 20  # aliases in an error
PRESIGNED = "/api/2.0/mlflow-artifacts/presigned"
MOST_VERSIONS = 100  # of one run


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A registered model version. `run_id` is empty if it comes from no run; `digest` is that of its tag, if any."""

    number: str
    status: str
    run_id: str
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """A version as a search finds it; `source` is the URI that it was registered from."""

    name: str
    version: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An MLflow run."""

    experiment_id: str
    artifact_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedUrl:
    """An address of a file in the store behind MLflow, which holds a signature, and the headers to send with it."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class MlflowApi:
    """Each method raises DeliveryError."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def version(self, name: str, version: str) -> Version:
        what = f"version {version} of model {name!r}"
        return _version(what, version, self._get(what, "model-versions/get", name=name, version=version))

    def version_of_alias(self, name: str, alias: str) -> str:
        """Return the version of an alias, from the model: MLflow answers 400 to the question for a missing alias."""
        what = f"model {name!r}"
        found = _part(what, self._get(what, "registered-models/get", name=name), "registered_model")
        aliases = {_text(what, one, "alias"): one for one in _parts(what, found, "aliases")}
        if alias in aliases:
            return _text(what, aliases[alias], "version")
        known = ", ".join(sorted(aliases)[:MOST_SHOWN]) or "none"
        raise NotFoundError(f"{what} has no alias {alias!r}; its aliases: {known}")

    def versions_of_run(self, run_id: str) -> tuple[RegisteredVersion, ...]:
        """Return the first versions that were registered from a run."""
        what = f"versions of run {run_id!r}"
        query = {"filter": f"run_id='{run_id}'", "max_results": str(MOST_VERSIONS)}
        return tuple(
            RegisteredVersion(
                name=_text(what, one, "name"), version=_text(what, one, "version"), source=str(one.get("source") or "")
            )
            for one in _parts(what, self._get(what, "model-versions/search", **query), "model_versions")
        )

    def download_uri(self, name: str, version: str) -> str:
        what = f"artifacts of version {version} of model {name!r}"
        return _text(
            what, self._get(what, "model-versions/get-download-uri", name=name, version=version), "artifact_uri"
        )

    def logged_model_uri(self, model_id: str) -> str:
        what = f"logged model {model_id!r}"
        model = _part(what, self._get(what, f"logged-models/{quote(model_id, safe='')}"), "model")
        return _text(what, _part(what, model, "info"), "artifact_uri")

    def run(self, run_id: str) -> Run:
        what = f"run {run_id!r}"
        info = _part(what, _part(what, self._get(what, "runs/get", run_id=run_id), "run"), "info")
        return Run(experiment_id=_text(what, info, "experiment_id"), artifact_uri=_text(what, info, "artifact_uri"))

    def logged_model_of_run(self, run_id: str, experiment_id: str, name: str) -> str | None:
        """Return the artifacts of the model that a run logged as `name`; None if there is none.

        A server without logged models, such as MLflow 2, has none.
        """
        what = f"model {name!r} logged by run {run_id!r}"
        query = {"experiment_ids": [experiment_id], "filter": f"name='{name}' AND source_run_id='{run_id}'"}
        try:
            found = _parts(what, self._client.post_json(what, f"{API}/logged-models/search", query), "models")
        except NotFoundError:
            return None
        return _text(what, _part(what, found[0], "info"), "artifact_uri") if found else None

    def list(self, path: str) -> Listing:
        return self._client.get_parsed(
            f"listing of {path!r}", f"{ARTIFACTS}?{urlencode({'path': path})}", parse_listing
        )

    @contextmanager
    def file(self, path: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """Request one file, once."""
        with self._client.get(f"artifact {path!r}", f"{ARTIFACTS}/{quote(path)}", headers) as answer:
            yield answer

    def presigned_url(self, path: str) -> PresignedUrl:
        """Return an address of one file. MLflow has it since 3.10 if its artifacts lie on S3."""
        what = f"presigned URL of artifact {path!r}"
        answer = self._client.get_json(what, f"{PRESIGNED}/{quote(path)}")
        headers = answer.get("headers") or {}
        if not isinstance(headers, dict) or not all(
            HEADER_NAME.fullmatch(name) and isinstance(value, str) and value.isprintable() and value.isascii()
            for name, value in headers.items()
        ):
            raise InvalidInputError(f"{what}: MLflow's answer has headers that cannot be sent")
        return PresignedUrl(url=_text(what, answer, "url"), headers=headers)

    def abort(self) -> None:
        """End every transfer at once."""
        self._client.abort()

    def _get(self, what: str, endpoint: str, **query: str) -> dict[str, Any]:
        return self._client.get_json(what, f"{API}/{endpoint}" + (f"?{urlencode(query)}" if query else ""))


def _version(what: str, number: str, answer: Mapping[str, Any]) -> Version:
    found = _part(what, answer, "model_version")
    digests = [str(tag.get("value")) for tag in _parts(what, found, "tags") if tag.get("key") == TAG_DIGEST]
    return Version(
        number=number,
        status=_text(what, found, "status"),
        run_id=str(found.get("run_id") or ""),
        digest=digests[0] if digests else None,
    )


def _part(what: str, answer: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = answer.get(key)
    if not isinstance(part, dict):
        raise InvalidInputError(f"{what}: MLflow's answer has no {key}")
    return part


def _parts(what: str, answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the objects of a list, which MLflow leaves out if it is empty."""
    parts = answer.get(key) or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise InvalidInputError(f"{what}: MLflow's answer has another {key} than expected")
    return parts


def _text(what: str, answer: Mapping[str, Any], key: str) -> str:
    text = answer.get(key)
    if not isinstance(text, str) or not text or SURROGATE.search(text):
        raise InvalidInputError(f"{what}: MLflow's answer has no {key}")
    return text
