"""Without a cluster, a command says so; it does not look for another one."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from model_lifecycle.cli import main

CONFIG = """
apiVersion: v1
kind: Config
current-context: there
contexts: [{name: there, context: {cluster: there, user: there}}]
clusters: [{name: there, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: there, user: {}}]
"""
BEHIND_A_PROXY = CONFIG.replace(':9"', ':9", proxy-url: "http://127.0.0.1:9"')
WITH_A_PLUGIN = CONFIG.replace(
    "user: {}", "user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: no-such-plugin-of-the-testbed}}"
)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (None, "no cluster: "),
        (CONFIG, "the cluster does not answer: "),
        (BEHIND_A_PROXY, "the cluster does not answer through the proxy-url of the kubeconfig: "),
        (CONFIG.replace("users: [{name: there", "users: [{name: me"), "no cluster: context there of "),
        (WITH_A_PLUGIN, "no cluster: the credential plugin no-such-plugin-of-the-testbed of the kubeconfig is not"),
    ],
    ids=[
        "no kubeconfig and no pod",
        "nobody at its address",
        "nobody at the address of its proxy",
        "no entry of its user",
        "no plugin",
    ],
)
def test_cluster_that_does_not_answer_is_reported(
    config: str | None, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = tmp_path / "config"
    if config:
        kubeconfig.write_text(config)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    done = CliRunner().invoke(main, ["token", "list"])

    assert done.exit_code == 8
    assert done.stderr.startswith(f"Error: {sentence}")
