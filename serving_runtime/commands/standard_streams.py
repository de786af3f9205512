"""Standard input and output of `predict`, either of which a shell may have closed, or have bound to a file."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import IO

from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.places import READ, place_of
from serving_runtime.commands.sources import Source


@contextmanager
def standard_input() -> Iterator[IO[bytes]]:
    """Yield the stream. Raises InputFileError."""
    if sys.stdin is None:
        raise InputFileError("standard input is closed; name a file")
    try:
        descriptor = sys.stdin.fileno()
    except OSError:  # of another stream in its place
        yield sys.stdin.buffer
        return
    # Python itself aborts at its end if a thread still waits for its own stream of standard input.
    yield open(descriptor, "rb", buffering=READ, closefd=False)  # noqa: SIM115  it is not ours to close


@contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """Yield the stream. Raises InputFileError."""
    if sys.stdout is None:
        raise InputFileError("standard output is closed; give -o a file")
    yield sys.stdout.buffer


def expect_other_files(outputs: Sequence[str | None], sources: Sequence[Source] | None) -> None:
    """Raise InputFileError if standard input or output is a file that is written, or scored, too.

    `outputs` begins with that of the predictions, which are on standard output if it is None. Standard input is scored
    if there are no `sources`.
    """
    read = [_state(sys.stdin)] if sources is None else [_state(source.path) for source in sources]
    written = [
        _state(sys.stdout) if outputs[0] is None else None,
        *(_state(place_of(name)) for name in outputs if name),
    ]
    files = [one for one in read if one is not None and S_ISREG(one.st_mode)]
    if any(os.path.samestat(one, other) for one in files for other in written if other is not None):
        raise InputFileError("the predictions would be written to the file that is scored; name another one")


def _state(file: object) -> os.stat_result | None:
    """Return the state of a path or a stream; None if it is not there, has no descriptor, or is in a store."""
    with suppress(OSError):
        if isinstance(file, Path):
            return file.stat()
        return os.fstat(file.fileno()) if hasattr(file, "fileno") else None
    return None
