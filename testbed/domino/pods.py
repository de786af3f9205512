"""Deployment: a version becomes a pod. The webhook admits the pod, and its containers run as processes here."""

import os
import shutil
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_contract.names import (
    ARTIFACTS_PATH,
    COMPUTE_NAMESPACE,
    MODEL_API_WORKLOAD,
    MODEL_VOLUME,
    PROJECT_ID_LABEL,
    TOKEN_KEY,
    WORKLOAD_TYPE_LABEL,
    pull_secret,
)
from model_contract.tokens import Purpose
from testbed.api_server import apply_answer
from testbed.domino.faults import Faults
from testbed.domino.records import FAILED, RUNNING, STARTING, STOPPED, ModelApi, Records, UnknownError, Version
from testbed.gate import Gate
from testbed.local_pod import LocalPod, PodError
from testbed.processes import ProcessError, free_port
from testbed.runtime_server import WITH_MLFLOW
from testbed.webhook_server import WebhookServer

Json = dict[str, Any]
UID: Final = 12574
CONTAINER: Final = "model"
LEFT_OUT: Final = shutil.ignore_patterns(".*", "__pycache__")


class DeniedError(RuntimeError):
    """The webhook denied the pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPod:
    """A pod that answers at `port`; closing `processes` ends it."""

    pod: LocalPod
    port: int
    processes: ExitStack


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDependencies:
    """Needs of a pod: the gate that it fetches through, the webhook that admits it, the files of its project."""

    gate: Gate
    webhook: WebhookServer
    files: Path


class Pods:
    """The pods of all versions, each in a folder of its own."""

    def __init__(self, directory: Path, records: Records, faults: Faults, dependencies: PodDependencies) -> None:
        self._directory = directory
        self._records = records
        self._faults = faults
        self._dependencies = dependencies
        self._running: dict[str, RunningPod] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def running(self) -> dict[str, RunningPod]:
        """Return the running pods by the id of their version."""
        with self._lock:
            return dict(self._running)

    def publish(self, model_id: str, version: Version) -> None:
        """Copy the project's files as they are now, and deploy the version in a thread."""
        shutil.copytree(self._dependencies.files, self._home(version) / "files", ignore=LEFT_OUT)
        self._begin(model_id, version.id, build=True)

    def restart(self, model_id: str, version_id: str) -> None:
        """Start a new pod for a version that is built already, with the current variables."""
        self._begin(model_id, version_id, build=False)

    def stop(self, version_id: str) -> None:
        with self._lock:
            found = self._running.pop(version_id, None)
        if found:
            found.processes.close()

    def close(self) -> None:
        """End every pod. A build that still runs starts none."""
        self._ending.set()
        self._faults.released.set()
        for thread in self._threads:
            thread.join()
        for version_id in self.running():
            self.stop(version_id)

    def _begin(self, model_id: str, version_id: str, *, build: bool) -> None:
        thread = threading.Thread(target=self._deploy, args=(model_id, version_id, build), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _deploy(self, model_id: str, version_id: str, build: bool) -> None:
        try:
            if build and not self._build(model_id, version_id):
                return
            self._records.change_version(model_id, version_id, status=STARTING, say="Starting the pod")
            model = self._records.get(model_id)
            self._start(model, model.version(version_id))
        except (DeniedError, PodError, ProcessError) as error:
            self._records.change_version(model_id, version_id, status=FAILED, say=str(error))
        except UnknownError:
            pass  # archived meanwhile

    def _build(self, model_id: str, version_id: str) -> bool:
        """Return False if there is nothing to start."""
        reason = self._faults.next_failure()
        self._records.change_version(model_id, version_id, say="Building the image")
        self._ending.wait(self._faults.build_seconds)
        self._faults.released.wait()
        if self._ending.is_set():
            return False
        if reason:
            self._records.change_version(model_id, version_id, status=FAILED, say=reason)
        return reason is None

    def _start(self, model: ModelApi, version: Version) -> None:
        local = LocalPod(
            pod=self._admitted(model, version), directory=self._new_directory(version), secrets=self._secrets(model)
        )
        local.create_volumes()
        for name, output in local.run_init_containers(environ=environ()).items():
            self._records.change_version(model.id, version.id, say=f"{name}: {output}")
        port, processes = free_port(), ExitStack()
        try:
            command = self._command(model, version, port)
            process = processes.enter_context(
                local.running_container(CONTAINER, command, environ=environ() | mounts(local), imported=WITH_MLFLOW)
            )
            process.wait_for_http(f"http://127.0.0.1:{port}/", seconds=240)  # a loaded machine is slow
        except BaseException:
            processes.close()
            raise
        self.take_over(model.id, version.id, RunningPod(pod=local, port=port, processes=processes))

    def take_over(self, model_id: str, version_id: str, pod: RunningPod) -> None:
        """Let the new pod answer and stop the older versions; if a newer version runs already, stop the new pod."""
        with self._lock:
            before = self._running.pop(version_id, None)
            self._running[version_id] = pod
            versions = self._records.get(model_id).versions
            *older, newest = [one.id for one in versions if one.status == RUNNING or one.id == version_id]
            if newest == version_id:
                self._records.change_version(model_id, version_id, status=RUNNING, say="Running")
            for stopped in older:
                self._records.change_version(model_id, stopped, status=STOPPED)
        if before:
            before.processes.close()
        for stopped in older:
            self.stop(stopped)

    def _admitted(self, model: ModelApi, version: Version) -> Json:
        pod = pod_of(model, version)
        answer = self._dependencies.webhook.review(pod)
        if not answer["response"]["allowed"]:
            raise DeniedError(f"the pod was denied: {answer['response']['status']['message']}")
        return apply_answer(pod, answer)

    def _secrets(self, model: ModelApi) -> dict[str, dict[str, str]]:
        return {
            pull_secret(model.project_id): {TOKEN_KEY: self._dependencies.gate.token(Purpose.PULL, model.project_id)}
        }

    def _command(self, model: ModelApi, version: Version, port: int) -> list[str]:
        program = [
            sys.executable,
            "-m",
            "testbed.domino.harness",
            "--file",
            str(self._home(version) / "files" / version.file),
        ]
        return [
            *program,
            f"--function={version.function}",
            f"--port={port}",
            f"--model-id={model.id}",
            f"--number={version.number}",
        ]

    def _home(self, version: Version) -> Path:
        return self._directory / version.id

    def _new_directory(self, version: Version) -> Path:
        """Return a new directory for a pod, so that no pod finds the volumes of another."""
        home = self._home(version)
        directory = home / f"pod-{len(list(home.glob('pod-*'))) + 1}"
        directory.mkdir(parents=True)
        return directory


def pod_of(model: ModelApi, version: Version) -> Json:
    """Return the pod as Domino creates it; the variables are those of the model API."""
    labels = {WORKLOAD_TYPE_LABEL: MODEL_API_WORKLOAD, PROJECT_ID_LABEL: model.project_id}
    container = {
        "name": CONTAINER,
        "image": f"dominodatalab/model:{model.id}-v{version.number}",
        "ports": [{"name": "http", "containerPort": 8888}],
        "env": [{"name": name, "value": value} for name, value in model.variables.items()],
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"model-{model.id}-v{version.number}", "namespace": COMPUTE_NAMESPACE, "labels": labels},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "fsGroup": UID},
            "containers": [container],
        },
    }


def mounts(local: LocalPod) -> dict[str, str]:
    """Return the directory of the model's mount as a variable; nothing if the webhook has added no mount."""
    for mount in local.container(CONTAINER).get("volumeMounts") or []:
        if mount["name"] == MODEL_VOLUME:
            return {ARTIFACTS_PATH: str(local.directory_of(mount))}
    return {}


def environ() -> dict[str, str]:
    """Return the variables that a container has from its image."""
    root = Path(__file__).parents[2]
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "LANG": "C.UTF-8",
    }
