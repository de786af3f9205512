"""The image of a delivered model: its layers, its configuration and its manifest.

    /models/                      the model, MLmodel at its root; KServe looks there for `oci+native://`
    /manifest/manifest.json       the delivery's manifest
    /manifest/artifacts/model/    empty: the mount point of the model, if `/manifest` is mounted as a run's directory

Nodes mount directories of an image, never single files, and nothing can be made in a mount of an image. So a pod gets
the layout of a store by two mounts.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from model_contract.layout import IMAGE_MANIFEST, IMAGE_MODEL, MANIFEST, MODEL_DIRECTORY
from model_contract.model_ref import shown
from model_delivery.manifest import Manifest
from model_lifecycle.errors import PreconditionError
from model_lifecycle.packaging.layers import Layer, LayerFile, grouped

LARGE: Final = 64 << 20  # bytes; a smaller file is not worth the requests of a layer of its own
MOST_LARGE: Final = 30  # an overlay mount has a limit, which the kernel and containerd reach above a hundred
WHITEOUT: Final = ".wh."  # OCI image layer specification: an entry whose name begins so removes another one
CREATED: Final = "1970-01-01T00:00:00+00:00"  # the same files are the same image, whenever they are packaged
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its layers, and the texts of its configuration and its manifest. `digest` is the manifest's."""

    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


def image_of(delivered: Manifest, run: Path) -> Image:
    """Return the image of the model that was delivered to the directory of its run. Every file is read once.

    Raises PreconditionError if a name means something else in an image.
    """
    for path in (*(file.path for file in delivered.files), *delivered.directories):
        if any(name.startswith(WHITEOUT) for name in path.split("/")):
            raise PreconditionError(
                f"the model has {shown(path)}, and in an image a name that begins with {WHITEOUT} removes another file:"
                " log the model without it"
            )
    layers = (*_model_layers(delivered, run), _manifest_layer(delivered))
    config = _json(
        {
            # The files fit every architecture; a node that pulls an image by its manifest does not compare it.
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size} for layer in layers],
            "annotations": _annotations(delivered),
        }
    )
    return Image(layers=layers, config=config, manifest=manifest)


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _model_layers(delivered: Manifest, run: Path) -> list[Layer]:
    files = [
        LayerFile(path=f"{IMAGE_MODEL}/{file.path}", size=file.size, content=run / MODEL_DIRECTORY / file.path)
        for file in delivered.files
    ]
    *large, rest = grouped(files, large=LARGE, most=MOST_LARGE)
    return [*large, replace(rest, directories=tuple(f"{IMAGE_MODEL}/{path}" for path in delivered.directories))]


def _manifest_layer(delivered: Manifest) -> Layer:
    content = replace(delivered, created=CREATED).to_json().encode()
    file = LayerFile(path=f"{IMAGE_MANIFEST}/{MANIFEST}", size=len(content), content=content)
    return Layer(files=(file,), directories=(f"{IMAGE_MANIFEST}/{MODEL_DIRECTORY}",))


def _annotations(delivered: Manifest) -> dict[str, str]:
    (model,) = delivered.models
    return {"org.opencontainers.image.title": model.name, "org.opencontainers.image.version": model.version}


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
