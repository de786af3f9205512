"""Save models that keep what they see and write into it, by full MLflow: `python save_seen_models.py <directory>`."""

import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")
from mlflow.models import ModelSignature  # noqa: E402  after the filter, which its import needs
from mlflow.pyfunc import PythonModel, save_model  # noqa: E402  as above
from mlflow.types.schema import (  # noqa: E402  as above
    Array,
    ColSpec,
    DataType,
    Map,
    Object,
    ParamSchema,
    ParamSpec,
    Property,
    Schema,
)

KINDS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")


class Seen(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        self.seen = model_input.copy()
        self.params = params
        model_input["more"] = 1
        model_input.iloc[:, 0] = model_input.iloc[::-1, 0].to_numpy()
        return list(range(len(model_input)))


def save(name: str, columns: list[ColSpec], params: ParamSchema | None = None) -> None:
    signature = ModelSignature(Schema(columns), params=params)
    save_model(Path(sys.argv[1]) / name, python_model=Seen(), signature=signature, pip_requirements=[])


of_all = [ColSpec(kind, f"{kind} {place}", required=place < 2) for place in range(3) for kind in KINDS]
save("all", of_all, ParamSchema([ParamSpec("scale", "double", 1.5)]))
save("doubles", [ColSpec("double", "a"), ColSpec("double", "b")])
save("mixed", [ColSpec("double", "a"), ColSpec("string", "b")])
NESTED = [DataType[kind] for kind in KINDS if kind not in {"binary", "datetime"}]
OBJECT = Object([Property(kind.name, kind, required=kind.name != "long") for kind in NESTED])
nested = [
    *(Array(kind) for kind in NESTED),
    *(Map(kind) for kind in NESTED),
    Array(Array(DataType.integer)),
    OBJECT,
    Array(OBJECT),
    Map(Array(DataType.float)),
    DataType.double,
]
save("nested", [ColSpec(kind, f"c{place}", required=place % 3 > 0) for place, kind in enumerate(nested)])
