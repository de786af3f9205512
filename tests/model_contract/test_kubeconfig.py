"""The kubeconfig: the files that kubectl reads too, and one configuration of several."""

import json
from pathlib import Path
from typing import Any

import pytest

from model_contract.kubeconfig import kubeconfig_files, merged


def test_kubeconfig_goes_before_the_file_in_the_home_and_may_name_several(tmp_path: Path) -> None:
    home, one, other = tmp_path / ".kube" / "config", tmp_path / "one", tmp_path / "other"
    home.parent.mkdir()
    for file in (home, one, other):
        file.touch()
    named = f"{one}:/nonexistent:{other}:"

    assert kubeconfig_files({"HOME": str(tmp_path), "KUBECONFIG": named}) == [one, other]
    assert kubeconfig_files({"HOME": str(tmp_path), "KUBECONFIG": ""}) == [home]
    assert kubeconfig_files({"HOME": "/nonexistent"}) == kubeconfig_files({}) == []
    with pytest.raises(FileNotFoundError):  # not another cluster, such as that of the pod
        kubeconfig_files({"HOME": str(tmp_path), "KUBECONFIG": "/nonexistent"})


def test_first_entry_of_a_name_counts_and_paths_are_those_beside_its_file() -> None:
    def config(server: str, context: str | None, *names: str) -> dict[str, Any]:
        cluster = {"server": server, "certificate-authority": "ca.crt"}
        clusters = [{"name": name, "cluster": cluster} for name in names]
        return {"clusters": clusters, "users": None, **({"current-context": context} if context else {})}

    found = merged(
        [
            (Path("/a/config"), config("https://a", None, "shared")),
            (Path("/empty"), None),
            (Path("/b/config"), config("https://b", "b", "shared", "own")),
        ]
    )

    assert found["current-context"] == "b"
    assert [(one["name"], *one["cluster"].values()) for one in found["clusters"]] == [
        ("shared", "https://a", "/a/ca.crt"),
        ("own", "https://b", "/b/ca.crt"),
    ]


@pytest.mark.parametrize(("command", "run"), [("plugin", "plugin"), ("./bin/plugin", "/a/bin/plugin")])
def test_credential_plugin_is_told_the_version_that_it_is_set_up_with(command: str, run: str) -> None:
    version = "client.authentication.k8s.io/v1"
    user = {"exec": {"apiVersion": version, "command": command, "env": [{"name": "A", "value": "b"}]}}
    (found,) = merged([(Path("/a/config"), {"users": [{"name": "x", "user": user}]})])["users"]
    plugin = found["user"]["exec"]
    told = {entry["name"]: entry["value"] for entry in plugin["env"]}

    assert (plugin["command"], plugin["apiVersion"]) == (run, f"{version}beta1")
    assert (told["A"], json.loads(told["KUBERNETES_EXEC_INFO"])["apiVersion"]) == ("b", version)
