"""The page as one document, with a content security policy that allows only its own parts."""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

CONTENT_TYPE: Final = b"text/html; charset=utf-8"
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


@cache
def page() -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """Return the document and its headers."""
    style, script = _part("style.css"), _part("script.js")
    document = _part("index.html").replace("/* style */", style).replace("/* script */", script)
    return document.encode(), (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", _policy(style, script)),
        *HEADERS,
    )


def _policy(style: str, script: str) -> bytes:
    """Return the policy: only the page's style and script, by their digests, and this server; no page may frame it."""
    return (
        "default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors"
        f" 'none'; style-src {_digest(style)}; script-src {_digest(script)}"
    ).encode()


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
