"""Seconds of a pod on a node that has the image of its model already, beside a pod without a model.

It needs a cluster, as the tests in `tests/cluster` do, with the quickstart in it or nothing; one that was not there
before is gone afterwards. The two kinds of pods take turns, and run the same program.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.cluster_first_prediction import QUICKSTART, trained
from benchmarks.machine import describe
from testbed.cluster.image_volumes import packaged_model
from testbed.cluster.kube import Kube, cluster, unavailable_reason
from testbed.cluster.workloads import COMPUTE, PLATFORM, literals, model_pod, settings

PODS: Final = 10  # of each kind
SLEEP: Final[dict[str, Any]] = {"command": ["sleep", "3600"], "readinessProbe": None}


def main() -> int:
    print(describe())
    if reason := unavailable_reason():
        print(f"left out: {reason}")
        return 0
    with cluster() as kube, tempfile.TemporaryDirectory() as directory:
        kube("apply", "-k", QUICKSTART)
        kube.rolled_out(PLATFORM, "model-api-webhook")
        ref = trained(kube)
        with (
            packaged_model(kube, ref, Path(directory)) as packaged,
            settings(kube, {"DELIVERY": "image", "MODEL_IMAGE": packaged.template}),
        ):
            first = running(kube, model_pod("first", literals(ref), **SLEEP))
            pairs = [
                (
                    running(kube, model_pod(f"with-{number}", literals(ref), **SLEEP)),
                    running(kube, model_pod(f"without-{number}", [], **SLEEP)),
                )
                for number in range(PODS)
            ]
            sent = packaged.registry.downloads()
    with_model, without = (list(seconds) for seconds in zip(*pairs, strict=True))
    print(f"first pod of the node, which pulls 10 MB   {first:.2f} s")
    print(f"further pods with the image of the model   {spread(with_model)}")
    print(f"pods without a model                       {spread(without)}")
    print(
        f"more, by medians                           {statistics.median(with_model) - statistics.median(without):.2f} s"
    )
    print(f"times that the registry sent a blob        at most {max(sent.values())}")
    return 0


def running(kube: Kube, pod: dict[str, Any]) -> float:
    """Return the seconds from the creation of a pod until it is ready, and delete it."""
    name = pod["metadata"]["name"]
    began = time.perf_counter()
    kube.apply(pod)
    kube("-n", COMPUTE, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
    seconds = time.perf_counter() - began
    kube("-n", COMPUTE, "delete", "pod", name, "--grace-period=1", "--wait=true")
    return seconds


def spread(seconds: list[float]) -> str:
    return (
        f"median {statistics.median(seconds):.2f} s, from {min(seconds):.2f} to {max(seconds):.2f} s of {len(seconds)}"
    )


if __name__ == "__main__":
    sys.exit(main())
