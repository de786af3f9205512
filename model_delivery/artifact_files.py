"""Files of a model: from MLflow, large ones from the object store behind it, or all from an object store's address."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import Final

from model_contract.names import PRESIGNED_HOSTS
from model_contract.retry_after import retry_after
from model_contract.store_addresses import is_store_address
from model_contract.temporary_status import is_temporary
from model_delivery.answer import Answer, FileAnswer
from model_delivery.client import LONGEST_ERROR_BODY, Client
from model_delivery.deadline import Deadline
from model_delivery.errors import (
    DeliveryError,
    InvalidInputError,
    NotAuthorisedError,
    NotFoundError,
    PresignedOnlyError,
    TransientError,
    UnavailableError,
)
from model_delivery.listed_model import ListedFile, Listing
from model_delivery.log import log
from model_delivery.mlflow_api import MlflowApi, PresignedUrl
from model_delivery.object_stores import ObjectStores
from model_delivery.presigned_hosts import PresignedHosts, split_url
from model_delivery.tracking_uri import TrackingUri

MOST_URLS: Final = 64  # kept; each serves the ranges of a file that comes at the moment
DIRECT: Final = 8 << 20  # bytes of the smallest file that is worth a request for its URL
CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
# S3 answers 403 for a URL that has expired, and 400 if the credentials that signed it have.
REFUSED: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class RefusedUrlError(NotAuthorisedError):
    """The store does not accept a presigned URL, which may have expired."""


class ArtifactFiles:
    """Opens files for threads that share it.

    After a failure of the direct way, all other files come through MLflow, if it sends any.
    """

    def __init__(self, api: MlflowApi, hosts: PresignedHosts, stores: ObjectStores, deadline: Deadline) -> None:
        self.stores = stores
        self._api = api
        self._hosts = hosts
        self._deadline = deadline
        self._direct = bool(hosts.allowed)
        self._is_only_way = False  # True once MLflow has said that it sends no files itself
        self._answered = False  # True once the object store has sent what was wanted
        self._at_address = False  # True once a file with an address of an object store was requested
        self._urls: dict[str, PresignedUrl] = {}
        self._clients: dict[TrackingUri, Client] = {}
        self._lock = threading.Lock()

    @property
    def way(self) -> str:
        """The way of the large files."""
        if self._at_address:
            return "object store"
        if not self._answered:
            return "proxy"
        return "presigned" if self._direct else "presigned, then proxy"

    @contextmanager
    def open(self, path: str, file: ListedFile, headers: Mapping[str, str]) -> Iterator[FileAnswer]:
        """Request one file, or a range of it, once; `path` may be an address. Raises DeliveryError."""
        with ExitStack() as stack:
            if is_store_address(path):
                self._at_address = True
                yield stack.enter_context(self.stores.open(path, file, headers))
                return
            direct = self._is_only_way or (self._direct and (file.size or 0) >= DIRECT)
            answer = self._from_object_store(stack, path, headers) if direct else None
            if answer is None:
                try:
                    sent = stack.enter_context(self._api.file(path, headers))
                except PresignedOnlyError:
                    if not self._hosts.allowed:
                        raise
                    self._is_only_way = self._direct = True
                    answer = self._by_url(stack, path, headers)
                else:
                    yield sent
                    return
            try:
                yield answer
            except TransientError as error:
                if not (self._answered or self._is_only_way):
                    self._step_down(error)
                raise
            self._answered = True

    def list(self, path: str) -> Listing:
        """Return the content of a directory."""
        return self._api.list(path)

    def abort(self) -> None:
        """End every transfer at once."""
        self._api.abort()
        for client in self._object_store_clients():
            client.abort()

    def close(self) -> None:
        """Close the kept connections to stores."""
        for client in self._object_store_clients():
            client.close()

    def _from_object_store(self, stack: ExitStack, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Return the store's answer; None, after a log line with the reason, if MLflow must send the files."""
        if self._is_only_way:
            return self._by_url(stack, path, headers)
        try:
            return self._by_url(stack, path, headers)
        except UnavailableError as error:
            # A store that has answered before is tried again, as MLflow is.
            if self._answered or not isinstance(error, TransientError):
                raise
            self._step_down(error)
        except DeliveryError as error:
            self._step_down(error)
        return None

    def _by_url(self, stack: ExitStack, path: str, headers: Mapping[str, str]) -> Answer:
        url = self._url(path, refused=None)
        try:
            return self._request(stack, path, url, headers)
        except RefusedUrlError:
            return self._request(stack, path, self._url(path, refused=url), headers)

    def _url(self, path: str, *, refused: PresignedUrl | None) -> PresignedUrl:
        """Return the URL of a file, a new one if the known one is `refused`; threads share it."""
        with self._lock:
            url = self._urls.get(path)
        if url is None or url is refused:
            url = self._api.presigned_url(path)
            with self._lock:
                if len(self._urls) >= MOST_URLS:
                    self._urls.clear()
                self._urls[path] = url
        return url

    def _request(self, stack: ExitStack, path: str, url: PresignedUrl, headers: Mapping[str, str]) -> Answer:
        origin, target = split_url(url.url)
        self._hosts.check(origin)
        client, what = self._client(origin), f"artifact {path!r} from the object store"
        return stack.enter_context(client.get(what, target, {**url.headers, **headers}, refusal=_refusal))

    def _client(self, origin: TrackingUri) -> Client:
        with self._lock:
            if origin not in self._clients:
                self._clients[origin] = Client(
                    origin,
                    credential=None,
                    proxy=self._hosts.proxy(origin),
                    deadline=self._deadline,
                    tls=self._hosts.tls if origin.scheme == "https" else None,
                    name="the object store",
                    setting=PRESIGNED_HOSTS,
                    is_store=True,  # MLflow writes Content-Encoding: gzip for a file like model.pkl.gz into S3
                )
            return self._clients[origin]

    def _object_store_clients(self) -> tuple[Client, ...]:
        with self._lock:
            return tuple(self._clients.values())

    def _step_down(self, reason: DeliveryError) -> None:
        with self._lock:
            was_direct, self._direct = self._direct, False
        if was_direct:
            log("large files come through MLflow, not straight from the object store", reason=reason)


def _refusal(what: str, answer: Answer) -> DeliveryError:
    """Return the error for an unsuccessful answer of a store."""
    code = CODE.search(answer.beginning(LONGEST_ERROR_BODY))
    said = f"{what}: the object store answers {answer.status}" + (f" {code[1].decode()}" if code else "")
    if answer.status in REFUSED:
        return RefusedUrlError(said)
    if answer.status == HTTPStatus.NOT_FOUND:
        return NotFoundError(said)
    if is_temporary(answer.status):
        return TransientError(said, retry_after=retry_after(answer.headers.get("Retry-After")))
    return InvalidInputError(said)
