"""The Helm chart on an API server without a node: installed, taken over from kustomize, and applied again."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.cluster import binaries
from testbed.cluster.control_plane import ControlPlane, control_plane
from testbed.cluster.kube import Kube
from testbed.helm import CHART, helm, objects_of
from tests.api_server.test_chart import COMBINATIONS, MANIFESTS, settings_of, values_of

NAMESPACE = "domino-platform"
STANDALONE = CHART / "values" / "standalone.yaml"
# Their resource definitions come from others.
OF_OTHERS = {
    "Certificate",
    "Issuer",
    "ServiceMonitor",
    "PrometheusRule",
    "ClusterServingRuntime",
    "ClusterStorageContainer",
}

Json = dict[str, Any]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as found:
        yield found


@pytest.fixture
def kube(plane: ControlPlane) -> Iterator[Kube]:
    """The API server with the namespaces; what a test installs is gone after it."""
    found = Kube(program=str(binaries.build() / "kubectl"), kubeconfig=plane.kubeconfig, ours=False)
    for name in (NAMESPACE, "domino-compute", "mlflow-efs"):
        found.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    account = {"name": "model-api-doctor", "namespace": NAMESPACE}  # without it, the pod of `helm test` is no dry run
    found.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    yield found
    everything = "deployment,configmap,secret,service,serviceaccount,role,rolebinding,networkpolicy,pdb,cronjob"
    found("-n", NAMESPACE, "delete", everything, "--all", "--wait=false")
    cluster = "mutatingwebhookconfiguration,validatingadmissionpolicy,validatingadmissionpolicybinding"
    found("delete", cluster, "--all", "--wait=false")
    found("delete", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/part-of=mlflow-model-api")


def on(kube: Kube, *arguments: str | Path) -> str:
    """Return what Helm prints for a command about the release on this API server."""
    environment = os.environ | {"KUBECONFIG": str(kube.kubeconfig)}
    return helm(*arguments, "--namespace", NAMESPACE, environment=environment)


def deployment(kube: Kube) -> Json:
    return kube.get("-n", NAMESPACE, "deployment", "model-api-webhook")


def with_bundle(kube: Kube) -> str:
    """Write the authority of a certificate into the registration, as the webhook does, and return it."""
    patch = '[{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "AAAA"}]'
    registration = ("mutatingwebhookconfiguration", "model-api-webhook")
    kube("patch", *registration, "--type=json", "-p", patch, "--field-manager=model-api-webhook")
    kube("-n", NAMESPACE, "patch", "secret", "model-api-webhook-tls", "-p", '{"data": {"tls.crt": "AAAA"}}')
    return "AAAA"


def bundle(kube: Kube) -> tuple[str, str]:
    """Return what the webhook has written into the cluster."""
    registration = kube.get("mutatingwebhookconfiguration", "model-api-webhook")
    secret = kube.get("-n", NAMESPACE, "secret", "model-api-webhook-tls")
    return registration["webhooks"][0]["clientConfig"].get("caBundle", ""), secret.get("data", {}).get("tls.crt", "")


def test_default_install_upgrade_and_rollback_keep_what_the_webhook_wrote(kube: Kube) -> None:
    on(kube, "install", "model-api", CHART)
    written = with_bundle(kube)
    first = deployment(kube)["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    on(kube, "upgrade", "model-api", CHART, "--set", "webhook.settings.MODEL_API_WEBHOOK_STORE_SIZE=1Gi")
    second = deployment(kube)["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    names = [found["metadata"]["name"] for found in kube.items("-n", NAMESPACE, "configmap")]
    on(kube, "rollback", "model-api", "1")

    assert bundle(kube) == (written, written)
    assert first != second
    assert {source[0]["configMapRef"]["name"] for source in (first, second)} <= set(names)
    assert deployment(kube)["spec"]["template"]["spec"]["containers"][0]["envFrom"] == first
    assert "STATUS: deployed" in on(kube, "status", "model-api")


def test_release_takes_an_installation_of_kustomize_over_and_gives_it_back_without_a_rollout(kube: Kube) -> None:
    overlay = MANIFESTS / "overlays" / "standalone"
    kube("apply", "-k", overlay)
    written, spec = with_bundle(kube), deployment(kube)["spec"]
    options = ("--values", STANDALONE, "--take-ownership", "--server-side=false")
    on(kube, "upgrade", "--install", "model-api", CHART, *options)
    taken = deployment(kube)
    other = ("--set", "webhook.settings.MODEL_API_WEBHOOK_STORE_SIZE=1Gi", "--set", "images.webhook.tag=0.1.1")
    on(kube, "upgrade", "model-api", CHART, "--values", STANDALONE, *other)
    upgraded = deployment(kube)
    on(kube, "rollback", "model-api", "1")
    rolled_back = deployment(kube)
    kube("apply", "-k", overlay)
    kube("-n", NAMESPACE, "delete", "secret", "--selector", "owner=helm,name=model-api")

    assert taken["metadata"]["annotations"]["meta.helm.sh/release-name"] == "model-api"
    assert taken["spec"] == rolled_back["spec"] == deployment(kube)["spec"] == spec  # no rollout for another template
    assert upgraded["spec"] != spec
    assert bundle(kube) == (written, written)


def test_second_apply_of_the_same_chart_changes_nothing(kube: Kube) -> None:
    text = helm("template", "model-api", CHART, "--namespace", NAMESPACE, "--skip-tests")
    apply = ("apply", "--server-side", "--field-manager=argocd-controller", "-f", "-")
    kube(*apply, given=text)
    with_bundle(kube)
    before = versions(kube, text)
    kube(*apply, given=text)

    assert len(before) >= 10
    assert versions(kube, text) == before
    assert (
        kube.attempt("diff", "--server-side", "--field-manager=argocd-controller", "-f", "-", given=text).stdout == ""
    )


def versions(kube: Kube, text: str) -> dict[tuple[str, str], str]:
    """Return the resource version of each object of the text."""
    found = kube.get("-f", str(write(kube, text)))["items"]
    return {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in found}


def write(kube: Kube, text: str) -> Path:
    path = kube.kubeconfig.parent / "rendered.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", [name for name in COMBINATIONS if name.startswith("all")])
def test_api_server_takes_every_object(kube: Kube, name: str) -> None:
    components = COMBINATIONS[name]
    values = yaml.safe_dump(values_of(components, settings_of(components)))
    text = helm("template", "model-api", CHART, "--namespace", NAMESPACE, "--values", "-", given=values)
    objects = [found for found in objects_of(text) if found["kind"] not in OF_OTHERS]
    answer = kube.apply(*objects, options=("--server-side", "--dry-run=server", "--validate=strict"))

    assert answer.count("(server dry run)") == len(objects)
    assert len(objects) >= 25
