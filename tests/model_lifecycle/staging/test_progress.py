"""The progress that a person sees."""

import io

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
