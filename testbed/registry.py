"""A registry of images on this machine: distribution, compiled from its Go module."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.go_programs import program
from testbed.processes import Process, free_port, running
from testbed.registry_tokens import TokenServer

MODULE: Final = Path(__file__).parent / "distribution"
PACKAGE: Final = "github.com/distribution/distribution/v3/cmd/registry"
USER: Final = "testbed"
PASSWORD: Final = "testbed-password"
# bcrypt of the password, the only kind that the registry reads
HTPASSWD: Final = f"{USER}:$2b$05$abcdefghijklmnopqrstuuLxgU70LtKCiEBnEtnFcgRDLtC680wFe\n"
ACCESS: Final = re.compile(r'"(GET|HEAD|POST|PUT|PATCH) (\S+) HTTP/\S+" (\d{3})')


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRegistry:
    """A running registry. `address` is its host and port, as a reference of an image names it."""

    address: str
    process: Process

    def requests(self) -> list[tuple[str, str, int]]:
        """Return method, path without query, and status of each request until now, in their order."""
        found = ACCESS.findall(self.process.log.read_text())
        return [(method, target.partition("?")[0], int(status)) for method, target, status in found]

    def downloads(self) -> Counter[str]:
        """Return how often each blob was sent, by its digest."""
        return Counter(
            path.rpartition("/")[2]
            for method, path, status in self.requests()
            if method == "GET" and "/blobs/sha256:" in path and status in {200, 206, 307}
        )


@contextmanager
def image_registry(
    directory: Path, *, port: int | None = None, login: bool = False, tokens: TokenServer | None = None
) -> Iterator[ImageRegistry]:
    """Run a registry without TLS on every address of this machine, for the length of a `with` block.

    With `login` it wants USER and PASSWORD, with `tokens` a token of that server. Raises CalledProcessError if it
    cannot be compiled, ProcessError if it does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{port or free_port()}"
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "images")}, "delete": {"enabled": True}},
        "http": {"addr": f":{address.rpartition(':')[2]}"},
    }
    if login:
        (directory / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "testbed", "path": str(directory / "htpasswd")}}
    if tokens:
        config["auth"] = tokens.settings(directory)
    file = directory / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    environment["OTEL_TRACES_EXPORTER"] = "none"
    with running([program(MODULE, PACKAGE), "serve", file], log=directory / "registry.log", env=environment) as process:
        process.wait_for_http(f"http://{address}/v2/", status=401 if login or tokens else 200)
        yield ImageRegistry(address=address, process=process)
