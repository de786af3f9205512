"""The page's table, formula and plot of the ways of delivery, from the figures of `benchmarks.cluster_replicas`.

`python -m benchmarks.delivery_ways` writes them again without a measurement.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

Json = dict[str, Any]

ROOT: Final = Path(__file__).parents[1]
FIGURES: Final = ROOT / "benchmarks" / "replicas.json"
PAGE: Final = ROOT / "docs" / "explanation" / "which-way-to-deliver.md"
PLOT: Final = ROOT / "docs" / "pictures" / "delivery-ways.svg"
BLOCK: Final = re.compile(r"(<!-- figures -->\n).*?(<!-- end -->)", re.DOTALL)
MEBIBYTE: Final = 1 << 20
SIZE: Final = 1024  # MiB of the model in the plot
NODES: Final = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)
# Assumed, in MiB per second, since no test cluster can show them: links of 10 Gbit/s.
NODE: Final = 1100  # of one node's network and disk
SERVER: Final = 1100  # of one server of files, or one registry
GATE_REQUESTS: Final = 140  # a second at 16 connections, by `benchmarks.gate` (docs/numbers.md): those of MLflow
LEAST: Final = 0.1  # seconds: differences below it are noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Constants of the formula: seconds of a start without a model, of an init container, the gate's rate in MiB/s, and
    its requests for each pod.
    """

    start: float
    init: float
    gate: float
    requests: float


def constants(figures: Json) -> Constants:
    """Return the constants: differences between ways at the same number of pods take away what all of them need."""
    seconds = {(run["way"], run["pods"]): run["seconds"] for run in figures["runs"]}
    least, most = (choose(pods for _, pods in seconds) for choose in (min, max))
    fetched = next(run for run in figures["runs"] if (run["way"], run["pods"]) == ("fetch", most))
    extra = max(seconds["fetch", most] - seconds["volume", most], LEAST)
    return Constants(
        start=seconds["none", least],
        init=max(seconds["volume", least] - seconds["none", least], LEAST),
        gate=fetched["gate_bytes"] / MEBIBYTE / extra,
        requests=fetched["requests"] / most,
    )


def ways(found: Constants, size: float) -> Mapping[str, Callable[[int], float]]:
    """Return the seconds until all pods are ready, one on each of `nodes`, for a model of `size` MiB."""
    return {
        "init container, through the gate": lambda nodes: (
            found.start + found.init + max(size / NODE, nodes * size / found.gate)
        ),
        "init container, presigned URLs": lambda nodes: (
            found.start + found.init + size / NODE + nodes * found.requests / GATE_REQUESTS
        ),
        "shared claim": lambda nodes: found.start + found.init + max(size / NODE, nodes * size / SERVER),
        "image volume, first pod of a node": lambda nodes: found.start + max(size / NODE, nodes * size / SERVER),
        "image volume, next pod of a node": lambda _: found.start,
    }


def table(figures: Json) -> str:
    runs, found = figures["runs"], constants(figures)
    lines = [
        f"`python -m benchmarks.cluster_replicas`: {figures['machine']}; one node,"
        f" a model of {figures['model_mib']} MiB.",
        "",
        "| way | pods | all ready after | requests at the gate | MB from the gate |",
        "|---|---|---|---|---|",
        *(
            f"| `{run['way']}` | {run['pods']} | {run['seconds']:.1f} s | {run['requests']}"
            f" | {run['gate_bytes'] / 1e6:.1f} |"
            for run in runs
        ),
        "",
        "| constant of the formula | value |",
        "|---|---|",
        f"| `start`: a pod without a model | {found.start:.1f} s |",
        f"| `init`: an init container that only verifies | {found.init:.1f} s |",
        f"| `gate`: what the gate and MLflow send | {found.gate:.0f} MiB/s |",
        f"| `requests`: at the gate, for each pod | {found.requests:.0f} |",
        "",
        "![Seconds until all pods are ready, for 1 to 1,000 nodes](../pictures/delivery-ways.svg)",
        "",
    ]
    return "\n".join(lines)


def write_page() -> None:
    """Write the block of the page and the plot."""
    figures = json.loads(FIGURES.read_text())
    PAGE.write_text(BLOCK.sub(lambda block: block[1] + table(figures) + block[2], PAGE.read_text()))
    draw(constants(figures))


def draw(found: Constants) -> None:
    mpl.rcParams |= {"svg.hashsalt": "delivery-ways", "svg.fonttype": "none", "font.family": "sans-serif"}
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for name, seconds in ways(found, SIZE).items():
        axes.loglog(NODES, [seconds(nodes) for nodes in NODES], label=name, marker=".")
    axes.set_xlabel("nodes, with one pod each that starts at the same time")
    axes.set_ylabel("seconds until all are ready")
    axes.set_title(f"A model of {SIZE // 1024} GiB, by the formula of the page")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(PLOT, format="svg", metadata={"Date": None}, bbox_inches="tight")
    # Lines of a path end with blanks, which git and editors remove.
    PLOT.write_text("".join(f"{line.rstrip()}\n" for line in PLOT.read_text().splitlines()))


if __name__ == "__main__":
    write_page()
    sys.exit(0)
