"""The data scientist's first notebook, executed in a kernel of its own."""

from typing import Any, Final

import nbformat

from demo.context import NAME, DemoContext, jane_environment
from testbed.gate import Gate
from testbed.mlflow_server import client_environment
from testbed.notebooks import PROJECT_FOLDER, Notebook, execute, pictures, read

NOTEBOOK: Final = PROJECT_FOLDER / "mlflow-model.ipynb"
SECOND_BEST: Final = 'best = found.iloc[1]\nmodel = models[best["run_id"]]'
# MLflow loads a model in another process to find what it imports, for seconds; that is the same for both.
SAME_LIBRARIES: Final = "pip_requirements=mlflow.pyfunc.get_model_dependencies(logged.model_uri), **place"


def train(context: DemoContext, gate: Gate) -> Notebook:
    """Register versions 1 and 2: run the notebook, then log a second model with its last cells."""
    with context.terminal.step("Execute examples/domino-project/mlflow-model.ipynb as Jane: train, compare, register"):
        notebook = read(NOTEBOOK)
        logs = next(cell.source for cell in notebook.cells if "log_model(" in cell.source)
        again = logs.replace("**place", SAME_LIBRARIES)
        notebook.cells += [nbformat.v4.new_code_cell(source) for source in (SECOND_BEST, again)]  # type: ignore[no-untyped-call]  # it types little

        def heading(cell: Any, cell_index: int) -> None:
            if cell.source.startswith("## ") and "goes wrong" not in cell.source:
                context.terminal.note(cell.source.splitlines()[0].removeprefix("## "))

        executed = execute(
            notebook, PROJECT_FOLDER, client_environment() | jane_environment(gate), on_cell_start=heading
        )
        cells = sum(cell.cell_type == "code" for cell in executed.cells)
        context.terminal.note(
            f"{cells} cells, {len(pictures(executed))} plots, 6 runs; {NAME} has versions 1 and 2 now"
        )
    return executed
