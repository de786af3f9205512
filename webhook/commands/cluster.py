"""The cluster that a command talks to: a client of the kubeconfig, and the object that `explain` is to explain."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx2
import yaml
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_namespaced_resource

from model_contract.kubeconfig import KubeconfigError, proxy_of, read_kubeconfig
from model_contract.model_ref import printable
from model_contract.names import PLATFORM_NAMESPACE
from model_contract.proxy_settings import PROXY_ADVICE, ProxySettingError, check_proxies
from model_contract.tls import TlsSettingError, check_authorities
from webhook.certificates.cluster import MissingError
from webhook.cli_errors import InvalidInputError, NotAuthorisedError, NotFoundError, UnavailableError
from webhook.doctor.cluster_reader import DEPLOYMENTS, NAMESPACES, PODS, ClusterReader
from webhook.doctor.installation import Installation
from webhook.settings import Settings

REMEDY: Final = "set KUBECONFIG to the file of your cluster"
# Made once: lightkube 1.0 refuses a second class of the core group.
WORKLOADS: Final = {
    "pod": PODS,
    "replicationcontroller": create_namespaced_resource("", "v1", "ReplicationController", "replicationcontrollers"),
    "deployment": DEPLOYMENTS,
    "replicaset": create_namespaced_resource("apps", "v1", "ReplicaSet", "replicasets"),
    "statefulset": create_namespaced_resource("apps", "v1", "StatefulSet", "statefulsets"),
    "daemonset": create_namespaced_resource("apps", "v1", "DaemonSet", "daemonsets"),
    "job": create_namespaced_resource("batch", "v1", "Job", "jobs"),
    "cronjob": create_namespaced_resource("batch", "v1", "CronJob", "cronjobs"),
}


@contextmanager
def cluster_client(context: str | None) -> Iterator[Client]:
    """Yield a client with the rights of the kubeconfig or of the pod's ServiceAccount.

    A fault of the cluster in the block ends the command with one sentence and an exit code.
    """
    proxy = None
    try:
        configuration, proxy = _configuration(context)
        with _client(configuration, proxy) as client:
            yield client
    except (ConfigError, KubeconfigError) as error:
        raise InvalidInputError(f"no cluster: {printable(str(error))}; {REMEDY}") from error
    except MissingError as error:
        raise NotFoundError(str(error)) from error
    except httpx2.HTTPStatusError as error:
        raise NotAuthorisedError(str(error)) from error
    except httpx2.TransportError as error:
        way = " through the proxy-url of the kubeconfig" if proxy else ""
        raise UnavailableError(f"the cluster does not answer{way}: {error}") from error


def _configuration(context: str | None) -> tuple[Any, str | None]:
    """Return the context of the kubeconfig, and the proxy that it names; in a pod without one, its ServiceAccount.

    Raises ConfigError and others.

    lightkube's own search takes the ServiceAccount first: in a job of CI it would be another cluster than KUBECONFIG's.
    """
    found = read_kubeconfig(
        os.environ,
        context,
        parse=yaml.safe_load,
        build=lambda one: (KubeConfig.from_dict(one).get(), proxy_of(one)),
    )
    if found:
        return found
    try:
        return KubeConfig.from_service_account().get(context), None
    except ConfigError as error:
        raise ConfigError("there is no ~/.kube/config, and this is not a pod") from error


def _client(configuration: Any, proxy: str | None) -> Client:
    """Return a client. Raises InvalidInputError for a proxy, an authority or a certificate that cannot be used."""
    try:
        check_authorities(os.environ)
        check_proxies()
        return Client(configuration, proxy=proxy)
    except (TlsSettingError, ProxySettingError) as error:
        raise InvalidInputError(str(error)) from error
    except ssl.SSLError as error:
        raise InvalidInputError(
            f"a certificate or key of the kubeconfig cannot be used: {error.reason or 'it is not PEM'}"
        ) from error
    except (ValueError, TypeError, ImportError, httpx2.InvalidURL) as error:
        raise InvalidInputError(
            f"no client of the cluster can be made ({type(error).__name__}): {PROXY_ADVICE}"
        ) from error


def read_workload(title: str, namespace: str, context: str | None) -> tuple[list[dict[str, Any]], Settings]:
    """Return the namespace and the object that `title` names, such as "pod/x", and the settings of the webhook there.

    Raises NotFoundError, SettingError.
    """
    with cluster_client(context) as client:
        return find_workload(ClusterReader(client), title, namespace)


def find_workload(cluster: ClusterReader, title: str, namespace: str) -> tuple[list[dict[str, Any]], Settings]:
    """Do as `read_workload` does. Raises ApiError as well."""
    word, _, name = title.partition("/")
    resource = WORKLOADS.get(word.lower().removesuffix("s"))
    if not resource or not name:
        raise NotFoundError(f"{title} is not one of {', '.join(f'{known}/NAME' for known in WORKLOADS)}")
    found, found_namespace = cluster.get(resource, name, namespace), cluster.get(NAMESPACES, namespace)
    if found is None or found_namespace is None:
        raise NotFoundError(f"there is no {title} in namespace {namespace}")
    settings = Settings.from_mapping(Installation(cluster=cluster, namespace=PLATFORM_NAMESPACE).variables)
    # An object that is read alone says its kind, but not in every version of the API.
    workload = {**found, "kind": resource.__name__}
    return [{"apiVersion": "v1", "kind": "Namespace", **found_namespace}, workload], settings
