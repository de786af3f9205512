"""The testbed's execution of notebooks: its effects on its own process, and the processes that it leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from testbed.notebooks import execute

ROOT = Path(__file__).parents[2]
SLEEPS = """
import sys
from pathlib import Path
import nbformat
from testbed.notebooks import execute
code = "import os, pathlib, time; pathlib.Path('kernel').write_text(str(os.getpid())); time.sleep(600)"
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
execute(notebook, Path(sys.argv[1]), {})
"""


def test_executing_a_notebook_leaves_signals_as_they_were(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)")])
        (cell,) = execute(notebook, tmp_path, os.environ).cells

        assert cell.outputs[0]["text"] == "42\n"
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
def test_interrupted_notebook_takes_its_kernel_with_it(tmp_path: Path, sent: signal.Signals) -> None:
    # What a shell starts in the background, these tests perhaps, ignores SIGINT, and so do its children.
    script = f"import signal; signal.signal({sent:d}, signal.default_int_handler)" + SLEEPS
    kernel, log = tmp_path / "kernel", tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=ROOT, stderr=output) as process,
    ):
        while not (kernel.exists() and kernel.read_text()):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        process.send_signal(sent)
        process.wait(60)

    assert log.read_text().splitlines()[-1] == "KeyboardInterrupt"
    assert not Path("/proc", kernel.read_text()).exists()
