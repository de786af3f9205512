"""The token by which GitHub identifies a job, so that no token is stored: a job with `id-token: write` asks for it.

https://docs.github.com/en/actions/reference/security/oidc
"""

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httpx2

from model_contract.names import GITHUB_TOKEN_REQUEST, GITHUB_TOKEN_URL
from model_contract.temporary_status import is_temporary
from model_contract.tracking_credentials import Credential, RenewedCredential, bearer, token_of
from model_lifecycle.errors import InvalidError, NotAuthorisedError, UnavailableError
from model_lifecycle.http_client import new_client
from model_lifecycle.tracking import tls_of

RENEW_SECONDS: Final = 120.0  # GitHub's tokens end after five minutes, and a promotion may take half an hour
TIMEOUT: Final = 30.0  # seconds
TRIES: Final = 3
TITLE: Final = "the job's token of GitHub"


@dataclass(slots=True, kw_only=True)
class GitHubTokens:
    """Asks GitHub for tokens of an audience, with the variables of the job. Safe to share between threads."""

    url: str
    request: str = field(repr=False)
    audience: str
    tls: ssl.SSLContext | bool
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: Credential | None = None
    _asked: float = 0.0

    @classmethod
    def of_job(cls, environ: Mapping[str, str], audience: str) -> "GitHubTokens":
        """Read the variables. Raises InvalidError if the job may not ask for a token."""
        url, request = environ.get(GITHUB_TOKEN_URL, ""), environ.get(GITHUB_TOKEN_REQUEST, "")
        if not url or not request:
            raise InvalidError(
                f"--oidc-audience asks GitHub for a token, and {GITHUB_TOKEN_URL} is not set: give the job"
                " `permissions: {contents: read, id-token: write}`; a pull request from a fork gets no token"
            )
        if not url.startswith("https://"):
            raise InvalidError(f"{GITHUB_TOKEN_URL} does not begin with https://")
        return cls(url=url, request=request, audience=audience, tls=tls_of(url, environ, tracking=False))

    def credential(self) -> Credential:
        """Return a credential that is renewed. Raises LifecycleError, then and later."""
        return RenewedCredential.of(self._current)

    def _current(self) -> Credential:
        with self._lock:
            if self._last is None or time.monotonic() - self._asked > RENEW_SECONDS:
                self._last, self._asked = self._new(), time.monotonic()
            return self._last

    def _new(self) -> Credential:
        for attempt in range(1, TRIES + 1):
            try:
                with new_client(verify=self.tls, timeout=TIMEOUT, follow_redirects=False) as client:
                    url = httpx2.URL(self.url).copy_merge_params({"audience": self.audience})
                    answer = client.get(url, headers={"Authorization": f"Bearer {self.request}"})
            except httpx2.HTTPError as error:
                if attempt == TRIES:
                    raise UnavailableError(f"GitHub gives the job no token: {type(error).__name__}") from None
            else:
                if not is_temporary(answer.status_code) or attempt == TRIES:
                    return _credential_of(answer)
            time.sleep(attempt)
        raise AssertionError("the last try returns or raises")


def _credential_of(answer: httpx2.Response) -> Credential:
    if is_temporary(answer.status_code):
        raise UnavailableError(f"GitHub gives the job no token: it answers {answer.status_code}")
    if answer.status_code != HTTPStatus.OK:
        raise NotAuthorisedError(f"GitHub gives the job no token: it answers {answer.status_code}")
    try:
        value = answer.json()["value"]
        token = token_of(TITLE, value) if isinstance(value, str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        token = None
    if token is None:
        raise UnavailableError("GitHub gives the job no token: its answer has none")
    return bearer(token, TITLE)
