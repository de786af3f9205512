"""A process that stays up and answers each line of JSON with one: an MLflow takes seconds to import."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class JsonLines:
    """The process's two pipes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, question: Json) -> Json:
        """Return the answer. Raise ValueError if the process has ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("the process has no pipes")
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        found: Json = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def json_lines(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Iterator[JsonLines]:
    """A process for the length of a `with` block."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as process:
        yield JsonLines(process)
