"""Rules of tags: only the gate writes tags of ownership, and only a promote token writes tags of a promotion.

The tags with the digest, the list and the image of a version's files are written once.
"""

import re
from typing import Final

from model_contract.names import (
    PROMOTION_TAG_PREFIX,
    TAG_DIGEST,
    TAG_IMAGE,
    TAG_LISTING,
    TAG_MODEL_ID,
    TAG_MODEL_VERSION_ID,
)
from tracking_gate.actors import Actor, ActorKind, check_is_person, check_may_promote
from tracking_gate.errors import Conflict, Forbidden
from tracking_gate.policy.guarded_request import (
    Approval,
    GuardedRequest,
    changeable_experiment,
    check_owns_version,
    own_model,
    own_version,
)

OWNERSHIP_TAGS: Final = re.compile(r"mlflow\.domino\..*|domino\.project", re.IGNORECASE)
DEPLOYMENT_TAGS: Final = frozenset({TAG_MODEL_ID, TAG_MODEL_VERSION_ID})
# Tags that make MLflow treat a model or a version as another kind of object: searches leave out prompts.
RESERVED_TAGS: Final = re.compile(r"mlflow\.prompt\..*|_mlflow_.*|mlflow\.model\.isExternal", re.IGNORECASE)
# Tags of runs, traces and experiments by which MLflow's server finds files, or which only the server may write.
SERVER_TAGS: Final = re.compile(
    r"mlflow\.artifactLocation|mlflow\.trace\.(?:spansLocation|archiveLocation|archivalFailure)|mlflow\.experiment\.isGateway"
    r"|mlflow\.latestOnlineScoring\..*|mlflow\.issueDetection\.(?:scheduleState|checkpoint)",
    re.IGNORECASE,
)
# For an admin too: changed files need a new version.
WRITTEN_ONCE: Final = frozenset({TAG_DIGEST, TAG_IMAGE, TAG_LISTING})


async def set_version_tag(request: GuardedRequest) -> Approval:
    key, value = request.fields["key"], request.fields.get("value", "")
    if key not in WRITTEN_ONCE:
        await check_owns_version(request)
        check_tag(request.actor, key)
        return Approval(body=request.fields, facts={"key": key})
    version = await own_version(request)
    check_tag(request.actor, key)
    if version.tags.get(key, value) != value:
        raise Conflict(f"the tag {key} has another value, and is written once: register changed files as a new version")
    return Approval(body=request.fields, noop=version.tags.get(key) == value, facts={"key": key})


async def delete_version_tag(request: GuardedRequest) -> Approval:
    await own_version(request)
    if request.fields["key"] in WRITTEN_ONCE:
        raise Forbidden(f"the tag {request.fields['key']} records the version's files, and cannot be deleted")
    check_deleted_tag(request.actor, request.fields["key"])
    return Approval(body=request.fields, facts={"key": request.fields["key"]})


async def delete_model_tag(request: GuardedRequest) -> Approval:
    await own_model(request)
    check_deleted_tag(request.actor, request.fields["key"])
    return Approval(body=request.fields, facts={"key": request.fields["key"]})


async def set_model_tag(request: GuardedRequest) -> Approval:
    await own_model(request)
    check_tag(request.actor, request.fields["key"])
    return Approval(body=request.fields, facts={"key": request.fields["key"]})


async def change_experiment_tag(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    await changeable_experiment(request)
    check_tag(request.actor, request.fields["key"])
    return Approval(body=request.fields, facts={"key": request.fields["key"]})


def check_deleted_tag(actor: Actor, key: str) -> None:
    """Check a deletion: an admin may delete any tag, such as one that hides a model since before the gate."""
    if actor.kind is not ActorKind.ADMIN:
        check_tag(actor, key)


def check_tag(actor: Actor, key: str) -> None:
    """Check a tag in any case of its letters: a database that ignores the case takes two spellings for one tag."""
    if RESERVED_TAGS.fullmatch(key) or SERVER_TAGS.fullmatch(key):
        raise Forbidden(f"the tag {key} is MLflow's own: with it MLflow would treat the object as one of another kind")
    if key not in WRITTEN_ONCE and key.casefold() in WRITTEN_ONCE:
        raise Forbidden(f"write the tag {key.casefold()} as it is")
    if actor.kind is ActorKind.ADMIN:
        return
    if OWNERSHIP_TAGS.fullmatch(key):
        raise Forbidden(
            f"the tag {key} names the project that owns a model; the gate writes it when the model is created"
        )
    if actor.kind is ActorKind.PULL or key.casefold().startswith(PROMOTION_TAG_PREFIX):
        check_may_promote(actor, f"the tag {key}")
    if (
        actor.kind is ActorKind.PROMOTE
        and key not in DEPLOYMENT_TAGS | WRITTEN_ONCE
        and not key.startswith(PROMOTION_TAG_PREFIX)
    ):
        raise Forbidden(f"only people of the project set the tag {key}")
