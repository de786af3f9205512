"""The options with which commands are told where Domino is."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from model_lifecycle.domino.access import Access
from model_lifecycle.domino.choice import APIS
from model_lifecycle.ends import ends

DOMINO_API = click.option(
    "--domino-api",
    "api",
    type=click.Choice([*APIS]),
    help="Which of Domino's APIs; without it, the first that answers.",
)


def domino_options(command: Callable[..., None]) -> Callable[..., None]:
    """Hands the command `access` instead of this option."""

    @click.option("--domino-url", "url", metavar="URL", help="Domino; without it, DOMINO_API_PROXY or DOMINO_API_HOST.")
    @wraps(command)
    def with_access(*, url: str | None, **options: Any) -> None:
        with ends():
            command(access=Access.from_environ(os.environ, uri=url), **options)

    return with_access
