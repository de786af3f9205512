"""The content of the Secret of all projects' tokens after each command, as the gate reads it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_contract.tokens import Purpose, TokenError, parse_token
from model_lifecycle.tokens.store import (
    ENDLESS,
    Data,
    Patch,
    PreconditionError,
    TokenRequest,
    create,
    find,
    listed,
    pull_tokens,
    revoke,
    rotate,
)
from tracking_gate.secret_directory import Tokens, read_tokens

PROJECT, OTHER = "66c0a1b2c3d4e5f601234567", "wine-team-2"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
BOTH = (Purpose.PULL, Purpose.PROMOTE)


def request(project: str = PROJECT, purposes: tuple[Purpose, ...] = BOTH, **more: Any) -> TokenRequest:
    return TokenRequest(project_id=project, purposes=purposes, **more)


def patched(data: Data, patch: Patch) -> dict[str, bytes]:
    """Merge a patch as the API server does."""
    return {key: value for key, value in (dict(data) | dict(patch)).items() if value is not None}


def as_mounted(data: Data, folder: Path) -> Tokens:
    """Return the data as the gate sees it."""
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    for key, value in data.items():
        (folder / key).write_bytes(value)
    return read_tokens(folder)


def test_created_tokens_are_the_ones_that_the_gate_accepts(tmp_path: Path) -> None:
    made = create({}, request(name="wine", owner="jane", ttl=90 * DAY), NOW)
    data = patched({}, made.patch)
    tokens = as_mounted(data, tmp_path / "secret")

    assert data.keys() == {f"{PROJECT}.apikey", f"{PROJECT}.pull", f"{PROJECT}.meta"}
    for token in made.tokens:
        known = tokens.find(token.value.reveal(), NOW)
        assert known
        assert known.key.purpose is token.purpose
        assert tokens.find(token.value.reveal(), NOW + 90 * DAY) is None
    assert {(one.name, one.owner, one.legacy) for one in listed(data)} == {("wine", "jane", False)}
    assert all(token.value.reveal() not in repr((made, listed(data))) for token in made.tokens)


def test_token_that_is_there_is_not_created_again(tmp_path: Path) -> None:
    data = patched({}, create({}, request(purposes=(Purpose.PULL,)), NOW).patch)

    with pytest.raises(PreconditionError, match=r"\.pull is there already; `model-api token rotate`"):
        create(data, request(), NOW)
    assert create(data, request(purposes=(Purpose.PROMOTE,)), NOW).patch.keys() == {
        f"{PROJECT}.apikey",
        f"{PROJECT}.meta",
    }
    with pytest.raises(TokenError):
        create({}, request(project="../x"), NOW)


def test_other_projects_keys_are_not_touched() -> None:
    data = patched({}, create({}, request(project=OTHER), NOW).patch) | {"note": b"x"}

    for patch in (
        create(data, request(), NOW).patch,
        rotate(data, request(project=OTHER), NOW, DAY).patch,
        revoke(data, OTHER, BOTH),
    ):
        assert "note" not in patch
        assert len({key.split(".")[0] for key in patch}) == 1


def test_rotated_token_is_good_for_its_grace(tmp_path: Path) -> None:
    made = create({}, request(), NOW)
    data = patched({}, made.patch)
    fresh = rotate(data, request(), NOW, DAY)
    data = patched(data, fresh.patch)
    tokens = as_mounted(data, tmp_path / "secret")

    for token in made.tokens:
        assert tokens.find(token.value.reveal(), NOW + DAY - timedelta(seconds=1))
        assert tokens.find(token.value.reveal(), NOW + DAY) is None
    for token in fresh.tokens:
        assert tokens.find(token.value.reveal(), NOW + 1000 * DAY)


def test_grace_does_not_lengthen_a_life(tmp_path: Path) -> None:
    made = create({}, request(ttl=timedelta(hours=1)), NOW)
    data = patched({}, made.patch)
    tokens = as_mounted(patched(data, rotate(data, request(), NOW, DAY).patch), tmp_path / "secret")

    assert tokens.find(made.tokens[0].value.reveal(), NOW + timedelta(hours=1)) is None


@pytest.mark.parametrize("ttl", [timedelta(minutes=1), 90 * DAY])
def test_rotated_token_lives_as_long_as_the_former_one(ttl: timedelta, tmp_path: Path) -> None:
    data = patched({}, create({}, request(ttl=ttl), NOW).patch)
    now = NOW
    for _ in range(3):
        now += ttl / 2
        fresh = rotate(data, request(), now, DAY)
        data = patched(data, fresh.patch)
        tokens = as_mounted(data, tmp_path / "secret")

        for token in fresh.tokens:
            assert tokens.find(token.value.reveal(), now + ttl - timedelta(seconds=1))
            assert tokens.find(token.value.reveal(), now + ttl) is None


def test_endless_token_is_made_on_request() -> None:
    data = patched({}, create({}, request(ttl=ENDLESS), NOW).patch)

    assert [one.expires for one in listed(data)] == [None, None]
    assert {one.expires for one in listed(rotated(data, ttl=90 * DAY)) if not one.key.previous} == {
        (NOW + 90 * DAY).isoformat()
    }
    assert {one.expires for one in listed(rotated(data)) if not one.key.previous} == {None}


def rotated(data: Data, **more: Any) -> dict[str, bytes]:
    return patched(data, rotate(data, request(**more), NOW, DAY).patch)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"expires": "2027-01-01T00:00:00+00:00"},
        {"created": "yesterday"},
        {"created": "2026-11-23", "expires": "2026-11-24T00:00:00+00:00"},
    ],
    ids=["nothing", "no beginning", "no time", "without a zone"],
)
def test_rotation_of_a_token_without_a_recorded_lifetime_needs_ttl(entry: dict[str, str]) -> None:
    made = create({}, request(purposes=(Purpose.PULL,)), NOW)
    data = patched({}, made.patch) | {
        f"{PROJECT}.meta": json.dumps({"tokens": {made.tokens[0].fingerprint: {"purpose": "pull"} | entry}}).encode()
    }

    with pytest.raises(PreconditionError, match="--ttl never"):
        rotate(data, request(purposes=(Purpose.PULL,)), NOW, DAY)


def test_missing_token_is_not_rotated_or_revoked() -> None:
    with pytest.raises(PreconditionError, match=r"there is no .*\.pull; `model-api token create`"):
        rotate({}, request(), NOW, DAY)
    with pytest.raises(PreconditionError, match="no token of project"):
        revoke({}, PROJECT, BOTH)


def test_revoked_tokens_are_gone_with_the_former_ones(tmp_path: Path) -> None:
    made = create({}, request(), NOW)
    data = patched({}, made.patch)
    data = patched(data, rotate(data, request(), NOW, DAY).patch)
    without_promote = patched(data, revoke(data, PROJECT, (Purpose.PROMOTE,)))

    assert without_promote.keys() == {f"{PROJECT}.pull", f"{PROJECT}.pull.prev", f"{PROJECT}.meta"}
    assert len(json.loads(without_promote[f"{PROJECT}.meta"])["tokens"]) == 2
    assert patched(data, revoke(data, PROJECT, BOTH)) == {}
    assert as_mounted(without_promote, tmp_path / "secret").find(made.tokens[1].value.reveal(), NOW) is None


def test_legacy_tokens_are_listed_and_replaced() -> None:
    """Legacy tokens are as domino-mlflow-client made them: never decoded."""
    data = {f"{PROJECT}.apikey": b"eyJhbGciOiJIUzI1NiJ9.e30.x"}

    assert [(str(one.key), one.legacy) for one in listed(data)] == [(f"{PROJECT}.apikey", True)]
    after = patched(data, rotate(data, request(purposes=(Purpose.PROMOTE,), ttl=90 * DAY), NOW, DAY).patch)
    assert parse_token(after[f"{PROJECT}.apikey"].decode()).project_id == PROJECT
    assert after[f"{PROJECT}.apikey.prev"] == data[f"{PROJECT}.apikey"]


def test_pods_get_pull_tokens_only() -> None:
    made = create({}, request(), NOW)
    pull = next(token for token in made.tokens if token.purpose is Purpose.PULL)

    assert pull_tokens(patched({}, made.patch)) == {PROJECT: pull.value.reveal()}


def test_token_is_found_by_its_value() -> None:
    made = create({}, request(), NOW)
    data = patched({}, made.patch)

    assert [str(found.key) for token in made.tokens if (found := find(data, token.value.reveal()))] == [
        f"{PROJECT}.pull",
        f"{PROJECT}.apikey",
    ]
    assert find(data, "x") is None


@pytest.mark.parametrize(
    ("expires", "end"),
    [
        ((NOW + timedelta(hours=1)).replace(tzinfo=None).isoformat(), NOW + timedelta(hours=1)),
        ("tomorrow", datetime.min.replace(tzinfo=UTC)),
        (5, datetime.min.replace(tzinfo=UTC)),
    ],
    ids=["in UTC", "no time", "a number"],
)
def test_end_that_an_admin_wrote_is_what_the_gate_reads(expires: Any, end: datetime) -> None:
    """A token that has ended for the gate is not revived by a rotation."""
    made = create({}, request(purposes=(Purpose.PULL,)), NOW)
    entry = {"purpose": "pull", "created": NOW.isoformat(), "expires": expires}
    meta = json.dumps({"tokens": {made.tokens[0].fingerprint: entry}}).encode()
    data = patched({}, made.patch) | {f"{PROJECT}.meta": meta}

    found = listed(rotated(data, purposes=(Purpose.PULL,), ttl=DAY))

    assert [one.expires for one in found if one.key.previous] == [end.isoformat()]


def test_token_that_is_no_text_is_listed_replaced_and_revoked() -> None:
    key = f"{PROJECT}.pull"

    assert [str(one.key) for one in listed({key: b"\xff\n"})] == [key]
    assert key in rotated({key: b"\xff\n"}, purposes=(Purpose.PULL,), ttl=DAY)
    assert revoke({key: b"\xff\n", f"{PROJECT}.apikey": b"\xfe"}, PROJECT, [Purpose.PULL])[key] is None
    assert pull_tokens({key: b"\xff\n"}) == {PROJECT: "\ufffd"}


@pytest.mark.parametrize("meta", [b"{", b"[]", b'{"tokens": []}', b'{"tokens": {"x": "y"}}', b'{"tokens": null}'])
def test_damaged_meta_is_reported(meta: bytes) -> None:
    with pytest.raises(PreconditionError, match=r"\.meta"):
        create({f"{PROJECT}.meta": meta}, request(), NOW)
