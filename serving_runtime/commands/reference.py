"""The prediction of MLflow itself for the request that it stored with a model, by its own reading of it."""

import json
import warnings
from pathlib import Path
from typing import Any, Final

from serving_runtime.pyfunc import load_pyfunc

FRAMES: Final = {"dataframe_split": "split", "dataframe_records": "records"}
PARAMS: Final = "params"


def reference(directory: Path, serving_example: str) -> Any:
    """Raises what MLflow and the model raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's hints are for those who log models
        document = json.loads((directory / serving_example).read_text())
        model = load_pyfunc(directory)
        params = document.pop(PARAMS, None)
        return model.predict(_parsed(document, model), params=params)


def _parsed(document: Any, model: Any) -> Any:
    """The input as MLflow's scoring server gives it to the model."""
    from mlflow.pyfunc.utils.serving_data_parser import is_unified_llm_input  # noqa: PLC0415  loaded with the model
    from mlflow.utils import proto_json_utils as casts  # noqa: PLC0415  as above

    schema = model.metadata.get_input_schema()
    hinted = getattr(model.metadata.signature, "_is_signature_from_type_hint", False)
    for key, orient in FRAMES.items():
        if key in document:
            return casts.dataframe_from_parsed_json(document[key], orient, schema)  # type: ignore[no-untyped-call]  # MLflow's
    if hinted:
        return document["inputs"]
    if is_unified_llm_input(document):
        return document
    return casts.parse_tf_serving_input(document, schema)  # type: ignore[no-untyped-call]  # as above
