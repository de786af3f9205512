"""Sources of model versions, and the files that a client of MLflow reads for a source.

The source of a new version is resolved as MLflow's client does it, and stored in a form that every client reads alike.
A version from before the gate may have a source that clients read differently: the files of each reading are protected.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from model_contract.store_addresses import StoreAddress, is_store_address, parse_store_address
from tracking_gate.errors import Forbidden, InvalidRequest
from tracking_gate.mlflow_api.artifact_locations import (
    MODEL_ID,
    below,
    contains,
    joined,
    location_of,
    model_id_in,
    proxied_location,
    readings,
    run_id_in,
)
from tracking_gate.mlflow_api.registry import Registry
from tracking_gate.mlflow_api.registry_objects import ACTIVE_STAGES, Json, Version

MODEL_URI: Final = re.compile(r"models:/+([^/]+)(?:/+([0-9]+))?/*", re.IGNORECASE)
RUN_URI: Final = re.compile(r"runs:/+([^/]+)(?:/+(.*))?", re.IGNORECASE | re.DOTALL)
MAX_STEPS: Final = 4  # from a version that is a copy of a copy
# `//host` is of artifacts only; the rest begins with one slash.
SOURCE: Final = re.compile(r"(runs|models|mlflow-artifacts):(?://([^/]*))?(/.*)", re.IGNORECASE)
AMBIGUOUS: Final = re.compile(r"[?#%;\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|^\s|\s$")
ODD_CHARACTERS: Final = "source holds ?, #, %, ;, a backslash, a control character, or a space at an end"
SOURCE_FORMS: Final = "source must be runs:/..., models:/... or mlflow-artifacts:/..., or an address of an object store"
NOT_OWNED: Final = "the source is not an object of a project of yours"
NO_DIRECTORY: Final = "the source is not a directory of a run or a logged model of a project of yours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files that a version is made of: the URI to store, and the project, run and logged model that own them."""

    uri: str
    project: str | None
    run_id: str | None = None
    model_id: str | None = None


async def resolve_source(registry: Registry, uri: str, steps: int = MAX_STEPS) -> Source:
    """Return the source that MLflow's client means by a URI.

    Raises InvalidRequest if clients could read the URI in two ways, Forbidden if its files do not exist.
    """
    if is_store_address(uri):
        return await _of_store(registry, uri)
    scheme, host, segments = parts_of(uri)
    if scheme == "mlflow-artifacts":
        return await _of_location(registry, "/".join(segments), host)
    if host:
        raise InvalidRequest("source names a host: MLflow's client would look for the files there")
    if scheme == "runs":
        return await _of_run(registry, segments[0], segments[1:])
    if len(segments) == 1 and MODEL_ID.fullmatch(segments[0]):
        return await _of_logged_model(registry, segments[0])
    if len(segments) != 2 or not re.fullmatch(r"[1-9][0-9]{0,9}", segments[1]):  # noqa: PLR2004  a name and a version
        raise InvalidRequest(
            "source must name a version by its number, models:/<name>/<version>, or a logged model, models:/m-..."
        )
    return await _of_version(registry, segments[0], segments[1], steps)


def parts_of(uri: str) -> tuple[str, str, list[str]]:
    """Return scheme, host and the path's segments. Raises InvalidRequest if clients read the URI in different ways."""
    if AMBIGUOUS.search(uri):
        raise InvalidRequest(ODD_CHARACTERS)
    found = SOURCE.fullmatch(uri)
    if not found:
        raise InvalidRequest(SOURCE_FORMS)
    segments = [segment for segment in found[3].split("/") if segment]
    if not segments:
        raise InvalidRequest("source must name one directory of a run or of a logged model")
    if any(segment in {".", ".."} for segment in segments):
        raise InvalidRequest("source holds . or .. as a segment")
    return found[1].lower(), found[2] or "", segments


async def _of_run(registry: Registry, run_id: str, path: list[str]) -> Source:
    run = await registry.raw_run(run_id)
    if not run or run["run"]["info"]["run_id"] != run_id:
        raise Forbidden(NOT_OWNED)
    project = await registry.project_of_run(run)
    root = str(run["run"]["info"]["artifact_uri"])
    models = await registry.logged_models_of_run(run, path[0]) if path else []
    if not models:
        return Source(uri="/".join([root.rstrip("/"), *path]), project=project, run_id=run_id)
    info = models[0]
    if await registry.has_files(joined(proxied_location(root) or "", *path)):
        raise InvalidRequest(
            "source means files of the run and of its logged model, which MLflow's client puts into one directory: "
            f"name the logged model, models:/{info['model_id']}"
        )
    inside = "/".join([str(info["artifact_uri"]).rstrip("/"), *path[1:]])
    uri = inside if path[1:] else f"models:/{info['model_id']}"
    return Source(uri=uri, project=project, run_id=run_id, model_id=info["model_id"])


async def _of_logged_model(registry: Registry, model_id: str) -> Source:
    info = await registry.logged_model(model_id)
    if not info or info["model_id"] != model_id:
        raise Forbidden(NOT_OWNED)
    return Source(uri=f"models:/{model_id}", project=await registry.project_of_logged_model(info), model_id=model_id)


async def _of_version(registry: Registry, name: str, number: str, steps: int) -> Source:
    version = await registry.version(name, number)
    if not version or version.name != name or not steps:
        raise Forbidden(NOT_OWNED)
    project = await registry.project_of_version(version)
    stored = await registry.download_uri(name, number) or version.source
    inner = await resolve_source(registry, stored, steps - 1)
    if inner.project != project:
        raise Forbidden(NOT_OWNED)
    if inner.uri != stored:  # a version from before the gate
        return inner
    return Source(
        uri=f"models:/{name}/{number}",
        project=project,
        run_id=version.run_id or None,
        model_id=version.model_id or None,
    )


async def _of_location(registry: Registry, location: str, host: str) -> Source:
    """Return the source at a location, with the run or logged model that contains it."""
    owner = await _directory_of(registry, location)
    root = proxied_location(owner.uri) if owner else None
    if owner is None or root is None or not contains(root, location):
        raise Forbidden(NO_DIRECTORY)
    if host and not owner.uri.startswith(f"mlflow-artifacts://{host}/"):
        raise InvalidRequest("source names a host: MLflow's client would look for the files there")
    rest = location.removeprefix(root).strip("/")
    return replace(owner, uri="/".join(part for part in (owner.uri.rstrip("/"), rest) if part))


async def _of_store(registry: Registry, uri: str) -> Source:
    """Return the source at an address of an object store, below that of the run or logged model that its path names.

    MLflow's client sends such a source if MLflow does not serve the artifacts.
    """
    if AMBIGUOUS.search(uri):
        raise InvalidRequest(ODD_CHARACTERS)
    try:
        address = parse_store_address(uri)
    except ValueError:
        raise InvalidRequest(SOURCE_FORMS) from None
    owner = await _directory_of(registry, address.path)
    if owner is None or not _covers(owner.uri, address):
        raise Forbidden(NO_DIRECTORY)
    return replace(owner, uri=str(address))


def _covers(root: str, address: StoreAddress) -> bool:
    try:
        return parse_store_address(root).covers(address)
    except ValueError:
        return False


async def _directory_of(registry: Registry, location: str) -> Source | None:
    """Return the whole directory of the logged model or run that the location names by its id."""
    if model_id := model_id_in(location):
        if not (info := await registry.logged_model(model_id)):
            return None
        project = await registry.project_of_logged_model(info)
        return Source(uri=str(info["artifact_uri"]), project=project, model_id=model_id)
    run_id = run_id_in(location)
    if not run_id or not (run := await registry.raw_run(run_id)):
        return None
    return Source(
        uri=str(run["run"]["info"]["artifact_uri"]), project=await registry.project_of_run(run), run_id=run_id
    )


async def promoted_locations(registry: Registry) -> dict[str, Version]:
    """Return the locations of every version that is in Staging or Production or has an alias."""
    found: dict[str, Version] = {}
    aliased = await registry.aliased_versions()
    for version in await registry.all_versions():
        if version.stage in ACTIVE_STAGES or (version.name, version.version) in aliased:
            found |= dict.fromkeys(await locations_of_version(registry, version), version)
    return found


async def locations_of_version(registry: Registry, version: Version) -> set[str]:
    """Return each location that some client of MLflow reads as the files of a version."""
    uri = await registry.download_uri(version.name, version.version)
    found = await _locations(registry, uri or version.source, MAX_STEPS)
    if version.model_id and (location := await registry.location_of_logged_model(version.model_id)):
        found.add(location)
    return found


async def _locations(registry: Registry, uri: str, steps: int) -> set[str]:
    found: set[str] = set()
    for reading in readings(uri) if steps else ():
        if (location := location_of(reading)) is not None:
            found.add(location)
        elif run := RUN_URI.fullmatch(reading):
            found |= await _locations_of_run(registry, run[1], joined(run[2] or ""))
        elif model := MODEL_URI.fullmatch(reading):
            source = await (
                registry.download_uri(model[1], str(int(model[2])))
                if model[2]
                else _uri_of_logged_model(registry, model[1])
            )
            found |= await _locations(registry, source, steps - 1) if source else set()
    return found


async def _uri_of_logged_model(registry: Registry, model_id: str) -> str | None:
    info = await registry.logged_model(model_id)
    return str(info["artifact_uri"]) if info else None


async def _locations_of_run(registry: Registry, run_id: str, path: str) -> set[str]:
    """Return the locations for `runs:/<id>/<path>`: MLflow 3 merges the run's directory and its logged models."""
    run = await registry.raw_run(run_id)
    if not run:
        return set()
    name, _, rest = path.partition("/")
    models: list[Json] = await registry.logged_models_of_run(run, name) if name else []
    roots = [(run["run"]["info"].get("artifact_uri", ""), path), *((info["artifact_uri"], rest) for info in models)]
    return {below(location, rest) for uri, rest in roots if (location := location_of(uri)) is not None}
