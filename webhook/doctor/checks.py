"""The list of checks, in the order in which an installation depends on them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from lightkube.core.exceptions import ApiError

from webhook.doctor import model_checks, node_checks, webhook_checks
from webhook.doctor.findings import Finding, Health
from webhook.doctor.installation import Installation


def examine(installation: Installation) -> Iterator[Finding]:
    """Yield every finding. A check that the caller's rights do not allow yields `unknown`, and the next one runs."""
    for title, check in CHECKS.items():
        try:
            yield from check(installation)
        except ApiError as error:
            yield Finding(
                check=title, health=Health.UNKNOWN, found=str(error), remedy="run it with the rights of an admin"
            )


def worst(findings: Sequence[Finding]) -> Health:
    """Return the worst result: bad, unknown, odd, good."""
    order = (Health.BAD, Health.UNKNOWN, Health.ODD, Health.GOOD)
    return next(
        health for health in order if health is Health.GOOD or any(finding.health is health for finding in findings)
    )


CHECKS: Final[dict[str, Callable[[Installation], Iterator[Finding]]]] = {
    "clock": webhook_checks.clock,
    "settings": webhook_checks.settings,
    "webhook": webhook_checks.webhook_pods,
    "service": webhook_checks.service,
    "registration": webhook_checks.registration,
    "certificate": webhook_checks.trust,
    "policy": webhook_checks.policy_bound,
    "namespaces": model_checks.namespaces,
    "pull token": model_checks.secrets,
    "image secret": model_checks.image_secrets,
    "claim": model_checks.claims,
    "image volumes": node_checks.image_volumes,
    "admission": model_checks.admission,
    "model pods": model_checks.waiting_pods,
}
