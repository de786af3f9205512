"""The tokens of `--token-file`: a request must send one of them. The file is read again when it changes."""

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from model_contract.model_ref import ContractError
from serving_runtime.http.endpoints import OPEN_PATHS
from serving_runtime.http.errors import UnauthorizedError

CHECK_INTERVAL: Final = 1.0  # seconds between two looks at the file
TOKEN: Final = re.compile(rb"[!-~]+")

_log = logging.getLogger(__name__)


class TokenFileError(ContractError):
    """The file of --token-file has no tokens that a server could start with. A path of no file is not shown: a person
    may have given the token itself.
    """

    def __init__(self, path: Path, error: OSError | ValueError) -> None:
        named = "" if isinstance(error, OSError) else f" {path}"
        super().__init__(
            f"the token file{named} {_reason(error)}; --token-file, or MODEL_API_RUNTIME_TOKEN_FILE, must name a file"
            " with a token on each line"
        )


class Tokens:
    """Tokens, kept as SHA-256 only: digests have one length, and printing one shows no token.

    While the file cannot be read, the tokens that were read last stay valid, and no others are.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises TokenFileError."""
        self._path = path
        self._clock = clock
        self._checked_at = clock()
        self._fault = ""
        try:
            self._state = _state_of(path)
            self._digests = _digests(path)
        except (OSError, ValueError) as error:
            raise TokenFileError(path, error) from error

    def expect(self, path: str, authorization: bytes) -> None:
        """Raise UnauthorizedError if a request for `path` needs a token and has no good one."""
        if path in OPEN_PATHS:
            return
        scheme, _, token = authorization.partition(b" ")
        given = hashlib.sha256(token.strip()).digest()
        if scheme.lower() != b"bearer" or not any(hmac.compare_digest(given, known) for known in self._current()):
            raise UnauthorizedError

    def _current(self) -> tuple[bytes, ...]:
        now = self._clock()
        if now - self._checked_at >= CHECK_INTERVAL:
            self._checked_at = now
            self._reload_if_changed()
        return self._digests

    def _reload_if_changed(self) -> None:
        fault = ""
        try:
            state = _state_of(self._path)
            if state != self._state:
                self._digests, self._state = _digests(self._path), state
                _log.info("the token file has changed and was read", extra={"fields": {"tokens": len(self._digests)}})
        except (OSError, ValueError) as error:
            fault = _reason(error)
            if fault != self._fault:
                _log.error(
                    "the token file is not usable: the former tokens stay valid", extra={"fields": {"reason": fault}}
                )
        self._fault = fault


def tokens_in(path: Path | None) -> Tokens | None:
    """Return the tokens in the file, or None if requests need no token. Raises TokenFileError."""
    return Tokens(path) if path else None


def _state_of(path: Path) -> object:
    """Return a value that changes with the file: the kubelet moves a link, people write files. Raises OSError."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


def _digests(path: Path) -> tuple[bytes, ...]:
    """Raises OSError, or ValueError with the reason if the file has no good tokens."""
    tokens = [line.strip() for line in path.read_bytes().splitlines() if line.strip()]
    if not tokens:
        raise ValueError("is empty")
    if not all(TOKEN.fullmatch(token) for token in tokens):
        raise ValueError("has a line with a space in it, or with characters that no token has")
    return tuple(hashlib.sha256(token).digest() for token in tokens)


def _reason(error: Exception) -> str:
    return f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
