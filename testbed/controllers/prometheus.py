"""Prometheus and its operator, built from their Go modules, and a Prometheus that the operator makes in the cluster."""

from pathlib import Path
from typing import Final

import yaml

from testbed.cluster.kube import Kube
from testbed.controllers.install import Json, apply, load_program
from testbed.go_programs import Release, program, released_program

PROMETHEUS: Final = Release(
    module="github.com/prometheus/prometheus",
    version="v0.316.0",
    digest="h1:f1GRFerhTMKQma+awCoC9T820ecWeGSdF+xAlMHzZzM=",
)
OPERATOR: Final = Release(
    module="github.com/prometheus-operator/prometheus-operator",
    version="v0.89.0",
    digest="h1:2HA351OwWBa10H6TDhjeSdHOA7wiY71sEivg+z2cykk=",
)
DISCOVERY: Final = "remove_all_sd,enable_kubernetes_sd"  # the others need the SDKs of every cloud
# The operator's own go.mod names folders that its module does not have, so another one names its commands.
COMMANDS: Final = Path(__file__).parent / "prometheus_operator"
RELOADER: Final = "prometheus-config-reloader"
NAMESPACE: Final = "monitoring"
NAME: Final = "prometheus"
PROGRAM: Final = "prometheus-server"  # in its image, where the data is mounted at /prometheus
SERVICE: Final = "prometheus-operated"


def prometheus() -> Path:
    """Return the path of Prometheus, compiled if it is missing, which takes minutes."""
    return released_program(PROMETHEUS, "./cmd/prometheus", "prometheus", tags=DISCOVERY)


def promtool() -> Path:
    """Return the path of Prometheus' tool that tests rules, compiled if it is missing, which takes minutes."""
    return released_program(PROMETHEUS, "./cmd/promtool", "promtool", tags=DISCOVERY)


def operator() -> Path:
    """Return the path of the operator, compiled if it is missing, which takes minutes."""
    return program(COMMANDS, f"{OPERATOR.module}/cmd/operator")


def reloader() -> Path:
    """Return the path of the operator's program that tells Prometheus of a changed configuration."""
    return program(COMMANDS, f"{OPERATOR.module}/cmd/{RELOADER}")


class BundleLoader(yaml.SafeLoader):
    """Reads the operator's manifest, in which an `=` without quotes is a text and not YAML's default value."""


def text_of(_: BundleLoader, node: yaml.ScalarNode) -> str:
    return str(node.value)


BundleLoader.add_constructor("tag:yaml.org,2002:value", text_of)


def bundle() -> list[Json]:
    """Return the operator's definitions, rights and Deployment."""
    documents = yaml.load_all((OPERATOR.source() / "bundle.yaml").read_text(), BundleLoader)
    return [found for found in documents if found]


def install_operator(kube: Kube) -> None:
    """Install the operator with its definitions, and have it make a Prometheus that reads every monitor and rule."""
    images = {
        NAME: load_program(kube, prometheus(), PROGRAM),
        RELOADER: load_program(kube, reloader(), RELOADER),
    }
    own = load_program(kube, operator(), "operator")
    objects = bundle()
    for found in objects:
        if found["kind"] == "Deployment":
            (container,) = found["spec"]["template"]["spec"]["containers"]
            arguments = [entry for entry in container["args"] if RELOADER not in entry]
            container |= {"image": own, "command": ["/operator"], "imagePullPolicy": "IfNotPresent"}
            container["args"] = [*arguments, f"--{RELOADER}={images[RELOADER]}"]
            container["resources"].pop("limits")
    apply(kube, objects)
    kube.rolled_out("default", "prometheus-operator")
    apply(kube, own_prometheus(images[NAME]))
    stateful_set = f"statefulset/prometheus-{NAME}"
    kube.until(lambda: kube.attempt("-n", NAMESPACE, "get", stateful_set).returncode == 0, what=stateful_set)
    kube("-n", NAMESPACE, "rollout", "status", stateful_set, "--timeout=240s")


def own_prometheus(image: str) -> list[Json]:
    """Return a Prometheus with the rights of the operator's examples, in the namespace that our policies name."""
    account = {"name": NAME, "namespace": NAMESPACE}
    role = yaml.safe_load((OPERATOR.source() / "example/rbac/prometheus/prometheus-cluster-role.yaml").read_text())
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", **account}],
    }
    everything: Json = {}
    spec = {
        "image": image,
        "version": PROMETHEUS.version.replace("v0.3", "v3."),  # of the release whose module has this version
        "serviceAccountName": NAME,
        "serviceMonitorSelector": everything,
        "serviceMonitorNamespaceSelector": everything,
        "ruleSelector": everything,
        "ruleNamespaceSelector": everything,
        "containers": [command_of(NAME, PROGRAM), command_of("config-reloader", RELOADER)],
        "initContainers": [command_of("init-config-reloader", RELOADER)],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        role,
        binding,
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": account, "spec": spec},
    ]


def command_of(container: str, program: str) -> Json:
    """Return the change of a container that starts the program in its image, which has no other file."""
    return {"name": container, "command": [f"/{program}"], "imagePullPolicy": "IfNotPresent"}
