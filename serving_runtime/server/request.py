"""The head of a request, as far as the server looks at it."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

# Longer ids, and such with spaces or line breaks, would let a client write into our log what it likes.
REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`headers` have lower-case names. `id` is the client's X-Request-ID, or one of ours."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    id: str

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> Self:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        return cls(method=scope["method"], path=scope["path"], headers=headers, id=request_id)

    @property
    def content_type(self) -> str | None:
        value = self.headers.get(b"content-type")
        return None if value is None else value.decode("latin-1")

    @property
    def encoded(self) -> bool:
        """The body is compressed, or changed in another way, on its way here."""
        return self.headers.get(b"content-encoding", b"identity").lower() != b"identity"

    @property
    def announced(self) -> int | None:
        """The length of the body; None where it comes in chunks, or where there is none."""
        length = self.headers.get(b"content-length")
        return None if length is None else int(length)  # the parser has refused all but digits

    @property
    def expects_permission(self) -> bool:
        """The client sends the body once it is told to continue."""
        return b"expect" in self.headers
