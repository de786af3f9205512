"""Every project's tokens, from the mounted Secret: read again when it changes, the last good set kept while it cannot
be read.
"""

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

LOOKED_AT: Final = 1.0  # seconds between two looks at the directory
UNREADABLE: Final = 300.0  # seconds without the Secret, after which the gate says that it is not well


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
    """What one state of the directory holds. A legacy token is one of the original, without our format: known by its
    value only.
    """

    by_fingerprint: Mapping[str, KnownToken] = field(default_factory=dict)

    def find(self, text: str, now: datetime) -> KnownToken | None:
        """The token with that value, as long as it is good."""
        known = self.by_fingerprint.get(fingerprint(text))
        if known is None or not same(text, known.value.reveal()):
            return None
        return None if known.expires and known.expires <= now else known


class SecretDirectory:
    """A folder with a file for each key, as the kubelet mounts a Secret."""

    def __init__(self, path: Path, *, legacy: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        """`legacy` accepts values of another format than ours, too."""
        self._path = path
        self._legacy = legacy
        self._clock = clock
        self._tokens: Tokens | None = None
        self._state: object = None
        self._looked = float("-inf")
        self._good = clock()
        self.read_at = 0.0  # seconds of the epoch, for people to look at

    @property
    def fault(self) -> str | None:
        """Why the gate is not ready."""
        self.tokens()
        if self._tokens is None:
            return f"the tokens in {self._path} were never read"
        return f"the tokens in {self._path} cannot be read" if self._clock() - self._good > UNREADABLE else None

    @property
    def last(self) -> Tokens | None:
        """The last good set, without a look at the directory."""
        return self._tokens

    def tokens(self) -> Tokens | None:
        """The last good set; None before there was one."""
        now = self._clock()
        if now - self._looked >= LOOKED_AT:
            self._looked = now
            try:
                state = _state_of(self._path)
                if state != self._state or self._tokens is None:
                    self._tokens, self._state = read_tokens(self._path, legacy=self._legacy), state
                self._good, self.read_at = now, time.time()
            except OSError:
                pass  # readiness says so after five minutes
        return self._tokens


def _state_of(path: Path) -> object:
    """Another value after each change: the kubelet moves a link, people write files."""
    files = sorted(file for file in path.iterdir() if not file.name.startswith(".."))
    return tuple((file.name, (found := file.stat()).st_mtime_ns, found.st_ino, found.st_size) for file in files)


def read_tokens(path: Path, *, legacy: bool = False) -> Tokens:
    """Raises OSError. A key or value that is none of ours is left out: one project's slip is not everybody's."""
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
    print_ = fingerprint(value.reveal())
    entry = _entry(path / meta_key(key.project_id), print_)
    return KnownToken(
        key=key, value=value, fingerprint=print_, created=_moment(entry, "created"), expires=_moment(entry, "expires")
    )


def _is_of(key: TokenKey, value: Secret) -> bool:
    """Whether a token says the same of itself as the key that it is under."""
    try:
        token = parse_token(value.reveal())
    except TokenError:
        return False
    return (token.project_id, token.purpose) == (key.project_id, key.purpose)


DAMAGED: Final[Mapping[str, Any]] = {"expires": datetime.min.replace(tzinfo=UTC).isoformat()}


def _entry(meta: Path, print_: str) -> Mapping[str, Any]:
    """From `{"tokens": {"<fingerprint>": {"created": "<time>", "expires": "<time>"}}}`; a token with a damaged one has
    ended.
    """
    try:
        entry = json.loads(meta.read_text(encoding="utf-8")).get("tokens", {}).get(print_) or {}
        for key in ("created", "expires"):
            _moment(entry, key)
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError):
        return DAMAGED
    found: Mapping[str, Any] = entry
    return found


def _moment(entry: Mapping[str, Any], key: str) -> datetime | None:
    """A token without an end does not end. Raises ValueError, TypeError."""
    if key not in entry:
        return None
    moment = datetime.fromisoformat(entry[key])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
