"""The attributes of the endpoints that need numpy or pandas, imported when they are first read."""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from serving_runtime.info import describe as describe
    from serving_runtime.mlmodel import read_metadata as read_metadata
    from serving_runtime.openapi.document import openapi as openapi
    from serving_runtime.openapi.document import with_token as with_token

__getattr__ = lazy_attributes(
    __name__,
    {
        "describe": "serving_runtime.info:describe",
        "read_metadata": "serving_runtime.mlmodel:read_metadata",
        "openapi": "serving_runtime.openapi.document:openapi",
        "with_token": "serving_runtime.openapi.document:with_token",
    },
)
