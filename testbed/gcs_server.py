"""A server of Google's Cloud Storage on this machine: fake-gcs-server, compiled from its Go module."""

import json
import os
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.go_programs import program
from testbed.processes import free_port, running

MODULE: Final = Path(__file__).parent / "fake_gcs"
PACKAGE: Final = "github.com/fsouza/fake-gcs-server"
JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsServer:
    """A running server, which accepts every token."""

    endpoint: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {"GOOGLE_BASE_URL": self.endpoint, "GOOGLE_BEARER_TOKEN": "testbed-gcs-token"}

    def bucket(self, name: str) -> None:
        self._post("/storage/v1/b", json.dumps({"name": name}).encode(), JSON)

    def upload(self, bucket: str, path: str, content: bytes) -> None:
        query = urllib.parse.urlencode({"uploadType": "media", "name": path})
        self._post(f"/upload/storage/v1/b/{bucket}/o?{query}", content, {"Content-Type": "application/octet-stream"})

    def _post(self, target: str, body: bytes, headers: Mapping[str, str]) -> None:
        request = urllib.request.Request(f"{self.endpoint}{target}", data=body, headers=dict(headers))  # noqa: S310
        urllib.request.urlopen(request).close()  # noqa: S310  http to this machine


@contextmanager
def gcs_server(directory: Path, *, in_files: bool = False) -> Iterator[GcsServer]:
    """Run a server for the length of a `with` block. Raise CalledProcessError if it cannot be compiled.

    `in_files`: a directory of `directory` is a bucket, and a file in it an object. Otherwise all is in memory.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    backend = ("filesystem", "-filesystem-root", directory) if in_files else ("memory",)
    command: list[str | Path] = [program(MODULE, PACKAGE), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-public-host", f"127.0.0.1:{port}", "-backend", *backend]
    with running(command, log=directory.with_suffix(".log"), env=os.environ) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}/storage/v1/b?project=testbed")
        yield GcsServer(endpoint=f"http://127.0.0.1:{port}")
