"""The README's first command, as a newcomer runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A minute on two processors that have nothing else to do.
pytestmark = pytest.mark.timeout(1860)


def processes_that_name(text: str) -> list[str]:
    """Return the command lines of running processes that hold `text`."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [line for line in lines if text in line]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    directory = tmp_path_factory.mktemp("demo")
    # What a machine says of its authorities and its index stays: the demo installs MLflow where it is not there yet.
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(directory),
        "COLUMNS": "100",
    }
    return subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


def test_demo_ends_with_everything_checked(told: subprocess.CompletedProcess[str]) -> None:
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("✓") == 11
    assert "✗" not in told.stdout
    assert "Everything held" in told.stdout
    assert told.stderr == ""


def test_demo_shows_the_patch(told: subprocess.CompletedProcess[str]) -> None:
    assert "/spec/initContainers" in told.stdout
    assert "mlflow-model-init" in told.stdout
    assert "/spec/containers/0/volumeMounts" in told.stdout


def test_demo_shows_a_fetch_that_is_cut_and_goes_on(told: subprocess.CompletedProcess[str]) -> None:
    assert told.stdout.count("the connection was cut after 200 of") == 1
    assert "✓ the fetch that was cut went on to the whole model" in told.stdout


def test_demo_shows_what_is_refused(told: subprocess.CompletedProcess[str]) -> None:
    assert told.stdout.count("    refused ") == 3
    assert "promote token" in told.stdout
    assert "its files do not change" in told.stdout


def test_demo_shows_production_change_hands(told: subprocess.CompletedProcess[str]) -> None:
    moves = [line.split("|")[2:6] for line in told.stdout.splitlines() if line.startswith("    | wine-quality")]

    assert [[cell.strip() for cell in move] for move in moves] == [
        ["1", "Staging", "Production", "-"],
        ["2", "Staging", "Production", "1"],
        ["1", "Archived", "Production", "2"],
    ]


def test_demo_leaves_no_process_and_no_file(
    told: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp()

    assert told.returncode == 0
    assert processes_that_name(f"{directory}/demo") == []  # another demo of this machine is none of this one's
    assert list(directory.glob("demo*/model-api-demo-*")) == []
