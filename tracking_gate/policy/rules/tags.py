"""Rules of tags: those of ownership are the gate's, those of a promotion are the promote token's.

What says which files a version has is written once.
"""

import re
from typing import Final

from model_contract.names import PROMOTION_TAG_PREFIX, TAG_DIGEST, TAG_LISTING, TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.errors import Conflict, Forbidden
from tracking_gate.policy.guarded_request import (
    Approval,
    GuardedRequest,
    changeable_experiment,
    check_owns_version,
    own_model,
    own_version,
)
from tracking_gate.rights import check_is_person, check_may_promote

OWNERSHIP_TAGS: Final = re.compile(r"mlflow\.domino\..*|domino\.project", re.IGNORECASE)
DEPLOYMENT_TAGS: Final = frozenset({TAG_MODEL_ID, TAG_MODEL_VERSION_ID})
# Tags with which MLflow takes a model or a version for something else: a prompt is left out of searches, and clients do
# not find it.
RESERVED_TAGS: Final = re.compile(r"mlflow\.prompt\..*|_mlflow_.*|mlflow\.model\.isExternal", re.IGNORECASE)
# Tags of runs, traces and experiments that say where MLflow's server reads files, or what only it may write.
SERVER_TAGS: Final = re.compile(
    r"mlflow\.artifactLocation|mlflow\.trace\.(?:spansLocation|archiveLocation|archivalFailure)|mlflow\.experiment\.isGateway"
    r"|mlflow\.latestOnlineScoring\..*|mlflow\.issueDetection\.(?:scheduleState|checkpoint)",
    re.IGNORECASE,
)
ONCE: Final = frozenset({TAG_DIGEST, TAG_LISTING})  # also for an admin: files that changed are another version's


async def set_version_tag(ask: GuardedRequest) -> Approval:
    key, value = ask.fields["key"], ask.fields.get("value", "")
    if key not in ONCE:
        await check_owns_version(ask)
        check_tag(ask.actor, key)
        return Approval(body=ask.fields, facts={"key": key})
    version = await own_version(ask)
    check_tag(ask.actor, key)
    if version.tags.get(key, value) != value:
        raise Conflict(f"{key} is written once, and is another one")
    return Approval(body=ask.fields, noop=version.tags.get(key) == value, facts={"key": key})


async def delete_version_tag(ask: GuardedRequest) -> Approval:
    await own_version(ask)
    if ask.fields["key"] in ONCE:
        raise Forbidden(f"{ask.fields['key']} stays")
    check_deleted_tag(ask.actor, ask.fields["key"])
    return Approval(body=ask.fields, facts={"key": ask.fields["key"]})


async def delete_model_tag(ask: GuardedRequest) -> Approval:
    await own_model(ask)
    check_deleted_tag(ask.actor, ask.fields["key"])
    return Approval(body=ask.fields, facts={"key": ask.fields["key"]})


async def change_model_tag(ask: GuardedRequest) -> Approval:
    await own_model(ask)
    check_tag(ask.actor, ask.fields["key"])
    return Approval(body=ask.fields, facts={"key": ask.fields["key"]})


async def change_experiment_tag(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    await changeable_experiment(ask)
    check_tag(ask.actor, ask.fields["key"])
    return Approval(body=ask.fields, facts={"key": ask.fields["key"]})


def check_deleted_tag(actor: Actor, key: str) -> None:
    """An admin takes away what was set before the gate and hides a model."""
    if actor.kind is not ActorKind.ADMIN:
        check_tag(actor, key)


def check_tag(actor: Actor, key: str) -> None:
    if RESERVED_TAGS.fullmatch(key) or SERVER_TAGS.fullmatch(key):
        raise Forbidden(
            f"the tag {key} is MLflow's own: with it MLflow would take the object for another kind of thing"
        )
    if actor.kind is ActorKind.ADMIN:
        return
    if OWNERSHIP_TAGS.fullmatch(key):
        raise Forbidden(f"{key} says whose a model is; the gate writes it when the model is created")
    if actor.kind is ActorKind.PULL or key.startswith(PROMOTION_TAG_PREFIX):
        check_may_promote(actor, f"the tag {key}")
    if (
        actor.kind is ActorKind.PROMOTE
        and key not in DEPLOYMENT_TAGS | ONCE
        and not key.startswith(PROMOTION_TAG_PREFIX)
    ):
        raise Forbidden(f"the tag {key} is for people of the project to set")
