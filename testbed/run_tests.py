"""`make test`: the tests in three processes beside each other, since most of them wait half of their time.

With ARGS, one run of what they name.

The first run is shown as it goes, the output of the others when all have ended; after the coverage of all comes one
closing line.
"""

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

BUILD: Final = (
    sys.executable,
    "-m",
    "testbed.cluster",
    "build",
)  # a quarter of an hour the first time, longer than a test may take
# Folders with a run of their own, and the command that comes before it.
BESIDE: Final[Mapping[str, Sequence[str]]] = {"tests/cluster": BUILD, "tests/serving_runtime": ()}
# pytest's own: https://docs.pytest.org/en/stable/reference/exit-codes.html
NO_TESTS: Final = 5
CLOSING: Final = re.compile(rb"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", re.MULTILINE)
COLOURS: Final = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class Run:
    """One pytest, after a command that takes its time. `shown` is its output, which is passed on as it comes where it
    is `live`.
    """

    arguments: Sequence[str]
    live: bool
    first: Sequence[str] = ()
    shown: bytearray = field(default_factory=bytearray)
    code: int = 1  # until it has ended

    def __call__(self) -> None:
        if self.first and (done := subprocess.run(self.first, capture_output=True, check=False)).returncode:
            self.shown += done.stdout + done.stderr
            return
        colour = ["--color=yes"] if sys.stdout.isatty() else []
        command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", *colour, *self.arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while chunk := os.read(process.stdout.fileno(), 65536) if process.stdout else b"":
                self.shown += chunk
                if self.live:
                    say(chunk)
        self.code = process.returncode

    @property
    def counts(self) -> Counter[str]:
        """Of pytest's closing line: `{"passed": 812, "failed": 1}`."""
        closing = CLOSING.findall(COLOURS.sub(b"", bytes(self.shown)))
        return Counter(
            {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", closing[-1].decode())}
            if closing
            else {}
        )


def main(arguments: Sequence[str], beside: Mapping[str, Sequence[str]] = BESIDE) -> int:
    """Return the exit code of the first run that failed."""
    begun = time.monotonic()
    runs = [Run(arguments, live=True)]
    if not arguments:
        rest = Run([f"--ignore={folder}" for folder in beside], live=True)
        runs = [
            rest,
            *(
                Run([folder, "-o", f"cache_dir=.pytest_cache/{folder}"], live=False, first=beside[folder])
                for folder in beside
            ),
        ]
    at_once(runs)
    for folder, run in zip(beside, runs[1:], strict=False):
        say(f"\n{folder}, beside them:\n".encode() + run.shown)
    codes = [run.code for run in runs[:1]] + [run.code for run in runs[1:] if run.code != NO_TESTS]
    for command in (["combine", "--quiet"], ["report"]) if not any(codes) else ():
        codes.append(subprocess.run([sys.executable, "-m", "coverage", *command], check=False).returncode)
    counts = sum((run.counts for run in runs), Counter[str]())
    told = ", ".join(f"{number} {word}" for word, number in counts.items()) or "no tests ran"
    say(f"{f' {told} in {time.monotonic() - begun:.2f}s ':=^80}\n".encode())
    return next((code for code in codes if code), 0)


def at_once(runs: Sequence[Run]) -> None:
    """Returns when all have ended; they hear an interrupt themselves, and say what they have until then."""
    threads = [threading.Thread(target=run) for run in runs]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with suppress(KeyboardInterrupt):
            for thread in threads:
                thread.join()


def say(text: bytes | bytearray) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
