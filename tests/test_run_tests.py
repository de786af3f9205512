"""`make test` starts several runs at once, and its last line counts all of them."""

import re
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


def run(
    directory: Path, files: dict[str, str], *arguments: str, coverage: str = "0"
) -> "subprocess.CompletedProcess[str]":
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / ".coveragerc").write_text("[run]\nparallel = true\nsource = tests\n")
    command = [sys.executable, "-c", CODE, *arguments]
    # A pytest without other plugins starts in a third of the time.
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
    env = {"PYTHONPATH": str(ROOT), "COVERAGE": coverage} | plugins
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False, timeout=600)


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
        < done.stdout.index("tests/apart, at the same time:")
        < done.stdout.index("1 passed in")
    )
    assert "TOTAL" not in done.stdout


# Nothing waits for the process that works: its parent is killed with it, as that of a server's worker is.
WORKS = """\
import os
import sys
from subprocess import PIPE, Popen

WORK = "import time\\nwhile time.process_time() < 2: pass\\nprint(1, flush=True)\\ntime.sleep(60)"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_it() -> None:
    with Popen([sys.executable, "-c", PARENT, WORK], stdout=PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"1\\n"
        os.killpg(process.pid, 9)
"""


def test_processor_seconds_of_each_run_are_told_with_those_of_all_its_processes(tmp_path: Path) -> None:
    done = run(tmp_path, FILES | {"tests/other/test_d.py": WORKS})

    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()[-2].removeprefix("processor seconds: ").split(", ")
    seconds = {name: int(number) for name, _, number in (entry.rpartition(" ") for entry in told)}
    assert list(seconds) == ["the rest", "tests/apart", "tests/other", "fork servers"]
    assert seconds["tests/other"] > seconds["tests/apart"]


# Each of two waits for the other, whose program is a fork of the same process then.
FORKS = """\
import os
import sys
import time
from pathlib import Path

from testbed.forks import fork_server


def test_it() -> None:
    output = Path(f"{Path(__file__).stem}.out").absolute()
    server = fork_server(sys.executable, "json")
    program = server.start([Path("parent.py").absolute()], env=os.environ, output=output, errors=output)
    assert program.wait(60) == 0
    deadline = time.monotonic() + 60
    while len(list(output.parent.glob("*.out"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
"""


@pytest.mark.parametrize(("other", "arguments"), [("apart", ["tests/apart"]), ("other", [])], ids=["of one", "of two"])
def test_processes_of_all_runs_share_the_process_whose_forks_are_programs(
    tmp_path: Path, other: str, arguments: list[str]
) -> None:
    files = {"parent.py": "import os\nprint(os.getppid())\n", "tests/test_a.py": PASSES}
    done = run(tmp_path, files | {"tests/apart/test_b.py": FORKS, f"tests/{other}/test_c.py": FORKS}, *arguments)

    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (path.read_text() for path in tmp_path.glob("*.out"))
    assert first == second


def test_coverage_of_all_runs_is_one_table_when_it_is_asked_for(tmp_path: Path) -> None:
    done = run(tmp_path, FILES, coverage="1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "TOTAL" in done.stdout
    assert all(f"{Path(name).name}" in done.stdout.partition("Cover")[2] for name in FILES)


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


@pytest.mark.parametrize(
    ("argument", "is_shared_out"),
    [("tests/other", True), ("tests/other/test_d.py", False), ("tests/cluster", False), ("tests", False)],
)
def test_files_of_a_folder_are_shared_out_to_processes_but_those_of_the_one_cluster(
    tmp_path: Path, argument: str, is_shared_out: bool
) -> None:
    expects = (
        f"import os\n\ndef test_it() -> None:\n    assert ('PYTEST_XDIST_WORKER' in os.environ) is {is_shared_out}\n"
    )

    done = run(tmp_path, {"tests/other/test_d.py": expects, "tests/cluster/test_f.py": expects}, argument)

    assert done.returncode == 0, done.stdout + done.stderr


def test_full_tests_are_run_only_when_they_are_asked_for(tmp_path: Path) -> None:
    files = FILES | {"tests/full/test_e.py": FAILS}

    assert run(tmp_path, files).returncode == 0
    assert run(tmp_path, files, "--full").returncode == 1


def test_full_tests_that_skip_fail(tmp_path: Path) -> None:
    skips = "import pytest\n\ndef test_it() -> None:\n    pytest.skip('no Spark')\n"

    done = run(tmp_path, FILES | {"tests/full/test_e.py": skips}, "--full")

    assert done.returncode == 1
    assert "tests/full skips nothing" in done.stdout
    assert " 1 skipped in " in done.stdout.splitlines()[-1]


def test_parts_of_the_full_tests_run_in_a_pytest_each(tmp_path: Path) -> None:
    """So the tests of the one cluster, those of Spark and Ray, and the others take the time of the longest part."""
    test = "import os, pytest\n\n{}\ndef test_it() -> None:\n    print('process', os.getpid())\n"
    parts = {
        f"tests/full/test_{number}.py": test.format(mark)
        for number, mark in enumerate(["@pytest.mark.cluster", "@pytest.mark.engines", ""])
    }
    settings = {"pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["-rP"]\nmarkers = ["cluster", "engines"]\n'}

    done = run(tmp_path, FILES | parts | settings, "--full")

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(set(re.findall(r"^process (\d+)$", done.stdout, re.MULTILINE))) == len(parts)
    assert " 3 passed in " in done.stdout.splitlines()[-1]


def test_folder_of_full_tests_may_be_empty(tmp_path: Path) -> None:
    done = run(tmp_path, FILES | {"tests/full/README.md": ""}, "--full")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "no tests ran" in done.stdout.splitlines()[-1]


def test_full_tests_can_be_collected_and_have_their_fixtures() -> None:
    """A name that `tests/full` has from another folder, and that is gone, shows here and not before a release."""
    command = [sys.executable, "-m", "pytest", "-qq", "-n0", "-p", "no:cacheprovider", "--setup-plan", "tests/full"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)

    assert done.returncode == 0, done.stdout[-5000:]
