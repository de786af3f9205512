"""The check that the kubelets and the container runtimes of the nodes mount images as volumes."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from lightkube.core.exceptions import ApiError

from webhook.doctor.cluster_reader import NODES
from webhook.doctor.findings import Finding, bad, good, odd
from webhook.doctor.installation import Installation, Json

CHECK: Final = "image volumes"
VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")
# The kubelet mounts a directory of an image since 1.33, and without a feature gate since 1.35.
KUBELET: Final = (1, 33)
KUBELET_WITHOUT_GATE: Final = (1, 35)
RUNTIMES: Final[Mapping[str, tuple[int, int]]] = {"containerd": (2, 1), "cri-o": (1, 33)}
NAMED: Final = 3

Judge = Callable[[Json], str | None]


def image_volumes(installation: Installation) -> Iterator[Finding]:
    """Check every Linux node. If models do not come by images, say only whether they could."""
    wanted = installation.settings is not None and installation.settings.delivery == "image"
    try:
        nodes = [node for node in installation.cluster.list(NODES) if _info(node).get("operatingSystem") != "windows"]
    except ApiError:
        if wanted:
            raise
        return
    faults, doubts = _grouped(nodes, _fault), _grouped(nodes, _doubt)
    if not wanted:
        able = not faults and not doubts
        yield good(CHECK, "the nodes mount images" if able else f"not needed, and not here: {[*faults, *doubts][0]}")
        return
    for fault in faults:
        yield bad(CHECK, fault, "update these nodes, or set MODEL_API_WEBHOOK_DELIVERY to fetch")
    for doubt in doubts:
        yield odd(CHECK, doubt, "start a pod with a model there, and see its events")
    if not faults and not doubts:
        yield good(CHECK, f"all {len(nodes)} nodes mount images")


def _grouped(nodes: Sequence[Json], judge: Judge) -> list[str]:
    """Return a sentence for each thing that `judge` says about nodes, with some of their names."""
    found: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if said := judge(_info(node)):
            found[said].append(node["metadata"]["name"])
    return [f"{said}: {_some(names)}" for said, names in found.items()]


def _fault(info: Json) -> str | None:
    """Return the reason why the node cannot mount a directory of an image."""
    kubelet = str(info.get("kubeletVersion", ""))
    if (version := _version(kubelet)) and version < KUBELET:
        return f"kubelet {kubelet} does not mount directories of images, which 1.33 does"
    name, _, number = str(info.get("containerRuntimeVersion", "")).partition("://")
    least = RUNTIMES.get(name)
    if least and (version := _version(number)) and version < least:
        return f"{name} {number} does not mount images, which {least[0]}.{least[1]} does"
    return None


def _doubt(info: Json) -> str | None:
    """Return the reason why the node may not mount images."""
    if _fault(info):
        return None
    kubelet, runtime = str(info.get("kubeletVersion", "")), str(info.get("containerRuntimeVersion", ""))
    name, _, number = runtime.partition("://")
    if name not in RUNTIMES or not _version(number):
        return f"it is not known whether the container runtime {runtime} mounts images"
    if not (version := _version(kubelet)) or version < KUBELET_WITHOUT_GATE:
        return f"kubelet {kubelet} mounts images only with the feature gate ImageVolume"
    return None


def _info(node: Json) -> Json:
    info: Json = node.get("status", {}).get("nodeInfo", {})
    return info


def _version(text: str) -> tuple[int, int] | None:
    found = VERSION.match(text)
    return (int(found[1]), int(found[2])) if found else None


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(sorted(names)[:NAMED]) + (f" and {more} more" if more > 0 else "")
