"""The name and the version by which a path asks for a model: there is one, and it has one version at most."""

from collections.abc import Mapping

from serving_runtime.errors import UnknownModelError
from serving_runtime.protocols.interface import ServedModel, Status


def expect(served: ServedModel, path: Mapping[str, str], *, listed: str) -> None:
    """Raises UnknownModelError, which says where the model's name is `listed`."""
    if path.get("model") != served.name:
        raise UnknownModelError(f"there is no model of this name; GET {listed} has the name of the one that is served")
    if "version" in path and path["version"] != served.version:
        has = f"the version {served.version}" if served.version else "no version"
        raise UnknownModelError(f"the model has no such version; it has {has}")


def asked(status: Status, path: Mapping[str, str], *, listed: str) -> bool:
    """Whether the model that a page is asked about is ready; while it loads, every name may be its name. Raises
    UnknownModelError.
    """
    if status.served is not None:
        expect(status.served, path, listed=listed)
    return status.ready
