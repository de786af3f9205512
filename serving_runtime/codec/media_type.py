"""The Content-Type of a request: which of the three kinds of body it is."""

from email.message import Message
from enum import StrEnum
from functools import lru_cache

from serving_runtime.errors import UnsupportedMediaTypeError


class MediaType(StrEnum):
    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"


@lru_cache(64)  # clients have few, and always the same
def media_type(content_type: str | None) -> MediaType:
    """Without a Content-Type the body is JSON. Raises UnsupportedMediaTypeError."""
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
    """Where nothing else is read. Raises UnsupportedMediaTypeError."""
    if media_type(content_type) is not MediaType.JSON:
        raise UnsupportedMediaTypeError(f"this Content-Type is not read here; send {MediaType.JSON}")
