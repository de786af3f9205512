"""The former version, made from a commit of this repository."""

from pathlib import Path

import pytest

from testbed import former_version
from testbed.former_version import FormerVersionError


def test_commit_that_a_shallow_clone_lacks_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(former_version, "CACHE", tmp_path)
    absent = "0123456789" * 4

    with pytest.raises(FormerVersionError, match=f"the commit {absent} .* is not in this clone: .*--unshallow"):
        former_version.former_version(absent)
    assert list(tmp_path.rglob("source")) == []
