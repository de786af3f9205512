"""Labels of pods, by one request to the Kubernetes API: a token names its pod, and carries no label."""

import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tracking_gate.authentication.documents import DocumentError, Documents
from tracking_gate.authentication.issuers_file import Access
from tracking_gate.errors import Unavailable

KEEP_SECONDS: Final = 10.0  # seconds in which a pod's labels are not asked for again
MAX_KEPT: Final = 4096  # pods; the one that was asked for longest ago goes first
# A DNS subdomain, which the name of a namespace and of a pod is: neither can leave its place in the path.
NAME: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReference:
    """A pod as a token names it. Another pod of the same name has another uid."""

    namespace: str
    name: str
    uid: str


class PodLabels:
    """Reads the labels of pods, with the gate's own ServiceAccount, which needs the right `get pods` there."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._kept: OrderedDict[tuple[Access, PodReference], tuple[float, Mapping[str, Any]]] = OrderedDict()

    async def of(self, pod: PodReference, access: Access) -> Mapping[str, Any]:
        """Return the pod's labels, none if there is no such pod any more. Raises Unavailable."""
        kept = self._kept.get((access, pod))
        if kept and kept[0] > time.monotonic():
            return kept[1]
        labels = await self._asked(pod, access)
        self._kept[access, pod] = (time.monotonic() + KEEP_SECONDS, labels)
        self._kept.move_to_end((access, pod))
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return labels

    async def _asked(self, pod: PodReference, access: Access) -> Mapping[str, Any]:
        if not (NAME.fullmatch(pod.namespace) and NAME.fullmatch(pod.name)):
            return {}
        try:
            found = await self._documents.get(f"{access.api}/api/v1/namespaces/{pod.namespace}/pods/{pod.name}", access)
        except DocumentError as error:
            raise Unavailable(f"the gate cannot read the pod of your token ({error})") from error
        metadata = (found or {}).get("metadata")
        if not isinstance(metadata, dict) or metadata.get("uid") != pod.uid:
            return {}
        labels = metadata.get("labels")
        return labels if isinstance(labels, dict) else {}
