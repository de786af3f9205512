"""KServe's controller in Standard mode: neither Knative nor Istio nor the Gateway API is there."""

import base64
import json
from pathlib import Path
from typing import Final

import trustme

from testbed.cluster.kube import Kube
from testbed.controllers.install import Json, apply, load_program, mend, rendered
from testbed.go_programs import Release, released_program

RELEASE: Final = Release(
    module="github.com/kserve/kserve",
    version="v0.20.0",
    digest="h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug=",
)
NAMESPACE: Final = "kserve"
DEPLOYMENT: Final = "kserve-controller-manager"
WEBHOOKS: Final = f"kserve-webhook-server-service.{NAMESPACE}.svc"
CERT_MANAGER: Final = ("Certificate", "Issuer")  # objects of cert-manager


def manager() -> Path:
    """Return the path of the controller, compiled if it is missing, which takes seven minutes."""
    return released_program(RELEASE, "./cmd/manager", "kserve-manager")


def install(kube: Kube) -> None:
    """Install the controller, its webhooks and its own serving runtimes, whose images are not there."""
    image = load_program(kube, manager(), "manager")
    source = RELEASE.source() / "config"
    objects = rendered(kube, source / "overlays" / "standalone" / "kserve")
    authority = trustme.CA()
    for found in objects:
        configure(found, image, authority.cert_pem.bytes())
    apply(kube, [*(found for found in objects if found["kind"] not in CERT_MANAGER), certificate(authority)])
    kube.rolled_out(NAMESPACE, DEPLOYMENT)
    apply(kube, rendered(kube, source / "runtimes"))


def configure(found: Json, image: str, authority: bytes) -> None:
    """Change one object of KServe's installation for the test cluster."""
    kind = found["kind"]
    if kind == "Deployment":
        mend(found, {"manager": image}, {"manager": []})
    elif kind == "ConfigMap":
        found["data"]["deploy"] = json.dumps({"defaultDeploymentMode": "Standard"})
        # Else each InferenceService has an event about the missing definitions of Istio.
        found["data"]["ingress"] = json.dumps(json.loads(found["data"]["ingress"]) | {"disableIstioVirtualHost": True})
    elif kind.endswith("WebhookConfiguration"):
        for webhook in found["webhooks"]:
            webhook["clientConfig"]["caBundle"] = base64.b64encode(authority).decode()


def certificate(authority: trustme.CA) -> Json:
    """Return the Secret that cert-manager would make, of the webhooks' server."""
    leaf = authority.issue_cert(WEBHOOKS)
    data = {"tls.crt": leaf.cert_chain_pems[0].bytes().decode(), "tls.key": leaf.private_key_pem.bytes().decode()}
    metadata = {"name": "kserve-webhook-server-cert", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "stringData": data}
