"""The example of a Job that scores a table: its pod gets the model, and leaves the predictions on the claim."""

import csv
import io
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from model_contract.model_ref import ModelRef
from testbed.cluster.cluster import RUN
from testbed.cluster.kube import Kube
from testbed.cluster.workloads import COMPUTE, RUNTIME_IMAGE, TEST_LABEL, literals
from tests.cluster.test_claims import shared_claim, volume
from tests.cluster.test_model_pods import COLUMNS, WINE, predict

__all__ = ["volume"]

EXAMPLE: Final = Path(__file__).parents[2] / "manifests/examples/score-table-job.yaml"


def job(ref: ModelRef) -> dict[str, Any]:
    """Return the example for a model, with an image that the cluster has: without pyarrow it scores CSV."""
    found: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    template = found["spec"]["template"]
    (container,) = template["spec"]["containers"]
    template["metadata"]["labels"] |= TEST_LABEL
    container |= {"image": RUNTIME_IMAGE, "env": literals(ref)}
    container["resources"]["requests"]["cpu"] = "100m"  # the node has two processors, and other pods
    return found


def test_job_of_the_example_scores_a_table(quiet: Kube, wine: ModelRef, volume: str) -> None:
    folder = RUN / "volumes" / volume
    (row,) = WINE["dataframe_split"]["data"]
    rows = folder / "rows" / "day=2024-01-31" / "a.csv"
    rows.parent.mkdir(parents=True)
    rows.write_text(
        ",".join(["id", *COLUMNS]) + "\n" + "".join(f"{number},{','.join(map(str, row))}\n" for number in (1, 2))
    )
    claim = shared_claim()
    claim["metadata"]["name"] = "tables"
    scoring = job(wine)
    name = scoring["metadata"]["name"]
    quiet.apply(claim, scoring)
    ended = quiet.attempt("-n", COMPUTE, "wait", "--for=condition=Complete", f"job/{name}", "--timeout=180s")
    log = quiet.attempt("-n", COMPUTE, "logs", f"job/{name}", "--all-containers").stdout
    quiet("-n", COMPUTE, "delete", "job", name, "--wait=true")

    assert ended.returncode == 0, log
    part = folder / "predictions" / "day=2024-01-31" / "a.csv"
    scored = list(csv.DictReader(io.StringIO(part.read_text())))
    assert [one["id"] for one in scored] == ["1", "2"]
    assert [float(one["prediction"]) for one in scored] == pytest.approx([predict(quiet, "wine-quality")] * 2)
