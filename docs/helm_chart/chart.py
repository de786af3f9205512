"""Files of the chart by their path in it, and those of kustomize that they come from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from helm_chart.choices import patched
from helm_chart.components import COMPONENTS, condition_of, value_of
from helm_chart.overrides import LEFT_OUT, PODS, with_overrides, with_values
from helm_chart.sources import MANIFESTS, File, Source, read_source
from helm_chart.template_file import escaped, mapping_lines, written
from helm_chart.values import schema_file, values, values_file

CHART: Final = Path("charts/mlflow-model-api")
BASE: Final = ""
BASE_CONDITION: Final = ".Values.webhook.enabled"
# ConfigMaps whose settings the admin sets: the value with them.
SETTINGS: Final = {"model-api-webhook-settings": "webhook", "model-api-gate-settings": "gate"}
# A ConfigMap of the settings before stays for the pods that use it, if a rollout fails, as `kubectl apply` leaves it.
KEPT: Final = {
    "helm.sh/resource-policy": "keep",
    "argocd.argoproj.io/sync-options": "Prune=false",
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
}

Json = dict[str, Any]

# Values that each overlay sets in addition to its components.
OVERLAY: Final = Source(
    name=BASE,
    comment="",
    literals={"model-api-webhook-settings": {"MODEL_API_WEBHOOK_DELIVERY_IMAGE": "model-api-delivery"}},
)


def chart_files(version: str) -> dict[Path, str]:
    """Return the generated files of the chart. Raises ValueError for manifests that it cannot take."""
    sources = {name: read_source(name) for name in (BASE, *COMPONENTS)}
    if missing := {path.name for path in (MANIFESTS / "components").iterdir()} - sources.keys():
        raise ValueError(f"COMPONENTS in docs/helm_chart/components.py has no {', '.join(sorted(missing))}")
    declared = values(version, sources, resources_of(sources))
    files = {
        Path("Chart.yaml"): chart_file(version),
        Path("values.yaml"): values_file(declared),
        Path("values.schema.json"): schema_file(declared),
        Path("templates/_generated.tpl"): definitions(sources),
    }
    for source in sources.values():
        for file in source.files:
            path = Path("templates") / (source.name or "base") / f"{file.name}.yaml"
            if text := template(source, file, sources):
                files[path] = text
        for config_map in source.config_maps:
            name = config_map["metadata"]["name"].rpartition("-")[2]
            path = Path("templates") / (source.name or "base") / f"{name}.yaml"
            if path in files:
                raise ValueError(f"{path} of the chart would be that of a file and of the ConfigMap {name}")
            files[path] = config_map_template(source, config_map)
        files |= {Path("files") / source.name / name: content for name, content in source.contents.items()}
    return {CHART / path: text for path, text in files.items()}


def chart_file(version: str) -> str:
    chart = {
        "apiVersion": "v2",
        "name": "mlflow-model-api",
        "description": "Brings MLflow models to Kubernetes pods: an admission webhook, and a gate in front of MLflow.",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": ">=1.30.0-0",
    }
    return "# Written by `make render`.\n" + yaml.safe_dump(chart, sort_keys=False, width=1000)


def condition(source: Source) -> str:
    return condition_of(source.name) if source.name else BASE_CONDITION


def template(source: Source, file: File, sources: Mapping[str, Source]) -> str:
    """Return the template of a file of kustomize; it is empty if the chart has none of its objects."""
    kept = [found for found in file.objects if (found["kind"], found["metadata"]["name"]) not in LEFT_OUT]
    if not kept:
        return ""
    folder = f"components/{source.name}" if source.name else "base"
    comment = [f"Written by `make render` from manifests/{folder}/{file.name}.yaml.", *file.comment.splitlines()]
    head = "".join(f"# {escaped(line)}\n" for line in comment if "`make render` from webhook" not in line)
    part = COMPONENTS[source.name].part or source.name if source.name else "webhook"
    body = "---\n".join(written(changed(found, part, sources)) for found in kept)
    return f"{head}{{{{- if {condition(source)} }}}}\n{body}{{{{- end }}}}\n"


def changed(found: Json, part: str, sources: Mapping[str, Source]) -> Json:
    """Return an object with what values of the chart, and the patches of components, make of it."""
    result: Json = with_values(found, part)
    for source in sources.values():
        for patch in source.patches:
            if identity(patch) == identity(found):
                metadata = {key: value for key, value in patch["metadata"].items() if key not in {"name", "namespace"}}
                own = with_values(patch | {"metadata": metadata}, part)
                result = patched(result, own, short_condition(source, part))
    final: Json = with_overrides(result, identity(found))
    return final


def short_condition(source: Source, part: str) -> str:
    """Return the condition of a component within an object of the same part, which has that of the part already."""
    inside = COMPONENTS[source.name].part == part
    return f".Values.{value_of(source.name)}.enabled" if inside else condition_of(source.name)


def identity(found: Json) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]


def config_map_template(source: Source, config_map: Json) -> str:
    """Return the template of a ConfigMap of settings, or of files."""
    name = config_map["metadata"]["name"]
    folder = f"components/{source.name}" if source.name else "base"
    part = COMPONENTS[source.name].part or source.name if source.name else "webhook"
    own = with_overrides(with_values({**config_map, "data": {}}, part), identity(config_map))
    del own["data"]
    if name in SETTINGS:
        own["metadata"] = own["metadata"] | {"annotations": KEPT}
    lines = [*mapping_lines(own, 0), "data:"]
    if name in SETTINGS:
        lines.append(f'  {{{{- include "mlflow-model-api.settings" (list . "{SETTINGS[name]}") | nindent 2 }}}}')
    for key in config_map.get("data", {}):
        own_file = f'index (.Values.{value_of(source.name)}.files | default dict) "{key}"'
        lines += [
            f"  {key}: |",
            f'    {{{{- {own_file} | default (.Files.Get "files/{source.name}/{key}") | nindent 4 }}}}',
        ]
    body = "\n".join(lines)
    return (
        f"# Written by `make render` from manifests/{folder}/kustomization.yaml.\n"
        f"{{{{- if {condition(source)} }}}}\n{body}\n{{{{- end }}}}\n"
    )


def definitions(sources: Mapping[str, Source]) -> str:
    """Return named templates: the settings of each part, as the components set them, and the parts themselves."""
    blocks = [f"{{{{- /* Written by `make render` from manifests/. */}}}}\n{parts_of_components()}"]
    for config_map, part in SETTINGS.items():
        settings: Json = {}
        for source in (OVERLAY, *sources.values()):
            literals = with_values(source.literals.get(config_map, {}), part)
            if not literals:
                continue
            own = source is OVERLAY or source.name == BASE or condition(source) == f".Values.{part}.enabled"
            settings = settings | literals if own else patched(settings, literals, short_condition(source, part))
        body = "\n".join(mapping_lines(settings, 0))
        blocks.append(f'{{{{- define "mlflow-model-api.settings.{part}" -}}}}\n{body}\n{{{{- end }}}}\n')
    return "\n".join(blocks)


def parts_of_components() -> str:
    """Return a named template with the part of each component that has one, for the checks."""
    lines = [f"{value_of(name)}: {one.part}" for name, one in COMPONENTS.items() if one.part and not one.on]
    body = "\n".join(lines)
    return f'{{{{- define "mlflow-model-api.parts" -}}}}\n{body}\n{{{{- end }}}}\n'


def resources_of(sources: Mapping[str, Source]) -> dict[str, Json]:
    """Return the resources of the containers that values set, by the name of the value."""
    found = {}
    for one in objects_of(sources):
        if identity(one) in PODS:
            path, part = PODS[identity(one)]
            spec: Any = one
            for key in f"{path}.spec.containers".split("."):
                spec = spec[key]
            found[part] = spec[0]["resources"]
    return found


def objects_of(sources: Mapping[str, Source]) -> Iterator[Json]:
    return (one for source in sources.values() for file in source.files for one in file.objects)
