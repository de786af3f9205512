"""metrics-server, which an HPA asks for processor time, and KEDA, which scales by a metric of the pods."""

import re
import shutil
from pathlib import Path
from typing import Final

from testbed.cluster.kube import Kube
from testbed.controllers.install import Json, apply, load_program, mend, rendered
from testbed.environments import CACHE
from testbed.go_programs import Release, released_program

METRICS_SERVER: Final = Release(
    module="sigs.k8s.io/metrics-server",
    version="v0.9.0",
    digest="h1:nlqqZ2H0Xfko8eJC/1qaNVVT17hu4rxndkOi22KTZ4w=",
)
KEDA: Final = Release(
    module="github.com/kedacore/keda/v2",
    version="v2.21.0",
    digest="h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
)
# The others need the SDKs of every cloud, two thirds of all packages.
SCALERS: Final = ("cpu", "memory", "metrics-api")
SCALER_FILES: Final = ("scaler.go", "cpu_memory_scaler.go", "metrics_api_scaler.go")
# A constant of all scalers, which stands in the file of one that is left out.
METRIC_TYPE: Final = 'package scalers\n\nconst externalMetricType = "External"\n'
CASE: Final = re.compile(r'\t(?:// TODO[^\n]*\n\t)?case "([\w-]+)":\n\t\treturn scalers\.New[^\n]*\n')
AUTHORITY: Final = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"  # the cluster's, which the kubelet has too
KEDA_NAMESPACE: Final = "keda"
KEDA_PROGRAMS: Final = {
    "keda-operator": ("./cmd/operator", "keda"),
    "keda-metrics-apiserver": ("./cmd/adapter", "keda-adapter"),
}
ADMISSION: Final = "keda-admission"  # webhooks of KEDA that refuse two ScaledObjects for one Deployment


def install_metrics_server(kube: Kube) -> None:
    """Install metrics-server, and wait until it knows the use of the node."""
    image = load_program(
        kube, released_program(METRICS_SERVER, "./cmd/metrics-server", "metrics-server"), "metrics-server"
    )
    objects = rendered(kube, METRICS_SERVER.source() / "manifests" / "base")
    for found in objects:
        if found["kind"] == "Deployment":
            container = found["spec"]["template"]["spec"]["containers"][0]
            container["command"] = ["/metrics-server"]
            arguments = [*container["args"], f"--kubelet-certificate-authority={AUTHORITY}"]
            mend(found, {"metrics-server": image}, {"metrics-server": arguments})
    apply(kube, objects)
    kube.rolled_out("kube-system", "metrics-server")
    kube.until(lambda: kube.attempt("top", "node").returncode == 0, seconds=120, what="the use of the node")


def install_keda(kube: Kube) -> None:
    """Install KEDA's operator and its metrics server, without its admission webhooks."""
    images = {name: load_program(kube, keda_program(name), command) for name, (_, command) in KEDA_PROGRAMS.items()}
    objects = [found for found in rendered(kube, KEDA.source() / "config" / "default") if not is_admission(found)]
    for found in objects:
        if found["kind"] == "Deployment":
            operator = found["metadata"]["name"] == "keda-operator"
            container = found["spec"]["template"]["spec"]["containers"][0]
            arguments = [*container["args"], "--enable-webhook-patching=false"] if operator else container["args"]
            mend(found, images, {container["name"]: [entry for entry in arguments if entry != "--leader-elect"]})
    apply(kube, objects)
    for deployment in KEDA_PROGRAMS:
        kube.rolled_out(KEDA_NAMESPACE, deployment)


def is_admission(found: Json) -> bool:
    return found["kind"] == "ValidatingWebhookConfiguration" or (
        found["kind"] in {"Deployment", "Service"} and found["metadata"]["name"].startswith(ADMISSION)
    )


def keda_program(name: str) -> Path:
    """Return a program of KEDA that has the scalers of SCALERS, compiled if it is missing, which takes minutes."""
    target = CACHE / "go" / f"{name}-{KEDA.version}"
    if target.exists():
        return target
    source = CACHE / "go" / f"keda-{KEDA.version}-source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(KEDA.source(), source, copy_function=shutil.copyfile)
    for folder in (source, *(path for path in source.rglob("*") if path.is_dir())):
        folder.chmod(0o755)  # the module cache is read-only
    leave_out_scalers(source / "pkg")
    program = released_program(KEDA, KEDA_PROGRAMS[name][0], name, source)
    shutil.rmtree(source)
    return program


def leave_out_scalers(packages: Path) -> None:
    """Remove the scalers that no test needs."""
    for file in (packages / "scalers").glob("*.go"):
        if file.name not in SCALER_FILES:
            file.unlink()
    (packages / "scalers" / "metric_type.go").write_text(METRIC_TYPE)
    builder = packages / "scaling" / "scalers_builder.go"
    builder.write_text(CASE.sub(lambda found: found[0] if found[1] in SCALERS else "", builder.read_text()))
