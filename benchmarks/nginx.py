"""nginx as a plain proxy, to compare the gate's cost with that of any proxy in front of MLflow."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from testbed.processes import free_port, running

# One worker, as the gate is one process; nothing is buffered, as the gate buffers nothing; connections to MLflow are
# kept.
CONFIGURATION: Final = """
daemon off;
pid {folder}/pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream mlflow {{ server {upstream}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mlflow;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host {upstream};
      proxy_buffering off;
      proxy_request_buffering off;
    }}
  }}
}}
"""


class NginxError(RuntimeError):
    """nginx is not installed."""


@contextmanager
def nginx(uri: str, folder: Path) -> Iterator[str]:
    """Yield the address of an nginx in front of `uri`, for the length of a `with` block. Raises NginxError."""
    if not (program := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")):
        raise NginxError("nginx is not installed; it is the package nginx-light of Debian")
    folder.mkdir()
    port, file = free_port(), folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, upstream=urlsplit(uri).netloc))
    command: list[str | Path] = [program, "-e", "stderr", "-p", folder, "-c", file]
    with running(command, log=folder / "log", env=os.environ) as process:
        process.wait_for_http(f"http://127.0.0.1:{port}/health", seconds=20)
        yield f"http://127.0.0.1:{port}"
