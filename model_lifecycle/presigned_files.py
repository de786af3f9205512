"""Files from the object store behind MLflow, by presigned URLs, which get no credential."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import httpx2

from model_contract.names import PRESIGNED_HOSTS
from model_delivery.errors import DeliveryError
from model_delivery.mlflow_api import ARTIFACTS, PRESIGNED, read_presigned_url
from model_delivery.presigned_hosts import PresignedHosts, split_url
from model_lifecycle.errors import InvalidError, NotAuthorisedError, NotFoundError, UnavailableError
from model_lifecycle.http_client import cause_of_failure, error_of, new_client, peer_of

# S3 answers 403 for a URL that has expired, and 400 if the credentials that signed it have.
REFUSED: Final = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
Hosts = PresignedHosts


def presigned_hosts(environ: Mapping[str, str]) -> Hosts:
    """Return the object stores that may be read. Raises InvalidError."""
    try:
        return PresignedHosts.from_environment(environ)
    except DeliveryError as error:
        raise InvalidError(str(error)) from error


def presigned_path(path: str) -> str:
    """Return the path of the request for the URL of the file at `path`."""
    return path.replace(ARTIFACTS, PRESIGNED, 1)


@contextmanager
def file_of_store(answer: dict[str, Any], hosts: Hosts, timeout: float) -> Iterator[Iterator[bytes]]:
    """Yield the bytes of the file whose URL MLflow's answer has, as they come.

    Raises LifecycleError, also if they end early.
    """
    try:
        url = read_presigned_url("presigned URL", answer)
        origin, _ = split_url(url.url)
        hosts.check(origin)
    except DeliveryError as error:
        raise InvalidError(str(error)) from error
    peer = peer_of("the object store", str(origin), PRESIGNED_HOSTS)
    try:
        with (
            new_client(verify=hosts.tls or False, timeout=timeout) as client,
            client.stream("GET", url.url, headers={"Accept-Encoding": "identity", **url.headers}) as sent,
        ):
            _check(sent.status_code)
            yield sent.iter_raw()
    except (httpx2.TransportError, httpx2.DecodingError) as error:
        raise error_of(cause_of_failure(error, peer)) from error


def _check(status: int) -> None:
    said = f"the object store answers {status}"
    if status in REFUSED:
        raise NotAuthorisedError(said)
    if status == HTTPStatus.NOT_FOUND:
        raise NotFoundError(said)
    if status != HTTPStatus.OK:
        raise UnavailableError(said)
