"""Images without a registry: podman with runc builds them, and they are loaded into the cluster's containerd.

The base image is made of Debian's smallest system and this machine's Python, under the name of the real one.
"""

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from testbed.cluster import image_store
from testbed.cluster.binaries import CACHE
from testbed.cluster.cluster import LOADED, PROGRAMS, RUN
from testbed.cluster.components import PAUSE
from testbed.cluster.machine import missing_packages, run

ROOT: Final = Path(__file__).parents[2]
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE: Final = f"docker.io/library/python:{PYTHON}-slim-bookworm"
BUILD_BASE: Final = f"docker.io/library/python:{PYTHON}-bookworm"  # the real one has a compiler too
PODMAN: Final = shutil.which("podman") or "podman"
NEEDED: Final = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "catatonit": "catatonit",
    "/usr/lib/podman/netavark": "netavark",
}
# What Python's own build links to, of the release that the name of the base says.
LIBRARIES: Final = (
    "ca-certificates,netbase,tzdata,libssl3,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,libreadline8,libncursesw6,libuuid1,"
    "libexpat1,zlib1g"
)
BASES: Final = {BASE: LIBRARIES, BUILD_BASE: f"{LIBRARIES},binutils"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Build instructions of an image that the manifests name; paths are below the repository, or absolute."""

    tag: str
    dockerfile: str
    target: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    context: str = "."


HUB: Final = "docker.io/library"  # what a name without a registry means
RUNTIME: Final = Image(
    tag=f"{HUB}/model-api-runtime:0.1.0-sklearn",
    dockerfile="Dockerfile.runtime",
    target="runtime",
    arguments={"MODEL_REQUIREMENTS": "requirements-sklearn.txt"},
)
IMAGES: Final = (
    Image(tag=f"{HUB}/model-api-webhook:0.1.0", dockerfile="Dockerfile.webhook"),
    Image(tag=f"{HUB}/model-api-delivery:0.1.0", dockerfile="Dockerfile.runtime", target="delivery"),
    RUNTIME,
    Image(tag=f"{HUB}/model-api-gate:0.1.0", dockerfile="Dockerfile.gate"),
    Image(
        tag="ghcr.io/mlflow/mlflow:v3.17.2",
        dockerfile="testbed/cluster/mlflow.Dockerfile",
        context="testbed/requirements",
    ),
)
MOST_PROCESSES: Final = 32768
LEFT_OUT: Final = ("test", "idlelib", "site-packages")
NAME_OF_IMAGE: Final = "io.containerd.image.name"  # an annotation that containerd reads
COPIED: Final = re.compile(r"^COPY (?!--from=)(.+) \S+$", re.MULTILINE)  # what a Dockerfile takes from the context
ARGUMENT: Final = re.compile(r"\$\{(\w+)\}")


def unmet_requirement() -> str | None:
    """Return the reason why images cannot be built here, in one line; None if they can."""
    missing = missing_packages(NEEDED)
    return f"building images needs the packages {' '.join(missing)}: `make packages` installs them" if missing else None


def environment() -> dict[str, str]:
    """Return podman's environment: runc, because crun refuses hybrid cgroups, and limits that need no raise."""
    folder = CACHE / "images"
    folder.mkdir(parents=True, exist_ok=True)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, processes = resource.getrlimit(resource.RLIMIT_NPROC)
    processes = MOST_PROCESSES if processes == resource.RLIM_INFINITY else min(processes, MOST_PROCESSES)
    limits = f'"nofile={files}:{files}", "nproc={processes}:{processes}"'
    config = folder / "containers.conf"
    config.write_text(
        f'[containers]\ndefault_ulimits = [{limits}]\nnetns = "host"\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    return os.environ | {"CONTAINERS_CONF": str(config)}


def podman(*arguments: str | Path) -> str:
    done = subprocess.run([PODMAN, *arguments], env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"podman {arguments[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


def exists(tag: str) -> bool:
    return subprocess.run([PODMAN, "image", "exists", tag], env=environment(), check=False).returncode == 0


def base() -> None:
    """Make the base images under their own names, and the pause image, which a machine with a registry would pull."""
    for name, packages in BASES.items():
        if exists(name):
            continue
        archive = CACHE / "images" / f"{name.rpartition(':')[2]}.tar"
        if not archive.exists():
            _make_base(archive, packages)
        change = [
            "--change",
            "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "--change",
            "ENV LANG=C.UTF-8",
        ]
        podman("import", "--quiet", *change, "--change", 'CMD ["python3"]', archive, name)
    if not exists(PAUSE):
        folder = CACHE / "images" / "pause"
        folder.mkdir(exist_ok=True)
        shutil.copy(shutil.which("catatonit") or "", folder / "catatonit")
        (folder / "Dockerfile").write_text('FROM scratch\nCOPY catatonit /catatonit\nENTRYPOINT ["/catatonit", "-P"]\n')
        podman("build", "--quiet", "--network=host", f"--tag={PAUSE}", folder)


def build_all() -> None:
    """Build every image that the manifests name."""
    base()
    for image in IMAGES:
        build(image)


def prepare() -> None:
    """Build every image, and load it into the running cluster of `testbed.cluster`."""
    build_all()
    load([PAUSE, *(image.tag for image in IMAGES)])


def build(image: Image) -> None:
    """Build one image, unless the image with its name was built from the same files.

    Steps that install packages get this machine's authorities and settings for the build only.
    """
    content, record = content_of(image), CACHE / "images" / f"built-{image.tag.replace('/', '-')}"
    if record.exists() and record.read_text() == f"{content} {identity_of(image.tag)}":
        return
    options = [f"--target={image.target}"] if image.target else []
    arguments = {"BUILD_BASE": BUILD_BASE, **image.arguments}
    options += [f"--build-arg={name}={value}" for name, value in arguments.items()]
    place = [f"--file={ROOT / image.dockerfile}", f"--tag={image.tag}", str(ROOT / image.context)]
    podman("build", "--network=host", "--pull=never", *trust(), *options, *place)
    record.write_text(f"{content} {identity_of(image.tag)}")


def content_of(image: Image) -> str:
    """Return a digest of everything that an image is built from, which podman's cache takes seconds to compare."""
    found = hashlib.sha256(f"{identities_of_bases()} {image}".encode())
    for file in [ROOT / image.dockerfile, ROOT / ".dockerignore", *_copied(image)]:
        found.update(f"{os.path.relpath(file, ROOT)} {file.stat().st_mode}".encode() + file.read_bytes())
    return found.hexdigest()


@cache
def identities_of_bases() -> str:
    return " ".join(map(identity_of, BASES))


def identity_of(tag: str) -> str:
    """Return the id of an image; it is empty if there is none."""
    command = [PODMAN, "image", "inspect", "--format={{.Id}}", tag]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False).stdout.strip()


def load(tags: Sequence[str]) -> None:
    """Load images into the cluster under their names, in one archive, except those that the cluster has."""
    loaded: dict[str, str] = json.loads(LOADED.read_text())
    wanted = dict(zip(tags, podman("image", "inspect", "--format={{.Id}}", *tags).split(), strict=True))
    missing = [tag for tag, identity in wanted.items() if loaded.get(tag) != identity]
    if not missing:
        return
    ctr = (PROGRAMS / "ctr", "--address", RUN / "containerd" / "socket", "--namespace=k8s.io")
    archive = save_new(missing)
    image_store.forget()
    run(*ctr, "images", "import", archive)
    archive.unlink()
    LOADED.write_text(json.dumps(loaded | wanted))
    if not run(*ctr, "containers", "list", "--quiet"):
        image_store.keep(loaded | wanted)


def save(*tags: str) -> Path:
    """Return an archive of the images, to be loaded; it has a layer that several of them share once."""
    archive = CACHE / "images" / "load.tar"
    archive.unlink(missing_ok=True)
    podman("save", "--quiet", "--multi-image-archive", "--output", archive, *tags)
    return archive


def save_new(tags: Sequence[str]) -> Path:
    """Return an archive of the images without the layers that the cluster has, which are hundreds of megabytes."""
    layout = CACHE / "images" / "layout"
    shutil.rmtree(layout, ignore_errors=True)
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in image_store.BLOBS.glob("*"):  # podman writes no file that is there
        (blobs / blob.name).symlink_to(blob)
    for tag in tags:
        podman("save", "--quiet", "--format=oci-dir", "--uncompressed", "--output", layout, tag)
    index = json.loads((layout / "index.json").read_text())
    for manifest in index["manifests"]:
        manifest["annotations"][NAME_OF_IMAGE] = manifest["annotations"]["org.opencontainers.image.ref.name"]
    (layout / "index.json").write_text(json.dumps(index))
    archive = layout.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        for file in sorted(layout.rglob("*")):
            if file.is_file() and not file.is_symlink():
                tar.add(file, file.relative_to(layout))
    shutil.rmtree(layout)
    return archive


def _copied(image: Image) -> Iterator[Path]:
    """Yield the files of the context that the Dockerfile copies, so that a change of others builds nothing again."""
    words = " ".join(COPIED.findall((ROOT / image.dockerfile).read_text())).split()
    named = {ARGUMENT.sub(lambda found: image.arguments.get(found[1], ""), word) for word in words}
    for place in (ROOT / image.context / name for name in sorted(named - {""})):
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        yield from (file for file in files if file.is_file() and file.parent.name != "__pycache__")


def _make_base(archive: Path, packages: str) -> None:
    """Write Debian's smallest system with these packages and this machine's Python, in a minute."""
    home = sys.base_prefix
    excluded = " ".join(f"--exclude=lib/python{PYTHON}/{name}" for name in LEFT_OUT)
    files = f"bin/python{PYTHON} lib/libpython{PYTHON}.so.1.0 lib/python{PYTHON} include/python{PYTHON}"
    copy = f'tar -C {home} {excluded} --exclude=__pycache__ --exclude="*.a" -cf - {files} | tar -C $1/usr/local -xf -'
    finish = (
        f"mkdir -p $1/usr/local/lib/python{PYTHON}/site-packages; ln -s python{PYTHON} $1/usr/local/bin/python3; "
        "ln -s python3 $1/usr/local/bin/python; chroot $1 ldconfig; chroot $1 python -m ensurepip >/dev/null; "
        "ln -sf pip3 $1/usr/local/bin/pip; rm -rf $1/var/cache/apt/*.bin $1/var/lib/apt/lists/*"
    )
    unfinished = archive.with_suffix(".part.tar")
    paths = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale")]
    hooks = [f"--customize-hook={copy}", f"--customize-hook={finish}"]
    run(
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={packages}",
        *paths,
        *hooks,
        "bookworm",
        unfinished,
    )
    unfinished.rename(archive)


def trust() -> list[str]:
    authorities = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    if not authorities:
        return []
    folder = CACHE / "images"
    shutil.copy(Path(authorities).resolve(), folder / "authorities.pem")
    (folder / "pip.conf").write_text("[global]\ncert = /run/build/authorities.pem\n")
    places = {
        "authorities.pem": ["/run/build/authorities.pem", "/etc/ssl/certs/ca-certificates.crt"],
        "pip.conf": ["/etc/pip.conf"],
    }
    mounts = [f"--volume={folder / name}:{place}:ro" for name, among in places.items() for place in among]
    return mounts
