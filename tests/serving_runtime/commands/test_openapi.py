"""The document is valid, has every route of the server, and what is made from it does not bring the server down."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from serving_runtime.http.routes import ROUTES
from testbed.processes import installed, running
from testbed.runtime_server import RuntimeServer, serving

Run = Callable[..., Any]
NAMES = (
    "wine",
    "scalars",
    "optional",
    "unnamed",
    "nested",
    "map",
    "tensor",
    "tensors",
    "texts",
    "free",
    "hinted",
    "params",
    "array",
)


def document(run: Run, model: Path, *flags: str) -> dict[str, Any]:
    ended = run("openapi", "--model-path", model, *flags)
    assert ended.code == 0, ended.err
    parsed: dict[str, Any] = json.loads(ended.out)
    return parsed


@pytest.mark.parametrize("name", NAMES)
def test_document_of_every_signature_is_valid(name: str, run: Run, models: Path) -> None:
    validate(document(run, models / name))


def test_document_has_the_models_name_version_and_example(run: Run, models: Path) -> None:
    found = document(run, models / "wine", "--model-name", "wine-quality", "--model-version", "3")

    assert (found["info"]["title"], found["info"]["version"]) == ("wine-quality", "3")
    body = found["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["logged"]["value"] == json.loads(
        (models / "wine" / "serving_input_example.json").read_text()
    )


def test_document_has_the_columns_with_their_types(run: Run, models: Path) -> None:
    found = document(run, models / "optional")

    forms = found["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    row = next(form for form in forms if "dataframe_records" in form["properties"])["properties"]["dataframe_records"][
        "items"
    ]
    assert row["required"] == ["id"]
    assert row["properties"]["id"]["type"] == "integer"
    assert row["properties"]["boolean"]["type"] == ["boolean", "null"]


def test_document_has_every_route_of_the_server(run: Run, models: Path) -> None:
    found = document(run, models / "wine")

    assert [
        f"{route.method} {route.pattern}"
        for route in ROUTES
        if route.method.lower() not in found["paths"].get(route.pattern, {})
    ] == []


@pytest.fixture(scope="module")
def fuzzed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("fuzzed")
    with serving(models / "optional", "--workers", "1", log=directory / "log") as server:
        yield server


def test_requests_generated_from_the_document_get_no_server_error(fuzzed: RuntimeServer, tmp_path: Path) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    flags = [
        "--max-examples",
        "15",
        "--seed",
        "7",
        "--phases",
        "examples,fuzzing",
        "--checks",
        checks,
        "--suppress-health-check",
        "all",
    ]
    command = [
        installed("schemathesis"),
        "run",
        f"{fuzzed.url}/openapi.json",
        *flags,
        "--no-color",
        "--generation-database",
        "none",
    ]

    with running(
        command, log=tmp_path / "schemathesis", env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, cwd=tmp_path
    ) as process:
        code = process.popen.wait(200)

    assert code == 0, process.tail(60)
    assert re.search(r"[1-9]\d* (?:passed|generated)", process.tail(60)), process.tail(60)
    assert fuzzed.get("/readyz").status == 200
