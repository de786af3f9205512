"""Bodies are read as Python's strict reader of JSON reads them, or refused."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_runtime.codec.strict_json import MANY_BYTES, PIECE, read_value
from serving_runtime.errors import MalformedRequestError

unhurried = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@unhurried
@given(value=values, ascii=st.booleans())
def test_a_value_is_read_as_pythons_reader_reads_it(value: Any, ascii: bool) -> None:  # noqa: A002  json's own name
    body = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")

    assert repr(read_value(body)) == repr(json.loads(body))


@unhurried
@given(st.text(alphabet='{}[]":,1e.-abn\\ tru', max_size=40).map(str.encode) | st.binary(max_size=20))
def test_bytes_are_read_as_pythons_reader_reads_them_or_refused(body: bytes) -> None:
    try:
        found = read_value(body)
    except MalformedRequestError:
        return

    assert repr(found) == repr(json.loads(body.decode("utf-8-sig")))


@pytest.mark.parametrize(
    "body",
    [
        '{"a": 1, "a": 1}',
        '{"a": {"b": 1, "b": 2}}',
        '[{"a": 1}, {"a": 1, "a": 2}]',
        '[[{"a": 1, "a": 2}]]',
        '[1, {"a": 1, "a": 2}]',
        '{"a:": 1, "a:": 2}',
        r'{"a": 1, "\u0061": 2}',
        '{"a": [[[[[[{"b": 1, "b": 2}]]]]]]}',
    ],
)
def test_a_repeated_key_is_found_at_every_depth(body: str) -> None:
    with pytest.raises(MalformedRequestError, match="a key that comes twice"):
        read_value(body.encode())


@pytest.mark.parametrize("number", [2**63, 2**64, 2**64 + 1, -(2**63) - 1, 10**30])
def test_a_long_whole_number_is_not_rounded(number: int) -> None:
    assert read_value(json.dumps({"x": [number]}).encode()) == {"x": [number]}


@pytest.mark.parametrize("before", [0, MANY_BYTES, PIECE - 30, PIECE - 10, PIECE - 1, PIECE, 2 * PIECE - 10])
@pytest.mark.parametrize("number", ["1234567890.12345678901234567", str(2**63 - 1), str(2**64), f"-{10**30}"])
def test_a_number_is_read_alike_at_any_place_of_a_body_of_any_size(number: str, before: int) -> None:
    body = f"[{' ' * before}{number}, 0.5, 1e3]"

    assert repr(read_value(body.encode())) == repr(json.loads(body))


@pytest.mark.parametrize("names", [1, 3000])
def test_a_repeated_key_is_found_in_a_long_body(names: int) -> None:
    members = ", ".join(f'"name {number}": "{":" * 3}"' for number in range(names))
    body = f'{{"a": [{{{members}}}, {{"b": 1{" " * MANY_BYTES}, "b": 2}}]}}'

    with pytest.raises(MalformedRequestError, match="a key that comes twice"):
        read_value(body.encode())
