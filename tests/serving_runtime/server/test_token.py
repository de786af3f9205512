"""A server that was given a file of tokens: what is open without one, what is not, and what becomes of it when the file
changes.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import validate

from model_contract.exit_codes import ExitCode
from serving_runtime.http.endpoints import OPEN_PATHS
from serving_runtime.http.errors import UnauthorizedError
from serving_runtime.http.routes import ROUTES, Route
from serving_runtime.http.tokens import TokenFileError, Tokens
from serving_runtime.protocols.interface import Endpoint
from serving_runtime.protocols.table import PROTOCOLS
from serving_runtime.settings import OPTIONS
from testbed.held_calls import held_calls
from testbed.runtime_server import JSON, NATIVE, Answer, RuntimeServer, serving
from tests.serving_runtime.server.conftest import Start

DOCS = Path(__file__).parents[3] / "docs"
OLD, NEW = "correct-horse/battery+staple==", "a-fresh.one~2"
ROW = json.dumps({"dataframe_split": {"columns": ["fixed acidity", "pH", "alcohol"], "data": [[1.0, 2.0, 3.0]]}})
PAGES = (
    "/",
    "/info",
    "/openapi.json",
    "/version",
    "/v2",
    "/v2/models",
    "/v2/models/model/ready",
    "/v1/models/model",
    "/nowhere",
)


def mounted(directory: Path, *tokens: str) -> Path:
    """As the kubelet mounts a Secret: the file is a link into a folder that a second link is moved to."""
    state = directory / f"..{len(list(directory.iterdir()))}"
    state.mkdir()
    (state / "token").write_text("".join(f" {token}\n" for token in tokens))
    swapped = directory / "..data_tmp"
    swapped.symlink_to(state.name)
    swapped.rename(directory / "..data")
    file = directory / "token"
    if not file.is_symlink():
        file.symlink_to("..data/token")
    return file


def predict(server: RuntimeServer, token: str | None, *, scheme: str = "Bearer", path: str = "/invocations") -> Answer:
    return server.ask("POST", path, ROW, JSON | ({"Authorization": f"{scheme} {token}"} if token is not None else {}))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mounted(tmp_path_factory.mktemp("secret"), OLD, NEW)


@pytest.fixture(scope="module")
def guarded(models: Path, file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    log = tmp_path_factory.mktemp("guarded") / "log"
    flags = (*NATIVE, "--workers", "1", "--token-file", str(file))
    with serving(models / "wine", *flags, log=log, own_process=True) as server:  # its command line is looked at
        yield server


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_probes_metrics_and_page_are_open(path: str, guarded: RuntimeServer) -> None:
    assert guarded.get(path).status == 200


@pytest.mark.parametrize(
    "page",
    [endpoint for protocol in PROTOCOLS for endpoint in protocol.endpoints if "/health/" in endpoint.pattern],
    ids=lambda page: page.pattern,
)
def test_health_page_of_each_protocol_is_open(page: Endpoint, guarded: RuntimeServer) -> None:
    assert guarded.ask(page.method, page.pattern).status == 200


def test_open_paths_are_these_and_no_others() -> None:
    assert {
        "/livez",
        "/readyz",
        "/startupz",
        "/ping",
        "/health",
        "/v2/health/live",
        "/v2/health/ready",
        "/metrics",
        "/docs",
    } == OPEN_PATHS


@pytest.mark.parametrize("path", PAGES)
def test_everything_else_needs_a_token(path: str, guarded: RuntimeServer) -> None:
    refused = guarded.get(path)

    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert guarded.ask("GET", path, headers={"Authorization": f"Bearer {OLD}"}).status != 401


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.pattern not in OPEN_PATHS], ids=lambda route: route.pattern
)
def test_refusal_has_the_shape_of_its_protocol(route: Route, guarded: RuntimeServer) -> None:
    path = route.pattern.format_map({"model": "model", "version": "1", "id": "1"})

    refused = guarded.ask(route.method, path, ROW, JSON)

    assert refused.status == 401
    assert refused.document["error_code"] == "UNAUTHENTICATED"
    assert ("error" in refused.document) is path.startswith(("/v1", "/v2"))


@pytest.mark.parametrize("token", [OLD, NEW])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_any_token_of_the_file_is_good(token: str, scheme: str, guarded: RuntimeServer) -> None:
    assert predict(guarded, token, scheme=scheme).status == 200


@pytest.mark.parametrize(
    ("scheme", "token"),
    [
        ("Bearer", ""),
        ("Bearer", OLD[:-1]),
        ("Bearer", OLD + "x"),
        ("Bearer", f"{OLD} {NEW}"),
        ("Basic", OLD),
        ("", OLD),
        ("Bearer", "\xe9" * 30),
    ],
    ids=["empty", "shorter", "longer", "two", "another scheme", "no scheme", "not ASCII"],
)
def test_other_tokens_are_refused(scheme: str, token: str, guarded: RuntimeServer) -> None:
    assert predict(guarded, token, scheme=scheme).status == 401


def test_token_is_in_no_log_no_page_and_no_list_of_processes(guarded: RuntimeServer) -> None:
    answers = [predict(guarded, OLD), predict(guarded, OLD + "wrong"), predict(guarded, OLD, path="/nowhere")]
    answers += [guarded.ask("GET", path, headers={"Authorization": f"Bearer {OLD}"}) for path in [*PAGES, *OPEN_PATHS]]
    guarded.awaited(lambda line: line.get("status") == 401)
    processes = [guarded.process.popen.pid, *guarded.workers()]
    shown = b"".join(Path(f"/proc/{pid}/{part}").read_bytes() for pid in processes for part in ("cmdline", "environ"))

    seen = (
        guarded.process.log.read_bytes()
        + shown
        + b"".join(answer.body + str(answer.headers).encode() for answer in answers)
    )
    assert [token for token in (OLD, NEW) if token.encode() in seen] == []


def test_document_states_the_scheme_and_what_is_open(guarded: RuntimeServer) -> None:
    document = guarded.ask("GET", "/openapi.json", headers={"Authorization": f"Bearer {OLD}"}).document

    validate(document)
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"token": []}]
    operations = {path: operation for path, methods in document["paths"].items() for operation in methods.values()}
    assert {path for path, operation in operations.items() if operation.get("security") == []} == OPEN_PATHS
    assert {path for path, operation in operations.items() if "401" not in operation["responses"]} == OPEN_PATHS


def test_document_of_an_open_server_has_no_scheme(wine: RuntimeServer) -> None:
    document = wine.get("/openapi.json").document

    assert "security" not in document
    assert "securitySchemes" not in document["components"]


def test_token_is_needed_while_the_model_loads(start: Start, hard_models: Path, file: Path) -> None:
    with held_calls() as held:
        environ = held.environment | {"MODEL_API_RUNTIME_TOKEN_FILE": str(file)}
        server = start(hard_models / "slow-to-load", environ=environ)
        server.process.wait_for_http(f"{server.url}/livez")
        held.wait_for_call()
        answers = server.get("/readyz"), predict(server, None), predict(server, NEW)

    assert [answer.status for answer in answers] == [503, 401, 503]


def test_new_token_of_a_swapped_secret_is_good_and_the_old_one_is_not(
    start: Start, models: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    server = start(models / "wine", *NATIVE, "--workers", "2", "--token-file", str(mounted(secret, OLD)))
    server.wait_until_ready()
    assert (predict(server, OLD).status, predict(server, NEW).status) == (200, 401)

    mounted(secret, OLD, NEW)
    server.wait_until(lambda: all(predict(server, NEW).status == 200 for _ in range(20)))
    assert predict(server, OLD).status == 200

    mounted(secret, NEW)
    server.wait_until(lambda: all(predict(server, OLD).status == 401 for _ in range(20)))
    assert predict(server, NEW).status == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("Bearer abc\n", "has a line with a space in it, or with characters that no token has"),
        ("caf\xe9\n", "has a line with a space in it, or with characters that no token has"),
    ],
    ids=["missing", "empty", "blank", "with its scheme", "not ASCII"],
)
def test_file_without_good_tokens_ends_the_server_and_is_named(
    content: str | None, reason: str, start: Start, models: Path, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)

    server = start(models / "wine", "--token-file", str(file))

    assert server.exit_code() == ExitCode.INVALID_INPUT
    (line,) = server.process.log.read_text().splitlines()
    named = "" if content is None else f" {file}"  # a path of no file may be the token itself
    assert line.startswith(f"error: the token file{named} {reason}")
    assert "abc" not in line


@pytest.mark.parametrize("page", ["how-to/serve-with-kserve.md", "reference/runtime-commands.md"])
def test_documented_pod_mounts_the_file_that_its_variable_names(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (found,) = [yaml.safe_load(block) for block in blocks if "TOKEN_FILE" in block]
    pod = found["spec"]["predictor"] if "spec" in found else found
    container = pod["model"] if "model" in pod else pod["containers"][0]

    (entry,), (mount,), (volume,) = container["env"], container["volumeMounts"], pod["volumes"]
    assert entry["name"] in {option.variable for option in OPTIONS}
    assert Path(entry["value"]).parent == Path(mount["mountPath"])
    assert (mount["name"], set(volume["secret"])) == (volume["name"], {"secretName"})


def test_directory_is_no_token_file(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="cannot be read: Is a directory"):
        Tokens(tmp_path)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def accepts(tokens: Tokens, token: str) -> bool:
    try:
        tokens.expect("/invocations", f"Bearer {token}".encode())
    except UnauthorizedError:
        return False
    return True


@pytest.mark.parametrize("fault", ["gone", "emptied"])
def test_last_tokens_stay_valid_while_the_file_is_not_usable_which_is_logged_once(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "token", Clock()
    file.write_text(OLD)
    tokens = Tokens(file, clock=clock)
    os.truncate(file, 0) if fault == "emptied" else file.unlink()

    for clock.now in (1.0, 2.0, 3.0):
        assert (accepts(tokens, OLD), accepts(tokens, NEW), accepts(tokens, "")) == (True, False, False)
    assert [record.getMessage() for record in caplog.records] == [
        "the token file is not usable: the former tokens stay valid"
    ]

    file.write_text(NEW)
    clock.now = 4.0

    assert (accepts(tokens, OLD), accepts(tokens, NEW)) == (False, True)


def test_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    file, clock = tmp_path / "token", Clock()
    file.write_text(OLD)
    tokens = Tokens(file, clock=clock)
    file.write_text(NEW)

    clock.now = 0.9
    assert accepts(tokens, OLD)

    clock.now = 1.0
    assert not accepts(tokens, OLD)
