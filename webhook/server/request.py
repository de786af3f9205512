"""A request of a client of the webhook, and its size as the event loop sees it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from httptools import parse_url

JSON: Final = b"application/json"
# Bytes of a review. A usual review has some thousand; the decision about one of this size takes 2 ms.
LARGE: Final = 128 << 10
# Objects, lists and references in a review. A review of 74 KiB has 900. A decision takes 10 us for each container.
MANY: Final = 1000
PARTS: Final = (b"{", b"[", b"$")


@dataclass(slots=True)
class Request:
    """A request. Only the body of a review is kept."""

    target: bytes = b""
    path: str = ""
    method: str = ""
    media_type: bytes = b""
    length: int = 0
    expects_continue: bool = False
    keep_alive: bool = False
    is_review: bool = False
    body: bytes = b""


def is_small(body: bytes) -> bool:
    """Return True for a review that takes less time to decide than the reviews behind it may wait."""
    return len(body) <= LARGE and sum(map(body.count, PARTS)) <= MANY


@lru_cache(maxsize=64)  # of the API server and the kubelet: one for reviews, two for probes
def path_of(target: bytes) -> str:
    """Return the path of a request. Raises HttpParserInvalidURLError."""
    return unquote(parse_url(target).path or b"")


@lru_cache(maxsize=64)
def is_json(media_type: bytes) -> bool:
    return media_type == JSON or media_type.partition(b";")[0].strip().lower() == JSON
