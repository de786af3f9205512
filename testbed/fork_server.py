"""Runs programs in forks of this process, which has imported their modules: that takes seconds.

The arguments are a directory and the modules. Variables that the interpreter reads when it starts, such as
PYTHONIOENCODING, are given to this process.

Each line of standard input is a JSON object of `arguments`, `environment`, `directory`, `input`, `output`, `errors` and
`end`. The arguments are those of a process: the path of a program in Python, with or without an interpreter before it,
or an interpreter, `-m` and a module. The line is answered by one with the id of the process. When the process has
ended, its exit code, negative for a signal, is in the file `end` of the server's directory, which the server removes.
"""

import atexit
import gc
import json
import os
import runpy
import selectors
import shutil
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

STANDARD_INPUT: Final = 0


def main(ends: Path, *modules: str) -> None:
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # else the collector of each fork writes into each object, and copies its page
    with selectors.DefaultSelector() as selector:
        selector.register(STANDARD_INPUT, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd != STANDARD_INPUT:
                    selector.unregister(key.fd)
                    pid, end = key.data
                    _keep_end(key.fd, pid, ends / end)
                elif line := sys.stdin.buffer.readline():
                    _start(json.loads(line), selector)
                else:  # the tests have ended
                    shutil.rmtree(ends)
                    return


def _start(order: dict[str, Any], selector: selectors.BaseSelector) -> None:
    if not (pid := os.fork()):
        for key in list(selector.get_map().values()):
            if key.fd != STANDARD_INPUT:
                os.close(key.fd)
        selector.close()
        _run(order)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, order["end"]))
    sys.stdout.buffer.write(b"%d\n" % pid)
    sys.stdout.buffer.flush()


def _keep_end(descriptor: int, pid: int, end: Path) -> None:
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    unfinished = end.with_suffix(".part")
    unfinished.write_text(str(os.waitstatus_to_exitcode(status)))
    unfinished.rename(end)


def _run(order: dict[str, Any]) -> NoReturn:
    os.setsid()
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for descriptor, path, flags in (
        (0, order["input"], os.O_RDONLY),
        (1, order["output"], appending),
        (2, order["errors"], appending),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    streams = ((sys.stdin, "r", -1), (sys.stdout, "w", -1), (sys.stderr, "w", 1))
    # The encoding is the one that the interpreter chose from the variables with which this process started.
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering, encoding=stream.encoding, errors=stream.errors, closefd=False)  # noqa: SIM115  open until the end
        for number, (stream, mode, buffering) in enumerate(streams)
    )
    code = 1
    try:
        code = _code_of(order["arguments"])
        # The interpreter does this too when it ends; it also frees all memory, which takes longer.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _code_of(arguments: list[str]) -> int:
    """Return the exit code that the interpreter would give to the program."""
    try:
        if Path(arguments[0]).name.startswith("python"):
            arguments = arguments[1:]
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path.insert(0, str(Path(sys.argv[0]).parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return int(error.code or 0)
        print(error.code, file=sys.stderr)  # noqa: T201  as the interpreter does
        return 1
    except BaseException:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
