"""kubectl of one cluster, for tests: that of `testbed.cluster`, or the one that `KUBECONFIG` names."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.cluster import binaries, images
from testbed.cluster.cluster import RUN, down, running, up
from testbed.cluster.machine import run, unmet_requirement

LOAD: Final = "MODEL_API_TEST_LOAD"  # a command for another cluster, such as "kind load image-archive"
KUBECONFIG: Final = RUN / "pki" / "admin.kubeconfig"

Json = dict[str, Any]


class KubectlError(RuntimeError):
    """kubectl failed; the message is its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kube:
    """A kubectl. `ours`: processes of the node may be stopped, and its pods reach addresses of this host."""

    program: str
    kubeconfig: Path
    ours: bool

    def __call__(self, *arguments: str | Path, given: str | None = None) -> str:
        """Return kubectl's output. Raises KubectlError."""
        done = self.attempt(*arguments, given=given)
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def attempt(self, *arguments: str | Path, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        command = [self.program, f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=300)

    def apply(self, *objects: Json, options: tuple[str, ...] = ()) -> str:
        return self("apply", *options, "-f", "-", given=yaml.safe_dump_all(objects))

    def get(self, *arguments: str) -> Json:
        found: Json = json.loads(self("get", *arguments, "-o", "json"))
        return found

    def items(self, *arguments: str) -> list[Json]:
        found: list[Json] = self.get(*arguments)["items"]
        return found

    def rolled_out(self, namespace: str, deployment: str, seconds: int = 240) -> None:
        self("-n", namespace, "rollout", "status", f"deployment/{deployment}", f"--timeout={seconds}s")

    def post(self, path: str, body: Json) -> Json:
        """Send `body` to a path of the API server."""
        answer: Json = json.loads(self("create", "--raw", path, "-f", "-", given=json.dumps(body)))
        return answer

    def until(self, condition: Callable[[], Any], *, seconds: float = 240, what: str = "", pause: float = 0.5) -> Any:
        """Return the first true result of `condition`. Raises TimeoutError with the last result.

        The pause is long, since each kubectl takes a tenth of a second of processor.
        """
        deadline = time.monotonic() + seconds
        while not (answer := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s: {what or condition}; last: {answer!r}")
            time.sleep(pause)
        return answer

    @contextmanager
    def forwarded(self, namespace: str, service: str, port: int) -> Iterator[str]:
        """Yield a local address of a Service's port, as `kubectl port-forward` does. Raises KubectlError.

        It leads to the pod that the Service has at this moment.
        """
        command = [
            self.program,
            f"--kubeconfig={self.kubeconfig}",
            "-n",
            namespace,
            "port-forward",
            f"service/{service}",
            f":{port}",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                said = process.stdout.readline() if process.stdout else ""
                if not (found := re.search(r"127\.0\.0\.1:(\d+)", said)):
                    process.kill()
                    raise KubectlError(process.stderr.read() if process.stderr else said)
                yield f"http://localhost:{found[1]}"  # MLflow serves that host by default, and no other of this machine
            finally:
                process.terminate()

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment of a command that reads the kubeconfig."""
        return os.environ | {"KUBECONFIG": str(self.kubeconfig)}


def decoded(data: Mapping[str, str]) -> dict[str, str]:
    """Return the data of a Secret as text."""
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def unavailable_reason() -> str | None:
    """Return the reason why no cluster can be had here, in one line; None if one can."""
    if os.environ.get("KUBECONFIG"):
        return images.unmet_requirement() or (
            None if os.environ.get(LOAD) or _is_ours() else f"{LOAD} must name a command that loads an image archive"
        )
    return unmet_requirement() or images.unmet_requirement()


@contextmanager
def cluster() -> Iterator[Kube]:
    """Yield a cluster with the project's images; one that was not there before is gone afterwards."""
    if os.environ.get("KUBECONFIG") and not _is_ours():
        _load_elsewhere(shlex.split(os.environ[LOAD]))
        yield Kube(program=shutil.which("kubectl") or "kubectl", kubeconfig=Path(os.environ["KUBECONFIG"]), ours=False)
        return
    kept = running()
    try:
        if not kept:
            up()
        images.prepare()
        yield Kube(program=str(binaries.build() / "kubectl"), kubeconfig=KUBECONFIG, ours=True)
    finally:
        if not kept:
            down()


def _is_ours() -> bool:
    return os.environ.get("KUBECONFIG") == str(KUBECONFIG)


def load_image(kube: Kube, tag: str) -> None:
    """Load an image that is not one of the project's into the cluster."""
    if kube.ours:
        images.load([tag])
        return
    archive = images.save(tag)
    run(*shlex.split(os.environ[LOAD]), archive)
    archive.unlink()


def _load_elsewhere(command: list[str]) -> None:
    for image in images.IMAGES:
        images.build(image)
        archive = images.save(image.tag)
        run(*command, archive)
        archive.unlink()
