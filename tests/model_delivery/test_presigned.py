"""Large files straight from a real S3 server behind a real MLflow, by presigned URLs, and the way back to MLflow."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_contract.secret import Secret
from model_contract.tokens import Purpose
from model_contract.tracking_credentials import bearer
from model_delivery.client import Client
from model_delivery.deadline import Deadline, Limits
from model_delivery.errors import InvalidInputError
from model_delivery.presigned_hosts import PresignedHosts
from model_delivery.tracking_uri import parse_tracking_uri
from model_lifecycle.digests import digest_of
from model_lifecycle.errors import InvalidError
from model_lifecycle.registry import Registry
from model_lifecycle.tracking import Tracking
from testbed.delivery import Delivery, Ended, wait_until
from testbed.faults import answer, cut, first, only, slowly, stall, without_ranges
from testbed.gate import PASSWORD, gate
from testbed.mlflow_server import MlflowServer, mlflow_server
from testbed.registered import Registered, files_below
from testbed.reverse_proxy import Exchange, ReverseProxy, Rule, reverse_proxy
from testbed.s3_server import s3_server
from tests.model_delivery.test_fetch import MIB
from tests.model_delivery.test_ranges import PARTS, SECOND, changed, longer

SCRIPTS = Path(__file__).parent / "scripts"
SIGNED = "X-Amz-Signature"
WEIGHTS = "weights.bin"
EXPIRE = 15  # seconds; MLflow's default is 300
TOKEN = "dmg1_r_not-a-real-token"
STEP_DOWN = "large files come through MLflow, not straight from the object store"
FILES = {"MLmodel": b"flavors: {}\n", WEIGHTS: bytes(range(256)) * (36 * 4096)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnS3:
    """An MLflow with its artifacts on S3. `store` is the proxy before S3 whose address the presigned URLs have."""

    server: MlflowServer
    models: Registered
    store: ReverseProxy

    @property
    def host(self) -> str:
        """The entry of MODEL_API_PRESIGNED_HOSTS."""
        return self.store.uri

    def asked(self) -> list[str | None]:
        """The Range header of each request with a signature."""
        with self.store.lock:
            return [request.headers.get("Range") for request in self.store.seen if SIGNED in request.path]


@pytest.fixture(scope="module")
def s3_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnS3]:
    directory = tmp_path_factory.mktemp("s3")
    with s3_server(directory / "s3") as s3, reverse_proxy(s3.endpoint, keep_host=True) as store:
        s3.bucket("mlflow")
        environment = {
            **s3.environment,
            "MLFLOW_S3_ENDPOINT_URL": store.uri,
            "AWS_ENDPOINT_URL": store.uri,
            "MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS": str(EXPIRE),
        }
        with mlflow_server("3.17", directory / "mlflow", artifacts="s3://mlflow/artifacts", env=environment) as server:
            output = server.run(SCRIPTS / "register_large.py", "on S3")
            models = Registered(server=server, versions=json.loads(output.splitlines()[-1]))
            yield OnS3(server=server, models=models, store=store)


@pytest.fixture
def on_s3(s3_mlflow: OnS3) -> Iterator[OnS3]:
    """The same without rules and requests of other tests."""
    s3_mlflow.store.rules = ()
    with s3_mlflow.store.lock:
        s3_mlflow.store.seen.clear()
    yield s3_mlflow
    s3_mlflow.store.rules = ()


def delivery_from(directory: Path, uri: str, hosts: str) -> Delivery:
    token = directory / "token"
    token.write_text(TOKEN)
    environment = {"MODEL_API_PRESIGNED_HOSTS": hosts, "MODEL_API_TOKEN_FILE": str(token)}
    return Delivery(directory=directory, uri=uri, environment=environment)


def fetch(
    directory: Path,
    on_s3: OnS3,
    *rules: Rule,
    hosts: str | None = None,
    example: str = "big",
    options: Sequence[str] = (),
) -> tuple[Ended, ReverseProxy]:
    """Fetch with these rules before the store; return the proxy before MLflow, too."""
    on_s3.store.rules = [only(SIGNED, rule) for rule in rules]
    with reverse_proxy(on_s3.server.uri) as mlflow:
        delivery = delivery_from(directory, mlflow.uri, on_s3.host if hosts is None else hosts)
        ended = delivery.fetch(on_s3.models.ref(example), *options)
    assert SIGNED not in ended.output
    assert TOKEN not in ended.output
    return ended, mlflow


def arrived(directory: Path, ref: ModelRef) -> bool:
    delivery = Delivery(directory=directory, uri="")
    whole = files_below(delivery.model(ref)) == FILES and delivery.partial() == []
    return whole and delivery.verify(ref, "--digests").code == ExitCode.DONE


def through_mlflow(mlflow: ReverseProxy) -> bool:
    return bool(
        mlflow.paths(f"mlflow-artifacts/artifacts/1/{WEIGHTS}")
        or [p for p in mlflow.paths(WEIGHTS) if "presigned" not in p]
    )


def asked_for(wanted: str, rule: Rule) -> Rule:
    return lambda exchange: exchange.headers.get("Range", "").startswith(wanted) and rule(exchange)


def test_a_large_file_comes_from_the_store_without_our_token(tmp_path: Path, on_s3: OnS3) -> None:
    ended, mlflow = fetch(tmp_path, on_s3)

    assert ended.code == ExitCode.DONE, ended.output
    assert arrived(tmp_path, on_s3.models.ref("big"))
    assert not through_mlflow(mlflow)
    assert len(mlflow.paths("presigned")) == 1
    assert sorted(filter(None, on_s3.asked())) == sorted(["bytes=0-0", *PARTS])
    signed = [request for request in on_s3.store.seen if SIGNED in request.path]
    assert {"Authorization" in request.headers for request in signed} == {False}
    assert STEP_DOWN not in ended.output


def test_a_file_that_mlflow_has_stored_with_a_content_coding_comes_from_the_store(tmp_path: Path, on_s3: OnS3) -> None:
    """MLflow writes Content-Encoding: gzip for a file such as model.pkl.gz."""
    ended, mlflow = fetch(tmp_path, on_s3, changed({"Content-Encoding": "gzip"}))

    assert ended.code == ExitCode.DONE, ended.output
    assert STEP_DOWN not in ended.output
    assert not through_mlflow(mlflow)
    assert arrived(tmp_path, on_s3.models.ref("big"))


@pytest.mark.parametrize(("file", "refused"), [("reports/Report.HTML", False), (WEIGHTS, True), ("html", True)])
def test_a_page_of_a_store_is_a_file_only_if_the_file_is_a_page(file: str, refused: bool) -> None:
    """MLflow writes Content-Type: text/html for a file such as report.html."""
    page = answer(200, b"<html>", {"Content-Type": "text/html"})
    with reverse_proxy("http://127.0.0.1:9", page) as store:
        origin = parse_tracking_uri(store.uri)
        client = Client(origin, credential=None, proxy=None, deadline=Deadline(Limits()), tls=None, is_store=True)
        expected = pytest.raises(InvalidInputError, match="an HTML page came") if refused else nullcontext()
        with closing(client), expected, client.get("a file", f"/bucket/{file}?{SIGNED}=x.html", {}) as found:
            assert found.body(100) == b"<html>"


@pytest.mark.parametrize("hosts", ["", "other.example", "https://{authority}", "*.{authority}"])
def test_a_host_that_is_not_allowed_gets_no_request(tmp_path: Path, on_s3: OnS3, hosts: str) -> None:
    wanted = hosts.format(authority=on_s3.host.removeprefix("http://"))
    ended, mlflow = fetch(tmp_path, on_s3, hosts=wanted)

    assert ended.code == ExitCode.DONE, ended.output
    assert on_s3.asked() == []
    assert through_mlflow(mlflow)
    assert (STEP_DOWN in ended.output) == bool(hosts)
    assert bool(mlflow.paths("presigned")) == bool(hosts)
    assert arrived(tmp_path, on_s3.models.ref("big"))


def test_an_expired_url_is_asked_for_again(tmp_path: Path, on_s3: OnS3) -> None:
    """The store refuses the URL itself, when the later ranges are requested: the first ones take 20 s."""

    def slowly_at_first(exchange: Exchange) -> bool:
        return exchange.headers.get("Range") in PARTS[:2] and slowly(0.08)(exchange)

    ended, mlflow = fetch(tmp_path, on_s3, slowly_at_first, options=["--parallel=2"])

    assert ended.code == ExitCode.DONE, ended.output
    assert len(mlflow.paths("presigned")) > 1
    assert not through_mlflow(mlflow)
    assert arrived(tmp_path, on_s3.models.ref("big"))


PASSING: dict[str, Callable[[], Rule]] = {
    "cut": lambda: asked_for(SECOND, first(1, cut(5 * MIB))),
    "cut at once": lambda: asked_for(SECOND, first(1, cut(0))),
    "silent": lambda: asked_for(SECOND, first(1, stall(5 * MIB))),
    "503": lambda: asked_for(SECOND, first(1, answer(503, b"<Error><Code>SlowDown</Code></Error>"))),
    "403": lambda: asked_for(SECOND, first(1, answer(403, b"<Error><Code>AccessDenied</Code></Error>"))),
    "400 for expired credentials": lambda: asked_for(
        SECOND, first(1, answer(400, b"<Error><Code>ExpiredToken</Code></Error>"))
    ),
}


@pytest.mark.parametrize("rule", PASSING.values(), ids=PASSING.keys())
def test_a_fault_of_the_store_that_passes_changes_nothing(
    tmp_path: Path, on_s3: OnS3, rule: Callable[[], Rule]
) -> None:
    ended, mlflow = fetch(tmp_path, on_s3, rule(), options=["--stall=5"])

    assert ended.code == ExitCode.DONE, ended.output
    assert not through_mlflow(mlflow)
    assert arrived(tmp_path, on_s3.models.ref("big"))


def test_the_store_gets_the_time_that_it_asks_for(tmp_path: Path, on_s3: OnS3) -> None:
    ended, mlflow = fetch(tmp_path, on_s3, asked_for(SECOND, first(1, answer(503, headers={"Retry-After": "1"}))))

    assert ended.code == ExitCode.DONE, ended.output
    assert "wait=1.0s" in ended.output
    assert not through_mlflow(mlflow)


ODD: dict[str, Rule] = {
    "the whole file, with 200": without_ranges,
    "another range": changed({"content-range": f"bytes 0-{16 * MIB - 1}/{36 * MIB}"}),
    "another size": changed({"content-range": f"bytes {16 * MIB}-{32 * MIB - 1}/{37 * MIB}"}),
    "another tag": changed({"etag": '"other"'}),
    "more bytes than the range has": longer,
    "416": answer(416),
}


@pytest.mark.parametrize("rule", ODD.values(), ids=ODD.keys())
def test_ranges_of_the_store_that_do_not_fit_make_the_file_come_in_one_piece(
    tmp_path: Path, on_s3: OnS3, rule: Rule
) -> None:
    ended, mlflow = fetch(tmp_path, on_s3, asked_for(SECOND, rule), options=["--tries=1"])

    assert ended.code == ExitCode.DONE, ended.output
    assert "it is fetched again, in one piece" in ended.output
    assert not through_mlflow(mlflow)
    assert arrived(tmp_path, on_s3.models.ref("big"))


def test_other_bytes_of_the_store_are_noticed_by_the_digest_of_the_version(tmp_path: Path, on_s3: OnS3) -> None:
    lie = changed({})

    def other_bytes(exchange: object) -> bool:
        sent = exchange.send  # type: ignore[attr-defined]
        exchange.send = lambda status, body, headers: sent(status, body[::-1], headers)  # type: ignore[attr-defined]
        return lie(exchange)  # type: ignore[arg-type]

    ended, _ = fetch(tmp_path, on_s3, asked_for(SECOND, other_bytes), example="marked")
    again, _ = fetch(tmp_path, on_s3, example="marked")

    assert ended.code == ExitCode.PRECONDITION, ended.output
    assert again.code == ExitCode.DONE, again.output
    assert arrived(tmp_path, on_s3.models.ref("marked"))


DOWN: dict[str, tuple[Rule, str]] = {
    "it refuses every URL": (answer(403, b"<Error><Code>AccessDenied</Code></Error>"), "answers 403 AccessDenied"),
    "it has no such file": (answer(404, b"<Error><Code>NoSuchKey</Code></Error>"), "answers 404 NoSuchKey"),
    "it is not available": (answer(503), "answers 503"),
    "it has no such operation": (answer(501, b"<Error><Code>NotImplemented</Code></Error>"), "501 NotImplemented"),
    "it redirects": (answer(307, headers={"Location": "http://127.0.0.1:9/"}), "answers 307"),
    "it is silent": (stall(0), "sent nothing in time"),
    "a page comes": (answer(200, b"<html>", {"Content-Type": "text/html"}), "an HTML page came instead of the file"),
}


@pytest.mark.parametrize(("rule", "reason"), DOWN.values(), ids=DOWN.keys())
def test_a_store_that_gives_nothing_is_left_for_mlflow_with_one_line(
    tmp_path: Path, on_s3: OnS3, rule: Rule, reason: str
) -> None:
    # MLflow reads all of a file before it answers.
    stall_option = "--stall=12" if reason == "sent nothing in time" else "--stall=60"
    ended, mlflow = fetch(tmp_path, on_s3, rule, options=[stall_option])

    assert ended.code == ExitCode.DONE, ended.output
    assert [reason in line for line in ended.output.splitlines() if STEP_DOWN in line] == [True]
    assert through_mlflow(mlflow)
    assert arrived(tmp_path, on_s3.models.ref("big"))


def test_a_store_that_goes_away_in_the_middle_ends_the_fetch_and_the_next_one_is_whole(
    tmp_path: Path, on_s3: OnS3
) -> None:
    ended, _ = fetch(tmp_path, on_s3, asked_for("bytes=3", answer(503)), options=["--tries=2"])

    assert ended.code == ExitCode.UNAVAILABLE, ended.output
    assert not Delivery(directory=tmp_path, uri="").run_directory(on_s3.models.ref("big")).exists()

    again, _ = fetch(tmp_path, on_s3)

    assert again.code == ExitCode.DONE, again.output
    assert "bytes=0-0" not in on_s3.asked()[-4:]
    assert arrived(tmp_path, on_s3.models.ref("big"))


def test_a_fetch_that_was_killed_continues_with_what_it_has(tmp_path: Path, on_s3: OnS3) -> None:
    on_s3.store.rules = [only(SIGNED, stall(4 * MIB))]
    delivery, ref = delivery_from(tmp_path, on_s3.server.uri, on_s3.host), on_s3.models.ref("big")
    with delivery.start(ref) as process:
        wait_until(lambda: any("received" in path.read_text() for path in delivery.store.glob(".partial-*.progress")))
        process.kill()
    assert not delivery.run_directory(ref).exists()
    on_s3.store.seen.clear()

    ended, mlflow = fetch(tmp_path, on_s3)

    assert ended.code == ExitCode.DONE, ended.output
    assert "going on where an earlier run ended" in ended.output
    assert set(filter(None, on_s3.asked())) != set(PARTS)
    assert not through_mlflow(mlflow)
    assert arrived(tmp_path, ref)


def test_two_fetches_at_once_ask_the_store_for_each_range_once(tmp_path: Path, on_s3: OnS3) -> None:
    delivery, ref = delivery_from(tmp_path, on_s3.server.uri, on_s3.host), on_s3.models.ref("big")
    processes = [delivery.start(ref) for _ in range(2)]
    codes = [delivery.wait(process).code for process in processes]

    assert codes == [ExitCode.DONE, ExitCode.DONE]
    assert sorted(filter(None, on_s3.asked())) == sorted(["bytes=0-0", *PARTS])
    assert arrived(tmp_path, ref)


def test_a_full_disk_ends_the_fetch_and_leaves_nothing(tmp_path: Path, on_s3: OnS3) -> None:
    delivery = delivery_from(tmp_path, on_s3.server.uri, on_s3.host)
    ended = delivery.fetch(on_s3.models.ref("big"), before=["prlimit", f"--fsize={20 * MIB}"])

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert on_s3.asked() != []
    assert list(delivery.store.iterdir()) == []


@pytest.mark.parametrize(
    "document",
    [
        {"url": "ftp://127.0.0.1/x"},
        {"url": "http://user:word@127.0.0.1/x"},
        {"url": "http://127.0.0.1/x y"},
        {"url": "http://127.0.0.1/\r\nX: y"},
        {"url": "http://127.0.0.1:99999/x"},
        {"url": "http://169.254.169.254/latest"},
        {"url": 7},
        {},
        {"url": "{host}/x", "headers": {"X": "a\r\nb"}},
        {"url": "{host}/x", "headers": ["X"]},
        {"url": "{host}/x", "headers": {"X": 7}},
        {"url": "{host}/x", "headers": {"Host": "other.example"}},
        {"url": "{host}/x", "headers": {"transfer-encoding": "chunked"}},
    ],
    ids=json.dumps,
)
def test_an_address_that_is_not_one_is_left_for_mlflow(
    tmp_path: Path, mlflow_3: Registered, document: dict[str, object]
) -> None:
    with reverse_proxy(mlflow_3.uri) as store:
        text = json.dumps(document).replace("{host}", store.uri)
        with reverse_proxy(mlflow_3.uri, only("/presigned/", answer(200, text.encode()))) as mlflow:
            environment = {"MODEL_API_PRESIGNED_HOSTS": f"{store.uri},http://127.0.0.1"}
            delivery = Delivery(directory=tmp_path, uri=mlflow.uri, environment=environment)
            ended = delivery.fetch(mlflow_3.ref("big"))

    assert ended.code == ExitCode.DONE, ended.output
    assert ended.output.count(STEP_DOWN) == 1
    assert store.seen == []
    assert files_below(delivery.model(mlflow_3.ref("big"))) == mlflow_3.files("big")


def gives_urls_only(store: ReverseProxy) -> list[Rule]:
    """Answer as MLflow 3.18 with --artifacts-presigned-only does, which sends no file itself."""
    message = "This server requires artifacts to be downloaded directly from storage."
    refusal = {"error_code": "PERMISSION_DENIED", "message": message, "artifacts_presigned_only": True}

    def give_url(exchange: Exchange) -> bool:
        path = exchange.path.partition("/presigned/")[2]
        url = f"{store.uri}/api/2.0/mlflow-artifacts/artifacts/{path}?{SIGNED}=x"
        exchange.send(200, json.dumps({"url": url}).encode(), {})
        return True

    return [
        only("/presigned/", give_url),
        only("/mlflow-artifacts/artifacts/", answer(403, json.dumps(refusal).encode())),
    ]


@pytest.mark.parametrize("faults", [0, 1], ids=["the store sends them", "the store pauses once"])
def test_all_files_come_from_the_store_if_mlflow_sends_none(tmp_path: Path, mlflow_3: Registered, faults: int) -> None:
    with (
        reverse_proxy(mlflow_3.uri, first(faults, answer(503))) as store,
        reverse_proxy(mlflow_3.uri, *gives_urls_only(store)) as mlflow,
    ):
        delivery = delivery_from(tmp_path, mlflow.uri, store.uri)
        ended = delivery.fetch(mlflow_3.ref("odd names"))

    assert ended.code == ExitCode.DONE, ended.output
    assert files_below(delivery.model(mlflow_3.ref("odd names"))) == mlflow_3.files("odd names")
    assert "way=presigned " in ended.output
    assert STEP_DOWN not in ended.output
    assert {"Authorization" in request.headers for request in store.seen} == {False}


def test_model_api_reads_them_from_the_store_too(mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("odd names")

    def digest(uri: str, hosts: str) -> str:
        presigned = PresignedHosts.from_environment({"MODEL_API_PRESIGNED_HOSTS": hosts})
        with Registry(Tracking(uri=uri, authorization=bearer(Secret(TOKEN), "a token"), presigned=presigned)) as found:
            return digest_of(found, found.version(ref.name, ref.version)).digest

    with (
        reverse_proxy(mlflow_3.uri) as store,
        reverse_proxy(mlflow_3.uri, *gives_urls_only(store)) as mlflow,
    ):
        assert digest(mlflow.uri, store.uri) == digest(mlflow_3.uri, "")
        sent = {name.lower() for request in store.seen for name in request.headers}
        assert "host" in sent
        assert "authorization" not in sent
        with pytest.raises(InvalidError, match="does not allow"):
            digest(mlflow.uri, "other.example")
        with pytest.raises(InvalidError, match="by presigned URLs only"):
            digest(mlflow.uri, "")


@pytest.mark.parametrize(
    ("hosts", "code", "said"),
    [
        ("", ExitCode.INVALID_INPUT, "by presigned URLs only (`mlflow server --artifacts-presigned-only`)"),
        ("other.example", ExitCode.INVALID_INPUT, "MODEL_API_PRESIGNED_HOSTS does not allow"),
        ("{store}", ExitCode.NOT_AUTHORISED, "the object store answers 403"),
    ],
    ids=["no host is allowed", "another host is allowed", "the store refuses"],
)
def test_a_fetch_says_why_no_file_comes_if_mlflow_sends_none(
    tmp_path: Path, mlflow_3: Registered, hosts: str, code: ExitCode, said: str
) -> None:
    with (
        reverse_proxy(mlflow_3.uri, answer(403)) as store,
        reverse_proxy(mlflow_3.uri, *gives_urls_only(store)) as mlflow,
    ):
        delivery = delivery_from(tmp_path, mlflow.uri, hosts.format(store=store.uri))
        ended = delivery.fetch(mlflow_3.ref("odd names"))

    assert ended.code == code, ended.output
    assert said in ended.output
    assert STEP_DOWN not in ended.output


def test_a_store_that_echoes_the_request_brings_no_signature_into_the_log(tmp_path: Path, mlflow_3: Registered) -> None:
    with socket.create_server(("127.0.0.1", 0)) as echo:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = echo.accept()
                    with connection, suppress(OSError):
                        connection.sendall(connection.recv(1 << 16))

        threading.Thread(target=serve, daemon=True).start()
        uri = f"http://127.0.0.1:{echo.getsockname()[1]}"
        document = json.dumps({"url": f"{uri}/k?{SIGNED}=hunter2"})
        with reverse_proxy(mlflow_3.uri, only("/presigned/", answer(200, document.encode()))) as mlflow:
            delivery = Delivery(directory=tmp_path, uri=mlflow.uri, environment={"MODEL_API_PRESIGNED_HOSTS": uri})
            ended = delivery.fetch(mlflow_3.ref("big"))
        echo.shutdown(socket.SHUT_RDWR)

    assert ended.code == ExitCode.DONE, ended.output
    assert "is not HTTP" in ended.output
    assert "hunter2" not in ended.output


def test_an_mlflow_without_presigned_urls_is_asked_once(tmp_path: Path, mlflow_any: Registered) -> None:
    with reverse_proxy(mlflow_any.uri) as mlflow:
        environment = {"MODEL_API_PRESIGNED_HOSTS": "*.example.com"}
        delivery = Delivery(directory=tmp_path, uri=mlflow.uri, environment=environment)
        ended = delivery.fetch(mlflow_any.ref("big"))

    assert ended.code == ExitCode.DONE, ended.output
    assert ended.output.count(STEP_DOWN) == 1
    assert len(mlflow.paths("/presigned/")) == 1


def test_the_gate_carries_no_bytes_of_a_large_file(tmp_path: Path, on_s3: OnS3) -> None:
    with (
        reverse_proxy(on_s3.server.uri) as mlflow,
        gate(replace(on_s3.server, uri=mlflow.uri), tmp_path / "gate") as found,
    ):
        jane = {
            "MLFLOW_TRACKING_URI": found.uri,
            "MLFLOW_TRACKING_USERNAME": "jane",
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        }
        made = json.loads(on_s3.server.run(SCRIPTS / "register_large.py", "of jane", env=jane).splitlines()[-1])
        models = Registered(server=on_s3.server, versions=made)
        (tmp_path / "token").write_text(found.token(Purpose.PULL))
        environment = {"MODEL_API_PRESIGNED_HOSTS": on_s3.host, "MODEL_API_TOKEN_FILE": str(tmp_path / "token")}
        mlflow.seen.clear()
        delivery = Delivery(directory=tmp_path, uri=found.uri, environment=environment)
        ended = delivery.fetch(models.ref("big"))

    assert ended.code == ExitCode.DONE, ended.output
    assert not through_mlflow(mlflow)
    assert len(mlflow.paths("/presigned/")) == 1
    assert arrived(tmp_path, models.ref("big"))
