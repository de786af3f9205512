"""An S3 server on this machine with directories as buckets: versitygw, compiled from its Go module."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.go_programs import program
from testbed.processes import Process, free_port, running

MODULE: Final = Path(__file__).parent / "versitygw"
PACKAGE: Final = "github.com/versity/versitygw/cmd/versitygw"
REGION: Final = "us-east-1"
HEALTH: Final = "/health"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running S3 server. `directory` has a directory for each bucket, and a file in it for each object."""

    endpoint: str
    access_key: str
    secret_key: str
    directory: Path
    process: Process

    def bucket(self, name: str) -> Path:
        """Create a bucket, and return its directory: a file that is put in it is an object."""
        found = self.directory / name
        found.mkdir(exist_ok=True)
        return found

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the variables that the AWS SDKs read."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def s3_server(directory: Path, *, host: str = "127.0.0.1", port: int | None = None) -> Iterator[S3Server]:
    """Run an S3 server, with addresses of the form `endpoint/bucket/key`, for the length of a `with` block.

    It keeps its files in `directory`, so that a server which is started there again has the same objects.
    Raises CalledProcessError if it cannot be compiled, ProcessError if it does not start.
    """
    buckets, attributes = directory / "buckets", directory / "attributes"
    for folder in (buckets, attributes):
        folder.mkdir(parents=True, exist_ok=True)
    address = f"{host}:{port or free_port()}"
    access_key, secret_key = "testbed-access-key", "testbed-secret-key"
    keys = {"ROOT_ACCESS_KEY": access_key, "ROOT_SECRET_KEY": secret_key}
    command: list[str | Path] = [program(MODULE, PACKAGE), "--port", address, "--region", REGION, "--health", HEALTH]
    # Attributes of objects are files in a directory of their own, as not every file system has extended attributes.
    command += ["posix", "--sidecar", attributes, buckets]
    with running(command, log=directory / "s3.log", env=os.environ | keys) as process:
        process.wait_for_http(f"http://{address}{HEALTH}")
        yield S3Server(
            endpoint=f"http://{address}",
            access_key=access_key,
            secret_key=secret_key,
            directory=buckets,
            process=process,
        )
