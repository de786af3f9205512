"""Files at an address of a real S3 server, read with credentials of the cluster, of versions in a real MLflow."""

import gzip
import hashlib
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from obstore.store import S3Store

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_contract.store_addresses import parse_store_address
from model_delivery.deadline import Deadline, Limits
from model_delivery.errors import DeliveryError, InvalidInputError
from model_delivery.listed_model import ListedFile
from model_delivery.object_store_client import LARGE, STREAMS, Bucket, connected
from model_delivery.object_store_settings import ObjectStoreSettings
from testbed.delivery import QUICKLY, Delivery, Ended, wait_until
from testbed.faults import answer, cut, first, only, slowly, stall
from testbed.mlflow_server import MlflowServer
from testbed.object_stores import post, register, s3_bucket, upload
from testbed.processes import PATIENCE, installed
from testbed.registered import files_below
from testbed.reverse_proxy import Exchange, ReverseProxy, Rule, reverse_proxy
from testbed.s3_server import S3Server, s3_server
from tests.model_delivery.test_fetch import MIB
from tests.model_delivery.test_presigned import asked_for
from tests.model_delivery.test_ranges import PARTS, SECOND, longer
from tests.test_extras import python_with

TOKEN = "dmg1_r_not-a-real-token"
WEIGHTS = "weights.bin"
FILES = {
    "MLmodel": b"flavors: {}\n",
    WEIGHTS: bytes(range(256)) * (36 * 4096),
    "code/a%20b c#d?.py": b"pass\n",
    "empty": b"",
}
NUMBERS = itertools.count(1)
TURNS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OnS3:
    """A bucket of an S3 server behind a proxy for faults, and an MLflow whose versions lie in it."""

    server: S3Server
    bucket: S3Store
    proxy: ReverseProxy
    mlflow: str
    versions: dict[str, ModelRef] = field(default_factory=dict)

    def environment(self, directory: Path, **more: str) -> dict[str, str]:
        token = directory / "token"
        token.write_text(TOKEN)
        found = {
            **self.server.environment,
            "AWS_ENDPOINT_URL": self.proxy.uri,
            "MODEL_API_OBJECT_STORES": "s3://models",
            "MODEL_API_TOKEN_FILE": str(token),
            **more,
        }
        return {name: value for name, value in found.items() if value}

    def version(self, files: Mapping[str, bytes], source: str = "", **tags: str) -> ModelRef:
        """Register a version of files that are uploaded to a path of their own."""
        path = f"model {next(NUMBERS)}"
        upload(self.bucket, path, files)
        return register(self.mlflow, path, source or f"s3://models/{path}", tags=tags)

    def asked(self, part: str = WEIGHTS) -> list[str | None]:
        """The Range header of each request whose path holds `part`."""
        with self.proxy.lock:
            return [request.headers.get("range") for request in self.proxy.seen if part in request.path]


@pytest.fixture(scope="module")
def s3_models(tmp_path_factory: pytest.TempPathFactory, mlflow_3_17: MlflowServer) -> Iterator[OnS3]:
    with (
        s3_server(tmp_path_factory.mktemp("s3")) as server,
        reverse_proxy(server.endpoint, keep_host=True) as proxy,
    ):
        found = OnS3(server=server, bucket=s3_bucket(server, "models"), proxy=proxy, mlflow=mlflow_3_17.uri)
        found.versions["big"] = found.version(FILES)
        found.versions["marked"] = found.version(FILES, **{"model-api.digest": digest(FILES)})
        yield found


@pytest.fixture
def on_s3(s3_models: OnS3) -> Iterator[OnS3]:
    """The same without rules and requests of other tests."""
    s3_models.proxy.rules = ()
    with s3_models.proxy.lock:
        s3_models.proxy.seen.clear()
    yield s3_models
    s3_models.proxy.rules = ()


def digest(files: Mapping[str, bytes]) -> str:
    lines = sorted(f"{path}\0{len(data)}\0{hashlib.sha256(data).hexdigest()}\n" for path, data in files.items())
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def fetch(
    directory: Path, on_s3: OnS3, *rules: Rule, example: str = "big", options: Sequence[str] = (), **environment: str
) -> Ended:
    """Fetch with these rules for files; neither the log nor the reason may hold a secret."""
    on_s3.proxy.rules = [only("/models", rule) for rule in rules]
    delivery = Delivery(directory=directory, uri=on_s3.mlflow, environment=on_s3.environment(directory, **environment))
    ended = delivery.fetch(on_s3.versions[example], *options)
    for secret in (TOKEN, on_s3.server.secret_key, on_s3.server.access_key, "Signature="):
        assert secret not in ended.output + ended.reason
    return ended


def arrived(directory: Path, ref: ModelRef, files: Mapping[str, bytes] = FILES) -> bool:
    delivery = Delivery(directory=directory, uri="")
    whole = files_below(delivery.model(ref)) == files and delivery.partial() == []
    return whole and delivery.verify(ref, "--digests").code == ExitCode.DONE


def test_a_model_comes_from_the_address_of_its_version_and_no_token_of_ours_does(tmp_path: Path, on_s3: OnS3) -> None:
    with reverse_proxy(on_s3.mlflow) as mlflow:
        delivery = Delivery(directory=tmp_path, uri=mlflow.uri, environment=on_s3.environment(tmp_path))
        ended = delivery.fetch(on_s3.versions["marked"])

    assert ended.code == ExitCode.DONE, ended.output
    assert '"way": "object store"' in ended.reason
    assert arrived(tmp_path, on_s3.versions["marked"])
    assert mlflow.paths("artifacts") == []
    assert sorted(filter(None, on_s3.asked())) == sorted(["bytes=0-0", *PARTS])
    assert on_s3.proxy.seen
    assert all(TOKEN not in str(request.headers) for request in on_s3.proxy.seen)
    assert all("AWS4-HMAC-SHA256" in request.headers["authorization"] for request in on_s3.proxy.seen)
    on_s3.proxy.seen.clear()
    again = delivery.fetch(on_s3.versions["marked"])
    assert (again.code, on_s3.proxy.seen) == (ExitCode.DONE, [])


def test_a_run_of_an_experiment_in_an_object_store_is_found(tmp_path: Path, on_s3: OnS3) -> None:
    made = post(on_s3.mlflow, "experiments/create", name="in S3", artifact_location="s3://models/runs")
    run = post(on_s3.mlflow, "runs/create", experiment_id=made["experiment_id"])["run"]["info"]
    upload(on_s3.bucket, f"runs/{run['run_id']}/artifacts/model", {"MLmodel": b"flavors: {}\n"})
    ref = register(on_s3.mlflow, "of a run in S3", f"runs:/{run['run_id']}/model", run_id=run["run_id"])
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))

    assert delivery.fetch(ref).code == ExitCode.DONE
    assert arrived(tmp_path, ref, {"MLmodel": b"flavors: {}\n"})


@pytest.mark.parametrize("allowed", ["", "s3://model", "s3://models/model%201", "gs://models", "s3://models/other"])
def test_an_address_that_is_not_allowed_gets_no_request(tmp_path: Path, on_s3: OnS3, allowed: str) -> None:
    ended = fetch(tmp_path, on_s3, MODEL_API_OBJECT_STORES=allowed)

    assert ended.code == ExitCode.INVALID_INPUT
    assert "which MODEL_API_OBJECT_STORES does not allow" in ended.reason
    assert on_s3.proxy.seen == []


@pytest.mark.parametrize(
    "source",
    ["s3://key:word@models/x", "s3://models/x?versionId=word", "s3://models//x"],
)
def test_an_address_that_is_not_one_is_refused_without_its_secrets(tmp_path: Path, on_s3: OnS3, source: str) -> None:
    on_s3.versions["odd"] = on_s3.version({"MLmodel": b""}, source)
    on_s3.proxy.seen.clear()
    ended = fetch(tmp_path, on_s3, example="odd")

    assert ended.code == ExitCode.INVALID_INPUT, ended.output
    assert "word" not in ended.output
    assert on_s3.proxy.seen == []


def test_an_image_without_the_package_names_the_one_that_has_it(tmp_path: Path, on_s3: OnS3) -> None:
    python = python_with(tmp_path / "venv")
    environment = {"MLFLOW_TRACKING_URI": on_s3.mlflow, "PATH": os.environ["PATH"]} | on_s3.environment(tmp_path)
    ref = on_s3.versions["big"]
    named = [f"--run-id={ref.run_id}", f"--owner={ref.owner}", f"--model={ref.name}", f"--version={ref.version}"]
    command = [python, "-m", "model_delivery", "fetch", f"--store={tmp_path}", *named, *QUICKLY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == ExitCode.INVALID_INPUT
    assert "use the image model-api-delivery:<version>-full, or install the extra stores" in done.stderr
    assert on_s3.proxy.seen == []


def mounted(directory: Path, files: Mapping[str, str]) -> str:
    """Write files as the kubelet mounts a Secret's: names are links into a directory whose name begins with points."""
    (directory / "secret" / "..data").mkdir(parents=True)
    for name, content in files.items():
        (directory / "secret" / "..data" / name).write_text(content)
        (directory / "secret" / name).symlink_to(f"..data/{name}")
    return str(directory / "secret")


def test_mounted_credentials_win_over_those_of_the_environment(tmp_path: Path, on_s3: OnS3) -> None:
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION")
    found = on_s3.environment(tmp_path)
    place = mounted(tmp_path, {key: f"{found[key]}\n" for key in keys})
    ended = fetch(
        tmp_path, on_s3, MODEL_API_OBJECT_STORE_CREDENTIALS=place, AWS_SECRET_ACCESS_KEY="other", AWS_ENDPOINT_URL=""
    )

    assert ended.code == ExitCode.DONE, ended.output
    assert arrived(tmp_path, on_s3.versions["big"])


def test_a_variable_without_a_value_is_none(tmp_path: Path, on_s3: OnS3) -> None:
    """An optional key of a Secret is often empty; obstore would sign the request with it."""
    place = mounted(tmp_path, {"AWS_SESSION_TOKEN": "\n"})
    found = on_s3.environment(tmp_path, MODEL_API_OBJECT_STORE_CREDENTIALS=place)
    empty = dict.fromkeys(("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"), "")
    ended = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=found | empty).fetch(on_s3.versions["big"])

    assert ended.code == ExitCode.DONE, ended.output
    assert all("x-amz-security-token" not in request.headers for request in on_s3.proxy.seen)


NO_KEYS = {
    "AWS_ACCESS_KEY_ID": "",
    "AWS_SECRET_ACCESS_KEY": "",
    "AWS_METADATA_ENDPOINT": "http://127.0.0.1:9",
}
CREDENTIALS: dict[str, tuple[dict[str, str], dict[str, str], ExitCode, str]] = {
    "wrong secret": ({"AWS_SECRET_ACCESS_KEY": "hunter2"}, {}, ExitCode.NOT_AUTHORISED, "SignatureDoesNotMatch"),
    "unknown key": ({"AWS_ACCESS_KEY_ID": "hunter2"}, {}, ExitCode.NOT_FOUND, "XAdminUserNotFound"),  # S3 answers 403
    "another file": ({"key": "hunter2"}, {}, ExitCode.INVALID_INPUT, 'holds "key", which is no variable'),
    "unknown variable": ({"AWS_HUNTER": "hunter2"}, {}, ExitCode.INVALID_INPUT, "holds AWS_HUNTER, a variable that"),
    "no endpoint": ({"AWS_ENDPOINT_URL": "hunter2"}, {}, ExitCode.INVALID_INPUT, "endpoint for s3: is no"),
    "none": ({}, NO_KEYS, ExitCode.NOT_AUTHORISED, "there are no credentials for the object store"),
    "no token of the pod": (
        {},
        {**NO_KEYS, "AWS_ROLE_ARN": "arn:aws:iam::1:role/x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/hunter2"},
        ExitCode.INVALID_INPUT,
        "the file with the token of the pod's identity cannot be read",
    ),
}


@pytest.mark.parametrize("case", CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_credentials_that_do_not_fit_are_named_but_never_shown(
    tmp_path: Path, on_s3: OnS3, case: tuple[dict[str, str], dict[str, str], ExitCode, str]
) -> None:
    files, environment, code, reason = case
    ended = fetch(tmp_path, on_s3, MODEL_API_OBJECT_STORE_CREDENTIALS=mounted(tmp_path, files), **environment)

    assert ended.code == code, ended.output
    assert reason in ended.reason
    assert "hunter2" not in ended.output + ended.reason


def test_a_range_that_was_cut_is_continued_from_its_last_byte(tmp_path: Path, on_s3: OnS3) -> None:
    ended = fetch(tmp_path, on_s3, asked_for(SECOND, first(1, cut(5 * MIB))))

    assert ended.code == ExitCode.DONE, ended.output
    ends = [asked for asked in on_s3.asked() if asked and asked.endswith(f"-{32 * MIB - 1}")]
    assert any(16 * MIB < int(asked.removeprefix("bytes=").partition("-")[0]) <= 21 * MIB for asked in ends), ends


def test_large_files_wait_for_one_of_the_streams_and_small_ones_do_not(tmp_path: Path, on_s3: OnS3) -> None:
    bucket, small, large = streams_of(tmp_path, on_s3)
    opened = threading.Event()

    def one_more() -> None:
        with bucket.open("streams/large", large, {}) as answer:
            opened.set()
            assert sum(map(len, answer.chunks())) == LARGE

    with ExitStack() as streams, ThreadPoolExecutor(1) as pool:
        for _ in range(STREAMS):
            streams.enter_context(bucket.open("streams/large", large, {}))
        waiting = pool.submit(one_more)
        with bucket.open("streams/small", small, {}) as answer:
            assert answer.beginning(1) == b"x"
        assert not opened.is_set()
        streams.close()
        waiting.result(PATIENCE)


def test_every_transfer_that_waits_for_a_stream_gets_its_turn(tmp_path: Path, on_s3: OnS3) -> None:
    bucket, _, large = streams_of(tmp_path, on_s3)
    turns = [0] * (2 * STREAMS)
    when_one_had_all: list[int] = []

    def transfer(number: int) -> None:
        for _ in range(TURNS):
            with bucket.open("streams/large", large, {}):
                turns[number] += 1
        when_one_had_all.append(min(turns))

    with ThreadPoolExecutor(len(turns)) as pool:
        list(pool.map(transfer, range(len(turns))))

    assert when_one_had_all[0] > 0


def streams_of(tmp_path: Path, on_s3: OnS3) -> tuple[Bucket, ListedFile, ListedFile]:
    """Return a bucket with `streams/small` and `streams/large`, and the two files as it lists them."""
    known = {name: value for name, value in on_s3.server.environment.items() if name != "AWS_EC2_METADATA_DISABLED"}
    credentials = mounted(tmp_path, known)
    settings = ObjectStoreSettings.from_environment(
        on_s3.environment(tmp_path, MODEL_API_OBJECT_STORE_CREDENTIALS=credentials)
    )
    upload(on_s3.bucket, "streams", {"small": b"x", "large": bytes(LARGE)})
    bucket = connected(parse_store_address("s3://models/streams"), settings, Deadline(Limits()))
    small, large = sorted(bucket.files("streams"), key=lambda file: file.size or 0)
    return bucket, small, large


def test_doctor_measures_the_way_from_the_address_of_a_version(tmp_path: Path, on_s3: OnS3) -> None:
    command = [installed("model-api"), "doctor", "delivery", f"--name={on_s3.versions['big'].name}", "--version=1"]
    bounds = [f"--tracking-uri={on_s3.mlflow}", f"--directory={tmp_path}", f"--seconds={PATIENCE}", "--format=json"]
    known = {"PATH": os.environ["PATH"], **on_s3.environment(tmp_path)}
    done = subprocess.run([*command, *bounds], env=known, capture_output=True, text=True, check=False)

    assert done.returncode == ExitCode.DONE, done.stderr
    assert {name: way["bytes"] for name, way in json.loads(done.stdout)["ways"].items()} == {
        "object store": sum(map(len, FILES.values()))
    }


def test_a_bucket_that_is_not_there_is_named_with_the_places_to_look_at(tmp_path: Path, on_s3: OnS3) -> None:
    on_s3.versions["nowhere"] = on_s3.version({}, "s3://nowhere/model")
    ended = fetch(tmp_path, on_s3, example="nowhere", MODEL_API_OBJECT_STORES="s3://nowhere")

    assert ended.code == ExitCode.NOT_FOUND, ended.output
    assert (
        "listing of 's3://nowhere/model': the object store answers 404 NoSuchBucket; check the bucket" in ended.reason
    )


def test_a_range_that_does_not_fit_makes_the_file_come_in_one_piece(tmp_path: Path, on_s3: OnS3) -> None:
    ended = fetch(tmp_path, on_s3, asked_for(SECOND, longer), options=["--tries=1"])

    assert ended.code == ExitCode.DONE, ended.output
    assert ended.output.count("it is fetched again, in one piece") == 1
    assert arrived(tmp_path, on_s3.versions["big"])


def test_other_bytes_of_the_store_are_noticed_by_the_digest_of_the_version(tmp_path: Path, on_s3: OnS3) -> None:
    def other_bytes(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            exchange.send(real.status, real.read()[::-1], dict(real.getheaders()) | {"Connection": "keep-alive"})
        return True

    ended = fetch(tmp_path, on_s3, asked_for(SECOND, other_bytes), example="marked")
    again = fetch(tmp_path, on_s3, example="marked")

    assert ended.code == ExitCode.PRECONDITION, ended.output
    assert again.code == ExitCode.DONE, again.output
    assert arrived(tmp_path, on_s3.versions["marked"])


@pytest.mark.parametrize("conditional", [True, False], ids=["If-Match", "a store that ignores it"])
def test_a_file_that_is_changed_after_it_was_listed_ends_the_fetch_and_the_next_one_is_whole(
    tmp_path: Path, on_s3: OnS3, conditional: bool
) -> None:
    """The other content has the same size: only its tag tells."""
    on_s3.versions["changing"] = ref = on_s3.version({"MLmodel": b"old"})
    key = f"{ref.name}/MLmodel"

    def change(exchange: Exchange) -> bool:
        on_s3.bucket.put(key, b"new")
        if conditional:
            return False
        on_s3.proxy.rules = ()
        content = on_s3.bucket.get(key)
        exchange.send(200, bytes(content.bytes()), {"ETag": str(content.meta["e_tag"]), "Last-Modified": MODIFIED})
        return True

    ended = fetch(tmp_path, on_s3, only("MLmodel", first(1, change)), example="changing")
    assert ended.code == ExitCode.PRECONDITION, ended.output
    assert "was changed after it was listed" in ended.reason
    assert not Delivery(directory=tmp_path, uri="").run_directory(ref).exists()

    assert fetch(tmp_path, on_s3, example="changing").code == ExitCode.DONE
    assert arrived(tmp_path, ref, {"MLmodel": b"new"})


MODIFIED = "Sun, 29 Nov 2026 12:00:00 GMT"


def test_a_store_that_stays_away_ends_the_fetch_with_its_answer(tmp_path: Path, on_s3: OnS3) -> None:
    ended = fetch(tmp_path, on_s3, answer(503, b"<Error><Code>SlowDown</Code></Error>"))

    assert ended.code == ExitCode.UNAVAILABLE, ended.output
    assert "the object store answers 503 SlowDown" in ended.reason
    assert not Delivery(directory=tmp_path, uri="").run_directory(on_s3.versions["big"]).exists()


UNUSABLE: dict[str, tuple[Rule, str]] = {
    "another region": (
        answer(301, b"<Error><Code>PermanentRedirect</Code></Error>"),
        "lies in another region: set AWS_",
    ),
    "a signature for another region": (
        answer(400, b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"),
        "answers 400 AuthorizationHeaderMalformed; set AWS_REGION to the region of the bucket",
    ),
    "a circle of redirects": (answer(307, headers={"Location": "/models"}), "redirects without an end"),
    "the page of a console": (
        answer(200, b"<!doctype html><html><meta charset=utf-8></html>", {"Content-Type": "text/html"}),
        "the answer is no listing; check that the endpoint is the object store's own",
    ),
}


@pytest.mark.parametrize(("rule", "reason"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_answer_that_another_try_would_not_change_ends_the_fetch_with_what_to_do(
    tmp_path: Path, on_s3: OnS3, rule: Rule, reason: str
) -> None:
    ended = fetch(tmp_path, on_s3, rule)

    assert ended.code == ExitCode.INVALID_INPUT, ended.output
    assert reason in ended.reason
    assert "trying again" not in ended.output


AAD = b'{"error": "invalid_client", "error_description": "AADSTS7000215: hunter2"}'
REFUSALS: dict[str, tuple[str, int, bytes, ExitCode, str]] = {
    "a clock": ("s3", 403, b"<Code>RequestTimeTooSkewed</Code>", ExitCode.NOT_AUTHORISED, "set that of the node"),
    "a clock, as Azure says it": (
        "abfss",
        403,
        b"<Code>AuthenticationFailed</Code>Request date header too old: 'hunter2'",
        ExitCode.NOT_AUTHORISED,
        "AuthenticationFailed; the clocks of the store",
    ),
    "a rule": ("s3", 403, b"<Code>AccessDenied</Code>", ExitCode.NOT_AUTHORISED, "may list and read this place"),
    "an archive": ("s3", 403, b"<Code>InvalidObjectState</Code>", ExitCode.NOT_AUTHORISED, "the file is archived"),
    "a key of KMS": (
        "s3",
        403,
        b"<Code>AccessDenied</Code>hunter2 is not authorized to perform: kms:Decrypt",
        ExitCode.NOT_AUTHORISED,
        "let the credentials use the key of KMS",
    ),
    "a key of its own": (
        "s3",
        400,
        b"<Code>InvalidRequest</Code>The object was stored using a form of Server Side Encryption. hunter2",
        ExitCode.INVALID_INPUT,
        "set AWS_SERVER_SIDE_ENCRYPTION=sse-c and AWS_SSE_CUSTOMER_KEY_BASE64",
    ),
    "a token that is not given": (
        "token",
        401,
        AAD,
        ExitCode.NOT_AUTHORISED,
        "gives no token to the credentials for the object store, or to the identity of the pod: the answer is 401"
        " invalid_client; check the role",
    ),
    "a service of tokens that is away": (
        "token",
        0,
        b"",
        ExitCode.UNAVAILABLE,
        "from the provider's service for it: it cannot be reached; check the network policies",
    ),
    "no identity": (
        "identity",
        404,
        b"hunter2",
        ExitCode.NOT_AUTHORISED,
        "MODEL_API_OBJECT_STORE_CREDENTIALS names none, and the pod has no identity that the store's provider knows;"
        " the answer is 404",
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_refusal_is_told_with_what_to_do_and_who_refused(
    tmp_path: Path, on_s3: OnS3, case: tuple[str, int, bytes, ExitCode, str]
) -> None:
    kind, status, body, code, reason = case
    on_s3.proxy.rules = [answer(status, body)]
    identity = {"AWS_METADATA_ENDPOINT": on_s3.proxy.uri, "AWS_ENDPOINT_URL": on_s3.proxy.uri}
    service = {"AZURE_AUTHORITY_HOST": on_s3.proxy.uri if status else "http://127.0.0.1:9"}
    client = {"AZURE_CLIENT_ID": "x", "AZURE_CLIENT_SECRET": "hunter2", "AZURE_TENANT_ID": "t", **service}
    azure = {"AZURE_STORAGE_ENDPOINT": on_s3.proxy.uri}
    files = {
        "s3": {**on_s3.server.environment, "AWS_ENDPOINT_URL": on_s3.proxy.uri},
        "identity": identity,
        "abfss": {"AZURE_STORAGE_ACCOUNT_KEY": "aHVudGVyMg==", **azure},
        "token": {**client, **azure},
    }[kind]
    address = "abfss://models@acme.dfs.core.windows.net/x" if "AZURE_STORAGE_ENDPOINT" in files else "s3://models/x"

    with pytest.raises(DeliveryError) as refused:
        bucket_of(tmp_path, address, files).files("x")

    assert refused.value.exit_code == code
    assert reason in str(refused.value)
    assert "hunter2" not in str(refused.value)


GOOGLE_KINDS = ["external_account", "impersonated_service_account"]


@pytest.mark.parametrize("kind", GOOGLE_KINDS)
def test_google_account_of_a_kind_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "account.json").write_text(json.dumps({"type": kind, "audience": "hunter2"}))
    account = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json")}

    with pytest.raises(InvalidInputError, match=f"since they are of the kind {kind}") as refused:
        bucket_of(tmp_path, "gs://models/x", account)

    assert "hunter2" not in str(refused.value)


PAGE = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body/></html>'


def test_well_formed_page_is_no_empty_listing_and_a_place_without_files_is_one(tmp_path: Path, on_s3: OnS3) -> None:
    bucket = bucket_of(tmp_path, "s3://models/x", {**on_s3.server.environment, "AWS_ENDPOINT_URL": on_s3.proxy.uri})
    assert bucket.files("nothing here") == ()
    on_s3.proxy.rules = [answer(200, PAGE, {"Content-Type": "text/html"})]

    with pytest.raises(InvalidInputError, match="the answer is no listing"):
        bucket.files("nothing here")


def bucket_of(directory: Path, address: str, files: Mapping[str, str]) -> Bucket:
    """Return the bucket of an address, read once with credentials that are mounted."""
    known = {name: value for name, value in files.items() if name != "AWS_EC2_METADATA_DISABLED"}
    settings = ObjectStoreSettings.from_environment(
        {
            "MODEL_API_OBJECT_STORES": address,
            "MODEL_API_OBJECT_STORE_CREDENTIALS": mounted(directory, known),
        }
    )
    return connected(parse_store_address(address), settings, Deadline(Limits(tries=1)))


def test_a_proxy_that_compresses_files_is_named_by_its_coding(tmp_path: Path, on_s3: OnS3) -> None:
    def compressed(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            kept = {name: value for name, value in real.getheaders() if name in {"ETag", "Last-Modified"}}
            exchange.send(real.status, gzip.compress(real.read()), kept | {"Content-Encoding": "gzip"})
        return True

    ended = fetch(tmp_path, on_s3, only("MLmodel", compressed), options=["--tries=1"])

    assert ended.code == ExitCode.DAMAGED, ended.output
    assert "it came with Content-Encoding" in ended.reason


def test_a_store_that_drips_is_given_up(tmp_path: Path, on_s3: OnS3) -> None:
    ended = fetch(tmp_path, on_s3, asked_for(SECOND, slowly(0.4)), options=["--stall=5", "--min-rate=1e7", "--tries=1"])

    assert ended.code == ExitCode.UNAVAILABLE, ended.output
    assert "less than the 1e+07 of --min-rate" in ended.reason


def test_a_deadline_ends_a_fetch_from_a_silent_store(tmp_path: Path, on_s3: OnS3) -> None:
    ended = fetch(tmp_path, on_s3, asked_for(SECOND, stall(MIB)), options=["--deadline=10"])

    assert ended.code == ExitCode.UNAVAILABLE, ended.output
    assert "did not arrive within 10 s" in ended.reason


def test_a_fetch_that_was_killed_continues_with_what_it_has(tmp_path: Path, on_s3: OnS3) -> None:
    on_s3.proxy.rules = [only(WEIGHTS, stall(4 * MIB))]
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))
    ref = on_s3.versions["big"]
    with delivery.start(ref) as process:
        wait_until(lambda: any("received" in path.read_text() for path in delivery.store.glob(".partial-*.progress")))
        process.kill()
    assert not delivery.run_directory(ref).exists()
    on_s3.proxy.seen.clear()
    ended = fetch(tmp_path, on_s3)

    assert ended.code == ExitCode.DONE, ended.output
    assert "going on where an earlier run ended" in ended.output
    assert "bytes=0-0" not in on_s3.asked()
    assert set(filter(None, on_s3.asked())) != set(PARTS)
    assert arrived(tmp_path, ref)


def test_two_fetches_at_once_both_end_with_the_whole_model(tmp_path: Path, on_s3: OnS3) -> None:
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))
    ref = on_s3.versions["big"]
    processes = [delivery.start(ref) for _ in range(2)]
    codes = [delivery.wait(process).code for process in processes]

    assert codes == [ExitCode.DONE, ExitCode.DONE]
    assert len(on_s3.asked()) == len(["bytes=0-0", *PARTS])
    assert arrived(tmp_path, ref)


def test_a_full_disk_ends_the_fetch_and_leaves_nothing(tmp_path: Path, on_s3: OnS3) -> None:
    """The limit on the size of a file ends a write as a full disk does."""
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))
    ended = delivery.fetch(on_s3.versions["big"], before=["prlimit", f"--fsize={20 * MIB}"])

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert list(delivery.store.iterdir()) == []


def test_a_storage_uri_of_a_version_in_an_object_store_is_fetched(tmp_path: Path, on_s3: OnS3) -> None:
    delivery = Delivery(directory=tmp_path, uri=on_s3.mlflow, environment=on_s3.environment(tmp_path))
    name = on_s3.versions["big"].name.replace(" ", "%20")
    ended = delivery.fetch_storage(f"mlflow://{name}/1")

    assert ended.code == ExitCode.DONE, ended.output
    assert (delivery.store / WEIGHTS).read_bytes() == FILES[WEIGHTS]
