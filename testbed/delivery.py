"""`model-api-delivery` as a process, run as in a pod: with a store, a termination log and a minimal environment."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from model_contract.layout import MANIFEST, model_directory, run_directory
from model_contract.model_ref import ModelRef
from testbed.processes import PATIENCE, Process

COMMAND: Final = (sys.executable, "-m", "model_delivery")
MODULES: Final = ("model_delivery.cli",)
QUICKLY: Final = ("--tries=3", "--first-wait=0.02", "--longest-wait=0.05")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Results of a run: exit code, both outputs, and the message in the termination log."""

    code: int
    output: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A store in `directory`, to be filled from `uri` by a `command`."""

    directory: Path
    uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = COMMAND

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def termination_log(self) -> Path:
        return self.directory / "termination-log"

    def run_directory(self, ref: ModelRef) -> Path:
        return self.store / run_directory(ref.owner, ref.run_id)

    def model(self, ref: ModelRef) -> Path:
        return self.store / model_directory(ref.owner, ref.run_id)

    def manifest(self, ref: ModelRef) -> Path:
        return self.run_directory(ref) / MANIFEST

    def partial(self) -> list[str]:
        """Return the names of the store's entries that are not models."""
        return sorted(path.name for path in self.store.glob(".*"))

    def fetch(self, ref: ModelRef | None, *options: str, before: Sequence[str] = ()) -> Ended:
        """Run a fetch to its end. `before` is a command that runs it, in a process of its own."""
        return self.wait(self.start(ref, *options, before=before)) if before else self._run(self._fetch(ref, options))

    def verify(self, ref: ModelRef, *options: str) -> Ended:
        return self._run(["verify", *self._arguments(ref), *options])

    def verify_place(self, ref: ModelRef) -> Ended:
        """Verify the files at a model's path, of any name and version."""
        return self._run(["verify", *self._arguments(None), f"--run-id={ref.run_id}", f"--owner={ref.owner}"])

    def fetch_storage(self, uri: str, *options: str) -> Ended:
        """Run the fetch of a storage URI into the directory `store`, as KServe calls its storage containers."""
        return self._run(self._storage(uri, options))

    def fetch_storages(self, *arguments: str) -> Ended:
        """Run the fetch of several storage URIs, each with its directory behind it."""
        return self._run(["storage", *arguments, f"--termination-log={self.termination_log}", *QUICKLY])

    def start_storage(self, uri: str, *options: str) -> subprocess.Popen[str]:
        return self._start([*self.command, *self._storage(uri, options)])

    def start(self, ref: ModelRef | None, *options: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        return self._start([*before, *self.command, *self._fetch(ref, options)])

    def wait(self, process: subprocess.Popen[str]) -> Ended:
        output, _ = process.communicate(timeout=PATIENCE)
        return Ended(code=process.returncode, output=output, reason=self.termination_log.read_text())

    def _arguments(self, ref: ModelRef | None) -> list[str]:
        named = (
            [f"--run-id={ref.run_id}", f"--owner={ref.owner}", f"--model={ref.name}", f"--version={ref.version}"]
            if ref
            else []
        )
        return [f"--store={self.store}", f"--termination-log={self.termination_log}", *named]

    def _fetch(self, ref: ModelRef | None, options: Sequence[str]) -> list[str]:
        return ["fetch", *self._arguments(ref), *QUICKLY, *options]

    def _storage(self, uri: str, options: Sequence[str]) -> list[str]:
        return ["storage", uri, str(self.store), f"--termination-log={self.termination_log}", *QUICKLY, *options]

    def _run(self, arguments: Sequence[str]) -> Ended:
        """Run the command to its end; this version's in a fork of a process that has imported its modules."""
        with tempfile.TemporaryDirectory() as directory:
            imported = MODULES if self.command is COMMAND else ()
            process = Process.start(
                [*self.command, *arguments], log=Path(directory) / "log", env=self._prepared(), imported=imported
            )
            code = process.popen.wait(PATIENCE)
            return Ended(code=code, output=process.log.read_text(), reason=self.termination_log.read_text())

    def _start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=self._prepared(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def _prepared(self) -> dict[str, str]:
        """Make the store and an empty termination log, and return the environment."""
        self.store.mkdir(exist_ok=True)
        self.termination_log.write_text("")
        kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE")}
        return kept | {"MLFLOW_TRACKING_URI": self.uri} | dict(self.environment)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.005)
