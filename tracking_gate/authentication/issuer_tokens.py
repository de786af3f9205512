"""Callers with a token of an issuer: a pod by its ServiceAccount, a CI job, or a person of an OpenID provider.

A token is checked with the issuer's published keys. Before the check, only the name of its issuer is used.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

from tracking_gate.actors import Actor, ActorKind
from tracking_gate.authentication.caller_rights import Claims, has_claims, joined_rights
from tracking_gate.authentication.documents import Documents, parsed_json
from tracking_gate.authentication.issuer_keys import IssuerKeys, Key
from tracking_gate.authentication.issuers_file import Caller, Issuer, IssuersFile, KeySource
from tracking_gate.authentication.pods import PodLabels, PodReference
from tracking_gate.metrics import Metrics

LEEWAY: Final = 30  # seconds that the clocks of issuer and gate may differ
# The list is closed: a token cannot choose `none`, or HS256 with the public key as its secret.
ALGORITHMS: Final = jws.JWSRegistry(algorithms=["RS256", "ES256"], strict_check_header=False)
BEGINNING: Final = "eyJ"  # of every token: base64 of `{"`
POD: Final = "kubernetes.io"
# Claims that lead from an audit line to the run of CI or the person; none is a secret.
RECORDED: Final = (
    "repository",
    "run_id",
    "run_attempt",
    "actor",
    "project_path",
    "pipeline_id",
    "job_id",
    "user_login",
)
RECORDED_LENGTH: Final = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedToken:
    """A token that names a known issuer, before it is checked."""

    issuer: Issuer
    signature: jws.CompactSignature
    claims: Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod and its ServiceAccount, written namespace/name, as a checked token names them."""

    account: str
    reference: PodReference


class IssuerTokens:
    """Finds the caller of a token."""

    def __init__(
        self, file: IssuersFile, documents: Documents, metrics: Metrics, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` tells the seconds of the epoch."""
        self._file = file
        self._documents = documents
        self._metrics = metrics
        self._clock = clock
        self._keys: dict[KeySource, IssuerKeys] = {}
        self._labels = PodLabels(documents)

    def presented(self, text: str) -> PresentedToken | None:
        """Return the token if it names an issuer of the file, without a check; None for any other text."""
        if not text.startswith(BEGINNING):
            return None
        try:
            signature = jws.extract_compact(text.encode(), registry=ALGORITHMS)
            claims = parsed_json(signature.payload)
        except (JoseError, ValueError, RecursionError):
            return None
        if not isinstance(claims, dict) or not isinstance(name := claims.get("iss"), str):
            return None
        issuer = self._file.issuers().get(name)
        return PresentedToken(issuer=issuer, signature=signature, claims=claims) if issuer else None

    async def find(self, token: PresentedToken) -> Actor | None:
        """Return the caller, None if the token is not valid or its caller has no rights. Raises Unavailable."""
        header = token.signature.headers()
        if not isinstance(key_id := header.get("kid"), str) or "crit" in header:
            return None
        key = await self._keys_of(token.issuer.source).find(key_id)
        if key is None or not self._is_signed(token, key) or not self._is_for_gate(token):
            return None
        return await self._actor(token.issuer, with_verified_email(token.claims))

    def _keys_of(self, source: KeySource) -> IssuerKeys:
        if source not in self._keys:
            self._keys[source] = IssuerKeys(source, self._documents, self._metrics)
        return self._keys[source]

    def _is_signed(self, token: PresentedToken, key: Key) -> bool:
        try:
            return jws.validate_compact(token.signature, key, registry=ALGORITHMS)
        except (JoseError, ValueError):
            return False

    def _is_for_gate(self, token: PresentedToken) -> bool:
        """Return True if the token is the issuer's, for this audience, and valid now."""
        wanted = JWTClaimsRegistry(
            now=lambda: int(self._clock()),
            leeway=LEEWAY,
            iss={"essential": True, "value": token.issuer.source.issuer},
            aud={"essential": True, "value": token.issuer.audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            wanted.validate(dict(token.claims))
        except JoseError:
            return False
        return True

    async def _actor(self, issuer: Issuer, claims: Claims) -> Actor | None:
        pod = pod_of(claims)
        callers = [found for caller in issuer.callers if (found := await self._fitting(issuer, caller, claims, pod))]
        if not (rights := joined_rights(callers)) or not (name := name_of(rights[0], issuer, claims, pod)):
            return None
        details = {"issuer": issuer.source.issuer, **dict(recorded(claims))}
        return Actor(kind=rights[0], name=name, projects=rights[1], details=details)

    async def _fitting(self, issuer: Issuer, caller: Caller, claims: Claims, pod: Pod | None) -> Caller | None:
        """Return the entry if it is about this caller, with the project of the pod's label. Raises Unavailable."""
        if not has_claims(claims, caller.claims):
            return None
        if caller.service_account is None:
            return caller
        if pod is None or pod.account != caller.service_account:
            return None
        if caller.project_label is None:
            return caller
        labels = await self._labels.of(pod.reference, issuer.source.access)
        return caller.of_project(labels.get(caller.project_label))


def with_verified_email(claims: Claims) -> Claims:
    """Return the claims, without `email` if the issuer has not verified it: it may be another person's address."""
    if claims.get("email_verified", True) is True:
        return claims
    return {name: value for name, value in claims.items() if name != "email"}


def pod_of(claims: Claims) -> Pod | None:
    """Return the pod that a ServiceAccount's token is bound to, None for another token."""
    own = claims.get(POD)
    try:
        namespace, account, pod = own["namespace"], own["serviceaccount"]["name"], own["pod"]  # type: ignore[index]
        reference = PodReference(namespace=namespace, name=pod["name"], uid=pod["uid"])
    except (TypeError, KeyError):
        return None
    texts = (namespace, account, reference.name, reference.uid)
    if not all(isinstance(text, str) and text for text in texts):
        return None
    if claims["sub"] != f"system:serviceaccount:{namespace}:{account}":
        return None
    return Pod(account=f"{namespace}/{account}", reference=reference)


def name_of(kind: ActorKind, issuer: Issuer, claims: Claims, pod: Pod | None) -> str | None:
    """Return the caller's name for limits and the audit log: a person's claim, else the subject, and its pod."""
    if kind not in {ActorKind.PERSON, ActorKind.ADMIN}:
        return f"{claims['sub']}/{pod.reference.name}" if pod else str(claims["sub"])
    name = claims.get(issuer.name_claim)
    return name if isinstance(name, str) and name and name.isprintable() else None


def recorded(claims: Claims) -> Iterator[tuple[str, str]]:
    for name in RECORDED:
        if isinstance(value := claims.get(name), str | int):
            yield name, str(value)[:RECORDED_LENGTH]
