"""Components of the cluster: their command lines and the configuration files that they read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.cluster import binaries, image_store
from testbed.cluster.machine import Network
from testbed.cluster.pki import AGGREGATOR

PODS: Final = "10.244.0.0/24"
SERVICES: Final = "10.96.0.0/24"
ETCD: Final = "http://127.0.0.1:2379"
PAUSE: Final = "localhost/pause:1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths of the cluster: programs in the cache, all else below `run`, which is removed at the end."""

    run: Path
    programs: Path
    network: Network

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd" / "socket"

    @property
    def registries(self) -> Path:
        """The folder in which containerd looks up the address of a registry."""
        return self.run / "registries"

    @property
    def kubeconfig(self) -> Path:
        return self.pki / "admin.kubeconfig"


def etcd(layout: Layout) -> list[str]:
    peers = "http://127.0.0.1:2380"
    urls = [f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}", f"--listen-peer-urls={peers}"]
    return [
        f"{layout.programs}/etcd",
        f"--data-dir={layout.run}/etcd",
        *urls,
        "--unsafe-no-fsync",
    ]  # it lives as long as a test


def api_server(layout: Layout) -> list[str]:
    pki = layout.pki
    return [
        f"{layout.programs}/kube-apiserver",
        f"--etcd-servers={ETCD}",
        "--secure-port=6443",
        f"--advertise-address={layout.network.inside}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={SERVICES}",
        "--allow-privileged=true",
        # a webhook's Service is called by its endpoints, before kube-proxy knows them
        "--enable-aggregator-routing=true",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",  # nothing resolves the node's name
        # API servers that extend it, such as metrics-server, learn from headers who asks
        f"--requestheader-client-ca-file={pki}/ca.crt",
        f"--requestheader-allowed-names={AGGREGATOR}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/{AGGREGATOR}.crt",
        f"--proxy-client-key-file={pki}/{AGGREGATOR}.key",
    ]


def controller_manager(layout: Layout) -> list[str]:
    return [
        f"{layout.programs}/kube-controller-manager",
        f"--kubeconfig={layout.pki}/controller-manager.kubeconfig",
        f"--service-account-private-key-file={layout.pki}/service-accounts.key",
        f"--root-ca-file={layout.pki}/ca.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--horizontal-pod-autoscaler-downscale-stabilization=30s",  # five minutes by default
    ]


def scheduler(layout: Layout) -> list[str]:
    return [
        f"{layout.programs}/kube-scheduler",
        f"--kubeconfig={layout.pki}/scheduler.kubeconfig",
        "--leader-elect=false",
    ]


def containerd(layout: Layout) -> list[str]:
    folder = layout.run / "containerd"
    (layout.run / "cni").mkdir(exist_ok=True)
    (layout.run / "cni" / "10-bridge.conflist").write_text(json.dumps(_cni(layout)))
    layout.registries.mkdir(exist_ok=True)
    config = folder / "config.toml"
    places = {"socket": layout.containerd_socket, "cni": layout.run / "cni", "registries": layout.registries}
    shim = layout.programs / "containerd-shim-runc-v2"
    config.write_text(CONTAINERD.format(root=image_store.ROOT, folder=folder, pause=PAUSE, shim=shim, **places))
    return [f"{layout.programs}/containerd", "-c", str(config)]


def kubelet(layout: Layout) -> list[str]:
    config = _written(layout.run / "kubelet.yaml", _kubelet(layout))
    address = layout.network.inside
    return [
        f"{layout.programs}/kubelet",
        f"--config={config}",
        f"--kubeconfig={layout.pki}/kubelet.kubeconfig",
        "--hostname-override=node",
        f"--node-ip={address}",
        f"--root-dir={layout.run}/kubelet",
    ]


def proxy(layout: Layout) -> list[str]:
    content = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig)},
        "conntrack": {"maxPerCore": 0, "min": 0},  # limits of the whole host
    }
    return [
        f"{layout.programs}/kube-proxy",
        f"--config={_written(layout.run / 'proxy.yaml', content)}",
        "--hostname-override=node",
    ]


def dns(layout: Layout) -> list[str]:
    file = layout.run / "Corefile"
    zone = f"kubernetes cluster.local {{\n  kubeconfig {layout.kubeconfig}\n }}"
    file.write_text(f".:53 {{\n bind {layout.network.inside}\n errors\n {zone}\n}}\n")
    return [f"{layout.programs}/coredns", "-conf", str(file)]


def firewall(layout: Layout) -> list[str]:
    """Return the command that enforces NetworkPolicies; it ends at once if the node is not registered yet."""
    return [
        str(binaries.kube_router()),
        f"--kubeconfig={layout.kubeconfig}",
        "--hostname-override=node",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--service-cluster-ip-range={SERVICES}",
        "--health-port=0",
    ]


def _kubelet(layout: Layout) -> dict[str, Any]:
    pki = layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "clusterDNS": [layout.network.inside],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images come from no registry: one that is collected is gone
        "imageGCLowThresholdPercent": 99,
    }


def _cni(layout: Layout) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(layout.run / "cni" / "addresses"),
    }
    # Hairpin: a pod reaches itself through its own Service.
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": True,
        "ipam": addresses,
    }
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


CONTAINERD: Final = """version = 3
root = "{root}"
state = "{folder}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{registries}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{cni}"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = "{shim}"
"""
