"""The whole installation, for the length of a `with` block."""

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.domino import older_api, public_api
from testbed.domino.faults import Fault, Faults
from testbed.domino.platform import Platform, Project
from testbed.domino.pods import PodDependencies, Pods, RunningPod
from testbed.domino.records import ModelApi, Records
from testbed.domino.server import CALL_ROUTES, Seen, Server, Service
from testbed.gate import OTHER, PROJECT, Gate
from testbed.webhook_server import WebhookServer

FILES: Final = Path(__file__).parents[2] / "examples" / "domino-project"
ENVIRONMENT: Final = "62b2c3d4e5f6a70123456789"
PROJECTS: Final = {
    PROJECT: Project(id=PROJECT, name="wine", owner="jane"),
    OTHER: Project(id=OTHER, name="cheese", owner="olga"),
}
APIS: Final = {"public": public_api.ROUTES, "older": older_api.ROUTES}


@dataclass(slots=True, kw_only=True)
class Domino:
    """A running installation: see the package's docstring."""

    api_key: str
    project: Project
    environment_id: str
    sidecar_uri: str
    _platform: Platform
    _faults: Faults
    _service: Service
    _server: Server

    @property
    def uri(self) -> str:
        return self._server.uri

    def environ(self) -> dict[str, str]:
        """Return the variables that Domino sets in a workspace."""
        return {
            "DOMINO_API_HOST": self.uri,
            "DOMINO_USER_API_KEY": self.api_key,
            "DOMINO_PROJECT_ID": self.project.id,
            "DOMINO_PROJECT_NAME": self.project.name,
            "DOMINO_PROJECT_OWNER": self.project.owner,
            "DOMINO_STARTING_USERNAME": self.project.owner,
            "DOMINO_ENVIRONMENT_ID": self.environment_id,
        }

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in order."""
        return self._service.seen

    def asked(self, method: str, path: str) -> list[Seen]:
        """Return the requests of a method whose path has a part."""
        return [one for one in self.requests if one.method == method and path in one.path]

    def model_apis(self) -> list[ModelApi]:
        """Return the model APIs that are not archived."""
        return [model for model in self._platform.records.all() if not model.archived]

    def model_api(self, model_id: str) -> ModelApi:
        return self._platform.records.get(model_id)

    def pods(self) -> dict[str, RunningPod]:
        """Return the running pods by the id of their version."""
        return self._platform.pods.running()

    def restrict(self, model_id: str) -> str:
        """Restrict a model API, and return the access token that its callers need from now on."""
        token = secrets.token_urlsafe(24)
        self._platform.records.change(model_id, access_token=token)
        return token

    def slow(self, seconds: float) -> None:
        """Make builds take so long."""
        self._faults.build_seconds = seconds

    def hold(self) -> None:
        """Keep builds from ending until `release`."""
        self._faults.released.clear()

    def release(self) -> None:
        self._faults.released.set()

    def fail_next_build(self, reason: str = "Build failed: could not install the requirements") -> None:
        self._faults.failing.append(reason)

    def break_off_next(self, method: str, path: str) -> None:
        """Do the next request whose path matches, without an answer."""
        self._faults.pending.append(Fault(method=method, path=re.compile(path)))

    def answer_next(self, method: str, path: str, status: int, body: str = "") -> None:
        """Give the next request whose path matches this answer, without doing it."""
        self._faults.pending.append(Fault(method=method, path=re.compile(path), status=status, body=body))

    @contextmanager
    def down(self) -> Iterator[None]:
        """Stop the servers for the length of a `with` block. Pods go on; the records are read again afterwards."""
        port = self._server.server_port
        self._server.end()
        try:
            yield
        finally:
            self._platform.records.read_again()
            self._server = Server(self._service, port=port)

    def end(self) -> None:
        self._server.end()

    def restart(self) -> None:
        with self.down():
            pass


@contextmanager
def domino(  # noqa: PLR0913  a stand-in with everything that it needs
    directory: Path,
    *,
    gate: Gate,
    webhook: WebhookServer,
    project: str = PROJECT,
    apis: Sequence[str] = tuple(APIS),
    files: Path = FILES,
    variable_key: str = "name",
) -> Iterator[Domino]:
    """Run an installation whose pods fetch through `gate` and are admitted by `webhook`.

    `files` is the folder of the project's files. Domino's examples of its public API call the name of a variable `name`
    or `key`: `variable_key` is the one that this installation takes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    faults, records = Faults(), Records(directory / "records.json")
    pods = Pods(directory / "versions", records, faults, PodDependencies(gate=gate, webhook=webhook, files=files))
    environments = frozenset({ENVIRONMENT})
    platform = Platform(
        records=records, pods=pods, projects=PROJECTS, environments=environments, variable_key=variable_key
    )
    routes = [route for api in apis for route in APIS[api]]
    key = secrets.token_hex(32)
    service = Service(platform=platform, routes=routes, open_routes=CALL_ROUTES, api_key=key, faults=faults, seen=[])
    with ExitStack() as ending:
        ending.callback(pods.close)
        sidecar = Server(service, trusted=True)
        ending.callback(sidecar.end)
        made = Domino(
            api_key=key,
            project=PROJECTS[project],
            environment_id=ENVIRONMENT,
            sidecar_uri=sidecar.uri,
            _platform=platform,
            _faults=faults,
            _service=service,
            _server=Server(service),
        )
        ending.callback(made.end)
        yield made
