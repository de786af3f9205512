"""The content of the Secret of all projects' tokens after a command, as a merge patch: keys of others stay unchanged.

`<project id>.meta` describes each token by its fingerprint: `{"name": ..., "owner": ..., "tokens": {"<fingerprint>":
{"purpose": "pull", "created": "<time>", "expires": "<time>"}}}`. The gate ends a token at `expires`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from model_contract.token_keys import TokenKey, meta_key, parse_key
from model_contract.tokens import Purpose, Token, TokenError, fingerprint, new_token, parse_token
from model_lifecycle.errors import PreconditionError

Data = Mapping[str, bytes]
Patch = Mapping[str, bytes | None]  # None is a key to be removed
ENDLESS: Final = timedelta.max  # the lifetime of `--ttl never`


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """Tokens to make, their lifetime, and the project's name and owner for the list.

    Without a `ttl` a new token lives as long as the one that it replaces; a token that replaces none has no end.
    """

    project_id: str
    purposes: tuple[Purpose, ...]
    ttl: timedelta | None = None
    name: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTokens:
    """New tokens to deliver, and the patch of the Secret."""

    tokens: tuple[Token, ...]
    patch: Patch = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEntry:
    """A token of the Secret, without its value."""

    key: TokenKey
    fingerprint: str
    legacy: bool
    name: str | None
    owner: str | None
    created: str | None
    expires: str | None


def create(data: Data, request: TokenRequest, now: datetime) -> NewTokens:
    """Make tokens. Raises PreconditionError if the project has one, TokenError for an invalid id."""
    for purpose in request.purposes:
        if str(key := TokenKey(project_id=request.project_id, purpose=purpose)) in data:
            raise PreconditionError(f"{key} is there already; `model-api token rotate` replaces it")
    return _made(data, request, now)


def rotate(data: Data, request: TokenRequest, now: datetime, grace: timedelta) -> NewTokens:
    """Replace tokens; a former one stays valid for `grace`.

    Raises PreconditionError if there is none, or if its lifetime is not known.
    """
    for purpose in request.purposes:
        if str(key := TokenKey(project_id=request.project_id, purpose=purpose)) not in data:
            raise PreconditionError(f"there is no {key}; `model-api token create` makes it")
    made = _made(data, request, now)
    meta = _meta(made.patch, request.project_id)
    patch = dict(made.patch)
    for purpose in request.purposes:
        key = TokenKey(project_id=request.project_id, purpose=purpose)
        former = data[str(key)]
        entry = meta["tokens"].setdefault(fingerprint(_text(former)), {"purpose": purpose.value})
        until = now + grace
        entry["expires"] = min(until, end_of(entry.get("expires")) or until).isoformat()
        patch[str(TokenKey(project_id=request.project_id, purpose=purpose, previous=True))] = former
    return NewTokens(tokens=made.tokens, patch=patch | {meta_key(request.project_id): _written(meta)})


def revoke(data: Data, project_id: str, purposes: Sequence[Purpose]) -> Patch:
    """Remove tokens, the former ones too. Raises PreconditionError if there are none."""
    keys = [
        TokenKey(project_id=project_id, purpose=purpose, previous=previous)
        for purpose in purposes
        for previous in (False, True)
    ]
    gone = [str(key) for key in keys if str(key) in data]
    if not gone:
        raise PreconditionError(f"there is no token of project {project_id} to revoke")
    left = [name for name in data if (key := parse_key(name)) and key.project_id == project_id and name not in gone]
    meta = _meta(data, project_id)
    kept = {fingerprint(_text(data[name])) for name in left}
    meta["tokens"] = {print_: entry for print_, entry in meta["tokens"].items() if print_ in kept}
    return dict.fromkeys(gone) | {meta_key(project_id): _written(meta) if left else None}


def listed(data: Data) -> list[TokenEntry]:
    """Return each token, by project."""
    found = []
    for name in sorted(data):
        if key := parse_key(name):
            value = _text(data[name])
            meta = _meta(data, key.project_id)
            entry = meta["tokens"].get(fingerprint(value), {})
            found.append(
                TokenEntry(
                    key=key,
                    fingerprint=fingerprint(value),
                    legacy=not _is_ours(value),
                    name=meta.get("name"),
                    owner=meta.get("owner"),
                    created=entry.get("created"),
                    expires=entry.get("expires"),
                )
            )
    return found


def pull_tokens(data: Data) -> dict[str, str]:
    """Return the pull token of each project, for its pods."""
    keys = {name: key for name in data if (key := parse_key(name))}
    return {
        key.project_id: _text(data[name])
        for name, key in keys.items()
        if key.purpose is Purpose.PULL and not key.previous
    }


def key_of(token: Token) -> TokenKey:
    return TokenKey(project_id=token.project_id, purpose=token.purpose)


def find(data: Data, value: str) -> TokenEntry | None:
    """Return the entry of the token with that value."""
    return next((one for one in listed(data) if one.fingerprint == fingerprint(value)), None)


def end_of(expires: str | None) -> datetime | None:
    """Return the end of a token as the gate reads it: in UTC without a zone, and long ago if it is no time."""
    if expires is None:
        return None
    try:
        moment = datetime.fromisoformat(expires)
    except (TypeError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _made(data: Data, request: TokenRequest, now: datetime) -> NewTokens:
    tokens = tuple(new_token(request.project_id, purpose) for purpose in request.purposes)
    meta = _meta(data, request.project_id)
    meta |= {key: value for key, value in (("name", request.name), ("owner", request.owner)) if value is not None}
    for token in tokens:
        entry = {"purpose": token.purpose.value, "created": now.isoformat()}
        ttl = request.ttl or _former_lifetime(data, meta, key_of(token))
        meta["tokens"][token.fingerprint] = entry | ({} if ttl == ENDLESS else {"expires": (now + ttl).isoformat()})
    values = {str(key_of(token)): token.value.reveal().encode() for token in tokens}
    return NewTokens(tokens=tokens, patch=values | {meta_key(request.project_id): _written(meta)})


def _former_lifetime(data: Data, meta: Mapping[str, Any], key: TokenKey) -> timedelta:
    """Return the lifetime of the present token, which a new one without `ttl` gets."""
    if (former := data.get(str(key))) is None:
        return ENDLESS
    entry = meta["tokens"].get(fingerprint(_text(former)), {})
    try:
        created, expires = _time(entry.get("created")), _time(entry.get("expires"))
        lifetime = expires - created if created and expires else ENDLESS
    except (TypeError, ValueError):
        created = lifetime = None
    if created is None or lifetime is None or lifetime <= timedelta(0):
        raise PreconditionError(
            f"the Secret does not say how long {key} was made for: name it, such as --ttl 90d, or --ttl never"
        )
    return lifetime


def _meta(data: Patch, project_id: str) -> dict[str, Any]:
    try:
        meta = json.loads(data.get(meta_key(project_id)) or b"{}")
    except ValueError as error:
        raise PreconditionError(
            f"{meta_key(project_id)} is not JSON; correct it, or remove it to start anew"
        ) from error
    tokens = meta.get("tokens", {}) if isinstance(meta, dict) else None
    if not isinstance(tokens, dict) or not all(isinstance(entry, dict) for entry in tokens.values()):
        raise PreconditionError(f'{meta_key(project_id)} must be an object with "tokens", an object of objects')
    return {**meta, "tokens": {print_: dict(entry) for print_, entry in tokens.items()}}


def _written(meta: Mapping[str, Any]) -> bytes:
    return json.dumps(meta, ensure_ascii=False, sort_keys=True).encode()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(value: bytes) -> str:
    """Return a value of the Secret as text: an admin may have put anything there."""
    return value.decode("utf-8", "replace").strip()


def _is_ours(value: str) -> bool:
    try:
        parse_token(value)
    except TokenError:
        return False
    return True
