"""Estimators that need no names: looking at those of a frame takes scikit-learn several times what a small prediction
does.

Where the names that an estimator was fitted with are the signature's, in its order, the plan has checked them already.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

NAMES: Final = "feature_names_in_"  # as scikit-learn's glossary has it: of what an estimator was fitted with
# They choose columns by their names, or hand the input to somebody's own code.
BY_NAME: Final = frozenset({"ColumnTransformer", "FunctionTransformer"})
DEEPEST: Final = 8  # estimators in each other


def forget_names(estimator: Any, names: Sequence[str]) -> bool:
    """True where the estimator takes an array from now on; else it is as it was.

    It must be scikit-learn's own throughout, and have looked at names at its entrance only.
    """
    entrance = _entrance(estimator)
    estimators = list(_estimators(estimator, DEEPEST))
    if not all(_is_known(found) for found in estimators) or [found for found in estimators if NAMES in vars(found)] != [
        entrance
    ]:
        return False
    if list(vars(entrance)[NAMES]) != list(names):
        return False
    delattr(entrance, NAMES)  # it would warn of each array
    return True


def _entrance(estimator: Any) -> Any:
    """Where the input arrives: a pipeline's first step."""
    while type(estimator).__name__ == "Pipeline" and estimator.steps:
        estimator = next((step for _, step in estimator.steps if hasattr(step, "fit")), None)
    return estimator


def _estimators(value: Any, depth: int) -> Iterator[Any]:
    """An estimator, and all that it holds."""
    match value:
        case list() | tuple() if depth:
            for item in value:
                yield from _estimators(item, depth - 1)
        case dict() if depth:
            yield from _estimators(list(value.values()), depth)
        case _ if hasattr(value, "fit") and hasattr(value, "__dict__"):
            yield value
            yield from _estimators(list(vars(value).values()), depth)


def _is_known(estimator: Any) -> bool:
    return type(estimator).__module__.partition(".")[0] == "sklearn" and type(estimator).__name__ not in BY_NAME
