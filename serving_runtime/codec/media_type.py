"""The media types of bodies, and the reading of the headers Content-Type and Accept."""

import re
from email.message import Message
from enum import StrEnum
from functools import lru_cache
from typing import Final

from serving_runtime.errors import UnsupportedMediaTypeError

# A range of media types in a header Accept, with its parameters, and the weight among these (RFC 9110, 12.4.2).
RANGE: Final = r"(?:^|,)[ \t]*{}[ \t]*(;[^,]*)?(?:,|$)"
WEIGHT: Final = re.compile(r";[ \t]*q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*(?:;|$)", re.IGNORECASE)


class MediaType(StrEnum):
    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"
    ARROW = "application/vnd.apache.arrow.stream"


JSON_RANGES: Final = (MediaType.JSON, "application/*", "*/*")


@lru_cache(64)  # clients send few different ones
def media_type(content_type: str | None) -> MediaType:
    """Return the media type of a body; JSON if there is no Content-Type. Raises UnsupportedMediaTypeError."""
    if not content_type or not content_type.strip():
        return MediaType.JSON
    header = Message()
    header["Content-Type"] = content_type
    name, charset = header.get_content_type(), header.get_content_charset("utf-8")
    if name not in set(MediaType) or content_type.partition(";")[0].strip().lower() != name:
        raise UnsupportedMediaTypeError(f"this Content-Type is not supported; send {', '.join(MediaType)}")
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaTypeError("this charset is not supported; send UTF-8")
    return MediaType(name)


def expect_json(content_type: str | None) -> None:
    """Raise UnsupportedMediaTypeError if the body is not JSON."""
    if media_type(content_type) is not MediaType.JSON:
        raise UnsupportedMediaTypeError(f"this Content-Type is not supported; send {MediaType.JSON}")


def prefers(accept: bytes, name: str) -> bool:
    """Return True if the header Accept names the media type, and gives JSON no greater weight."""
    return weight(accept, name) > 0 and weight(accept, name) >= weight(accept, *JSON_RANGES)


def weight(accept: bytes, *ranges: str) -> float:
    """Return the weight of the first of the ranges of media types that the header Accept names; 0 if it names none.

    The header is searched and not taken apart, because it may have as many parts as a head has bytes.
    """
    text = accept.decode("latin-1")
    for known in ranges:
        if found := re.search(RANGE.format(re.escape(known)), text, re.IGNORECASE):
            given = WEIGHT.search(found[1] or "")
            return float(given[1]) if given else 1.0
    return 0.0
