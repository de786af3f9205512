"""Writes what the docs and the manifests repeat of the code, so that neither can say something else: `python
docs/render.py [--check]`.

A table of the docs stands between `<!-- table: name -->` and `<!-- end -->`; a manifest is written whole.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from helm_chart.chart import chart_files
from prometheus_client.metrics import MetricWrapperBase

from model_contract.names import PLATFORM_NAMESPACE
from model_contract.setting_types import boolean
from model_contract.settings import Setting, settings_of
from serving_runtime.rpc.refusals import STATUSES
from serving_runtime.settings import OPTIONS
from tracking_gate.metrics import Metrics as GateMetrics
from tracking_gate.secret_directory import SecretDirectory
from tracking_gate.settings import SETTINGS as GATE_SETTINGS
from webhook.reasons import Reason
from webhook.registration import mutating_webhook, policy
from webhook.selection import rules
from webhook.server.settings import ServerSettings
from webhook.settings import PREFIX, SERVER_PREFIX, Settings

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent
TABLE: Final = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Writes what the docs and the manifests repeat of the code.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if a file is not as it would be written"
    )
    check = parser.parse_args(argv).check
    pages = {page: rendered(page.read_text()) for page in sorted(DOCS.glob("**/*.md"))}
    manifests = {ROOT / name: manifest(objects) for name, objects in MANIFESTS.items()}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = {ROOT / name: text for name, text in chart_files(version).items()}
    written = pages | manifests | chart
    stale = {file: text for file, text in written.items() if not file.exists() or file.read_text() != text}
    for file, text in stale.items():
        if check:
            sys.stderr.write(f"{file.relative_to(ROOT)} is not as the code says; run `make render`\n")
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return 1 if stale and check else 0


def manifest(objects: Sequence[dict[str, Any]]) -> str:
    documents = yaml.dump_all(objects, Dumper=Plain, sort_keys=False, allow_unicode=True, width=4096)
    return f"# Written by `make render` from webhook/selection.py and webhook/registration.py.\n{documents}"


class Plain(yaml.SafeDumper):
    """Writes an object again instead of an alias of its first place."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def rendered(text: str) -> str:
    return TABLE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *lines]
    return "".join(f"| {' | '.join(map(escaped, line))} |\n" for line in cells)


def escaped(text: str) -> str:
    """A bar would end its cell, in code as well."""
    return text.replace("|", "\\|")


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def reasons() -> str:
    lines = [[reason.rule, code(reason.value), reason.outcome.value, reason.remedy] for reason in Reason]
    return table(["rule", "code", "outcome", "what to do"], lines)


def selection() -> str:
    return table(
        ["rule", "where", "must hold"],
        ([rule.name, code(rule.part.value), code(rule.text)] for rule in rules(PLATFORM_NAMESPACE)),
    )


def settings_table(kind: type, prefix: str) -> str:
    lines = (
        [code(entry.variable), entry.meaning, code(entry.default or entry.example)]
        for entry in settings_of(kind, prefix=prefix)
    )
    return table(["variable", "meaning", "default, or an example"], lines)


def runtime_settings() -> str:
    lines = ([code(option.option), code(option.variable), option.meaning, option.default_text] for option in OPTIONS)
    return table(["option", "variable", "meaning", "default"], lines)


def grpc_statuses() -> str:
    causes: dict[str, list[str]] = {}
    for http, status in STATUSES.items():
        causes.setdefault(status.name, []).append(str(http))
    return table(["status of gRPC", "status of HTTP"], ([code(name), ", ".join(each)] for name, each in causes.items()))


def gate_options() -> str:
    lines = ([code(one.option), code(one.variable), *gate_meaning(one)] for one in GATE_SETTINGS)
    return table(["option", "variable", "meaning", "default"], lines)


def gate_meaning(declared: Setting) -> tuple[str, str]:
    default = "required" if declared.default is None else "" if declared.read is boolean else code(declared.default)
    return declared.meaning + (" More than one: separated by spaces." if declared.several else ""), default


def gate_metrics() -> str:
    metrics = GateMetrics()
    metrics.watch(SecretDirectory(DOCS))
    own = [found for found in metrics.registry._collector_to_names if isinstance(found, MetricWrapperBase)]
    lines = (
        [
            code(one.name + ("_total" if one.type == "counter" else "")),
            one.type,
            code(", ".join(found._labelnames)),
            one.documentation,
        ]
        for found in own
        for one in found.describe()
    )
    return table(["metric", "type", "labels", "meaning"], lines)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "gate-metrics": gate_metrics,
    "gate-options": gate_options,
    "grpc-statuses": grpc_statuses,
    "reasons": reasons,
    "runtime-settings": runtime_settings,
    "selection": selection,
    "webhook-settings": lambda: settings_table(Settings, PREFIX),
    "webhook-server-settings": lambda: settings_table(ServerSettings, SERVER_PREFIX),
}
MANIFESTS: Final[dict[str, Sequence[dict[str, Any]]]] = {
    "manifests/base/mutating-webhook-configuration.yaml": [mutating_webhook(PLATFORM_NAMESPACE)],
    "manifests/components/policy/policy.yaml": policy(PLATFORM_NAMESPACE),
}

if __name__ == "__main__":
    sys.exit(main())
