"""`make check` on workflows and actions that are wrong."""

from pathlib import Path

import pytest

from testbed.actionlint.__main__ import main

WORKFLOW = "on:\n  pull_request:\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: {}\n"
ACTION = "runs:\n  using: composite\n  steps:\n    - shell: bash\n      run: {}\n"


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        (WORKFLOW.format("echo ${{ github.event.pull_request.title }}"), 1, "is potentially untrusted"),
        (WORKFLOW.format("cat $FILE"), 1, "SC2086"),
        (ACTION.format("cat $FILE"), 1, "SC2086"),
        (ACTION.format('cat "$FILE"'), 0, ""),
    ],
    ids=["an expression in a block", "a variable without quotes", "the same in an action", "nothing"],
)
def test_mistake_in_a_block_is_found(
    text: str, code: int, sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.yml"
    file.write_text(text)

    assert main([str(file)]) == code
    assert sentence in "".join(capfd.readouterr())
