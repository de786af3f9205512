"""`make test`: one pytest for each large folder of tests, side by side, since most tests wait half of their time.

With ARGS, one pytest for what they name; folders in ARGS have their files shared out to two processes for each
processor, with pytest-xdist. With `--full`, one for each part of `tests/full`, in which a skipped test is a failure.
With COVERAGE=1, coverage is measured too, for a fifth of the time more.

The first pytest is shown as it goes, the output of the others when all have ended, then the processor seconds of each
with its processes, and one closing line for all. All share the processes whose forks are programs (`testbed/forks.py`).
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from testbed.adopt_orphans import adopt
from testbed.forks import SHARED

BUILD: Final = (sys.executable, "-m", "testbed.cluster", "build")  # a quarter of an hour the first time
PROGRAMS: Final = (sys.executable, "-m", "testbed.cluster", "programs")  # as many minutes as a test may take, or more
# Folders with a pytest of their own, those that wait longest first, and the command that each needs before it.
FOLDERS: Final[Mapping[str, Sequence[str]]] = {
    "tests/cluster": BUILD,
    "tests/api_server": PROGRAMS,
    "tests/serving_runtime": (),
    "tests/tracking_gate": (),
    "tests/model_lifecycle": (),
    "tests/model_delivery": (),
    "tests/end_to_end": (),
    "tests/webhook": (),
}
# Tests that need a foreign controller, Spark, Ray, a second container runtime or more than 2 GB: `make test-full`.
FULL: Final = "tests/full"
# Its parts, by the marks that its conftest.py gives. The first waits longest.
FULL_PARTS: Final = ("cluster", "engines", "not cluster and not engines")
ALONE: Final = "tests/cluster"  # one machine has one cluster
CACHE: Final = ".pytest_cache"
PROCESSORS: Final = os.cpu_count() or 1
SHARED_OUT: Final = (f"--numprocesses={2 * PROCESSORS}", "--dist=loadfile")
AT_ONCE: Final = 3 * PROCESSORS  # a pytest waits for its servers more than half of its time
# The processes of the folders that wait longest go first, so that none of these still runs alone when all others have
# ended: a niceness of 5 is a third of their share of a processor.
WAITING: Final = 2
GENTLY: Final = ("nice", "-n", "5")
# Programs in Go look for garbage a fourth as often as by themselves, which takes a quarter of kubectl's processor time:
# https://pkg.go.dev/runtime#hdr-Environment_Variables
RARE_COLLECTIONS: Final = ("GOGC", "400")
# pytest's own: https://docs.pytest.org/en/stable/reference/exit-codes.html
NO_TESTS: Final = 5
CLOSING: Final = re.compile(rb"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", re.MULTILINE)
COLOURS: Final = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class Run:
    """One pytest, after the command `first`. `output` is passed on as it comes if the run is `live`."""

    name: str
    arguments: Sequence[str]
    live: bool = False
    prefix: Sequence[str] = ()
    first: Sequence[str] = ()
    output: bytearray = field(default_factory=bytearray)
    code: int = 1  # until it has ended
    seconds: float = 0.0  # of the processor, with those of its processes; pods are no processes of it

    def __call__(self, forks: str) -> None:
        """Run it; `forks` is the folder of the fork servers that all runs share."""
        if self.first and (done := subprocess.run(self.first, capture_output=True, check=False)).returncode:
            self.output += done.stdout + done.stderr
            return
        measured = ["-m", "coverage", "run"] if coverage() else []
        colour = ["--color=yes"] if sys.stdout.isatty() else []
        adopting = [sys.executable, "-m", "testbed.adopt_orphans"]
        command = [*adopting, *self.prefix, sys.executable, *measured, "-m", "pytest", *colour, *self.arguments]
        # Thousands of processes import this project: bytecode is written, also if the machine's settings say no.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment.setdefault(*RARE_COLLECTIONS)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment | {SHARED: forks}
        ) as process:
            while chunk := os.read(process.stdout.fileno(), 65536) if process.stdout else b"":
                self.output += chunk
                if self.live:
                    say(chunk)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.code = process.returncode
        self.seconds = used.ru_utime + used.ru_stime

    @property
    def counts(self) -> Counter[str]:
        """Numbers of pytest's closing line: `{"passed": 812, "failed": 1}`."""
        closing = CLOSING.findall(COLOURS.sub(b"", bytes(self.output)))
        return Counter(
            {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", closing[-1].decode())}
            if closing
            else {}
        )


def main(arguments: Sequence[str], folders: Mapping[str, Sequence[str]] = FOLDERS) -> int:
    """Return the exit code of the first run that failed."""
    begun = time.monotonic()
    full = list(arguments) == ["--full"]
    if full:
        runs = [Run(f"{FULL}, {part}", [FULL, "-m", part, "-o", f"cache_dir={CACHE}/{part}"]) for part in FULL_PARTS]
        runs[0].live = True
    elif arguments:
        runs = [Run("all", [*(SHARED_OUT if is_shared_out(arguments) else ()), *arguments], live=True)]
    else:
        rest = Run("the rest", [f"--ignore={folder}" for folder in (*folders, FULL)], live=True, prefix=GENTLY)
        own = [Run(folder, [folder, "-o", f"cache_dir={CACHE}/{folder}"], first=folders[folder]) for folder in folders]
        for run in own[WAITING:]:
            run.prefix = GENTLY
        runs = [rest, *own]
    adopt()
    run_all(runs)
    for run in runs[1:]:
        say(f"\n{run.name}, at the same time:\n".encode() + run.output)
    # A folder may hold no tests on this machine; a path or a name that ARGS names may not.
    codes = [run.code for run in runs if run.code != NO_TESTS or (run.live and not full)]
    counts = sum((run.counts for run in runs), Counter[str]())
    if full:
        del counts["deselected"]  # a part deselects the tests of the others
    if full and counts["skipped"]:
        say(b"tests/full skips nothing: a test that lacks what it needs fails, and names it\n")
        codes.append(1)
    for command in (["combine", "--quiet"], ["report"]) if coverage() and not any(codes) else ():
        codes.append(subprocess.run([sys.executable, "-m", "coverage", *command], check=False).returncode)
    seconds = {run.name: run.seconds for run in runs} | {"fork servers": seconds_of_orphans()}
    used = ", ".join(f"{name} {number:.0f}" for name, number in seconds.items())
    say(f"\nprocessor seconds: {used}\n".encode())
    told = ", ".join(f"{number} {word}" for word, number in counts.items()) or "no tests ran"
    say(f"{f' {told} in {time.monotonic() - begun:.2f}s ':=^80}\n".encode())
    return next((code for code in codes if code), 0)


def run_all(runs: Sequence[Run]) -> None:
    """Wait until all have ended. An interrupt reaches each pytest too, which says what it has until then."""
    with (
        tempfile.TemporaryDirectory(prefix="forks-", ignore_cleanup_errors=True) as forks,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        ends = [pool.submit(run, forks) for run in runs]
        while not all(end.done() for end in ends):
            try:
                wait(ends)
            except KeyboardInterrupt:
                for end in ends:
                    end.cancel()


def seconds_of_orphans() -> float:
    """Return the processor seconds of processes that a run has left to others: the fork servers that they share."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def is_shared_out(arguments: Sequence[str]) -> bool:
    """Return True if a folder is named, and none that has the cluster's tests."""
    folders = [Path(argument).resolve() for argument in arguments if Path(argument).is_dir()]
    return bool(folders) and not any(Path(ALONE).resolve().is_relative_to(folder) for folder in folders)


def coverage() -> bool:
    return os.environ.get("COVERAGE", "0") not in {"", "0"}


def say(text: bytes | bytearray) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
