"""The annotation that lets the cluster autoscaler drain the pod's node although the webhook gave the pod local volumes.

The autoscaler keeps a node on which a pod has an `emptyDir`, unless the pod names that volume in this annotation. What
the webhook adds can be fetched again. The author's own volumes are named by the author alone.
"""

from collections.abc import Mapping
from typing import Final

from webhook.mutation.injection import Injection
from webhook.mutation.volumes import wanted_volumes
from webhook.pod import text

LOCAL_VOLUMES: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


def evictable_volumes(injection: Injection) -> Mapping[str, str]:
    """The annotation with our volumes behind those of the author. The autoscaler splits it at commas, and keeps white
    space.
    """
    written = text(injection.pod.annotations, LOCAL_VOLUMES)
    named = written.split(",")
    ours = [
        volume["name"] for volume in wanted_volumes(injection) if "emptyDir" in volume and volume["name"] not in named
    ]
    return {LOCAL_VOLUMES: ",".join([written, *ours] if written else ours)} if ours else {}
