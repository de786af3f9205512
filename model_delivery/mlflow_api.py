"""Calls of MLflow's REST API that a delivery needs; they are the same in 2.22 and 3.17."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from model_contract.names import TAG_DIGEST, TAG_PROJECT_ID, TAG_USER
from model_delivery.answer import Answer
from model_delivery.client import Client
from model_delivery.errors import InvalidInputError, NotFoundError
from model_delivery.listed_model import Listing
from model_delivery.listing import parse_listing

API: Final = "/api/2.0/mlflow"
ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/artifacts"
# Headers of a presigned URL, but none that names another host or another body.
HEADER_NAME: Final = re.compile(r"(?i)(?!(?:host|content-length|transfer-encoding)$)[a-z0-9-]{1,64}")
SURROGATE: Final = re.compile(r"[\ud800-\udfff]")  # comes through a JSON escape, and cannot be encoded again
MOST_SHOWN: Final = 20  # aliases in an error
PRESIGNED: Final = "/api/2.0/mlflow-artifacts/presigned"
MOST_VERSIONS: Final = 100  # of one run
PAGE: Final = 200  # models or versions in one answer: their descriptions and tags may be long
STABLE: Final = "creation_timestamp ASC"  # pages do not overlap if a version changes meanwhile
QUOTABLE: Final = re.compile(r"[^'\"\\`%\x00-\x1f\x7f]+")  # means itself between single quotes of a filter


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
class RegisteredModel:
    """A registered model: its user by its tag, empty if it has none, and the version of each alias."""

    name: str
    user: str
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedVersion:
    """A version as a search finds it, with its stage; a text is empty if MLflow has none."""

    version: str
    stage: str
    run_id: str
    user: str


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


def read_presigned_url(what: str, answer: dict[str, Any]) -> PresignedUrl:
    """Return the URL in MLflow's answer; `what` names the request. Raises InvalidInputError."""
    headers = answer.get("headers") or {}
    if not isinstance(headers, dict) or not all(
        HEADER_NAME.fullmatch(name) and isinstance(value, str) and value.isprintable() and value.isascii()
        for name, value in headers.items()
    ):
        raise InvalidInputError(f"{what}: MLflow's answer has headers that cannot be sent")
    return PresignedUrl(url=_text(what, answer, "url"), headers=headers)


class MlflowApi:
    """Each method raises DeliveryError."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def version(self, name: str, version: str) -> Version:
        what = f"version {version} of model {name!r}"
        return _version(what, version, self._get(what, "model-versions/get", name=name, version=version))

    def version_of_alias(self, name: str, alias: str) -> str:
        """Return the version of an alias, from the model: MLflow answers 400 to a request for a missing alias."""
        aliases = self.registered_model(name).aliases
        if alias in aliases:
            return aliases[alias]
        known = ", ".join(sorted(aliases)[:MOST_SHOWN]) or "none"
        raise NotFoundError(f"model {name!r} has no alias {alias!r}; its aliases: {known}")

    def registered_model(self, name: str) -> RegisteredModel:
        what = f"model {name!r}"
        found = _part(what, self._get(what, "registered-models/get", name=name), "registered_model")
        return _registered_model(what, found)

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

    def models_of_project(self, project: str) -> tuple[RegisteredModel, ...]:
        """Return every registered model with the project's tag."""
        what = f"models of project {project}"
        query = {"filter": f"tags.`{TAG_PROJECT_ID}` = '{project}'"}
        return tuple(
            _registered_model(what, found)
            for found in self._pages(what, "registered-models/search", "registered_models", query)
        )

    def versions_of_model(self, name: str) -> tuple[StagedVersion, ...]:
        """Return every version of a model."""
        what = f"versions of model {name!r}"
        listed = self._listed_versions(what, name) if QUOTABLE.fullmatch(name) else self._each_version(what, name)
        return tuple(
            StagedVersion(
                version=_text(what, found, "version"),
                stage=str(found.get("current_stage") or ""),
                run_id=str(found.get("run_id") or ""),
                user=_tag(what, found, TAG_USER),
            )
            for found in listed
            if found.get("name") == name
        )

    def _listed_versions(self, what: str, name: str) -> Iterator[dict[str, Any]]:
        query = {"filter": f"name='{name}'", "order_by": STABLE}
        yield from self._pages(what, "model-versions/search", "model_versions", query)

    def _each_version(self, what: str, name: str) -> Iterator[dict[str, Any]]:
        """Yield the versions of a model whose name no filter can hold, with one request each."""
        model = _part(what, self._get(what, "registered-models/get", name=name), "registered_model")
        latest = [_text(what, found, "version") for found in _parts(what, model, "latest_versions")]
        newest = max((int(number) for number in latest if number.isdecimal()), default=0)
        for number in range(1, newest + 1):
            with suppress(NotFoundError):  # it was deleted
                yield _part(
                    what, self._get(what, "model-versions/get", name=name, version=str(number)), "model_version"
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
        return read_presigned_url(what, self._client.get_json(what, f"{PRESIGNED}/{quote(path)}"))

    def abort(self) -> None:
        """End every transfer at once."""
        self._client.abort()

    def _pages(self, what: str, endpoint: str, key: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield the objects of every page of a search. Raises InvalidInputError if its pages lead in a circle."""
        token, seen = "", set[str]()
        while True:
            more = {"page_token": token} if token else {}
            answer = self._get(what, endpoint, **query, max_results=str(PAGE), **more)
            yield from _parts(what, answer, key)
            token = str(answer.get("next_page_token") or "")
            if not token:
                return
            if token in seen:
                raise InvalidInputError(f"{what}: MLflow's answer leads to a page that came before")
            seen.add(token)

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


def _registered_model(what: str, found: Mapping[str, Any]) -> RegisteredModel:
    aliases = {_text(what, one, "alias"): _text(what, one, "version") for one in _parts(what, found, "aliases")}
    return RegisteredModel(name=_text(what, found, "name"), user=_tag(what, found, TAG_USER), aliases=aliases)


def _tag(what: str, found: Mapping[str, Any], key: str) -> str:
    """Return the value of a tag; empty if there is none."""
    return next((str(tag.get("value") or "") for tag in _parts(what, found, "tags") if tag.get("key") == key), "")


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
