"""A registry of images, by the OCI distribution protocol.

oras asks credential helpers. It cannot send what is not a file, reads a whole blob into memory, and tries for two
minutes after a refused login; so requests are sent here.
"""

import logging
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import oras.auth
import oras.logger
import requests
from requests.adapters import HTTPAdapter

from model_contract.image_reference import ImageReference
from model_contract.names import CA_DIRECTORY, CA_FILE
from model_contract.protocol_probe import speaks_http
from model_contract.retry_after import retry_after
from model_contract.temporary_status import is_temporary
from model_lifecycle.errors import (
    InvalidError,
    LifecycleError,
    NotAuthorisedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from model_lifecycle.http_client import cause_of_failure, error_of, peer_of, proxy_errors
from model_lifecycle.packaging.image import MANIFEST_TYPE, digest_of
from model_lifecycle.packaging.login_file import Login, login_of, server_of
from model_lifecycle.packaging.registry_login import RegistryLogin

USER: Final = "ORAS_USER"
PASSWORD: Final = "ORAS_PASS"
# Seconds to connect and to take a piece of a body, and to answer: a store behind a registry moves a whole layer.
TIMEOUTS: Final = (30.0, 300.0)
SUCCESS: Final = {HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED}
MOVED: Final = {HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT}
TRIES: Final = 3
PAUSE: Final = 1.0  # seconds before the second try; twice as many before the third
LONGEST_WAIT: Final = 60.0  # seconds that a registry may ask for
REFRESH_TOKEN: Final = "<token>"  # the user that a credential helper tells if the password is a refresh token
# A tag may name an image of any of these kinds; a registry may hide those that a request does not accept.
ANY_MANIFEST: Final = {
    "Accept": ", ".join(
        (
            MANIFEST_TYPE,
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        )
    )
}
DIGEST: Final = "Docker-Content-Digest"
BINARY: Final = {"Content-Type": "application/octet-stream"}
ERROR_CODE: Final = re.compile(r"[A-Z_]{1,40}")

Result = TypeVar("Result")
Body = Callable[[], Iterable[bytes]]


class ImageRegistry:
    """A repository of a registry; used within `with`. Methods raise LifecycleError, which never has a credential."""

    def __init__(self, reference: ImageReference, environ: Mapping[str, str]) -> None:
        oras.logger.logger.set_level(logging.CRITICAL)  # it prints what credential helpers say
        self._reference = reference
        self._server = server_of(reference.registry)
        self._verify = environ.get(CA_FILE) or environ.get(CA_DIRECTORY) or True
        self._environ = environ
        with proxy_errors():
            self._session = requests.Session()
        self._session.auth = _unchanged
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _BoundedAdapter())

    def __enter__(self) -> Self:
        self._scheme, answer = self._ping()
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise InvalidError(f"{self._reference.registry} is no registry of images: it has no address /v2/")
        self._login = RegistryLogin(self._reference.registry, self._found_login(), self._session, self._verify)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def digest_of(self, reference: str) -> str | None:
        """Return the digest of the image with this tag or digest; None if there is none."""
        url = self._url(f"manifests/{reference}")
        answer = _tried(lambda: self._send("HEAD", url, ANY_MANIFEST))
        if not (answer.ok and answer.headers.get(DIGEST)):  # some registries answer GET only, some without a digest
            answer = _tried(lambda: self._send("GET", url, ANY_MANIFEST))
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        self._check(answer)
        return answer.headers.get(DIGEST) or digest_of(answer.content)

    def put_blob(self, digest: str, size: int, body: Body) -> bool:
        """Send a blob, unless the repository has it: then return False."""
        url = self._url(f"blobs/{digest}")
        answer = _tried(lambda: self._send("HEAD", url))
        if answer.status_code == HTTPStatus.OK:
            return False
        if answer.status_code != HTTPStatus.NOT_FOUND:
            self._check(answer)
        _tried(lambda: self._upload(digest, size, body))
        return True

    def put_manifest(self, content: bytes, tag: str) -> None:
        """Write the manifest of an image under a tag and its digest, after its blobs."""
        url = self._url(f"manifests/{tag}")
        self._check(
            _tried(lambda: self._send("PUT", url, {"Content-Type": MANIFEST_TYPE}, lambda: [content], len(content)))
        )

    def _upload(self, digest: str, size: int, body: Body) -> None:
        start = self._url("blobs/uploads/")
        begun = self._send("POST", start)
        self._check(begun)
        location = self._elsewhere(begun)
        separator = "&" if urlsplit(location).query else "?"
        target = f"{location}{separator}{urlencode({'digest': digest})}"
        answer = self._send("PUT", target, BINARY, body, size)
        if answer.status_code in MOVED:
            answer = self._send("PUT", self._elsewhere(answer), BINARY, body, size)
        self._check(answer)

    def _elsewhere(self, answer: requests.Response) -> str:
        """Return the address that the answer names. A registry behind a proxy may not know that clients use TLS."""
        found = urljoin(answer.url, answer.headers.get("Location", ""))
        return found.replace("http://", "https://", 1) if self._scheme == "https" else found

    def _ping(self) -> tuple[str, requests.Response]:
        """Return the scheme that the registry speaks, and its answer. Only this machine's may be without TLS."""
        host = self._server
        try:
            return "https", self._session.get(f"https://{host}/v2/", verify=self._verify)
        except requests.exceptions.SSLError as error:
            parts = urlsplit(f"https://{host}")
            if not speaks_http(parts.hostname or "", parts.port or 443):
                raise self._failure(error, "https") from error
            if not _is_local(parts.hostname or ""):
                raise InvalidError(
                    f"the registry {host} answers without TLS, which is accepted only of a registry on this machine:"
                    " name one that speaks https"
                ) from error
        except requests.exceptions.RequestException as error:
            raise self._failure(error, "https") from error
        try:
            return "http", self._session.get(f"http://{host}/v2/")
        except requests.exceptions.RequestException as error:
            raise self._failure(error, "http") from error

    def _found_login(self) -> Login:
        user, password = self._environ.get(USER), self._environ.get(PASSWORD)
        if user and password:
            return Login(basic=b64encode(f"{user}:{password}".encode()).decode())
        # Not by oras: it also reads ~/.docker/config.json, whichever file is named, and no login of Docker Hub.
        login = login_of(self._reference, self._environ)
        if not login.helper:
            return login
        helper, name = login.helper
        try:
            told = oras.auth.get_auth_backend("basic", self._session)._get_auth_from_creds_store(helper, name)
            user, _, password = b64decode(told or "").decode().partition(":")
        except (OSError, ValueError, LookupError, TypeError):
            raise InvalidError(f"docker-credential-{helper} cannot be asked for the login of {name}") from None
        return Login(refresh_token=password) if user == REFRESH_TOKEN else Login(basic=told)

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size: int = 0,
    ) -> requests.Response:
        """Send a request, and again if the registry wants a login or a new token. Raises UnavailableError."""
        own = _place(url) == _place(self._url(""))  # a registry may send uploads to another host
        answer = self._request(method, url, {**(headers or {}), **(self._login.header if own else {})}, body, size)
        if answer.status_code != HTTPStatus.UNAUTHORIZED or not own:
            return answer
        changed = self._login.renew(answer.headers.get("WWW-Authenticate", ""), plain=self._scheme == "http")
        return self._request(method, url, {**(headers or {}), **self._login.header}, body, size) if changed else answer

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, size: int
    ) -> requests.Response:
        data: Any = _SizedBody(body, size) if body else None
        try:
            answer = self._session.request(
                method, url, headers=dict(headers), data=data, verify=self._verify, allow_redirects=body is None
            )
        except requests.exceptions.RequestException as error:
            raise self._failure(error, self._scheme) from error
        if is_temporary(answer.status_code):
            raise UnavailableError(
                f"the registry {self._reference.registry} answers {answer.status_code}",
                retry_after=retry_after(answer.headers.get("Retry-After")),
            )
        return answer

    def _check(self, answer: requests.Response) -> None:
        """Raise the error of an unsuccessful answer."""
        status = answer.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise self._refused()
        if status in SUCCESS:
            return
        said = f"the registry {self._reference.registry} answers {status}{_error_code(answer)}"
        if status == HTTPStatus.NOT_FOUND:
            raise NotFoundError(f"{said}: it has no repository {self._reference.repository}, which its admin makes")
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise PreconditionError(f"{said}: it does not take a layer of this size; raise the limit of the server")
        raise InvalidError(f"{said} for repository {self._reference.repository}")

    def _refused(self) -> NotAuthorisedError:
        host = self._reference.registry
        return NotAuthorisedError(
            f"the registry {host} refuses the login, or the push to {self._reference.repository}: run `docker login"
            f" {host}` with an account that may push there, or set {USER} and {PASSWORD}"
        )

    def _failure(self, error: requests.exceptions.RequestException, scheme: str) -> LifecycleError:
        peer = peer_of("the registry", f"{scheme}://{self._server}", "--to")
        return error_of(cause_of_failure(error, peer))

    def _url(self, path: str) -> str:
        return f"{self._scheme}://{self._server}/v2/{self._reference.repository}/{path}"


class _SizedBody:
    """A body of a known length. `requests` sends it without chunks, which many registries refuse."""

    def __init__(self, body: Body, size: int) -> None:
        self._body, self._size = body, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body())


class _BoundedAdapter(HTTPAdapter):
    """Gives a timeout to each request, those of oras too, which sets none."""

    def send(self, *request: Any, **options: Any) -> requests.Response:
        return super().send(*request, **{**options, "timeout": TIMEOUTS})


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return the request unchanged. Without this function, `requests` adds a password from ~/.netrc."""
    return request


def _tried(send: Callable[[], Result]) -> Result:
    for attempt in range(TRIES):
        try:
            return send()
        except UnavailableError as error:
            if attempt == TRIES - 1:
                raise
            time.sleep(max(PAUSE * 2**attempt, min(error.retry_after or 0.0, LONGEST_WAIT)))
    raise AssertionError(TRIES)


def _place(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port, however they are written."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _error_code(answer: requests.Response) -> str:
    """Return the registry's code, such as DENIED; nothing else of the body is shown."""
    try:
        code = answer.json()["errors"][0]["code"]
    except (ValueError, LookupError, TypeError):
        return ""
    return f" ({code})" if isinstance(code, str) and ERROR_CODE.fullmatch(code) else ""
