"""The media types of request bodies, and the reading of the header Content-Type."""

from email.message import Message
from enum import StrEnum
from functools import lru_cache

from serving_runtime.errors import UnsupportedMediaTypeError


class MediaType(StrEnum):
    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"
    ARROW = "application/vnd.apache.arrow.stream"


@lru_cache(64)  # clients send few different ones
def media_type(content_type: str | None) -> MediaType:
    """Return the media type of a body; JSON if there is no Content-Type. Raises UnsupportedMediaTypeError."""
    if not content_type or not content_type.strip():
        return MediaType.JSON
    header = Message()
    header["Content-Type"] = content_type
    name, charset = header.get_content_type(), header.get_content_charset("utf-8")
    if name not in set(MediaType) or content_type.partition(";")[0].strip().lower() != name:
        raise UnsupportedMediaTypeError(f"this Content-Type is not read here; send {', '.join(MediaType)}")
    if charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaTypeError("this charset is not read here; send UTF-8")
    return MediaType(name)


def expect_json(content_type: str | None) -> None:
    """Raise UnsupportedMediaTypeError if the body is not JSON."""
    if media_type(content_type) is not MediaType.JSON:
        raise UnsupportedMediaTypeError(f"this Content-Type is not read here; send {MediaType.JSON}")
