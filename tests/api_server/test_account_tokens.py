"""Tokens of ServiceAccounts from a real API server without a node: bound to a pod, checked by its published keys."""

import asyncio
import base64
import json
import os
import ssl
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from joserfc import jwt

from testbed.cluster import binaries, pki
from testbed.cluster.control_plane import HERE, ControlPlane, api, etcd
from testbed.cluster.machine import run
from testbed.cluster.workloads import COMPUTE, MLFLOW, PROJECT_ID
from testbed.oidc_issuer import new_key
from testbed.processes import free_port, sockets_closed
from tests.api_server.test_sync_rights import PATHS
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.documents import Documents
from tracking_gate.authentication.issuer_tokens import IssuerTokens
from tracking_gate.authentication.issuers_file import IssuersFile, read_trusted
from tracking_gate.errors import Unavailable
from tracking_gate.metrics import Metrics

ROOT: Final = Path(__file__).parents[2]
MANIFESTS: Final = ROOT / "manifests"
PAGE: Final = ROOT / "docs" / "how-to" / "authenticate-without-stored-tokens.md"
RIGHTS: Final = MANIFESTS / "components" / "gate-pod-labels" / "rbac.yaml"
AUDIENCE: Final = "model-api-gate"
ISSUER: Final = "https://kubernetes.default.svc"
OTHER: Final = "wine-team-2"
LABEL: Final = "dominodatalab.com/project-id"

Json = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Cluster:
    """An API server with the pods of a namespace, which can be started again with another signing key."""

    folder: Path
    store: int
    port: int
    plane: ControlPlane

    def token(self, pod: str = "wine", audience: str = AUDIENCE, namespace: str = COMPUTE) -> str:
        """Return a token as the kubelet gets it for a pod."""
        found = self.plane.client.get(f"/api/v1/namespaces/{namespace}/pods/{pod}").json()
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": found["metadata"]["uid"]}
        return self.asked(
            found["spec"]["serviceAccountName"], {"audiences": [audience], "boundObjectRef": bound}, namespace
        )

    def asked(self, account: str, spec: Json, namespace: str = COMPUTE) -> str:
        path = f"{PATHS['ServiceAccount'].format(namespace)}/{account}/token"
        token: str = self.plane.create(path, {"spec": {"expirationSeconds": 600, **spec}})["status"]["token"]
        return token

    def pod(self, name: str, account: str = "wine", namespace: str = COMPUTE, **labels: str) -> None:
        spec = {"serviceAccountName": account, "containers": [{"name": "model", "image": "model"}]}
        metadata = {"name": name, "labels": {key.replace("__", "/"): value for key, value in labels.items()}}
        self.plane.create(f"/api/v1/namespaces/{namespace}/pods", {"metadata": metadata, "spec": spec})

    def delete(self, name: str) -> None:
        path = f"/api/v1/namespaces/{COMPUTE}/pods/{name}"
        self.plane.client.request("DELETE", path, json={"gracePeriodSeconds": 0}).raise_for_status()

    def entry(self, *callers: Json) -> Json:
        return {
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "api": f"https://{HERE}:{self.port}",
            "ca_file": str(self.folder / "ca.crt"),
            "token_file": str(self.folder / "gate-token"),
            "callers": list(callers),
        }

    def file(self, *callers: Json) -> IssuersFile:
        path = self.folder / "issuers.json"
        path.write_text(json.dumps({"issuers": [self.entry(*callers)]}))
        return IssuersFile(path)


MAPPED: Final = {"service_account": f"{COMPUTE}/wine", "projects": [PROJECT_ID]}
LABELLED: Final = {"service_account": f"{COMPUTE}/shared", "project_label": LABEL}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder, store, port = tmp_path_factory.mktemp("cluster"), free_port(), free_port()
    pki.write(folder, HERE, port)
    with etcd(binaries.build(), folder, store, free_port()), api(folder, store, port) as plane:
        found = Cluster(folder=folder, store=store, port=port, plane=plane)
        for namespace in (COMPUTE, MLFLOW, "elsewhere"):
            plane.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        accounts = [(COMPUTE, "wine"), (COMPUTE, "beer"), (COMPUTE, "shared"), ("elsewhere", "wine")]
        for namespace, account in [*accounts, (MLFLOW, "model-api-gate")]:
            plane.create(PATHS["ServiceAccount"].format(namespace), {"metadata": {"name": account}})
        for one in yaml.safe_load_all(RIGHTS.read_text()):
            plane.create(PATHS[one["kind"]].format(COMPUTE), one)
        (folder / "gate-token").write_text(found.asked("model-api-gate", {}, MLFLOW))
        found.pod("wine")
        found.pod("beer", "beer")
        found.pod("wine", namespace="elsewhere")
        yield found


def caller_of(file: IssuersFile, *tokens: str) -> list[Actor | None]:
    async def asked() -> list[Actor | None]:
        async with sockets_closed(), Documents() as documents:
            found = IssuerTokens(file, documents, Metrics())
            presented = [found.presented(token) for token in tokens]
            return [await found.find(token) if token else None for token in presented]

    return asyncio.run(asked())


def test_pod_reads_the_project_of_its_service_account(cluster: Cluster) -> None:
    (actor,) = caller_of(cluster.file(MAPPED), cluster.token())

    assert actor == Actor(
        kind=ActorKind.PULL,
        name=f"system:serviceaccount:{COMPUTE}:wine/wine",
        projects=frozenset({PROJECT_ID}),
        details={"issuer": ISSUER},
    )


def test_token_of_another_account_audience_or_without_a_pod_is_refused(cluster: Cluster) -> None:
    tokens = {
        "another account": cluster.token("beer"),
        "another namespace": cluster.token(namespace="elsewhere"),
        "the API server's own audience": cluster.token(audience=ISSUER),
        "no pod": cluster.asked("wine", {"audiences": [AUDIENCE]}),
    }

    assert caller_of(cluster.file(MAPPED), *tokens.values()) == [None] * len(tokens)


def test_token_of_another_cluster_is_refused_though_its_issuer_has_the_same_name(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The other API server has the same accounts and pods: only its key is another one."""
    port = free_port()
    pki.write(tmp_path, HERE, port)
    with api(tmp_path, cluster.store, port) as plane:
        other = Cluster(folder=tmp_path, store=cluster.store, port=port, plane=plane)
        (tmp_path / "gate-token").write_text(other.asked("model-api-gate", {}, MLFLOW))
        foreign = other.token()

        assert caller_of(cluster.file(MAPPED), foreign) == [None]
        assert caller_of(other.file(MAPPED), cluster.token()) == [None]
        assert caller_of(other.file(MAPPED), foreign) != [None]


def test_label_of_the_pod_that_the_token_names_chooses_the_project(cluster: Cluster) -> None:
    cluster.pod("one", "shared", **{LABEL: PROJECT_ID})
    cluster.pod("two", "shared", **{LABEL: OTHER})
    cluster.pod("none", "shared")
    cluster.pod("wrong", "shared", **{LABEL: "Not_A_Project"})
    tokens = [cluster.token(name) for name in ("one", "two", "none", "wrong")]

    one, two, none, wrong = caller_of(cluster.file(LABELLED), *tokens)
    assert one
    assert two
    assert (one.projects, two.projects) == (frozenset({PROJECT_ID}), frozenset({OTHER}))
    assert (none, wrong) == (None, None)


def test_pod_that_is_gone_is_seen_by_its_label_and_not_by_the_keys(cluster: Cluster) -> None:
    cluster.pod("ends", "shared", **{LABEL: PROJECT_ID})
    cluster.pod("ends-too")
    labelled, mapped = cluster.token("ends"), cluster.token("ends-too")
    cluster.delete("ends")
    cluster.delete("ends-too")

    gone, kept = caller_of(cluster.file(LABELLED, MAPPED), labelled, mapped)
    assert gone is None
    assert kept, "docs/reference/gate.md says that such a token is accepted until it ends"
    cluster.pod("ends", "shared", **{LABEL: OTHER})
    assert caller_of(cluster.file(LABELLED), labelled) == [None], "another pod of the same name"


def test_gate_may_get_pods_of_the_namespace_and_nothing_else(cluster: Cluster) -> None:
    token = (cluster.folder / "gate-token").read_text()
    headers = {"Authorization": f"Bearer {token}"}
    trust = ssl.create_default_context(cafile=cluster.folder / "ca.crt")
    cluster.plane.create("/api/v1/namespaces/elsewhere/serviceaccounts", {"metadata": {"name": "shared"}})
    cluster.pod("far", "shared", "elsewhere", **{LABEL: PROJECT_ID})
    file = cluster.file({"service_account": "elsewhere/shared", "project_label": LABEL})

    def status(path: str) -> int:
        return httpx.get(f"https://{HERE}:{cluster.port}{path}", headers=headers, verify=trust).status_code

    base = f"/api/v1/namespaces/{COMPUTE}"
    assert [status(f"{base}/pods/wine"), status("/openid/v1/jwks")] == [200, 200]
    assert {status(f"{base}/pods"), status(f"{base}/secrets"), status(f"{base}/pods/wine/log")} == {403}
    with pytest.raises(Unavailable, match=r"cannot read the pod of your token \(status 403\)"):
        caller_of(file, cluster.token("far", namespace="elsewhere"))


def test_component_mounts_the_file_and_the_token_that_its_settings_and_the_page_name(tmp_path: Path) -> None:
    """The overlay of the page, in front of the gate."""
    text = PAGE.read_text()
    document = text.partition("```json\n")[2].partition("```")[0]
    overlay = textwrap.dedent(text.partition("```yaml\n")[2].partition("```")[0])
    (tmp_path / "issuers.json").write_text(textwrap.dedent(document))
    components = os.path.relpath(MANIFESTS / "components", tmp_path)
    named = overlay.replace("../manifests/components", components)
    gate = os.path.relpath(MANIFESTS / "overlays" / "gate", tmp_path)
    head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    labels = f"  - {components}/gate-pod-labels\n"
    (tmp_path / "kustomization.yaml").write_text(
        f"{head}resources:\n  - {gate}\n{named.replace('configMapGenerator', f'{labels}configMapGenerator')}"
    )
    objects = [one for one in yaml.safe_load_all(run(binaries.build() / "kubectl", "kustomize", tmp_path)) if one]

    (deployment,) = (one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment")
    mounts = {mount["name"]: mount["mountPath"] for mount in deployment["containers"][0]["volumeMounts"]}
    settings = next(one["data"] for one in objects if one["metadata"]["name"].startswith("model-api-gate-settings"))
    issuers = next(one for one in objects if one["metadata"]["name"] == "model-api-gate-issuers")
    (entry,) = json.loads(issuers["data"]["issuers.json"])["issuers"]
    volumes = {volume["name"]: volume for volume in deployment["volumes"]}
    assert settings["MODEL_API_GATE_SERVE_ISSUERS_FILE"] == f"{mounts['issuers']}/issuers.json"
    assert (entry["ca_file"], entry["token_file"]) == (f"{mounts['api']}/ca.crt", f"{mounts['api']}/token")
    assert volumes["issuers"]["configMap"]["name"] == "model-api-gate-issuers"
    assert volumes["tokens"]["secret"]["optional"] is True
    assert deployment["automountServiceAccountToken"] is False
    assert {one["kind"] for one in objects} >= {"Role", "RoleBinding"}
    assert read_trusted(tmp_path / "issuers.json").issuers[entry["issuer"]].callers


def test_rotation_of_the_key_is_not_seen_and_an_api_server_that_is_away_stops_no_pod(cluster: Cluster) -> None:
    """Run last: the API server is started again, with the former key for tokens that it has signed before."""
    file, before = cluster.file(MAPPED), cluster.token()
    unknown = new_key("unknown")
    foreign = jwt.encode({"alg": "RS256", "kid": "unknown"}, {"iss": ISSUER, "sub": "x"}, unknown)

    async def told() -> None:
        async with Documents() as documents:
            found = IssuerTokens(file, documents, Metrics())

            async def accepts(token: str) -> bool:
                presented = found.presented(token)
                return presented is not None and await found.find(presented) is not None

            assert await accepts(before)
            cluster.plane.api_server.stop()
            assert await accepts(before)
            with pytest.raises(Unavailable):
                await accepts(foreign)
            (cluster.folder / "service-accounts.pub").rename(cluster.folder / "service-accounts-former.pub")
            pki.write_signing_key(cluster.folder)
            with api(cluster.folder, cluster.store, cluster.port) as plane:
                cluster.plane = plane
                after = cluster.token()
                assert await accepts(after)
                assert await accepts(before)
                assert head(after)["kid"] != head(before)["kid"]

    asyncio.run(told())


def head(token: str) -> Json:
    encoded = token.partition(".")[0]
    decoded: Json = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return decoded
