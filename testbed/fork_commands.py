"""Runs commands of installed programs, each in a fork of this process, which has imported their modules.

Variables that the interpreter reads when it starts, such as PYTHONIOENCODING, are given to this process.

Each line of standard input is a JSON object of `program`, `arguments`, `environment`, `input`, `output`, `directory`
and `seconds`. Each is answered by a line with the exit code, negative for a signal, and with the seconds taken.
A command that has not ended by then is asked to end by SIGTERM; one that goes on for `GRACE` seconds is killed.
"""

import json
import os
import pkgutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, NoReturn

PACKAGES: Final = ("model_delivery", "model_lifecycle", "serving_runtime", "tracking_gate", "webhook")
GRACE: Final = 60.0
POLL: Final = 0.005  # seconds


def main() -> None:
    for package in PACKAGES:
        _import_all(package)
    programs = {
        entry.name: entry.load() for entry in entry_points(group="console_scripts") if entry.module[:-4] in PACKAGES
    }
    for line in sys.stdin.buffer:  # bytes, since the encoding of the text may be any
        case = json.loads(line)
        began = time.monotonic()
        pid = os.fork()
        if not pid:
            _run(programs[case["program"]], case)
        code = _end_of(pid, began + case["seconds"])
        sys.stdout.buffer.write(json.dumps({"code": code, "seconds": time.monotonic() - began}).encode() + b"\n")
        sys.stdout.buffer.flush()


def _import_all(package: str) -> None:
    found = import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # one that only a running server can import
                import_module(module.name)


def _run(program: Any, case: dict[str, Any]) -> NoReturn:
    os.setsid()
    os.chdir(case["directory"])
    os.environ.clear()
    os.environ.update(case["environment"])
    time.tzset()
    for descriptor, path, flags in (
        (0, case["input"], os.O_RDONLY),
        (1, case["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, case["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        os.dup2(os.open(path, flags, 0o600), descriptor)
    sys.argv = [case["program"], *case["arguments"]]
    streams = enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    # The encoding is the one that the interpreter chose from the variables with which this process started.
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115  open until the end
        for number, (stream, mode) in streams
    )
    code = _code_of(program)
    with suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _code_of(program: Any) -> int:
    """Return the exit code that the interpreter would give to `sys.exit(program())`."""
    try:
        sys.exit(program())
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return int(error.code or 0)
        print(error.code, file=sys.stderr)  # noqa: T201  as the interpreter does
        return 1
    except BaseException:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
        return 1


def _end_of(pid: int, until: float) -> int:
    asked = False
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what it left
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if asked else signal.SIGTERM)
            asked, until = True, time.monotonic() + GRACE
        time.sleep(POLL)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
