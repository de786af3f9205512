"""Rules of tags: only the gate writes tags of ownership, and only a promote token writes tags of a promotion.

The tags with the digest, the list and the image of a version's files are written once.
"""

from typing import Final

from model_contract.names import (
    PROMOTION_TAG_PREFIX,
    TAG_DIGEST,
    TAG_IMAGE,
    TAG_LISTING,
    TAG_MODEL_ID,
    TAG_MODEL_VERSION_ID,
    TAG_PROJECT_ID,
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
from tracking_gate.policy.protected_names import ProtectedNames

OWNERSHIP_TAGS: Final = ProtectedNames(("mlflow.domino.*", "domino.project"))
PROJECT_TAG: Final = ProtectedNames((TAG_PROJECT_ID,))
DEPLOYMENT_TAGS: Final = frozenset({TAG_MODEL_ID, TAG_MODEL_VERSION_ID})
PROMOTION_TAGS: Final = ProtectedNames((f"{PROMOTION_TAG_PREFIX}*",))
# Tags that make MLflow treat a model or a version as another kind of object: searches leave out prompts.
RESERVED_TAGS: Final = ProtectedNames(("mlflow.prompt.*", "_mlflow_*", "mlflow.model.isExternal"))
# Tags of runs, traces and experiments by which MLflow's server finds files or runs jobs, or which only it may write. A
# schedule has the server send traces to a model of any provider, with any secret that it keeps (MLflow 3.18).
SERVER_TAGS: Final = ProtectedNames(
    (
        "mlflow.artifactLocation",
        "mlflow.trace.spansLocation",
        "mlflow.trace.archiveLocation",
        "mlflow.trace.archivalFailure",
        "mlflow.experiment.isGateway",
        "mlflow.latestOnlineScoring.*",
        "mlflow.issueDetection.schedule*",
        "mlflow.issueDetection.checkpoint",
    )
)
# For an admin too: changed files need a new version.
WRITTEN_ONCE: Final = ProtectedNames((TAG_DIGEST, TAG_IMAGE, TAG_LISTING))


async def set_version_tag(request: GuardedRequest) -> Approval:
    key, value = request.fields["key"], request.fields.get("value", "")
    if key not in WRITTEN_ONCE.names:
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
    if WRITTEN_ONCE.found(request.fields["key"]):
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


async def set_experiment_tag(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    await changeable_experiment(request)
    check_tag(request.actor, request.fields["key"])
    return Approval(body=request.fields, facts={"key": request.fields["key"]})


async def delete_experiment_tag(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    await changeable_experiment(request)
    check_deleted_tag(request.actor, request.fields["key"])
    return Approval(body=request.fields, facts={"key": request.fields["key"]})


def check_deleted_tag(actor: Actor, key: str) -> None:
    """Check a deletion: an admin may delete any tag, such as one that hides a model since before the gate."""
    if actor.kind is not ActorKind.ADMIN:
        check_tag(actor, key)


def check_tag(actor: Actor, key: str) -> None:
    """Check a tag in each spelling that some database takes for the same."""
    if SERVER_TAGS.found(key):
        raise Forbidden(f"the tag {key} is MLflow's own: its server finds files or runs jobs by it")
    if RESERVED_TAGS.found(key):
        raise Forbidden(f"the tag {key} is MLflow's own: with it MLflow would treat the object as one of another kind")
    if (meant := WRITTEN_ONCE.found(key)) and key != meant:
        raise Forbidden(f"write the tag {meant} as it is")
    if actor.kind is ActorKind.ADMIN:
        return
    if OWNERSHIP_TAGS.found(key):
        raise Forbidden(
            f"the tag {key} names the project that owns a model; the gate writes it when the model is created"
        )
    if actor.kind is ActorKind.PULL or PROMOTION_TAGS.found(key):
        check_may_promote(actor, f"the tag {key}")
    if (
        actor.kind is ActorKind.PROMOTE
        and key not in {*DEPLOYMENT_TAGS, *WRITTEN_ONCE.names}
        and not key.startswith(PROMOTION_TAG_PREFIX)
    ):
        raise Forbidden(f"only people of the project set the tag {key}")
