"""The name and the version of a model: those that are given, or those of its files."""

from pathlib import Path

import pytest

from serving_runtime.mlmodel import identity

CASES: dict[str, tuple[str | None, tuple[str | None, str | None], tuple[str, str | None]]] = {
    "no file": (None, (None, None), ("model", None)),
    "no file, and a version": (None, ("", "2"), ("model", "2")),
    "the file": ("model_name: wine\nmodel_version: '3'\n", (None, None), ("wine", "3")),
    "a version without quotes": ("model_name: wine\nmodel_version: 3\n", ("", ""), ("wine", "3")),
    "another version": ("model_name: wine\nmodel_version: '3'\n", (None, "4"), ("wine", "4")),
    "a name is given": ("model_name: wine\nmodel_version: '3'\n", ("beer", None), ("beer", None)),
    "a file without a version": ("model_name: wine\n", (None, None), ("wine", None)),
    "a name with a slash": ("model_name: a/b\n", (None, None), ("model", None)),
    "a name that breaks a line": ('model_name: "a\\nb"\n', (None, None), ("model", None)),
    "no mapping": ("- wine\n", (None, None), ("model", None)),
    "no YAML": ("{", (None, None), ("model", None)),
}


@pytest.mark.parametrize("case", CASES)
def test_identity_is_what_is_given_or_what_the_registry_wrote(case: str, tmp_path: Path) -> None:
    text, given, expected = CASES[case]
    if text is not None:
        (tmp_path / "registered_model_meta").write_text(text)

    assert identity(tmp_path, *given) == expected


DELIVERED: dict[str, tuple[str, tuple[str | None, str | None], tuple[str, str | None]]] = {
    "its version, with another name": (
        '{"resolved": {"name": "wine", "version": "3"}}',
        ("cellar", ""),
        ("cellar", "3"),
    ),
    "its name": ('{"resolved": {"name": "wine", "version": "3"}}', ("", ""), ("wine", "3")),
    "another version": ('{"resolved": {"name": "wine", "version": "3"}}', ("cellar", "4"), ("cellar", "4")),
    "a model of a run": ('{"uri": "mlflow://runs/1/model"}', ("cellar", ""), ("cellar", None)),
    "a version with a slash": ('{"resolved": {"name": "wine", "version": "3/4"}}', ("cellar", ""), ("cellar", None)),
    "no object": ("[]", ("", ""), ("model", None)),
    "a text instead": ('{"resolved": "wine"}', ("", ""), ("model", None)),
    "cut": ('{"resolved": {"na', ("", ""), ("model", None)),
}


@pytest.mark.parametrize("case", DELIVERED)
def test_version_is_the_one_that_the_storage_uri_named(case: str, tmp_path: Path) -> None:
    text, given, expected = DELIVERED[case]
    (tmp_path / ".model-api" / "model").mkdir(parents=True)
    (tmp_path / ".model-api" / "model" / "manifest.json").write_text(text)

    assert identity(tmp_path, *given) == expected
