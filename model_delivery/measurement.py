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


class PreparationDeadline(Deadline):
    """The limits of all requests before the files: `seconds` for each answer, and PREPARED_WITHIN for all of them."""

    def __init__(self, seconds: float) -> None:
        super().__init__(Limits(deadline=max(seconds, PREPARED_WITHIN), stall=seconds, tries=TRIES))

    def _overdue(self) -> str:
        return f"the answers before the first file, such as the model's listing, took {self.limits.deadline:g} s"


class TransferDeadline(PreparationDeadline):
    """The limits of one measured transfer, which ends after `seconds` or after `most` bytes."""

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
        if self.snapshot().bytes >= self._most:
            self.stop()

    @property
    def is_over(self) -> bool:
        found = self.snapshot()
        return self._begun and (found.bytes >= self._most or found.seconds >= self._seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementRequest:
    """A model to fetch for a measurement, its server, and the bounds of each way."""

    name: str
    version: str
    upstream: Upstream
    directory: Path
    seconds: float = 10
    most_bytes: int = 256 << 20
    parallel: int = 8


Way = Callable[[MeasurementRequest, Path, TransferDeadline], None]


def measure(request: MeasurementRequest) -> Figures:
    """Return all figures. Raises DeliveryError if MLflow cannot be reached, or the caller may not read the model."""
    deadline = PreparationDeadline(request.seconds)
    with mlflow_artifacts(request.upstream, deadline) as (api, artifacts):
        with closing(_client(request, deadline)) as client:
            connection = _median(client.connect)
            gate = _gate(client)
            mlflow = _median(lambda: _ask(client, MLFLOW_PROBE))
        listed = _listed(api, artifacts, request)
        direct = is_store_address(listed.source)
        listing = _median(lambda: artifacts.stores.files(listed.source) if direct else api.list(listed.source))
        root = {file.path.partition("/")[0] for file in listed.files}
    return Figures(
        connection=connection,
        gate=gate,
        mlflow=mlflow,
        listing=listing,
        listed=len(listed.files if direct else root),
        disk=_disk(request.directory),
        model_bytes=listed.known_bytes,
        ways={name: _rate(way, request) for name, way in (WAYS_TO_ADDRESS if direct else WAYS).items()},
    )


def _proxy(request: MeasurementRequest, place: Path, deadline: TransferDeadline) -> None:
    _transfer(request, replace(request.upstream, presigned=PresignedHosts()), place, deadline, smallest=0)


def _object_store(request: MeasurementRequest, place: Path, deadline: TransferDeadline) -> None:
    _transfer(request, request.upstream, place, deadline, smallest=0)


def _presigned(request: MeasurementRequest, place: Path, deadline: TransferDeadline) -> None:
    if not request.upstream.presigned.allowed:
        raise InvalidInputError(f"{PRESIGNED_HOSTS} is not set")
    _transfer(request, request.upstream, place, deadline, smallest=DIRECT)


# A further way is a function that brings files into a directory and counts their bytes, and its entry.
WAYS: Final[Mapping[str, Way]] = {PROXY: _proxy, PRESIGNED: _presigned}
WAYS_TO_ADDRESS: Final[Mapping[str, Way]] = {OBJECT_STORE: _object_store}


def _rate(way: Way, request: MeasurementRequest) -> Rate:
    deadline = TransferDeadline(request.seconds, request.most_bytes)
    try:
        with tempfile.TemporaryDirectory(prefix=".model-api-doctor-", dir=request.directory) as place:
            try:
                way(request, Path(place), deadline)
            except UnavailableError:
                if not deadline.is_over:
                    raise
            found = deadline.snapshot()
    except DeliveryError as error:
        return Rate(fault=str(error))
    except OSError as error:
        return Rate(fault=str(store_error(error)))
    return Rate(bytes=found.bytes, seconds=found.seconds)


def _transfer(
    request: MeasurementRequest, upstream: Upstream, place: Path, deadline: TransferDeadline, *, smallest: int
) -> None:
    with mlflow_artifacts(upstream, deadline) as (api, artifacts):
        listed = _listed(api, artifacts, request)
        files = [file for file in listed.files if (file.size or 0) >= smallest]
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
        deadline.begin()
        Transfer(
            files=artifacts,
            source=wanted.source,
            listed=wanted.files,
            partial=partial,
            progress=Progress.start(partial.progress, fingerprint(wanted)),
            deadline=deadline,
            most_unlisted=None,
            parallel=request.parallel,
        ).run()
        if smallest and artifacts.way != PRESIGNED:
            raise PreconditionError("the object store did not give the files: the log says why")


def _listed(api: MlflowApi, artifacts: ArtifactFiles, request: MeasurementRequest) -> ListedModel:
    return find_model(*artifacts_of(api, request.name, request.version, stores=artifacts.stores))


def _client(request: MeasurementRequest, deadline: Deadline) -> Client:
    upstream = request.upstream
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
