"""The attributes of the tables that need pyarrow of the extra `tables`, imported when they are first read."""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from pyarrow import parquet as parquet

    from serving_runtime.tables.object_store import ObjectPath as ObjectPath

__getattr__ = lazy_attributes(
    __name__, {"ObjectPath": "serving_runtime.tables.object_store:ObjectPath", "parquet": "pyarrow.parquet"}
)
