"""The attributes of the protocols that need numpy or pandas, imported when they are first read."""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from serving_runtime.codec.encode import encode as encode
    from serving_runtime.codec.media_type import expect_json as expect_json
    from serving_runtime.codec.strict_json import read_object as read_object
    from serving_runtime.input.request import Request as Request
    from serving_runtime.input.table import from_rows as from_rows
    from serving_runtime.input.table import from_small_tables as from_small_tables
    from serving_runtime.input.table import renamed as renamed
    from serving_runtime.protocols.domino.call import read_call as read_call
    from serving_runtime.protocols.mlflow.request import answers_in_arrow as answers_in_arrow
    from serving_runtime.protocols.mlflow.request import answers_in_pieces as answers_in_pieces
    from serving_runtime.protocols.mlflow.request import from_document as from_document
    from serving_runtime.protocols.mlflow.request import read_request as read_request
    from serving_runtime.protocols.mlflow.schemas import mlflow_schemas as mlflow_schemas
    from serving_runtime.protocols.open_inference.answer import read_requested_output as read_requested_output
    from serving_runtime.protocols.open_inference.answer import write_tensors as write_tensors
    from serving_runtime.protocols.open_inference.messages import read_infer as read_infer
    from serving_runtime.protocols.open_inference.metadata import metadata_of as metadata_of
    from serving_runtime.protocols.open_inference.raw import split_tensors as split_tensors
    from serving_runtime.protocols.open_inference.request import read_tensors as read_tensors
    from serving_runtime.signature import Scalar as Scalar
    from serving_runtime.signature_schemas import cells as cells
    from serving_runtime.signature_schemas import of_column as of_column
    from serving_runtime.signature_schemas import of_tensor as of_tensor
    from serving_runtime.signature_schemas import row as row
    from serving_runtime.tables.answers import arrow_answer as arrow_answer
    from serving_runtime.tables.bodies import arrow_frame as arrow_frame
    from serving_runtime.tables.bodies import arrow_table as arrow_table
    from serving_runtime.tables.bodies import csv_table as csv_table
    from serving_runtime.tables.bodies import parquet_table as parquet_table

__getattr__ = lazy_attributes(
    __name__,
    {
        "encode": "serving_runtime.codec.encode:encode",
        "expect_json": "serving_runtime.codec.media_type:expect_json",
        "read_object": "serving_runtime.codec.strict_json:read_object",
        "Request": "serving_runtime.input.request:Request",
        "from_rows": "serving_runtime.input.table:from_rows",
        "from_small_tables": "serving_runtime.input.table:from_small_tables",
        "renamed": "serving_runtime.input.table:renamed",
        "read_call": "serving_runtime.protocols.domino.call:read_call",
        "answers_in_arrow": "serving_runtime.protocols.mlflow.request:answers_in_arrow",
        "answers_in_pieces": "serving_runtime.protocols.mlflow.request:answers_in_pieces",
        "from_document": "serving_runtime.protocols.mlflow.request:from_document",
        "read_request": "serving_runtime.protocols.mlflow.request:read_request",
        "mlflow_schemas": "serving_runtime.protocols.mlflow.schemas:mlflow_schemas",
        "read_requested_output": "serving_runtime.protocols.open_inference.answer:read_requested_output",
        "write_tensors": "serving_runtime.protocols.open_inference.answer:write_tensors",
        "read_infer": "serving_runtime.protocols.open_inference.messages:read_infer",
        "metadata_of": "serving_runtime.protocols.open_inference.metadata:metadata_of",
        "split_tensors": "serving_runtime.protocols.open_inference.raw:split_tensors",
        "read_tensors": "serving_runtime.protocols.open_inference.request:read_tensors",
        "Scalar": "serving_runtime.signature:Scalar",
        "cells": "serving_runtime.signature_schemas:cells",
        "of_column": "serving_runtime.signature_schemas:of_column",
        "of_tensor": "serving_runtime.signature_schemas:of_tensor",
        "row": "serving_runtime.signature_schemas:row",
        "arrow_answer": "serving_runtime.tables.answers:arrow_answer",
        "arrow_frame": "serving_runtime.tables.bodies:arrow_frame",
        "arrow_table": "serving_runtime.tables.bodies:arrow_table",
        "csv_table": "serving_runtime.tables.bodies:csv_table",
        "parquet_table": "serving_runtime.tables.bodies:parquet_table",
    },
)
