"""One validation for every piece: what is accepted, and what the refusal says."""

import re

import pytest

from model_contract.model_ref import IncompleteVariablesError, InvalidVariableError, ModelRef, validate
from model_contract.names import MODEL_NAME, MODEL_OWNER, MODEL_VARIABLES, MODEL_VERSION, RUN_ID

VARIABLES = {
    MODEL_NAME: "wine-quality",
    MODEL_OWNER: "jane.doe",
    MODEL_VERSION: "2",
    RUN_ID: "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5",
}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (MODEL_OWNER, "j"),
        (MODEL_OWNER, "jane.doe"),
        (MODEL_OWNER, "jane@example.com"),
        (MODEL_OWNER, "a" + "-" * 126 + "z"),
        (RUN_ID, "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"),
        (RUN_ID, "r_1-a"),
        (MODEL_VERSION, "1"),
        (MODEL_VERSION, "999999999"),
        (MODEL_NAME, "wine quality ✓"),
        (MODEL_NAME, "-m"),
        (MODEL_NAME, "n" * 256),
    ],
)
def test_value_of_the_right_form_is_accepted(variable: str, value: str) -> None:
    assert validate(variable, value) == value


@pytest.mark.parametrize(
    ("variable", "value", "code", "fault"),
    [
        (MODEL_OWNER, "", "invalid_owner", "it is empty"),
        (MODEL_OWNER, "../x", "invalid_owner", 'it holds ".."'),
        (MODEL_OWNER, "a/b", "invalid_owner", 'it holds "/"'),
        (MODEL_OWNER, "a:b", "invalid_owner", 'it holds ":"'),
        (MODEL_OWNER, "a b", "invalid_owner", 'it holds " "'),
        (MODEL_OWNER, "a..b", "invalid_owner", 'it holds ".."'),
        (MODEL_OWNER, "jane\n", "invalid_owner", "it holds a control character"),
        (MODEL_OWNER, "ja\x00ne", "invalid_owner", "it holds a control character"),
        (MODEL_OWNER, "jané", "invalid_owner", "it holds a character outside ASCII"),
        (MODEL_OWNER, "$(USER)", "invalid_owner", "it holds a reference $(...) that nothing resolves"),
        (MODEL_OWNER, ".jane", "invalid_owner", "it has another form"),
        (MODEL_OWNER, "a" * 129, "invalid_owner", "it has 129 characters, more than 128"),
        (RUN_ID, "run.1", "invalid_run_id", "it has another form"),
        (RUN_ID, "-run", "invalid_run_id", "it has another form"),
        (RUN_ID, "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5\n", "invalid_run_id", "it holds a control character"),
        (MODEL_VERSION, "latest", "invalid_model_version", "it has another form"),
        (MODEL_VERSION, "\uff11", "invalid_model_version", "it holds a character outside ASCII"),
        (MODEL_VERSION, "1" * 10, "invalid_model_version", "it has 10 characters, more than 9"),
        (MODEL_NAME, "a/b", "invalid_model_name", 'it holds "/"'),
        (MODEL_NAME, "a:b", "invalid_model_name", 'it holds ":"'),
        (MODEL_NAME, "a\x7fb", "invalid_model_name", "it holds a control character"),
        (MODEL_NAME, "a\ud800b", "invalid_model_name", "it holds a control character"),
    ],
)
def test_value_of_another_form_is_refused_with_its_fault(variable: str, value: str, code: str, fault: str) -> None:
    with pytest.raises(InvalidVariableError, match=re.escape(fault)) as refusal:
        validate(variable, value)

    assert refusal.value.code == code
    assert refusal.value.variable == variable
    assert str(refusal.value).startswith(f"{variable} is ")
    assert "such as" in str(refusal.value)


def test_refusal_shows_a_long_value_cut_and_escaped() -> None:
    with pytest.raises(InvalidVariableError) as refusal:
        validate(MODEL_OWNER, "é\n" * 100)

    shown = str(refusal.value).split(": ", maxsplit=1)[0]
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.endswith('..."')
    assert shown.count("\\n") == 20


def test_reference_is_complete_when_all_variables_are_set() -> None:
    reference = ModelRef.from_variables(VARIABLES | {"PATH": "/usr/bin"})

    assert reference == ModelRef(
        name="wine-quality", owner="jane.doe", version="2", run_id="5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"
    )
    assert reference.variables() == VARIABLES


def test_reference_is_absent_when_no_variable_is_set() -> None:
    assert ModelRef.from_variables({"PATH": "/usr/bin"}) is None
    assert ModelRef.from_variables(dict.fromkeys(MODEL_VARIABLES, "")) is None


@pytest.mark.parametrize("missing", MODEL_VARIABLES)
def test_reference_with_one_variable_missing_names_it(missing: str) -> None:
    with pytest.raises(IncompleteVariablesError, match=f"^{missing} is not set; set it$") as refusal:
        ModelRef.from_variables(VARIABLES | {missing: ""})

    assert refusal.value.missing == (missing,)


def test_reference_with_several_variables_missing_names_them_all() -> None:
    with pytest.raises(
        IncompleteVariablesError, match=r"^MLFLOW_MODEL_NAME, MLFLOW_MODEL_VERSION are not set; set them$"
    ):
        ModelRef.from_variables({MODEL_OWNER: "jane.doe", RUN_ID: "1"})


def test_reference_cannot_be_built_from_a_malformed_value() -> None:
    with pytest.raises(InvalidVariableError):
        ModelRef(name="wine", version="2", owner="../x", run_id="1")
