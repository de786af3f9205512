"""The mounted Secret: read, changed, rotated, expired, damaged, removed."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from model_contract.token_keys import TokenKey, meta_key
from model_contract.tokens import Purpose, Token, new_token
from tracking_gate.secret_directory import CHECK_SECONDS, UNREADABLE_SECONDS, SecretDirectory, read_tokens

PROJECT, OTHER = "66c0a1b2c3d4e5f601234567", "wine-team-2"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def put(directory: Path, token: Token, *, previous: bool = False) -> str:
    key = TokenKey(project_id=token.project_id, purpose=token.purpose, previous=previous)
    (directory / str(key)).write_text(token.value.reveal() + "\n")
    return token.value.reveal()


def test_tokens_are_found_by_their_value(tmp_path: Path) -> None:
    promote, pull = put(tmp_path, new_token(PROJECT, Purpose.PROMOTE)), put(tmp_path, new_token(PROJECT, Purpose.PULL))
    former = put(tmp_path, new_token(PROJECT, Purpose.PULL), previous=True)
    tokens = read_tokens(tmp_path)

    found = [tokens.find(text, NOW) for text in (promote, pull, former)]
    assert [known.key.purpose for known in found if known] == [Purpose.PROMOTE, Purpose.PULL, Purpose.PULL]
    assert tokens.find(new_token(PROJECT, Purpose.PULL).value.reveal(), NOW) is None
    assert tokens.find("", NOW) is None
    assert all(text not in repr(tokens) for text in (promote, pull, former))


def test_token_under_the_key_of_another_is_not_accepted(tmp_path: Path) -> None:
    """Write access to one project's key gives no rights in another project, and no other purpose."""
    for wrong in (new_token(OTHER, Purpose.PROMOTE), new_token(PROJECT, Purpose.PULL)):
        (tmp_path / f"{PROJECT}.apikey").write_text(wrong.value.reveal())
        assert read_tokens(tmp_path).find(wrong.value.reveal(), NOW) is None


def test_legacy_value_is_accepted_on_request_only(tmp_path: Path) -> None:
    legacy = "eyJhbGciOiJIUzI1NiJ9.e30.x"
    (tmp_path / f"{PROJECT}.apikey").write_text(legacy)

    assert read_tokens(tmp_path).find(legacy, NOW) is None
    known = read_tokens(tmp_path, legacy=True).find(legacy, NOW)
    assert known
    assert known.key.project_id == PROJECT


@pytest.mark.parametrize(
    ("expires", "accepted"),
    [
        ((NOW + timedelta(seconds=1)).isoformat(), True),
        (NOW.isoformat(), False),
        ("2026-11-22T00:00:00", False),
        ("soon", False),
        (None, True),
    ],
)
def test_token_ends(tmp_path: Path, expires: str | None, accepted: bool) -> None:
    token = new_token(PROJECT, Purpose.PULL)
    text = put(tmp_path, token)
    entry = {} if expires is None else {"expires": expires}
    (tmp_path / meta_key(PROJECT)).write_text(json.dumps({"tokens": {token.fingerprint: entry}}))

    assert (read_tokens(tmp_path).find(text, NOW) is not None) is accepted


def test_damaged_meta_ends_the_tokens_that_it_is_about(tmp_path: Path) -> None:
    text, other = put(tmp_path, new_token(PROJECT, Purpose.PULL)), put(tmp_path, new_token(OTHER, Purpose.PULL))
    (tmp_path / meta_key(PROJECT)).write_text("{")
    tokens = read_tokens(tmp_path)

    assert tokens.find(text, NOW) is None
    assert tokens.find(other, NOW)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a b", b"\n"])
def test_one_projects_slip_is_not_everybodys(tmp_path: Path, content: bytes) -> None:
    text = put(tmp_path, new_token(OTHER, Purpose.PULL))
    (tmp_path / f"{PROJECT}.apikey").write_bytes(content)
    (tmp_path / "notes.txt").write_text("x")

    assert read_tokens(tmp_path).find(text, NOW)


def test_changed_secret_is_read_again(tmp_path: Path) -> None:
    """The kubelet changes a link to another directory."""
    clock = Clock()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    old, new = (
        put(tmp_path / "first", new_token(PROJECT, Purpose.PULL)),
        put(tmp_path / "second", new_token(PROJECT, Purpose.PULL)),
    )
    mounted = tmp_path / "secret"
    mounted.mkdir()
    (mounted / "..data").symlink_to(tmp_path / "first")
    (mounted / f"{PROJECT}.pull").symlink_to(f"..data/{PROJECT}.pull")
    directory = SecretDirectory(mounted, clock=clock)
    tokens = directory.tokens()
    assert tokens
    assert tokens.find(old, NOW)

    added = put(tmp_path / "second", new_token(OTHER, Purpose.PULL))
    (mounted / "..new").symlink_to(tmp_path / "second")
    (mounted / "..new").rename(mounted / "..data")
    clock.now += CHECK_SECONDS
    moved = directory.tokens()
    (mounted / f"{OTHER}.pull").symlink_to(f"..data/{OTHER}.pull")  # the kubelet does this last
    clock.now += CHECK_SECONDS
    linked = directory.tokens()

    assert moved
    assert [moved.find(text, NOW) is not None for text in (old, new, added)] == [False, True, False]
    assert linked
    assert [linked.find(text, NOW) is not None for text in (old, new, added)] == [False, True, True]


def test_secret_that_is_gone_leaves_the_last_good_set(tmp_path: Path) -> None:
    clock, mounted = Clock(), tmp_path / "secret"
    mounted.mkdir()
    text = put(mounted, new_token(PROJECT, Purpose.PULL))
    directory = SecretDirectory(mounted, clock=clock)
    assert directory.fault is None
    mounted.rename(tmp_path / "away")

    clock.now += UNREADABLE_SECONDS
    tokens = directory.tokens()
    assert tokens
    assert tokens.find(text, NOW)
    assert directory.fault is None
    clock.now += CHECK_SECONDS
    assert "cannot be read" in (directory.fault or "")


def test_secret_that_never_was_gives_nothing(tmp_path: Path) -> None:
    directory = SecretDirectory(tmp_path / "none", clock=Clock())

    assert directory.tokens() is None
    assert "never read" in (directory.fault or "")
