"""Execute a notebook as a person does: in its folder, from top to bottom, in a kernel of its own."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from testbed.environments import CACHE

PROJECT_FOLDER: Final = Path(__file__).parent.parent / "examples" / "domino-project"
PICTURE: Final = "image/png"
SECONDS: Final = 600  # for a cell, and for a kernel to start: the first cell imports everything

Notebook = Any  # nbformat's own kind of dict, without types


def read(notebook: Path) -> Notebook:
    return nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]  # it types little


def executed(notebook: Path, environ: Mapping[str, str], *, python: Path = Path(sys.executable)) -> Notebook:
    """Return the notebook of a file with its outputs; the file does not change. `python` needs ipykernel."""
    return execute(read(notebook), notebook.parent, environ, python=python)


def execute(
    notebook: Notebook,
    folder: Path,
    environ: Mapping[str, str],
    *,
    python: Path = Path(sys.executable),
    **hooks: Callable[..., Any],
) -> Notebook:
    """Execute a notebook in `folder`; `hooks` are nbclient's, such as `on_cell_start`.

    Raises nbclient.exceptions.CellExecutionError, with the cell and its traceback, if a cell fails.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-") as directory:
        # Matplotlib needs seconds to list the machine's fonts, which it keeps in that folder.
        own = {"IPYTHONDIR": directory, "MPLCONFIGDIR": str(CACHE / "matplotlib")}
        where = {"metadata": {"path": str(folder)}}
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            startup_timeout=SECONDS,
            km=manager(python, Path(directory)),
            resources=where,
            **hooks,
        )
        with asyncio.Runner(loop_factory=Loop) as runner:
            # Not `run`, which makes of an interrupt a kernel that has died. What is left ends with the block.
            return runner.get_loop().run_until_complete(client.async_execute(cleanup_kc=True, env=dict(environ) | own))


class Loop(asyncio.SelectorEventLoop):
    """An event loop that leaves signals to the process: nbclient would replace the handlers and restore others."""

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]  # it takes nothing, whatever it is
        raise RuntimeError("as outside of the main thread, which nbclient knows")

    def remove_signal_handler(self, *_: Any) -> bool:
        raise RuntimeError("as above")


def manager(python: Path, directory: Path) -> AsyncKernelManager:
    """Return the manager of a kernel in the environment of `python`.

    They talk through sockets in `directory`: no port is open.
    """
    kernel = directory / "kernels" / "here"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "here", "language": "python"}))
    specs = KernelSpecManager(kernel_dirs=[str(kernel.parent)])
    return AsyncKernelManager(
        kernel_name="here",
        kernel_spec_manager=specs,
        connection_file=str(directory / "connection.json"),
        transport="ipc",
        ip=str(directory / "socket"),
    )


def pictures(notebook: Notebook) -> list[str]:
    """Return the plots of the cells, as base64."""
    return [output["data"][PICTURE] for output in outputs(notebook) if PICTURE in output.get("data", {})]


def outputs(notebook: Notebook) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
