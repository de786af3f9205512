"""A rollout, a change of certificates and a reboot of the node, each beside pods that are created or serve."""

import time
from datetime import UTC, datetime

import pytest

from model_contract.model_ref import ModelRef
from testbed.cluster import binaries
from testbed.cluster.cluster import NAME, RUN, kill_containers, start, stop
from testbed.cluster.components import Layout
from testbed.cluster.kube import Kube
from testbed.cluster.load import pods_at
from testbed.cluster.machine import Network
from testbed.cluster.workloads import COMPUTE, IDLE, MLFLOW, PLATFORM, literals, model_deployment, model_pod
from webhook.certificates.cluster import ClusterObjects
from webhook.certificates.state import begin_rotation, read_state, write_state


@pytest.mark.usefixtures("two_pods")
def test_rollout_and_rotations_drop_nothing(quiet: Kube, wine: ModelRef, api: ClusterObjects) -> None:
    """Fifty pods a second, through a new set of webhook pods, a new leaf and a new authority."""
    with pods_at(50, model_pod("many", literals(wine)), quiet.kubeconfig) as outcome:
        quiet("-n", PLATFORM, "rollout", "restart", "deployment/model-api-webhook")
        quiet.rolled_out(PLATFORM, "model-api-webhook")
        change_leaf(quiet, api)
        change_authority(quiet, api)
        # A machine with other work creates fewer than fifty a second.
        quiet.until(lambda: outcome.refused or outcome.count > 50 * 60, what="three thousand pods")

    assert (outcome.refused, outcome.bare_seconds) == ([], [])
    assert outcome.count > 50 * 60


def change_leaf(kube: Kube, api: ClusterObjects) -> None:
    stored = api.secret()
    before = read_state(stored.data).leaf
    api.write_secret({"tls.crt": None, "tls.key": None}, stored.version)
    kube.until(lambda: read_state(api.secret().data).leaf not in {None, before}, what="a new leaf")


def change_authority(kube: Kube, api: ClusterObjects) -> None:
    stored = api.secret()
    rotating = begin_rotation(read_state(stored.data), datetime.now(UTC))
    api.write_secret(write_state(rotating), stored.version)
    kube.until(
        lambda: read_state(api.secret().data).authority == rotating.next_authority,
        what="the new authority signs",
    )
    time.sleep(5)


def test_after_a_reboot_of_the_node_pods_are_filled_again(quiet: Kube, wine: ModelRef) -> None:
    quiet.apply(model_deployment("survivor", literals(wine), **IDLE))
    quiet.rolled_out(COMPUTE, "survivor")
    before = fetches(quiet, "survivor")
    layout = Layout(run=RUN, programs=binaries.build(), network=Network(name=NAME))
    stop(["kubelet"], layout)
    kill_containers(layout)
    start("kubelet", layout)

    quiet.until(lambda: fetches(quiet, "survivor") > before, what="the init container runs again")
    quiet.rolled_out(COMPUTE, "survivor")
    quiet.rolled_out(PLATFORM, "model-api-webhook")
    quiet.rolled_out(MLFLOW, "mlflow")


def fetches(kube: Kube, name: str) -> tuple[str, ...]:
    """Return the ends of the init containers of its pods."""
    statuses = [
        pod["status"].get("initContainerStatuses", [{}])[0]
        for pod in kube.items("-n", COMPUTE, "pod", "-l", f"app={name}")
    ]
    return tuple(sorted(status.get("state", {}).get("terminated", {}).get("finishedAt", "") for status in statuses))
