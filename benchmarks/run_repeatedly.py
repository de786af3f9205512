"""Run a program of Python several times in one process, and print what each run but the first costs, as JSON.

`python benchmarks/run_repeatedly.py <times> <module, or path of a script> [argument ...]`
The first run imports the program's libraries. A cost is the seconds of processor, and the seconds by the clock.
"""

import json
import resource
import runpy
import sys
import time


def main() -> None:
    times, program, *arguments = sys.argv[1:]
    sys.argv = [program, *arguments]
    costs = [_cost(program) for _ in range(int(times))]
    sys.stdout.write(json.dumps(costs[1:]))


def _cost(program: str) -> tuple[float, float]:
    used, began = _processor(), time.perf_counter()
    try:
        if program.endswith(".py"):
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    return _processor() - used, time.perf_counter() - began


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
