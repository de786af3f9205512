"""Each alert of the manifests waits for the time of its `for`, and then fires.

promtool evaluates the rules as they are, in their own time, with the series of a healthy installation that a fault
changes. `test_alerts.py` makes the faults themselves, in a shorter time. A new alert needs an entry in FAULTS.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from testbed.controllers.prometheus import promtool
from testbed.prometheus_server import rules

RULES = rules()
STEP = 15  # seconds between two samples, and two evaluations
HEALTHY = 80  # samples before the fault: longer than the windows of the rules
FAULTY = 600
START = 1_800_000_000  # the time of the first sample: some rules compare a series with the clock
DAY = 86_400
SECONDS = {"m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Series as promtool writes them, and the seconds from the fault until the rule's expression holds."""

    series: Mapping[str, str]
    late: int = 0


def gauge(before: int, after: int) -> str:
    return f"{before}x{HEALTHY - 1} {after}x{FAULTY}"


def counter(before: int, after: int) -> str:
    """Return a counter that grows by so much in each step before the fault, and after it."""
    last = before * (HEALTHY - 1)
    return f"0+{before}x{HEALTHY - 1} {last + after}+{after}x{FAULTY}"


def errors(series: str, number: int = 1) -> Fault:
    """Return a fault that is counted, so often in each step."""
    return Fault(series={series: counter(0, number)})


def slow(series: str, quick: str, long: str) -> Fault:
    """Return a fault of a histogram: all requests take less than `quick` seconds before it, and more after it."""
    return Fault(
        series={
            f'{series}{{kind="ask",le="{quick}"}}': counter(10, 0),
            f'{series}{{kind="ask",le="{long}"}}': counter(10, 10),
            f'{series}{{kind="ask",le="+Inf"}}': counter(10, 10),
        }
    )


FAULTS: Mapping[str, Fault] = {
    "ModelApiGateAway": Fault(series={"model_api_gate_build_info": f"1x{HEALTHY - 1} stale"}),
    "ModelApiGateNoLeader": Fault(
        series={'model_api_gate_leader{pod="a"}': gauge(1, 0), 'model_api_gate_leader{pod="b"}': gauge(0, 0)}
    ),
    "ModelApiGateUnrecorded": errors("model_api_gate_audit_failures_total"),
    "ModelApiGateFails": errors("model_api_gate_errors_total"),
    "ModelApiGateMovesUnclear": errors('model_api_gate_requests_total{decision="unknown"}'),
    "ModelApiGateUpstreamAway": errors('model_api_gate_refusals_total{reason="unavailable"}', 60),
    "ModelApiGateDominoUnclear": errors('model_api_gate_people_checks_total{result="unclear"}'),
    "ModelApiGateBusy": errors('model_api_gate_refusals_total{reason="busy"}', 60),
    "ModelApiGateSlowClients": errors('model_api_gate_connections_closed_total{cause="head"}', 600),
    "ModelApiGateAnswersCut": errors("model_api_gate_upstream_cuts_total", 6),
    "ModelApiGateGuessed": errors('model_api_gate_refusals_total{reason="too_many_attempts"}'),
    # The gate reads the tokens in each step until the fault, and the rule forgives it five minutes.
    "ModelApiGateTokensUnread": Fault(
        series={
            "model_api_gate_tokens_read_timestamp_seconds": (
                f"{START}+{STEP}x{HEALTHY - 1} {START + STEP * (HEALTHY - 1)}x{FAULTY}"
            )
        },
        late=300,
    ),
    "ModelApiGateTokenEnds": Fault(
        series={
            'model_api_gate_next_token_end_timestamp_seconds{purpose="pull"}': gauge(START + 30 * DAY, START + 6 * DAY)
        }
    ),
    "ModelApiGateTokenOld": Fault(
        series={
            'model_api_gate_oldest_token_created_timestamp_seconds{purpose="pull"}': gauge(
                START - 10 * DAY, START - 181 * DAY
            )
        }
    ),
    "ModelApiGateSlow": slow("model_api_gate_upstream_seconds_bucket", "0.5", "5"),
    "ModelApiWebhookCertificateEnds": Fault(
        series={
            'model_api_webhook_tls_certificate_not_after_timestamp_seconds{role="leaf"}': gauge(
                START + 90 * DAY, START + 13 * DAY
            )
        }
    ),
    "ModelApiWebhookNotTrusted": Fault(series={'model_api_webhook_ca_bundle_in_sync{pod="a"}': gauge(1, 0)}),
    "ModelApiWebhookFails": errors('model_api_webhook_errors_total{stage="review"}'),
    "ModelApiWebhookPassedOver": errors(
        'apiserver_admission_webhook_fail_open_count{name="pods.model-api.dominodatalab.com"}'
    ),
    "ModelApiWebhookSlow": slow("model_api_webhook_admission_duration_seconds_bucket", "0.05", "0.25"),
}


def test_each_alert_of_the_manifests_has_a_fault() -> None:
    assert RULES.keys() == FAULTS.keys()


def expected_states(alert: str) -> Mapping[int, str]:
    """Return the state of an alert, or nothing, at seconds from the first sample."""
    begun, text = HEALTHY * STEP + FAULTS[alert].late, RULES[alert].get("for", "0m")
    wait = int(text[:-1]) * SECONDS[text[-1]]
    waiting = {begun: "pending", begun + wait - STEP: "pending"} if wait else {}
    return {begun - STEP: "", **waiting, begun + wait: "firing"}


@pytest.mark.parametrize("alert", FAULTS)
def test_alert_fires_when_its_fault_has_lasted_for_its_time_and_not_before(alert: str, tmp_path: Path) -> None:
    rule_file, test_file = tmp_path / "rules.yml", tmp_path / "test.yml"
    rule_file.write_text(yaml.safe_dump({"groups": [{"name": "rules", "rules": [RULES[alert]]}]}))
    query = f'group by (alertstate) (ALERTS{{alertname="{alert}"}})'
    states = [
        {
            "expr": query,
            "eval_time": f"{seconds}s",
            "exp_samples": [{"labels": f'{{alertstate="{state}"}}', "value": 1}] if state else [],
        }
        for seconds, state in expected_states(alert).items()
    ]
    series = [{"series": name, "values": values} for name, values in FAULTS[alert].series.items()]
    case = {
        "interval": f"{STEP}s",
        "start_timestamp": str(START),
        "input_series": series,
        "promql_expr_test": states,
    }
    document = {"rule_files": [rule_file.name], "evaluation_interval": f"{STEP}s", "tests": [case]}
    test_file.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [promtool(), "test", "rules", test_file], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stdout + done.stderr
