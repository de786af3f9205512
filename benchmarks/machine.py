"""The machine that a number was measured on."""

import os
import platform
from pathlib import Path


def describe() -> str:
    """One line: cores, processor, kernel, Python; to stand above every table of figures."""
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {_processor()}, Linux {platform.release()}, Python {platform.python_version()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
