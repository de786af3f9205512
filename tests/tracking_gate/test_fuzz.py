"""Random requests without the promote token change neither promoted versions nor owners."""

import hashlib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model_contract.tokens import Purpose
from testbed.gate import API, OTHER, Gate, Json
from tests.tracking_gate.conftest import Wine, wine_behind
from tracking_gate.policy.routes import ROUTES

EXAMPLES = 300 if os.environ.get("CI") == "true" else 200
PROMOTED, STAGED = "1", "2"
PROTECTED = {
    "production": "SELECT name, version FROM model_versions WHERE current_stage = 'Production'",
    "alias": "SELECT alias, version FROM registered_model_aliases WHERE name = :name AND alias LIKE 'production'",
    "tags of the model": "SELECT key, value FROM registered_model_tags WHERE name = :name AND key LIKE '%domino%'",
    "tags of the experiment": "SELECT key, value FROM experiment_tags WHERE experiment_id = :experiment"
    " AND key LIKE '%domino%'",
    "model": "SELECT name FROM registered_models WHERE name = :name",
    "experiment": "SELECT lifecycle_stage FROM experiments WHERE experiment_id = :experiment",
}


@pytest.fixture(scope="module")
def target(any_gate: Gate) -> Wine:
    """Return a model with version 1 in Production and version 2 in Staging."""
    wine = wine_behind(any_gate)
    assert wine.promoted() == PROMOTED
    assert wine.version() == STAGED
    wine.move(STAGED, "Staging", any_gate.basic("jane"))
    alias = {"name": wine.name, "alias": "production", "version": PROMOTED}
    assert any_gate.ask("POST", f"{API}/registered-models/alias", alias, any_gate.basic("root")).status == 200
    return wine


def protected(wine: Wine) -> Json:
    """Return all that only the promote token may change, read from MLflow's database, which costs no request."""
    server, found_in = wine.gate.server, {"name": wine.name, "experiment": wine.experiment}
    files = (server.artifacts / wine.directory / "model").rglob("*")
    with closing(sqlite3.connect(server.database)) as database:
        rows = {name: sorted(database.execute(query, found_in)) for name, query in PROTECTED.items()}
    return rows | {
        "files": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
    }


@pytest.fixture(scope="module")
def seen(target: Wine) -> Json:
    """Return what was protected after the last request; what is read before each request would be the same."""
    found = protected(target)
    assert all(found.values()), found
    return found


WHO = st.sampled_from(["nobody", "jane", "olga", "pull", "other promote", "legacy"])
VALUES = st.sampled_from(
    [
        "1",
        "2",
        "01",
        " 1",
        1,
        True,
        None,
        "Production",
        "production",
        "Staging",
        "None",
        "Archived",
        "mlflow.domino.project_id",
        "x",
        OTHER,
        [],
        {},
    ]
)
KEYS = st.sampled_from(
    [
        "name",
        "version",
        "stage",
        "archive_existing_versions",
        "archiveExistingVersions",
        "alias",
        "key",
        "value",
        "new_name",
        "run_id",
        "tags",
        "source",
    ]
)
PATHS = st.sampled_from([route.path for route in ROUTES if "mlflow" in route.path and route.path != "/"])
TWISTS = st.sampled_from(["", "", "", "", "/", "?name=x", "//", "%2F", ";a=b", "/..", "%00", "#"])


FIELDS = {
    "transition-stage": ["name", "version", "stage", "archive_existing_versions"],
    "alias": ["name", "version", "alias"],
    "set-tag": ["name", "version", "key", "value"],
    "delete-tag": ["name", "version", "key"],
    "delete": ["name", "version", "run_id", "experiment_id"],
    "rename": ["name", "new_name"],
    "update": ["name", "version"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of valid and invalid parts; `named` puts the promoted version's names into the body."""

    who: str
    path: str
    root: str
    method: str
    fields: Json
    named: bool
    twist: str

    def target(self, wine: Wine) -> str:
        where = self.path.replace("/API/", f"/{self.root}/").replace("<model_id>", "m-1")
        return where.replace("<path:path>", f"{wine.directory}/model/MLmodel") + self.twist

    def body(self, wine: Wine) -> Json:
        if not self.named:
            return self.fields
        body = {
            "name": wine.name,
            "version": PROMOTED,
            "experiment_id": wine.experiment,
            "run_id": wine.run,
        } | self.fields
        return {key: value for key, value in body.items() if key in FIELDS.get(self.path.rpartition("/")[2], body)}

    def headers(self, gate: Gate) -> dict[str, str]:
        return {
            "nobody": {},
            "jane": gate.basic("jane"),
            "olga": gate.basic("olga"),
            "pull": gate.bearer(Purpose.PULL),
            "other promote": gate.bearer(Purpose.PROMOTE, OTHER),
            "legacy": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
        }[self.who]


REQUESTS = st.builds(
    Request,
    who=WHO,
    path=PATHS,
    root=st.sampled_from(["api", "ajax-api"]),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    fields=st.dictionaries(KEYS, VALUES, max_size=5),
    named=st.booleans(),
    twist=TWISTS,
)


@hypothesis_settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(REQUESTS)
def test_nothing_that_is_promoted_moves(target: Wine, seen: Json, request_: Request) -> None:
    before = dict(seen)
    answer = target.gate.ask(
        request_.method, request_.target(target), request_.body(target), request_.headers(target.gate)
    )

    assert b"the gate failed" not in answer.body
    seen |= protected(target)
    assert seen == before
