"""Sources of people: a file with passwords, for demos, tests and browsers, or the header of an authenticating proxy.

The file is JSON: `{"jane": {"password": "scrypt$...", "projects": ["66c0..."], "admin": false}}`. `model-api-gate
password` prints the password's part. The file is read again when it changes. `domino_people` is a third source.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from model_contract.names import PROJECT_ID_FORM, PROJECT_ID_PATTERN
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.errors import Busy, Unavailable

SCRYPT_COST: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # scrypt: 16 MiB and 30 ms for each hash
MAX_ACCEPTED: Final = 4096  # passwords that were accepted, so that a page with twenty requests costs one hash
HASH_THREADS: Final = 2
MAX_HASHES: Final = 32  # hashes that wait or are under way: a second's work
# An unknown name is compared with this hash, so that the answer takes as long as for a known name.
UNKNOWN_PERSON: Final = "scrypt$" + 32 * "0" + "$" + 64 * "0"


class PeopleError(ValueError):
    """The file of people cannot be used; the message names the wrong entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCredential:
    """A credential of a request before it is checked.

    `digest` identifies the credential without containing it; `name` is that of a known person; `accepted` is true if
    the credential was accepted before.
    """

    digest: bytes
    name: str | None = None
    accepted: bool = False


class PeopleSource(Protocol):
    """Finds the person behind a request; `header` is a second header for credentials, besides Authorization."""

    challenge: str
    header: str

    def presented(self, headers: Mapping[str, str]) -> PresentedCredential | None:
        """Return the credential in the headers, without a check; None if there is none. Raises Unavailable."""

    async def find(self, headers: Mapping[str, str]) -> Actor | None:
        """Return the person, None if the credential is wrong or missing. Raises Unavailable if it cannot be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An entry of the file."""

    password: str | None
    projects: frozenset[str]
    admin: bool

    def actor(self, name: str) -> Actor:
        return Actor(kind=ActorKind.ADMIN if self.admin else ActorKind.PERSON, name=name, projects=self.projects)


class NoPeople:
    """No people: only tokens are accepted."""

    challenge = ""
    header = ""

    def presented(self, headers: Mapping[str, str]) -> PresentedCredential | None:
        return None

    async def find(self, headers: Mapping[str, str]) -> Actor | None:
        return None


class PeopleSources:
    """Several sources in order; the first that knows the person answers."""

    def __init__(self, *sources: PeopleSource) -> None:
        self._sources = sources
        self.challenge = next((source.challenge for source in sources if source.challenge), "")
        self.header = next((source.header for source in sources if source.header), "")

    def presented(self, headers: Mapping[str, str]) -> PresentedCredential | None:
        """Return the credentials of all sources as one."""
        found = [presented for source in self._sources if (presented := source.presented(headers))]
        if len(found) < 2:  # noqa: PLR2004  one needs no merging
            return found[0] if found else None
        return PresentedCredential(
            digest=b"".join(one.digest for one in found),
            name=next((one.name for one in found if one.name), None),
            accepted=any(one.accepted for one in found),
        )

    async def find(self, headers: Mapping[str, str]) -> Actor | None:
        for source in self._sources:
            if person := await source.find(headers):
                return person
        return None


class PeopleFile:
    """HTTP basic authentication against a file."""

    challenge = 'Basic realm="mlflow-gate", charset="UTF-8"'
    header = ""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises PeopleError, OSError."""
        self._path = path
        self._state: object = None
        self._people: Mapping[str, Person] = {}
        self._accepted: OrderedDict[bytes, str] = OrderedDict()
        self._hashers = ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="passwords")
        self._hashes = 0
        self.read()

    def read(self) -> Mapping[str, Person]:
        """Return the people of the file as it is now. Raises PeopleError, OSError."""
        found = self._path.stat()
        state = (found.st_mtime_ns, found.st_ino, found.st_size)
        if state != self._state:
            self._people = read_people(self._path)
            self._accepted.clear()
            self._state = state
        return self._people

    def presented(self, headers: Mapping[str, str]) -> PresentedCredential | None:
        name, password = _basic(headers.get("Authorization", ""))
        if not name:
            return None
        digest = _digest(name, password)
        person = self._now().get(name)
        accepted = person is not None and person.password is not None and self._accepted.get(digest) == person.password
        return PresentedCredential(digest=digest, name=name if person else None, accepted=accepted)

    async def find(self, headers: Mapping[str, str]) -> Actor | None:
        people = self._now()
        name, password = _basic(headers.get("Authorization", ""))
        if not name:
            return None
        person = people.get(name)
        kept = person.password if person else None
        matches = await self._matches(name, password, kept or UNKNOWN_PERSON)
        return person.actor(name) if person and kept and matches else None

    def _now(self) -> Mapping[str, Person]:
        """Return the people of the file as it is now. Raises Unavailable."""
        try:
            return self.read()
        except (OSError, PeopleError) as error:
            raise Unavailable("the file of people cannot be read") from error

    async def _matches(self, name: str, password: str, kept: str) -> bool:
        """Return True if the password fits the hash in the file. Raises Busy."""
        digest = _digest(name, password)
        if self._accepted.get(digest) == kept:
            self._accepted.move_to_end(digest)
            return True
        if not await self._hashed_matches(password, kept):
            return False
        self._accepted[digest] = kept
        while len(self._accepted) > MAX_ACCEPTED:
            self._accepted.popitem(last=False)
        return True

    async def _hashed_matches(self, password: str, kept: str) -> bool:
        """Hash and compare in a thread. Raises Busy for more hashes than MAX_HASHES."""
        if self._hashes >= MAX_HASHES:
            raise Busy("the gate checks as many passwords as it can; try again")
        self._hashes += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._hashers, matches, password, kept)
        finally:
            self._hashes -= 1


class TrustedHeader:
    """A proxy in front has authenticated the person and names them in a header; the file holds their projects."""

    challenge = ""

    def __init__(self, header: str, path: Path) -> None:
        """Read the file. Raises PeopleError, OSError."""
        self.header = header
        self._file = PeopleFile(path)

    def presented(self, headers: Mapping[str, str]) -> PresentedCredential | None:
        """Return the name as accepted: the proxy has checked it."""
        name = headers.get(self.header, "")
        return PresentedCredential(digest=_digest(name, ""), accepted=True) if name else None

    async def find(self, headers: Mapping[str, str]) -> Actor | None:
        try:
            person = self._file.read().get(name := headers.get(self.header, ""))
        except (OSError, PeopleError) as error:
            raise Unavailable("the file of people cannot be read") from error
        return person.actor(name) if person else None


def read_people(path: Path) -> Mapping[str, Person]:
    """Read the file. Raises PeopleError, OSError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PeopleError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise PeopleError(f"{path} must hold an object with an entry for each person")
    return {name: _person(path, name, entry) for name, entry in found.items()}


def _person(path: Path, name: str, entry: Any) -> Person:
    if not isinstance(entry, dict) or not entry.keys() <= {"password", "projects", "admin"}:
        raise PeopleError(f"{path}: the entry of {name!r} must be an object with password, projects, admin")
    projects = entry.get("projects", [])
    if not isinstance(projects, list) or not all(
        isinstance(one, str) and re.fullmatch(PROJECT_ID_PATTERN, one) for one in projects
    ):
        raise PeopleError(f"{path}: projects of {name!r} must be a list of ids, each with {PROJECT_ID_FORM}")
    password = entry.get("password")
    if password is not None and not (
        isinstance(password, str) and re.fullmatch(r"scrypt\$[0-9a-f]{32}\$[0-9a-f]{64}", password)
    ):
        raise PeopleError(f"{path}: the password of {name!r} must be what `model-api-gate password` prints")
    return Person(password=password, projects=frozenset(projects), admin=entry.get("admin") is True)


def hashed(password: str) -> str:
    """Return the hash that the file holds for a password."""
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${_scrypt(password, salt).hex()}"


def matches(password: str, kept: str) -> bool:
    _, salt, digest = kept.split("$")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **SCRYPT_COST)


def _digest(name: str, password: str) -> bytes:
    return hashlib.sha256(f"{name}\0{password}".encode()).digest()


def _basic(header: str) -> tuple[str, str]:
    """Return user and password, or two empty strings without Basic authentication."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, separator, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (name, password) if separator else ("", "")
