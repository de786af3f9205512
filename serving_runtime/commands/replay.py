"""`replay`: sends recorded requests again, and compares the answers with the recorded ones."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from model_contract.exit_codes import ExitCode
from model_contract.extras import missing_extra
from model_contract.recordings import INVOCATIONS, Outcome, Recorded, RecordingError, read_recording
from serving_runtime.commands import lazy
from serving_runtime.commands.cli_errors import InputFileError, MissingFileError, UnavailableError
from serving_runtime.errors import ServingError
from serving_runtime.location import resolve_model_path

MOST_SHOWN: Final = 20  # requests whose answers differ
PARQUET: Final = ".parquet"
TIMEOUT: Final = 60  # seconds, for one answer

Answer = tuple[int, Any]
Send = Callable[[Recorded], Answer]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", help="a recording: one request on each line, or the directory of an inference table, or a file of it"
    )
    parser.add_argument(
        "--url", metavar="URL", help="server that gets the requests; without it the model is loaded in this process"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="X",
        help="largest difference between two numbers, relative to the larger (default: 0)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="replay only the first N requests")


def run(options: argparse.Namespace) -> ExitCode:
    """Raises ServingError, ContractError, CommandError."""
    path = Path(options.file)
    counts: Counter[Outcome] = Counter()
    try:
        if not path.exists():
            raise MissingFileError(f"there is no file or directory {path}")
        recordings = _recordings(path, path.absolute())
        send = _server(options.url) if options.url else _local_model()
        for file, recorded in islice(recordings, options.limit):
            outcome, told = _compared(recorded, send, options.tolerance)
            counts[outcome] += 1
            if told and counts[outcome] <= MOST_SHOWN:
                print(f"{file}:{recorded.line}: {told}")
    except RecordingError as error:
        raise InputFileError(str(error)) from error
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror or error}") from None
    total = sum(counts.values())
    print(f"{total:,} requests: " + ", ".join(f"{counts[name]:,} {name}" for name in Outcome), file=sys.stderr)
    return ExitCode.PRECONDITION if counts[Outcome.DIFFERENT] else ExitCode.DONE


def _recordings(path: Path, at: Path) -> Iterator[tuple[Path, Recorded]]:
    """Yield the requests of a recording or a table, each with its file. Raises RecordingError, CommandError.

    `path` is as the user named it; `at` is absolute, as the model's code may change the working directory.
    """
    if at.is_file() and at.suffix != PARQUET:
        yield from ((path, recorded) for recorded in read_recording(at))
        return
    try:
        files = lazy.table_files(at)
    except ModuleNotFoundError:
        raise InputFileError(f"an inference table cannot be read: {missing_extra('pyarrow', 'tables')}") from None
    for file in files:
        yield from ((path / file.relative_to(at), recorded) for recorded in lazy.read_table(file))


def _compared(recorded: Recorded, send: Send, tolerance: float) -> tuple[Outcome, str]:
    if not recorded.is_complete:
        return Outcome.SKIPPED, ""
    return recorded.compared(*send(recorded), tolerance)


def _server(url: str) -> Send:
    """Return a function that sends a request to the server. Raises InputFileError if `url` is no URL of HTTP.

    The function raises UnavailableError if the server does not answer.
    """
    if not url.startswith(("http://", "https://")):
        raise InputFileError("--url must begin with http:// or https://")

    def send(recorded: Recorded) -> Answer:
        request = lazy.urllib_request.Request(
            url.rstrip("/") + recorded.path, json.dumps(recorded.request).encode(), {"Content-Type": "application/json"}
        )
        try:
            with lazy.urllib_request.urlopen(request, timeout=TIMEOUT) as answer:
                return answer.status, json.loads(answer.read())
        except lazy.urllib_error.HTTPError as error:
            return error.code, None
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{url} does not answer line {recorded.line}: {error}") from None

    return send


def _local_model() -> Send:
    model = lazy.load(resolve_model_path(os.environ))

    def send(recorded: Recorded) -> Answer:
        if recorded.path != INVOCATIONS:
            raise InputFileError(
                f"line {recorded.line} is a request to {recorded.path}, which needs a server: set --url to its address"
            )
        try:
            request = lazy.read_request(json.dumps(recorded.request).encode(), None, model.metadata.signature)
            return 200, json.loads(lazy.encode(model.predict(request), wrapped=request.wrapped))
        except ServingError as error:
            return error.status, None

    return send
