"""Measure what a pod would get from this place, by each way, within bounds of time and bytes. Nothing is kept."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from model_contract.names import PRESIGNED_HOSTS
from model_contract.store_addresses import is_store_address
from model_delivery.artifact_files import DIRECT, ArtifactFiles
from model_delivery.bottleneck import OBJECT_STORE, PRESIGNED, PROXY, Figures, Rate
from model_delivery.client import Client
from model_delivery.deadline import Deadline, Limits
from model_delivery.download import mlflow_artifacts
from model_delivery.errors import DeliveryError, InvalidInputError, NotFoundError, PreconditionError, UnavailableError
from model_delivery.listed_model import ListedModel, find_model
from model_delivery.mlflow_api import MlflowApi
from model_delivery.presigned_hosts import PresignedHosts, split_url
from model_delivery.progress import Progress, fingerprint
from model_delivery.settings import Upstream
from model_delivery.source import artifacts_of
from model_delivery.store import PartialModel, store_error
from model_delivery.transfer import Transfer

TIMES: Final = 3  # of a short request; the median counts
DISK_BYTES: Final = 64 << 20
BLOCK: Final = 1 << 20
GATE_PROBE: Final = "/livez"  # the gate answers it itself, MLflow has no such page
MLFLOW_PROBE: Final = "/version"
TRIES: Final = 2
PREPARED_WITHIN: Final = 60.0  # seconds; a slow store takes some to list 10,000 files


class Preparation(Deadline):
    """The limits of all that comes before the files: `seconds` for each answer, and PREPARED_WITHIN for everything."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Limits(deadline=max(seconds, PREPARED_WITHIN), stall=seconds, tries=TRIES))

    def _overdue(self) -> str:
        return f"the answers before the first file, such as the model's listing, took {self.limits.deadline:g} s"


class Window(Preparation):
    """The limits of one transfer that is measured: it ends so many seconds after its beginning, or after the bytes."""

    def __init__(self, seconds: float, most: int) -> None:
        super().__init__(seconds)
        self._seconds = seconds
        self._most = most
        self._begun = False

    def begin(self) -> None:
        """Begin with the files: the time of the listing is no part of their rate."""
        self._begun, self._began = True, time.monotonic()
        self._ends = self._began + self._seconds

    def count(self, received: int) -> None:
        super().count(received)
        if self.look().bytes >= self._most:
            self.stop()

    @property
    def is_over(self) -> bool:
        found = self.look()
        return self._begun and (found.bytes >= self._most or found.seconds >= self._seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model that is fetched for a measurement, its server, and the bounds of each way."""

    name: str
    version: str
    upstream: Upstream
    directory: Path
    seconds: float = 10
    most_bytes: int = 256 << 20
    parallel: int = 8


Way = Callable[[Subject, Path, Window], None]


def measure(subject: Subject) -> Figures:
    """Return all figures. Raises DeliveryError if MLflow cannot be reached, or the caller may not read the model."""
    deadline = Preparation(subject.seconds)
    with mlflow_artifacts(subject.upstream, deadline) as (api, artifacts):
        with closing(_client(subject, deadline)) as client:
            connection = _median(client.connect)
            gate = _gate(client)
            mlflow = _median(lambda: _ask(client, MLFLOW_PROBE))
        listed = _listed(api, artifacts, subject)
        direct = is_store_address(listed.source)
        listing = _median(lambda: artifacts.stores.files(listed.source) if direct else api.list(listed.source))
        root = {file.path.partition("/")[0] for file in listed.files}
    return Figures(
        connection=connection,
        gate=gate,
        mlflow=mlflow,
        listing=listing,
        listed=len(listed.files if direct else root),
        disk=_disk(subject.directory),
        model_bytes=listed.known_bytes,
        ways={name: _rate(way, subject) for name, way in (WAYS_TO_ADDRESS if direct else WAYS).items()},
    )


def _proxy(subject: Subject, place: Path, window: Window) -> None:
    _transfer(subject, replace(subject.upstream, presigned=PresignedHosts()), place, window, smallest=0)


def _object_store(subject: Subject, place: Path, window: Window) -> None:
    _transfer(subject, subject.upstream, place, window, smallest=0)


def _presigned(subject: Subject, place: Path, window: Window) -> None:
    if not subject.upstream.presigned.allowed:
        raise InvalidInputError(f"{PRESIGNED_HOSTS} is not set")
    _transfer(subject, subject.upstream, place, window, smallest=DIRECT)


# A further way is a function that brings files into a directory and counts their bytes, and its entry.
WAYS: Final[Mapping[str, Way]] = {PROXY: _proxy, PRESIGNED: _presigned}
WAYS_TO_ADDRESS: Final[Mapping[str, Way]] = {OBJECT_STORE: _object_store}


def _rate(way: Way, subject: Subject) -> Rate:
    window = Window(subject.seconds, subject.most_bytes)
    try:
        with tempfile.TemporaryDirectory(prefix=".model-api-doctor-", dir=subject.directory) as place:
            try:
                way(subject, Path(place), window)
            except UnavailableError:
                if not window.is_over:
                    raise
            found = window.look()
    except DeliveryError as error:
        return Rate(fault=str(error))
    except OSError as error:
        return Rate(fault=str(store_error(error)))
    return Rate(bytes=found.bytes, seconds=found.seconds)


def _transfer(subject: Subject, upstream: Upstream, place: Path, window: Window, *, smallest: int) -> None:
    with mlflow_artifacts(upstream, window) as (api, artifacts):
        listed = _listed(api, artifacts, subject)
        files = tuple(file for file in listed.files if (file.size or 0) >= smallest)
        if not files:
            raise PreconditionError(
                f"the model has no file of {smallest} bytes or more, and smaller ones go another way"
            )
        if smallest:
            origin, _ = split_url(api.presigned_url(f"{listed.source}/{files[0].path}").url)
            upstream.presigned.check(origin)
        partial = PartialModel(directory=place / "partial")
        partial.model.mkdir(parents=True)
        wanted = replace(listed, files=files)
        window.begin()
        Transfer(
            files=artifacts,
            listed=wanted,
            partial=partial,
            progress=Progress.start(partial.progress, fingerprint(wanted)),
            deadline=window,
            max_bytes=None,
            parallel=subject.parallel,
        ).run()
        if smallest and artifacts.way != PRESIGNED:
            raise PreconditionError("the object store did not give the files: the log says why")


def _listed(api: MlflowApi, artifacts: ArtifactFiles, subject: Subject) -> ListedModel:
    return find_model(*artifacts_of(api, subject.name, subject.version, stores=artifacts.stores))


def _client(subject: Subject, deadline: Deadline) -> Client:
    upstream = subject.upstream
    return Client(upstream.uri, credential=None, proxy=upstream.proxy, deadline=deadline, tls=upstream.tls)


def _gate(client: Client) -> float | None:
    """Return the time of an answer of the gate; None if MLflow answers itself, which has no such page."""
    try:
        return _median(lambda: _ask(client, GATE_PROBE))
    except NotFoundError:
        return None


def _ask(client: Client, path: str) -> None:
    client.get_parsed(f"page {path}", path, lambda pieces: sum(map(len, pieces)))


def _disk(directory: Path) -> float:
    """Return the bytes per second that the directory takes, with those that the system had in memory."""
    block = os.urandom(BLOCK)
    try:
        with tempfile.TemporaryFile(dir=directory) as output:
            began = time.monotonic()
            for _ in range(DISK_BYTES // BLOCK):
                output.write(block)
            output.flush()
            os.fsync(output.fileno())
            return DISK_BYTES / (time.monotonic() - began)
    except OSError as error:
        raise InvalidInputError(f"{directory} cannot be written to: {error.strerror}") from error


def _median(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(TIMES):
        began = time.monotonic()
        call()
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)
