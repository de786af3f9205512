"""An emulator of Google's store on this machine, whose buckets are directories: fake-gcs-server, from its Go module."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from testbed.go_programs import program
from testbed.processes import free_port, running
from testbed.reverse_proxy import Exchange, reverse_proxy

MODULE: Final = Path(__file__).parent / "fake_gcs"
PACKAGE: Final = "github.com/fsouza/fake-gcs-server"
JSON_API: Final = ("/storage/", "/upload/", "/download/", "/batch/")


@contextmanager
def gcs_server(directory: Path) -> Iterator[str]:
    """Run the emulator for the length of a `with` block, and yield its address.

    A directory of `directory` is a bucket, and a file in it an object. Raise CalledProcessError if it cannot be
    compiled, ProcessError if it does not start.
    """
    port = free_port()
    command: list[str | Path] = [program(MODULE, PACKAGE), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "filesystem", "-filesystem-root", directory, "-public-host", f"127.0.0.1:{port}"]
    with running(command, log=directory.with_suffix(".log"), env=os.environ) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}/_internal/healthcheck")
        with reverse_proxy(f"http://127.0.0.1:{port}", _decode) as proxy:
            yield proxy.uri


def _decode(exchange: Exchange) -> bool:
    """Decode the path of an object as Google's XML API does; the emulator takes it as it is sent."""
    path, mark, query = exchange.path.partition("?")
    if not path.startswith(JSON_API):
        exchange.path = f"{quote(unquote(path))}{mark}{query}"
    return False
