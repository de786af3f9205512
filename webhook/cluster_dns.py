"""A warning for a pod that cannot resolve the name of a Service that the fetch needs.

A pod on the host's network, and one with `dnsPolicy: Default`, asks the node's name servers, which do not know
Services. With `dnsPolicy: None` the pod names its own: they are taken to know Services if the search list says so.
"""

import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from webhook.decision import warning
from webhook.pod import MalformedPodError, Pod, mapping, objects, text
from webhook.reasons import Reason
from webhook.settings import Settings

CLUSTER_FIRST: Final = "ClusterFirst"
SERVICE_LABELS: Final = 3  # <service>.<namespace>.svc, and behind it the cluster's domain


def dns_warnings(pod: Pod, settings: Settings) -> tuple[str, ...]:
    """Return the warning, if there is one. Raises MalformedPodError if a DNS field of the pod has the wrong type."""
    if settings.delivery != "fetch" or not (cause := _without_cluster_dns(pod)):
        return ()
    known = {name for alias in objects(pod.spec, "hostAliases") for name in _texts(alias.get("hostnames"))}
    unknown = [host for host in _hosts(settings) if _is_service(host) and host not in known]
    return tuple(warning(Reason.NO_CLUSTER_DNS, f"{cause}: {host} will not be found") for host in unknown[:1])


def _without_cluster_dns(pod: Pod) -> str | None:
    """Return the reason why the pod does not use the cluster's DNS; None if it does."""
    policy = text(pod.spec, "dnsPolicy") or CLUSTER_FIRST
    if policy == CLUSTER_FIRST:
        return "hostNetwork without ClusterFirstWithHostNet" if pod.spec.get("hostNetwork") is True else None
    if policy == "None":
        searches = _texts(mapping(pod.spec, "dnsConfig").get("searches"))
        return (
            None
            if any("svc" in search.split(".") for search in searches)
            else "dnsPolicy None without the cluster's searches"
        )
    return "dnsPolicy Default" if policy == "Default" else None


def _hosts(settings: Settings) -> Iterator[str]:
    """Yield the host names that the init container resolves: the proxy's, or MLflow's if there is no proxy."""
    address = urlsplit(settings.tracking_uri)
    proxy = settings.https_proxy if address.scheme == "https" else settings.http_proxy
    host = address.hostname or ""
    direct = not proxy or _without_proxy(host, settings.no_proxy or "")
    for found in (host if direct else "", (not direct and urlsplit(proxy or "").hostname) or ""):
        if found:
            yield found.rstrip(".").lower()


def _without_proxy(host: str, no_proxy: str) -> bool:
    suffixes = [entry.strip().lstrip(".").lower() for entry in no_proxy.split(",")]
    return any(suffix and (suffix in {"*", host} or host.endswith(f".{suffix}")) for suffix in suffixes)


def _is_service(host: str) -> bool:
    """Return True if only the cluster's DNS knows the name: a Service's, or one without a dot."""
    labels = host.split(".")
    if labels == ["localhost"]:
        return False
    return _is_name(host) and (
        len(labels) == 1 or (len(labels) >= SERVICE_LABELS and "svc" in labels[SERVICE_LABELS - 1 :])
    )


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedPodError("a list of names is not a list of strings")
    return value
