"""The file of issuers: issuers whose tokens are accepted, the audience of each, and the rights of their callers.

It is JSON, read strictly, and read again when it changes; docs/reference/gate.md has its fields.
"""

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from model_contract.names import PROJECT_ID_FORM, PROJECT_ID_PATTERN
from tracking_gate.actors import ActorKind
from tracking_gate.authentication.strict_json import StrictObject, object_of
from tracking_gate.http.client_addresses import Network, parsed_networks

CHECK_SECONDS: Final = 1.0  # seconds between two looks at the file
API_KEYS: Final = "/openid/v1/jwks"  # of the Kubernetes API
SERVICE_ACCOUNT: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?")
# Issuers that sign tokens for everybody, with the claims that an entry must name: without them it would match any
# repository. A repository always keeps its id, while the name of a deleted repository can be taken by another owner.
PUBLIC_ISSUERS: Final = {
    "https://token.actions.githubusercontent.com": ("repository", "repository_id"),
    "https://gitlab.com": ("project_path", "project_id"),
}
# An entry that promotes must name one of these claims, or the branch of a pull request could promote.
BRANCH_CLAIMS: Final = ("ref", "environment")
# GitLab's `ref` is the bare name: of a branch, of a tag, or of the branch of a merge request, also one from a fork. An
# environment can be named by a job of any branch. Its project has these names.
GITLAB_PROJECT: Final = ("project_path", "project_id")
GITLAB_BRANCH: Final = {"ref_type": "branch", "ref_protected": "true"}

# Of oauth2-proxy itself, and of oauth2-proxy behind nginx's auth_request.
PROXY_HEADER_PREFIXES: Final = ("X-Forwarded", "X-Auth-Request")
PEOPLE: Final = (ActorKind.PERSON, ActorKind.ADMIN)

Claim = str | int | bool

_log = logging.getLogger(__name__)


class IssuersError(ValueError):
    """The file of issuers cannot be used; the message names the wrong entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The way to the servers of an issuer: the authorities that they are checked by, and the Kubernetes API at `api`.

    Only the API gets the token of `token_file`; another server, such as one that publishes the keys, could use it.
    """

    ca_file: Path | None = None
    token_file: Path | None = None
    api: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """The place of an issuer's keys: the address of a JWK Set, None for the one that the issuer's discovery names."""

    issuer: str
    keys: str | None = None
    access: Access = field(default_factory=Access)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Callers of an issuer: those of a ServiceAccount, written namespace/name, or those whose token has all `claims`.

    With `project_label` the project is the value of that label of the pod.
    """

    rights: ActorKind
    projects: frozenset[str] = frozenset()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    service_account: str | None = None
    project_label: str | None = None

    def of_project(self, label: object) -> "Caller":
        """Return these callers with the project that a pod's label names; with none if it is no id of a project."""
        is_id = isinstance(label, str) and re.fullmatch(PROJECT_ID_PATTERN, label)
        return replace(self, projects=frozenset({str(label)} if is_id else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An issuer, and its callers."""

    source: KeySource
    audience: str
    callers: tuple[Caller, ...]
    name_claim: str = "sub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy in front that names people: the beginning of its headers, and how its requests are known."""

    headers: str
    name_claim: str
    callers: tuple[Caller, ...]
    addresses: tuple[Network, ...] = ()
    secret_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """Content of the file: the issuers by their names, and the proxy."""

    issuers: Mapping[str, Issuer]
    proxy: Proxy | None = None


class IssuersFile:
    """The file as it is now. A changed file with a fault is logged, and the one before it stays."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises IssuersError, OSError."""
        self._path = path
        self._clock = clock
        self._state = _state_of(path)
        self._trusted = read_trusted(path)
        self._looked = clock()

    def issuers(self) -> Mapping[str, Issuer]:
        return self._now().issuers

    def proxy(self) -> Proxy | None:
        return self._now().proxy

    def _now(self) -> Trusted:
        if self._clock() - self._looked >= CHECK_SECONDS:
            self._looked = self._clock()
            try:
                if (state := _state_of(self._path)) != self._state:
                    self._state = state
                    self._trusted = read_trusted(self._path)
            except (OSError, IssuersError) as error:
                _log.error(
                    "the file of issuers cannot be used; the former one stays", extra={"fields": {"reason": str(error)}}
                )
        return self._trusted


def _state_of(path: Path) -> object:
    found = path.stat()
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def read_trusted(path: Path) -> Trusted:
    """Read the file. Raises IssuersError, OSError."""
    try:
        document = object_of(path.read_bytes())
        issuers = [_issuer(entry) for entry in document.objects("issuers")]
        proxy = _proxy(found) if (found := document.optional_object("proxy")) else None
        document.end()
        _check_different([issuer.source.issuer for issuer in issuers])
    except ValueError as error:
        raise IssuersError(f"{path}: {error}") from error
    return Trusted(issuers={issuer.source.issuer: issuer for issuer in issuers}, proxy=proxy)


def _check_different(names: Collection[str]) -> None:
    if len(set(names)) != len(names):
        raise ValueError("an issuer is named twice; give all of its callers in one entry")


def _issuer(entry: StrictObject) -> Issuer:
    name, api = entry.text("issuer"), _address(entry, "api")
    keys = _address(entry, "keys") or (f"{api}{API_KEYS}" if api else None)
    access = Access(ca_file=_path(entry, "ca_file"), token_file=_path(entry, "token_file"), api=api)
    if not keys and not name.startswith("https://"):
        raise entry.fault("issuer", "must begin with https://, or the entry needs keys or api")
    if access.token_file and not api:
        raise entry.fault("token_file", "is for an entry with api: it is sent to that address")
    issuer = Issuer(
        source=KeySource(issuer=name, keys=keys, access=access),
        audience=entry.text("audience"),
        name_claim=entry.optional_text("name_claim") or "sub",
        callers=tuple(_caller(one, name, api) for one in entry.objects("callers")),
    )
    entry.end()
    return issuer


def _proxy(entry: StrictObject) -> Proxy:
    proxy = Proxy(
        headers=entry.text("headers"),
        name_claim=entry.optional_text("name_claim") or "user",
        addresses=_networks(entry),
        secret_file=_path(entry, "secret_file"),
        callers=tuple(_caller(one, "", None) for one in entry.objects("callers")),
    )
    entry.end()
    if proxy.headers not in PROXY_HEADER_PREFIXES:
        raise entry.fault("headers", f"must be {' or '.join(PROXY_HEADER_PREFIXES)}")
    if not proxy.addresses and not proxy.secret_file:
        raise entry.fault("", "needs addresses or secret_file: otherwise every client could name a person")
    if any(caller.rights not in PEOPLE or caller.service_account for caller in proxy.callers):
        raise entry.fault("callers", "must be people: entries with claims and with the rights person or admin")
    return proxy


def _networks(entry: StrictObject) -> tuple[Network, ...]:
    try:
        return parsed_networks(entry.texts("addresses"))
    except ValueError:
        raise entry.fault("addresses", "must be addresses or networks, such as 10.0.0.0/8") from None


def _caller(entry: StrictObject, issuer: str, api: str | None) -> Caller:
    account, label = entry.optional_text("service_account"), entry.optional_text("project_label")
    caller = Caller(
        rights=_rights(entry, account),
        projects=frozenset(entry.texts("projects")),
        claims=entry.values("claims"),
        service_account=account,
        project_label=label,
    )
    entry.end()
    if account and not SERVICE_ACCOUNT.fullmatch(account):
        raise entry.fault("service_account", "must be <namespace>/<name>")
    if not account and not caller.claims:
        raise entry.fault("", "needs service_account or claims, which name its callers")
    for project in caller.projects:
        if not re.fullmatch(PROJECT_ID_PATTERN, project):
            raise entry.fault("projects", f"must be ids, each with {PROJECT_ID_FORM}")
    if label and not (account and api and caller.rights is ActorKind.PULL and not caller.projects):
        raise entry.fault("project_label", "needs service_account, an issuer with api, rights pull, and no projects")
    if not (caller.projects or label or caller.rights is ActorKind.ADMIN):
        raise entry.fault("projects", "is missing: the caller could do nothing")
    _check_public_issuer(entry, caller, issuer)
    return caller


def _check_public_issuer(entry: StrictObject, caller: Caller, issuer: str) -> None:
    """Raise ValueError if the issuer signs tokens for everybody, and the entry does not name the repository."""
    for claim in PUBLIC_ISSUERS.get(issuer, ()):
        if claim not in caller.claims:
            raise entry.fault("claims", f"must name {claim}: {issuer} signs tokens for everybody")
    if issuer in PUBLIC_ISSUERS and caller.rights is not ActorKind.PULL and not set(BRANCH_CLAIMS) & set(caller.claims):
        raise entry.fault("claims", f"must name {' or '.join(BRANCH_CLAIMS)}: otherwise every branch has these rights")
    if caller.rights is not ActorKind.PULL and set(GITLAB_PROJECT) & set(caller.claims):
        for claim, value in GITLAB_BRANCH.items():
            if caller.claims.get(claim) != value:
                raise entry.fault(
                    "claims", f'must have "{claim}": "{value}", as for GitLab, where a tag may have the branch\'s name'
                )


def _rights(entry: StrictObject, account: str | None) -> ActorKind:
    text = entry.optional_text("rights") or ("pull" if account else "")
    try:
        return ActorKind(text)
    except ValueError:
        raise entry.fault("rights", f"must be one of {', '.join(ActorKind)}") from None


def _address(entry: StrictObject, name: str) -> str | None:
    text = entry.optional_text(name)
    if text and not text.startswith("https://"):
        raise entry.fault(name, "must begin with https://")
    return text.rstrip("/") if text else None


def _path(entry: StrictObject, name: str) -> Path | None:
    text = entry.optional_text(name)
    if text and not Path(text).is_absolute():
        raise entry.fault(name, "must be a path that begins with /")
    return Path(text) if text else None
