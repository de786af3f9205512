"""The file of issuers is read strictly: a mistake is named by its place, and gives nobody rights."""

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.gate import PROJECT
from tracking_gate.actors import ActorKind
from tracking_gate.authentication.issuers_file import IssuersError, read_trusted

GITHUB = "https://token.actions.githubusercontent.com"
POD = {"service_account": "domino-compute/wine", "projects": [PROJECT]}
JOB = {
    "claims": {"repository": "acme/wine", "repository_id": "22", "ref": "refs/heads/main"},
    "projects": [PROJECT],
    "rights": "promote",
}
CLUSTER = {"issuer": "https://kubernetes.default.svc", "audience": "gate", "api": "https://kubernetes.default.svc"}

Json = dict[str, Any]


def read(folder: Path, document: object) -> Any:
    file = folder / "issuers.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_trusted(file).issuers


def one(*callers: Json, **changes: Any) -> Json:
    return {"issuers": [{**CLUSTER, "callers": list(callers) or [POD], **changes}]}


def github(**changes: Any) -> Json:
    return {"issuers": [{"issuer": GITHUB, "audience": "gate", "callers": [{**JOB, **changes}]}]}


def gitlab(issuer: str = "https://gitlab.com", rights: str = "promote", **claims: Any) -> Json:
    named = {"project_path": "acme/wine", "project_id": "22", "ref": "main", **claims}
    callers = [{"claims": named, "projects": [PROJECT], "rights": rights}]
    return {"issuers": [{"issuer": issuer, "audience": "gate", "callers": callers}]}


def test_right_file_gives_its_issuers(tmp_path: Path) -> None:
    found = read(tmp_path, {"issuers": [*one()["issuers"], *github()["issuers"]]})

    cluster = found[CLUSTER["issuer"]]
    assert cluster.source.keys == "https://kubernetes.default.svc/openid/v1/jwks"
    assert (cluster.callers[0].rights, cluster.callers[0].projects) == (ActorKind.PULL, frozenset({PROJECT}))
    assert found[GITHUB].callers[0].claims == JOB["claims"]


WRONG: dict[str, tuple[object, str]] = {
    "no JSON": ("issuers: []", "it is not JSON"),
    "deep JSON": ("[" * 100_000, "nested too deeply"),
    "a list": ([], "the file must be an object"),
    "no issuers": ({}, "issuers must be a list of objects"),
    "a key twice": ('{"issuers": [], "issuers": []}', "'issuers' stands twice"),
    "another key": ({**one(), "issuer": 1}, "issuer is not known"),
    "a misspelt key": (one(audiense="x"), r"issuers\[0\].audiense is not known"),
    "no audience": ({"issuers": [{"issuer": GITHUB, "callers": [JOB]}]}, r"issuers\[0\].audience is missing"),
    "an empty audience": (one(audience=" "), "audience must be a text that is not empty"),
    "an issuer twice": ({"issuers": one()["issuers"] * 2}, "an issuer is named twice"),
    "keys by http": (one(keys="http://keys.example"), "keys must begin with https://"),
    "an API by http": (one(api="http://10.96.0.1"), "api must begin with https://"),
    "a token for another server": (
        {"issuers": [{"issuer": GITHUB, "audience": "gate", "token_file": "/token", "callers": [JOB]}]},
        "token_file is for an entry with api",
    ),
    "a relative path": (one(ca_file="ca.crt"), "ca_file must be a path that begins with /"),
    "a caller that is a text": (one(callers=["wine"]), r"issuers\[0\].callers\[0\] must be an object"),
    "a caller without anything": (one({"projects": [PROJECT], "rights": "pull"}), "needs service_account or claims"),
    "a wildcard": (one({**POD, "service_account": "domino-compute/*"}), "must be <namespace>/<name>"),
    "no rights of a claim": (one({"claims": {"sub": "x"}, "projects": [PROJECT]}), "rights must be one of"),
    "other rights": (one({**POD, "rights": "root"}), "rights must be one of pull, promote, person, admin"),
    "no project": (one({"service_account": "a/b"}), r"callers\[0\].projects is missing"),
    "another form of project": (one({**POD, "projects": ["Wine!"]}), "projects must be ids"),
    "a project that is a text": (one({**POD, "projects": PROJECT}), "projects must be a list of texts"),
    "a claim that is a list": (one({**POD, "claims": {"a": ["b"]}}), "claims must be an object of texts"),
    "a claim that is empty": (one({**POD, "claims": {"a": ""}}), "claims must be an object of texts"),
    "a label that promotes": (
        one({"service_account": "a/b", "project_label": "p", "rights": "promote"}),
        "project_label needs",
    ),
    "a label beside projects": (one({**POD, "project_label": "p"}), "project_label needs"),
    "a label of a claim": (
        one({"claims": {"sub": "x"}, "project_label": "p", "rights": "pull"}),
        "project_label needs",
    ),
    "a repository by its name alone": (
        github(claims={"repository": "acme/wine", "ref": "refs/heads/main"}),
        "claims must name repository_id",
    ),
    "any repository": (github(claims={"ref": "refs/heads/main"}), "claims must name repository:"),
    "a tag with the name of the branch": (gitlab(ref_protected="true"), r'must have "ref_type": "branch"'),
    "a branch that anyone may push": (gitlab(ref_type="branch"), r'must have "ref_protected": "true"'),
    "a protected branch as a boolean": (
        gitlab(ref_type="branch", ref_protected=True),
        r'must have "ref_protected": "true"',
    ),
    "any branch of GitLab, by its environment": (gitlab(environment="production"), r'must have "ref_type": "branch"'),
    "an own GitLab": (gitlab(issuer="https://git.acme.example"), r'must have "ref_type": "branch"'),
    "any branch": (github(claims={"repository": "acme/wine", "repository_id": "22"}), "must name ref or environment"),
}


@pytest.mark.parametrize(("document", "message"), WRONG.values(), ids=WRONG)
def test_mistake_is_named_by_its_place(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(IssuersError, match=message):
        read(tmp_path, document)


@pytest.mark.parametrize(
    "document", [gitlab(ref_type="branch", ref_protected="true"), gitlab(rights="pull")], ids=["promotes", "pulls"]
)
def test_job_of_gitlabs_protected_branch_has_rights(tmp_path: Path, document: Json) -> None:
    (found,) = read(tmp_path, document).values()

    assert found.callers[0].claims["ref"] == "main"


def test_issuer_without_an_address_needs_keys(tmp_path: Path) -> None:
    entry = {"issuer": "kubernetes/serviceaccount", "audience": "gate", "callers": [POD]}

    with pytest.raises(IssuersError, match="issuer must begin with https://, or the entry needs keys or api"):
        read(tmp_path, {"issuers": [entry]})
    assert read(tmp_path, {"issuers": [entry | {"keys": "https://keys.example/jwks"}]})
