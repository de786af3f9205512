"""Executes a notebook as a person does: in its folder, from top to bottom, in a kernel of its own."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

PROJECT_FOLDER: Final = Path(__file__).parent.parent / "examples" / "domino-project"
PICTURE: Final = "image/png"

Notebook = Any  # nbformat's own kind of dict, without types


def executed(notebook: Path, environ: Mapping[str, str], *, python: Path = Path(sys.executable), seconds: int = 180) -> Notebook:
    """The notebook with its outputs; the file stays as it is. `python` needs ipykernel.

    Raises nbclient.exceptions.CellExecutionError, with the cell and its traceback, where a cell fails.
    """
    read = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]  # it types little
    with tempfile.TemporaryDirectory(prefix="kernel-") as directory:
        own = {"IPYTHONDIR": directory, "MPLCONFIGDIR": str(Path(directory) / "matplotlib")}
        folder = {"metadata": {"path": str(notebook.parent)}}
        client = NotebookClient(read, timeout=seconds, km=manager(python, Path(directory)), resources=folder)
        return client.execute(cleanup_kc=True, env=dict(environ) | own)


def manager(python: Path, directory: Path) -> AsyncKernelManager:
    """Of a kernel in the environment of `python`. They talk through sockets in `directory`: no port is open."""
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
    """The plots that the cells have shown, as base64."""
    return [output["data"][PICTURE] for output in outputs(notebook) if PICTURE in output.get("data", {})]


def outputs(notebook: Notebook) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
