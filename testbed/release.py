"""A release of this work tree, run on this machine: its repository with a tag, stand-ins for actions, and an index.

The actions of others are those of `tests/github/actions`. GitHub's OIDC and the package index are one server, which
speaks what the index documents for trusted publishing.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Final

from testbed import helm
from testbed.certificates import issue
from testbed.github_project import ROOT
from testbed.github_steps import GitHub, Job, git
from testbed.github_workflow import Event
from testbed.go_programs import Release, released_program
from testbed.http_server import in_thread, send_json

ACTIONS: Final = ROOT / "tests" / "github" / "actions"
STAND_INS: Final = {
    "sigstore/cosign-installer": ACTIONS / "cosign-installer",
    "anchore/sbom-action/download-syft": ACTIONS / "download-syft",
    "actions/attest-build-provenance": ACTIONS / "attest-build-provenance",
    "actions/upload-artifact": ACTIONS / "upload-artifact",
    "actions/download-artifact": ACTIONS / "download-artifact",
}
# Of the versions that the workflow names.
COSIGN: Final = Release(
    module="github.com/sigstore/cosign/v3",
    version="v3.1.3",
    digest="h1:001JQRI/PJ/5T+g/kJ1KTvKFbb322+fomc+pHDZ/6sg=",
)
SYFT: Final = Release(
    module="github.com/anchore/syft", version="v1.57.1", digest="h1:lrbWhc8hbZJSKekMdB3PKetO0upE+lv9ihUfv9CXgfU="
)
WORKFLOW: Final = "release.yml"
VERSION: Final = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
UNDATED: Final = re.compile(r"^## (\S+), unreleased$", re.MULTILINE)
ID_TOKEN: Final = "id-token-of-github"
MINTED: Final = "minted-by-the-index"


def version() -> str:
    """Return the version of pyproject.toml. Raises ValueError."""
    if VERSION is None:
        raise ValueError("pyproject.toml has no version")
    return VERSION[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRun:
    """A repository at a commit that may be released, and a runner for its jobs."""

    github: GitHub

    @classmethod
    def of_work_tree(
        cls, directory: Path, token: str = "", identity: Mapping[str, str] = MappingProxyType({}), **variables: str
    ) -> "ReleaseRun":
        """Copy the files of the work tree, also those that are not committed; the changelog gets a date."""
        repository = directory / "repository"
        git(directory, "init", "--quiet", "--initial-branch=main", str(repository))
        git(repository, f"--work-tree={ROOT}", "add", "--all", str(ROOT))
        git(repository, "checkout-index", "--all")
        changelog = repository / "CHANGELOG.md"
        changelog.write_text(UNDATED.sub(r"## \1, 2026-12-01", changelog.read_text()))
        found = cls(
            github=GitHub(
                repository=repository,
                directory=directory,
                actions=STAND_INS,
                secrets={"GITHUB_TOKEN": token},
                variables=variables,
                identity=identity,
            )
        )
        found.commit()
        return found

    @property
    def temporary(self) -> Path:
        return self.github.directory / "temp"

    def commit(self) -> None:
        git(self.github.repository, "add", "--all")
        git(self.github.repository, "commit", "--quiet", "--allow-empty", "--message", "Release")

    def run(self, tag: str, *left_out: str) -> tuple[Job, ...]:
        """Run the jobs that a tag starts, but for those left out."""
        head = git(self.github.repository, "rev-parse", "HEAD").strip()
        return self.github.run(WORKFLOW, Event(name="push", ref=f"refs/tags/{tag}"), head, left_out=left_out)

    def artifact(self, name: str) -> Path:
        return self.temporary / "artifacts" / name


def recorder(folder: Path, name: str, then: str = "") -> None:
    """Put a program on the PATH of a folder that writes its arguments to a file, a JSON array a line."""
    program, log = folder / name, folder / f"{name}.jsonl"
    program.write_text(
        f"#!/bin/bash\njq --null-input --compact-output '$ARGS.positional' --args -- \"$@\" >> {log}\n{then}"
    )
    program.chmod(0o755)
    log.touch()


def recorded(folder: Path, name: str) -> list[list[str]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def release_tools(folder: Path) -> None:
    """Put cosign, syft and helm on the PATH of a folder, compiled the first time. Raises CalledProcessError."""
    (folder / "cosign").symlink_to(released_program(COSIGN, "./cmd/cosign", "cosign"))
    (folder / "syft").symlink_to(released_program(SYFT, "./cmd/syft", "syft"))
    (folder / "helm").symlink_to(helm.program())


@dataclass(slots=True)
class Index:
    """The package index, and what was uploaded: names of files, with the credential."""

    uri: str = ""
    authorities: Path = Path()
    uploads: list[tuple[str, str]] = field(default_factory=list)

    @property
    def identity(self) -> Mapping[str, str]:
        """Variables by which GitHub tells a job with `id-token: write` where it gets a token."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.uri}/github?api-version=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-runner",
        }


@contextmanager
def package_index(directory: Path) -> Iterator[Index]:
    """Run the server for the length of a `with` block, with TLS, since uv asks for tokens by no other way."""
    index, issued = Index(), issue(directory, "127.0.0.1")
    known = Path(os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt")
    index.authorities = directory / "authorities.pem"
    index.authorities.write_bytes(known.read_bytes() + b"\n" + issued.authority.read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/_/oidc/audience":
                send_json(self, 200, {"audience": "the-index"})
            elif self.path.startswith("/github") and "audience=the-index" in self.path:
                send_json(self, 200, {"value": ID_TOKEN})
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/_/oidc/mint-token":
                send_json(self, 200, {"token": MINTED} if json.loads(body) == {"token": ID_TOKEN} else {})
            else:
                if name := re.search(rb'filename="([^"]+)"', body):
                    index.uploads.append((name[1].decode(), self.headers.get("Authorization", "")))
                send_json(self, 200, {})

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with in_thread(server):
        index.uri = f"https://127.0.0.1:{server.server_port}"
        yield index


def make(repository: Path, *arguments: str) -> str:
    """Return the output of make in a repository. Raises CalledProcessError."""
    command = [shutil.which("make") or "make", "--silent", *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
