"""The objects of an installation that several checks read."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from model_contract import names
from model_contract.settings import SettingError
from webhook.doctor.cluster_reader import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, REGISTRATIONS, ClusterReader
from webhook.settings import Settings

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Installation:
    """An installation of the webhook; each object is read once, when a check first needs it."""

    cluster: ClusterReader
    namespace: str

    @cached_property
    def registration(self) -> Json | None:
        return self.cluster.get(REGISTRATIONS, names.REGISTRATION)

    @cached_property
    def deployment(self) -> Json | None:
        return self.cluster.get(DEPLOYMENTS, names.WEBHOOK_IMAGE, self.namespace)

    @cached_property
    def variables(self) -> dict[str, str]:
        """The variables of the webhook's container, from its ConfigMap and its own entries."""
        return self._of_config_map | self._own_entries

    @property
    def overridden(self) -> list[str]:
        """The settings of the ConfigMap that an entry of the Deployment overrides."""
        return sorted(self._of_config_map.keys() & self._own_entries.keys())

    @cached_property
    def _of_config_map(self) -> dict[str, str]:
        values: dict[str, str] = {}
        for source in self._container.get("envFrom", []):
            name = source.get("configMapRef", {}).get("name")
            values |= (self.cluster.get(CONFIG_MAPS, name, self.namespace) or {}).get("data", {}) if name else {}
        return values

    @property
    def _own_entries(self) -> dict[str, str]:
        return {entry["name"]: entry.get("value", "") for entry in self._container.get("env", [])}

    @property
    def _container(self) -> Json:
        containers: list[Json] = (
            (self.deployment or {}).get("spec", {}).get("template", {}).get("spec", {}).get("containers", [{}])
        )
        return containers[0]

    @cached_property
    def settings(self) -> Settings | None:
        try:
            return Settings.from_mapping(self.variables)
        except SettingError:
            return None

    @cached_property
    def enabled(self) -> list[str]:
        """The namespaces that are enabled for model APIs."""
        return [
            found["metadata"]["name"]
            for found in self.cluster.list(NAMESPACES)
            if labels_of(found).get(names.ENABLED_LABEL) == "true"
        ]

    @cached_property
    def model_pods(self) -> list[Json]:
        return list(self.cluster.list(PODS, labels={names.WORKLOAD_TYPE_LABEL: names.MODEL_API_WORKLOAD}))


def labels_of(found: Json) -> Json:
    labels: Json = found["metadata"].get("labels", {})
    return labels
