"""deploy-to-staging.ipynb leaves a model API that answers, and says what is to be merged."""

import json
import subprocess

import pytest

from model_contract.names import TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from testbed.gate import PASSWORD, PROJECT
from testbed.notebooks import pictures
from tests.examples.conftest import NAME, Staged

pytestmark = [
    # Executed once, for the first test: half a minute, and more if the machine is busy.
    pytest.mark.timeout(1800),
    # Versions of MLflow 2 are staged by tests/model_lifecycle/staging; for the notebook both are alike.
    pytest.mark.parametrize("any_gate", ["3.17"], indirect=True, ids=["mlflow-3.17"], scope="session"),
]


def texts(staged: Staged) -> list[str]:
    """Return the printed text of each cell."""
    cells = [cell for cell in staged.notebook.cells if cell.cell_type == "code"]
    return ["".join(output["text"] for output in cell.outputs if output["output_type"] == "stream") for cell in cells]


def test_notebook_moves_the_version_to_staging(staged: Staged) -> None:
    (model,) = staged.domino.model_apis()

    assert staged.version()["current_stage"] == "Staging"
    assert staged.tags()[TAG_MODEL_ID] == model.id
    assert staged.tags()[TAG_MODEL_VERSION_ID] in staged.domino.pods()


def test_command_that_the_notebook_shows_gets_a_prediction(staged: Staged) -> None:
    command = next(text for text in texts(staged) if "curl -s" in text).partition("curl")
    answer = subprocess.run(["/bin/sh", "-c", "".join(command[1:])], capture_output=True, text=True, check=True)

    (quality,) = json.loads(answer.stdout)["result"]
    assert 3 < quality < 8


def test_staged_model_predicts_what_the_local_one_does(staged: Staged) -> None:
    (difference,) = (float(text.rpartition(" ")[2]) for text in texts(staged) if "largest difference: " in text)

    assert difference < 1e-12  # libraries of linear algebra may round the last digit by how the numbers lie in memory


def test_notebook_shows_how_far_it_is(staged: Staged) -> None:
    cell = next(cell for cell in staged.notebook.cells if "stage(" in cell.source and cell.cell_type == "code")
    text = "".join(output["text"] for output in cell.outputs)

    assert [line.split()[0] for line in text.splitlines() if not line.startswith("waiting")][-4:] == [
        "running",
        "call",
        "registry",
        "url",
    ]
    assert {output["name"] for output in cell.outputs} == {"stdout"}


def test_notebook_shows_a_refused_value_without_the_value(staged: Staged) -> None:
    refused = next(text for text in texts(staged) if text.startswith("500"))

    assert "vars.pH[0]: a string, where the model takes a number" in refused
    assert "sour" not in refused


def test_entry_that_the_notebook_shows_is_a_promotion_file(staged: Staged) -> None:
    entry = json.loads(texts(staged)[-1])

    assert entry == {PROJECT: [{"name": NAME, "version": 1}]}


def test_notebook_shows_plots_and_no_secret(staged: Staged) -> None:
    shown = json.dumps(staged.notebook)

    assert len(pictures(staged.notebook)) == 1
    assert "DOMINO_USER_API_KEY" in shown
    assert PASSWORD not in shown
    assert staged.domino.api_key not in shown
