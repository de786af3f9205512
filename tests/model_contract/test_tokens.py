"""Service tokens and the keys of the Secret that holds them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_contract.token_keys import TokenKey, meta_key, parse_key
from model_contract.tokens import Purpose, TokenError, fingerprint, new_token, parse_token, same

PROJECT = "66c0a1b2c3d4e5f601234567"


@pytest.mark.parametrize(("purpose", "letter"), [(Purpose.PROMOTE, "p"), (Purpose.PULL, "r")])
def test_token_has_its_project_and_its_purpose(purpose: Purpose, letter: str) -> None:
    token = new_token(PROJECT, purpose)
    text = token.value.reveal()

    assert re.fullmatch(rf"dmg1_{letter}_{PROJECT}_[0-9A-Za-z]{{43}}_[0-9A-Za-z]{{6}}", text)
    assert (parse_token(text).project_id, parse_token(text).purpose) == (PROJECT, purpose)
    assert new_token(PROJECT, purpose).value.reveal() != text


LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(LABELS, st.sampled_from(Purpose))
def test_any_dns_label_is_a_project_in_tokens_and_keys(project: str, purpose: Purpose) -> None:
    key = TokenKey(project_id=project, purpose=purpose)

    assert parse_token(new_token(project, purpose).value.reveal()).project_id == project
    assert parse_key(str(key)) == key


@pytest.mark.parametrize("project", ["", "-a", "a-", "a" * 64, "a.b", "a_b", "a/b", "a\n", "ä", "../x"])
def test_other_text_is_no_project(project: str) -> None:
    with pytest.raises(TokenError, match="no hyphen at either end"):
        new_token(project, Purpose.PULL)
    assert parse_key(f"{project}.pull") is None


def test_token_does_not_show_itself() -> None:
    token = new_token(PROJECT, Purpose.PULL)

    assert token.value.reveal() not in f"{token} {token!r} {token.fingerprint}"
    assert token.fingerprint == fingerprint(token.value.reveal())
    assert len(token.fingerprint) == 12


def test_mistyped_token_is_distinguished_from_an_unknown_one() -> None:
    text = new_token(PROJECT, Purpose.PULL).value.reveal()
    place = len("dmg1_r_") + 24 + 5
    mistyped = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]

    with pytest.raises(TokenError, match="wrong checksum") as caught:
        parse_token(mistyped)
    assert mistyped not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dmg1_",
        "eyJhbGciOiJub25lIn0.e30.",
        "dmg1_x_" + PROJECT + "_" + "a" * 43 + "_000000",
        "dmg1_p_" + PROJECT.upper() + "_" + "a" * 43 + "_000000",
    ],
    ids=["empty", "prefix only", "a JWT", "another purpose", "upper case"],
)
def test_text_of_another_format_is_no_token(text: str) -> None:
    with pytest.raises(TokenError, match="not a service token"):
        parse_token(text)


def test_comparison_is_of_the_whole_value() -> None:
    assert same("abc", "abc")
    assert not same("abc", "abcd")
    assert not same("", "abc")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (f"{PROJECT}.apikey", TokenKey(project_id=PROJECT, purpose=Purpose.PROMOTE)),
        (f"{PROJECT}.apikey.prev", TokenKey(project_id=PROJECT, purpose=Purpose.PROMOTE, previous=True)),
        (f"{PROJECT}.pull", TokenKey(project_id=PROJECT, purpose=Purpose.PULL)),
        (f"{PROJECT.upper()}.apikey", TokenKey(project_id=PROJECT, purpose=Purpose.PROMOTE)),
        (meta_key(PROJECT), None),
        ("..data", None),
        ("x_.apikey", None),
    ],
)
def test_key_of_the_secret_names_project_and_purpose(key: str, expected: TokenKey | None) -> None:
    assert parse_key(key) == expected
    if expected:
        assert str(expected) == key.lower()
