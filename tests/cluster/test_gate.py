"""The gate on a cluster, in front of the quickstart's MLflow: installed, used, bypassed and uninstalled as the pages
docs/how-to/install-gate.md and docs/how-to/operate-gate.md say.
"""

import base64
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import (
    GATE_AUDIENCE,
    INIT_CONTAINER,
    PRESIGNED_HOSTS,
    PROJECT_ID_LABEL,
    PROJECT_TOKENS_SECRETS,
    TAG_PROJECT_ID,
    TOKEN_VOLUME,
    TRACKING_URI,
    pull_secret,
)
from model_contract.token_keys import TokenKey
from model_contract.tokens import Purpose
from testbed.cluster.cluster import RUN
from testbed.cluster.kube import Kube, decoded
from testbed.cluster.workloads import (
    COMPUTE,
    IDLE,
    MLFLOW,
    PLATFORM,
    PROJECT_ID,
    fetch_ended,
    literals,
    model_pod,
    settings,
)
from testbed.gate import API, PASSWORD, Answer, ask
from testbed.lifecycle import MODULES
from testbed.processes import completed
from testbed.processes import installed as command_of
from tracking_gate.authentication.people import hashed

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "manifests" / "overlays" / "gate"
COMPONENTS = ROOT / "manifests" / "components"
PAGE = ROOT / "docs" / "how-to" / "install-gate.md"
GATE, UID = "model-api-gate", 65532
ADDRESS = f"http://{GATE}.{MLFLOW}.svc:5000"
MOVE = f"{API}/model-versions/transition-stage"
PULL = TokenKey(project_id=PROJECT_ID, purpose=Purpose.PULL)
# What the admin's pages say: an overlay of one's own, with people of a file beside those of Domino, and tokens of pods.
OWN = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - {overlay}
components:
  - {components}/gate-service-account-tokens
  - {components}/gate-pod-labels
configMapGenerator:
  - name: model-api-gate-issuers
    namespace: mlflow-efs
    files: [issuers.json]
    options: {{disableNameSuffixHash: true}}
  - name: model-api-gate-settings
    namespace: mlflow-efs
    behavior: merge
    literals:
      - MODEL_API_GATE_SERVE_PEOPLE_FILE=/run/model-api-gate/people/people.json
secretGenerator:
  - name: model-api-gate-people
    namespace: mlflow-efs
    files: [people.json]
    options: {{disableNameSuffixHash: true}}
"""
# The pods of these tests have the account of their namespace, so that the label chooses their project.
CLUSTER = {
    "issuer": "https://kubernetes.default.svc",
    "audience": GATE_AUDIENCE,
    "api": "https://kubernetes.default.svc",
    "ca_file": "/run/model-api-gate/api/ca.crt",
    "token_file": "/run/model-api-gate/api/token",
    "callers": [{"service_account": f"{COMPUTE}/default", "project_label": PROJECT_ID_LABEL}],
}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """The cluster with a gate, its overlay, and the folder of this node that is its volume."""

    kube: Kube
    overlay: Path
    audit: Path

    def token(self, *arguments: str | Path) -> str:
        """Run `model-api token`, which must succeed."""
        command = [command_of("model-api"), "token", *arguments]
        done = completed(command, env=self.kube.environment, imported=MODULES)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def value(self) -> str:
        """Return the pull token in the Secret of all projects."""
        return decoded(self.kube.get("-n", MLFLOW, "secret", PROJECT_TOKENS_SECRETS[0])["data"])[str(PULL)]

    def pods(self) -> Sequence[Json]:
        return self.kube.items("-n", MLFLOW, "pod", "-l", f"app.kubernetes.io/name={GATE}")

    def hurry(self) -> None:
        """Change a pod, so that the kubelet looks at its Secrets at once and not after a minute."""
        self.kube(
            "-n",
            MLFLOW,
            "annotate",
            "pod",
            "-l",
            f"app.kubernetes.io/name={GATE}",
            "--overwrite",
            f"looked={os.urandom(4).hex()}",
        )

    def lines(self) -> list[Json]:
        return [json.loads(line) for line in (self.audit / "audit.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def gated(installed: Kube, wine: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    if not installed.ours:
        pytest.skip("only on the cluster of testbed.cluster is there a folder of the node to make a volume of")
    folder, audit = tmp_path_factory.mktemp("gate"), audit_folder("gate-audit")
    found = Gated(kube=installed, overlay=folder, audit=audit)
    stamped(installed, wine)
    found.token("create", "-i", PROJECT_ID, "-n", "wine", "-o", "jane.doe", "--out", folder / "promote")
    installed.apply(volume(audit))
    overlay = own_overlay(folder)
    installed("apply", "-k", overlay)
    installed.rolled_out(MLFLOW, GATE)
    yield found
    installed("delete", "-k", overlay, "--wait=true", "--ignore-not-found")
    installed("delete", "persistentvolume", "gate-audit")
    installed("-n", MLFLOW, "delete", "secret", PROJECT_TOKENS_SECRETS[0])
    installed("-n", COMPUTE, "delete", "secret", pull_secret(PROJECT_ID), "--ignore-not-found")


def audit_folder(name: str) -> Path:
    """Return an empty folder of the node for audit logs."""
    folder = RUN / "volumes" / name
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run: a volume outlives its claim
    folder.mkdir(parents=True)
    os.chown(folder, UID, UID)
    return folder


def stamped(kube: Kube, wine: ModelRef) -> None:
    """Set the project of the model and of its files, since the quickstart registers past any gate."""
    with kube.forwarded(MLFLOW, "mlflow", 5000) as uri:
        tag = {"key": TAG_PROJECT_ID, "value": PROJECT_ID}
        assert ask(uri, "POST", f"{API}/registered-models/set-tag", {"name": wine.name, **tag}).status == 200
        run = ask(uri, "GET", f"{API}/runs/get?run_id={wine.run_id}").json["run"]
        experiment = {"experiment_id": run["info"]["experiment_id"], **tag}
        assert ask(uri, "POST", f"{API}/experiments/set-experiment-tag", experiment).status == 200


def own_overlay(folder: Path) -> Path:
    write_people(folder, hashed(PASSWORD))
    (folder / "issuers.json").write_text(json.dumps({"issuers": [CLUSTER]}))
    overlay, components = (os.path.relpath(path, folder.resolve()) for path in (OVERLAY, COMPONENTS))
    (folder / "kustomization.yaml").write_text(OWN.format(overlay=overlay, components=components))
    return folder


def write_people(folder: Path, password: str) -> Path:
    """Write the file of people, whose password is given as its hash."""
    people = {
        name: {"password": password, "projects": [PROJECT_ID], "admin": name == "root"} for name in ("jane", "root")
    }
    file = folder / "people.json"
    file.write_text(json.dumps(people))
    return file


def volume(folder: Path) -> Json:
    spec = {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)}}
    claim = {"namespace": MLFLOW, "name": "model-api-gate-audit"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "gate-audit"},
        "spec": spec | {"claimRef": claim},
    }


def address_of(kube: Kube) -> str:
    """Return the address of the gate's Service, which this host reaches too."""
    return f"http://{kube.get('-n', MLFLOW, 'service', GATE)['spec']['clusterIP']}:5000"


def basic(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()}


def moved(uri: str, ref: ModelRef, stage: str, who: Mapping[str, str], **fields: object) -> Answer:
    return ask(uri, "POST", MOVE, {"name": ref.name, "version": ref.version, "stage": stage, **fields}, who)


def ready(kube: Kube, name: str) -> Json:
    kube("-n", COMPUTE, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=240s")
    return kube.get("-n", COMPUTE, "pod", name)


def test_doctor_measures_a_fetch_through_the_gate_with_the_pull_token(
    gated: Gated, wine: ModelRef, tmp_path: Path
) -> None:
    """Run the command on a machine beside the cluster."""
    token = tmp_path / "token"
    token.write_text(gated.value())
    options = [f"--name={wine.name}", f"--version={wine.version}", f"--token-file={token}", "--format=json"]
    command = [command_of("model-api"), "doctor", "delivery", f"--tracking-uri={address_of(gated.kube)}", *options]
    done = completed(command, env=gated.kube.environment, imported=MODULES)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["seconds"]["gate"] > 0
    assert report["ways"]["proxy"]["bytes"] == report["model_bytes"] > 0
    assert report["ways"]["presigned"] == {"fault": f"{PRESIGNED_HOSTS} is not set"}
    assert report["sentence"].startswith("The model is too small to measure a rate")


def test_model_pod_fetches_through_the_gate_also_after_a_rotation(
    gated: Gated, quiet: Kube, wine: ModelRef, tmp_path: Path
) -> None:
    """Use only the pull token that `model-api token sync` has copied."""
    first = gated.value()
    gated.token("sync")
    with settings(quiet, {"TRACKING_URI": ADDRESS, "TOKEN": "pull"}):
        quiet.apply(model_pod("gated", literals(wine), **IDLE))
        pod = ready(quiet, "gated")
        gated.token("rotate", "-i", PROJECT_ID, "--grace", "1h", "--out", tmp_path / "promote")
        gated.token("sync")
        gated.hurry()
        quiet.apply(model_pod("rotated", literals(wine), **IDLE))
        ready(quiet, "rotated")

    init = next(container for container in pod["spec"]["initContainers"] if container["name"] == INIT_CONTAINER)
    assert {"name": TRACKING_URI, "value": ADDRESS} in init["env"]
    assert pull_secret(PROJECT_ID) in {volume.get("secret", {}).get("secretName") for volume in pod["spec"]["volumes"]}
    assert gated.value() != first
    read = f"{API}/registered-models/get?name={wine.name}"
    with quiet.forwarded(MLFLOW, GATE, 5000) as uri:
        for token in (first, gated.value()):
            assert ask(uri, "GET", read, headers={"Authorization": f"Bearer {token}"}).status == 200
        gated.token("revoke", "-i", PROJECT_ID, "--scope", "pull")
        gated.hurry()
        former = {"Authorization": f"Bearer {first}"}
        quiet.until(
            lambda: ask(uri, "GET", read, headers=former).status == 401,
            what="a token that was taken away is not accepted",
        )


def test_model_pod_fetches_by_the_token_of_its_service_account(gated: Gated, quiet: Kube, wine: ModelRef) -> None:
    """Use no Secret; the kubelet gives the token, and the gate finds the project by the pod's label."""
    foreign = model_pod("of-another-project", literals(wine), **IDLE)
    foreign["metadata"]["labels"][PROJECT_ID_LABEL] = "a" * 24
    with settings(quiet, {"TRACKING_URI": ADDRESS, "TOKEN": "service-account"}):
        quiet.apply(model_pod("identified", literals(wine), **IDLE), foreign)
        pod = ready(quiet, "identified")
        ended = fetch_ended(quiet, "of-another-project")

    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert "projected" in volumes[TOKEN_VOLUME]
    assert not any("secret" in volume for volume in volumes.values())
    assert ended["exitCode"] == 4
    assert f"not an object of project {'a' * 24}" in ended["message"]


def test_person_and_admin_use_the_gate_and_the_log_outlives_its_pod(gated: Gated, wine: ModelRef) -> None:
    with gated.kube.forwarded(MLFLOW, GATE, 5000) as uri:
        assert moved(uri, wine, "Staging", basic("jane")).status == 200
        assert moved(uri, wine, "Production", basic("jane")).status == 403
        assert moved(uri, wine, "Production", basic("root")).status == 200
        assert moved(uri, wine, "Archived", basic("root")).status == 200
    before = gated.lines()
    gated.kube("-n", MLFLOW, "delete", "pod", "-l", f"app.kubernetes.io/name={GATE}", "--wait=true")
    gated.kube.rolled_out(MLFLOW, GATE)
    with gated.kube.forwarded(MLFLOW, GATE, 5000) as uri:
        assert moved(uri, wine, "None", basic("jane")).status == 200

    after = gated.lines()
    assert after[: len(before)] == before
    assert [line["decision"] for line in before if line.get("to_stage") == "Production"] == ["deny", "begin", "allow"]
    assert after[-1]["to_stage"] == "None"


def test_gate_passes_what_the_cluster_and_prometheus_look_at(gated: Gated) -> None:
    [pod] = gated.pods()
    metrics = gated.kube("get", "--raw", f"/api/v1/namespaces/{MLFLOW}/services/{GATE}:metrics/proxy/metrics")
    conditions = {condition["type"]: condition["status"] for condition in pod["status"]["conditions"]}

    assert conditions["Ready"] == "True"
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert 'model_api_gate_tokens{purpose="promote"}' in metrics
    policy = gated.kube.get("-n", MLFLOW, "networkpolicy", "mlflow-from-gate-only")["spec"]
    [mlflow] = gated.kube.items("-n", MLFLOW, "pod", "-l", "app.kubernetes.io/name=mlflow")
    assert policy["podSelector"]["matchLabels"].items() <= mlflow["metadata"]["labels"].items()
    assert policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_versions_move_and_models_start_past_a_gate_that_is_down(gated: Gated, quiet: Kube, wine: ModelRef) -> None:
    """Follow the admin's page: kubectl to MLflow itself, and pods without a token, until the gate is back."""
    quiet("-n", MLFLOW, "scale", f"deployment/{GATE}", "--replicas=0")
    quiet.until(lambda: not gated.pods(), what="the gate is gone")
    with quiet.forwarded(MLFLOW, "mlflow", 5000) as uri:
        assert moved(uri, wine, "Staging", {}).status == 200
        assert moved(uri, wine, "None", {}).status == 200
    quiet("-n", MLFLOW, "delete", "networkpolicy", "mlflow-from-gate-only")
    quiet.apply(model_pod("past-the-gate", literals(wine), **IDLE))  # the quickstart's webhook has MLflow's own address
    ready(quiet, "past-the-gate")

    quiet("apply", "-k", OVERLAY)
    quiet("-n", MLFLOW, "scale", f"deployment/{GATE}", "--replicas=1")
    quiet.rolled_out(MLFLOW, GATE)
    assert quiet.get("-n", MLFLOW, "networkpolicy", "mlflow-from-gate-only")


def test_uninstalled_gate_leaves_pods_that_fetch_from_mlflow(
    gated: Gated, quiet: Kube, wine: ModelRef, quickstart: Path
) -> None:
    """The lines of the page, after an outage whose override of the address is still on the Deployment."""
    quiet("-n", PLATFORM, "set", "env", "deployment/model-api-webhook", f"MODEL_API_WEBHOOK_TRACKING_URI={ADDRESS}")
    quiet.rolled_out(PLATFORM, "model-api-webhook")
    overlays = {"<the gate's overlay>": str(gated.overlay), "<the webhook's overlay>": str(quickstart)}
    page = PAGE.read_text().partition("## Uninstall")[2].partition("```")[2].partition("```")[0]
    for name, overlay in overlays.items():
        assert name in page
        page = page.replace(name, shlex.quote(overlay))

    for line in page.strip().splitlines():
        kubectl, *arguments = shlex.split(line)
        assert kubectl == "kubectl"
        quiet(*arguments)
    quiet.rolled_out(PLATFORM, "model-api-webhook")
    quiet.apply(model_pod("without-a-gate", literals(wine), **IDLE))
    pod = ready(quiet, "without-a-gate")

    init = next(container for container in pod["spec"]["initContainers"] if container["name"] == INIT_CONTAINER)
    assert {"name": TRACKING_URI, "value": f"http://mlflow.{MLFLOW}.svc:5000"} in init["env"]
    assert quiet.items("-n", MLFLOW, "deployment", "-l", f"app.kubernetes.io/name={GATE}") == []
    policies = quiet.items("-n", MLFLOW, "networkpolicy")
    assert "mlflow-from-gate-only" not in {policy["metadata"]["name"] for policy in policies}
