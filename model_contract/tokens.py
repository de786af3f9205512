"""Service tokens: opaque, of one project and one purpose.

The format is `dmg1_<p or r>_<project id>_<43 characters>_<6 of a checksum>`: p is promote, r is pull.

The prefix is for scanners that look for leaked secrets; the checksum tells a mistyped token from an unknown one.
Neither proves anything: a token is valid if the Secret holds it, and is compared as a whole.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Final

from model_contract.names import PROJECT_ID_FORM, PROJECT_ID_PATTERN
from model_contract.secret import Secret

ALPHABET: Final = digits + ascii_uppercase + ascii_lowercase
TOKEN_PREFIX: Final = "dmg1_"
RANDOM_CHARACTERS: Final = 43  # of 62: 256 bits
SUM_CHARACTERS: Final = 6  # 62 ** 6 > 2 ** 32
FORMAT: Final = re.compile(
    rf"({TOKEN_PREFIX}([pr])_({PROJECT_ID_PATTERN})_[0-9A-Za-z]{{{RANDOM_CHARACTERS}}})_([0-9A-Za-z]{{{SUM_CHARACTERS}}})"
)
# Also the begin of one, in a message that was cut.
IN_A_TEXT: Final = re.compile(rf"({TOKEN_PREFIX}[pr]_{PROJECT_ID_PATTERN}_)[0-9A-Za-z_]+")


class TokenError(ValueError):
    """A text is not a token of this format. The message holds nothing of it."""


class Purpose(StrEnum):
    """The purpose of a token: a pod's token reads the models of its project, the token of CI also promotes them."""

    PULL = "pull"
    PROMOTE = "promote"

    @property
    def letter(self) -> str:
        """The letter of the purpose in a token."""
        return {Purpose.PULL: "r", Purpose.PROMOTE: "p"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token and its parts."""

    project_id: str
    purpose: Purpose
    value: Secret

    @property
    def fingerprint(self) -> str:
        """The token's name in lists and logs; the token cannot be computed from it."""
        return fingerprint(self.value.reveal())


def new_token(project_id: str, purpose: Purpose) -> Token:
    """Return a new random token. Raises TokenError if the project's id is malformed."""
    if not re.fullmatch(PROJECT_ID_PATTERN, project_id):
        raise TokenError(f"{project_id!r:.40} is not a project id, which has {PROJECT_ID_FORM}")
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    body = f"{TOKEN_PREFIX}{purpose.letter}_{project_id}_{random}"
    return Token(project_id=project_id, purpose=purpose, value=Secret(f"{body}_{checksum(body)}"))


def without_tokens(text: str) -> str:
    """Return a text for a log, in which a service token is only its purpose and project."""
    return IN_A_TEXT.sub(r"\1...", text) if TOKEN_PREFIX in text else text


def parse_token(text: str) -> Token:
    """Return the token of a text. Raises TokenError for another format; the token may still be unknown."""
    found = FORMAT.fullmatch(text)
    if not found:
        raise TokenError("this is not a service token: it does not begin with dmg1_, or is incomplete")
    body, letter, project_id, summed = found.groups()
    if not hmac.compare_digest(checksum(body), summed):
        raise TokenError("this service token has a wrong checksum: it was mistyped, or is incomplete")
    purpose = next(purpose for purpose in Purpose if purpose.letter == letter)
    return Token(project_id=project_id, purpose=purpose, value=Secret(text))


def checksum(body: str) -> str:
    """Return the CRC-32 of the text as six characters."""
    number, characters = zlib.crc32(body.encode()), []
    for _ in range(SUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return "".join(reversed(characters))


def fingerprint(value: str) -> str:
    """Return twelve hexadecimal digits of the value's SHA-256."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def same(given: str, known: str) -> bool:
    """Return True for equal tokens, in a time that depends neither on their characters nor on their lengths."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(known.encode()).digest())
