"""The commands on files: `review`, `inject`, `diff`, `render` and `explain`; and the list of `--help`."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonpointer import resolve_pointer

from testbed.api_server import apply_answer, review_of
from testbed.processes import completed, installed
from testbed.webhook_server import OF_COMMANDS
from webhook.admission import admit
from webhook.cli import COMMANDS, main
from webhook.offline.yaml_text import ManifestLoader, as_yaml
from webhook.settings import Settings

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "model-api-pod.yaml"
HEAVY = {"gunicorn", "flask", "lightkube", "cryptography", "rich"}


ALIASES_OF_ALIASES = "kind: Pod\na0: &a0 [x, x]\n" + "".join(
    f"a{number}: &a{number} [*a{number - 1}, *a{number - 1}]\n" for number in range(1, 64)
)


def run(
    *arguments: str | Path, stdin: str = "", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE")}
    return completed(
        [installed("model-api-webhook"), *arguments],
        given=stdin,
        env=kept | {"COLUMNS": "100"} | dict(variables or {}),
        imported=OF_COMMANDS,
    )


def deployment_of(pod: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"labels": pod["metadata"]["labels"]}
    template = {"metadata": metadata, "spec": pod["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "model", "namespace": "domino-compute"},
        "spec": {"replicas": 2, "template": template},
    }


def test_review_answers_as_the_server_does(pod: dict[str, Any]) -> None:
    done = run("review", stdin=json.dumps(review_of(pod)))

    assert done.returncode == 0
    assert json.loads(done.stdout) == admit(review_of(pod), Settings())


def test_review_of_a_denied_pod_exits_with_6(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"][0]["env"][1]["value"] = "../x"
    done = run("review", stdin=json.dumps(review_of(pod)))

    assert done.returncode == 6
    assert json.loads(done.stdout)["response"]["status"]["reason"] == "invalid_owner"


def test_review_of_something_else_exits_with_3() -> None:
    done = run("review", stdin="{}")

    assert (done.returncode, done.stderr) == (3, "Error: kind is not AdmissionReview\n")


def test_inject_gives_the_pod_that_the_api_server_would_store(pod: dict[str, Any]) -> None:
    done = run("inject", "-f", EXAMPLE)

    assert yaml.safe_load(done.stdout) == apply_answer(pod, admit(review_of(pod), Settings()))
    assert "Pod domino-compute/model-66d1f0a2c4e8b90012345678-7c9f4d5b8-x2lqz: injected (injected, B0)" in done.stderr


def test_inject_reads_its_own_output_and_changes_nothing() -> None:
    once = run("inject", "-f", EXAMPLE).stdout
    twice = run("inject", "-f", "-", stdin=once)

    assert twice.stdout == once
    assert "unchanged (already_injected, B24)" in twice.stderr


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Rollout"])
def test_inject_changes_the_pod_template_of_a_workload(kind: str, pod: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "workload.yaml"
    file.write_text(yaml.safe_dump(deployment_of(pod) | {"kind": kind}))
    workload = yaml.safe_load(run("inject", "-f", file).stdout)

    assert workload["spec"]["replicas"] == 2
    assert workload["spec"]["template"]["spec"]["initContainers"][0]["name"] == "mlflow-model-init"


@pytest.mark.parametrize(
    ("kind", "spec", "pointers"),
    [
        ("Job", lambda pod: {"tasks": [{"template": pod}]}, ["/spec/tasks/0/template"]),  # of Volcano
        (
            "LeaderWorkerSet",
            lambda pod: {"leaderWorkerTemplate": {"leaderTemplate": pod, "size": 2, "workerTemplate": pod}},
            ["/spec/leaderWorkerTemplate/leaderTemplate", "/spec/leaderWorkerTemplate/workerTemplate"],
        ),
        (
            "RayCluster",
            lambda pod: {"headGroupSpec": {"template": pod}, "workerGroupSpecs": [{"template": pod}]},
            ["/spec/headGroupSpec/template", "/spec/workerGroupSpecs/0/template"],
        ),
    ],
)
def test_every_pod_template_of_another_kind_is_found(
    kind: str,
    spec: Callable[[dict[str, Any]], dict[str, Any]],
    pointers: list[str],
    pod: dict[str, Any],
    tmp_path: Path,
) -> None:
    file = tmp_path / "object.json"
    file.write_text(json.dumps({"kind": kind, "metadata": {"name": "x"}, "spec": spec(pod)}))
    done = CliRunner().invoke(main, ["inject", "-f", str(file)])

    for pointer in pointers:
        found = resolve_pointer(yaml.safe_load(done.stdout), pointer)
        assert found["spec"]["initContainers"][0]["name"] == "mlflow-model-init"
        part = pointer.replace("/", ".").replace(".", " ", 1) if len(pointers) > 1 else ""
        assert f"{kind} default/x{part}: injected" in done.stderr


def test_inject_changes_the_pod_of_a_cron_job(pod: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    template = deployment_of(pod)["spec"]["template"]
    file.write_text(
        yaml.safe_dump(
            {"kind": "CronJob", "metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {"template": template}}}}
        )
    )
    job = yaml.safe_load(run("inject", "-f", file).stdout)

    assert job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["initContainers"]


@pytest.mark.parametrize("metadata", [{}, {"metadata": None}], ids=["none", "null"])
def test_pod_template_without_metadata_is_no_malformed_pod(
    metadata: dict[str, Any], pod: dict[str, Any], tmp_path: Path
) -> None:
    """As in the first example of Kubernetes' own page about CronJobs. Without a label, it is no model API."""
    file, job = tmp_path / "job.yaml", deployment_of(pod) | {"kind": "Job"}
    job["spec"]["template"] = {"spec": job["spec"]["template"]["spec"]} | metadata
    file.write_text(yaml.safe_dump(job))
    done = run("inject", "-f", file)

    assert yaml.safe_load(done.stdout) == job
    assert "Job domino-compute/model: unchanged (not_model_api, B7): label the pod" in done.stderr


def test_inject_keeps_every_object_of_a_file_in_its_order(pod: dict[str, Any], tmp_path: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "data": {"time": "22:22", "day": "2024-01-31", "mode": "0644"},
    }
    listed = {"apiVersion": "v1", "kind": "List", "items": [deployment_of(pod), service]}
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all([config, listed, pod]))
    objects = list(yaml.safe_load_all(run("inject", "-f", file).stdout))

    assert [item["kind"] for item in objects] == ["ConfigMap", "Deployment", "Service", "Pod"]
    assert objects[0] == config
    assert objects[2] == service


def test_several_files_are_read_in_their_order(pod: dict[str, Any], tmp_path: Path) -> None:
    job, service = tmp_path / "job.yaml", tmp_path / "service.yaml"
    job.write_text(yaml.safe_dump(deployment_of(pod) | {"kind": "Job"}))
    service.write_text("kind: Service\n")
    injected = run("inject", "-f", job, "-f", service, "-f", "-", stdin=yaml.safe_dump(pod))
    explained = run("explain", "--output=json", "-f", job, "-f", service, "-f", EXAMPLE)

    assert [found["kind"] for found in yaml.safe_load_all(injected.stdout)] == ["Job", "Service", "Pod"]
    assert [found["object"].partition(" ")[0] for found in json.loads(explained.stdout)] == ["Job", "Pod"]
    assert run("diff").returncode == 2


def test_diff_shows_what_is_added_and_nothing_else() -> None:
    done = run("diff", "-f", EXAMPLE)
    lines = done.stdout.splitlines()

    assert lines[0] == "--- Pod domino-compute/model-66d1f0a2c4e8b90012345678-7c9f4d5b8-x2lqz as it is"
    assert "+  - name: mlflow-model-init" in lines
    assert [line for line in lines[1:] if line.startswith("-")] == []
    assert run("diff", "-f", "-", stdin=run("inject", "-f", EXAMPLE).stdout).stdout == ""


def test_diff_prints_nothing_if_one_object_is_denied(pod: dict[str, Any], tmp_path: Path) -> None:
    pod["spec"]["containers"][0]["env"][1]["value"] = "../x"
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod))
    done = run("diff", "-f", file)

    assert (done.returncode, done.stdout) == (6, "")


def test_render_prints_what_the_manifests_have_for_another_namespace() -> None:
    rendered = list(yaml.safe_load_all(run("render", "-n", "elsewhere").stdout))

    assert [found["kind"] for found in rendered] == [
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ]
    assert rendered[0]["webhooks"][0]["clientConfig"]["service"]["namespace"] == "elsewhere"
    assert "elsewhere" in str(rendered[1]["spec"]["matchConstraints"]["namespaceSelector"])
    assert "domino-platform" not in str(rendered)


def test_inject_prints_nothing_if_one_object_is_denied(pod: dict[str, Any], tmp_path: Path) -> None:
    denied = json.loads(json.dumps(pod))
    denied["spec"]["containers"][0]["env"][1]["value"] = "../x"
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump_all([pod, denied]))
    done = run("inject", "-f", file)

    assert (done.returncode, done.stdout) == (6, "")
    assert "denied (invalid_owner, B10)" in done.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("kind: Pod\nkind: Job\n", "pod.yaml:2:1: the key kind comes twice", id="a key twice"),
        pytest.param("kind: Pod\n  spec: x\n", "pod.yaml:2:7: mapping values are not allowed here", id="no YAML"),
        pytest.param("- 1\n", "pod.yaml:1: this is no Kubernetes object: it has no kind", id="no object"),
        pytest.param("", "pod.yaml holds no object", id="empty"),
        pytest.param("kind: Service\n", "holds no pod and no pod template; if a controller", id="no pod"),
        pytest.param(
            "kind: List\nitems: [{kind: [Pod]}]\n",
            "holds no pod and no pod template; if a controller",
            id="a kind in a list",
        ),
        pytest.param("kind: !!python/object:os.system {}\n", "could not determine a constructor", id="a Python object"),
        pytest.param("kind: Pod\n? [a]\n: x\n", "pod.yaml:2:3: the key is no text", id="a list as key"),
        pytest.param("kind: Pod\nnull: x\n", "pod.yaml:2:1: the key null is no text; write it", id="null as key"),
        pytest.param("kind: Pod\ny: x\non: x\n", "pod.yaml:3:1: the key true comes twice", id="a boolean twice"),
        pytest.param("kind: Pod\n1.2345678: x\n", "pod.yaml:2:1: the key 1.2345678 is no", id="a key of many digits"),
        pytest.param("kind: Pod\nx: &x [*x]\n", "nested deeper than 100 levels", id="an alias of itself"),
        pytest.param(f"kind: Pod\nx: {'[' * 120}{']' * 120}\n", "nested deeper than 100 levels", id="deep"),
        pytest.param(ALIASES_OF_ALIASES, "its aliases repeat too much", id="aliases of aliases"),
        pytest.param('kind: Pod\nx: "\\UFFFFFFFF"\n', "too large", id="no character"),
        pytest.param('{"kind": "Pod", "kind": "Job"}\n', "the key kind comes twice", id="a key twice in JSON"),
        pytest.param('{"kind": "Pod", "metadata": {"name": "\\ud800"}}\n', "\\ud800 is half", id="half a character"),
        pytest.param('kind: Pod\nx: {"\\ud83d": 1}\n', "\\ud83d is half", id="half a character as key"),
        pytest.param(
            "kind: Pod\nx: &x {a: 1}\ny: {a: 2, <<: *x}\n",
            "pod.yaml:3:5: the key a comes again from <<; put << first",
            id="a key that kubectl takes from behind it",
        ),
    ],
)
def test_unreadable_file_is_named_with_its_fault(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(text)
    done = run("explain", "-f", file)

    assert done.returncode == 3
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_file_that_powershell_wrote_is_read_as_kubectl_reads_it(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_bytes("kind: ConfigMap\r\nmetadata: {name: x}\r\ndata: {name: Gewürztraminer}\r\n".encode(encoding))

    assert "name: Gewürztraminer" in run("inject", "-f", file).stdout


def in_lines(pods: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(pod)}\n" for pod in pods)


def in_tabs(pods: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(pod, indent="\t") for pod in pods)


def in_a_list_of_the_api(pods: list[dict[str, Any]]) -> str:
    items = [{key: pod[key] for key in ("metadata", "spec")} for pod in pods]
    return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})


@pytest.mark.parametrize("written", [in_lines, in_tabs, in_a_list_of_the_api])
def test_json_is_read_as_kubectl_reads_it(written: Callable[[list[dict[str, Any]]], str], pod: dict[str, Any]) -> None:
    """As `jq --compact-output`, `jq --tab` and `kubectl get --raw` write it."""
    done = run("inject", "-f", "-", stdin=written([pod, pod]))

    assert list(yaml.safe_load_all(done.stdout)) == [apply_answer(pod, admit(review_of(pod), Settings()))] * 2


def test_inject_changes_one_container_although_an_alias_gives_another_the_same_mounts(pod: dict[str, Any]) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    pod["spec"]["containers"][0]["volumeMounts"] = mounts
    pod["spec"]["containers"].append({"name": "sidecar", "image": "sidecar", "volumeMounts": mounts})
    pod["metadata"]["annotations"] = {1: "a number, as YAML takes a plain 1"}
    text = yaml.safe_dump(pod)
    assert "volumeMounts: *" in text
    injected = yaml.safe_load(run("inject", "-f", "-", stdin=text).stdout)

    assert [len(container["volumeMounts"]) for container in injected["spec"]["containers"]] == [2, 1]
    assert injected["metadata"]["annotations"]["1"] == "a number, as YAML takes a plain 1"


def test_a_file_that_is_not_there_says_so() -> None:
    done = run("inject", "-f", "/no/such/pod.yaml")

    assert (done.returncode, done.stderr) == (3, "Error: /no/such/pod.yaml cannot be read: No such file or directory\n")


def test_plain_words_are_read_as_kubectl_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    words = "time: 22:22\n  day: 2024-01-31\n  yes: yes\n  number: 1e3\n  octal: 0644\n  text: 'no'\n  version: 1.10\n"
    file.write_text(f"kind: ConfigMap\nmetadata: {{name: x}}\ndata:\n  {words}")
    written = run("inject", "-f", file).stdout
    data = yaml.load(written, Loader=yaml.BaseLoader)["data"]  # noqa: S506  texts only: how each word was written

    assert data == {
        "time": "22:22",
        "day": "2024-01-31",
        "true": "true",
        "number": "1000.0",
        "octal": "420",
        "text": "no",
        "version": "1.1",
    }


# Read by kubectl 1.36, `kubectl create --dry-run=client`.
@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("y", True), ("Y", True), ("n", False), ("N", False), ("on", True), ("tRUE", "tRUE")),
        *(("0o17", 15), ("0X1F", 31), ("-0B11", -3), ("010", 8), ("0o_7", 7), ("1_000", 1000), ("0o", "0o")),
        *(("09", 9.0), ("1e3", 1000.0), ("1e5_0", 1e50), (".5_0", 0.5), ("1e400", "1e400")),
    ],
)
def test_plain_word_is_the_value_that_kubectl_reads(word: str, value: object) -> None:
    found = yaml.load(word, Loader=ManifestLoader)  # noqa: S506  a safe one

    assert (found, type(found)) == (value, type(value))


# Read by kubectl 1.37's own decoder.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("a:\tx\t# comment\nb:\t[1,\t2]\t\n", {"a": "x", "b": [1, 2]}, id="tabs behind a value"),
        pytest.param('a: {\n\t"b": 1\n}\n', {"a": {"b": 1}}, id="tabs in brackets"),
        pytest.param("a: &x 1\nb: *x\nc: &x 2\nd: *x\n", {"a": 1, "b": 1, "c": 2, "d": 2}, id="an anchor anew"),
        pytest.param("a: &x {b: 1}\nc: {d: 2, <<: *x, b: 3}\n", {"a": {"b": 1}, "c": {"b": 3, "d": 2}}, id="merged"),
    ],
)
def test_layout_is_read_as_kubectl_reads_it(text: str, value: object) -> None:
    assert yaml.load(text, Loader=ManifestLoader) == value  # noqa: S506  a safe one


def test_key_is_the_text_that_kubectl_makes_of_it() -> None:
    """Read by kubectl 1.37, `kubectl config view`."""
    words = "{y: 0, 1: 1, 1e3: 2, 1.50: 3, 0o17: 4, 1000.25: 5, 1e21: 6, 1e-7: 7, 22:22: 8, 'n': 9}"
    merged = f"base: &base {words}\nother: {{<<: *base, true: 10}}"
    found = yaml.load(merged, Loader=ManifestLoader)  # noqa: S506  a safe one

    keys = ["true", "1", "1000", "1.5", "15", "1000.25", "1e+21", "1e-07", "22:22", "n"]
    assert list(found["base"].items()) == [(key, value) for value, key in enumerate(keys)]
    assert found["other"] == found["base"] | {"true": 10}


@pytest.mark.parametrize(
    "text",
    [
        *("1e-5", "1.5e3", "1E5", "+.5", "1_0e2", "09", "0o17", "0X1F", "12e03", "y", "N", "yes", "null", "~", "<<"),
        *("22:22", "2024-01-31", "", "- a", "a: b", "a\x85b", "a\u2028b", " a", "a \n", "\ta\n  b\n", "\ufeffa"),
    ],
)
def test_text_is_written_so_that_kubectl_reads_a_text(text: str) -> None:
    """As the learning rate 1e-5 in a variable: without quotes, the API server refuses a number there."""
    found = yaml.load(as_yaml([{text: text}]), Loader=ManifestLoader)  # noqa: S506  a safe one

    assert found == {text: text}


def test_explain_needs_no_settings_for_the_example() -> None:
    done = run("explain", "-f", EXAMPLE)

    assert done.returncode == 0
    for part in (
        "✓  pod is a model API",
        "MLFLOW_MODEL_OWNER    jane.doe",
        "decision    injected",
        "+ /spec/initContainers",
    ):
        assert part in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_explain_shows_the_rule_that_decides(pod: dict[str, Any], tmp_path: Path) -> None:
    del pod["metadata"]["labels"]["dominodatalab.com/workload-type"]
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod))
    done = run("explain", "-f", file)

    assert "✗  pod is a model API  not_model_api (B7)" in done.stdout
    assert done.stdout.index("because") < done.stdout.index("pod is a model API")  # the decision comes first
    assert "what to do  label the pod dominodatalab.com/workload-type=ModelAPI" in done.stdout


NO_PEM = """
current-context: there
contexts: [{name: there, context: {cluster: there}}]
clusters: [{name: there, cluster: {server: "https://127.0.0.1:9", certificate-authority: config}}]
"""


@pytest.mark.parametrize("content", [None, "[]"], ids=["no file", "no kubeconfig"])
def test_doctor_without_a_cluster_says_how_to_name_one(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "config"
    if content:
        file.write_text(content)
    done = CliRunner().invoke(main, ["doctor"], env={"KUBECONFIG": str(file), "KUBERNETES_SERVICE_HOST": None})

    assert done.exit_code == 3
    assert "no cluster: " in done.stderr
    assert "set KUBECONFIG to the file of your cluster" in done.stderr


def test_doctor_says_that_a_certificate_of_the_kubeconfig_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(NO_PEM)
    done = CliRunner().invoke(main, ["doctor"], env={"KUBECONFIG": str(tmp_path / "config")})

    assert done.exit_code == 3
    assert done.stderr.startswith("Error: a certificate or key of the kubeconfig cannot be used: ")


def test_explain_says_if_the_image_is_pinned(pod: dict[str, Any], tmp_path: Path) -> None:
    repository = f"registry.example/models/{pod['metadata']['labels']['dominodatalab.com/project-id']}"
    variables = {
        "MODEL_API_WEBHOOK_DELIVERY": "image",
        "MODEL_API_WEBHOOK_MODEL_IMAGE": "registry.example/models/{project_id}:{run_id}",
    }
    pinned, file = f"{repository}@sha256:{'3f' * 32}", tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod))
    by_tag = run("explain", "-f", file, variables=variables).stdout
    pod["metadata"]["annotations"] = {"model-api.dominodatalab.com/image": pinned}
    file.write_text(yaml.safe_dump(pod))
    by_digest = run("explain", "-f", file, variables=variables).stdout
    (explained,) = json.loads(run("explain", "-f", file, "--output", "json", variables=variables).stdout)

    assert "only by tag (from the setting): the registry decides which image it is" in by_tag
    assert "pinned by digest (from the annotation)" in by_digest
    assert explained["decision"]["image"] == {"reference": pinned, "pinned": True, "source": "annotation"}


@pytest.mark.parametrize("labels", [{}, None, ["no labels"]], ids=str)
def test_explain_knows_the_labels_of_a_namespace_in_the_file(
    labels: object, pod: dict[str, Any], tmp_path: Path
) -> None:
    namespace = {"kind": "Namespace", "metadata": {"name": "domino-compute", "labels": labels}}
    file = tmp_path / "both.yaml"
    file.write_text(yaml.safe_dump_all([namespace, pod]))
    done = run("explain", "-f", file)

    assert "✗  namespace is enabled  namespace_not_enabled (B7)" in done.stdout
    assert "because     namespace_not_enabled (rule B7)" in done.stdout


def test_explain_speaks_of_every_container_that_carries_a_variable(pod: dict[str, Any], tmp_path: Path) -> None:
    env = pod["spec"]["containers"][0]["env"]
    pod["spec"]["initContainers"] = [
        {"name": "prepare", "image": "prepare"},
        {"name": "istio-init", "image": "istio", "env": env[:1]},
        {"name": "warm-up", "image": "wine", "env": env},
        {"name": "cache", "image": "cache", "restartPolicy": "Always", "env": env[:2]},
    ]
    pod["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox", "env": env}]
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod))
    (explained,) = json.loads(run("explain", "-f", file, "--output", "json").stdout)
    found = {container["name"]: (container["kind"], container["model"]) for container in explained["containers"]}

    assert found == {
        "model": ("container", "mounted"),
        "istio-init": ("init container", "none: it belongs to a mesh or another injector"),
        "warm-up": ("init container", "mounted"),
        "cache": ("native sidecar", "none: MLFLOW_MODEL_VERSION, MLFLOW_RUN_ID not set"),
        "debug": ("ephemeral container", "none: it is added after the pod's admission"),
    }
    assert "init container warm-up" in run("explain", "-f", file).stdout


def without_run_id(container: dict[str, Any]) -> None:
    container["env"] = container["env"][:3]


def with_an_owner_that_leads_elsewhere(container: dict[str, Any]) -> None:
    container["env"][1]["value"] = "../x"


def with_another_volume_in_the_place(container: dict[str, Any]) -> None:
    path = "/artifacts/mlflow/jane.doe/5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5/artifacts/model"
    container["volumeMounts"] = [{"name": "mine", "mountPath": path}]


def with_variables_in_a_source(container: dict[str, Any]) -> None:
    container |= {"env": [], "envFrom": [{"configMapRef": {"name": "model"}}]}


@pytest.mark.parametrize(
    ("change", "decision"),
    [
        pytest.param(without_run_id, ("skipped", "incomplete_env", "B8"), id="a variable too few"),
        pytest.param(
            with_an_owner_that_leads_elsewhere, ("denied", "invalid_owner", "B10"), id="an owner that leads elsewhere"
        ),
        pytest.param(
            with_another_volume_in_the_place, ("denied", "mount_path_conflict", "B14"), id="another volume in the place"
        ),
        pytest.param(
            with_variables_in_a_source, ("skipped", "envfrom_not_inspected", "B19"), id="variables in a source"
        ),
    ],
)
def test_explain_gives_programs_the_code_and_its_rule(
    change: Callable[[dict[str, Any]], None], decision: tuple[str, str, str], pod: dict[str, Any], tmp_path: Path
) -> None:
    change(pod["spec"]["containers"][0])
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod))
    (explained,) = json.loads(run("explain", "-f", file, "--output", "json").stdout)

    assert tuple(explained["decision"][key] for key in ("outcome", "code", "rule")) == decision
    assert explained["decision"]["message"]
    assert [row["passed"] for row in explained["rules"]] == [None, True, True, True, True, True, True]


@pytest.mark.parametrize("form", ["lines", "ConfigMap"])
def test_settings_come_from_a_file(form: str, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    values = {"MODEL_API_WEBHOOK_TOKEN": "none", "MODEL_API_WEBHOOK_STORE_SIZE": "7Gi"}
    lines = "# for one cluster\n\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
    file.write_text(
        lines if form == "lines" else yaml.safe_dump({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": values})
    )
    done = run("inject", "-f", EXAMPLE, "--settings", file)

    assert "sizeLimit: 7Gi" in done.stdout
    assert "mlflow-token" not in done.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("MODEL_API_WEBHOOK_TOKEN none", "settings:1: this is no line of KEY=VALUE"),
        ("MODEL_API_WEBHOOK_TOKEN=some", "MODEL_API_WEBHOOK_TOKEN: it must be one of pull, service-account, none"),
        ("kind: Secret\n", "holds 0 ConfigMaps"),
        ("kind: ConfigMap\ndata: {MODEL_API_WEBHOOK_RUN_AS_USER: 5}\n", "a value of the ConfigMap is no string"),
    ],
)
def test_a_settings_file_that_cannot_be_used_says_why(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text(text)
    done = run("inject", "-f", EXAMPLE, "--settings", file)

    assert done.returncode == 3
    assert sentence in done.stderr


def test_settings_come_from_the_environment() -> None:
    done = run("inject", "-f", EXAMPLE, variables={"MODEL_API_WEBHOOK_DELIVERY_IMAGE": "quay.io/acme/delivery:1"})

    assert "image: quay.io/acme/delivery:1" in done.stdout


def test_inject_adds_no_pull_secret_since_that_would_keep_those_of_the_service_account_away() -> None:
    done = run("inject", "-f", EXAMPLE, variables={"MODEL_API_WEBHOOK_IMAGE_PULL_SECRETS": "acme-registry"})

    assert "imagePullSecrets" not in done.stdout


def test_every_command_says_what_it_does() -> None:
    text = run("--help").stdout

    for command in COMMANDS:
        assert f"\n  {command.name} " in text
        shown = CliRunner().invoke(main, [command.name, "--help"])
        assert shown.exit_code == 0
        assert command.summary in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        pytest.param(["--help"], {*HEAVY, "yaml", "jsonpatch"}, id="help"),
        pytest.param(["explain", "-f", EXAMPLE, "-o", "json"], HEAVY, id="explain"),
        pytest.param(["inject", "-f", EXAMPLE], HEAVY, id="inject"),
    ],
)
def test_command_loads_no_package_that_it_does_not_need(arguments: list[str | Path], unneeded: set[str]) -> None:
    program = "import sys; from webhook.cli import main; main(standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)

    assert set(done.stdout.splitlines()[-1].split()) & unneeded == set()
