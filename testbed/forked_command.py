"""Runs a program of this environment as a fork, for a shell: `forked_command.py DIRECTORY PROGRAM ARGUMENTS...`.

The directory is that of a fork server (`testbed/fork_server.py`); inputs and outputs are those that the shell gives.
"""

import json
import os
import socket
import sys
import time

POLL = 0.01  # seconds
ERROR = 128  # and the number of the signal: what a shell makes of a program that a signal ends


def main(directory: str, *arguments: str) -> int:
    """Return the exit code of the program."""
    streams, end = f"/proc/{os.getpid()}/fd", f"{os.getpid()}-of-a-shell"
    order = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "directory": os.getcwd(),  # noqa: PTH109  pathlib would be half of what this imports
        "input": f"{streams}/0",
        "output": f"{streams}/1",
        "errors": f"{streams}/2",
        "end": end,
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{directory}/socket")
        connection.sendall(json.dumps(order).encode() + b"\n")
        while not os.path.exists(f"{directory}/{end}"):  # noqa: PTH110  as above
            time.sleep(POLL)
        with open(f"{directory}/{end}") as file:  # noqa: PTH123  as above
            code = int(file.read())
    return code if code >= 0 else ERROR - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
