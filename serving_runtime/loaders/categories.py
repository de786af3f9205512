"""Categories of the columns of a model that was trained on pandas' categories, read from the model's file.

A request has texts and numbers. LightGBM and XGBoost read codes of categories. Only the model's file has the meaning of
a code.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError
from serving_runtime.input.nested import member

XGBOOST_TYPE = "c"  # of a column of categories
LIGHTGBM_PARAMETER = "[categorical_feature:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """Categories by the position of their column; None if the file does not hold them, for the reason `missing`.

    Another value than a category is refused if they are `closed`, as by XGBoost, and else missing, as in LightGBM.
    """

    by_position: Mapping[int, Sequence[Any]] | None
    missing: str = ""
    closed: bool = False

    def cast(self, frame: Any) -> Any:
        """Return the frame with its columns as categories. Raises InvalidInputError.

        A frame is refused if the categories are not known, or if they are closed and a value is none of them.
        """
        if self.by_position is None:
            raise InvalidInputError([Fault(path="input", problem=self.missing)])
        if not isinstance(frame, pd.DataFrame):
            return frame
        cast = frame.copy(deep=False)
        for position, categories in self.by_position.items():
            if position < frame.shape[1]:
                column = frame.columns[position]
                known = frame[column].isin(list(categories))
                if self.closed:
                    _refuse_unknown(frame[column], known)
                cast[column] = pd.Categorical(frame[column].where(known), categories=list(categories))
        return cast

    def wrapped(self, predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda data: predict(self.cast(data))


def _refuse_unknown(values: "pd.Series[Any]", known: "pd.Series[bool]") -> None:
    rows = np.flatnonzero(~known.to_numpy() & values.notna().to_numpy())[:MOST_FAULTS]
    if len(rows):
        problem = "a category that the model was not trained on"
        raise InvalidInputError(
            [Fault(path=f"{member('input', values.name)}[{row}]", problem=problem) for row in rows.tolist()]
        )


def of_lightgbm(booster: Any) -> Categories | None:
    """Return the categories of a LightGBM booster; None if it was not trained on pandas' categories."""
    known = getattr(booster, "pandas_categorical", None)
    if not known:
        return None
    lines = booster.model_to_string(num_iteration=1).splitlines()
    line = next((line for line in lines if line.startswith(LIGHTGBM_PARAMETER)), "")
    positions = [
        int(text) for text in line.removeprefix(LIGHTGBM_PARAMETER).rstrip("]").split(",") if text.strip().isdecimal()
    ]
    if len(positions) != len(known):
        return Categories(
            by_position=None, missing="the model was trained on categories, and its file does not say of which columns"
        )
    return Categories(by_position=dict(zip(positions, known, strict=True)))


def of_xgboost(booster: Any) -> Categories | None:
    """Return the categories of an XGBoost booster; None if it was not trained on categories."""
    positions = [index for index, kind in enumerate(booster.feature_types or ()) if kind == XGBOOST_TYPE]
    if not positions:
        return None
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    model = learner.get("model") or learner.get("gbtree", {}).get("model", {})
    encodings = (model.get("cats") or {}).get("enc") or []
    if len(encodings) <= max(positions):
        problem = (
            "the model was trained on categories by an XGBoost that does not write them into its file; save it by"
            " XGBoost 3.1 or later"
        )
        return Categories(by_position=None, missing=problem)
    decoded = {position: _decoded(encodings[position]) for position in positions}
    if any(categories is None for categories in decoded.values()):
        problem = (
            "XGBoost cuts categories with letters beyond ASCII when it writes them into the model's file; name them in"
            " ASCII"
        )
        return Categories(by_position=None, missing=problem)
    return Categories(by_position={position: categories or [] for position, categories in decoded.items()}, closed=True)


def _decoded(encoding: Mapping[str, Any]) -> list[Any] | None:
    """Return the categories of a column; None for texts that are not ASCII.

    XGBoost 3.2 counts letters instead of bytes: of `["été", "a"]` it writes the bytes `c3 a9 74 c3` and the
    offsets 0, 3, 4.
    """
    values = encoding["values"]
    offsets = encoding.get("offsets")
    if offsets is None:
        return list(values)
    text = np.array(values, dtype=np.int16).astype(np.uint8).tobytes()
    return [text[start:end].decode() for start, end in pairwise(offsets)] if text.isascii() else None
