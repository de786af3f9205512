"""The whole model API of a Domino project: the function `predict`, with the model that the pod's variables name."""

from serving_runtime import predict

__all__ = ["predict"]
