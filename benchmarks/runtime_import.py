"""Time and memory of `import serving_runtime` in a process that may never predict."""

import subprocess
import sys
from typing import Final

from benchmarks.machine import describe

ROUNDS: Final = 30
SCRIPT: Final = "import time; began = time.perf_counter(); import serving_runtime; print(time.perf_counter() - began)"


def main() -> None:
    print(describe())
    measured = sorted(milliseconds() for _ in range(ROUNDS))
    print(f"import serving_runtime: min {measured[0]:.1f} ms, median {measured[ROUNDS // 2]:.1f} ms of {ROUNDS}")


def milliseconds() -> float:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    return float(done.stdout) * 1000


if __name__ == "__main__":
    main()
