"""Names of init containers that service meshes and other injectors add: they never load a model."""

from typing import Final

from model_contract.names import INIT_CONTAINER

# The proxies of meshes, with the uid that each mesh exempts from its capture if the proxy names none.
MESH_PROXIES: Final = {"istio-proxy": 1337, "linkerd-proxy": 2102, "kuma-sidecar": 5678, "consul-dataplane": 5995}
CONSUL_INIT: Final = "consul-connect-inject-init"  # sets up the capture, unless the node does
TRAFFIC_CAPTURES: Final = frozenset({"istio-init", "linkerd-init", "kuma-init", CONSUL_INIT})
CNI_VALIDATORS: Final = {
    "istio-validation": "istio-proxy",
    "linkerd-network-validator": "linkerd-proxy",
    "kuma-validation": "kuma-sidecar",
}
OTHER_INJECTORS: Final = frozenset({"mlflow-init"})  # the init container of domsed's rule mlflowModelVolume

# Init containers of these names never get a model. Sorted, because `make render` writes them into the manifests.
NEVER_TARGETS: Final = tuple(
    sorted({INIT_CONTAINER, *OTHER_INJECTORS, *MESH_PROXIES, *TRAFFIC_CAPTURES, *CNI_VALIDATORS})
)
