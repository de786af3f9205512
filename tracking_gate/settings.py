"""Settings of `model-api-gate serve`: each is an option, and a variable that begins with MODEL_API_GATE_SERVE_."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from model_contract.setting_types import HIGHEST_PORT, boolean, described, optional, whole_number
from model_contract.settings import SettingError, setting, settings_of

PREFIX: Final = "MODEL_API_GATE_SERVE_"

port_number: Final = whole_number(0, HIGHEST_PORT)  # 0 is any free port


def existing(kind: str, fits: Callable[[Path], bool]) -> Callable[[str], Path]:
    """Return the type of a path that, if it exists, can be read and is of this kind."""

    def read(text: str) -> Path:
        path = Path(text)
        if path.exists() and not (fits(path) and os.access(path, os.R_OK)):
            raise ValueError(f"it must be a {kind} that can be read")
        return path

    return read


def _is_address(url: str) -> bool:
    """Return True for an http or https address with a host, and with a port that can be one if it has any."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseName:
    """Namespace and name of a Lease of the Kubernetes API."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def lease_name(text: str) -> LeaseName:
    """Return the name of a Lease. Raises ValueError."""
    label = r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?"
    if not (found := re.fullmatch(rf"({label})/({label})", text)):
        raise ValueError(text)
    return LeaseName(namespace=found[1], name=found[2])


def _one_or_more(text: str) -> float:
    if not float(text) >= 1:
        raise ValueError(text)
    return float(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Each field is an option and a variable. Times are in seconds. Raises SettingError."""

    upstream: str = setting(
        "MLflow's address, which nothing but the gate can reach.", read=str, default=None, metavar="URL", secret=True
    )
    secret_dir: Path = setting(
        "The mounted Secret with every project's tokens, ID.apikey and the like.",
        read=existing("directory", Path.is_dir),
        default=None,
        metavar="DIRECTORY",
    )
    host: str = setting("Address to listen on.", read=str, default="0.0.0.0", metavar="TEXT")  # noqa: S104  a pod's
    port: int = setting("Port to listen on.", read=port_number, default="5000", metavar="INTEGER")
    people_file: Path | None = setting(
        "People, their projects, and their passwords; JSON.",
        read=optional(existing("file", lambda path: not path.is_dir())),
        metavar="FILE",
    )
    people_header: str | None = setting(
        "Header in which an authenticating proxy in front names the person; only that proxy may reach the gate.",
        read=optional(str),
        metavar="NAME",
    )
    domino_url: str | None = setting(
        "Address of Domino, which names the person of an X-Domino-Api-Key or of an access token of Domino.",
        read=optional(str),
        metavar="URL",
        secret=True,
    )
    admins: tuple[str, ...] = setting(
        "A user of Domino who is an admin of the gate; an admin of Domino is not one automatically.",
        read=str,
        option="--admin",
        metavar="NAME",
        several=True,
    )
    issuers_file: Path | None = setting(
        "Issuers whose tokens are accepted, such as the cluster or GitHub, and the rights of their callers; JSON.",
        read=optional(existing("file", lambda path: not path.is_dir())),
        metavar="FILE",
    )
    audit_log: str = setting(
        'File in which each decision is recorded; "-" is standard output.', read=str, default="-", metavar="FILE"
    )
    hosts: tuple[str, ...] = setting(
        "Allowed value of the header Host; any if none is given.",
        read=str.lower,
        option="--allowed-host",
        metavar="HOST[:PORT]",
        several=True,
    )
    metrics_port: int | None = setting(
        "Port for the metrics of Prometheus; closed if none is given.", read=optional(port_number), metavar="INTEGER"
    )
    accept_legacy: bool = setting(
        "Accept tokens of the format that domino-mlflow-client made.", read=boolean, default="false"
    )
    attempts: int = setting(
        "Failed authentications that an address may have in a minute.",
        read=whole_number(1),
        default="10",
        metavar="INTEGER",
    )
    proxies: tuple[str, ...] = setting(
        "Address or network of a proxy in front, whose X-Forwarded-For names the client's address for limits.",
        read=str,
        option="--proxy",
        metavar="ADDRESS",
        several=True,
        secret=True,
    )
    connections: int = setting(
        "Largest number of connections of clients; fewer if the limit on open files is lower.",
        read=whole_number(1),
        default="4000",
        metavar="INTEGER",
    )
    connections_per_address: int = setting(
        "Largest number of connections from one address.", read=whole_number(1), default="1000", metavar="INTEGER"
    )
    requests_per_caller: int = setting(
        "Requests that a token or a person may have under way; eight times as many wait, others get a 429.",
        read=whole_number(1),
        default="32",
        metavar="INTEGER",
    )
    client_pause: float = setting(
        "Seconds in which a client may send nothing of its request's body, or take nothing of its answer.",
        read=described(_one_or_more, "a number of at least 1"),
        default="30",
        metavar="NUMBER",
    )

    shutdown_seconds: float = setting(
        "Seconds that requests under way have to end when the gate stops.",
        read=described(_one_or_more, "a number of at least 1"),
        default="20",
        metavar="NUMBER",
    )
    lease: LeaseName | None = setting(
        "Lease by which several replicas elect the one that makes changes; without it the gate is one process.",
        read=described(optional(lease_name), "NAMESPACE/NAME"),
        metavar="NAMESPACE/NAME",
    )
    replica: str | None = setting(
        "Name of this replica, which no other one has: that of its pod.", read=optional(str), metavar="NAME"
    )
    replica_address: str | None = setting(
        "Address at which the other replicas reach this one, on the port of --port.",
        read=optional(str),
        metavar="ADDRESS",
    )
    lease_seconds: int = setting(
        "Seconds without a renewal after which another replica takes the Lease; one change may take half of them.",
        read=whole_number(2, 3600),
        default="20",
        metavar="INTEGER",
    )
    kubernetes_url: str = setting(
        "Address of the Kubernetes API, which keeps the Lease.",
        read=str,
        default="https://kubernetes.default.svc",
        metavar="URL",
        secret=True,
    )
    service_account: Path = setting(
        "The mounted service account with token and ca.crt, which may get and update the Lease.",
        read=existing("directory", Path.is_dir),
        default="/var/run/secrets/kubernetes.io/serviceaccount",
        metavar="DIRECTORY",
    )

    def __post_init__(self) -> None:
        for option, url, example in (
            ("--upstream", self.upstream, "http://mlflow.mlflow-efs.svc:5000"),
            ("--domino-url", self.domino_url, "https://domino.example.com"),
            ("--kubernetes-url", self.kubernetes_url, "https://kubernetes.default.svc"),
        ):
            if url is not None and not _is_address(url):
                raise SettingError(option, None, f"it must be a URL, such as {example}")
        if self.people_header and not self.people_file:
            raise SettingError(
                "--people-header", self.people_header, "it needs --people-file, which lists the projects of each person"
            )
        if self.admins and not self.domino_url:
            raise SettingError(
                "--admin",
                self.admins[0],
                "it names a user of Domino and needs --domino-url; an admin in --people-file has admin: true there",
            )
        if self.lease and not (self.replica and self.replica_address):
            raise SettingError(
                "--lease", str(self.lease), "it needs --replica and --replica-address, which name this replica"
            )
        for proxy in self.proxies:
            try:
                ip_network(proxy, strict=False)
            except ValueError as error:
                raise SettingError("--proxy", None, "it must be an address or a network, such as 10.0.0.0/8") from error


SETTINGS: Final = settings_of(ServeSettings, prefix=PREFIX)
