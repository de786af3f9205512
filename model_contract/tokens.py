"""Service tokens: opaque, of one project and one purpose. `dmg1_p_<project id>_<43 characters>_<6 of a check sum>`.

The prefix is for scanners that look for leaked secrets, the check sum tells a mistyped token from one that is not
known. Nothing of it is proof: a token is worth what the Secret says, and is compared whole.
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

from model_contract.names import PROJECT_ID_PATTERN
from model_contract.secret import Secret

ALPHABET: Final = digits + ascii_uppercase + ascii_lowercase
TOKEN_PREFIX: Final = "dmg1_"
RANDOM_CHARACTERS: Final = 43  # of 62: 256 bits
SUM_CHARACTERS: Final = 6  # 62 ** 6 > 2 ** 32
FORMAT: Final = re.compile(
    rf"({TOKEN_PREFIX}([pr])_({PROJECT_ID_PATTERN})_[0-9A-Za-z]{{{RANDOM_CHARACTERS}}})_([0-9A-Za-z]{{{SUM_CHARACTERS}}})"
)


class TokenError(ValueError):
    """Not a token of this format; the message holds nothing of it."""


class Purpose(StrEnum):
    """What a token is for. A pod's token reads its project's models; CI's also promotes them."""

    PULL = "pull"
    PROMOTE = "promote"

    @property
    def letter(self) -> str:
        return {Purpose.PULL: "r", Purpose.PROMOTE: "p"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token and what it says of itself."""

    project_id: str
    purpose: Purpose
    value: Secret

    @property
    def fingerprint(self) -> str:
        """Names the token in lists and logs, and leads nobody to it."""
        return fingerprint(self.value.reveal())


def new_token(project_id: str, purpose: Purpose) -> Token:
    """A fresh one. Raises TokenError where the project's id is none."""
    if not re.fullmatch(PROJECT_ID_PATTERN, project_id):
        raise TokenError(f"{project_id!r:.40} is no project id; it must be 24 hexadecimal digits in lower case")
    random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    body = f"{TOKEN_PREFIX}{purpose.letter}_{project_id}_{random}"
    return Token(project_id=project_id, purpose=purpose, value=Secret(f"{body}_{check_sum(body)}"))


def parse_token(text: str) -> Token:
    """Raises TokenError; whether anybody accepts the token is another question."""
    found = FORMAT.fullmatch(text)
    if not found:
        raise TokenError("this is no service token: it does not begin with dmg1_, or is not whole")
    body, letter, project_id, summed = found.groups()
    if not hmac.compare_digest(check_sum(body), summed):
        raise TokenError("this service token has a wrong check sum: it was mistyped, or is not whole")
    purpose = next(purpose for purpose in Purpose if purpose.letter == letter)
    return Token(project_id=project_id, purpose=purpose, value=Secret(text))


def check_sum(body: str) -> str:
    """CRC-32 as six characters."""
    number, characters = zlib.crc32(body.encode()), []
    for _ in range(SUM_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return "".join(reversed(characters))


def fingerprint(value: str) -> str:
    """Twelve hexadecimal digits of the value's SHA-256."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def same(given: str, known: str) -> bool:
    """Compared in a time that tells nothing, of digests so that lengths tell nothing either."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(known.encode()).digest())
