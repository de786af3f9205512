"""A Deployment from 0 to 50 pods on the test cluster, by each way of delivery: time until all are ready, and what the
gate had to do for it.

`python -m benchmarks.cluster_replicas [--pods 1 10 50] [--mib 20] [--ways ...] [--write]`

The container is the pause program, which starts when its model is there: 50 runtimes would measure the processors. With
`--write` the figures go into `benchmarks/replicas.json`, and the page's table and plot are written from them. The
cluster is started if none runs, and is gone afterwards then.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.delivery_ways import FIGURES, write_page
from benchmarks.machine import describe
from model_contract.model_ref import ModelRef
from model_contract.names import INJECT, PROJECT_TOKENS_SECRETS, TOKEN_KEY, pull_secret
from model_contract.token_keys import TokenKey
from model_contract.tokens import Purpose, new_token
from testbed.cluster.cluster import RUN
from testbed.cluster.components import PAUSE
from testbed.cluster.image_volumes import packaged_model
from testbed.cluster.kube import Kube, cluster, unavailable_reason
from testbed.cluster.workloads import (
    COMPUTE,
    LOCKED,
    MLFLOW,
    PLATFORM,
    PROJECT_ID,
    USER,
    literals,
    model_deployment,
    plain_pod,
    settings,
)

Json = dict[str, Any]

MANIFESTS: Final = Path(__file__).parents[1] / "manifests"
QUICKSTART: Final = MANIFESTS / "overlays" / "quickstart"
GATE: Final = "model-api-gate"
GATE_USER: Final = 65532
NAME: Final = "replicas"
OWNER: Final = "jane.doe"
REQUESTS: Final = re.compile(r"^model_api_gate_requests_total\{.*?\} (\S+)$", re.MULTILINE)
LONGEST: Final = 600  # seconds until all pods are ready
REGISTER: Final = """
import json, os, pathlib, sys, tempfile, mlflow
client = mlflow.MlflowClient()
tag = {"mlflow.domino.project_id": sys.argv[1]}
experiment = client.create_experiment(f"replicas-{os.urandom(4).hex()}", tags=tag)
run_id = client.create_run(experiment, tags=tag).info.run_id
with tempfile.TemporaryDirectory() as directory:
    (pathlib.Path(directory) / "MLmodel").write_text("flavors: {}")
    (pathlib.Path(directory) / "weights.bin").write_bytes(os.urandom(int(sys.argv[2]) << 20))
    client.log_artifacts(run_id, directory, "model")
name = f"replicas-{run_id[:8]}"
client.create_registered_model(name, tags=tag)
client.create_model_version(name, f"runs:/{run_id}/model", run_id)
client.set_registered_model_alias(name, "staging", "1")
print(json.dumps({"name": name, "run_id": run_id}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Settings of the webhook for one way, with `{image}` for the reference of the model's image, and the change of the
    Deployment that selects it.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[Json], None] = lambda _: None


def _opt_out(deployment: Json) -> None:
    deployment["spec"]["template"]["metadata"]["labels"][INJECT] = "false"


# A further way is an entry: the settings that choose it, and what its pods need.
WAYS: Final[Mapping[str, Way]] = {
    "none": Way(change=_opt_out),
    "fetch": Way(settings={"TRACKING_URI": f"http://{GATE}.{MLFLOW}.svc:5000", "TOKEN": "pull"}),
    "volume": Way(settings={"DELIVERY": "volume", "CLAIM": "mlflow-models", "TOKEN": "none"}),
    "image": Way(settings={"DELIVERY": "image", "MODEL_IMAGE": "{image}", "TOKEN": "none"}),
}
COMPARED: Final = {"none", "fetch", "volume"}  # the constants of the formula are differences between these


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One Deployment: seconds until all of its pods are ready, and requests and bytes of the gate meanwhile."""

    way: str
    pods: int
    seconds: float
    requests: int
    gate_bytes: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, nargs="*", default=[1, 10, 50])
    parser.add_argument("--mib", type=int, default=20, help="size of the model")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--write", action="store_true", help="write the figures, the page's table and the plot")
    options = parser.parse_args()
    if options.write and not COMPARED.issubset(options.ways):
        parser.error(f"--write needs the ways {', '.join(sorted(COMPARED))}")
    print(describe(), flush=True)
    if reason := unavailable_reason():
        print(f"left out: {reason}")
        return 0
    with ExitStack() as stack:
        kube = stack.enter_context(cluster())
        if not kube.ours:
            print("left out: only on the cluster of testbed.cluster is there a folder of the node to make a volume of")
            return 0
        ref = stack.enter_context(installed(kube, options.mib))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        image = stack.enter_context(packaged_model(kube, ref, directory)).template
        runs = [run for way in options.ways for run in measured(kube, way, ref, image, options.pods)]
    if options.write:
        found = {"machine": describe(), "model_mib": options.mib, "runs": [asdict(run) for run in runs]}
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")
        write_page()
    return 0


def measured(kube: Kube, way: str, ref: ModelRef, image: str, counts: Sequence[int]) -> Iterator[Run]:
    chosen = WAYS[way]
    values = {name: value.replace("{image}", image) for name, value in chosen.settings.items()}
    with settings(kube, values or {"TOKEN": "none"}):
        deployment = model_deployment(NAME, literals(ref), replicas=0, **_container())
        chosen.change(deployment)
        kube.apply(deployment)
        for pods in counts:
            run = one(kube, way, pods)
            print(
                f"{way:8} {pods:4} pods: all ready after {run.seconds:6.1f} s;"
                f" gate: {run.requests:6} requests, {run.gate_bytes / 1e6:8.1f} MB",
                flush=True,
            )
            yield run
        kube("-n", COMPUTE, "delete", "deployment", NAME, "--wait=true")


def _container() -> Json:
    return {"image": PAUSE, "readinessProbe": None, "ports": [], "securityContext": LOCKED}


def one(kube: Kube, way: str, pods: int) -> Run:
    before, began = gate_work(kube), time.perf_counter()
    kube("-n", COMPUTE, "scale", f"deployment/{NAME}", f"--replicas={pods}")
    ready = f"--for=jsonpath={{.status.readyReplicas}}={pods}"
    kube("-n", COMPUTE, "wait", ready, f"deployment/{NAME}", "--timeout=280s")
    seconds = time.perf_counter() - began
    after = gate_work(kube)
    kube("-n", COMPUTE, "scale", f"deployment/{NAME}", "--replicas=0")
    kube.until(lambda: not kube.items("-n", COMPUTE, "pod", "-l", f"app={NAME}"), seconds=LONGEST, what="pods end")
    return Run(
        way=way, pods=pods, seconds=round(seconds, 2), requests=after[0] - before[0], gate_bytes=after[1] - before[1]
    )


def gate_work(kube: Kube) -> tuple[int, int]:
    """Return the gate's requests so far, and the bytes that its pod has sent, to clients above all."""
    metrics = kube("get", "--raw", f"/api/v1/namespaces/{MLFLOW}/services/{GATE}:metrics/proxy/metrics")
    table = kube("-n", MLFLOW, "exec", f"deployment/{GATE}", "--", "cat", "/proc/net/dev")
    [sent] = [int(line.split(":")[1].split()[8]) for line in table.splitlines() if "eth0:" in line]
    return int(sum(map(float, REQUESTS.findall(metrics)))), sent


@contextmanager
def installed(kube: Kube, mib: int) -> Iterator[ModelRef]:
    """Yield a model of that size, in MLflow behind the gate and on the shared claim; what was made is deleted."""
    folders = {name: RUN / "volumes" / name for name in ("gate-audit", "models")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        os.chown(folder, GATE_USER, GATE_USER)
    kube("apply", "-k", QUICKSTART)
    kube.rolled_out(PLATFORM, "model-api-webhook")
    kube.rolled_out(MLFLOW, "mlflow")
    made = json.loads(ran(kube, registering(mib)).splitlines()[-1])  # before only the gate reaches MLflow
    tokens = {str(TokenKey(project_id=PROJECT_ID, purpose=purpose)): _token(purpose) for purpose in Purpose}
    pull = tokens[str(TokenKey(project_id=PROJECT_ID, purpose=Purpose.PULL))]
    kube.apply(
        _secret(MLFLOW, PROJECT_TOKENS_SECRETS[0], tokens),
        _secret(COMPUTE, pull_secret(PROJECT_ID), {TOKEN_KEY: pull}),
        _volume("gate-audit", folders["gate-audit"], MLFLOW, "model-api-gate-audit"),
        _volume("models", folders["models"], COMPUTE, "mlflow-models"),
        _claim(),
    )
    kube("apply", "-k", MANIFESTS / "overlays" / "gate")
    kube.rolled_out(MLFLOW, GATE)
    try:
        ref = ModelRef(name=made["name"], version="1", owner=OWNER, run_id=made["run_id"])
        print(ran(kube, syncing()).splitlines()[-1], flush=True)
        yield ref
    finally:
        kube("-n", COMPUTE, "delete", "deployment", NAME, "--ignore-not-found", "--wait=true")
        kube("-n", COMPUTE, "delete", "persistentvolumeclaim", "mlflow-models", "--wait=true")
        kube("delete", "-k", MANIFESTS / "overlays" / "gate", "--wait=true")
        kube("delete", "persistentvolume", "gate-audit", "models")
        kube("-n", MLFLOW, "delete", "secret", PROJECT_TOKENS_SECRETS[0])
        kube("-n", COMPUTE, "delete", "secret", pull_secret(PROJECT_ID))


def ran(kube: Kube, pod: Json) -> str:
    """Run a pod to its end, and return its log."""
    name = pod["metadata"]["name"]
    kube("-n", COMPUTE, "delete", "pod", name, "--ignore-not-found")
    kube.apply(pod)
    kube("-n", COMPUTE, "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=180s")
    log = kube("-n", COMPUTE, "logs", name)
    kube("-n", COMPUTE, "delete", "pod", name)
    return log


def registering(mib: int) -> Json:
    """Return a pod that registers the model at MLflow itself, as the quickstart's Job does."""
    pod = plain_pod("register-replicas", COMPUTE)
    pod["spec"]["containers"][0] |= {
        "command": ["python", "-c", REGISTER, PROJECT_ID, str(mib)],
        "env": [
            {"name": "MLFLOW_TRACKING_URI", "value": f"http://mlflow.{MLFLOW}.svc:5000"},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108  a volume of its own
        ],
        "workingDir": "/tmp",  # noqa: S108
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    pod["spec"] |= {"restartPolicy": "Never", "volumes": [{"name": "tmp", "emptyDir": {}}]}
    return pod


def syncing() -> Json:
    """Return a pod that fills the shared claim."""
    secret = {"secretName": pull_secret(PROJECT_ID), "items": [{"key": TOKEN_KEY, "path": PROJECT_ID}]}
    container = {
        "name": "sync",
        "image": "model-api-delivery:0.1.0",
        "args": ["sync", "--store=/store", "--tokens=/tokens", f"--owner={OWNER}"],
        "env": [{"name": "MLFLOW_TRACKING_URI", "value": f"http://{GATE}.{MLFLOW}.svc:5000"}],
        "securityContext": LOCKED,
        "volumeMounts": [{"name": "store", "mountPath": "/store"}, {"name": "tokens", "mountPath": "/tokens"}],
    }
    volumes = [
        {"name": "store", "persistentVolumeClaim": {"claimName": "mlflow-models"}},
        {"name": "tokens", "secret": secret},
    ]
    spec = {"restartPolicy": "Never", "securityContext": USER, "containers": [container], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sync", "namespace": COMPUTE}, "spec": spec}


def _token(purpose: Purpose) -> str:
    return new_token(PROJECT_ID, purpose).value.reveal()


def _secret(namespace: str, name: str, data: Mapping[str, str]) -> Json:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(data)}


def _volume(name: str, folder: Path, namespace: str, claim: str) -> Json:
    spec = {
        "capacity": {"storage": "20Gi"},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": namespace, "name": claim},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def _claim() -> Json:
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "10Gi"}}}
    metadata = {"name": "mlflow-models", "namespace": COMPUTE}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


if __name__ == "__main__":
    sys.exit(main())
