"""`check` says before deployment what would fail in it, and ends with the code that a shell can act on."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from serving_runtime.requirements import differences, needed_packages, pip_line, python_difference

Run = Callable[..., Any]


def checks(ended: Any) -> dict[str, tuple[str, str]]:
    return {found["check"]: (found["verdict"], found["text"]) for found in json.loads(ended.out)["checks"]}


def test_sparse_example_is_compared_as_a_request_brings_it(run: Run, models: Path) -> None:
    ended = run("check", "--model-path", models / "sparse", "--format", "json")

    found = checks(ended)
    assert (ended.code, found["example"][0], found["mlflow"][0]) == (0, "ok", "ok"), ended.out


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models / "wine", tmp_path / "wine"))


def test_good_model_passes_every_check(run: Run, models: Path) -> None:
    ended = run("check", "--model-path", models / "wine", "--format", "json")

    assert ended.code == 0
    found = checks(ended)
    assert {name: verdict for name, (verdict, _) in found.items() if name != "libraries"} == {
        "path": "ok",
        "signature": "ok",
        "load": "ok",
        "example": "ok",
        "mlflow": "ok",
        "loader": "ok",
        "batches": "ok",
    }
    assert found["mlflow"][1].startswith("as PyFuncModel.predict has it")


def test_report_for_people_has_a_line_for_each_check(run: Run, models: Path) -> None:
    ended = run("check", "--model-path", models / "wine")

    assert [line.split()[:2] for line in ended.out.splitlines() if not line.startswith(" ")][:2] == [
        ["ok", "path"],
        ["ok", "signature"],
    ]


def test_library_of_another_version_is_named_with_the_line_that_installs_it(run: Run, copied: Path) -> None:
    (copied / "requirements.txt").write_text(f"mlflow=={version('mlflow-skinny')}\nscikit-learn==0.1\nnumpy>=1\n")

    told = json.loads(run("check", "--model-path", copied, "--format", "json").out)
    strict = run("check", "--model-path", copied, "--require-match")

    found = next(one for one in told["checks"] if one["check"] == "libraries")
    assert (found["verdict"], found["remedy"]) == ("warning", "pip install scikit-learn==0.1")
    assert (told["exit_code"], strict.code) == (0, 6)


def test_missing_library_fails_the_check(run: Run, copied: Path) -> None:
    (copied / "requirements.txt").write_text("no-such-library==1.2\n")

    ended = run("check", "--model-path", copied)

    assert ended.code == 6
    assert "no-such-library is missing, the model was saved with 1.2" in ended.out
    assert "pip install no-such-library==1.2" in ended.out


@pytest.mark.parametrize(
    ("name", "code", "check"),
    [("nowhere", 5, "path"), ("broken", 1, "load")],
)
def test_model_that_cannot_be_served_ends_with_the_code_of_the_server(
    name: str, code: int, check: str, run: Run, models: Path
) -> None:
    ended = run("check", "--model-path", models / name, "--format", "json")

    assert (ended.code, checks(ended)[check][0]) == (code, "failed")


def test_signature_that_cannot_be_read_is_invalid_input(run: Run, copied: Path) -> None:
    (copied / "MLmodel").write_text("flavors: {python_function: {}}\nsignature: {inputs: '{'}\n")

    assert run("check", "--model-path", copied).code == 3


def test_example_that_does_not_fit_the_model_is_one_warning_of_the_check(run: Run, copied: Path) -> None:
    (copied / "serving_input_example.json").write_text('{"inputs": {"pH": 1}}')

    ended = run("check", "--model-path", copied, "--format", "json")

    verdict, text = checks(ended)["example"][:2]
    assert (ended.code, verdict) == (0, "warning")
    assert text.startswith("the model is not warmed: its input example cannot be used: inputs: the column")


def test_model_without_signature_and_example_passes_with_warnings(run: Run, models: Path) -> None:
    ended = run("check", "--model-path", models / "free", "--format", "json")

    assert (ended.code, checks(ended)["signature"][0], checks(ended)["example"][0]) == (0, "warning", "warning")


def test_requirements_of_every_form_are_read(tmp_path: Path) -> None:
    lines = [
        "# a comment",
        "-r other.txt",
        "git+https://host/x.git",
        "",
        "numpy>=1,<9  # fine",
        "pandas==0.1",
        'nothing==1; python_version < "3"',
    ]
    (tmp_path / "requirements.txt").write_text("\n".join([*lines, "absent>=2,<3"]))

    found = differences(tmp_path)

    assert [(one.name, one.wanted, one.installed is None) for one in found] == [
        ("pandas", "0.1", False),
        ("absent", "<3,>=2", True),
    ]
    assert pip_line(found) == 'pip install pandas==0.1 "absent<3,>=2"'


def test_needed_packages_are_those_of_the_requirements_and_what_they_need_here(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("mlflow==3.17.2\nScikit_Learn==1\nuvicorn[standard]\nabsent\n")

    found = set(needed_packages(tmp_path))

    assert {"scikit-learn", "scipy", "numpy", "uvicorn", "absent"} <= found
    assert not {"mlflow", "pandas", "pytest"} & found


def test_other_python_is_a_difference(tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text("python: 3.8.1\n")

    found = python_difference(tmp_path)

    assert found is not None
    assert found.wanted == "3.8.1"


def test_example_that_the_type_hint_refuses_is_one_warning_of_the_check(run: Run, with_refused_example: Path) -> None:
    ended = run("check", "--model-path", with_refused_example, "--format", "json")

    found = checks(ended)
    assert (ended.code, found["example"][0]) == (0, "warning")
    assert found["example"][1].startswith("the model is not warmed: its input example cannot be used: ")
    assert "secret" not in found["example"][1]
    assert "batches" not in found  # nothing can be compared without an example
