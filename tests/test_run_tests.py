"""`make test` starts several runs at once, and its end tells of all of them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = (
    "import sys; from testbed.run_tests import main; sys.exit(main(sys.argv[1:], {'tests/apart': (), 'tests/other':"
    " ()}))"
)
PASSES, FAILS = "def test_it() -> None:\n    assert True\n", "def test_it() -> None:\n    assert False\n"


def run(directory: Path, files: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / ".coveragerc").write_text("[run]\nparallel = true\nsource = tests\n")
    command = [sys.executable, "-c", CODE, *arguments]
    return subprocess.run(
        command, cwd=directory, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=120
    )


FILES = {
    "tests/test_a.py": PASSES,
    "tests/test_b.py": PASSES,
    "tests/apart/test_c.py": PASSES,
    "tests/other/test_d.py": PASSES,
}


def test_all_runs_are_counted_in_the_last_line(tmp_path: Path) -> None:
    done = run(tmp_path, FILES)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 4 passed in " in done.stdout.splitlines()[-1]
    assert (
        done.stdout.index("2 passed in")
        < done.stdout.index("tests/apart, beside them:")
        < done.stdout.index("1 passed in")
    )
    assert "TOTAL" in done.stdout
    assert "test_c.py" in done.stdout.partition("Cover")[2]


@pytest.mark.parametrize("name", FILES)
def test_failure_of_any_run_fails_all(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, FILES | {name: FAILS})

    assert done.returncode == 1
    assert "1 failed" in done.stdout.splitlines()[-1]
    assert "3 passed" in done.stdout.splitlines()[-1]


def test_tests_that_are_left_out_are_no_failure(tmp_path: Path) -> None:
    left_out = {"tests/apart/conftest.py": 'collect_ignore_glob = ["test_*.py"]\n', "tests/apart/test_c.py": FAILS}

    done = run(tmp_path, FILES | left_out)

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 3 passed in " in done.stdout.splitlines()[-1]


def test_arguments_name_what_is_run(tmp_path: Path) -> None:
    done = run(tmp_path, {"tests/test_a.py": FAILS, "tests/apart/test_c.py": PASSES}, "tests/apart", "-q")

    assert done.returncode == 0, done.stdout + done.stderr
    assert " 1 passed in " in done.stdout.splitlines()[-1]
