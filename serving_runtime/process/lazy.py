"""The attributes of a worker that need grpcio, imported when they are first read: after the fork, and if gRPC is on."""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from serving_runtime.rpc.server import RpcServer as RpcServer

__getattr__ = lazy_attributes(__name__, {"RpcServer": "serving_runtime.rpc.server:RpcServer"})
