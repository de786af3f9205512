"""The kubeconfig: the files that kubectl reads too, and one context of several of them."""

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest

from model_contract.kubeconfig import (
    KubeconfigError,
    MalformedKubeconfigError,
    kubeconfig_files,
    read_kubeconfig,
)

PLUGIN_VERSION: Final = "client.authentication.k8s.io/v1"
CERTIFICATE: Final = {"clientCertificateData": "the certificate", "clientKeyData": "the key"}


def config(*, context: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """Return a kubeconfig with one context, cluster and user, each named `there`; `parts` replace lists."""
    return {
        "current-context": "there",
        "contexts": [{"name": "there", "context": context or {"cluster": "there", "user": "there"}}],
        "clusters": [{"name": "there", "cluster": {"server": "https://there"}}],
        "users": [{"name": "there", "user": {}}],
        **parts,
    }


def read(*contents: object, folder: Path, context: str | None = None) -> dict[str, Any]:
    """Return the kubeconfig of these contents, each in a file of its own. JSON is YAML."""
    files = [folder / f"config-{number}" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_text(json.dumps(content))
    named = {"KUBECONFIG": ":".join(map(str, files)), "PATH": "/bin"}
    found = read_kubeconfig(named, context, parse=json.loads, build=lambda one: one)
    assert found
    return found


def plugin(folder: Path, script: str) -> dict[str, Any]:
    """Return a kubeconfig whose user has a credential plugin beside its file."""
    file = folder / "plugin"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return config(users=[{"name": "there", "user": {"exec": {"apiVersion": PLUGIN_VERSION, "command": "./plugin"}}}])


def credential(status: object) -> str:
    return f"cat <<'END'\n{json.dumps({'status': status})}\nEND"


def test_kubeconfig_goes_before_the_file_in_the_home_and_may_name_several(tmp_path: Path) -> None:
    home, one, other = tmp_path / ".kube" / "config", tmp_path / "one", tmp_path / "other"
    home.parent.mkdir()
    for file in (home, one, other):
        file.touch()
    named = f"{one}:/nonexistent:{other}:"

    assert kubeconfig_files({"HOME": str(tmp_path), "KUBECONFIG": named}) == [one, other]
    assert kubeconfig_files({"HOME": str(tmp_path), "KUBECONFIG": ""}) == [home]
    assert kubeconfig_files({"HOME": "/nonexistent"}) == kubeconfig_files({}) == []
    with pytest.raises(KubeconfigError):  # not another cluster, such as that of the pod
        kubeconfig_files({"HOME": str(tmp_path), "KUBECONFIG": "/nonexistent"})


def test_first_entry_of_a_name_counts_and_paths_are_those_beside_its_file(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()

    def cluster(server: str) -> list[dict[str, Any]]:
        return [{"name": "there", "cluster": {"server": server, "certificate-authority": "ca.crt"}}]

    first = config(clusters=cluster("https://first"), users=None) | {"current-context": None}
    found = read(first, None, config(clusters=cluster("https://second")), folder=tmp_path)

    assert found["current-context"] == "there"
    (there,) = found["clusters"]
    assert there["cluster"] == {"server": "https://first", "certificate-authority": str(tmp_path / "ca.crt")}


def test_context_without_a_user_is_anonymous(tmp_path: Path) -> None:
    found = read(config(context={"cluster": "there"}), folder=tmp_path)

    assert found["users"] == [{"name": found["contexts"][0]["context"]["user"], "user": {}}]


@pytest.mark.parametrize(
    ("content", "context", "sentence"),
    [
        (config(users=None), None, "context there of {file} names the user there, which no file has"),
        (config(clusters=[]), None, "context there of {file} names the cluster there, which no file has"),
        (config(context={"user": "there"}), None, "context there of {file} names no cluster"),
        (config(), "here", "{file} has no context here"),
        ({}, None, "{file} has no current-context; name one with --context"),
        (config(clusters=[{"name": "there"}]), None, "cluster there of {file} has no server that is an address"),
        (
            config(clusters=[{"name": "there", "cluster": {"server": "https://there:99999"}}]),
            None,
            "cluster there of {file} has no server that is an address",
        ),
        (
            config(users=[{"name": "there", "user": {"client-key": "a.key"}}]),
            None,
            "the client-key of user there in {file} is {folder}/a.key, which is no file",
        ),
        (
            config(users=[{"name": "there", "user": {"client-certificate-data": "YQ=="}}]),
            None,
            "user there of {file} has a certificate without its key, or a key alone",
        ),
        (
            config(users=[{"name": "there", "user": {"token": "t", "as": "another"}}]),
            None,
            "user there of {file} has as, which this command cannot do; name another context",
        ),
        (
            config(clusters=[{"name": "there", "cluster": {"server": "https://there", "tls-server-name": "here"}}]),
            None,
            "cluster there of {file} has tls-server-name, which this command cannot do; name another context",
        ),
        (
            config(clusters=[{"name": "there", "cluster": {"server": "https://there", "proxy-url": "socks5://a:1"}}]),
            None,
            "the proxy-url of cluster there in {file} is no http or https address",
        ),
    ],
)
def test_what_a_kubeconfig_lacks_is_named_with_its_file(
    content: dict[str, Any], context: str | None, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(KubeconfigError) as found:
        read(content, folder=tmp_path, context=context)

    assert str(found.value) == sentence.format(file=tmp_path / "config-0", folder=tmp_path)


@pytest.mark.parametrize("content", ["text", [1], {"users": [{}]}, config(users=[{"name": "there", "user": "me"}])])
def test_content_that_is_no_kubeconfig_says_so(content: object, tmp_path: Path) -> None:
    with pytest.raises(MalformedKubeconfigError, match=r"KUBECONFIG, or ~/\.kube/config, is no kubeconfig"):
        read(content, folder=tmp_path)


def test_credential_plugin_is_told_the_version_that_it_is_set_up_with(tmp_path: Path) -> None:
    content = plugin(tmp_path, credential({"token": "a token"}))
    content["users"][0]["user"]["exec"] |= {"env": [{"name": "A", "value": "b"}]}
    found = read(content, folder=tmp_path)["users"][0]["user"]["exec"]
    told = {entry["name"]: entry["value"] for entry in found["env"]}

    assert (found["command"], found["apiVersion"]) == (str(tmp_path / "plugin"), f"{PLUGIN_VERSION}beta1")
    assert (told["A"], json.loads(told["KUBERNETES_EXEC_INFO"])["apiVersion"]) == ("b", PLUGIN_VERSION)


def test_credential_plugin_is_told_of_the_cluster_if_it_asks_for_that(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("the authority")
    settings = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "there"}}
    cluster = {"server": "https://there", "certificate-authority": "ca.crt", "extensions": [settings]}
    content = plugin(tmp_path, credential({"token": "a token"})) | {"clusters": [{"name": "there", "cluster": cluster}]}
    content["users"][0]["user"]["exec"]["provideClusterInfo"] = True
    found = read(content, folder=tmp_path)["users"][0]["user"]["exec"]
    (told,) = (json.loads(one["value"]) for one in found["env"] if one["name"] == "KUBERNETES_EXEC_INFO")

    assert told["spec"]["cluster"] == {
        "server": "https://there",
        "certificate-authority-data": base64.b64encode(b"the authority").decode(),
        "config": {"audience": "there"},
    }


@pytest.mark.parametrize("token", [{}, {"token": "a token"}], ids=["alone", "with a token"])
def test_certificate_of_a_credential_plugin_takes_its_place(token: dict[str, str], tmp_path: Path) -> None:
    """As of Pinniped and Teleport. lightkube knows tokens alone."""
    content = plugin(tmp_path, credential(CERTIFICATE | token))
    (found,) = read(content, folder=tmp_path)["users"]

    assert base64.b64decode(found["user"]["client-certificate-data"]) == b"the certificate"
    assert base64.b64decode(found["user"]["client-key-data"]) == b"the key"
    assert (found["user"]["exec"], found["user"].get("token")) == (None, token.get("token"))


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (credential({}), "gives neither a token nor a certificate"),
        (credential({"clientCertificateData": "alone"}), "gives neither a token nor a certificate"),
        (credential(None), "printed no ExecCredential"),
        ("echo hello", "printed no ExecCredential"),
        ("exit 3", "ended with exit code 3"),
    ],
    ids=["nothing", "a certificate without its key", "no status", "no JSON", "a failure"],
)
def test_credential_plugin_without_a_credential_is_named(script: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=f"the credential plugin {tmp_path}/plugin {sentence}"):
        read(plugin(tmp_path, script), folder=tmp_path)


def test_credential_plugin_that_is_no_program_is_named(tmp_path: Path) -> None:
    content = plugin(tmp_path, "")
    (tmp_path / "plugin").write_text("no program")

    with pytest.raises(KubeconfigError, match="plugin cannot be run: Exec format error"):
        read(content, folder=tmp_path)


def test_credential_plugin_that_is_not_installed_is_named(tmp_path: Path) -> None:
    content = plugin(tmp_path, "")
    (tmp_path / "plugin").unlink()

    with pytest.raises(KubeconfigError, match="plugin of the kubeconfig is not installed"):
        read(content, folder=tmp_path)
