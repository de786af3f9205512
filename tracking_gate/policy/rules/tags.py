"""Rules of tags: only the gate writes tags of ownership, and only a promote token writes tags of a promotion.

The tags with the digest, the list and the image of a version's files are written once.
"""

import re
import unicodedata
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
# Tags of runs, traces and experiments by which MLflow's server finds files or runs jobs, or which only it may write. A
# schedule has the server send traces to a model of any provider, with any secret that it keeps (MLflow 3.18).
SERVER_TAGS: Final = re.compile(
    r"mlflow\.artifactLocation|mlflow\.trace\.(?:spansLocation|archiveLocation|archivalFailure)|mlflow\.experiment\.isGateway"
    r"|mlflow\.latestOnlineScoring\..*|mlflow\.issueDetection\.(?:schedule.*|checkpoint)",
    re.IGNORECASE,
)
# For an admin too: changed files need a new version.
WRITTEN_ONCE: Final = frozenset({TAG_DIGEST, TAG_IMAGE, TAG_LISTING})
LATIN_LETTER: Final = re.compile(r"LATIN SMALL (?:LETTER|LIGATURE) ([A-Z]{1,2})(?: WITH .*)?")
LONGEST_KEY: Final = 500  # characters that decide; each protected name is shorter


def folded(key: str) -> str:
    """Return the key of a tag without case, accents and spaces at its end.

    By default MySQL ignores case and accents, MariaDB and SQL Server ignore case and such spaces: there
    `Prömotion.id ` is the tag `promotion.id`.
    """
    plain = key.rstrip(" ")[:LONGEST_KEY]
    if plain.isascii():
        return plain.lower()
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", plain).casefold())
    return "".join(_base_letter(letter) for letter in letters if not unicodedata.combining(letter))


def _base_letter(letter: str) -> str:
    """Return the letter in `ø`, which Unicode does not take apart; any other character as it is."""
    found = None if letter.isascii() else LATIN_LETTER.fullmatch(unicodedata.name(letter, ""))
    return found[1].lower() if found else letter


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
    if folded(request.fields["key"]) in WRITTEN_ONCE:
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
    meant = folded(key)
    if SERVER_TAGS.fullmatch(meant):
        raise Forbidden(f"the tag {key} is MLflow's own: its server finds files or runs jobs by it")
    if RESERVED_TAGS.fullmatch(meant):
        raise Forbidden(f"the tag {key} is MLflow's own: with it MLflow would treat the object as one of another kind")
    if key not in WRITTEN_ONCE and meant in WRITTEN_ONCE:
        raise Forbidden(f"write the tag {meant} as it is")
    if actor.kind is ActorKind.ADMIN:
        return
    if OWNERSHIP_TAGS.fullmatch(meant):
        raise Forbidden(
            f"the tag {key} names the project that owns a model; the gate writes it when the model is created"
        )
    if actor.kind is ActorKind.PULL or meant.startswith(PROMOTION_TAG_PREFIX):
        check_may_promote(actor, f"the tag {key}")
    if (
        actor.kind is ActorKind.PROMOTE
        and key not in DEPLOYMENT_TAGS | WRITTEN_ONCE
        and not key.startswith(PROMOTION_TAG_PREFIX)
    ):
        raise Forbidden(f"only people of the project set the tag {key}")
