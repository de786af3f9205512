"""Facts of this machine and of the processes on it, for tables of figures."""

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAUSE: Final = 0.005  # seconds between two looks at the memory of a process


def describe() -> str:
    """Return cores, processor, kernel and Python as one line, to stand above every table of figures."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {_processor()}, Linux {platform.release()}, Python {platform.python_version()}"


def tree(pid: int) -> Iterator[int]:
    """Yield the process and all processes below it."""
    yield pid
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(thread).split():
            yield from tree(int(child))


def memory(pid: int) -> float:
    """Return the proportional set size of a process and those below it, in MiB: shared memory is counted once."""
    lines = (line for process in tree(pid) for line in _read(Path(f"/proc/{process}/smaps_rollup")).splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def peak_memory(process: "subprocess.Popen[bytes]") -> float:
    """Wait for the end of a process, and return its largest resident size in MiB.

    `ru_maxrss` would count what this process had when it started that one.
    """
    peak = 0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", _read(Path(f"/proc/{process.pid}/status")))
        peak = int(found[1]) if found else peak
        time.sleep(PAUSE)
    return peak / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and those below it, of ended ones too.

    A worker may be replaced meanwhile.
    """
    fields = (_read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split() for process in tree(pid))
    return sum(int(value) for values in fields for value in values[11:15]) / TICKS


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""
