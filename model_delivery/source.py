"""The place of a version's artifacts: a path of MLflow's artifact store, or an address in an object store.

MLflow's answers are followed until they name one.
"""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

from model_contract.model_ref import shown
from model_contract.store_addresses import is_store_address
from model_delivery.artifact_paths import checked_for_server, checked_path
from model_delivery.errors import InvalidInputError, NotFoundError
from model_delivery.listed_model import EmptyDirectory, ListedFile, Listing, check_tree
from model_delivery.mlflow_api import Run
from model_delivery.object_store_settings import SERVE_THEM

LISTED_AT_A_TIME: Final = 4  # directories; a listing of 100,000 files takes 40 MB
MOST_HOPS: Final = 4  # a copy of a copy of a logged model is three
ARTIFACTS_ROUTE: Final = "api/2.0/mlflow-artifacts/artifacts/"
LOGGED_MODEL: Final = re.compile(r"models:/+(m-[A-Za-z0-9]{1,64})")
MODEL_VERSION: Final = re.compile(r"models:/+([^/:]{1,256})/([0-9]{1,9})")
RUN_ARTIFACT: Final = re.compile(r"runs:/+([A-Za-z0-9][A-Za-z0-9_-]{0,63})(?:/(.*))?")
ON_DISK: Final = re.compile(r"file:|[A-Za-z]:[\\/]|[^:]*$")  # also a drive of Windows, and a path without a scheme
LOGGED_MODEL_NAME: Final = re.compile(r"""[^/:.%"']+""")

ListDirectory = Callable[[str], Listing]


class Registry(Protocol):
    """The requests to MLflow that lead to the path."""

    def download_uri(self, name: str, version: str) -> str: ...
    def logged_model_uri(self, model_id: str) -> str: ...
    def run(self, run_id: str) -> Run: ...
    def logged_model_of_run(self, run_id: str, experiment_id: str, name: str) -> str | None: ...
    def list(self, path: str) -> Listing: ...


class ObjectStores(Protocol):
    """The object stores that may be read."""

    def checked(self, uri: str) -> str: ...
    def files(self, address: str) -> tuple[ListedFile, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Artifacts by their place. Each place is listed once. Without `stores`, MLflow must serve the artifacts."""

    listed: ListDirectory
    stores: ObjectStores | None

    def place(self, uri: str) -> str | None:
        """Return the place that a URI names; None if MLflow must be asked for it."""
        if self.stores and is_store_address(uri):
            return self.stores.checked(uri)
        return proxied_path(uri)

    def holds_files(self, place: str) -> bool:
        if self.stores and is_store_address(place):
            return bool(self.stores.files(place))
        listing = self.listed(checked_for_server(place))
        return bool(listing.files or listing.directories)

    def files(self, place: str) -> Iterator[ListedFile | EmptyDirectory]:
        if self.stores and is_store_address(place):
            return iter(self.stores.files(place))
        return _files_below(self.listed, place)


def artifact_path(registry: Registry, name: str, version: str) -> str:
    """Return the path of a version's artifacts below the root of MLflow's artifact store.

    Raises InvalidInputError if MLflow does not serve the artifacts, or if its answers lead in a circle.
    """
    places = _Places(listed=registry.list, stores=None)
    return _followed(registry, places, registry.download_uri(name, version), _title(name, version))


def artifacts_of(
    registry: Registry, name: str, version: str, source: str = "", *, stores: ObjectStores | None = None
) -> tuple[str, Iterator[ListedFile | EmptyDirectory]]:
    """Return that path, or an address in one of the `stores`, and every file and empty directory below it.

    `source` is the version's if it is known: MLflow keeps a second address only for a version that is made
    from a model. Raises as above, and InvalidInputError if there are too many files or directories in each other, or if
    the server reads a name as another one.
    """
    places = _Places(listed=cache(registry.list), stores=stores)  # a run's directory is looked into on the way
    known = "" if source.startswith("models:") else source
    place = _followed(registry, places, known or registry.download_uri(name, version), _title(name, version))
    return place, places.files(place)


def artifacts_of_run(
    registry: Registry, run_id: str, path: str, *, stores: ObjectStores | None = None
) -> tuple[str, Iterator[ListedFile | EmptyDirectory]]:
    """Return the place of a run's artifact or logged model, and its files; raises as `artifacts_of` does."""
    places = _Places(listed=cache(registry.list), stores=stores)
    found = _followed(registry, places, f"runs:/{run_id}/{path}", f"artifact {path!r} of run {run_id}")
    return found, places.files(found)


def _title(name: str, version: str) -> str:
    return f"version {version} of model {name!r}"


def _followed(registry: Registry, places: _Places, uri: str, title: str) -> str:
    for _ in range(MOST_HOPS + 1):
        if (place := places.place(uri)) is not None:
            return place
        uri = _next(registry, places, uri)
    raise InvalidInputError(f"the source of {title} leads from one model to another, more than {MOST_HOPS} times")


def proxied_path(uri: str) -> str | None:
    """Return the path of `mlflow-artifacts:/path`, of `mlflow-artifacts://host/path` or of the http form of either.

    None for other URIs. The host is ignored: it is another name of the same server, or must not get the token.
    """
    scheme, _, rest = uri.partition(":")
    if scheme not in {"mlflow-artifacts", "http", "https"}:
        return None
    path = rest[2:].partition("/")[2] if rest.startswith("//") else rest
    before, route, behind = path.partition(ARTIFACTS_ROUTE)
    if scheme != "mlflow-artifacts" and not route:
        raise InvalidInputError(
            f"the artifacts lie at {shown(_without_query(uri))}, which is not MLflow's artifact store"
        )
    return checked_path((behind if route else before).strip("/"))


def _files_below(listed: ListDirectory, path: str) -> Iterator[ListedFile | EmptyDirectory]:
    count = named = 0
    for prefix, depth, listing in _listings_below(listed, path):
        files = [ListedFile(path=f"{prefix}{file.path}", size=file.size) for file in listing.files]
        count += len(files) + len(listing.directories)
        named += sum(len(file.path) for file in files) + sum(len(prefix) + len(name) for name in listing.directories)
        check_tree(path, entries=count, depth=depth, named=named)
        for file in files:
            checked_for_server(f"{path}/{file.path}")
        yield from files
        if prefix and not files and not listing.directories:
            yield EmptyDirectory(path=prefix.rstrip("/"))


def _listings_below(listed: ListDirectory, path: str) -> Iterator[tuple[str, int, Listing]]:
    """Yield each directory below the path: its prefix, its depth and its listing. Several are listed at a time."""
    waiting = [("", 0)]
    running: dict[Future[Listing], tuple[str, int]] = {}
    pool = ThreadPoolExecutor(LISTED_AT_A_TIME)
    try:
        while waiting or running:
            while waiting and len(running) < LISTED_AT_A_TIME:
                prefix, depth = waiting.pop()
                directory = checked_for_server(f"{path}/{prefix}".rstrip("/"))
                running[pool.submit(listed, directory)] = (prefix, depth)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                prefix, depth = running.pop(future)
                listing = future.result()
                yield prefix, depth, listing
                waiting += [(f"{prefix}{name}/", depth + 1) for name in listing.directories]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after an error, the caller ends what still runs


def _next(registry: Registry, places: _Places, uri: str) -> str:
    if found := LOGGED_MODEL.fullmatch(uri):
        return registry.logged_model_uri(found[1])
    if found := MODEL_VERSION.fullmatch(uri):
        return registry.download_uri(found[1], found[2])
    if found := RUN_ARTIFACT.fullmatch(uri):
        return _artifact_of_run(registry, places, found[1], (found[2] or "").strip("/"))
    scheme = uri.partition(":")[0]
    if scheme in {"models", "runs"}:
        raise InvalidInputError(
            f"the source {shown(uri)} names no version, logged model or run; register the version from one of these"
        )
    fault = f"at a {shown(scheme)} address, which is not supported"
    if ON_DISK.match(uri):
        fault = f"at {shown(uri)}, on the disk of a machine, which MLflow does not serve"
    raise InvalidInputError(f"the artifacts lie {fault}; {SERVE_THEM}")


def _artifact_of_run(registry: Registry, places: _Places, run_id: str, path: str) -> str:
    """Return the URI of a run's artifact: MLflow 2 keeps models among them, MLflow 3 apart, by their name."""
    run = registry.run(run_id)
    own = f"{run.artifact_uri.rstrip('/')}/{path}".rstrip("/")
    if (place := places.place(own)) is not None and places.holds_files(place):
        return own
    name, _, below = path.partition("/")
    logged = (
        registry.logged_model_of_run(run_id, run.experiment_id, name) if LOGGED_MODEL_NAME.fullmatch(name) else None
    )
    if logged is None:
        raise NotFoundError(f"run {run_id} has no artifacts and no logged model at {shown(path)}")
    return f"{logged.rstrip('/')}/{below}".rstrip("/")


def _without_query(uri: str) -> str:
    return re.sub(r"//[^/]*@", "//", uri.partition("?")[0])
