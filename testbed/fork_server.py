"""Runs programs in forks of this process, which has imported their modules: that takes seconds.

Standard input is a listening socket, the arguments are a directory and the modules. Variables that the interpreter
reads when it starts, such as LC_ALL, are given to this process; PYTHONIOENCODING is obeyed in each fork.

Each line of a connection is a JSON object of `arguments`, `environment`, `directory`, `input`, `output`, `errors` and
`end`. The arguments are those of a process: the path of a program in Python, with or without an interpreter before it,
or an interpreter with `-m` and a module, or with `-c` and code. The line is answered by one with the id of the process.
When the process has ended, its exit code, negative for a signal, is in the file `end` of the server's directory. The
server ends, and removes the directory, when its last client has closed its side.
"""

import atexit
import gc
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from testbed.environments import locked

LISTENER: Final = 0
PIECE: Final = 65536


def main(directory: Path, *modules: str) -> NoReturn:
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # else the collector of each fork writes into each object, and copies its page
    listener, clients = socket.socket(fileno=LISTENER), set[int]()
    with selectors.DefaultSelector() as selector:
        selector.register(LISTENER, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == LISTENER:
                    client = listener.accept()[0].detach()
                    clients.add(client)
                    selector.register(client, selectors.EVENT_READ)
                elif key.fd in clients:
                    _answer(key.fd, clients, selector, directory)
                else:
                    selector.unregister(key.fd)
                    pid, end = key.data
                    _keep_end(key.fd, pid, directory / end)


def _answer(client: int, clients: set[int], selector: selectors.BaseSelector, directory: Path) -> None:
    """Start the program that a client asks for; forget a client that has closed its side."""
    if line := _line(client):
        with suppress(BrokenPipeError):  # a client that was killed
            os.write(client, b"%d\n" % _start(json.loads(line), selector))
        return
    clients.remove(client)
    if not clients:
        _end_if_unused(directory)
    selector.unregister(client)
    os.close(client)


def _line(client: int) -> bytes:
    """Return the line that a client sends and waits for, or nothing if it has closed its side or was killed."""
    line = b""
    with suppress(ConnectionResetError):
        while piece := os.read(client, PIECE):
            line += piece
            if line.endswith(b"\n"):
                return line
    return b""


def _end_if_unused(directory: Path) -> None:
    """End this process unless another client has connected; the last one reads its end from its connection."""
    with locked(directory):
        if not select.select([LISTENER], [], [], 0)[0]:
            shutil.rmtree(directory)
            os._exit(0)


def _start(request: dict[str, Any], selector: selectors.BaseSelector) -> int:
    if not (pid := os.fork()):
        for key in list(selector.get_map().values()):
            if key.fd != LISTENER:  # whose place the program's standard input takes
                os.close(key.fd)
        selector.close()
        _run(request)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, request["end"]))
    return pid


def _keep_end(descriptor: int, pid: int, end: Path) -> None:
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    unfinished = end.with_suffix(".part")
    unfinished.write_text(str(os.waitstatus_to_exitcode(status)))
    unfinished.rename(end)


def _run(request: dict[str, Any]) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # below `nohup` it is ignored, and programs keep that
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as below a terminal; a shell's background ignores it
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for descriptor, path, flags in (
        (0, request["input"], os.O_RDONLY),
        (1, request["output"], appending),
        (2, request["errors"], appending),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    # The encoding is the one that the interpreter chose from the variables with which this process started, unless
    # https://docs.python.org/3/using/cmdline.html#envvar-PYTHONIOENCODING
    encoding, _, handler = request["environment"].get("PYTHONIOENCODING", "").partition(":")
    for_both = handler or ("strict" if encoding else sys.stdout.errors)
    streams = (
        (sys.stdin, "r", -1, for_both),
        (sys.stdout, "w", -1, for_both),
        (sys.stderr, "w", 1, sys.stderr.errors),
    )
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, buffering, encoding=encoding or stream.encoding, errors=errors, closefd=False)  # noqa: SIM115  open until the end
        for number, (stream, mode, buffering, errors) in enumerate(streams)
    )
    code = 1
    try:
        code = _code_of(request["arguments"])
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
        elif arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            exec(arguments[1], {"__name__": "__main__"})  # noqa: S102  what the argument is for
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
