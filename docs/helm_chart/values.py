"""Values of the chart, declared once: `values.yaml` and `values.schema.json` are written from them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from helm_chart.components import COMPONENTS, value_of
from helm_chart.sources import Source
from model_contract.setting_types import boolean
from model_contract.settings import Setting, settings_of
from tracking_gate.settings import SETTINGS as GATE_SETTINGS
from webhook.server.settings import ServerSettings
from webhook.settings import PREFIX, SERVER_PREFIX, Settings

ONE_OF: Final = "it must be one of "
DIGEST: Final = r"^(sha256:[0-9a-f]{64})?$"
# The parts of a reference to an image: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
REGISTRY: Final = r"^([A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*/?)?$"
REPOSITORY: Final = r"^(([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*)?$"
TAG: Final = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"
NAMESPACE: Final = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
OBJECT_NAME: Final = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
NAME: Final = {"type": "string", "pattern": f"^{OBJECT_NAME}$"}
OPTIONAL_NAME: Final = {"type": "string", "pattern": f"^({OBJECT_NAME})?$"}
QUANTITY: Final = r"^[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
SIZE: Final = {"type": "string", "pattern": QUANTITY}
AMOUNTS: Final = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number"], "pattern": QUANTITY, "minimum": 0},
}
TEXT: Final = {"type": "string"}
SWITCH: Final = {"type": "boolean"}
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
LABEL_PART: Final = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
LABELS: Final = {
    "type": "object",
    "propertyNames": {"pattern": f"^({OBJECT_NAME}/)?{LABEL_PART}$"},
    "additionalProperties": {"type": "string", "pattern": f"^({LABEL_PART})?$"},
}
ANNOTATIONS: Final = {
    "type": "object",
    "propertyNames": {"pattern": f"^({OBJECT_NAME.replace('a-z', 'A-Za-z')}/)?{LABEL_PART}$"},
    "additionalProperties": TEXT,
}
OBJECT: Final = {"type": "object"}
OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
RESOURCES: Final = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"limits": AMOUNTS, "requests": AMOUNTS, "claims": OBJECTS},
}
NAMES: Final = {"type": "array", "items": NAME, "uniqueItems": True}
NEEDED: Final = (NAMESPACE, NAME, SIZE)  # schemas of values that no object can do without
COUNT: Final = {"type": ["integer", "null"], "minimum": 1}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value, or a group of values; `schema` is that of a value without the default and the meaning."""

    meaning: str
    default: Any = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, "Value"] = field(default_factory=dict)


def image(name: str, tag: str) -> Value:
    return Value(
        meaning=f"The image {name}.",
        values={
            "repository": Value(
                meaning="Its repository, behind `images.registry`.",
                default=name,
                schema={"type": "string", "pattern": REPOSITORY},
            ),
            "tag": Value(
                meaning=f"Its tag; by default `{tag}`.", default="", schema={"type": "string", "pattern": TAG}
            ),
            "digest": Value(
                meaning="Its digest, `sha256:...`, which wins over the tag.",
                default="",
                schema={"type": "string", "pattern": DIGEST},
            ),
        },
    )


def pod(resources: Json) -> dict[str, Value]:
    """Return the values of a Deployment's pods."""
    return {
        "resources": Value(meaning="Requests and limits of its container.", default=resources, schema=RESOURCES),
        "nodeSelector": Value(meaning="Labels of the nodes that may run its pods.", default={}, schema=LABELS),
        "tolerations": Value(meaning="Taints of nodes that its pods tolerate.", default=[], schema=OBJECTS),
        "affinity": Value(
            meaning="Affinity of its pods; it replaces that of `highAvailability`.", default={}, schema=OBJECT
        ),
        "priorityClassName": Value(
            meaning="Priority class of its pods; it replaces that of `highAvailability`.",
            default="",
            schema=OPTIONAL_NAME,
        ),
        "podLabels": Value(meaning="More labels of its pods.", default={}, schema=LABELS),
        "podAnnotations": Value(meaning="More annotations of its pods.", default={}, schema=ANNOTATIONS),
    }


def settings_value(declared: Sequence[Setting], page: str) -> Value:
    """Return the value that has a text for each variable."""
    values = {one.variable: Value(meaning=meaning_of(one), schema=schema_of(one)) for one in declared}
    return Value(
        meaning=f"Settings by their variable, as texts. Each of them: {page}.",
        default={},
        schema={"type": "object"},
        values=values,
    )


def meaning_of(declared: Setting) -> str:
    default = declared.default_text or ("" if declared.default is None else declared.default)
    return declared.meaning + (f" Default: {default}." if default else "")


def schema_of(declared: Setting) -> Json:
    if declared.read is boolean:
        return {"type": "string", "enum": ["true", "false"]}
    try:
        declared.read("\0")
    except ValueError as error:
        if str(error).startswith(ONE_OF):
            return {"type": "string", "enum": str(error).removeprefix(ONE_OF).split(", ")}
    return TEXT


def values(version: str, sources: Mapping[str, Source], resources: Mapping[str, Json]) -> dict[str, Value]:
    """Return every value; `resources` are those of the pods by their part."""
    switches = {
        name: Value(meaning=sources[name].comment.replace("\n", " "), default=COMPONENTS[name].on, schema=SWITCH)
        for name in COMPONENTS
    }
    parts = {value_of(name): {"enabled": switch} for name, switch in switches.items()}
    for name, source in sources.items():
        if source.contents:
            files = {key: Value(meaning=f"The text of {key}.", schema=TEXT) for key in source.contents}
            meaning = "Texts that replace files of its ConfigMap, by their names: helm --set-file."
            parts[value_of(name)]["files"] = Value(meaning=meaning, default={}, schema=OBJECT, values=files)
    webhook = {"enabled": Value(meaning="The webhook.", default=True, schema=SWITCH)}
    webhook_settings = [*settings_of(Settings, prefix=PREFIX), *settings_of(ServerSettings, prefix=SERVER_PREFIX)]
    parts["webhook"] = webhook | {
        "replicas": Value(
            meaning="Number of its pods; by default 2, and 3 with `highAvailability`.", default=None, schema=COUNT
        ),
        "settings": settings_value(webhook_settings, "docs/reference/admission.md#settings"),
        **pod(resources["webhook"]),
    }
    parts["gate"] |= {
        "settings": settings_value(GATE_SETTINGS, "docs/reference/gate.md#options"),
        "tokensSecret": Value(
            meaning="The Secret with every project's tokens.", default="mlflow-proxy-secret", schema=NAME
        ),
        "auditStorage": Value(meaning="Size of the claim for the audit log.", default="5Gi", schema=SIZE),
        "auditStorageClass": Value(
            meaning="Storage class of that claim; by default that of the cluster.", default="", schema=OPTIONAL_NAME
        ),
        "mlflowPodLabels": Value(
            meaning="Labels of MLflow's pods; by default app.kubernetes.io/name: mlflow.", default={}, schema=LABELS
        ),
        **pod(resources["gate"]),
    }
    parts["objectStores"] |= {
        "egress": Value(
            meaning="Rules of a NetworkPolicy for the stores' networks; by default public addresses at port 443.",
            default=[],
            schema=OBJECTS,
        )
    }
    parts["sharedVolume"] |= {
        "trackingUri": Value(
            meaning="MLflow's address for the sync; by default that of the gate.", default="", schema=TEXT
        ),
        "projects": Value(
            meaning="Ids of the projects whose models are kept on the claim; each has its Secret mlflow-pull-<id>.",
            default=[],
            schema=NAMES,
        ),
        **pod(resources["sharedVolume"]),
    }
    return {
        "namespaces": Value(
            meaning="Namespaces. The webhook runs in that of the release; the chart makes none of them.",
            values={
                "models": Value(meaning="Namespace of the model APIs.", default="domino-compute", schema=NAMESPACE),
                "mlflow": Value(meaning="Namespace of MLflow and of the gate.", default="mlflow-efs", schema=NAMESPACE),
                "domino": Value(meaning="Namespace of Domino.", default="domino-platform", schema=NAMESPACE),
                "monitoring": Value(meaning="Namespace of Prometheus.", default="monitoring", schema=NAMESPACE),
            },
        ),
        "images": Value(
            meaning="Container images.",
            values={
                "registry": Value(
                    meaning="Put before each repository, such as registry.example.com/team.",
                    default="",
                    schema={"type": "string", "pattern": REGISTRY},
                ),
                "pullSecrets": Value(
                    meaning="Secrets of the pods that the chart makes, for their images."
                    " Those of model APIs: MODEL_API_WEBHOOK_IMAGE_PULL_SECRETS.",
                    default=[],
                    schema=NAMES,
                ),
                "webhook": image("model-api-webhook", version),
                "delivery": image("model-api-delivery", f"{version}, or {version}-full with objectStores"),
                "gate": image("model-api-gate", version),
                "runtime": image("model-api-runtime", f"{version}-sklearn"),
            },
        ),
        "commonLabels": Value(
            meaning="More labels of each object.",
            default={},
            schema=LABELS,
        ),
        **{
            name: Value(meaning=found["enabled"].meaning, values=found)
            for name, found in sorted(parts.items(), key=lambda part: part[0] != "webhook")
        },
    }


def values_file(declared: Mapping[str, Value]) -> str:
    head = "# Written by `make render`. Each value with its default; values.schema.json refuses others.\n"
    return head + "\n".join(value_lines(declared, 0)) + "\n"


def value_lines(declared: Mapping[str, Value], indent: int, group: str = "") -> Iterator[str]:
    """Yield the lines of values; one that means the same as its `group` needs no comment."""
    margin = " " * indent
    for name, value in declared.items():
        if not indent:
            yield ""
        if value.meaning != group:
            yield f"{margin}# {value.meaning}"
        if value.default is None and value.values:
            yield f"{margin}{name}:"
            yield from value_lines(value.values, indent + 2, value.meaning)
        else:
            text = yaml.safe_dump(value.default, default_flow_style=True, width=1000).removesuffix("...\n").strip()
            yield f"{margin}{name}: {text}"


def schema_file(declared: Mapping[str, Value]) -> str:
    found = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of mlflow-model-api"}
    group = schema_of_group(declared)
    # A chart that has this one as a part passes its own globals on.
    group["properties"] = {"global": {"type": "object"}} | group["properties"]
    return json.dumps(found | group, indent=2, ensure_ascii=False) + "\n"


def schema_of_group(declared: Mapping[str, Value]) -> Json:
    properties = {
        name: {"description": value.meaning, **(schema_of_group(value.values) if value.values else value.schema)}
        for name, value in declared.items()
    }
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    # A key without a value takes the default away: without these the templates fail, or make objects elsewhere.
    needed = [
        name
        for name, value in declared.items()
        if (value.values and value.default is None) or any(value.schema is schema for schema in NEEDED)
    ]
    return found | ({"required": needed} if needed else {})
