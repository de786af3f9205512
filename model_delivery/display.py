"""Progress of a running fetch: a bar on a terminal if rich is installed, else a JSON line every few seconds."""

import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from model_delivery.deadline import Snapshot
from model_delivery.log import write

LINE_SECONDS: Final = 5.0
BAR_SECONDS: Final = 0.1

TakeSnapshot = Callable[[], Snapshot]


@contextmanager
def progress_shown(snapshot: TakeSnapshot) -> Iterator[None]:
    """Show the progress that `snapshot` returns until the block ends."""
    ended = threading.Event()
    rich = _rich_progress() if sys.stderr and sys.stderr.isatty() else None
    show = (lambda: _show_bar(rich, snapshot, ended)) if rich else (lambda: _write_lines(snapshot, ended))
    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def progress_line(found: Snapshot) -> str:
    """Return one JSON object; what is not known is left out."""
    values = {
        "bytes": found.bytes,
        "of": found.expected or None,
        "bytes_per_second": round(found.rate),
        "seconds_left": None if found.seconds_left is None else round(found.seconds_left),
    }
    return json.dumps({"fetching": {name: value for name, value in values.items() if value is not None}})


def _write_lines(snapshot: TakeSnapshot, ended: threading.Event) -> None:
    while not ended.wait(LINE_SECONDS):
        write(progress_line(snapshot()))


def _show_bar(rich: ModuleType, snapshot: TakeSnapshot, ended: threading.Event) -> None:
    columns = (rich.BarColumn(), rich.DownloadColumn(), rich.TransferSpeedColumn(), rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=importlib.import_module("rich.console").Console(stderr=True)) as progress:
        bar = progress.add_task("fetching", total=snapshot().expected or None)
        while not ended.wait(BAR_SECONDS):
            progress.update(bar, completed=snapshot().bytes)
        progress.update(bar, completed=snapshot().bytes)


def _rich_progress() -> ModuleType | None:
    """Return the module if it is installed, which it is not in the image of the init container."""
    try:
        return importlib.import_module("rich.progress")
    except ImportError:
        return None
