import pytest

from model_contract.model_ref import IncompleteVariablesError, ModelRef
from model_delivery.settings import model_ref, model_variables


@pytest.mark.parametrize(
    ("option", "environ", "value"),
    [
        (None, {}, None),
        (None, {"MLFLOW_RUN_ID": "own"}, "own"),
        ("option", {"MLFLOW_RUN_ID": "own"}, "option"),
        ("", {"MLFLOW_RUN_ID": "own"}, ""),
        (None, {"MODEL_API_SOURCE_0_MLFLOW_RUN_ID": "first"}, "first"),
        (
            None,
            {"MODEL_API_SOURCE_2_MLFLOW_RUN_ID": "third", "MODEL_API_SOURCE_10_MLFLOW_RUN_ID": "eleventh"},
            "eleventh",
        ),
        (None, {"MODEL_API_SOURCE_2_MLFLOW_RUN_ID": "third", "MLFLOW_RUN_ID": "own"}, "own"),
        (None, {"MODEL_API_SOURCE_2_MLFLOW_RUN_ID": "third", "MLFLOW_RUN_ID": ""}, ""),
        (None, {"MODEL_API_SOURCE_1_MLFLOW_RUN_ID": "set", "MODEL_API_SOURCE_2_MLFLOW_RUN_ID": ""}, ""),
        (None, {"MODEL_API_SOURCE_x_MLFLOW_RUN_ID": "no", "MODEL_API_SOURCE_1_MLFLOW_RUN_ID_2": "no"}, None),
    ],
    ids=[
        "nothing",
        "own name",
        "an option beats the environment",
        "an empty option too",
        "a source",
        "sources are numbers: the highest wins",
        "the own name beats sources",
        "also when it is empty, as in Kubernetes",
        "a later source beats an earlier one also when it is empty",
        "similar names are others",
    ],
)
def test_a_variable_is_taken_from_the_strongest_place(
    option: str | None, environ: dict[str, str], value: str | None
) -> None:
    assert model_variables({"MLFLOW_RUN_ID": option}, environ).get("MLFLOW_RUN_ID") == value


def test_variables_may_come_from_several_places() -> None:
    environ = {
        "MODEL_API_SOURCE_0_MLFLOW_MODEL_NAME": "wine",
        "MLFLOW_MODEL_OWNER": "jane",
        "MODEL_API_SOURCE_1_MLFLOW_RUN_ID": "r1",
    }

    assert model_ref({"MLFLOW_MODEL_VERSION": "2"}, environ) == ModelRef(
        name="wine", version="2", owner="jane", run_id="r1"
    )


def test_no_variable_means_no_model() -> None:
    assert model_ref({}, {"PATH": "/bin"}) is None


def test_some_variables_are_an_error_that_names_the_others() -> None:
    with pytest.raises(IncompleteVariablesError, match="MLFLOW_MODEL_VERSION, MLFLOW_RUN_ID are not set"):
        model_ref({}, {"MLFLOW_MODEL_NAME": "wine", "MLFLOW_MODEL_OWNER": "jane", "MLFLOW_RUN_ID": ""})
