"""Libraries that only some models need, imported when they are first used."""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    import cloudpickle as cloudpickle
    import lightgbm as lightgbm
    import xgboost as xgboost

__getattr__ = lazy_attributes(
    __name__,
    {"cloudpickle": "cloudpickle", "lightgbm": "lightgbm", "skops_io": "skops.io", "xgboost": "xgboost"},
)
