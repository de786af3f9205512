"""Generated pods: several containers and init containers, parts of ours and of others, and wrong values."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from hypothesis import strategies as st

from testbed.pod_parts import (
    AFFINITIES,
    ANNOTATIONS,
    CHANGED_OURS,
    ENTRIES,
    ENV_FROM,
    EPHEMERAL_CONTAINERS,
    GIVEN,
    INIT_CONTAINERS,
    JUNK,
    LABELS,
    MOUNTS,
    OUR_VOLUMES,
    OWN_LABELS,
    RESOURCES,
    TOKENS,
    VOLUMES,
)


def some(items: list[Any], *, at_most: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(items), max_size=at_most)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


def rarely(values: list[Any]) -> st.SearchStrategy[Any]:
    """Draw one of the values in one pod of eight; else null, which counts as absent."""
    return st.integers(0, 7).flatmap(lambda number: st.sampled_from(values) if not number else st.none())


containers: Final = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["model", "model", "model", "sidecar", "istio-proxy"]),
        "image": st.just("quay.io/acme/wine:7"),
        "env": st.one_of(st.just(GIVEN), st.just(GIVEN), some([*ENTRIES, *TOKENS], at_most=7)),
    },
    optional={
        "envFrom": maybe(some(ENV_FROM, at_most=2)),
        "volumeMounts": maybe(some(MOUNTS, at_most=2)),
        "resources": st.sampled_from(RESOURCES),
        "securityContext": rarely([{"windowsOptions": {"hostProcess": True}}, {"runAsUser": 0}]),
    },
)
generated_pods: Final = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"labels": st.sampled_from([LABELS | own for own in OWN_LABELS])},
            optional={"annotations": maybe(st.sampled_from(ANNOTATIONS))},
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(containers, min_size=1, max_size=3)},
            optional={
                "initContainers": maybe(
                    st.one_of(some(INIT_CONTAINERS, at_most=3), some([*INIT_CONTAINERS, *CHANGED_OURS], at_most=3))
                ),
                "ephemeralContainers": rarely([[one] for one in EPHEMERAL_CONTAINERS]),
                "volumes": maybe(some(VOLUMES, at_most=3)),
                "imagePullSecrets": maybe(st.just([{"name": "acme"}])),
                "securityContext": st.sampled_from([None, {"runAsUser": 0}, {"fsGroup": 1}]),
                "resources": rarely(RESOURCES[1:3]),
                "hostNetwork": st.sampled_from([None, True]),
                "dnsPolicy": st.sampled_from([None, "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]),
                "nodeSelector": rarely(
                    [
                        {"kubernetes.io/os": "windows"},
                        {"beta.kubernetes.io/os": "windows"},
                        {"kubernetes.io/os": "linux"},
                    ]
                ),
                "affinity": rarely(AFFINITIES),
                "os": rarely([{"name": "windows"}, {"name": "linux"}]),
                "runtimeClassName": rarely(["windows-2022", "gvisor"]),
            },
        ),
    }
)
# Places of the pod, counted over all of them, that get a junk value. Most pods stay whole, or nothing but rule B21
# would be tried.
damages: Final = st.lists(st.tuples(st.integers(0, 600), st.sampled_from(JUNK)), max_size=2)


def damaged(pod: dict[str, Any], replacements: list[tuple[int, Any]]) -> dict[str, Any]:
    pod = deepcopy(pod)
    for number, junk in replacements:
        places = list(all_places(pod))
        if number < len(places):
            parent, key = places[number]
            parent[key] = deepcopy(junk)
    return pod


def well_formed(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod without parts that every API server refuses, or adds to running pods only.

    These are names that come twice, mounts without a volume, and ephemeral containers.
    """
    pod = deepcopy(pod)
    spec = pod["spec"]
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"]["name"] = "generated"
    spec.pop("ephemeralContainers", None)
    for field in ("containers", "initContainers"):
        taken = {one["name"] for one in spec["containers"]} if field == "initContainers" else set()
        spec[field] = [
            one for one in {one["name"]: one for one in spec.get(field) or []}.values() if one["name"] not in taken
        ]
    spec["volumes"] = list({volume["name"]: volume for volume in spec.get("volumes") or []}.values())
    there = {volume["name"] for volume in spec["volumes"]}
    for container in [*spec["containers"], *spec["initContainers"]]:
        mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts") or []}.values()
        container["volumeMounts"] = [
            mount for mount in mounts if mount["name"] in there or mount["name"] not in OUR_VOLUMES
        ]
        missing = {mount["name"] for mount in container["volumeMounts"]} - there
        spec["volumes"] += [{"name": name, "emptyDir": {}} for name in sorted(missing)]
        there |= missing
    if spec.get("dnsPolicy") == "None":
        spec["dnsConfig"] = {"nameservers": ["10.1.1.1"]}
    return pod


def all_places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in list(
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield value, key
        yield from all_places(inner)
