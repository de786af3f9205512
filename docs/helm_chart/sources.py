"""Files of kustomize that the chart is made of: the base and the components, with their patches and ConfigMaps."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

MANIFESTS: Final = Path(__file__).parents[2] / "manifests"
KNOWN: Final = {"apiVersion", "kind", "resources", "patches", "configMapGenerator", "images", "configurations"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of objects, and the comment at its top."""

    name: str
    comment: str
    objects: list[Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The base, which has no name, or a component. `literals` are settings by the name of their ConfigMap."""

    name: str
    comment: str
    files: list[File] = field(default_factory=list)
    patches: list[Json] = field(default_factory=list)
    literals: dict[str, dict[str, str]] = field(default_factory=dict)
    config_maps: list[Json] = field(default_factory=list)  # those that the source makes, with their labels
    contents: dict[str, str] = field(default_factory=dict)  # of the files in ConfigMaps


def read_source(name: str) -> Source:
    """Return the component, or the base if the name is empty. Raises ValueError for what the chart cannot take."""
    folder = MANIFESTS / "components" / name if name else MANIFESTS / "base"
    text = (folder / "kustomization.yaml").read_text()
    found = yaml.safe_load(text)
    if unknown := found.keys() - KNOWN:
        raise ValueError(f"{folder}/kustomization.yaml: the chart does not know {', '.join(sorted(unknown))}")
    source = Source(
        name=name,
        comment=comment_of(text),
        files=[read_file(folder / resource) for resource in found.get("resources", [])],
        patches=[patch for entry in found.get("patches", []) for patch in read_patches(folder, entry)],
    )
    for entry in found.get("configMapGenerator", []):
        add_config_map(source, folder, entry)
    return source


def read_file(path: Path) -> File:
    text = path.read_text()
    return File(name=path.stem, comment=comment_of(text), objects=[one for one in yaml.safe_load_all(text) if one])


def read_patches(folder: Path, entry: Json) -> list[Json]:
    if entry.keys() != {"path"}:
        raise ValueError(f"{folder}/kustomization.yaml: the chart only knows patches in files, as `path`")
    return [one for one in yaml.safe_load_all((folder / entry["path"]).read_text()) if one]


def add_config_map(source: Source, folder: Path, entry: Json) -> None:
    """Add what an entry of `configMapGenerator` says to the source."""
    literals = dict(literal.split("=", 1) for literal in entry.get("literals", []))
    if literals:
        source.literals[entry["name"]] = literals
    if entry.get("behavior") == "merge":
        return
    files = {Path(one.partition("=")[0]).name: one.rpartition("=")[2] for one in entry.get("files", [])}
    metadata = {"name": entry["name"], "namespace": entry["namespace"], "labels": entry["options"]["labels"]}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    source.config_maps.append(config_map | ({"data": files} if files else {}))
    for key, path in files.items():
        source.contents[key] = (folder / path).read_text()


def comment_of(text: str) -> str:
    """Return the comment at the top of a file, without its marks."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return "\n".join(lines).strip()
