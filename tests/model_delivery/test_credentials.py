"""Credentials as MLflow's own client takes them, compared with what that client sends."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_contract.names import TOKEN_FILE, TRACKING_URI
from model_contract.tracking_credentials import CredentialError, environment_credential
from model_delivery.client import Client
from model_delivery.deadline import Deadline, Limits
from model_delivery.errors import InvalidInputError, NotFoundError
from model_delivery.settings import Upstream
from testbed.delivery import Delivery
from testbed.environments import python_of
from testbed.faults import answer
from testbed.mlflow_server import MODULES, client_environment
from testbed.processes import JsonLines, json_lines
from testbed.reverse_proxy import reverse_proxy

REF = ModelRef(name="wine", version="1", owner="jane.doe", run_id="5f0c")
USER = {"MLFLOW_TRACKING_USERNAME": "jane", "MLFLOW_TRACKING_PASSWORD": "hunter2:x"}
TOKEN = {"MLFLOW_TRACKING_TOKEN": "hunter3"}
ASK_FOR_RUN = Path(__file__).parent / "scripts" / "ask_for_run.py"
CASES: dict[str, tuple[dict[str, str], str]] = {
    "user and password": (USER, ""),
    "a token": (TOKEN, ""),
    "both": (USER | TOKEN, ""),
    "a user without a password": ({"MLFLOW_TRACKING_USERNAME": "jane"} | TOKEN, ""),
    "in the address": ({}, "jane:hunt%40er2@"),
    "in the address beside others": (USER | TOKEN, "olga:hunter4@"),
    "a user in the address": (TOKEN, "olga@"),
    "nothing": ({}, ""),
}


@pytest.fixture(scope="module")
def mlflow_client() -> Iterator[JsonLines]:
    with json_lines([python_of("mlflow-3.17"), ASK_FOR_RUN], MODULES, client_environment()) as found:
        yield found


@pytest.mark.parametrize(("environment", "user_info"), CASES.values(), ids=CASES.keys())
def test_credential_is_sent_as_mlflows_client_sends_it(
    tmp_path: Path, mlflow_client: JsonLines, environment: dict[str, str], user_info: str
) -> None:
    with reverse_proxy("http://127.0.0.1:9", answer(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')) as proxy:
        uri = proxy.uri.replace("http://", f"http://{user_info}")
        theirs = environment | {"MLFLOW_TRACKING_URI": uri, "HOME": str(tmp_path)}
        assert mlflow_client.ask(theirs) == {"code": 0}
        sent = proxy.seen[-1].headers.get("Authorization")
        ended = Delivery(directory=tmp_path, uri=uri, environment=environment).fetch(REF)

        assert ended.code == ExitCode.NOT_FOUND, ended.output
        assert proxy.seen[-1].headers.get("Authorization") == sent
        assert "hunt" not in ended.output


def test_a_password_of_the_credentials_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = jane\nmlflow_tracking_password = 100%\n"
    )
    found = environment_credential({"HOME": str(tmp_path)} | TOKEN)

    assert found is not None
    assert found.authorization.reveal() == "Basic amFuZToxMDAl"
    assert "100%" not in repr(found)


@pytest.mark.parametrize(
    "environment",
    [
        {"MLFLOW_TRACKING_AUTH": "kerberos"},
        {"MLFLOW_TRACKING_AWS_SIGV4": "true"},
        {"MLFLOW_TRACKING_TOKEN": "hunter2 hunter3"},
    ],
    ids=str,
)
def test_credential_that_cannot_be_sent_is_refused_by_the_name_of_its_variable(environment: dict[str, str]) -> None:
    with pytest.raises(CredentialError, match=next(iter(environment))) as refused:
        environment_credential(environment)

    assert "hunter" not in str(refused.value)


def test_token_of_a_file_is_read_again_for_each_request(tmp_path: Path) -> None:
    """The kubelet replaces a ServiceAccount's token while a large model still comes."""
    file, refusal = tmp_path / "token", b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "hunter-one hunter-two"}'
    file.write_text("hunter-one\n")
    with reverse_proxy("http://127.0.0.1:9", answer(404, refusal)) as proxy:
        upstream = Upstream.from_environment({TRACKING_URI: proxy.uri, TOKEN_FILE: str(file)})
        client = Client(upstream.uri, credential=upstream.credential, proxy=None, deadline=Deadline(Limits()), tls=None)
        with closing(client):
            for token in ("hunter-one", "hunter-two"):
                file.write_text(token)
                with pytest.raises(NotFoundError) as refused:
                    client.get_json("a run", "/api")
            file.unlink()
            with pytest.raises(InvalidInputError, match="the token of MODEL_API_TOKEN_FILE is in a file"):
                client.get_json("a run", "/api")

    assert [seen.headers["Authorization"] for seen in proxy.seen] == ["Bearer hunter-one", "Bearer hunter-two"]
    assert "hunter" not in str(refused.value)
