"""Filters against MLflow's own parsers: a model is found by its name, with any characters."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.environments import python_of
from testbed.gate import Json
from testbed.mlflow_server import MODULES, client_environment
from testbed.processes import JsonLines, json_lines
from tests.tracking_gate.conftest import GATED
from tracking_gate.errors import Refusal
from tracking_gate.mlflow_api import search_filters as filters
from tracking_gate.mlflow_api.search_filters import models_of_filter

SCRIPT = Path(__file__).parents[2] / "testbed" / "mlflow_scripts" / "read_filters.py"
EXAMPLES = 300


@pytest.fixture(scope="module", params=GATED, ids=lambda version: f"mlflow-{version}")
def parser(request: pytest.FixtureRequest) -> Iterator[JsonLines]:
    """Return MLflow's parser of filters, of each version."""
    with json_lines([python_of(f"mlflow-{request.param}"), SCRIPT], MODULES, client_environment()) as found:
        yield found


def parsed(parser: JsonLines, filter_: str, name: str = "x") -> Json:
    return parser.ask({"filter": filter_, "name": name})


CHARACTERS = st.characters(codec="utf-8", exclude_characters="/:", exclude_categories=["Cc"])
NAMES = st.text(st.one_of(st.sampled_from(list("'\"\\`%_;-. ()[]#?*,=x")), CHARACTERS), min_size=1, max_size=24)
ODD = [
    "it's",
    "''",
    "'",
    '"',
    "a\\'b",
    "x' OR name != '",
    "`x`",
    "100%",
    "_",
    "a_b",
    "a;b",
    "a--b",
    "x' --",
    "na\u00efve",
    "\U0001f377",
    "IN ('x')",
    " x ",
    "a\u2028b",
]


@pytest.mark.parametrize("name", ODD)
def test_model_with_an_odd_name_is_found_by_its_filter(parser: JsonLines, name: str) -> None:
    assert parsed(parser, filters.of_name(name), name)["found"] == [True, True]


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(NAMES)
def test_model_of_any_name_is_found_by_its_filter(parser: JsonLines, name: str) -> None:
    assert parsed(parser, filters.of_name(name), name)["found"] == [True, True]


@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(
    st.one_of(
        NAMES.map(lambda name: f"name='{name}'"),
        NAMES.map(lambda name: f'name="{name}"'),
        NAMES.map(lambda name: f"name IN ('{name}','x')"),
    )
)
@example("name='it''s'")
@example("name='a' OR name='b'")
@example("name='a' AND name LIKE '%'")
@example("name IN ('a') OR ('b')")
@example('name = "it\'s"')
def test_token_is_let_search_only_for_names_that_mlflow_reads_alike(parser: JsonLines, filter_: str) -> None:
    try:
        names = models_of_filter(filter_)
    except Refusal:
        return
    found = parsed(parser, filter_).get("parsed")
    if found is not None:
        [[comparator, value]] = found
        assert frozenset([value] if comparator == "=" else value) == names
