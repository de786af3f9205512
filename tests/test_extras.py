"""Commands and imports without the project's extras name the one to install."""

import subprocess
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "model-api": ("model_lifecycle", "lifecycle"),
    "model-api-gate": ("tracking_gate", "gate"),
    "model-api-runtime": ("serving_runtime", "runtime"),
    "model-api-webhook": ("webhook", "webhook"),
}
# With click, which many other packages bring along, a program starts, and a command of it does not.
COMMANDS = {
    "model-api": ["validate", "model_version.json"],
    "model-api-gate": ["serve", "--upstream", "http://localhost:1", "--secret-dir", "."],
    "model-api-webhook": ["serve"],
}


def python_with(directory: Path, *packages: str) -> Path:
    """Return the interpreter of an environment that sees the checkout and these packages only."""
    venv.create(directory, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)}))
    (site / "checkout.pth").write_text(f"{ROOT}\n")
    for package in packages:
        spec = find_spec(package)
        assert spec and spec.origin
        (site / package).symlink_to(Path(spec.origin).parent)
    return directory / "bin" / "python"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_with(tmp_path_factory.mktemp("bare") / "venv")


@pytest.fixture(scope="module")
def with_click(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_with(tmp_path_factory.mktemp("click") / "venv", "click")


def ran(python: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, check=False)


def program(name: str) -> str:
    return f"import sys; from {PROGRAMS[name][0]}.cli import main; sys.exit(main())"


def sentence(extra: str) -> str:
    return (
        f"install the extra {extra}: pip install '.[{extra}]' in a checkout, or"
        f" pip install 'mlflow-model-api[{extra}]' from your package index\n"
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_without_its_extra_names_it_in_one_sentence(name: str, bare: Path) -> None:
    done = ran(bare, program(name), "--help")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the package ")
    assert done.stderr.endswith(sentence(PROGRAMS[name][1]))
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_command_without_its_extra_names_it_in_one_sentence(name: str, with_click: Path) -> None:
    done = ran(with_click, program(name), *COMMANDS[name])

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the package ")
    assert done.stderr.endswith(sentence(PROGRAMS[name][1]))
    assert done.stderr.count("\n") == 1


def test_delivery_needs_no_extra(bare: Path) -> None:
    done = ran(bare, "import sys; from model_delivery.cli import main; sys.exit(main())", "--help")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["predict", "load", "make_predict", "Model"])
def test_import_without_the_extra_names_it(name: str, bare: Path) -> None:
    assert ran(bare, "import serving_runtime").returncode == 0

    done = ran(bare, f"from serving_runtime import {name}")

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: the package ")
    assert f"{last}\n".endswith(sentence("function"))
    assert "During handling" not in done.stderr


def test_missing_module_of_this_project_stays_an_error_of_its_own(bare: Path) -> None:
    code = (
        "from model_contract.extras import extra_of_program\nwith extra_of_program('gate'):\n    import"
        " tracking_gate.none"
    )

    assert "ModuleNotFoundError: No module named 'tracking_gate.none'" in ran(bare, code).stderr
