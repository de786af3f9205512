"""The example project as it is committed."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from click import Command, Context, Group

from model_lifecycle.cli import main
from testbed.notebooks import PROJECT_FOLDER
from testbed.processes import completed
from testbed.runtime_server import WITH_MLFLOW

NOTEBOOKS = sorted(PROJECT_FOLDER.glob("*.ipynb"))
DOCS = PROJECT_FOLDER.parents[1] / "docs"
GUIDES = [*sorted(DOCS.glob("*/*.md")), PROJECT_FOLDER / "README.md", *NOTEBOOKS]
QUICKSTART = PROJECT_FOLDER.parents[1] / "manifests" / "overlays" / "quickstart"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebook_is_committed_without_outputs(notebook: Path) -> None:
    read = nbformat.read(notebook, as_version=4)
    code = [cell for cell in read.cells if cell.cell_type == "code"]

    nbformat.validate(read)
    assert [cell.source for cell in code if cell.outputs or cell.execution_count] == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebook_explains_each_cell_of_code(notebook: Path) -> None:
    """Each cell has one idea, and a sentence before it. A cell that shows the result just made needs none."""
    kinds = [cell.cell_type for cell in nbformat.read(notebook, as_version=4).cells]

    assert kinds[0] == "markdown"
    assert "code code code" not in " ".join(kinds)


def test_data_is_what_the_quickstart_trains_on() -> None:
    made = completed(
        [
            sys.executable,
            "-c",
            "import sys; sys.path.insert(0, ''); from train import wines;"
            " wines(1600).astype({'quality': int}).to_csv(sys.stdout, index=False)",
        ],
        env=os.environ,
        cwd=QUICKSTART,
        imported=WITH_MLFLOW,  # as the pods of the notebooks' Domino
    )

    assert made.stdout == (PROJECT_FOLDER / "data" / "wine-quality.csv").read_text()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_guide_names_only_commands_and_options_that_exist(guide: Path) -> None:
    # Helm's release has the same name, and the path of its chart behind it.
    named = re.findall(r"\bmodel-api ([a-z]+)\b(?!/)([^`\n\")]*)", guide.read_text())
    commands = {name: main.get_command(Context(main), name) for name, _ in named}
    options = {name: options_of(found) for name, found in commands.items() if found}

    wrong = [
        (name, option)
        for name, rest in named
        for option in re.findall(r"--[a-z-]+", rest)
        if option not in options.get(name, set())
    ]

    assert [name for name, found in commands.items() if found is None] == []
    assert wrong == []


def options_of(command: Command) -> set[str]:
    """Return the options of a command, or of all commands of a group."""
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options_of(found) for found in command.commands.values())) if isinstance(command, Group) else own


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_targets_of_notebook_links_exist(notebook: Path) -> None:
    text = "\n".join(
        cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "markdown"
    )
    headings = {f"#{line.lstrip('# ').replace(' ', '-')}" for line in text.splitlines() if line.startswith("#")}

    links = re.findall(r"\]\(([^)\s]+)\)", text)

    assert [link for link in links if link not in headings and not (notebook.parent / link).exists()] == []
