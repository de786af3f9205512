"""The position of `mlflow-model-init` among the init containers, and its user, so that a mesh leaves it a network.

A mesh captures the pod's traffic early and lets it through late. The first rule that applies decides:
1. after a proxy that is a native sidecar: the proxy runs by then, and the fetch goes through the mesh;
2. before the container that sets up the capture: the network is still open;
3. if the node has set up the capture (CNI), at the end, as the user whose traffic is exempt: the proxy's own;
4. at the end.
The position is always before the first init container that needs the model; only the containers before that one count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from model_contract.names import INIT_CONTAINER
from webhook.decision import RefusalError
from webhook.injectors import CNI_VALIDATORS, CONSUL_INIT, MESH_PROXIES, TRAFFIC_CAPTURES
from webhook.pod import Container, Pod
from webhook.reasons import Reason

ISTIO_STATUS: Final = "sidecar.istio.io/status"
ISTIO_INTERCEPTION: Final = "sidecar.istio.io/interceptionMode"
CONSUL_REDIRECTION: Final = "consul.hashicorp.com/redirect-traffic-config"  # what Consul's CNI plugin reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The position in `spec.initContainers`.

    `run_as_user` is None unless the mesh demands a user; `captured` is true if there is no network yet at the position.
    """

    index: int
    run_as_user: int | None = None
    captured: bool = False


def find_init_container(pod: Pod) -> Container | None:
    return next((container for container in pod.init_containers if container.name == INIT_CONTAINER), None)


def place_init_container(pod: Pod, *, needs_network: bool, first_target: Container | None = None) -> Placement:
    """Return the position that the init container has, or else the best one.

    `first_target` is the first init container that needs the model. Raises RefusalError if `mlflow-model-init` is in
    the pod already and runs after it: nothing is moved.
    """
    ours = find_init_container(pod)
    if ours and first_target and first_target.index < ours.index:
        raise RefusalError(
            Reason.INIT_CONTAINER_TOO_LATE,
            f"init container {first_target.title} needs the model and runs before {INIT_CONTAINER}; "
            f"put {INIT_CONTAINER} first, or remove it",
        )
    others = pod.init_containers[: first_target.index] if first_target else pod.init_containers
    index = ours.index if ours else _best_index(others, pod)
    return _placement_at(index, pod) if needs_network else Placement(index=index)


def _best_index(others: Sequence[Container], pod: Pod) -> int:
    if proxies := [container.index for container in others if _is_native_proxy(container)]:
        return proxies[-1] + 1
    return next((container.index for container in others if _captures_traffic(container, pod)), len(others))


def _placement_at(index: int, pod: Pod) -> Placement:
    before = pod.init_containers[:index]
    if any(_is_native_proxy(container) for container in before):
        return Placement(index=index)
    captured = any(_captures_traffic(container, pod) for container in before)
    return Placement(index=index, captured=captured, run_as_user=None if captured else _exempt_user(pod))


def _exempt_user(pod: Pod) -> int | None:
    proxy = _proxy_behind_cni(pod)
    return None if proxy is None else _user_of(proxy, pod)


def _proxy_behind_cni(pod: Pod) -> str | None:
    """Return the proxy of a mesh whose capture the node has set up; None if there is none.

    Istio may leave out its validator container, and Consul has none: then their annotations show the capture.
    """
    names = {container.name for container in pod.init_containers}
    if validator := next((name for name in CNI_VALIDATORS if name in names), None):
        return CNI_VALIDATORS[validator]
    if CONSUL_REDIRECTION in pod.annotations:
        return "consul-dataplane"
    redirected = ISTIO_STATUS in pod.annotations and pod.annotations.get(ISTIO_INTERCEPTION) == "REDIRECT"
    return "istio-proxy" if redirected and not names & TRAFFIC_CAPTURES else None


def _user_of(proxy: str, pod: Pod) -> int:
    named = (container.run_as_user for container in (*pod.containers, *pod.init_containers) if container.name == proxy)
    return next((user for user in named if type(user) is int and user > 0), MESH_PROXIES[proxy])


def _captures_traffic(container: Container, pod: Pod) -> bool:
    behind_cni = container.name == CONSUL_INIT and CONSUL_REDIRECTION in pod.annotations
    return container.name in TRAFFIC_CAPTURES and not behind_cni


def _is_native_proxy(container: Container) -> bool:
    return container.name in MESH_PROXIES and container.native_sidecar
