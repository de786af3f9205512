"""An emulator of Google's store on this machine that obstore reads: fake-gcs-server, compiled from its Go module.

Arrow cannot write to it; `gcs_server` is for Arrow.
"""

import os
import urllib.request
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
def fake_gcs_server(directory: Path) -> Iterator[str]:
    """Run the emulator for the length of a `with` block, and yield its address.

    It begins with the files of `directory`, in which each directory is a bucket, and keeps what is written to it in
    memory. Raises CalledProcessError if it cannot be compiled, ProcessError if it does not start.
    """
    port = free_port()
    command: list[str | Path] = [program(MODULE, PACKAGE), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-data", directory, "-public-host", f"127.0.0.1:{port}"]
    with running(command, log=directory.with_suffix(".log"), env=os.environ) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}/_internal/healthcheck")
        with reverse_proxy(f"http://127.0.0.1:{port}", _decode) as proxy:
            yield proxy.uri


def put_object(address: str, bucket: str, name: str, content: bytes) -> None:
    """Write an object, by the JSON API."""
    uri = f"{address}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
    urllib.request.urlopen(urllib.request.Request(uri, method="POST", data=content)).close()  # noqa: S310  to this machine


def _decode(exchange: Exchange) -> bool:
    """Decode the path of an object as Google's XML API does; the emulator takes it as it is sent."""
    path, mark, query = exchange.path.partition("?")
    if not path.startswith(JSON_API):
        exchange.path = f"{quote(unquote(path))}{mark}{query}"
    return False
