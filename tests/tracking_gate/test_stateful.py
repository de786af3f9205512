"""People, tokens and an attacker of two projects against the gate and a real MLflow, in any order.

GATE_EXAMPLES and GATE_STEPS make it longer: `GATE_EXAMPLES=2000 GATE_STEPS=40 pytest --timeout=0
tests/tracking_gate/test_stateful.py`.
"""

import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from model_contract.names import TAG_PROJECT_ID
from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, PROJECT, Answer, Gate, Json, ask
from testbed.mlflow_server import NEWEST
from tests.tracking_gate.conftest import GATED, Client

EXAMPLES = int(os.environ.get("GATE_EXAMPLES", "4"))
STEPS = int(os.environ.get("GATE_STEPS", "13"))
ARTIFACTS = "/api/2.0/mlflow-artifacts"
NUMBERS = itertools.count(1)
PEOPLE = {"jane": {PROJECT}, "olga": {OTHER}, "both": {PROJECT, OTHER}}
PROJECTS_OF = PEOPLE | {
    "nobody": set(),
    "pull": {PROJECT},
    "promote": {PROJECT},
    "other pull": {OTHER},
    "other promote": {OTHER},
}
PROMOTERS = {PROJECT: "promote", OTHER: "other promote"}


@dataclass(kw_only=True)
class World:
    """The objects of one example: ids by kind, and the project of each."""

    experiments: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    logged_models: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    versions: list[tuple[str, str]] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    projects: dict[Any, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)


def digests(root: Path) -> dict[str, str]:
    files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root.parent)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


INDEX = st.integers(0, 5)
WHO = st.sampled_from(sorted(PROJECTS_OF))
STAGES = st.sampled_from(["Production", "Staging", "Archived", "None", "production", "staging"])
TAGS = st.sampled_from(
    [
        TAG_PROJECT_ID,
        "mlflow.prompt.is_prompt",
        "Mlflow.Prompt.Is_prompt",
        "mlflow.artifactLocation",
        "promotion.id",
        "note",
        "mlflow.runName",
    ]
)
VALUES = st.sampled_from([PROJECT, OTHER, "true", "1", "x", "file:///etc"])
TWISTS = st.sampled_from(["", "", "", "", "/", "//", "?x", "#x", "\n", " ", "%2F..", "/..", "/model", "/MLmodel"])
SOURCES = st.sampled_from(
    [
        "runs:/{run}/model",
        "runs:/{run}/model",
        "runs:/{run}",
        "RUNS:/{run}/model",
        "runs://{run}/model",
        "runs:/{run}//model",
        "runs:/{run}/named",
        "models:/{logged_model}",
        "models:/{model}/{version}",
        "models:/{model}/Production",
        "mlflow-artifacts:/{directory}/model",
        "mlflow-artifacts:/{experiment}",
        "mlflow-artifacts://host/{directory}/model",
        "mlflow-artifacts:/",
    ]
)
# Method, path below MLflow's API or from the root, body; `{...}` is an object of the example.
Request = tuple[str, str, Json | bytes | None]
WRITES_OF_EXPERIMENTS: list[Request] = [
    ("POST", "experiments/update", {"experiment_id": "{experiment}", "new_name": "{fresh}"}),
    ("POST", "experiments/delete", {"experiment_id": "{experiment}"}),
    ("POST", "experiments/restore", {"experiment_id": "{experiment}"}),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "{experiment}", "key": "{tag}", "value": "{value}"}),
    ("POST", "experiments/delete-experiment-tag", {"experiment_id": "{experiment}", "key": "{tag}"}),
]
WRITES_OF_RUNS: list[Request] = [
    ("POST", "runs/update", {"run_id": "{run}", "run_name": "{fresh}"}),
    ("POST", "runs/update", {"run_id": "{run}", "run_uuid": "{other_run}", "run_name": "{fresh}"}),
    ("POST", "runs/delete", {"run_id": "{run}"}),
    ("POST", "runs/restore", {"run_id": "{run}"}),
    ("POST", "runs/set-tag", {"run_id": "{run}", "key": "{tag}", "value": "{value}"}),
    ("POST", "runs/set-tag", {"run_id": "{run}", "runId": "{other_run}", "key": "x", "value": "1"}),
    ("POST", "runs/delete-tag", {"run_id": "{run}", "key": "{tag}"}),
    ("POST", "runs/log-metric", {"run_id": "{run}", "key": "m", "value": 1.0, "timestamp": 1, "step": 0}),
    (
        "POST",
        "runs/log-metric",
        {"run_id": "{run}", "key": "m", "value": 1.0, "timestamp": 1, "model_id": "{logged_model}"},
    ),
    ("POST", "runs/log-parameter", {"run_id": "{run}", "key": "{fresh}", "value": "1"}),
    ("POST", "runs/log-batch", {"run_id": "{run}", "metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "step": 0}]}),
    ("POST", "runs/log-batch", {"run_id": "{run}", "tags": [{"key": "{tag}", "value": "{value}"}]}),
    (
        "POST",
        "runs/log-model",
        {"run_id": "{run}", "model_json": '{"run_id": "{run}", "artifact_path": "model", "flavors": {}}'},
    ),
    ("POST", "runs/log-inputs", {"run_id": "{run}", "datasets": []}),
    ("POST", "runs/outputs", {"run_id": "{run}", "models": [{"model_id": "{logged_model}", "step": 0}]}),
]
WRITES_OF_LOGGED_MODELS: list[Request] = [
    ("PATCH", "logged-models/{logged_model}", {"model_id": "{logged_model}", "status": "LOGGED_MODEL_READY"}),
    (
        "PATCH",
        "logged-models/{logged_model}",
        {"model_id": "{other_logged_model}", "status": "LOGGED_MODEL_UPLOAD_FAILED"},
    ),
    (
        "POST",
        "logged-models/{logged_model}/params",
        {"model_id": "{logged_model}", "params": [{"key": "{fresh}", "value": "1"}]},
    ),
    ("PATCH", "logged-models/{logged_model}/tags", {"tags": [{"key": "{tag}", "value": "{value}"}]}),
    ("DELETE", "logged-models/{logged_model}", {}),
]
WRITES_OF_MODELS: list[Request] = [
    ("PATCH", "registered-models/update", {"name": "{model}", "description": "{fresh}"}),
    ("POST", "registered-models/set-tag", {"name": "{model}", "key": "{tag}", "value": "{value}"}),
    ("DELETE", "registered-models/delete-tag", {"name": "{model}", "key": "{tag}"}),
    ("DELETE", "registered-models/delete", {"name": "{model}"}),
    ("PATCH", "model-versions/update", {"name": "{model}", "version": "{version}", "description": "{fresh}"}),
    ("POST", "model-versions/set-tag", {"name": "{model}", "version": "{version}", "key": "{tag}", "value": "{value}"}),
    ("DELETE", "model-versions/delete-tag", {"name": "{model}", "version": "{version}", "key": "{tag}"}),
    ("DELETE", "model-versions/delete", {"name": "{model}", "version": "{version}"}),
]
PATHS = st.sampled_from(
    [
        "{experiment}",
        "{experiment}/{run_alone}",
        "{directory}",
        "{directory}/model",
        "{directory}/model/MLmodel",
        "{directory}/beside.txt",
        "{experiment}/models",
        "{experiment}/models/{logged_model}/artifacts/MLmodel",
        "{experiment}/traces",
        "{other_directory}/models/{logged_model}/x",
        "{directory}/{other_run}/artifacts/x",
        "0/x",
        "nowhere/x",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The drawn values of a step: the numbers of two objects, and values for a request."""

    first: int
    second: int
    tag: str
    value: str
    twist: str
    root: str


# Changes that have a rule of their own, for a person who owns none of the objects.
OTHER_CHANGES: list[Request] = [
    ("POST", "registered-models/rename", {"name": "{model}", "new_name": "{fresh}"}),
    ("POST", "registered-models/alias", {"name": "{model}", "version": "{version}", "alias": "champion"}),
    ("DELETE", "registered-models/alias", {"name": "{model}", "alias": "champion"}),
    ("POST", "model-versions/transition-stage", {"name": "{model}", "version": "{version}", "stage": "Staging"}),
    ("POST", "model-versions/create", {"name": "{model}", "source": "runs:/{run}/model"}),
    ("POST", "runs/create", {"experiment_id": "{experiment}", "start_time": 1}),
    ("POST", "logged-models", {"experiment_id": "{experiment}", "name": "named", "source_run_id": "{run}"}),
    ("PUT", f"{ARTIFACTS}/artifacts/{{directory}}/model/MLmodel", b"changed"),
    ("PUT", f"{ARTIFACTS}/artifacts/{{experiment}}/models/{{logged_model}}/artifacts/MLmodel", b"changed"),
    ("DELETE", f"{ARTIFACTS}/artifacts/{{directory}}", None),
    ("DELETE", f"{ARTIFACTS}/artifacts/{{experiment}}", None),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=new.txt", b"changed"),
]
DRAWN = st.builds(
    Drawn, first=INDEX, second=INDEX, tag=TAGS, value=VALUES, twist=TWISTS, root=st.sampled_from(["api", "ajax-api"])
)

EVERY_CHANGE = [*WRITES_OF_EXPERIMENTS, *WRITES_OF_RUNS, *WRITES_OF_LOGGED_MODELS, *WRITES_OF_MODELS, *OTHER_CHANGES]
TRESPASSES = st.lists(st.tuples(st.sampled_from(EVERY_CHANGE), DRAWN), min_size=8, max_size=8)


class Machine(RuleBasedStateMachine):
    """One example: two projects with a run, files and a model each, and steps of any actor."""

    gate: Gate
    readers: list[Client]
    data_version: Callable[[], int]

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.actor = ""
        self.before: dict[Any, Any] = {}
        self.read: tuple[int | None, dict[Any, Any]] = (None, {})

    @initialize(who=st.sampled_from(["jane", "olga"]), requests=TRESPASSES)
    def make(self, who: str, requests: list[tuple[Request, Drawn]]) -> None:
        """Make the objects of two projects. A check of an owner that is missing is found most often at once."""
        for person, project in (("jane", PROJECT), ("olga", OTHER)):
            name = f"state-{next(NUMBERS)}"
            experiment = str(
                self.ask(person, "POST", f"{API}/experiments/create", {"name": name}).json["experiment_id"]
            )
            self.keep("experiments", experiment, project)
            self.new_run(person, experiment)
            self.ask(person, "POST", f"{API}/registered-models/create", {"name": name})
            self.keep("models", name, project)
        self.before = self.snapshot()
        self.trespass(who, requests)

    def new_run(self, person: str, experiment: str) -> None:
        made = self.ask(person, "POST", f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1})
        if made.status != 200:
            return
        run = made.json["run"]["info"]["run_id"]
        project = self.world.projects[experiment]
        self.keep("runs", run, project)
        directory = f"{experiment}/{run}/artifacts"
        self.keep("directories", directory, project)
        assert self.ask(person, "PUT", f"{ARTIFACTS}/artifacts/{directory}/model/MLmodel", run.encode()).status == 200
        body = {"experiment_id": experiment, "name": "named", "source_run_id": run}
        logged = self.ask(person, "POST", f"{API}/logged-models", body)
        if logged.status == 200:
            info = logged.json["model"]["info"]
            self.keep("logged_models", info["model_id"], project)
            path = f"{ARTIFACTS}/artifacts/{experiment}/models/{info['model_id']}/artifacts/MLmodel"
            assert self.ask(person, "PUT", path, info["model_id"].encode()).status == 200

    def keep(self, kind: str, found: Any, project: str) -> None:
        getattr(self.world, kind).append(found)
        self.world.projects[found] = project

    def headers(self, who: str) -> dict[str, str]:
        if who in PEOPLE:
            return self.gate.basic(who) | ({"X-Gate-Project": PROJECT} if who == "both" else {})
        project = OTHER if who.startswith("other") else PROJECT
        return (
            {}
            if who == "nobody"
            else self.gate.bearer(Purpose.PROMOTE if who.endswith("promote") else Purpose.PULL, project)
        )

    def ask(self, who: str, method: str, path: str, body: Json | bytes | None = None) -> Answer:
        answer = self.gate.ask(method, path, body, self.headers(who))
        assert b"the gate failed" not in answer.body, (who, method, path, body)
        return answer

    def names(self, first: int, second: int, project: str | None = None) -> dict[str, str]:
        """Return the objects of the example, or of one project, for the `{...}` of a request."""

        def owned(kind: str) -> list[Any]:
            return [found for found in getattr(self.world, kind) if project in {None, self.world.projects[found]}]

        def of(kind: str, index: int, none: str) -> str:
            found = owned(kind)
            return str(found[index % len(found)]) if found else none

        versions = owned("versions")
        model, version = versions[first % len(versions)] if versions else ("no-such", "1")
        return {
            "experiment": of("experiments", first, "1"),
            "run": of("runs", first, "0" * 32),
            "run_alone": of("runs", first, "0" * 32),
            "other_run": of("runs", second, "0" * 32),
            "logged_model": of("logged_models", first, "m-" + "0" * 32),
            "other_logged_model": of("logged_models", second, "m-" + "0" * 32),
            "directory": of("directories", first, "1/x/artifacts"),
            "other_directory": of("directories", second, "1/x/artifacts"),
            "model": model if versions else of("models", first, "no-such"),
            "version": version,
            "fresh": f"fresh-{next(NUMBERS)}",
        }

    def snapshot(self) -> dict[Any, Any]:
        """Return each object and its files. Objects are read again if MLflow has committed something since."""
        version = self.data_version()
        if version != self.read[0]:
            self.read = (version, self.objects())
        artifacts = self.gate.server.artifacts
        return self.read[1] | {("files", found): digests(artifacts / found) for found in self.world.experiments}

    def objects(self) -> dict[Any, Any]:
        """Return each object, read from MLflow directly and one by one, since a tag can hide it from a search."""
        uri = self.gate.server.uri
        found: dict[Any, Any] = {}

        def get(key: Any, path: str, *parts: str) -> None:
            answer = ask(uri, "GET", f"{API}/{path}")
            value: Any = answer.json if answer.status == 200 else answer.status
            for part in parts:
                value = value.get(part, {}) if isinstance(value, dict) else value
            found[key] = value

        for experiment in self.world.experiments:
            get(experiment, f"experiments/get?experiment_id={experiment}")
        for run in self.world.runs:
            get(run, f"runs/get?run_id={run}")
        for logged in self.world.logged_models:
            get(logged, f"logged-models/{logged}?allow_deleted=true")
        for model in self.world.models:
            get(model, f"registered-models/get?name={quote(model)}", "registered_model")
        return found | {version: self.stored(version) for version in self.world.versions}

    def stored(self, version: tuple[str, str]) -> Any:
        """Return a version, or the status of the refusal, read from MLflow directly."""
        path = f"{API}/model-versions/get?name={quote(version[0])}&version={version[1]}"
        answer = ask(self.gate.server.uri, "GET", path)
        return answer.json["model_version"] if answer.status == 200 else answer.status

    def production(self, snapshot: dict[Any, Any], project: str) -> dict[Any, Any]:
        """Return the versions of a project in Production or with its alias, and their bytes."""
        versions = [version for version in self.world.versions if self.world.projects[version] == project]
        raws = {version: snapshot[version] for version in versions if isinstance(snapshot.get(version), dict)}
        promoted = {version for version, raw in raws.items() if raw.get("current_stage") == "Production"}
        promoted |= {
            version
            for version, raw in raws.items()
            if "production" in [alias.lower() for alias in raw.get("aliases", [])]
        }
        return {version: self.bytes_of(snapshot, version) for version in promoted}

    def bytes_of(self, snapshot: dict[Any, Any], version: tuple[str, str]) -> dict[str, str]:
        place = self.place(snapshot[version])
        files = snapshot.get(("files", place.split("/")[0]), {})
        return {path: digest for path, digest in files.items() if path == place or path.startswith(f"{place}/")}

    def place(self, raw: Json) -> str:
        """Return the directory of the stored source; the gate stores only these two forms, and copies of versions."""
        source = str(raw["source"])
        if source.startswith("models:/m-"):
            model_id = source.removeprefix("models:/")
            experiment = self.experiment_of(model_id)
            return f"{experiment}/models/{model_id}/artifacts"
        if source.startswith("models:/"):
            name, version = source.removeprefix("models:/").split("/")
            while name in self.world.renamed:
                name = self.world.renamed[name]
            return self.place(self.stored((name, version))) if (name, version) in self.world.versions else "deleted"
        assert source.startswith("mlflow-artifacts:/"), source
        return source.removeprefix("mlflow-artifacts:/")

    def experiment_of(self, model_id: str) -> str:
        index = self.world.logged_models.index(model_id)
        return self.world.directories[index].split("/")[0]

    @rule(who=WHO, first=INDEX)
    def run(self, who: str, first: int) -> None:
        experiment = self.world.experiments[first % len(self.world.experiments)]
        self.actor = who
        if len(self.world.runs) < 5:
            self.new_run(who, experiment)

    @rule(who=WHO, drawn=DRAWN, source=SOURCES, named=st.booleans())
    def register(self, who: str, drawn: Drawn, source: str, *, named: bool) -> None:
        names = self.names(drawn.first, drawn.second)
        model = self.world.models[drawn.second % len(self.world.models)]
        self.actor = who
        body = {"name": model, "source": source.format(**names) + drawn.twist} | (
            {"run_id": names["run"]} if named else {}
        )
        self.create(who, body)

    def create(self, who: str, body: Json) -> None:
        made = self.ask(who, "POST", f"{API}/model-versions/create", body)
        if made.status == 200:
            self.keep(
                "versions", (body["name"], made.json["model_version"]["version"]), self.world.projects[body["name"]]
            )
            self.is_of_its_project(self.world.versions[-1])
            self.read_alike(self.world.versions[-1])

    def is_of_its_project(self, version: tuple[str, str]) -> None:
        """Check that the files of a version are those of a run or a logged model of its own project."""
        raw = self.stored(version)
        parts = [*self.place(raw).split("/"), raw.get("run_id")]
        owners = {self.world.projects[part] for part in parts if part in self.world.projects}
        assert owners <= {self.world.projects[version]}, f"{self.actor} gave {version} files of another project"

    @rule(first=INDEX, source=st.sampled_from(["runs:/{run}/model", "runs:/{run}/named", "models:/{logged_model}"]))
    def register_own(self, first: int, source: str) -> None:
        """Register a version of an own run, as people do."""
        index = first % 2
        self.actor = ("jane", "olga")[index]
        names = {"run": self.world.runs[index], "logged_model": (self.world.logged_models or ["m-0", "m-0"])[index]}
        self.create(self.actor, {"name": self.world.models[index], "source": source.format(**names)})

    def read_alike(self, version: tuple[str, str]) -> None:
        """Check that each client of MLflow reads, through the gate, exactly the files that the gate protects.

        People may empty an own directory. MLflow 2's client then asks for it as if it were a file, and fails.
        """
        raw = self.stored(version)
        place = self.gate.server.artifacts / self.place(raw)
        if not place.is_dir():
            return
        token = self.gate.token(Purpose.PULL, self.world.projects[version])
        there = {str(Path(path).relative_to(place.name)): digest for path, digest in digests(place).items()}
        for client, reader in zip(GATED, self.readers, strict=True):
            answer = reader.read(self.gate.uri, f"models:/{version[0]}/{version[1]}", token)
            if there or client == NEWEST:
                assert answer == {"files": there}
            else:
                assert "files" not in answer

    @rule(who=WHO, first=INDEX, stage=STAGES, archive=st.booleans())
    def move(self, who: str, first: int, stage: str, *, archive: bool) -> None:
        names = self.names(first, first)
        self.actor = who
        body = {"name": names["model"], "version": names["version"], "stage": stage}
        self.ask(
            who,
            "POST",
            f"{API}/model-versions/transition-stage",
            body | ({"archive_existing_versions": True} if archive else {}),
        )

    @rule(first=INDEX)
    def promote(self, first: int) -> None:
        """Promote as CI does."""
        if self.world.versions:
            name, version = self.world.versions[first % len(self.world.versions)]
            self.actor = PROMOTERS[self.world.projects[name, version]]
            for stage in ("Staging", "Production"):
                body = {"name": name, "version": version, "stage": stage}
                self.ask(self.actor, "POST", f"{API}/model-versions/transition-stage", body)

    @rule(
        who=WHO,
        first=INDEX,
        alias=st.sampled_from(["production", "Production", "champion"]),
        method=st.sampled_from(["POST", "DELETE"]),
    )
    def alias(self, who: str, first: int, alias: str, method: str) -> None:
        names = self.names(first, first)
        self.actor = who
        body = {"name": names["model"], "alias": alias} | ({"version": names["version"]} if method == "POST" else {})
        self.ask(who, method, f"{API}/registered-models/alias", body)

    @rule(who=WHO, first=INDEX, taken=st.booleans())
    def rename(self, who: str, first: int, *, taken: bool) -> None:
        """Rename a model to a new name, or to the name of the other model."""
        name = self.world.models[first % len(self.world.models)]
        new = self.world.models[(first + 1) % len(self.world.models)] if taken else f"fresh-{next(NUMBERS)}"
        body = {"name": name, "new_name": new}
        self.actor = who
        if self.ask(who, "POST", f"{API}/registered-models/rename", body).status == 200:
            self.world.renamed[name] = new
            self.world.models = [new if found == name else found for found in self.world.models]
            self.world.versions = [(new if found[0] == name else found[0], found[1]) for found in self.world.versions]
            self.world.projects |= {new: self.world.projects[name]}
            self.world.projects |= {found: self.world.projects[new] for found in self.world.versions if found[0] == new}

    @rule(
        who=WHO, write=st.sampled_from(WRITES_OF_EXPERIMENTS + WRITES_OF_LOGGED_MODELS + WRITES_OF_MODELS), drawn=DRAWN
    )
    def write(self, who: str, write: Request, drawn: Drawn) -> None:
        self.send(who, write, drawn)

    @rule(who=WHO, write=st.sampled_from(WRITES_OF_RUNS), drawn=DRAWN)
    def write_run(self, who: str, write: Request, drawn: Drawn) -> None:
        if who == "both" and drawn.tag == TAG_PROJECT_ID:
            return  # a person of both projects may give a run of one to the other, and the world would not know
        self.send(who, write, drawn)

    @rule(who=st.sampled_from(["jane", "olga"]), requests=TRESPASSES)
    def trespass(self, who: str, requests: list[tuple[Request, Drawn]]) -> None:
        """Let a person of one project try several changes of the other project's objects: each is refused."""
        (others,) = set(PROMOTERS) - PEOPLE[who]
        for request, drawn in requests:
            answer = self.send(who, request, drawn, others)
            assert answer.status >= 400, f"{who} may {request}"

    def send(self, who: str, request: Request, drawn: Drawn, project: str | None = None) -> Answer:
        """Send a request on drawn objects, on those of the project if one is given."""
        self.actor = who
        names = self.names(drawn.first, drawn.second, project) | {"tag": drawn.tag, "value": drawn.value}

        def filled(part: Any) -> Any:
            if isinstance(part, dict):
                return {key: filled(item) for key, item in part.items()}
            if isinstance(part, list):
                return [filled(item) for item in part]
            for name, text in names.items():
                part = part.replace("{" + name + "}", text) if isinstance(part, str) else part
            return part

        method, path, body = request
        place = path if path.startswith("/") else f"/{drawn.root}/2.0/mlflow/{path}"
        return self.ask(who, method, filled(place), filled(body))

    @rule(who=WHO, method=st.sampled_from(["PUT", "DELETE"]), path=PATHS, drawn=DRAWN)
    def artifact(self, who: str, method: str, path: str, drawn: Drawn) -> None:
        twist = "" if any(character in drawn.twist for character in "\n #") else drawn.twist
        names = self.names(drawn.first, drawn.second)
        self.actor = who
        target = path.format(**names) + twist
        self.ask(who, method, f"{ARTIFACTS}/artifacts/{target}", b"changed" if method == "PUT" else None)

    @rule(who=WHO, first=INDEX, name=st.sampled_from(["../x", "model/MLmodel", "model%2FMLmodel", "new.txt"]))
    def upload(self, who: str, first: int, name: str) -> None:
        run = self.names(first, first)["run"]
        self.actor = who
        self.ask(who, "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path={name}", b"changed")

    @invariant()
    def nobody_changes_what_is_not_theirs(self) -> None:
        before, after = self.before, self.snapshot()
        for key, value in before.items():
            owner = self.world.projects[key[1] if key[0] == "files" else key]
            if owner not in PROJECTS_OF.get(self.actor, set()):
                assert after.get(key) == value, f"{self.actor} changed {key}"
        for project, promoter in PROMOTERS.items():
            if before and self.actor != promoter:
                assert self.production(after, project) == self.production(before, project), (
                    f"{self.actor} changed Production"
                )
        self.before = after


def test_production_and_other_projects_do_not_change_in_any_order_of_requests(
    any_gate: Gate, clients: list[Client]
) -> None:
    settings = hypothesis_settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with any_gate.server.data_version() as version:
        parts = {"gate": any_gate, "readers": clients, "data_version": staticmethod(version)}
        run_state_machine_as_test(type("Machine", (Machine,), parts), settings=settings)
