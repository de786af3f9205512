"""`model-api package`: from a registered version to an image in a real registry."""

import base64
import io
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import tarfile
import time
import tracemalloc
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import trustme

from model_contract.digest import file_entry, model_digest
from model_contract.exit_codes import ExitCode
from model_contract.image_reference import ImageReference
from model_contract.layout import MODEL_DIRECTORY
from model_contract.model_ref import ModelRef
from model_contract.names import TAG_DIGEST, TAG_IMAGE
from model_contract.tokens import Purpose
from model_delivery.errors import PreconditionError
from model_delivery.manifest import Manifest, parse_manifest
from model_delivery.verify import VerifyRequest, verify
from model_lifecycle.errors import PreconditionError as LifecyclePreconditionError
from model_lifecycle.packaging import image as image_module
from model_lifecycle.packaging.image import digest_of, image_of
from model_lifecycle.packaging.layers import Layer, LayerFile, grouped
from model_lifecycle.packaging.login_file import Login, login_of, server_of
from testbed.faults import answer, first, only
from testbed.gate import API, Gate, ask
from testbed.lifecycle import Done, Model, environment, new_model, run, start, write_file
from testbed.processes import PATIENCE, free_port, installed
from testbed.registry import PASSWORD, USER, ImageRegistry, image_registry
from testbed.registry_tokens import token_server
from testbed.reverse_proxy import Exchange, Rule, reverse_proxy

REF = ModelRef(name="wine", version="3", owner="jane.doe", run_id="5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5")
PAGE = Path(__file__).parents[2] / "docs/how-to/deliver-by-image.md"
WITHOUT_FILES = ("/usr/bin/prlimit", "--fsize=0")
ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    with image_registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    """A registry that wants a login."""
    with image_registry(tmp_path_factory.mktemp("closed"), login=True) as found:
        yield found


@pytest.fixture(scope="module")
def untouched(gate_3: Gate) -> tuple[Model, str]:
    """A version that no test packages."""
    model = new_model(gate_3)
    return model, model.version()


def package(model: Model, number: str, to: str, *options: str, **variables: str) -> Done:
    env = {name: value for name, value in environment(model.gate).items() if not name.startswith(("ORAS", "DOCKER"))}
    return run(
        {**env, "HOME": "/nonexistent", **variables},
        *("package", f"--name={model.name}", f"--version={number}", f"--to={to}", *options),
    )


def tags_of(model: Model, number: str) -> dict[str, str]:
    path = f"{API}/model-versions/get?name={model.name}&version={number}"
    found = ask(model.gate.server.uri, "GET", path).json["model_version"]
    return {tag["key"]: tag["value"] for tag in found.get("tags", [])}


def fetched(registry: ImageRegistry, path: str) -> bytes:
    request = urllib.request.Request(f"http://{registry.address}/v2/{path}", headers=ACCEPT)
    with urllib.request.urlopen(request) as answer:  # noqa: S310  as above
        content: bytes = answer.read()
    return content


def entries(registry: ImageRegistry, repository: str, manifest: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return name, kind, mode, owner, time and content of each entry of each layer, as a node unpacks them."""
    found = []
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(fetched(registry, f"{repository}/blobs/{layer['digest']}"))) as archive:
            for entry in archive:
                content = archive.extractfile(entry)
                owner = (entry.uid, entry.gid, entry.uname, entry.gname)
                found.append((entry.name, entry.type, oct(entry.mode), owner, entry.mtime, content and content.read()))
    return found


def test_version_is_packaged_as_an_image_that_a_node_and_kserve_mount(model: Model, registry: ImageRegistry) -> None:
    number = model.version(b"flavors: {}\n")

    done = package(model, number, f"{registry.address}/models/{{project_id}}")

    assert done.code == 0, done.err
    repository = f"models/{model.project}"
    name, _, digest = done.out.strip().partition("@")
    assert name == f"{registry.address}/{repository}"
    content = fetched(registry, f"{repository}/manifests/{digest}")
    manifest = json.loads(content)
    assert digest_of(content) == digest
    config = json.loads(fetched(registry, f"{repository}/blobs/{manifest['config']['digest']}"))
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    found = entries(registry, repository, manifest)
    root = (0, 0, "", "")
    assert [entry[:-1] for entry in found] == [
        ("models", tarfile.DIRTYPE, "0o755", root, 0),
        ("models/MLmodel", tarfile.REGTYPE, "0o644", root, 0),
        ("manifest", tarfile.DIRTYPE, "0o755", root, 0),
        ("manifest/artifacts", tarfile.DIRTYPE, "0o755", root, 0),
        ("manifest/artifacts/model", tarfile.DIRTYPE, "0o755", root, 0),
        ("manifest/manifest.json", tarfile.REGTYPE, "0o644", root, 0),
    ]
    delivered = parse_manifest(found[-1][-1])
    assert (delivered.project, delivered.models[0].version, delivered.models[0].owner) == (
        model.project,
        number,
        "models",
    )
    assert tags_of(model, number)[TAG_DIGEST] == delivered.digest
    assert tags_of(model, number)[TAG_IMAGE] == done.out.strip()
    run_id = delivered.models[0].run_id
    assert fetched(registry, f"{repository}/manifests/{run_id}") == content  # the tag of the run


def test_machine_without_a_directory_for_temporary_files_is_named(model: Model, registry: ImageRegistry) -> None:
    """Let no file be written, as in a container with a read-only root and no volume."""
    named = [f"--name={model.name}", f"--version={model.version()}", f"--to={registry.address}/models/{{project_id}}"]
    done = subprocess.run(
        [*WITHOUT_FILES, installed("model-api"), "package", *named],
        env=environment(model.gate) | {"HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ExitCode.INVALID_INPUT
    assert "set TMPDIR" in done.stderr


def test_line_of_the_page_packages_a_version(model: Model, registry: ImageRegistry) -> None:
    number = model.version()
    (line,) = re.findall(r"^model-api (package .*)$", PAGE.read_text(), re.MULTILINE)
    words = {"wine": model.name, "3": number}
    arguments = [words.get(word, word.replace("registry.example", registry.address)) for word in shlex.split(line)]

    done = run(environment(model.gate) | {"HOME": "/nonexistent"}, *arguments)

    assert done.code == 0, done.err
    assert done.out.startswith(f"{registry.address}/models/{model.project}@sha256:")


def test_version_that_is_packaged_is_left_as_it_is_and_a_lost_image_comes_back_the_same(
    model_3: Model, tmp_path: Path
) -> None:
    number, port = model_3.version(), free_port()
    to = f"127.0.0.1:{port}/wine"
    with image_registry(tmp_path / "first", port=port) as first:
        made = package(model_3, number, to, "--tag=three", "--format=json")
        before = len(first.requests())
        again = package(model_3, number, to, "--tag=three", "--format=json")
        asked = {method for method, _, _ in first.requests()[before:]}
    with image_registry(tmp_path / "second", port=port):
        back = package(model_3, number, to, "--tag=three", "--format=json", TMPDIR=str(tmp_path), TZ="Asia/Tokyo")
    with image_registry(tmp_path / "third"):
        moved = package(model_3, number, f"127.0.0.1:{free_port()}/wine")

    assert made.json == {"image": tags_of(model_3, number)[TAG_IMAGE], "tag": "three", "pushed": True}, made.err
    assert again.json == made.json | {"pushed": False}
    assert asked <= {"GET", "HEAD"}
    assert back.json == made.json
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("model-api-")] == []
    assert (moved.code, "a version has one image" in moved.err) == (6, True)


def test_tag_of_another_image_is_not_moved(model_3: Model, registry: ImageRegistry) -> None:
    first, second = model_3.version(b"flavors: {}\n"), model_3.version(b"flavors: {a: b}\n")
    to = f"{registry.address}/moved"
    assert package(model_3, first, f"{to}:fixed").code == 0

    refused = package(model_3, second, f"{to}:fixed")
    other = package(model_3, second, to)

    assert (refused.code, "has the tag fixed for another image" in refused.err) == (6, True)
    assert (other.code, TAG_IMAGE in tags_of(model_3, second)) == (0, True)


def put(rule: Rule) -> Rule:
    """Apply the rule to requests that send content."""
    return lambda exchange: exchange.command == "PUT" and rule(exchange)


def hang_up(exchange: Exchange) -> bool:
    exchange.hang_up()
    return True


def posted(rule: Rule) -> Rule:
    return lambda exchange: exchange.command == "POST" and rule(exchange)


def moved(exchange: Exchange) -> bool:
    """Send the client to the registry itself, as one does that keeps uploads on another host."""
    exchange.send(307, b"", {"Location": f"{exchange.server.upstream}{exchange.path}"})
    return True


FAULTS: dict[str, Callable[[], Rule]] = {
    "503 before a layer": lambda: only("/uploads/", first(1, answer(503))),
    "a cut in a layer": lambda: only("/uploads/", put(first(1, hang_up))),
    "429 for the manifest": lambda: only("/manifests/", put(first(1, answer(429)))),
    "an upload begins elsewhere": lambda: only("/uploads/", posted(moved)),
    "an upload goes elsewhere": lambda: only("/uploads/", put(moved)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_fault_of_the_registry_that_passes_changes_nothing(
    fault: Callable[[], Rule], model_3: Model, registry: ImageRegistry
) -> None:
    number = model_3.version()
    with reverse_proxy(f"http://{registry.address}", fault(), keep_host=True) as network:
        done = package(model_3, number, f"{network.uri.removeprefix('http://')}/passing")

    digest = done.out.strip().partition("@")[2]
    assert done.code == 0, done.err
    assert digest_of(fetched(registry, f"passing/manifests/{digest}")) == digest


def test_registry_is_asked_again_after_the_wait_that_it_asks_for(model_3: Model, registry: ImageRegistry) -> None:
    asked: list[float] = []

    def busy_for_two_seconds(exchange: Exchange) -> bool:
        asked.append(time.monotonic())
        if asked[-1] - asked[0] < 2:
            exchange.send(429, b"", {"Retry-After": "2"})
            return True
        return False

    rule = only("/manifests/", put(busy_for_two_seconds))
    with reverse_proxy(f"http://{registry.address}", rule, keep_host=True) as network:
        done = package(model_3, model_3.version(), f"{network.uri.removeprefix('http://')}/busy")

    assert done.code == 0, done.err
    assert len(asked) == 2


def test_registry_that_does_not_know_of_the_tls_before_it_gets_no_plain_request(
    model_3: Model, registry: ImageRegistry, tmp_path: Path
) -> None:
    """It names addresses of uploads with http://, as one does behind a proxy that sends no X-Forwarded-Proto."""
    authority, file = trustme.CA(), tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(file)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with reverse_proxy(f"http://{registry.address}", tls=context, keep_host=True) as network:
        to = f"{network.uri.removeprefix('https://')}/behind"
        done = package(model_3, model_3.version(), to, SSL_CERT_FILE=str(file))

    assert done.code == 0, done.err


def test_registry_that_goes_away_and_a_kill_record_no_image_and_the_next_run_ends(
    model_3: Model, registry: ImageRegistry, tmp_path: Path
) -> None:
    number, held = model_3.version(), Event()

    def hold(exchange: Exchange) -> bool:
        held.set()
        exchange.connection.recv(1)  # until the client is gone
        return hang_up(exchange)

    with reverse_proxy(f"http://{registry.address}", keep_host=True) as network:
        to = f"{network.uri.removeprefix('http://')}/broken-off"
        network.rules = [only("/uploads/", put(answer(503)))]
        away = package(model_3, number, to)
        network.rules = [only("/uploads/", put(first(1, hold)))]
        arguments = ("package", f"--name={model_3.name}", f"--version={number}", f"--to={to}")
        killed = start(environment(model_3.gate) | {"TMPDIR": str(tmp_path)}, *arguments, log=tmp_path / "log")
        assert held.wait(PATIENCE)
        killed.kill()
        tags = tags_of(model_3, number)
        done = package(model_3, number, to)

    assert (away.code, "answers 503" in away.err) == (8, True), away.err
    assert TAG_IMAGE not in tags
    assert (done.code, tags_of(model_3, number)[TAG_IMAGE]) == (0, done.out.strip()), done.err


def test_full_disk_ends_the_packaging_and_leaves_nothing(
    model_3: Model, registry: ImageRegistry, tmp_path: Path
) -> None:
    """The limit on the size of a file ends a write as a full disk does."""
    number = model_3.version(b"flavors: {}\n" + b"#" * 100_000)
    env = environment(model_3.gate) | {"TMPDIR": str(tmp_path)}
    arguments = ("package", f"--name={model_3.name}", f"--version={number}", f"--to={registry.address}/full")

    done = run(env, *arguments, before=["prlimit", "--fsize=50000"])

    assert done.code == ExitCode.NO_SPACE, done.err
    assert list(tmp_path.iterdir()) == []
    assert TAG_IMAGE not in tags_of(model_3, number)


def test_files_that_changed_since_their_digest_are_not_packaged(model_3: Model, registry: ImageRegistry) -> None:
    number = model_3.version()
    body = {"name": model_3.name, "version": number, "key": TAG_DIGEST, "value": "sha256:" + "0" * 64}
    model_3.post("model-versions/set-tag", body, model_3.gate.basic("both"))

    refused = package(model_3, number, f"{registry.address}/changed")

    assert (refused.code, "they changed after the version was staged" in refused.err) == (6, True)
    assert not [path for _, path, _ in registry.requests() if "changed" in path and "uploads" in path]


def test_version_that_is_no_number_is_refused_by_its_name() -> None:
    env = os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = run(env, "package", "--name=wine", "--version=production", "--to=registry.example/wine")

    assert (done.code, done.err.startswith('Error: the version is "production": ')) == (3, True), done.err


def test_token_that_only_reads_pushes_nothing(model_3: Model, registry: ImageRegistry) -> None:
    number = model_3.version()

    pull = model_3.gate.token(Purpose.PULL, model_3.project)
    refused = package(model_3, number, f"{registry.address}/read-only", MLFLOW_TRACKING_TOKEN=pull)

    assert refused.code == 4, refused.err
    assert not [path for _, path, _ in registry.requests() if "read-only" in path and "uploads" in path]


def test_promotion_packages_each_version_before_anything_moves(
    model_3: Model, registry: ImageRegistry, tmp_path: Path
) -> None:
    number, file = model_3.staged(), tmp_path / "model_version.json"
    write_file(file, (model_3, number))
    env = environment(model_3.gate)

    away = run(env, "promote", file, f"--package-to=127.0.0.1:{free_port()}/{{project_id}}")
    stages = model_3.state()["stages"]
    done = run(env, "promote", file, f"--package-to={registry.address}/promoted/{{project_id}}")

    assert (away.code, stages) == (8, {number: "Staging"}), away.err
    assert (done.code, model_3.state()["stages"]) == (0, {number: "Production"}), done.err
    assert tags_of(model_3, number)[TAG_IMAGE].startswith(f"{registry.address}/promoted/{model_3.project}@sha256:")


def login_file(directory: Path, content: Any) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(content))
    return directory


def test_login_comes_from_the_files_and_variables_that_other_tools_use(
    model_3: Model, closed_registry: ImageRegistry, tmp_path: Path
) -> None:
    address = closed_registry.address
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    inline = login_file(tmp_path / "inline", {"auths": {address: {"auth": pair}}})
    helped = login_file(tmp_path / "helped", {"auths": {}, "credHelpers": {address: "testbed"}})
    helper = tmp_path / "docker-credential-testbed"
    helper.write_text(f'#!/bin/sh\necho \'{{"Username": "{USER}", "Secret": "{PASSWORD}"}}\'\n')
    helper.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    login_file(home / ".docker", {"auths": {address: {"auth": pair}}})
    ways = [
        {"DOCKER_CONFIG": str(inline)},
        {"REGISTRY_AUTH_FILE": str(inline / "config.json"), "DOCKER_CONFIG": str(helped)},
        {"DOCKER_CONFIG": str(helped), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        {"HOME": str(home)},
        {"ORAS_USER": USER, "ORAS_PASS": PASSWORD},
    ]

    ends = [package(model_3, model_3.version(), f"{address}/wine", **variables) for variables in ways]

    assert [done.code for done in ends] == [0] * len(ways), [done.err for done in ends]


def test_registry_that_wants_a_token_gets_one_for_the_login(model_3: Model, tmp_path: Path) -> None:
    number, login = model_3.version(), {"ORAS_USER": USER, "ORAS_PASS": PASSWORD}
    with token_server(USER, PASSWORD) as tokens, image_registry(tmp_path, tokens=tokens) as registry:
        to = f"{registry.address}/models/wine"
        nobody = package(model_3, number, to)
        wrong = package(model_3, number, to, ORAS_USER=USER, ORAS_PASS="hunter2")
        done = package(model_3, number, to, **login)
        again = package(model_3, number, to, DOCKER_CONFIG=azure(tmp_path / "azure", registry.address, PASSWORD))
        helped = package(model_3, number, to, **azure_helper(tmp_path, registry.address, PASSWORD))

    assert [(one.code, "docker login" in one.err) for one in (nobody, wrong)] == [(4, True)] * 2, wrong.err
    assert "hunter2" not in wrong.err
    assert (done.code, again.out, helped.out) == (0, done.out, done.out), done.err + again.err + helped.err


def azure(directory: Path, address: str, token: str) -> str:
    """Write the login as `az acr login` does: a refresh token, and a user without a password."""
    nobody = base64.b64encode(f"{uuid.UUID(int=0)}:".encode()).decode()
    return str(login_file(directory, {"auths": {address: {"auth": nobody, "identitytoken": token}}}))


def azure_helper(directory: Path, address: str, token: str) -> dict[str, str]:
    helper = directory / "docker-credential-azure"
    helper.write_text(f'#!/bin/sh\necho \'{{"Username": "<token>", "Secret": "{token}"}}\'\n')
    helper.chmod(0o755)
    written = login_file(directory / "helper", {"auths": {address: {}}, "credsStore": "azure"})
    return {"DOCKER_CONFIG": str(written), "PATH": f"{directory}:{os.environ['PATH']}"}


HUB, OWN = "docker.io/acme/wine", "registry.example:5000/acme/wine"
PAIR = {"auth": "eDp5"}  # x:y


@pytest.mark.parametrize(
    ("reference", "content", "login"),
    [
        (HUB, {"auths": {"https://index.docker.io/v1/": PAIR}}, Login(basic="eDp5")),
        (HUB, {"auths": {"docker.io": PAIR}}, Login(basic="eDp5")),
        (
            HUB,
            {"auths": {"https://index.docker.io/v1/": {}}, "credsStore": "desktop"},
            Login(helper=("desktop", "https://index.docker.io/v1/")),
        ),
        (HUB, {"auths": {"quay.io": PAIR}}, Login()),
        (OWN, {"auths": {"https://registry.example:5000/v2/": PAIR}}, Login(basic="eDp5")),
        (OWN, {"auths": {"registry.example:5000": {"username": "x", "password": "y"}}}, Login(basic="eDp5")),
        (OWN, {"auths": {"registry.example:5000": {"auth": "wrong"}, OWN: PAIR}}, Login(basic="eDp5")),
        (OWN, {"auths": {"registry.example:5000/another": PAIR, "registry.example": PAIR}}, Login()),
        (OWN, {"auths": {}, "credHelpers": {"registry.example:5000": "own"}, "credsStore": "desktop"}, "own"),
        ("localhost:5000/wine", {"auths": {"127.0.0.1:5000": PAIR}}, Login(basic="eDp5")),
    ],
)
def test_login_is_found_under_each_name_that_tools_write(
    tmp_path: Path, reference: str, content: dict[str, Any], login: Login | str
) -> None:
    found = login_of(ImageReference.parse(reference), {"DOCKER_CONFIG": str(login_file(tmp_path / "docker", content))})

    assert found == (Login(helper=(login, "registry.example:5000")) if isinstance(login, str) else login)


def test_docker_hub_is_another_server_than_its_images_name() -> None:
    assert [server_of(name) for name in ("docker.io", "registry.example")] == [
        "registry-1.docker.io",
        "registry.example",
    ]


def test_refused_login_ends_at_once_and_shows_no_secret(
    model_3: Model, closed_registry: ImageRegistry, tmp_path: Path
) -> None:
    address, number = closed_registry.address, model_3.version()
    wrong = base64.b64encode(b"testbed:hunter2").decode()
    broken = login_file(tmp_path / "broken", {"auths": {address: {"auth": wrong}}})
    helped = login_file(tmp_path / "helped", {"credsStore": "testbed"})
    helper = tmp_path / "docker-credential-testbed"
    helper.write_text("#!/bin/sh\necho hunter2 >&2; exit 1\n")
    helper.chmod(0o755)
    text, listed = tmp_path / "text", login_file(tmp_path / "listed", {"auths": {address: "hunter2"}})
    text.write_text("hunter2")
    ways: list[tuple[dict[str, str], int]] = [
        ({}, 4),
        ({"DOCKER_CONFIG": str(broken)}, 4),
        ({"DOCKER_CONFIG": str(helped), "PATH": f"{tmp_path}:{os.environ['PATH']}"}, 4),
        ({"ORAS_USER": "testbed", "ORAS_PASS": "hunter2"}, 4),
        ({"REGISTRY_AUTH_FILE": str(text)}, 3),
        ({"DOCKER_CONFIG": str(listed)}, 3),
    ]
    for variables, code in ways:
        began = time.monotonic()
        done = package(model_3, number, f"{address}/wine", **variables)

        assert done.code == code, (variables, done.err)
        assert time.monotonic() - began < PATIENCE
        assert "hunter2" not in done.out + done.err
        assert wrong not in done.out + done.err
        assert len(done.err.splitlines()) == 1
        assert code == 3 or f"docker login {address}" in done.err


@pytest.mark.parametrize(
    ("to", "options", "code", "sentence"),
    [
        ("wine", (), 3, "--to names no repository of a registry: it must begin with a registry and a slash"),
        ("registry.example/Wine", (), 3, "its repository must be a path of small letters"),
        ("registry.example/wine:a:b", (), 3, "its tag must be at most 128"),
        ("registry.example/wine:a", ("--tag=b",), 3, "the tag is given twice: a in --to, and b in --tag"),
        ("registry.example/wine", ("--tag=a b",), 3, "--tag is no tag of an image"),
        ("registry.example/wine@sha256:" + "0" * 64, (), 3, "--to has a digest, which the image itself decides"),
        ("{away}/wine", (), 8, "Connection refused"),
        ("{here}/wine", (), 3, "answers without TLS"),
        ("{mlflow}/wine", (), 3, "is no registry of images"),
    ],
)
def test_repository_that_cannot_be_used_is_named(  # noqa: PLR0913, PLR0917  a table
    untouched: tuple[Model, str],
    registry: ImageRegistry,
    to: str,
    options: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    model, number = untouched
    places = {
        "away": f"127.0.0.1:{free_port()}",
        "here": f"{other_address()}:{registry.address.rpartition(':')[2]}",
        "mlflow": model.gate.server.uri.partition("://")[2],
    }
    for name, value in places.items():
        to = to.replace(f"{{{name}}}", value)

    done = package(model, number, to, *options)

    assert (done.code, sentence in done.err) == (code, True), done.err


def other_address() -> str:
    """Return an address of this machine that is not of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        found: str = probe.getsockname()[0]
    return found


def delivered(directory: Path, contents: Mapping[str, bytes], directories: tuple[str, ...] = ()) -> Manifest:
    model = directory / MODEL_DIRECTORY
    for path, content in contents.items():
        (model / path).parent.mkdir(parents=True, exist_ok=True)
        (model / path).write_bytes(content)
    files = tuple(sorted(file_entry(model, path) for path in contents))
    return Manifest(models=(REF,), source="1/models/m-1/artifacts", files=files, directories=directories)


CONTENTS = {
    "MLmodel": b"flavors: {}\n",
    "data/a.bin": b"a" * 5000,
    "data/ü/" + "long" * 40: b"",
    "data.txt": b"\0" * 512,
    "Z": b"z",
}


def test_same_files_are_the_same_image_whatever_the_order_the_modes_and_the_times(tmp_path: Path) -> None:
    one = delivered(tmp_path / "one", CONTENTS, ("empty", "a/b"))
    other = delivered(tmp_path / "other", dict(reversed(CONTENTS.items())), ("empty", "a/b"))
    for number, path in enumerate(sorted((tmp_path / "other").rglob("*"), reverse=True)):
        path.chmod(0o700)
        os.utime(path, (number, number))
    time.sleep(1.1)  # `created` of the delivery's manifest has seconds

    made = image_of(one, tmp_path / "one")
    again = image_of(other, tmp_path / "other")

    assert (made.digest, made.config) == (again.digest, again.config)
    # Of this version of the format: a change of it gives every version another image.
    assert made.digest == "sha256:dff2893c19811b1a2caf102838796f2024b44e17c82c89605c8a2deb547d2f1c"
    assert one.digest == model_digest(one.files)


def test_layer_is_the_archive_that_its_size_and_digest_say(tmp_path: Path) -> None:
    manifest = delivered(tmp_path, CONTENTS, ("empty", "a/b"))
    for layer in image_of(manifest, tmp_path).layers:
        content = b"".join(layer.chunks())
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            names = archive.getnames()

        assert (len(content), digest_of(content)) == (layer.size, layer.digest)
        assert len(set(names)) == len(names)
        for name in names:
            assert name.rpartition("/")[0] in {"", *names}  # each parent is an entry, before its children
    assert {"models/empty", "models/a/b", "models/data/ü/" + "long" * 40} <= {
        *image_names(manifest, tmp_path),
    }


@pytest.mark.parametrize("path", [".wh.model.pkl", "data/.wh..wh..opq", ".wh.data/part"])
def test_file_that_would_remove_another_one_from_the_image_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(LifecyclePreconditionError, match=re.escape(f'the model has "{path}"')):
        image_of(delivered(tmp_path, {**CONTENTS, path: b"x"}, ()), tmp_path)


def test_order_of_the_files_does_not_matter_to_a_layer() -> None:
    files = tuple(LayerFile(path=f"models/{name}", size=1, content=b"a") for name in ("b", "a", "ü", "B"))

    assert Layer(files=files).digest == Layer(files=files[::-1]).digest


def test_mounted_image_is_a_store_that_verify_accepts(tmp_path: Path) -> None:
    """The two directories of the image stand where the webhook mounts them."""
    image = image_of(delivered(tmp_path / "fetched", CONTENTS, ("empty", "a/b")), tmp_path / "fetched")
    for layer in image.layers:
        with tarfile.open(fileobj=io.BytesIO(b"".join(layer.chunks()))) as archive:
            archive.extractall(tmp_path / "image", filter="data")
    run_directory = tmp_path / "store" / REF.owner / REF.run_id
    shutil.copytree(tmp_path / "image" / "manifest", run_directory)
    assert list((run_directory / MODEL_DIRECTORY).iterdir()) == []  # the mount point of the model
    shutil.copytree(tmp_path / "image" / "models", run_directory / MODEL_DIRECTORY, dirs_exist_ok=True)
    expected = VerifyRequest(
        store=tmp_path / "store",
        owner=REF.owner,
        run_id=REF.run_id,
        name=REF.name,
        version=REF.version,
        digests=True,
    )

    assert verify(expected)
    with pytest.raises(PreconditionError, match="not version 4"):
        verify(replace(expected, version="4"))


def image_names(manifest: Manifest, directory: Path) -> list[str]:
    found = []
    for layer in image_of(manifest, directory).layers:
        with tarfile.open(fileobj=io.BytesIO(b"".join(layer.chunks()))) as archive:
            found += archive.getnames()
    return found


def test_large_files_come_first_in_layers_of_their_own_so_that_versions_share_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_module, "LARGE", 4000)
    weights = {"b/weights": b"w" * 5000, "a/weights": b"v" * 4000, "small": b"x" * 3999}
    first = image_of(delivered(tmp_path / "1", weights | {"MLmodel": b"1"}), tmp_path / "1")
    second = image_of(delivered(tmp_path / "2", weights | {"MLmodel": b"2"}), tmp_path / "2")

    assert [[file.path for file in layer.files] for layer in first.layers] == [
        ["models/a/weights"],
        ["models/b/weights"],
        ["models/MLmodel", "models/small"],
        ["manifest/manifest.json"],
    ]
    assert [layer.digest for layer in first.layers[:2]] == [layer.digest for layer in second.layers[:2]]
    assert first.layers[2].digest != second.layers[2].digest


def test_no_more_layers_than_a_node_can_mount() -> None:
    files = [LayerFile(path=f"models/{number}", size=number, content=b"") for number in range(100)]

    layers = grouped(files, large=10, most=30)

    assert [len(layer.files) for layer in layers] == [1] * 30 + [70]
    assert [layer.files[0].path for layer in layers[:30]] == [f"models/{number}" for number in range(70, 100)]


def test_layer_of_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    size = 200 << 20
    (tmp_path / "weights").touch()
    os.truncate(tmp_path / "weights", size)
    layer = Layer(files=(LayerFile(path="models/weights", size=size, content=tmp_path / "weights"),))
    tracemalloc.start()
    try:
        assert layer.digest.startswith("sha256:")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 4 << 20


def test_file_of_more_than_8_gib_has_its_size_in_the_header() -> None:
    layer = Layer(files=(LayerFile(path="models/weights", size=9 << 30, content=Path("/nonexistent")),))

    assert layer.size == (9 << 30) + 512 * 2 + 1024  # a directory, the file and the end of the archive
    with tarfile.open(fileobj=io.BytesIO(next(layer.chunks())), mode="r|") as archive:
        assert archive.getnames() == ["models"]


@pytest.mark.parametrize("content", [b"shorter", b"longer than before"])
def test_file_that_changes_while_it_is_packaged_is_refused(tmp_path: Path, content: bytes) -> None:
    manifest = delivered(tmp_path, {"MLmodel": b"ten bytes\n"})
    (tmp_path / MODEL_DIRECTORY / "MLmodel").write_bytes(content)

    with pytest.raises(Exception, match="MLmodel has changed while it was packaged"):
        image_of(manifest, tmp_path)
