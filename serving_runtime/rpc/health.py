"""The standard health service, which probes of Kubernetes, proxies and clients ask."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from serving_runtime.codec.proto_file import ProtoFile
from serving_runtime.errors import UnknownModelError
from serving_runtime.protocols.interface import Status
from serving_runtime.protocols.open_inference.messages import INFERENCE
from serving_runtime.rpc.endpoints import RpcEndpoint

HEALTH: Final = ProtoFile(Path(__file__).with_name("health.proto"))
CHECK: Final = HEALTH.method("Check")
WATCH: Final = HEALTH.method("Watch")
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
NAMES: Final = frozenset({"", *INFERENCE.services})
INTERVAL: Final = 0.5  # seconds between two looks at the state


def _check(request: Any, status: Status) -> Any:
    """Raises UnknownModelError."""
    found = _status(request.service, status)
    if found == SERVICE_UNKNOWN:
        raise UnknownModelError("there is no service of this name")
    return CHECK.response(status=found)


async def watch(request: Any, status: Callable[[], Status], end: asyncio.Event) -> AsyncIterator[Any]:
    """Yield the state of a service, and again each time it changes, until the server ends."""
    last = None
    while not end.is_set():
        now = _status(request.service, status())
        if now != last:
            yield WATCH.response(status=now)
            last = now
        with suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), INTERVAL)


def _status(service: str, status: Status) -> int:
    if service not in NAMES:
        return SERVICE_UNKNOWN
    return SERVING if status.ready else NOT_SERVING


ENDPOINT: Final = RpcEndpoint(rpc=CHECK, answer=_check, is_open=True)
