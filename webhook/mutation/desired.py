"""Whether a part that is there is the part that is wanted.

Others add to what we added: the API server its defaults, a ServiceAccount's token, a mesh its variables. So a part is
the wanted one when everything that we set has our value.
"""

from collections.abc import Mapping
from typing import Any

from model_contract.quantity import Quantity, QuantityError

Json = Mapping[str, Any]


def covers(present: object, wanted: object) -> bool:
    """Whether `present` holds all of `wanted`; lists must agree item by item."""
    if isinstance(wanted, Mapping):
        return isinstance(present, Mapping) and all(
            key in present and covers(present[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(present, list) and len(present) == len(wanted) and all(map(covers, present, wanted))
    return (type(present) is type(wanted) and present == wanted) or same_quantity(present, wanted)


def first_difference(present: object, wanted: object, path: str = "") -> str:
    """The path of the first field of `wanted` that `present` does not hold; empty if it holds all."""
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
    """The API server writes quantities anew: 1024Mi comes back as 1Gi."""
    if not isinstance(one, str) or not isinstance(other, str):
        return False
    try:
        return Quantity.parse(one).amount == Quantity.parse(other).amount
    except QuantityError:
        return False
