"""Memory of a fetch of many files."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from testbed.delivery import Delivery
from testbed.http_server import in_thread
from tests.model_delivery.test_hostile_server import peak_memory

FILES = ["MLmodel", *(f"part-of-the-model-{number:06}.bin" for number in range(10_000))]
REF = ModelRef(name="wine", version="1", owner="jane.doe", run_id="5f0c")
MIB = 1 << 20


class ManyFiles(BaseHTTPRequestHandler):
    """An MLflow with one model of many files of one byte; a real one would need a minute for them."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        body = b"x" if "/artifacts/1" in self.path else json.dumps(self.document()).encode()
        self.wfile.write(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: %d\r\n\r\n' % len(body) + body)

    def document(self) -> dict[str, Any]:
        if "get-download-uri" in self.path:
            return {"artifact_uri": "mlflow-artifacts:/1/r/artifacts/model"}
        if "model-versions" in self.path:
            return {"model_version": {"status": "READY", "run_id": REF.run_id}}
        return {"files": [{"path": path, "is_dir": False, "file_size": 1} for path in FILES]}


def test_ten_thousand_files_take_less_than_forty_mebibytes(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), ManyFiles)
    with in_thread(server):
        delivery = Delivery(directory=tmp_path, uri=f"http://127.0.0.1:{server.server_port}")
        with delivery.start(REF) as process:
            peak = peak_memory(process)

    assert process.returncode == ExitCode.DONE
    assert 0 < peak < 40 * MIB
    assert delivery.verify(REF).code == ExitCode.DONE
