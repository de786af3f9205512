"""The client of Domino's model APIs, against Domino's answers, the good and the bad ones."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from model_contract.secret import Secret
from model_lifecycle.domino.access import AccessToken, ApiKey, DominoAccess
from model_lifecycle.domino.choice import model_apis
from model_lifecycle.domino.model_apis import ModelApiSpec, ModelApiVersion, State
from model_lifecycle.domino.older_api import OlderModelApis
from model_lifecycle.domino.public_api import PublicModelApis
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import (
    InvalidError,
    NotAuthorisedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    UnclearError,
)
from model_lifecycle.progress import ProgressLines
from model_lifecycle.staging.deploy import ensure_published
from model_lifecycle.staging.request import StageOptions
from testbed.domino import Domino, domino
from testbed.domino.faults import Faults
from testbed.domino.pods import PodDependencies, Pods, RunningPod
from testbed.domino.records import RUNNING, STOPPED, ModelApi, Records
from testbed.gate import PROJECT
from testbed.local_pod import LocalPod
from testbed.processes import free_port

BASE = "/api/modelServing/v1/modelApis"
KEY = "not-the-key-of-anybody"


@pytest.fixture
def held(workspace: Any) -> Domino:
    """A Domino in which nothing that is published is ever built."""
    workspace.domino.hold()
    installation: Domino = workspace.domino
    return installation


@pytest.fixture
def rest(held: Domino) -> Iterator[DominoRest]:
    with DominoRest(DominoAccess.from_environ(held.environ())) as found:
        yield found


def spec(held: Domino, name: str, **changed: Any) -> ModelApiSpec:
    fields = {
        "project_id": PROJECT,
        "environment_id": held.environment_id,
        "variables": {"MLFLOW_MODEL_NAME": name},
    } | changed
    return ModelApiSpec(name=name, description=f"{name}, of a test", **fields)


def test_public_api_is_used_if_domino_has_it(rest: DominoRest) -> None:
    assert isinstance(model_apis(rest), PublicModelApis)
    assert isinstance(model_apis(rest, "older"), OlderModelApis)


def test_published_model_api_is_found_by_name_and_description(held: Domino, rest: DominoRest) -> None:
    apis = PublicModelApis(rest)
    made = apis.publish(spec(held, "found"))

    assert made.state is State.PENDING
    assert apis.find(spec(held, "found")) == made
    assert apis.find(spec(held, "found-not")) is None

    again = apis.publish_again(made.model_id, spec(held, "found"))
    found = apis.find(spec(held, "found"))

    assert found is not None
    assert found.version_id == again.version_id

    apis.archive(made.model_id)

    assert apis.find(spec(held, "found")) is None
    with pytest.raises(NotFoundError):
        apis.read_version(made.model_id, made.version_id)


def test_model_api_is_found_among_more_than_one_page(
    held: Domino, rest: DominoRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_lifecycle.domino.public_api.PAGE", 1)
    apis = PublicModelApis(rest)
    made = [apis.publish(spec(held, name)) for name in ("page-a", "page-b", "page-c")]

    assert [apis.find(spec(held, name)) for name in ("page-a", "page-b", "page-c")] == made


def test_older_api_goes_on_from_a_publication_that_broke_off(held: Domino, rest: DominoRest) -> None:
    apis, wanted = OlderModelApis(rest), spec(held, "broken-off")
    held.break_off_next("POST", "/environmentVariables/add$")

    with pytest.raises(UnclearError):
        apis.publish(wanted)
    assert apis.find(wanted) is None

    made = apis.publish(wanted)

    [model] = [model for model in held.model_apis() if model.name == "broken-off"]
    assert (made.model_id, made.version_id) == (model.id, model.newest.id)
    assert len(model.versions) == 2
    assert model.variables == {"MLFLOW_MODEL_NAME": "broken-off"}
    assert apis.find(wanted) == apis.read_version(model.id, model.newest.id)


def test_variables_are_named_as_this_domino_names_them(workspace: Any, tmp_path: Path) -> None:
    around = {"gate": workspace.gate, "webhook": workspace.webhook}
    with (
        domino(tmp_path, variable_key="key", **around) as other,
        DominoRest(DominoAccess.from_environ(other.environ())) as rest,
    ):
        other.hold()
        made = PublicModelApis(rest).publish(spec(other, "keyed"))

        assert other.model_api(made.model_id).variables == {"MLFLOW_MODEL_NAME": "keyed"}


def test_version_that_starts_late_does_not_stop_a_newer_one(workspace: Any, tmp_path: Path) -> None:
    needs = PodDependencies(gate=workspace.gate, webhook=workspace.webhook, files=tmp_path)
    records = Records(tmp_path / "records.json")
    pods = Pods(tmp_path / "versions", records, Faults(), needs)
    model = records.add(ModelApi(id="1", name="wine", description="", project_id=PROJECT, environment_id="", created=0))
    older, newer = (records.add_version(model.id, file="model.py", function="predict") for _ in range(2))
    pod = LocalPod(pod={}, directory=tmp_path)

    for version in (newer, older):
        pods.take_over(model.id, version.id, RunningPod(pod=pod, port=1, processes=ExitStack()))

    assert [version.status for version in records.get(model.id).versions] == [STOPPED, RUNNING]
    assert list(pods.running()) == [newer.id]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"environment_id": "none"}, NotFoundError, "Environment none does not exist"),
        ({"project_id": "0" * 24}, NotAuthorisedError, "You do not have access to this project"),
    ],
    ids=["an environment that is not there", "a project of somebody else"],
)
def test_refusal_by_domino_keeps_its_words(
    held: Domino, rest: DominoRest, changed: dict[str, str], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        PublicModelApis(rest).publish(spec(held, "refused", **changed))


def test_name_that_is_taken_is_a_conflict(held: Domino, rest: DominoRest) -> None:
    apis = PublicModelApis(rest)
    apis.publish(spec(held, "taken"))

    with pytest.raises(PreconditionError, match="already exists"):
        apis.publish(spec(held, "taken"))


class LookedTooEarly(PublicModelApis):
    """An API in which another caller publishes between the first look and the publication."""

    def find(self, spec: ModelApiSpec) -> ModelApiVersion | None:
        found = super().find(spec)
        self.looks = getattr(self, "looks", 0) + 1
        return found if self.looks > 1 else None


def test_two_that_stage_at_once_take_the_same_model_api(held: Domino, rest: DominoRest) -> None:
    faster = PublicModelApis(rest).publish(spec(held, "both"))

    assert ensure_published(LookedTooEarly(rest), spec(held, "both"), ProgressLines(io.StringIO())) == faster


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_wait_without_an_end_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidError, match="must be a number of seconds"):
        StageOptions(wait=seconds)


def test_reading_is_tried_again_and_making_is_not(held: Domino, rest: DominoRest) -> None:
    apis = PublicModelApis(rest)
    held.answer_next("GET", BASE, 503)
    held.break_off_next("GET", BASE)

    assert apis.find(spec(held, "patience")) is None

    posts = len(held.asked("POST", BASE))
    held.answer_next("POST", BASE, 502, "<html>Bad Gateway</html>")
    with pytest.raises(UnclearError, match=r"answered 502$"):
        apis.publish(spec(held, "patience"))

    assert len(held.asked("POST", BASE)) == posts + 1
    assert apis.find(spec(held, "patience")) is None


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, "<html>Log in</html>", NotAuthorisedError),
        (302, "", NotAuthorisedError),
        (400, "no", InvalidError),
        (410, "", NotFoundError),
        (501, "", InvalidError),
    ],
    ids=["a page for people", "a redirection", "a text", "gone", "no such operation"],
)
def test_answer_that_is_none_of_the_api_is_an_error_with_a_sentence(
    held: Domino, rest: DominoRest, status: int, body: str, error: type[Exception]
) -> None:
    held.answer_next("GET", BASE, status, body)

    with pytest.raises(error) as raised:
        rest.get(BASE)

    assert "<html>" not in str(raised.value)


def test_domino_that_is_not_there_is_unavailable() -> None:
    access = DominoAccess.from_environ(
        {"DOMINO_API_HOST": f"http://127.0.0.1:{free_port()}", "DOMINO_USER_API_KEY": KEY}
    )

    with DominoRest(access) as rest, pytest.raises(UnavailableError, match="does not answer") as raised:
        rest.get(BASE)

    assert KEY not in str(raised.value)


def test_every_kind_of_credential_works(held: Domino, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(held.api_key + "\n")
    host = {"DOMINO_API_HOST": held.uri}
    options = {
        "key": DominoAccess.from_environ(host | {"DOMINO_USER_API_KEY": held.api_key}),
        "file": DominoAccess.from_environ(host | {"DOMINO_TOKEN_FILE": str(file), "DOMINO_USER_API_KEY": KEY}),
        "proxy": DominoAccess.from_environ(host | {"DOMINO_API_PROXY": held.sidecar_uri, "DOMINO_USER_API_KEY": KEY}),
        "run": DominoAccess(
            uri=held.uri, public_uri=held.uri, credential=AccessToken(f"{held.sidecar_uri}/access-token")
        ),
    }

    for access in options.values():
        with DominoRest(access) as rest:
            assert "items" in rest.get(BASE)
    assert held.requests[-2].headers.get("x-domino-api-key") is None


def test_wrong_key_is_refused_and_not_repeated(held: Domino) -> None:
    access = DominoAccess(uri=held.uri, public_uri=held.uri, credential=ApiKey(Secret(KEY)))

    with DominoRest(access) as rest, pytest.raises(NotAuthorisedError) as raised:
        rest.get(BASE)

    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"DOMINO_API_HOST": "domino.example.com"},
        {"DOMINO_API_HOST": f"https://jane:{KEY}@domino.example.com"},
        *({"DOMINO_API_HOST": f"http://{host}"} for host in ("[::1", "domino:99999", "domino:-1", "domino:1:2", ":80")),
        {"DOMINO_API_HOST": "https://domino.example.com", "DOMINO_USER_API_KEY": f"{KEY}\nX-Other: 1"},
    ],
    ids=[
        "nothing",
        "no scheme",
        "a password",
        "half an IPv6",
        "a large port",
        "a port below 0",
        "two ports",
        "no host",
        "a key with a line break",
    ],
)
def test_setting_that_cannot_be_used_is_named_without_its_value(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidError, match="DOMINO_") as raised:
        DominoAccess.from_environ(environ)

    assert KEY not in str(raised.value)


def test_key_is_sent_only_to_domino() -> None:
    access = DominoAccess.from_environ({"DOMINO_API_HOST": "https://domino.example.com", "DOMINO_USER_API_KEY": KEY})

    assert access.authorization_of_call("https://domino.example.com/models/1/latest/model").values == {
        "X-Domino-Api-Key": KEY
    }
    assert access.authorization_of_call("https://elsewhere.example.com/models/1/latest/model").values == {}


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("Running", "running"),
        ("Build failed", "failed"),
        ("Stopped", "stopped"),
        ("Preparing to build", "pending"),
        ("", "pending"),
    ],
)
def test_dominos_word_is_a_state_to_act_on(said: str, state: str) -> None:
    assert State.of(said) == state
