"""The faults of an input that MLflow's own checks and wrappers refuse, found again from the exception.

Their messages hold the input, so they are not passed on.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final, Union, get_args, get_origin

from serving_runtime.errors import MOST_FAULTS, Fault
from serving_runtime.input.cells import json_type_name
from serving_runtime.input.nested import member

HINT_CHECK: Final = "_validate_data_against_type_hint"
WRAPPERS: Final = "mlflow.pyfunc.loaders."  # of the models that chat
LIBRARIES: Final = ("mlflow.", "pydantic", "dataclasses")
OF_AUTHORS: Final = frozenset({"value_error", "assertion_error"})
ANSWER_CHECK: Final = "_response_to_dict"
PARAMS_CHECK: Final = "_enforce_params_schema"


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """Return the frames of the traceback, from the outermost to the one that raised."""
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def is_of_libraries(error: BaseException) -> bool:
    """Return True if the code of the model's author was not called before the exception."""
    names = [str(frame.f_globals.get("__name__", "")) for frame in frames_of(error)]
    return all(name.startswith(LIBRARIES) for name in names[1:])  # the first is the caller


def is_of_params(error: BaseException) -> bool:
    """Return True for an exception of MLflow's check of parameters: numpy's own for lists of unequal lengths."""
    frames = list(frames_of(error))
    checks = [at for at, frame in enumerate(frames) if frame.f_code.co_name == PARAMS_CHECK]
    return bool(checks) and all(
        str(frame.f_globals.get("__name__", "")).startswith(LIBRARIES) for frame in frames[1 : checks[0] + 1]
    )


def hint_faults(error: BaseException) -> list[Fault]:
    """Return the faults of an input that does not fit the type hint of the model's code, as far as they are found."""
    for frame in frames_of(error):
        if frame.f_code.co_name == HINT_CHECK:
            faults: list[Fault] = []
            _check(
                frame.f_locals.get("data"),
                frame.f_locals.get("type_hint"),
                "inputs",
                faults,
                frame.f_globals[HINT_CHECK],
            )
            return faults[:MOST_FAULTS]
    return []


def wrapper_faults(error: BaseException) -> list[Fault]:
    """Return the faults of an input that a wrapper of MLflow refuses before it calls the code of the model's author.

    They are none for any other exception.
    """
    frames = list(frames_of(error))
    names = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    start = next((at for at, name in enumerate(names) if name.startswith(WRAPPERS)), None)
    if start is None or not all(name.startswith(LIBRARIES) for name in names[start:]):
        return []
    if any(frame.f_code.co_name == ANSWER_CHECK for frame in frames[start:]):  # the author's answer is at fault
        return []
    if (faults := _pydantic_faults(error, "")) is not None:
        return faults[:MOST_FAULTS]
    reason = (
        f": {str(error).partition('() ')[2]}" if isinstance(error, TypeError) and "() " in str(error) else ""
    )  # names of arguments
    return [
        Fault(
            path="input", problem=f"it is not what a model of this kind takes{reason or f' ({type(error).__name__})'}"
        )
    ]


def _check(data: Any, hint: Any, path: str, faults: list[Fault], check: Any) -> None:
    """Add the faults of `data`: go down lists, dicts and optional values to the one that `check` refuses."""
    if len(faults) >= MOST_FAULTS:
        return
    origin, args = get_origin(hint), get_args(hint)
    if origin is list and isinstance(data, list):
        for index, item in enumerate(data):
            _check(item, args[0], f"{path}[{index}]", faults, check)
    elif origin is dict and isinstance(data, dict):
        for key, item in data.items():
            _check(item, args[1], member(path, key), faults, check)
    elif (inner := _optional(origin, args)) is not None and data is not None:
        _check(data, inner, path, faults, check)
    else:
        try:
            check(data=data, type_hint=hint)
        except Exception as error:  # noqa: BLE001  of a validator that the model's author wrote
            found = _pydantic_faults(error.__cause__, path)
            faults += [_mismatch(path, data, hint)] if found is None else found


def _mismatch(path: str, data: Any, hint: Any) -> Fault:
    """Return the fault of a value that its hint refuses. MLflow takes 1 for no float, and 1.0 for no whole number."""
    if hint is float and type(data) is int:
        return Fault.mismatch(path, got="a number without a fraction", expected="a number with one, such as 1.0")
    if hint is int and type(data) is float:
        return Fault.mismatch(path, got="a number with a fraction", expected="a whole number, such as 1")
    return Fault.mismatch(path, got=json_type_name(data), expected=_name(hint))


def _optional(origin: Any, args: Sequence[Any]) -> Any:
    others = [arg for arg in args if arg is not type(None)]
    is_union = origin is Union or getattr(origin, "__name__", "") == "UnionType"
    return others[0] if is_union and len(others) == 1 and len(args) > 1 else None


def _pydantic_faults(error: BaseException | None, path: str) -> list[Fault] | None:
    """Return the faults of a ValidationError; None if it is not pydantic's."""
    kind = getattr(sys.modules.get("pydantic"), "ValidationError", None)
    if kind is None or not isinstance(error, kind):
        return None
    return [_fault(found, path) for found in error.errors(include_url=False)]


def _fault(found: Mapping[str, Any], path: str) -> Fault:
    place = path
    for step in found["loc"]:
        if isinstance(step, str) and "[" in step:  # which validator it was, and no member
            continue
        place = f"{place}[{step}]" if isinstance(step, int) else member(place, step) if place else str(step)
    place = place or "input"
    if found["type"] == "missing":
        return Fault(path=place, problem="missing, and the model requires it")
    own_errors = get_args(sys.modules["pydantic_core.core_schema"].ErrorType)  # pydantic has imported it
    if found["type"] in OF_AUTHORS or found["type"] not in own_errors:  # the author's text may hold the value
        return Fault(path=place, problem="the model's own check refuses it", got=json_type_name(found["input"]))
    return Fault.mismatch(place, got=json_type_name(found["input"]), expected=_expected(found))


def _expected(found: Mapping[str, Any]) -> str:
    """Return what pydantic expects. After the comma of other messages, and within that of a tag, is the value."""
    context = found.get("ctx", {})
    match found["type"]:
        case "literal_error" | "enum":
            return str(context["expected"])
        case "union_tag_invalid":
            return f"an object whose {context['discriminator']} is one of {context['expected_tags']}"
        case "string_pattern_mismatch":
            return f"a string of the pattern {context['pattern']}"
        case _:
            return str(found["msg"]).partition(",")[0].removeprefix("Input should be ")


def _name(hint: Any) -> str:
    origin = get_origin(hint)
    return str(
        {
            list: "an array",
            dict: "an object",
            str: "a string",
            bool: "true or false",
            int: "a whole number",
            float: "a number",
        }.get(origin or hint, getattr(hint, "__name__", str(hint)))
    )
