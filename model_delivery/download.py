"""Download the files of a listed model into a partial directory, or continue what an earlier run began."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from model_contract.digest import FileEntry
from model_contract.model_ref import shown
from model_contract.names import TAG_DIGEST
from model_delivery.artifact_files import ArtifactFiles
from model_delivery.client import Client
from model_delivery.deadline import Deadline, Limits
from model_delivery.display import progress_shown
from model_delivery.errors import InvalidInputError, NoSpaceError, PreconditionError
from model_delivery.listed_model import ListedModel, check_space, check_total
from model_delivery.log import line, log
from model_delivery.manifest import Manifest
from model_delivery.mlflow_api import MlflowApi, Version
from model_delivery.object_stores import ObjectStores
from model_delivery.progress import Progress, fingerprint
from model_delivery.settings import Upstream
from model_delivery.store import PartialModel, store_error
from model_delivery.transfer import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of a download: bytes of the model, files at a time, and limits of time and tries."""

    max_bytes: int | None = None
    parallel: int = 8
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """The model that is there now; `fetched` is False if it was there before, and `way` names how the bytes came."""

    manifest: Manifest
    fetched: bool
    way: str = "there"

    def summary(self, seconds: float) -> dict[str, object]:
        """Return what the termination log tells of it, after so many seconds."""
        return {"way": self.way, **self._counts(), "seconds": round(seconds, 2)}

    def line(self, seconds: float, **model: str) -> str:
        """Return the line for the log. `model` names the model."""
        text, told = "fetched" if self.fetched else "there already", {**model, **self._counts()}
        return line(text, **told, seconds=f"{seconds:.2f}", way=self.way, digest=self.manifest.digest)

    def _counts(self) -> dict[str, object]:
        return {"files": len(self.manifest.files), "bytes": self.manifest.total_bytes}


@contextmanager
def mlflow_artifacts(upstream: Upstream, deadline: Deadline) -> Iterator[tuple[MlflowApi, ArtifactFiles]]:
    """Yield MLflow's API and the artifacts of its versions; their connections are closed at the end."""
    client = Client(
        upstream.uri, credential=upstream.credential, proxy=upstream.proxy, deadline=deadline, tls=upstream.tls
    )
    api = MlflowApi(client)
    stores = ObjectStores(upstream.object_stores, deadline)
    with closing(client), closing(ArtifactFiles(api, upstream.presigned, stores, deadline)) as files:
        yield api, files


@contextmanager
def stopped_by_errors(api: MlflowApi, deadline: Deadline) -> Iterator[None]:
    """End the listings of other directories, which run in other threads, when an error leaves the block."""
    try:
        yield
    except BaseException:
        deadline.stop()
        api.abort()
        raise


def check_ready(version: Version, title: str) -> None:
    """Raise PreconditionError if the version is not registered completely; `title` names it."""
    if version.status != "READY":
        raise PreconditionError(
            f"{title} is {version.status}, not READY; wait for its registration, or register it again"
        )


def download(
    listed: ListedModel,
    artifacts: ArtifactFiles,
    partial: PartialModel,
    deadline: Deadline,
    bounds: Bounds,
) -> tuple[FileEntry, ...]:
    """Return every file, sorted by path. Raises DeliveryError, and OSError."""
    check_space(listed, bounds.max_bytes)
    log("fetching", source=listed.source, files=len(listed.files), bytes=listed.known_bytes)
    deadline.expected += listed.known_bytes
    transfer = Transfer(
        files=artifacts,
        source=listed.source,
        listed=listed.files,
        partial=partial,
        progress=_begin(partial, listed),
        deadline=deadline,
        most_unlisted=None if bounds.max_bytes is None else bounds.max_bytes - listed.known_bytes,
        parallel=bounds.parallel,
    )
    try:
        for directory in listed.directories:
            (partial.model / directory).mkdir(parents=True, exist_ok=True)
        with progress_shown(deadline.snapshot):
            files = transfer.run()
        check_total(files, bounds.max_bytes)
        check_each_has_a_file(partial, files)
    except (OSError, NoSpaceError) as error:
        if isinstance(error, NoSpaceError) or isinstance(store_error(error), NoSpaceError):
            partial.clear()
        raise
    return files


def check_each_has_a_file(partial: PartialModel, files: Sequence[FileEntry]) -> None:
    """Raise InvalidInputError if the store has taken two names for one, as SMB does if they differ in case only."""
    found = sum(len(names) for _, _, names in os.walk(partial.model))
    if found < len(files):
        partial.clear()
        raise InvalidInputError(
            f"the store holds {found} of the model's {len(files)} files: it takes names for one that differ in case, or"
            " in the form of a letter; give the model a volume of another kind, or rename its files"
        )


def check_digest(manifest: Manifest, version: Version, previous: Manifest | None) -> None:
    """Raise PreconditionError if the version's tag, or an earlier delivery of these files, has another digest."""
    if version.digest and version.digest != manifest.digest:
        raise PreconditionError(
            f"the files have the digest {manifest.digest}, and the version's tag {TAG_DIGEST} says"
            f" {shown(version.digest)}: they changed after the version was staged; register them as a new version"
        )
    if previous and previous.source == manifest.source and previous.digest != manifest.digest:
        raise PreconditionError(
            f"the files have the digest {manifest.digest}, and had {previous.digest} when they were delivered before;"
            " register the changed files as a new version"
        )


def _begin(partial: PartialModel, listed: ListedModel) -> Progress:
    """Return the progress of an earlier run of the same files, or an empty one in an empty directory."""
    files = fingerprint(listed)
    progress = Progress.resume(partial.progress, files)
    if progress and partial.model.is_dir():
        log("going on where an earlier run ended")
        os.utime(partial.directory)
        return progress
    partial.clear()
    partial.model.mkdir(parents=True)
    return Progress.start(partial.progress, files)
