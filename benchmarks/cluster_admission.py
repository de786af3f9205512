"""Cost of the webhook on a cluster: a client's time to create a pod with and without it, and the API server's figure.

It needs a cluster, as the tests in `tests/cluster` do; one that was not there before is gone afterwards.
"""

import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import describe
from model_contract.model_ref import ModelRef
from model_contract.names import DOMAIN, INJECT
from testbed.cluster.images import BASE, IMAGES, podman
from testbed.cluster.kube import Kube, cluster, unavailable_reason
from testbed.cluster.load import pods_at
from testbed.cluster.workloads import COMPUTE, PLATFORM, literals, model_pod

QUICKSTART: Final = Path(__file__).parent.parent / "manifests" / "overlays" / "quickstart"
REF: Final = ModelRef(name="wine-quality", version="1", owner="jane.doe", run_id="5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5")
SECONDS: Final = 20
RATES: Final = (1, 50)
MANY: Final = 10_000
DURATION: Final = re.compile(
    rf'apiserver_admission_webhook_admission_duration_seconds_(sum|count){{name="pods\.{re.escape(DOMAIN)}".*?}} (\S+)'
)


def main() -> int:
    print(describe())
    if reason := unavailable_reason():
        print(f"left out: {reason}")
        return 0
    with cluster() as kube:
        sizes()
        installation(kube)
        creation(kube)
        memory(kube)
    return 0


def sizes() -> None:
    base = size(BASE)
    for image in IMAGES[:3]:
        print(
            f"{image.tag.removeprefix('docker.io/library/'):34} {size(image.tag) - base:6.1f} MB above the base of"
            f" {base:.0f}"
        )


def size(tag: str) -> float:
    return int(podman("image", "inspect", "--format={{.Size}}", tag)) / 1e6


def installation(kube: Kube) -> None:
    """Install the webhook on a cluster that has the images and nothing else of it."""
    if kube.attempt("get", "namespace", PLATFORM).returncode == 0:
        kube("delete", "-k", QUICKSTART, "--wait=true")
    began = time.perf_counter()
    kube("apply", "-k", QUICKSTART)
    kube("-n", COMPUTE, "wait", "--for=condition=Complete", "job/train-wine-quality", "--timeout=180s")
    trained = time.perf_counter() - began
    kube.until(lambda: answers(kube), seconds=120)
    print(
        f"quickstart: model trained {trained:.1f} s after apply, its first prediction after"
        f" {time.perf_counter() - began:.1f} s"
    )
    kube.rolled_out(PLATFORM, "model-api-webhook")
    kube.rolled_out(COMPUTE, "wine-quality")


def answers(kube: Kube) -> bool:
    path = f"/api/v1/namespaces/{COMPUTE}/services/wine-quality:http/proxy/readyz"
    return kube.attempt("get", "--raw", path).returncode == 0


def creation(kube: Kube) -> None:
    for rate in RATES:
        before = served(kube)
        with_webhook = times(kube, rate, pod())
        after = served(kube)
        without = times(kube, rate, pod(opted_out=True))
        own, other = statistics.median(with_webhook), statistics.median(without)
        calls, mean = after[1] - before[1], (after[0] - before[0]) / (after[1] - before[1])
        print(f"{rate:3} pods/s: p50 {ms(own)} with the webhook, {ms(other)} without: {ms(own - other)} added")
        print(f"            the API server's mean of {calls:.0f} calls: {ms(mean)}")


def pod(*, opted_out: bool = False) -> dict[str, Any]:
    made = model_pod("measured", literals(REF))
    made["metadata"]["generateName"] = f"{made['metadata'].pop('name')}-"
    if opted_out:
        made["metadata"]["labels"][INJECT] = "false"
    return made


def times(kube: Kube, rate: float, made: dict[str, Any]) -> list[float]:
    with pods_at(rate, made, kube.kubeconfig) as outcome:
        time.sleep(SECONDS)
    if outcome.refused:
        raise RuntimeError(f"pods were refused: {outcome.refused[0]}")
    return outcome.seconds or outcome.bare_seconds


def served(kube: Kube) -> tuple[float, float]:
    found = dict(DURATION.findall(kube("get", "--raw", "/metrics")))
    return float(found.get("sum", 0)), float(found.get("count", 0))


def memory(kube: Kube) -> None:
    with pods_at(400, pod(), kube.kubeconfig) as outcome:
        while outcome.count < MANY:
            time.sleep(0.1)
    for found in kube.items("-n", PLATFORM, "pod", "-l", "app.kubernetes.io/name=model-api-webhook"):
        total = kube("-n", PLATFORM, "exec", found["metadata"]["name"], "--", "python", "-c", PSS)
        print(f"memory of a webhook pod after {outcome.count} reviews of both: {int(total) / 1024:.0f} MiB (PSS)")


PSS: Final = """
import glob, os
own = str(os.getpid())
def pss(process):
    with open(f"{process}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
print(sum(pss(process) for process in glob.glob("/proc/[0-9]*") if process.rsplit("/")[-1] != own))
"""


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
