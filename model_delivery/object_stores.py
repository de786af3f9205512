"""Object stores that hold a version's files: allowed addresses are read by obstore, which only one image has."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib import import_module
from typing import Final, Protocol, cast

from model_contract.names import DELIVERY_IMAGE
from model_contract.store_addresses import StoreAddress
from model_delivery.answer import FileAnswer
from model_delivery.deadline import Deadline
from model_delivery.errors import InvalidInputError
from model_delivery.listed_model import ListedFile
from model_delivery.object_store_settings import ObjectStoreSettings

# Loaded by its name, so that everything else needs the standard library only.
CLIENT: Final = "model_delivery.object_store_client"


class Bucket(Protocol):
    """A bucket, or a container of Azure, as `object_store_client` reads it; threads share it."""

    def files(self, path: str) -> tuple[ListedFile, ...]: ...
    def open(self, path: str, file: ListedFile, headers: Mapping[str, str]) -> AbstractContextManager[FileAnswer]: ...


class ObjectStores:
    """Reads files at allowed addresses. Methods raise DeliveryError."""

    def __init__(self, settings: ObjectStoreSettings, deadline: Deadline) -> None:
        self._settings = settings
        self._deadline = deadline
        self._buckets: dict[str, Bucket] = {}

    def checked(self, uri: str) -> str:
        """Return the address in its one form. Raises InvalidInputError if it may not be read."""
        return str(self._settings.checked(uri))

    def files(self, address: str) -> tuple[ListedFile, ...]:
        """Return every file below the address, with its tag."""
        place = self._settings.checked(address)
        return self._bucket(place).files(place.path)

    def open(self, address: str, file: ListedFile, headers: Mapping[str, str]) -> AbstractContextManager[FileAnswer]:
        """Request one listed file, or a range of it, once. Its name may hold what an address cannot."""
        root = next(root for root in self._buckets if address.startswith(f"{root}/"))
        return self._buckets[root].open(address[len(root) + 1 :], file, headers)

    def _bucket(self, place: StoreAddress) -> Bucket:
        root = str(replace(place, path=""))
        if root not in self._buckets:
            self._buckets[root] = _connected(place, self._settings, self._deadline)
        return self._buckets[root]


def _connected(place: StoreAddress, settings: ObjectStoreSettings, deadline: Deadline) -> Bucket:
    try:
        module = import_module(CLIENT)
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise InvalidInputError(
            f"the artifacts lie at an address of {place.scheme}, which this image cannot read: use the image"
            f" {DELIVERY_IMAGE}:<version>-full, or install the extra stores"
        ) from error
    return cast("Bucket", module.connected(place, settings, deadline))
