"""Time of one decision without a network: bytes of a review in, bytes of the answer out."""

import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from benchmarks.machine import describe
from testbed.api_server import review_of
from webhook.admission import admit
from webhook.review import parse
from webhook.settings import Settings

EXAMPLE: Final = yaml.safe_load((Path(__file__).parent.parent / "examples" / "model-api-pod.yaml").read_text())
KIB: Final = 1024
SECONDS: Final = 3.0


def pod_of(size: int, containers: int) -> dict[str, Any]:
    """Return the example pod with more containers, and with variables until its review has `size` bytes."""
    pod: dict[str, Any] = deepcopy(EXAMPLE)
    for index in range(1, containers):
        pod["spec"]["containers"].append({"name": f"sidecar-{index}", "image": "quay.io/acme/sidecar:1", "env": []})
    filled = [container["env"] for container in pod["spec"]["containers"]]
    entry = {"name": "A_VARIABLE_OF_THE_TEAM_0000", "value": "a value of a usual length, such as an address"}
    lacking = (size - len(orjson.dumps(review_of(pod)))) // (len(orjson.dumps(entry)) + 1)
    for index in range(lacking):
        filled[index % len(filled)].append(entry | {"name": f"A_VARIABLE_OF_THE_TEAM_{index:04}"})
    return pod


def durations(body: bytes, settings: Settings) -> Iterator[float]:
    deadline = time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < deadline:
        orjson.dumps(admit(parse(body), settings))
        yield time.perf_counter() - start


def row(name: str, pod: dict[str, Any]) -> str:
    body = orjson.dumps(review_of(pod))
    measured = sorted(durations(body, Settings()))
    p50, p99 = (measured[int(len(measured) * share)] * 1000 for share in (0.5, 0.99))
    return f"{name:<28}{len(body) / KIB:>10.1f}{len(measured):>10}{p50:>10.3f}{p99:>10.3f}"


def main() -> None:
    print(describe())
    print(f"{'pod':<28}{'KiB':>10}{'reviews':>10}{'p50 ms':>10}{'p99 ms':>10}")
    print(row("example, 1 container", EXAMPLE))
    print(row("64 KiB, 20 containers", pod_of(64 * KIB, 20)))
    print(row("1.5 MiB, 20 containers", pod_of(1536 * KIB, 20)))


if __name__ == "__main__":
    main()
