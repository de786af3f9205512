"""The command `storage`: pairs of a storage URI and a directory, as KServe gives them to its storage containers."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

from model_delivery.deadline import Deadline
from model_delivery.download import Bounds, FetchResult
from model_delivery.errors import DeliveryError, InvalidInputError, PartError
from model_delivery.settings import Upstream
from model_delivery.storage import StorageRequest, fetch_storage
from model_delivery.storage_uri import FORMS, parse_storage_uri

TEXT: Final = "fetch the model of each storage URI into its directory, as a storage container of KServe"


def add_storage(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command with its own arguments, and return it."""
    command = commands.add_parser("storage", help=TEXT, description=TEXT, allow_abbrev=False)
    command.add_argument(
        "pairs", nargs="+", metavar="URI DIRECTORY", help=f"a mount, such as /mnt/models, behind its URI: {FORMS}"
    )
    return command


def run_storage(
    options: argparse.Namespace, bounds: Bounds, environ: Mapping[str, str], message: Callable[[str], None]
) -> str:
    """Return a line for each model. The first that cannot be fetched ends the command. Raises DeliveryError."""
    requests = _requests(options.pairs, bounds)
    upstream, deadline = Upstream.from_environment(environ), Deadline(bounds.limits)
    lines, told = [], []
    for request in requests:
        began = time.monotonic()
        result = _fetched(request, upstream, deadline, several=len(requests) > 1)
        seconds = time.monotonic() - began
        lines.append(result.line(seconds, uri=request.text))
        told.append({"uri": request.text, **result.summary(seconds)})
    message(json.dumps({"models": told} if len(told) > 1 else result.summary(seconds)))
    return "\n".join(lines)


def _requests(pairs: Sequence[str], bounds: Bounds) -> list[StorageRequest]:
    """Return the request of each pair. Raises InvalidInputError, before anything is fetched."""
    if len(pairs) % 2:
        raise InvalidInputError(f"give a directory behind each storage URI: {len(pairs)} arguments are no pairs")
    requests = [
        StorageRequest(uri=parse_storage_uri(text), text=text, directory=Path(directory), bounds=bounds)
        for text, directory in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    for one, other in combinations(requests, 2):
        places = one.directory.resolve(), other.directory.resolve()
        if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
            raise InvalidInputError(
                f"{one.directory} of {one.text} and {other.directory} of {other.text} contain each other: give each"
                " model a directory of its own, beside the others"
            )
    return requests


def _fetched(request: StorageRequest, upstream: Upstream, deadline: Deadline, *, several: bool) -> FetchResult:
    """Fetch one model. An error names it if there are `several`."""
    try:
        return fetch_storage(request, upstream, deadline)
    except DeliveryError as error:
        if not several:
            raise
        raise PartError(f"{request.text}: {error}", error.exit_code) from error
