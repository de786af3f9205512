"""The number of processors that a container has, from the files that its kernel shows."""

import os
from pathlib import Path

import pytest

from serving_runtime.process.cpus import threads_for_each, usable_cpus

CORES = float(len(os.sched_getaffinity(0)))


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, CORES),
        ({"proc/self/cgroup": "0::/pod/box\n", "sys/fs/cgroup/pod/cpu.max": "25000 100000\n"}, 0.25),
        (
            {
                "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/box\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "75000\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
            },
            0.75,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/box\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            CORES,
        ),
        ({}, CORES),
    ],
    ids=["version 2", "no quota", "the quota of a parent", "version 1", "version 1 without a quota", "no cgroup"],
)
def test_usable_cpus_are_those_of_the_quota(tmp_path: Path, files: dict[str, str], cpus: float) -> None:
    assert usable_cpus(machine(tmp_path, files)) == cpus


@pytest.mark.parametrize(("cpus", "workers", "threads"), [(8, 4, 2), (2, 2, 1), (0.5, 1, 1), (3.5, 2, 1)])
def test_threads_of_all_workers_are_as_many_as_processors(cpus: float, workers: int, threads: int) -> None:
    assert threads_for_each(cpus, workers) == threads
