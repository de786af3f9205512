"""`/info`, `/openapi.json` and `/docs`: what people and programs read about the model before they ask it."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import orjson

from serving_runtime.errors import NotLoadedError
from serving_runtime.protocols.interface import Answer, Page, Status

Variables = Mapping[str, str]


def info(status: Status, _: Variables) -> Answer:
    """Raises NotLoadedError."""
    described = _described(*_identity(status))
    return Answer(body=orjson.dumps({**described, "serving": status.served and status.served.serving}))


def openapi(status: Status, _: Variables) -> Answer:
    """Raises NotLoadedError."""
    return Answer(body=_openapi(*_identity(status), guarded=status.served is not None and status.served.guarded))


def docs(_: Status, __: Variables) -> Answer:
    """The same for every model, loaded or not: what it shows, it asks the server for."""
    from serving_runtime.page.render import CONTENT_TYPE, page  # noqa: PLC0415  few ask for it

    body, headers = page()
    return Answer(body=body, media_type=CONTENT_TYPE, headers=headers)


def _identity(status: Status) -> tuple[Path, str, str | None]:
    served = status.served
    if served is None:
        raise NotLoadedError
    return served.metadata.directory, served.name, served.version


@lru_cache(1)
def _described(directory: Path, name: str, version: str | None) -> dict[str, Any]:
    from serving_runtime.info import describe  # noqa: PLC0415  as above

    return describe(directory, name=name, version=version)


@lru_cache(1)
def _openapi(directory: Path, name: str, version: str | None, *, guarded: bool) -> bytes:
    from serving_runtime.mlmodel import read_metadata  # noqa: PLC0415  as above
    from serving_runtime.openapi.document import openapi as document  # noqa: PLC0415  as above
    from serving_runtime.openapi.security import with_token  # noqa: PLC0415  as above

    found = document(_described(directory, name, version), read_metadata(directory).signature)
    return orjson.dumps(with_token(found) if guarded else found)


PAGES: Final[tuple[tuple[str, Page], ...]] = (("/docs", docs), ("/info", info), ("/openapi.json", openapi))
