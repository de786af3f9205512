"""A bucket of an object store, listed and read by obstore; no module but this and `object_store_errors` imports it.

obstore retries nothing here: the limits, tries and checks are those of every other way.
"""

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.exceptions import BaseError, UnknownConfigurationKeyError
from obstore.store import AzureStore, GCSStore, S3Store

from model_contract.layout import MLMODEL
from model_contract.names import OBJECT_STORE_CREDENTIALS
from model_contract.store_addresses import StoreAddress
from model_delivery.answer import paced
from model_delivery.deadline import Deadline
from model_delivery.errors import ChangedError, InvalidInputError, TransientError
from model_delivery.listed_model import ListedFile, flat_tree
from model_delivery.object_store_errors import NO_BUCKET, NO_LISTING, is_odd_range, store_errors
from model_delivery.object_store_settings import ObjectStoreSettings

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

CONNECT_TIMEOUT: Final = timedelta(seconds=10)
WHOLE_REQUEST: Final = timedelta(days=30)  # the limits are on silence and rate, not on the time of a large file
PAGE: Final = 100  # entries that obstore makes objects of at a time; the store lists 1,000 at a request
PIECE: Final = 1 << 17  # bytes that are worth one write
LARGE: Final = 1 << 20  # bytes of the smallest file that takes one of the STREAMS
STREAMS: Final = 4  # as rclone has; each takes 1 MiB of memory: obstore and its HTTP client read 400 KiB at a time
RANGE: Final = re.compile(r"bytes=([0-9]+)-([0-9]*)")
ENDPOINT: Final = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+(?:/[A-Za-z0-9._~/-]*)?")
ACCOUNT_KIND: Final = re.compile(r"unknown variant `([a-z_]{1,40})`, expected `service_account`")
UNSATISFIABLE: Final = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
STORES: Final[Mapping[str, Any]] = {"s3": S3Store, "gs": GCSStore, "abfss": AzureStore, "wasbs": AzureStore}


def connected(place: StoreAddress, settings: ObjectStoreSettings, deadline: Deadline) -> "Bucket":
    """Return the bucket of an address. Raises InvalidInputError if the credentials cannot be used."""
    endpoint, stall = settings.endpoint(place.scheme), deadline.limits.stall
    config: dict[str, Any] = settings.config(place.scheme)
    if place.account:
        config |= {"account_name": place.account, **({} if endpoint else {"endpoint": f"https://{place.blob_host}"})}
    options: dict[str, Any] = {
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": timedelta(seconds=min(stall, deadline.limits.deadline or stall)),
        "timeout": WHOLE_REQUEST,
        "user_agent": "model-api-delivery",
    }
    if endpoint and not ENDPOINT.fullmatch(endpoint):
        raise InvalidInputError(f"the endpoint for {place.scheme}: is no address of http or https, without a user")
    for name in settings.empty(place.scheme):
        os.environ.pop(name, None)  # obstore would sign with an empty session token, or for an empty region
    try:
        store = STORES[place.scheme](
            place.bucket, config=config, client_options=options, retry_config={"max_retries": 0}
        )
    except UnknownConfigurationKeyError as error:
        name = next((name for name in config if f"'{name.lower()}'" in str(error)), "a file of another name")
        raise InvalidInputError(
            f"{OBJECT_STORE_CREDENTIALS}: the directory holds {name}, a variable that obstore does not know"
        ) from None
    except (BaseError, ValueError, OSError) as error:
        kind = ACCOUNT_KIND.search(str(error))
        raise InvalidInputError(
            f"the credentials for {place.scheme}: cannot be used"
            + (f", since they are of the kind {kind[1]}" if kind else "")
            + f"; check the values in the directory of {OBJECT_STORE_CREDENTIALS}, or the variables of the store's"
            " clients" + (": a service account's key is needed" if kind else "")
        ) from None
    return Bucket(store, str(replace(place, path="")), deadline)


class Bucket:
    """One bucket, which threads share."""

    def __init__(self, store: S3Store | GCSStore | AzureStore, name: str, deadline: Deadline) -> None:
        self._store = store
        self._name = name
        self._deadline = deadline
        self._streams = BoundedSemaphore(STREAMS)
        self._next = Lock()

    def files(self, path: str) -> tuple[ListedFile, ...]:
        """Return every file below the path, with its tag. Raises DeliveryError."""
        # Another thread waits for the store: the main one must take a signal at once.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._deadline.retrying, lambda: self._files_once(path)).result()

    @contextmanager
    def open(self, path: str, file: ListedFile, headers: Mapping[str, str]) -> Iterator["StoreAnswer"]:
        """Request one file, or a range of it, once. Raises DeliveryError."""
        what, options = f"artifact {path!r} from the object store", _options(file, headers)
        with self._stream() if (file.size or 0) >= LARGE else nullcontext():
            yield StoreAnswer(what, self._get(what, path, options), file, self._deadline, ranged="range" in options)

    @contextmanager
    def _stream(self) -> Iterator[None]:
        """Take one of the STREAMS for the block.

        A thread that has just freed a stream cannot take it before a thread that waits. Otherwise the first range of a
        file could wait until all others are there, and nothing of the file could be hashed before.
        """
        with self._next:
            self._streams.acquire()
        try:
            yield
        finally:
            self._streams.release()

    def _get(self, what: str, path: str, options: "GetOptions") -> "GetResult | None":
        """Return obstore's result; None if the store answered a range with something else."""
        self._deadline.remaining()
        with store_errors(what):
            try:
                return obstore.get(self._store, path, options=options)
            except BaseError as error:
                if "range" not in options or not is_odd_range(str(error)):
                    raise
                return None

    def _files_once(self, path: str) -> tuple[ListedFile, ...]:
        found = tuple(flat_tree(f"{self._name}/{path}".rstrip("/"), self._entries(path)))
        if not found:
            self._check_is_store(path)
        return found

    def _check_is_store(self, path: str) -> None:
        """Raise InvalidInputError if the server has a file that it does not list: it sends a page for each address."""
        with suppress(BaseError, FileNotFoundError):
            obstore.head(self._store, f"{path}/{MLMODEL}".lstrip("/"))
            raise InvalidInputError(f"listing of {f'{self._name}/{path}'!r}: {NO_LISTING}")

    def _entries(self, path: str) -> Iterator[ListedFile]:
        prefix = f"{path}/" if path else ""
        pages = obstore.list(self._store, path or None, chunk_size=PAGE)
        while True:
            self._deadline.remaining()
            with store_errors(f"listing of {f'{self._name}/{path}'!r}", gone=NO_BUCKET):
                page = next(pages, None)
            if page is None:
                return
            for entry in page:
                if entry["path"].startswith(prefix):
                    yield ListedFile(path=entry["path"][len(prefix) :], size=entry["size"], tag=entry["e_tag"])


class StoreAnswer:
    """The answer to a request for a file, or for a range of it, in the form of an HTTP answer."""

    delimited = True  # the store's own length is compared at the end

    def __init__(
        self, what: str, result: "GetResult | None", file: ListedFile, deadline: Deadline, *, ranged: bool
    ) -> None:
        """`result` is None if the store answered a range with something else."""
        self._what = what
        self._result = result
        self._deadline = deadline
        self.status = HTTPStatus.PARTIAL_CONTENT if ranged else HTTPStatus.OK
        self.headers: dict[str, str] = {}
        if result is None:
            self.status = UNSATISFIABLE
            return
        tag = result.meta["e_tag"]
        if file.tag and _bare(tag) != _bare(file.tag):
            raise ChangedError(f"{what}: it was changed after it was listed; fetch the model again")
        begin, end = result.range
        self._length = end - begin
        if tag:
            self.headers["ETag"] = tag
        if coding := result.attributes.get("Content-Encoding"):
            self.headers["Content-Encoding"] = coding
        if ranged:
            self.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{result.meta['size']}"

    def chunks(self) -> Iterator[memoryview]:
        """Yield the body as it comes; a chunk is valid until the next one.

        Raises TransientError if the body stalls, is too slow, or is cut.
        """
        if self._result is None:
            return
        received = 0
        for chunk in paced(self._what, self._pieces(self._result), self._deadline):
            received += len(chunk)
            yield chunk
        if received < self._length:
            raise TransientError(f"{self._what}: the connection was cut after {received} of {self._length} bytes")

    def beginning(self, longest: int) -> bytes:
        """Return at most `longest` bytes of the body; the rest is not read."""
        for chunk in self.chunks():
            return bytes(chunk[:longest])
        return b""

    def _pieces(self, result: "GetResult") -> Iterator[memoryview]:
        limits = self._deadline.limits
        # The bytes that a store at the lowest rate sends within the longest silence, so that no wait takes longer.
        least = max(1, int(min(PIECE, limits.stall * limits.min_rate)))
        pieces = result.stream(min_chunk_size=least)
        while True:
            self._deadline.remaining()
            with store_errors(self._what):
                piece = next(pieces, None)
            if piece is None:
                return
            with memoryview(piece) as view:
                del piece  # the end of the view frees it, before the next one comes
                yield view


def _options(file: ListedFile, headers: Mapping[str, str]) -> "GetOptions":
    """Return obstore's options: a range, and the tag that the file had when it was listed."""
    options: GetOptions = {}
    if found := RANGE.fullmatch(headers.get("Range", "")):
        begin = int(found[1])
        options["range"] = (begin, int(found[2]) + 1) if found[2] else {"offset": begin}
    if file.tag and not file.tag.startswith("W/"):
        options["if_match"] = f'"{_bare(file.tag)}"'
    return options


def _bare(tag: str | None) -> str:
    """Return a tag without its quotes, which Azure leaves out in listings."""
    return (tag or "").strip('"')
