"""The envelope of a Domino model API: `{"data": {...}}` or `{"parameters": [...]}`, as Domino passes them to the
function of a model.

The server then answers where Domino's own harness would. Of its answers only the good ones are known
(docs.dominodatalab.com), so errors have the shape of MLflow's.
"""

import secrets
import string
from importlib.metadata import version
from typing import Any, Final

from serving_runtime.errors import MalformedRequestError
from serving_runtime.protocols.interface import Answer, Inputs, Message, Prediction, Protocol, ServedModel
from serving_runtime.protocols.mlflow.protocol import refuse

PREDICTIONS: Final = ("/model", "/models/{id}/latest/model", "/models/{id}/labels/prod/model")
DATA, PARAMETERS = "data", "parameters"
ID_LENGTH: Final = 16
ID_LETTERS: Final = string.ascii_uppercase + string.digits


def read(message: Message, served: ServedModel) -> Inputs:
    """Raises ServingError."""
    from serving_runtime.codec.encode import encode  # noqa: PLC0415  pandas is loaded with the model, not before it
    from serving_runtime.codec.media_type import expect_json  # noqa: PLC0415  as above
    from serving_runtime.codec.strict_json import read_object  # noqa: PLC0415  as above
    from serving_runtime.function import read_call  # noqa: PLC0415  as above

    expect_json(message.header(b"content-type"))
    args, kwargs = _call(read_object(message.body))
    conformed = served.conform(read_call(args, kwargs, served.metadata.signature))

    def write(prediction: Prediction) -> Answer:
        milliseconds = prediction.seconds * 1000
        envelope = {
            "model_time_in_ms": int(milliseconds),
            "release": _release(served),
            "request_id": "".join(secrets.choice(ID_LETTERS) for _ in range(ID_LENGTH)),
            "result": prediction.value,
            "timing": milliseconds,
        }
        return Answer(body=encode(envelope, wrapped=False, nan=served.nan, coerce=served.coerce))

    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write)


def _call(document: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The positions and the keywords of the call that Domino would make."""
    if (DATA in document) == (PARAMETERS in document):
        raise MalformedRequestError('the body must have one of the keys "data", an object, and "parameters", an array')
    if DATA in document:
        if not isinstance(document[DATA], dict):
            raise MalformedRequestError("data must be an object")
        return [], document[DATA]
    if not isinstance(document[PARAMETERS], list):
        raise MalformedRequestError("parameters must be an array")
    return document[PARAMETERS], {}


HARNESS: Final = version("mlflow-model-api")


def _release(served: ServedModel) -> dict[str, str]:
    known = {"registered_model_name": served.name, "registered_model_version": served.version}
    return {"harness_version": HARNESS, **{key: value for key, value in known.items() if value}}


DOMINO: Final = Protocol(name="domino", read=read, refuse=refuse)
