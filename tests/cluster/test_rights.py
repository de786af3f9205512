"""Rights of the webhook's ServiceAccount: those that it needs, and no others."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from lightkube import Client, KubeConfig
from lightkube.config.models import Cluster, User

from model_contract.names import REGISTRATION, TLS_SECRET
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, PLATFORM, scale_webhook
from webhook.certificates.cluster import ClusterObjects
from webhook.certificates.reconciler import CertificateFiles, CertificateReconciler, PodCertificate, host_names

ROLE = "model-api-webhook-certificates"
RULES = [(kind, verb) for kind in ("role", "clusterrole") for verb in ("get", "watch", "patch")]


@pytest.fixture
def as_webhook(installed: Kube) -> Iterator[ClusterObjects]:
    """With the rights of the webhook's pods."""
    token = installed("-n", PLATFORM, "create", "token", "model-api-webhook").strip()
    config = KubeConfig.from_file(installed.kubeconfig)
    found = config.get().cluster
    cluster = Cluster(server=found.server, certificate_auth=found.certificate_auth)
    single = KubeConfig.from_one(cluster=cluster, user=User(token=token), context_name="webhook")
    with Client(single) as client:
        yield ClusterObjects(client, PLATFORM)


def everything(kube: Kube, objects: ClusterObjects, directory: Path) -> None:
    """Use each right of the webhook: mend both objects and watch them. Raises HTTPStatusError if one is missing."""
    kube(
        "-n",
        PLATFORM,
        "patch",
        "secret",
        TLS_SECRET,
        "--type=merge",
        "-p",
        '{"data": {"tls.crt": null, "tls.key": null}}',
    )
    kube(
        "patch",
        "mutatingwebhookconfiguration",
        REGISTRATION,
        "--type=json",
        "-p",
        json.dumps([{"op": "add", "path": BUNDLE, "value": ""}]),
    )
    files = CertificateFiles(certificate=directory / "tls.crt", key=directory / "tls.key")
    reconciler = CertificateReconciler(objects, files, PodCertificate(host_names=host_names(PLATFORM), early=0))
    reconciler.reconcile()
    assert reconciler.fault() is None
    for changes in (objects.watch_secret, objects.watch_registration):
        next(iter(changes()))


BUNDLE = "/webhooks/0/clientConfig/caBundle"


def test_webhook_has_every_right_that_it_needs(installed: Kube, as_webhook: ClusterObjects, tmp_path: Path) -> None:
    everything(installed, as_webhook, tmp_path)


def may(kube: Kube, account: str, namespace: str) -> set[tuple[str, str, str]]:
    """Resource, name and verb of each right that not every ServiceAccount has."""
    every = rights(kube, "system:serviceaccount:default:nobody", namespace)
    return rights(kube, account, namespace) - every


def rights(kube: Kube, account: str, namespace: str) -> set[tuple[str, str, str]]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    groups = ("--as-group=system:serviceaccounts", "--as-group=system:authenticated")
    answer = json.loads(
        kube(
            "create", f"--as={account}", *groups, "--validate=false", "-o", "json", "-f", "-", given=json.dumps(review)
        )
    )
    return {
        (resource, name, verb)
        for rule in answer["status"]["resourceRules"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", ["*"])
        for verb in rule["verbs"]
    }


def test_webhook_may_do_nothing_else(installed: Kube) -> None:
    account = f"system:serviceaccount:{PLATFORM}:model-api-webhook"
    registration = {("mutatingwebhookconfigurations", REGISTRATION, verb) for verb in ("get", "watch", "patch")}

    assert may(installed, account, PLATFORM) == registration | {
        ("secrets", TLS_SECRET, verb) for verb in ("get", "watch", "patch")
    }
    assert may(installed, account, COMPUTE) == registration


def test_trainer_of_the_quickstart_may_write_two_objects(installed: Kube) -> None:
    account = f"system:serviceaccount:{COMPUTE}:train-wine-quality"

    assert may(installed, account, COMPUTE) == {
        ("configmaps", "wine-quality-model", "patch"),
        ("deployments", "wine-quality", "patch"),
    }


def test_service_account_token_is_mounted_only_in_containers_that_use_it(installed: Kube) -> None:
    mounted = {
        (pod["metadata"]["namespace"], container["name"])
        for pod in installed.items("pod", "-A", "-l", "app.kubernetes.io/part-of=mlflow-model-api")
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        if "kube-api-access" in json.dumps(container.get("volumeMounts", []))
    }

    assert mounted <= {(PLATFORM, "webhook"), (COMPUTE, "train"), (COMPUTE, "wait-for-mlflow")}
    assert (PLATFORM, "webhook") in mounted


def test_secret_of_the_keys_is_not_readable_by_other_service_accounts(installed: Kube) -> None:
    data = installed.get("-n", PLATFORM, "secret", TLS_SECRET)["data"]

    assert base64.b64decode(data["tls.key"]).startswith(b"-----BEGIN PRIVATE KEY-----")
    for account in (f"{COMPUTE}:default", f"{PLATFORM}:default", "mlflow-efs:default"):
        answer = installed.attempt(
            "auth", "can-i", "get", f"secret/{TLS_SECRET}", "-n", PLATFORM, f"--as=system:serviceaccount:{account}"
        )
        assert answer.stdout.strip() == "no"


@pytest.fixture(scope="module")
def unattended(installed: Kube) -> Iterator[Kube]:
    """Without the pods of the webhook, which would mend what is broken here before the test could."""
    scale_webhook(installed, 0)
    yield installed
    scale_webhook(installed, 1)


@pytest.mark.parametrize(("kind", "verb"), RULES)
def test_each_right_is_needed(
    unattended: Kube, as_webhook: ClusterObjects, tmp_path: Path, kind: str, verb: str
) -> None:
    scope = ("-n", PLATFORM, kind, ROLE) if kind == "role" else (kind, ROLE)
    role = unattended.get(*scope)
    verbs = role["rules"][0]["verbs"]
    replaced = [{"op": "replace", "path": "/rules/0/verbs", "value": [other for other in verbs if other != verb]}]
    unattended("patch", *scope, "--type=json", "-p", json.dumps(replaced))
    try:
        with pytest.raises(httpx2.HTTPStatusError, match=f"cannot {verb} resource|403 Forbidden"):
            everything(unattended, as_webhook, tmp_path)
    finally:
        unattended("patch", *scope, "--type=json", "-p", json.dumps([replaced[0] | {"value": verbs}]))
