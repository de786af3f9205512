"""Every command of every program, with each variable of its environment set to odd values.

MODEL_API_TEST_ENVIRONMENTS sets the number of pairs of a command and an odd variable, for a long run.
"""

import argparse
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, Final

import click
import pytest
import yaml

from model_contract.exit_codes import ExitCode
from model_contract.settings import Setting, settings_of
from serving_runtime.settings import OPTIONS
from testbed.api_server import review_of
from testbed.certificates import issue
from testbed.environments import saved_models
from testbed.forks import Forked, ForkServer
from testbed.processes import free_port, installed
from tracking_gate.settings import SETTINGS
from webhook.server.settings import ServerSettings
from webhook.settings import PREFIX, SERVER_PREFIX, Settings

ROOT: Final = Path(__file__).parents[1]
PAIRS: Final = int(os.environ.get("MODEL_API_TEST_ENVIRONMENTS", "60"))
PACKAGES: Final = ("model_contract", "model_delivery", "model_lifecycle", "serving_runtime", "tracking_gate", "webhook")
PROGRAMS: Final = {
    entry.name: entry
    for entry in entry_points(group="console_scripts")
    if entry.module.partition(".")[0] in PACKAGES and not entry.name.endswith(".py")  # a second name, for Spark
}
SECRET: Final = "hunter2"
EVIL: Final = "a\x1b]0;evil\x07"
PROJECT: Final = "66c0a1b2c3d4e5f601234567"
BOUND: Final = 60.0  # seconds of a command; it takes one or two beside nothing, and an answer of MLflow may take 120
SERVING: Final = 3.0  # seconds, after which a server is asked to end
GRACE: Final = 60.0  # seconds, after which a command that was asked to end is killed
OF_ENGINES: Final = ("on_ray", "on_spark", "ray_data", "spark")  # modules
# Else each `check` and `predict` would import them to load the model, for a second and a half.
OF_MODEL: Final = ("mlflow.pyfunc.model", "sklearn.linear_model")
DEAD: Final = "https://127.0.0.1:9"
# Variables that the libraries, Python and OpenSSL read.
OF_LIBRARIES: Final = """
    SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE OPENSSL_CONF REQUESTS_CA_BUNDLE CURL_CA_BUNDLE HTTP_PROXY
    HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy HOME USER LOGNAME TMPDIR
    TMP XDG_CONFIG_HOME XDG_CACHE_HOME KUBECONFIG KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT PORT
    WEB_CONCURRENCY GUNICORN_CMD_ARGS FORWARDED_ALLOW_IPS LANG LC_ALL LANGUAGE TZ NO_COLOR FORCE_COLOR
    COLUMNS LINES TERM NETRC OMP_NUM_THREADS PROMETHEUS_MULTIPROC_DIR MLFLOW_HTTP_REQUEST_TIMEOUT
    MLFLOW_HTTP_REQUEST_MAX_RETRIES MLFLOW_LOGGING_LEVEL MLFLOW_ENABLE_ASYNC_LOGGING
    MLFLOW_EXPERIMENT_ID MLFLOW_REGISTRY_URI MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT
    MLFLOW_DEFAULT_PREDICTION_DEVICE PYDANTIC_DISABLE_PLUGINS GITHUB_OUTPUT GITHUB_ACTIONS CI
    NOTIFY_SOCKET MODEL_API_SOURCE_1_MLFLOW_RUN_ID
""".split()  # noqa: SIM905  a list of words
NAMED: Final = re.compile(r"""["']((?:MLFLOW|DOMINO|MODEL_API|SSL_CERT|KUBE|GITHUB|HTTPS?|NO)_[A-Z_]*[A-Z])["']""")
HOLDS_A_SECRET: Final = re.compile(r"(TOKEN|PASSWORD|_KEY)$")
HOLDS_AN_ADDRESS: Final = re.compile(r"(URI|URL|HOST|PROXY|UPSTREAM)$", re.IGNORECASE)
SERVERS: Final = {("model-api-webhook", "serve"), ("model-api-runtime", "serve"), ("model-api-gate", "serve")}
CODES: Final = {int(code) for code in ExitCode}

# The settings that each program declares, the commands that read them, and names that only seem to hold a secret.
DECLARED: Final[Mapping[str, Sequence[Setting]]] = {
    "model-api-gate": SETTINGS,
    "model-api-runtime": OPTIONS,
    "model-api-webhook": (
        *settings_of(Settings, prefix=PREFIX),
        *settings_of(ServerSettings, prefix=SERVER_PREFIX),
    ),
}
READERS: Final = {
    "model-api-gate": ("serve",),
    "model-api-runtime": ("serve",),
    "model-api-webhook": ("inject", "serve"),
}
SEEMS_SECRET: Final = re.compile(r"TOKEN|PASSWORD|SECRET|CREDENTIAL|KEY|UR[IL]$|UPSTREAM|PROXY$|PROXIES$")
NO_SECRETS: Final = {
    "MODEL_API_WEBHOOK_CA_KEY",  # a key of a ConfigMap
    "MODEL_API_WEBHOOK_NO_PROXY",  # a list of hosts
    "MODEL_API_WEBHOOK_TOKEN_AUDIENCE",  # a name, which every pod shows
    "MODEL_API_GATE_SERVE_SECRET_DIR",  # a directory
}
# A token or a key in the place of another value, and addresses with a password, each malformed in its own way.
MISPLACED: Final = (
    f"dmg1_r_{SECRET}",
    f"{SECRET}/dmg1/r",
    f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    f"http://user:{SECRET}@[",
    f"http://user:{SECRET}@mlflow:99999",
    f"http://user:pass/{SECRET}@",
    f"user:{SECRET}@proxy.example:3128",
    f"ftp://user:{SECRET}@mlflow",
)

Command = tuple[str, ...]


def commands() -> Iterator[Command]:
    """Yield the program and the names of each command that runs something, as the code declares them."""
    for name, entry in sorted(PROGRAMS.items()):
        main = entry.load()
        if isinstance(main, click.Command):
            yield from _of_group(main, (name,))
        else:
            parser: argparse.ArgumentParser = getattr(sys.modules[entry.module], "_parser")()  # noqa: B009  it is private
            action = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
            yield from ((name, command) for command in action.choices)


def _of_group(command: click.Command, path: Command) -> Iterator[Command]:
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from _of_group(found, (*path, name))


def variables() -> list[str]:
    """Return the variables that are set to odd values: those of the settings, in the code, and of the libraries."""
    found = set(OF_LIBRARIES)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found |= set(NAMED.findall(path.read_text()))
    found |= {option.variable for option in OPTIONS}
    found |= {f"MODEL_API_GATE_SERVE_{declared.name.upper()}" for declared in SETTINGS}
    found |= {declared.variable for declared in DECLARED["model-api-webhook"]}
    return sorted(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Files of the commands, and the environment in which each of them does its work, or finds no server."""

    directory: Path
    model: Path
    environment: Mapping[str, str]

    def arguments(self) -> Mapping[Command, Sequence[str]]:
        """Return the arguments of each command, without which it would end before it reads anything."""
        file, tracking = str(self.directory / "models.json"), ["--retries=0", "--timeout=2"]
        pod, project = str(ROOT / "examples" / "model-api-pod.yaml"), [f"--domino-project-id={PROJECT}"]
        return {
            ("model-api", "backfill"): tracking,
            ("model-api", "doctor", "delivery"): ["--name=wine", "--version=1", "--seconds=1"],
            ("model-api", "package"): ["--name=wine", "--version=1", "--to=127.0.0.1:9/wine", *tracking],
            ("model-api", "plan"): [file, *tracking],
            ("model-api", "promote"): [file, *tracking],
            ("model-api", "rollback"): [f"--project={PROJECT}", "--model=wine", *tracking],
            ("model-api", "rollout"): ["deployment/wine", "--model=wine", "--version=1", *tracking],
            ("model-api", "stage"): ["--name=wine", "--version=1", *tracking],
            ("model-api", "status"): [file, *tracking],
            ("model-api", "token", "create"): project,
            ("model-api", "token", "list"): [],
            ("model-api", "token", "revoke"): project,
            ("model-api", "token", "rotate"): project,
            ("model-api", "token", "sync"): [],
            ("model-api", "token", "verify"): [],
            ("model-api", "url"): ["--name=wine", "--version=1", *tracking],
            ("model-api", "validate"): [file],
            ("model-api", "workflow"): [file, f"--action=owner/repo@{'0' * 40}"],
            ("model-api-delivery", "fetch"): [f"--store={self.directory}", "--tries=1", "--stall=2", "--deadline=4"],
            ("model-api-delivery", "resolve"): ["models:/wine/1", "--tries=1", "--deadline=4"],
            ("model-api-delivery", "storage"): [
                "mlflow://wine/1",
                str(self.directory / "mount"),
                "--tries=1",
                "--stall=2",
                "--deadline=4",
            ],
            ("model-api-delivery", "sync"): [
                f"--store={self.directory}",
                f"--project={PROJECT}",
                "--tries=1",
                "--stall=2",
                "--deadline=4",
            ],
            ("model-api-delivery", "verify"): [f"--store={self.directory}"],
            ("model-api-gate", "audit", "join"): [str(self.directory / "record.jsonl")],
            ("model-api-gate", "explain"): ["GET", "/api/2.0/mlflow/runs/get"],
            ("model-api-gate", "password"): [f"--password={SECRET}"],
            ("model-api-gate", "routes"): [],
            ("model-api-gate", "serve"): [],
            ("model-api-runtime", "check"): [f"--model-path={self.model}"],
            ("model-api-runtime", "manifest"): ["kserve", "--name=wine", "--storage-uri=pvc://models/wine"],
            ("model-api-runtime", "openapi"): [f"--model-path={self.model}"],
            ("model-api-runtime", "predict"): [f"--model-path={self.model}", str(self.directory / "rows.csv")],
            ("model-api-runtime", "replay"): [str(self.directory / "record.jsonl"), "--url=http://127.0.0.1:9"],
            ("model-api-runtime", "serve"): [f"--model-path={self.model}", "--host=127.0.0.1"],
            ("model-api-webhook", "certs", "rotate"): [],
            ("model-api-webhook", "certs", "status"): [],
            ("model-api-webhook", "diff"): ["-f", pod],
            ("model-api-webhook", "doctor"): [],
            ("model-api-webhook", "explain"): ["-f", pod],
            ("model-api-webhook", "inject"): ["-f", pod],
            ("model-api-webhook", "render"): [],
            ("model-api-webhook", "review"): [],
            ("model-api-webhook", "serve"): [],
        }

    def odd_values(self, variable: str) -> list[str]:
        values = [
            "",
            " ",
            "0",
            "-1",
            "1e400",
            "true",
            "9" * 100_000,
            "a\n\tb\x01",
            EVIL,
            "ключ-é-日本",
            "\udcff\udcfe",
            "%s{}$HOME~\\'\"",
            "file:///etc/hostname",
            "ftp://127.0.0.1/x",
            "http://127.0.0.1:99999",
            "http://127.0.0.1:9",
            "http://[",
            "http://例え.テスト:1/",
            "socks5://127.0.0.1:9",
            str(self.directory / "nothing" / "there"),
            str(self.directory),
            str(self.directory / "no.pem"),
            str(self.directory / "binary"),
            "/dev/null",
        ]
        if HOLDS_AN_ADDRESS.search(variable):
            values += [
                f"{scheme}://user:{SECRET}@{rest}"
                for scheme in ("http", "https", "ftp")
                for rest in ("127.0.0.1:9", "[", "h:99999")
            ]
        if HOLDS_A_SECRET.search(variable):
            values = [SECRET + value for value in values]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a command. `code` is negative for a signal."""

    code: int
    output: str
    seconds: float


class Runner:
    """Runs commands in forks of one process, which has imported everything."""

    def __init__(self, place: Place, server: ForkServer) -> None:
        self._place = place
        self._server = server
        self._arguments = place.arguments()
        self._usual: dict[Command, Ended] = {}

    @property
    def commands(self) -> Iterable[Command]:
        return self._arguments

    def run(self, command: Command, environment: Mapping[str, str], *more: str) -> Ended:
        """Run the command; `more` are arguments beside those of the place."""
        output = self._place.directory / "output"
        output.unlink(missing_ok=True)
        began = time.monotonic()
        process = self._server.start(
            [installed(command[0]), *command[1:], *self._arguments[command], *more],
            env=environment,
            cwd=self._place.directory / "work",
            given=self._place.directory / "given",
            output=output,
            errors=output,
        )
        code = _end_of(process, SERVING if command in SERVERS else BOUND)
        seconds = time.monotonic() - began
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left
        return Ended(code=code, output=output.read_text(errors="replace"), seconds=seconds)

    def faults(self, command: Command, variable: str, value: str) -> list[str]:
        """Return what is wrong with the end of the command under this variable."""
        if command not in self._usual:
            self._usual[command] = self.run(command, self._place.environment)
        usual = self._usual[command]
        ended = self.run(command, {**self._place.environment, variable: value})
        title = f"{' '.join(command)} with {variable}={value[:60]!r}"
        return [
            f"{title}: {fault}\n{ended.output[-1500:]}" for fault in _faults(command, variable, value, usual, ended)
        ]


def _end_of(process: Forked, seconds: float) -> int:
    """Ask a command that still runs to end, and kill it if it does not."""
    for give_up in (process.terminate, process.kill):
        with suppress(TimeoutExpired):
            return process.wait(seconds)
        give_up()
        seconds = GRACE
    return process.wait()


def _faults(command: Command, variable: str, value: str, usual: Ended, ended: Ended) -> Iterator[str]:
    if "Traceback (most" in ended.output:
        yield "a traceback"
    if ended.code not in CODES and not (command in SERVERS and ended.code in {-15, 143}):
        yield f"it ended with {ended.code}"
    if ended.code == ExitCode.UNEXPECTED and usual.code != ExitCode.UNEXPECTED:
        yield "an unexpected error"
    if SECRET in ended.output:
        yield "a secret is shown"
    if EVIL[1:] in ended.output:
        yield "control characters are written as they are"
    if len(ended.output) > len(usual.output) + 20_000:
        yield f"it writes {len(ended.output)} characters"
    if ended.seconds > BOUND:
        yield f"it took {ended.seconds:.0f} s"
    new = ended.code != usual.code and ended.code in {ExitCode.INVALID_INPUT, ExitCode.USAGE}
    if (
        new
        and variable.lower() not in ended.output.lower()
        and _shown(value) not in ended.output
        and not _by_option(variable, ended.output)
    ):
        yield f"exit code {ended.code}, and neither the variable nor the file is named"


def _shown(value: str) -> str:
    return value.strip() or "\0"


def _by_option(variable: str, output: str) -> bool:
    """Return True if the message names the option of the variable."""
    return f"--{variable.rpartition('_SERVE_')[2].lower().replace('_', '-')}" in output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    directory = tmp_path_factory.mktemp("environments")
    for name in ("home", "work", "secret", "tmp"):
        (directory / name).mkdir()
    (directory / "models.json").write_text(json.dumps({PROJECT: [{"name": "wine", "version": 1}]}))
    (directory / "no.pem").write_text("no certificate\n")
    (directory / "binary").write_bytes(bytes(range(256)))
    (directory / "rows.csv").write_text(
        ",".join(f"measure {number}" for number in range(11)) + "\n" + ",".join("1" * 11) + "\n"
    )
    (directory / "record.jsonl").write_text("")
    pod = yaml.safe_load((ROOT / "examples" / "model-api-pod.yaml").read_text())
    (directory / "given").write_text(json.dumps(review_of(pod)))
    (directory / "kubeconfig").write_text(yaml.safe_dump(_kubeconfig()))
    certificates = issue(directory / "tls", "127.0.0.1")
    model = saved_models("3.17", ROOT / "benchmarks" / "save_model.py", directory / "model", "elastic-net")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory / "home"),
        "TMPDIR": str(directory / "tmp"),
        "KUBECONFIG": str(directory / "kubeconfig"),
        "MLFLOW_TRACKING_URI": DEAD,
        "MLFLOW_TRACKING_TOKEN": f"{SECRET}-token",
        "MLFLOW_MODEL_NAME": "wine",
        "MLFLOW_MODEL_OWNER": "jane",
        "MLFLOW_MODEL_VERSION": "1",
        "MLFLOW_RUN_ID": "0123456789abcdef0123456789abcdef",
        "DOMINO_API_HOST": "http://127.0.0.1:9",
        "DOMINO_USER_API_KEY": f"{SECRET}-key",
        "DOMINO_PROJECT_ID": PROJECT,
        "DOMINO_ENVIRONMENT_ID": PROJECT,
        "PORT": str(free_port()),
        "MODEL_API_WEBHOOK_SERVER_HOST": "127.0.0.1",
        "MODEL_API_WEBHOOK_SERVER_PORT": str(free_port()),
        "MODEL_API_WEBHOOK_SERVER_METRICS_PORT": str(free_port()),
        "MODEL_API_WEBHOOK_SERVER_CERTIFICATE_FILE": str(certificates.certificate),
        "MODEL_API_WEBHOOK_SERVER_KEY_FILE": str(certificates.key),
        "MODEL_API_GATE_SERVE_UPSTREAM": "http://127.0.0.1:9",
        "MODEL_API_GATE_SERVE_SECRET_DIR": str(directory / "secret"),
        "MODEL_API_GATE_SERVE_HOST": "127.0.0.1",
        "MODEL_API_GATE_SERVE_PORT": str(free_port()),
    }
    return Place(directory=directory, model=model, environment=environment)


def _kubeconfig() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{"name": "one", "cluster": {"server": DEAD}}],
        "users": [{"name": "one", "user": {"token": f"{SECRET}-kubernetes"}}],
    }


@contextmanager
def running(place: Place, environment: Mapping[str, str]) -> Iterator[Runner]:
    with closing(ForkServer([*modules(), *OF_MODEL], environment)) as server:
        yield Runner(place, server)


def modules() -> list[str]:
    """Return the modules of the programs, without those that need an engine."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.stem not in {"__init__", "__main__", *OF_ENGINES}
    ]


@pytest.fixture(scope="module")
def runner(place: Place) -> Iterator[Runner]:
    with running(place, os.environ) as found:
        yield found


def test_every_command_of_the_code_is_run(place: Place) -> None:
    assert len(PROGRAMS) == 5
    assert set(commands()) == set(place.arguments())


def pairs(place: Place, number: int) -> list[tuple[Command, str, str]]:
    """Return as many pairs, always the same; servers are a tenth of them, since each runs for seconds."""
    drawn = random.Random(13)  # noqa: S311  a sample
    servers, others = sorted(SERVERS), sorted(set(place.arguments()) - SERVERS)
    everything = [(variable, value) for variable in variables() for value in place.odd_values(variable)]
    return [
        (drawn.choice(servers if index % 20 == 0 else others), *drawn.choice(everything)) for index in range(number)
    ]


@pytest.mark.timeout(7200)
def test_an_odd_variable_ends_in_a_sentence(place: Place, runner: Runner) -> None:
    faults = [fault for pair in pairs(place, PAIRS) for fault in runner.faults(*pair)]

    assert not faults, f"{len(faults)} of {PAIRS}\n\n" + "\n\n".join(faults[:40])


def test_setting_whose_name_seems_to_hold_a_secret_is_declared_so() -> None:
    seeming = [
        declared
        for settings in DECLARED.values()
        for declared in settings
        if SEEMS_SECRET.search(declared.variable) and declared.variable not in NO_SECRETS
    ]

    assert len(seeming) >= 10
    assert [declared.variable for declared in seeming if not declared.secret] == []


@pytest.mark.parametrize(
    ("program", "declared"),
    [(program, declared) for program, settings in DECLARED.items() for declared in settings if declared.secret],
    ids=lambda value: value.variable if isinstance(value, Setting) else "",
)
def test_value_of_a_setting_that_may_be_a_secret_is_in_no_output(
    place: Place, runner: Runner, program: str, declared: Setting
) -> None:
    """The value is given in the variable, and to a server with options in the option too."""
    shown, codes = [], set()
    for value in MISPLACED:
        environment = {**place.environment, declared.variable: value}
        ended = [runner.run((program, command), environment) for command in READERS[program]]
        if program != "model-api-webhook":
            ended.append(runner.run((program, "serve"), place.environment, f"{declared.option}={value}"))
        shown += [(value, each.output) for each in ended if SECRET in each.output]
        codes |= {each.code for each in ended}

    assert shown == []
    # Only the webhook's server reads the settings of the server.
    assert codes <= {ExitCode.INVALID_INPUT, ExitCode.USAGE} | ({0} if "_SERVER_" in declared.variable else set())


@pytest.mark.parametrize("setting", ["PYTHONIOENCODING=ascii", "PYTHONIOENCODING=utf-16"])
def test_an_output_of_few_characters_ends_in_no_traceback(place: Place, runner: Runner, setting: str) -> None:
    assert_no_traceback(runner, environment_with(place, setting))


# The interpreter reads them when it starts, so each has a process of its own whose forks are the commands. To the
# interpreter, a locale that the machine lacks is that of C; a program that asks for it gets an error.
@pytest.mark.parametrize("setting", ["LC_ALL=xx_YY.nothing", "LC_ALL=C PYTHONUTF8=0"])
def test_a_locale_of_few_characters_ends_in_no_traceback(place: Place, setting: str) -> None:
    environment = environment_with(place, setting)
    with running(place, environment) as runner:
        assert_no_traceback(runner, environment)


def environment_with(place: Place, setting: str) -> Mapping[str, str]:
    return {**place.environment, **dict(one.split("=") for one in setting.split())}


def assert_no_traceback(runner: Runner, environment: Mapping[str, str]) -> None:
    for command in runner.commands:
        if command in SERVERS or command[:2] in {("model-api", "token"), ("model-api-webhook", "certs")}:
            continue
        ended = runner.run(command, environment)
        output = ended.output.replace("\0", "")  # which UTF-16 puts between letters

        assert "Traceback" not in output, (command, output[-600:])
        assert ended.code in CODES, (command, output[-600:])
