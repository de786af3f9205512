"""The table of the server's protocols, in the order in which their routes are listed. A new protocol is an entry."""

from typing import Final

from serving_runtime.protocols.domino.protocol import DOMINO
from serving_runtime.protocols.interface import Protocol
from serving_runtime.protocols.kserve_v1 import KSERVE_V1
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS
from serving_runtime.protocols.open_inference.protocol import OPEN_INFERENCE

PROTOCOLS: Final[tuple[Protocol, ...]] = (INVOCATIONS, OPEN_INFERENCE, KSERVE_V1, DOMINO)
