"""Run every benchmark, one after the other, each in a process of its own."""

import subprocess
import sys
from typing import Final

from benchmarks.machine import describe

BENCHMARKS: Final = (
    "runtime_import",
    "admission_in_process",
    "webhook_start",
    "webhook_reviews",
    "runtime_start",
    "runtime_predictions",
    "runtime_grpc",
    "gate",
    "gate_slow_clients",
    "gate_fence",
    "request_work",
    "promotion",
    "delivery",
    "delivery_s3",
)


def main() -> int:
    print(describe(), flush=True)
    failed = []
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
