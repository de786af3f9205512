"""`model-api-delivery storage`: KServe's storage URIs of models in MLflow, fetched into a mount."""

import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from model_contract.exit_codes import ExitCode
from model_delivery.errors import InvalidInputError
from model_delivery.storage_uri import AliasUri, RunUri, StorageUri, VersionUri, parse_storage_uri
from testbed.delivery import COMMAND, MODULES, Delivery, wait_until
from testbed.faults import only, stall
from testbed.gate import API, ask
from testbed.processes import PATIENCE, Process
from testbed.registered import Registered, files_below
from testbed.reverse_proxy import Exchange, reverse_proxy
from tests.model_delivery.test_fetch import MIB

RUN = "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"
STORE = ".model-api"
ENDED = 77
STEPS = 8  # at least: links of two files go and come, and four renames
KILLED = f"""
import os, pathlib, sys
left, mount = int(sys.argv.pop(1)), pathlib.Path(sys.argv[3])
def watch(event, arguments):
    global left
    in_mount = event == "os.remove" and pathlib.Path(os.fsdecode(arguments[0])).parent == mount
    if in_mount or event in {{"os.rename", "os.symlink"}}:
        left -= 1
        if left < 0:
            os._exit({ENDED})
sys.addaudithook(watch)
from model_delivery.cli import main
sys.exit(main())
"""
DIGEST = "sha256:" + "0a" * 32
URIS = {
    "mlflow://wine/3": VersionUri(name="wine", version="3"),
    f"mlflow://wine/3?digest={DIGEST}": VersionUri(name="wine", version="3", digest=DIGEST),
    "mlflow://models/wine/3": VersionUri(name="wine", version="3"),
    "mlflow://models/3": VersionUri(name="models", version="3"),
    "mlflow://wine@production": AliasUri(name="wine", alias="production"),
    "mlflow://models/wine@production": AliasUri(name="wine", alias="production"),
    "mlflow://red%20wine/3": VersionUri(name="red wine", version="3"),
    "mlflow://a@b@prod": AliasUri(name="a@b", alias="prod"),
    "mlflow://wine@gr%C3%B6%C3%9Fe": AliasUri(name="wine", alias="größe"),
    f"mlflow://runs/{RUN}/model": RunUri(run_id=RUN, path="model"),
    f"mlflow://runs/{RUN}/deep/er": RunUri(run_id=RUN, path="deep/er"),
}
REFUSED = {
    "s3://wine/3": "does not begin with mlflow://",
    "mlflow:/wine/3": "does not begin with mlflow://",
    "MLFLOW://wine/3": "does not begin with mlflow://",
    "mlflow://": "names no version, alias or run",
    "mlflow://wine": "names no version, alias or run",
    "mlflow://wine/": 'the version in the storage URI is "": it is empty',
    "mlflow://wine/3/": "names no version, alias or run",
    "mlflow://wine/Production": 'the version in the storage URI is "Production"',
    "mlflow://wine/-1": "the version in the storage URI",
    "mlflow://wine@": "the alias in the storage URI",
    "mlflow://wine@a%2Fb": "the alias in the storage URI",
    "mlflow://wine@v1.0": "the alias in the storage URI",
    "mlflow://@production": 'the model\'s name in the storage URI is ""',
    "mlflow://a%2Fb/3": "the model's name in the storage URI",
    "mlflow://../3": None,
    "mlflow://wine%00/3": "the model's name in the storage URI",
    "mlflow://wine%ff/3": "is not UTF-8",
    "mlflow://wine/3?x=1": "has another query than",
    "mlflow://wine/3?": "has another query than",
    "mlflow://wine/3?digest=": "has another query than",
    f"mlflow://wine/3?digest={DIGEST.upper()}": "has another query than",
    f"mlflow://wine/3?digest={DIGEST}&x=1": "has another query than",
    f"mlflow://wine@production?digest={DIGEST}": "has another query than",
    f"mlflow://runs/{RUN}/model?digest={DIGEST}": "has another query than",
    "mlflow://wine/3#x": "has a fragment",
    f"mlflow://wine/3?digest={DIGEST}#x": "has a fragment",
    f"mlflow://runs/{RUN}": 'the version in the storage URI is "5f0c',
    f"mlflow://runs/{RUN}/": "the path in the storage URI",
    f"mlflow://runs/{RUN}/../../etc": "the path in the storage URI",
    f"mlflow://runs/{RUN}/%2e%2e/x": "the path in the storage URI",
    "mlflow://runs/a:b/model": "the run id in the storage URI",
}


@pytest.fixture
def mount(delivery: Delivery, mlflow_any: Registered) -> Delivery:
    """An empty directory, to be filled from each server in turn."""
    return Delivery(directory=delivery.directory, uri=mlflow_any.uri)


def uri_of(registered: Registered, example: str) -> str:
    version = registered.versions[example]
    return f"mlflow://{quote(version['name'])}/{version['version']}"


def pairs_of(places: dict[str, Path]) -> Iterator[str]:
    """Yield each URI, and the directory behind it."""
    for uri, directory in places.items():
        yield from (uri, str(directory))


def visible(directory: Path) -> dict[str, bytes]:
    """Return the files that a server of the model finds."""
    found: dict[str, bytes] = {}
    for entry in directory.iterdir():
        if entry.name == STORE:
            continue
        found |= (
            {entry.name: entry.read_bytes()}
            if entry.is_file()
            else {f"{entry.name}/{path}": content for path, content in files_below(entry.resolve()).items()}
        )
    return found


@pytest.mark.parametrize(("text", "expected"), URIS.items(), ids=URIS)
def test_uri_names_a_version_an_alias_or_a_model_of_a_run(text: str, expected: StorageUri) -> None:
    assert parse_storage_uri(text) == expected


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=REFUSED)
def test_uri_that_names_no_model_is_refused_with_its_reason(text: str, reason: str | None) -> None:
    if reason is None:  # the name is MLflow's to know: it becomes no path
        assert parse_storage_uri(text) == VersionUri(name="..", version="3")
        return
    with pytest.raises(InvalidInputError) as caught:
        parse_storage_uri(text)
    assert reason in str(caught.value)


@pytest.mark.parametrize("example", ["logged", "plain", "odd names", "empty directories"])
def test_version_arrives_byte_by_byte(mount: Delivery, mlflow_any: Registered, example: str) -> None:
    ended = mount.fetch_storage(uri_of(mlflow_any, example))

    assert ended.code == ExitCode.DONE, ended.output
    assert visible(mount.store) == mlflow_any.files(example)
    assert sorted(path.name for path in (mount.store / STORE).iterdir()) == ["model"]


@pytest.mark.parametrize(("alias", "logged"), [("Live_1", "Live_1"), ("größe", '"gr\\u00f6\\u00dfe"')])
def test_alias_is_resolved_at_the_time_of_the_fetch(
    mount: Delivery, mlflow_any: Registered, alias: str, logged: str
) -> None:
    name = mlflow_any.versions["plain"]["name"]
    ask(mlflow_any.uri, "POST", f"{API}/registered-models/alias", {"name": name, "alias": alias, "version": "1"})
    ended = mount.fetch_storage(f"mlflow://models/{quote(name)}@{quote(alias)}")
    ask(mlflow_any.uri, "DELETE", f"{API}/registered-models/alias", {"name": name, "alias": alias})

    assert ended.code == ExitCode.DONE, ended.output
    assert f"alias={logged} version=1" in ended.output
    assert visible(mount.store) == mlflow_any.files("plain")


@pytest.mark.parametrize("example", ["logged", "plain"])
def test_model_of_a_run_needs_no_registration(mount: Delivery, mlflow_any: Registered, example: str) -> None:
    ended = mount.fetch_storage(f"mlflow://runs/{mlflow_any.versions[example]['run_id']}/model")

    assert ended.code == ExitCode.DONE, ended.output
    assert visible(mount.store) == mlflow_any.files(example)


def test_digest_of_the_uri_is_that_of_the_files_or_nothing_is_visible(delivery: Delivery, mlflow_3: Registered) -> None:
    uri = uri_of(mlflow_3, "plain")
    ended = delivery.fetch_storage(f"{uri}?digest={DIGEST}")
    assert ended.code == ExitCode.PRECONDITION, ended.output
    assert f"the storage URI asks for {DIGEST}" in ended.output
    assert visible(delivery.store) == {}
    delivery.fetch_storage(uri)
    manifest = json.loads((delivery.store / STORE / "model" / "manifest.json").read_text())
    version = mlflow_3.versions["plain"]
    assert manifest["resolved"] == {"name": version["name"], "version": version["version"]}
    ended = delivery.fetch_storage(f"{uri}?digest={manifest['digest']}")

    assert ended.code == ExitCode.DONE, ended.output
    assert visible(delivery.store) == mlflow_3.files("plain")


def test_model_that_is_there_needs_no_network(delivery: Delivery, mlflow_3: Registered) -> None:
    uri = uri_of(mlflow_3, "plain")
    delivery.fetch_storage(uri)
    (delivery.store / "MLmodel").unlink()  # as after a kill between two links
    ended = Delivery(directory=delivery.directory, uri="http://127.0.0.1:9").fetch_storage(uri)

    assert ended.code == ExitCode.DONE, ended.output
    assert "there already" in ended.output
    assert visible(delivery.store) == mlflow_3.files("plain")


def test_no_part_of_a_model_is_visible_while_it_comes_or_after_a_kill(delivery: Delivery, mlflow_3: Registered) -> None:
    uri = uri_of(mlflow_3, "big")
    with reverse_proxy(mlflow_3.uri, only("weights.bin", stall(4 << 20))) as slow:
        process = Delivery(directory=delivery.directory, uri=slow.uri).start_storage(uri)
        wait_until(lambda: any((delivery.store / STORE).rglob("weights.bin")))
        process.kill()
        delivery.wait(process)
        assert visible(delivery.store) == {}
    ended = delivery.fetch_storage(uri)

    assert "going on where an earlier run ended" in ended.output
    assert visible(delivery.store) == mlflow_3.files("big")


def test_a_full_disk_ends_the_fetch_and_shows_nothing(delivery: Delivery, mlflow_3: Registered) -> None:
    """The limit on the size of a file ends a write as a full disk does."""
    command = ("prlimit", f"--fsize={20 * MIB}", *COMMAND)
    ended = replace(delivery, command=command).fetch_storage(uri_of(mlflow_3, "big"))

    assert ended.code == ExitCode.NO_SPACE, ended.output
    assert visible(delivery.store) == {}


def test_two_at_once_in_a_mount_both_end_with_the_whole_model(delivery: Delivery, mlflow_3: Registered) -> None:
    processes = [delivery.start_storage(uri_of(mlflow_3, "big")) for _ in range(2)]
    codes = [delivery.wait(process).code for process in processes]

    assert codes == [ExitCode.DONE, ExitCode.DONE]
    assert visible(delivery.store) == mlflow_3.files("big")


def test_another_uri_replaces_the_model_and_never_mixes_the_two(delivery: Delivery, mlflow_3: Registered) -> None:
    delivery.fetch_storage(uri_of(mlflow_3, "odd names"))
    with reverse_proxy(mlflow_3.uri, only("data.bin", stall(10))) as silent:
        ended = Delivery(directory=delivery.directory, uri=silent.uri).fetch_storage(
            uri_of(mlflow_3, "plain"), "--stall=0.2"
        )
        assert ended.code == ExitCode.UNAVAILABLE
        assert visible(delivery.store) == mlflow_3.files("odd names")
    ended = delivery.fetch_storage(uri_of(mlflow_3, "plain"))

    assert ended.code == ExitCode.DONE, ended.output
    assert visible(delivery.store) == mlflow_3.files("plain")


def test_alias_that_moves_in_the_middle_changes_nothing(delivery: Delivery, mlflow_3: Registered) -> None:
    """The version is taken once: each later request names it by its number."""
    first, second = (mlflow_3.versions[example]["name"] for example in ("plain", "big"))
    name = "moving alias"
    ask(mlflow_3.uri, "POST", f"{API}/registered-models/create", {"name": name})
    for source in (first, second):
        version = ask(mlflow_3.uri, "GET", f"{API}/model-versions/get?name={quote(source)}&version=1").json
        created = {"name": name, "source": version["model_version"]["source"]}
        ask(
            mlflow_3.uri,
            "POST",
            f"{API}/model-versions/create",
            created | {"run_id": version["model_version"]["run_id"]},
        )
    alias = {"name": name, "alias": "live"}
    ask(mlflow_3.uri, "POST", f"{API}/registered-models/alias", alias | {"version": "1"})

    def move(exchange: Exchange) -> bool:
        if "data.bin" in exchange.path:
            ask(mlflow_3.uri, "POST", f"{API}/registered-models/alias", alias | {"version": "2"})
        return False

    with reverse_proxy(mlflow_3.uri, move) as moving:
        ended = Delivery(directory=delivery.directory, uri=moving.uri).fetch_storage("mlflow://moving%20alias@live")

    assert ended.code == ExitCode.DONE, ended.output
    assert visible(delivery.store) == mlflow_3.files("plain")


@pytest.mark.parametrize(
    ("uri", "code", "reason"),
    [
        ("mlflow://no%20such/1", ExitCode.NOT_FOUND, "version 1 of model 'no such'"),
        ("mlflow://delivery%20plain/99", ExitCode.NOT_FOUND, "version 99 of model 'delivery plain'"),
        ("mlflow://delivery%20plain@nobody", ExitCode.NOT_FOUND, "model 'delivery plain' has no alias 'nobody'"),
        (f"mlflow://runs/{RUN}/model", ExitCode.NOT_FOUND, f"run '{RUN}'"),
        ("mlflow://delivery%20without%20MLmodel/1", ExitCode.NOT_FOUND, "there is no MLmodel at"),
        ("mlflow://delivery%20marked%20with%20another%20digest/1", ExitCode.PRECONDITION, "model-api.digest says"),
        ("mlflow://wine/Production", ExitCode.INVALID_INPUT, "it must be a version number"),
    ],
)
def test_model_that_cannot_be_fetched_is_refused_with_its_reason(
    mount: Delivery, uri: str, code: ExitCode, reason: str
) -> None:
    ended = mount.fetch_storage(uri)

    assert ended.code == code, ended.output
    assert reason in ended.reason
    assert ended.reason.count("\n") == 1
    assert visible(mount.store) == {}


def test_file_of_another_program_is_not_replaced(delivery: Delivery, mlflow_3: Registered) -> None:
    delivery.store.mkdir()
    (delivery.store / "data.bin").write_text("not ours")
    ended = delivery.fetch_storage(uri_of(mlflow_3, "plain"))

    assert ended.code == ExitCode.INVALID_INPUT
    assert 'holds "data.bin" already' in ended.reason
    assert not (delivery.store / "MLmodel").exists()
    assert (delivery.store / "data.bin").read_text() == "not ours"


def test_name_that_is_taken_is_refused_before_a_file_comes(delivery: Delivery, mlflow_3: Registered) -> None:
    delivery.store.mkdir()
    (delivery.store / "data.bin").symlink_to("elsewhere")
    with reverse_proxy(mlflow_3.uri) as proxy:
        ended = Delivery(directory=delivery.directory, uri=proxy.uri).fetch_storage(uri_of(mlflow_3, "plain"))

    assert ended.code == ExitCode.INVALID_INPUT
    assert proxy.paths("/artifacts/1") == []
    assert str((delivery.store / "data.bin").readlink()) == "elsewhere"


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_store_that_is_no_directory_is_refused_and_not_followed(
    delivery: Delivery, mlflow_3: Registered, kind: str
) -> None:
    elsewhere = delivery.directory / "elsewhere"
    (elsewhere / "model").mkdir(parents=True)
    delivery.store.mkdir()
    if kind == "file":
        (delivery.store / STORE).touch()
    else:
        (delivery.store / STORE).symlink_to(elsewhere if kind == "link" else "nowhere")
    ended = delivery.fetch_storage(uri_of(mlflow_3, "plain"))

    assert ended.code == ExitCode.INVALID_INPUT, ended.output
    assert f"{STORE} is not a directory" in ended.reason
    assert [path.name for path in elsewhere.rglob("*")] == ["model"]


def test_kill_before_any_step_leaves_one_whole_model_or_none_and_the_next_run_goes_on(
    delivery: Delivery, mlflow_3: Registered
) -> None:
    """The process ends before its n-th rename, or link that it makes or removes in the mount."""
    old, new = (uri_of(mlflow_3, example) for example in ("empty directories", "plain"))
    models = {uri: mlflow_3.files(example) for uri, example in ((old, "empty directories"), (new, "plain"))}
    delivery.fetch_storage(old)
    log = delivery.directory / "termination-log"
    for step in itertools.count():
        mount = delivery.directory / f"mount-{step}"
        shutil.copytree(delivery.store, mount, symlinks=True)
        command = [sys.executable, "-c", KILLED, str(step), "storage", new, str(mount), f"--termination-log={log}"]
        environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow_3.uri}
        killed = Process.start(command, log=delivery.directory / "log", env=environment, imported=MODULES)
        if (code := killed.popen.wait(PATIENCE)) != ENDED:
            break
        if (mount / "MLmodel").exists():
            assert visible(mount) in models.values()
        uri = (old, new)[step % 2]
        shutil.rmtree(delivery.store)
        mount.rename(delivery.store)
        ended = delivery.fetch_storage(uri)

        assert ended.code == ExitCode.DONE, ended.output
        assert visible(delivery.store) == models[uri]
        if uri == new:
            delivery.fetch_storage(old)

    assert code == ExitCode.DONE
    assert step >= STEPS
    assert visible(mount) == models[new]


def test_several_models_arrive_each_in_its_own_directory(delivery: Delivery, mlflow_3: Registered) -> None:
    pairs = {uri_of(mlflow_3, example): delivery.store / "models" / example for example in ("plain", "odd names")}
    first = delivery.fetch_storages(*pairs_of(pairs))
    again = replace(delivery, uri="http://127.0.0.1:9").fetch_storages(*pairs_of(pairs))

    assert (first.code, again.code) == (ExitCode.DONE, ExitCode.DONE), first.output + again.output
    for example, directory in zip(("plain", "odd names"), pairs.values(), strict=True):
        assert visible(directory) == mlflow_3.files(example)
    assert [model["uri"] for model in json.loads(first.reason)["models"]] == list(pairs)
    assert [model["way"] for model in json.loads(again.reason)["models"]] == ["there", "there"]
    assert again.output.count("there already") == len(pairs)


def test_first_of_several_models_that_fails_ends_the_fetch_by_its_uri(delivery: Delivery, mlflow_3: Registered) -> None:
    whole, last = uri_of(mlflow_3, "plain"), uri_of(mlflow_3, "odd names")
    missing = "mlflow://runs/0f0f/model"
    places = {uri: delivery.store / str(number) for number, uri in enumerate((whole, missing, last))}
    ended = delivery.fetch_storages(*pairs_of(places))

    assert ended.code == ExitCode.NOT_FOUND, ended.output
    assert ended.reason.startswith(f"{missing}: run ")
    assert visible(places[whole]) == mlflow_3.files("plain")
    assert not places[last].exists()


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        (["wine", "wine"], "contain each other"),
        (["wine", "wine/beer"], "contain each other"),
        (["wine/beer/ale", "wine"], "contain each other"),
        (["wine", "link/beer"], "contain each other"),
        (["wine", "beer/../wine/"], "contain each other"),
        (["wine", "wine-2"], None),
    ],
)
def test_directories_that_contain_each_other_are_refused_before_a_request(
    tmp_path: Path, places: list[str], reason: str | None
) -> None:
    nowhere = Delivery(directory=tmp_path, uri="http://127.0.0.1:9")
    (nowhere.store / "wine").mkdir(parents=True)
    (nowhere.store / "link").symlink_to("wine")
    pairs = {f"mlflow://wine/{number}": nowhere.store / place for number, place in enumerate(places, 1)}
    ended = nowhere.fetch_storages(*pairs_of(pairs))

    assert ended.code == (ExitCode.INVALID_INPUT if reason else ExitCode.UNAVAILABLE), ended.output
    assert (reason or "") in ended.reason
    assert (nowhere.store / "wine" / STORE).exists() == (reason is None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["mlflow://wine/3"], "give a directory behind each storage URI: 1 arguments are no pairs"),
        (["mlflow://wine/3", "/mnt/a", "s3://beer", "/mnt/b"], 'the storage URI "s3://beer" does not begin with'),
    ],
)
def test_arguments_that_are_no_pairs_of_uri_and_directory_are_refused(
    tmp_path: Path, arguments: list[str], reason: str
) -> None:
    ended = Delivery(directory=tmp_path, uri="http://127.0.0.1:9").fetch_storages(*arguments)

    assert ended.code == ExitCode.INVALID_INPUT, ended.output
    assert reason in ended.reason


def test_manifest_names_the_uri_and_no_version_of_an_owner(delivery: Delivery, mlflow_3: Registered) -> None:
    uri = uri_of(mlflow_3, "plain")
    delivery.fetch_storage(uri)
    manifest = json.loads((delivery.store / STORE / "model" / "manifest.json").read_text())

    assert (manifest["format"], manifest["uri"]) == (1, uri)
    assert manifest.keys().isdisjoint({"owner", "run_id", "versions"})
