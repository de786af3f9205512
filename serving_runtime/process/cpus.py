"""The number of processors that this process may use.

In a container that is the quota of its cgroup, which may be less than the number of cores.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

THREADS: Final = "OMP_NUM_THREADS"


def usable_cpus(root: Path = Path("/")) -> float:
    """Return the smallest of the cores that this process may run on and the cgroup quotas that bind it.

    `root` holds `proc` and `sys`.
    """
    return min(
        [float(len(os.sched_getaffinity(0))), *(quota for directory in _cgroups(root) for quota in _quotas(directory))]
    )


def _cgroups(root: Path) -> Iterator[Path]:
    """Return the directories of this process's CPU cgroup and of all above it: the tightest quota wins."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
            inside = PurePosixPath(path.lstrip("/"))
            yield from (mount / directory for directory in (inside, *inside.parents))


def _quotas(directory: Path) -> Iterator[float]:
    """Return the quota that one directory sets, in processors.

    Version 2 has quota and period in one file, version 1 in two.
    """
    numbers = _read(directory / "cpu.max").split() or [
        _read(directory / "cpu.cfs_quota_us").strip(),
        _read(directory / "cpu.cfs_period_us").strip(),
    ]
    if all(number.isdecimal() for number in numbers):  # "max" and -1 are no limit
        yield int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def threads_for_each(cpus: float, workers: int) -> int:
    """Return the threads for the libraries of each worker, so that all have as many as there are processors."""
    return max(1, int(cpus) // workers)
