"""Comparison of a part that the pod has with the part that the webhook wants.

Other controllers add to a part: the API server its defaults, a mesh its variables. So a part is the wanted one if every
field that the webhook sets has the webhook's value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_contract.quantity import Quantity, QuantityError

Json = Mapping[str, Any]


def covers(present: object, wanted: object) -> bool:
    """Return True if `present` holds all of `wanted`; lists must agree item by item."""
    if isinstance(wanted, Mapping):
        return isinstance(present, Mapping) and all(
            key in present and covers(present[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(present, list) and len(present) == len(wanted) and all(map(covers, present, wanted))
    return (type(present) is type(wanted) and present == wanted) or same_quantity(present, wanted)


def first_difference(present: object, wanted: object, path: str = "") -> str:
    """Return the path of the first field of `wanted` that `present` does not hold; empty if it holds all."""
    if covers(present, wanted):
        return ""
    if not isinstance(wanted, Mapping) or not isinstance(present, Mapping):
        return path
    return next(
        found
        for key in wanted
        if (found := first_difference(present.get(key), wanted[key], f"{path}.{key}".lstrip(".")))
    )


def same_quantity(one: object, other: object) -> bool:
    """Return True for two quantities of one amount: the API server rewrites 1024Mi as 1Gi."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    try:
        return Quantity.parse(one).amount == Quantity.parse(other).amount
    except QuantityError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image reference: the last part of its repository, its tag and its digest, each empty if it has none."""

    name: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, reference: str) -> "Image":
        rest, _, digest = reference.partition("@")
        name, _, tag = rest.rpartition("/")[2].partition(":")
        return cls(name=name, tag=tag, digest=digest)


def same_image(present: object, wanted: str) -> bool:
    """Return True if `present` is the image `wanted`, perhaps under the registry and path of a mirror.

    Equal digests are equal images. Without a digest the names are compared: a mirror may put its path before the name,
    add something to the tag, and write the digest that the tag stands for.
    """
    if not isinstance(present, str) or present == wanted:
        return present == wanted
    there, asked = Image.parse(present), Image.parse(wanted)
    if asked.digest:
        return there.digest == asked.digest
    same_name = there.name == asked.name or there.name.endswith((f"-{asked.name}", f"_{asked.name}"))
    tag = asked.tag or "latest"
    same_tag = (
        there.tag == tag
        or there.tag.startswith(f"{tag}-")
        or (not there.tag and (bool(there.digest) or tag == "latest"))
    )
    return same_name and same_tag
