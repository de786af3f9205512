"""Tokens of all projects, from the mounted Secret: read after each change, kept while it is unreadable."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from model_contract.secret import Secret
from model_contract.token_keys import TokenKey, meta_key, parse_key
from model_contract.tokens import TokenError, fingerprint, parse_token, same

CHECK_SECONDS: Final = 1.0  # seconds between two looks at the directory
KUBELET_LINK: Final = "..data"  # to a new directory after each change; the kubelet adds links to new keys after it
UNREADABLE_SECONDS: Final = 300.0  # seconds without the Secret, after which the gate is not ready


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToken:
    """A token that is accepted until `expires`."""

    key: TokenKey
    value: Secret
    fingerprint: str
    created: datetime | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of one state of the directory. A legacy token has another format, and only its value identifies it."""

    by_fingerprint: Mapping[str, KnownToken] = field(default_factory=dict)

    def find(self, text: str, now: datetime) -> KnownToken | None:
        """Return the token with that value, None if there is none or it has expired."""
        known = self.by_fingerprint.get(fingerprint(text))
        if known is None or not same(text, known.value.reveal()):
            return None
        return None if known.expires and known.expires <= now else known


class SecretDirectory:
    """A directory with a file for each key, as the kubelet mounts a Secret."""

    def __init__(self, path: Path, *, legacy: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """`legacy` also accepts values of another format."""
        self._path = path
        self._legacy = legacy
        self._clock = clock
        self._tokens: Tokens | None = None
        self._state: object = None
        self._looked = float("-inf")
        self._good = clock()
        self.read_at = 0.0  # seconds of the epoch

    @property
    def fault(self) -> str | None:
        """The reason that the gate is not ready, None if it is."""
        self.tokens()
        if self._tokens is None:
            return f"the tokens in {self._path} were never read"
        return f"the tokens in {self._path} cannot be read" if self._clock() - self._good > UNREADABLE_SECONDS else None

    @property
    def last(self) -> Tokens | None:
        """The tokens that were read last, without a look at the directory."""
        return self._tokens

    def tokens(self) -> Tokens | None:
        """Return the tokens that were read last, None if there were none so far."""
        now = self._clock()
        if now - self._looked >= CHECK_SECONDS:
            self._looked = now
            try:
                state = _state_of(self._path)
                if state != self._state or self._tokens is None:
                    self._tokens, self._state = read_tokens(self._path, legacy=self._legacy), state
                self._good, self.read_at = now, time.time()
            except OSError:
                pass  # after five minutes `fault` tells
        return self._tokens


def _state_of(path: Path) -> object:
    """Return a value that differs after each change: the kubelet moves a link, people write files."""
    names = sorted(file.name for file in path.iterdir() if not file.name.startswith(".."))
    link = path / KUBELET_LINK
    if link.is_symlink():  # only it and the names change: to look at each of 9,000 files takes the event loop 0.1 s
        target = link.stat()
        return (link.readlink(), target.st_ino, target.st_mtime_ns, *names)
    return tuple((name, (found := (path / name).stat()).st_mtime_ns, found.st_ino, found.st_size) for name in names)


def read_tokens(path: Path, *, legacy: bool = False) -> Tokens:
    """Return the tokens of a directory without invalid ones, which do not affect other projects. Raises OSError."""
    files = {file.name: file for file in path.iterdir() if parse_key(file.name)}
    known = [found for name, file in files.items() if (found := _read(path, name, file, legacy=legacy))]
    return Tokens(by_fingerprint={token.fingerprint: token for token in known})


def _read(path: Path, name: str, file: Path, *, legacy: bool) -> KnownToken | None:
    key = parse_key(name)
    try:
        value = Secret.from_file(file)
    except ValueError:
        return None
    if key is None or not (legacy or _is_of(key, value)):
        return None
    token_fingerprint = fingerprint(value.reveal())
    entry = _entry(path / meta_key(key.project_id), token_fingerprint)
    return KnownToken(
        key=key,
        value=value,
        fingerprint=token_fingerprint,
        created=_moment(entry, "created"),
        expires=_moment(entry, "expires"),
    )


def _is_of(key: TokenKey, value: Secret) -> bool:
    """Return True if a token has the project and purpose of its key."""
    try:
        token = parse_token(value.reveal())
    except TokenError:
        return False
    return (token.project_id, token.purpose) == (key.project_id, key.purpose)


DAMAGED: Final[Mapping[str, Any]] = {"expires": datetime.min.replace(tzinfo=UTC).isoformat()}


def _entry(meta: Path, token_fingerprint: str) -> Mapping[str, Any]:
    """Return the token's entry of `{"tokens": {"<fingerprint>": {"created": "<time>", "expires": "<time>"}}}`.

    A token with a damaged entry has expired.
    """
    try:
        entry = json.loads(meta.read_text(encoding="utf-8")).get("tokens", {}).get(token_fingerprint) or {}
        for key in ("created", "expires"):
            _moment(entry, key)
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):
        return DAMAGED
    found: Mapping[str, Any] = entry
    return found


def _moment(entry: Mapping[str, Any], key: str) -> datetime | None:
    """Return a time of the entry, None if it has none. Raises ValueError, TypeError."""
    if key not in entry:
        return None
    moment = datetime.fromisoformat(entry[key])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
