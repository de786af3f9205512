"""The progress that a person sees."""

import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from model_lifecycle.progress import WIDTH, ProgressLines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def story(stream: io.StringIO) -> str:
    lines = ProgressLines(stream)
    lines.waiting("Building", 0)
    lines.waiting("Building", 1)
    lines.waiting("Building", 31)
    lines.waiting("Starting", 32)
    lines.done("running", "after 40 s")
    return stream.getvalue()


def test_log_has_a_line_for_each_change_and_one_now_and_then() -> None:
    assert story(io.StringIO()).splitlines() == [
        "waiting    Building, 0 s",
        "waiting    Building, 31 s",
        "waiting    Starting, 32 s",
        "running    after 40 s",
    ]


def test_terminal_has_one_line_that_changes_and_goes() -> None:
    shown = story(Terminal())

    assert shown.count("\n") == 1
    assert shown.endswith("\r" + " " * WIDTH + "\rrunning    after 40 s\n")


class Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [Gone(), None], ids=["a reader that is gone", "a stream that the shell has closed"])
def test_work_goes_on_if_the_reader_has_gone(stream: io.StringIO | None) -> None:
    lines = ProgressLines(stream)
    lines.waiting("Building", 0)
    lines.done("running", "after 40 s")


def test_line_does_not_wrap_on_a_narrow_terminal() -> None:
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    with os.fdopen(terminal, "w") as stream, os.fdopen(reader, "rb", buffering=0) as shown:
        ProgressLines(stream).waiting("Building an environment of many packages", 1)

        assert shown.read(100) == b"\r" + b"waiting    Building an enviro"
