"""Lower bound of gRPC's times: two processes of grpcio's asyncio server that read a request and return nothing.

`python -m benchmarks.grpc_empty <port>`
"""

import asyncio
import gc
import os
import signal
import sys
from typing import Any, Final

import uvloop
from grpc import aio, method_handlers_generic_handler, unary_unary_rpc_method_handler

from serving_runtime.protocols.open_inference.messages import INFERENCE

WORKERS: Final = 2


Response: Final = INFERENCE.message("ModelInferResponse")


async def empty(_: Any, __: Any) -> Any:
    return Response()


async def serve(port: str) -> None:
    infer = INFERENCE.method("ModelInfer")
    handler = unary_unary_rpc_method_handler(
        empty, request_deserializer=infer.request.FromString, response_serializer=infer.response.SerializeToString
    )
    server = aio.server(options=[("grpc.so_reuseport", 1)])
    server.add_generic_rpc_handlers((method_handlers_generic_handler(INFERENCE.services[0], {"ModelInfer": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await server.stop(1)


def main() -> None:
    children = [pid for _ in range(WORKERS - 1) if (pid := os.fork())]
    gc.collect()
    gc.freeze()
    uvloop.run(serve(sys.argv[1]))
    for pid in children:
        os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main()
