"""`doctor` and `certs` on a live cluster: their output when all is well, and when it is not."""

import json
import subprocess
from collections.abc import Mapping

import pytest

from model_contract.model_ref import ModelRef
from model_contract.names import ENABLED_LABEL, POLICY
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, IDLE, literals, model_pod
from testbed.processes import completed
from testbed.processes import installed as command
from testbed.webhook_server import OF_COMMANDS


def webhook_command(kube: Kube, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return completed([command("model-api-webhook"), *arguments], env=kube.environment, imported=OF_COMMANDS)


def doctor(kube: Kube) -> tuple[int, dict[str, Mapping[str, str]]]:
    done = webhook_command(kube, "doctor", "-o", "json")
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)}


@pytest.mark.usefixtures("two_pods")
def test_healthy_installation_has_nothing_to_do(installed: Kube) -> None:
    code, findings = doctor(installed)

    assert code == 0
    assert {finding["health"] for finding in findings.values()} == {"good"}
    assert "admission in domino-compute" in findings


@pytest.mark.usefixtures("two_pods")
def test_table_of_a_healthy_installation_has_no_remedy(installed: Kube) -> None:
    done = webhook_command(installed, "doctor")

    assert "✓  certificate" in done.stdout
    assert "→" not in done.stdout


def test_policy_that_is_not_there_is_odd(quiet: Kube) -> None:
    binding = quiet.get("validatingadmissionpolicybinding", POLICY)
    quiet("delete", "validatingadmissionpolicybinding", POLICY)
    try:
        code, findings = doctor(quiet)
    finally:
        quiet.apply({key: binding[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": POLICY}})

    assert (code, findings["policy"]["health"]) == (0, "odd")


def test_namespace_of_model_pods_that_is_not_enabled_is_named(quiet: Kube, wine: ModelRef) -> None:
    quiet("create", "namespace", "forgotten")
    try:
        quiet.apply(model_pod("ignored", literals(wine), namespace="forgotten", **IDLE))
        _, findings = doctor(quiet)
        done = webhook_command(quiet, "doctor")
    finally:
        quiet("delete", "namespace", "forgotten", "--wait=false")

    assert findings["namespaces"]["health"] in {"good", "odd"}
    assert f"kubectl label namespace forgotten {ENABLED_LABEL}=true" in " ".join(done.stdout.split())


def test_model_pod_that_waits_is_named_with_its_reason(quiet: Kube, wine: ModelRef) -> None:
    ref = ModelRef(name=wine.name, version="78", owner=wine.owner, run_id=wine.run_id)
    quiet.apply(model_pod("wrong-version", literals(ref), **IDLE))
    findings = quiet.until(lambda: (found := doctor(quiet)[1]).get("model pods") and found)

    assert "domino-compute/wrong-version: exit code 5" in findings["model pods"]["found"]


def test_checks_that_the_callers_rights_do_not_allow_are_reported(
    installed: Kube, tmp_path_factory: pytest.TempPathFactory
) -> None:
    token = installed("-n", COMPUTE, "create", "token", "default").strip()
    config = json.loads(installed("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": "nobody", "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = "nobody"
    file = tmp_path_factory.mktemp("nobody") / "config"
    file.write_text(json.dumps(config))
    environment = {**installed.environment, "KUBECONFIG": str(file)}
    done = completed([command("model-api-webhook"), "doctor", "-o", "json"], env=environment, imported=OF_COMMANDS)

    findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert findings["registration"]["health"] == "unknown"
    assert "cannot get resource" in findings["registration"]["found"]


def test_certificates_are_listed_and_the_leaf_is_rotated(installed: Kube) -> None:
    before = webhook_command(installed, "certs", "status").stdout
    rotated = webhook_command(installed, "certs", "rotate")
    after = webhook_command(installed, "certs", "status").stdout

    assert rotated.returncode == 0, rotated.stderr
    assert "trusts the certificate" in before
    assert _serial(before) != _serial(after)


def _serial(text: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith("certificate "))


def test_missing_installation_is_reported(installed: Kube) -> None:
    done = webhook_command(installed, "certs", "status", "-n", "default")

    assert done.returncode == 5
    assert "Secret default/model-api-webhook-tls is not there" in done.stderr


def test_object_of_the_cluster_is_explained_with_the_settings_there(installed: Kube) -> None:
    done = webhook_command(installed, "explain", "deployment/wine-quality", "-n", COMPUTE)

    assert done.returncode == 0
    assert "✓  namespace is enabled" in done.stdout
    assert "from configMapKeyRef" in done.stdout
    assert "mlflow-token" not in done.stdout  # the quickstart's MLflow wants no token


@pytest.mark.parametrize("named", ["deployment/nothing", "service/wine-quality", "wine-quality"])
def test_explain_names_an_object_that_makes_no_pods_or_does_not_exist(installed: Kube, named: str) -> None:
    done = webhook_command(installed, "explain", named, "-n", COMPUTE)

    assert done.returncode == 5
    assert named in done.stderr
