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
