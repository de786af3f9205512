"""Tries connections, all at once, and prints which were made; runs in a pod.

    python -c "$(cat try_connections.py)" '[["10.244.0.7", 5000, "TCP"], ["10.90.0.2", 53, "UDP"]]'

It needs the standard library only. By UDP a question for a name of the cluster is sent, and any answer counts.
"""

import json
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

SECONDS = 3.0
NAME = b"".join(struct.pack("B", len(part)) + part for part in b"kubernetes.default.svc.cluster.local".split(b"."))
QUESTION = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + NAME + b"\0" + struct.pack("!2H", 1, 1)


def connects(host: str, port: int, protocol: str) -> bool:
    kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect((host, port))
            if protocol == "UDP":
                connection.send(QUESTION)
                connection.recv(512)
        except OSError:
            return False
    return True


def main(text: str) -> None:
    wanted = json.loads(text)
    with ThreadPoolExecutor(len(wanted)) as pool:
        sys.stdout.write(json.dumps(list(pool.map(lambda target: connects(*target), wanted))))


if __name__ == "__main__":
    main(sys.argv[1])
