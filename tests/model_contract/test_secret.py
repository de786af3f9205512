"""A token can be read and sent, and not printed."""

import pickle
from pathlib import Path

import pytest

from model_contract.secret import Secret


def test_secret_does_not_show_its_value() -> None:
    secret = Secret("t0ken")

    assert "t0ken" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "t0ken"


def test_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("t0ken"))


def test_secret_from_a_file_loses_the_newline_at_its_end(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t0ken\n")

    assert Secret.from_file(file).reveal() == "t0ken"


@pytest.mark.parametrize(
    "content",
    ["", " \n", "two words", "line\nline", "tök"],
    ids=["empty", "blank", "space", "newline inside", "non-ASCII"],
)
def test_secret_file_without_a_token_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)

    with pytest.raises(ValueError, match="token") as refusal:
        Secret.from_file(file)

    assert not content.strip() or content not in str(refusal.value)
