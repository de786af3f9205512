"""A Go program is compiled once, also if two runs of the tests want it at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed.go_programs import compile_package

GO = """#!/bin/sh
echo "$@" >> "$COMPILED"
sleep 0.2
while [ "$1" != -o ]; do shift; done
echo done > "$2"
"""


def test_program_that_two_runs_want_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, compiled, target = tmp_path / "bin" / "go", tmp_path / "compiled", tmp_path / "program"
    compiler.parent.mkdir()
    compiler.write_text(GO)
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    monkeypatch.setenv("COMPILED", str(compiled))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: compile_package(tmp_path, ".", target), range(2)))

    assert target.read_text() == "done\n"
    assert len(compiled.read_text().splitlines()) == 1
