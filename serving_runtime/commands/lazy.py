"""The attributes of the commands that need numpy, pandas, gunicorn or rich, imported when they are first read.

`--help`, and the refusal of a wrong option or a missing file, need none of them.
"""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from rich import console as console
    from rich import progress as progress
    from rich import table as table
    from rich import text as text

    from serving_runtime.codec.encode import encode as encode
    from serving_runtime.commands import on_ray as on_ray
    from serving_runtime.commands import on_spark as on_spark
    from serving_runtime.commands import parts as parts
    from serving_runtime.commands import score_file as score_file
    from serving_runtime.commands.recorded_table import read_table as read_table
    from serving_runtime.commands.recorded_table import table_files as table_files
    from serving_runtime.commands.rows import chunks as chunks
    from serving_runtime.info import describe as describe
    from serving_runtime.mlmodel import identity as identity
    from serving_runtime.mlmodel import read_metadata as read_metadata
    from serving_runtime.model import load as load
    from serving_runtime.openapi.document import openapi as openapi
    from serving_runtime.prediction.comparison import predict_same as predict_same
    from serving_runtime.prediction.warm_up import predict_example as predict_example
    from serving_runtime.prediction.warm_up import warm_up_for_merging as warm_up_for_merging
    from serving_runtime.process.serve import serve as serve
    from serving_runtime.protocols.mlflow.request import read_request as read_request
    from serving_runtime.pyfunc import load_pyfunc as load_pyfunc
    from serving_runtime.requirements import differences as differences
    from serving_runtime.requirements import pip_line as pip_line
    from serving_runtime.requirements import python_difference as python_difference
    from serving_runtime.tables.read_ahead import ReadAhead as ReadAhead

__getattr__ = lazy_attributes(
    __name__,
    {
        "console": "rich.console",
        "progress": "rich.progress",
        "table": "rich.table",
        "text": "rich.text",
        "urllib_error": "urllib.error",
        "urllib_request": "urllib.request",
        "encode": "serving_runtime.codec.encode:encode",
        "on_ray": "serving_runtime.commands.on_ray",
        "on_spark": "serving_runtime.commands.on_spark",
        "parts": "serving_runtime.commands.parts",
        "score_file": "serving_runtime.commands.score_file",
        "read_table": "serving_runtime.commands.recorded_table:read_table",
        "table_files": "serving_runtime.commands.recorded_table:table_files",
        "chunks": "serving_runtime.commands.rows:chunks",
        "describe": "serving_runtime.info:describe",
        "identity": "serving_runtime.mlmodel:identity",
        "read_metadata": "serving_runtime.mlmodel:read_metadata",
        "load": "serving_runtime.model:load",
        "openapi": "serving_runtime.openapi.document:openapi",
        "predict_same": "serving_runtime.prediction.comparison:predict_same",
        "predict_example": "serving_runtime.prediction.warm_up:predict_example",
        "warm_up_for_merging": "serving_runtime.prediction.warm_up:warm_up_for_merging",
        "serve": "serving_runtime.process.serve:serve",
        "read_request": "serving_runtime.protocols.mlflow.request:read_request",
        "load_pyfunc": "serving_runtime.pyfunc:load_pyfunc",
        "differences": "serving_runtime.requirements:differences",
        "pip_line": "serving_runtime.requirements:pip_line",
        "python_difference": "serving_runtime.requirements:python_difference",
        "ReadAhead": "serving_runtime.tables.read_ahead:ReadAhead",
    },
)
