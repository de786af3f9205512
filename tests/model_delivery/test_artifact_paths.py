"""The name that is sent is the name that is read, or the model is refused: pairs of files that a server takes for each
other.
"""

import contextlib
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_contract.exit_codes import ExitCode
from model_delivery.artifact_paths import checked_for_server, checked_name
from model_delivery.errors import InvalidInputError
from model_delivery.mlflow_api import ARTIFACTS
from testbed.delivery import Delivery
from testbed.registered import Registered

# Names that some reader takes for another one of the list, or for none.
NAMES = [
    ["a%20b", "a b", "a+b", "a%2520b"],
    ["x#y", "x"],
    ["x?y", "x", "x?", "x;", "x;y"],
    ["%2e%2e", "%2E%2E", "..."],
    ["back\\slash", "back%5cslash", "backslash"],
    ["a%2fb", "a%252fb"],
    ["caf\u00e9", "cafe\u0301", "caf%C3%A9", "caf%c3%a9"],
    ["dot.", "dot", "space ", "space", " space", "dot. "],
    ["100%", "100%25", "50%zz", "%u0041", "A", "%41"],
    ["a&b=c", "a=c", "a:b", "C:", "c:d", "[v]", "~", "$HOME", "*", "'q'", '"q"', "|", "<x>", "{y}", "^", "`"],
    ["%00", "%0a", "%0d%0a"],
    ["-", "--", "-rf", "@", "@x", "\u202etxt", "\ufeff", "\u2028"],
]


@pytest.mark.parametrize("name", ["a%20b", "x#y", "x?"])
def test_a_file_that_the_server_takes_for_another_is_refused_by_its_name(
    tmp_path: Path, mlflow_any: Registered, name: str
) -> None:
    place = mlflow_any.server.artifacts / mlflow_any.versions["names"]["directory"]
    with written(place, [name, "a b", "x"]):
        delivery = Delivery(directory=tmp_path, uri=mlflow_any.uri)
        ended = delivery.fetch(mlflow_any.ref("names"))

    assert ended.code == ExitCode.INVALID_INPUT, ended.output
    assert f'the artifact "{name}" is refused' in ended.reason
    assert not delivery.run_directory(mlflow_any.ref("names")).exists()


def test_a_name_that_is_let_through_is_answered_with_its_own_bytes(mlflow_any: Registered) -> None:
    names = sorted({name for group in NAMES for name in group})
    with written(mlflow_any.server.artifacts / mlflow_any.versions["names"]["directory"], names):
        check(mlflow_any, names)


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    names=st.sets(
        st.text(alphabet="ab%25;?#&+=~.\u00e9 \\", min_size=1, max_size=8).filter(lambda name: name.strip(".")),
        min_size=20,
        max_size=40,
    )
)
def test_generated_names_that_are_let_through_are_answered_with_their_own_bytes(
    mlflow_any: Registered, names: set[str]
) -> None:
    with written(mlflow_any.server.artifacts / mlflow_any.versions["names"]["directory"], sorted(names)):
        check(mlflow_any, sorted(names))


def check(registered: Registered, names: list[str]) -> None:
    """Ask the server for each name, as the delivery does, and compare.

    MLflow 2.22's gunicorn refuses the header that MLflow makes of a name beyond ASCII: it hangs up or answers 400, and
    sends no other file's bytes.
    """
    directory = registered.versions["names"]["directory"]
    connection = http.client.HTTPConnection(urlsplit(registered.uri).netloc, timeout=60)
    passed = 0
    for name in names:
        with contextlib.suppress(InvalidInputError):
            path = checked_for_server(f"{directory}/{name}")
            connection.request("GET", f"{ARTIFACTS}/{quote(path)}")
            may_refuse = registered.server.version == "2.22" and not name.isascii()
            try:
                answer = connection.getresponse()
            except http.client.RemoteDisconnected:
                assert may_refuse, name
                continue
            body = answer.read()
            assert (name, answer.status, body) == (name, 200, name.encode()) or (may_refuse and answer.status == 400), (
                name
            )
            passed += 1
    connection.close()

    assert passed


@contextmanager
def written(directory: Path, names: list[str]) -> Iterator[None]:
    """Files that hold their own names, on the server's disk, where no client's check was passed."""
    for name in names:
        (directory / name).write_bytes(name.encode())
    try:
        yield
    finally:
        for name in names:
            (directory / name).unlink()


@pytest.mark.parametrize(
    "name", ["a b", "a+b", "a&b=c;d", "100%", "50%zz", "caf\u00e9", "dot.", "space ", "back\\slash", "x?y", "~", "@"]
)
def test_a_name_that_is_read_as_it_is_sent_is_delivered(name: str) -> None:
    assert checked_for_server(f"1/r/artifacts/{name}") == f"1/r/artifacts/{name}"


@pytest.mark.parametrize("name", ["a%20b", "a%2520b", "%2e%2e", "x#y", "x#", "x?", "x;", "%41", "%C3%A9", "%00"])
def test_a_name_that_is_read_otherwise_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="is refused"):
        checked_for_server(f"1/r/artifacts/{name}")


def test_lengths_are_those_of_the_file_system_in_bytes() -> None:
    longest, path = "\u00e9" * 127, "a/" * 2047 + "b"

    assert checked_name(longest) == longest
    assert checked_for_server(path) == path
    with pytest.raises(InvalidInputError, match="of more than 255 bytes"):
        checked_name(longest + "ab")
    with pytest.raises(InvalidInputError, match="more than 4095 bytes"):
        checked_for_server(path + "b")
