"""The version before this one, with its own files and its own environment, apart from the version of this checkout.

Its files are in an archive beside this module, because a clone may have no history. `make former` writes the archive.
The environment is made once, and kept in the user's cache.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed import delivery, gate, lifecycle, runtime_server, webhook_server
from testbed.environments import CACHE, locked
from testbed.processes import completed

ROOT: Final = Path(__file__).parents[1]
# The version that users upgrade from: the last release. The next one replaces it (CONTRIBUTING.md, "Release").
ARCHIVE: Final = Path(__file__).with_suffix(".tar.xz")
# The modules of this version's commands: each takes seconds to import them.
OF_COMMANDS: Final = {
    "model-api": lifecycle.MODULES,
    "model-api-delivery": delivery.MODULES,
    "model-api-gate": gate.MODULES,
    "model-api-runtime": runtime_server.WITH_MLFLOW,
    "model-api-webhook": webhook_server.OF_COMMANDS,
}
EXTRAS: Final = ("webhook", "gate", "package", "tables")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An installed version: its files, and the interpreter of its environment."""

    name: str
    source: Path
    python: Path

    def command(self, name: str) -> Path:
        return self.python.with_name(name)

    def imported(self, name: str) -> Sequence[str]:
        """Return the modules of the process that a command is a fork of; those of the former version are not forks."""
        return OF_COMMANDS[name] if self.source == ROOT else ()

    def run(
        self, name: str, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of this version to its end."""
        variables = environment() | dict(env or {})
        return completed([self.command(name), *arguments], env=variables, cwd=cwd, imported=self.imported(name))

    def script(self, script: Path, given: str = "") -> str:
        """Return the output of a script that imports this version. Raises RuntimeError if it fails."""
        command: list[str | Path] = [self.python, "-P", script]
        done = subprocess.run(
            command, env=environment(), cwd=script.parent, input=given, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{script.name} with {self.name}: {done.stderr[-2000:]}")
        return done.stdout


def environment() -> dict[str, str]:
    """Return this process's environment without what leads to other packages or servers."""
    foreign = ("MLFLOW_", "MODEL_API_", "GITHUB_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def this_version() -> Version:
    return Version(name="this version", source=ROOT, python=Path(sys.executable))


def former_version() -> Version:
    """Return the former version, made if it is missing: half a minute, with uv's cache.

    Raises CalledProcessError if the installation fails.
    """
    recipe = hashlib.sha256(ARCHIVE.read_bytes() + repr(EXTRAS).encode()).hexdigest()[:12]
    directory = CACHE / "former" / recipe
    source, python = directory / "source", directory / "environment" / "bin" / "python"
    with locked(directory):
        if not (directory / ".complete").exists():
            shutil.rmtree(directory, ignore_errors=True)
            with tarfile.open(ARCHIVE) as archive:
                archive.extractall(source, filter="data")
            _install(source, python)
            (directory / ".complete").touch()
    return Version(name="the former version", source=source, python=python)


def _install(source: Path, python: Path) -> None:
    """Install what the former lock names, the libraries of the tests' models, and the former packages."""
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    quiet: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", str(python)]
    extras = [f"--extra={extra}" for extra in EXTRAS]
    listed = source / "locked.txt"
    subprocess.run([uv, "venv", "--quiet", "--python", ">=3.11", python.parents[1]], check=True)
    export: list[str | Path] = [
        uv,
        "export",
        "--quiet",
        "--frozen",
        "--project",
        source,
        *extras,
        "--no-default-groups",
    ]
    subprocess.run([*export, "--no-emit-project", "--output-file", listed], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*quiet, "--compile-bytecode", "--require-hashes", "--requirements", listed], check=True)
    subprocess.run([*quiet, "--requirements", source / "requirements-sklearn.txt"], check=True)
    subprocess.run([*quiet, "--no-deps", source], check=True)
