"""An emulator of Google's store on this machine, in an environment of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.environments import python_of
from testbed.processes import free_port, running


@contextmanager
def gcs_server(directory: Path, bucket: str) -> Iterator[str]:
    """Run the emulator with an empty bucket for the length of a `with` block, and yield its address.

    Raises CalledProcessError if it cannot be installed, ProcessError if it does not start.
    """
    address = f"127.0.0.1:{(port := free_port())}"
    program = python_of("google-store").with_name("gcp-storage-emulator")
    command: list[str | Path] = [program, "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]
    with running([*command, f"--default-bucket={bucket}"], log=directory / "gcs.log", env=os.environ) as process:
        process.wait_for_http(f"http://{address}/storage/v1/b/{bucket}")
        yield f"http://{address}"
