"""Types of the webhook's settings: functions from text to value, which raise ValueError with the verdict."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from model_contract.allowed_hosts import parse_allowed_hosts
from model_contract.image_reference import PROJECT_FIELD, ImageReference
from model_contract.quantity import Quantity
from model_contract.setting_types import described, matching, whole_number
from model_contract.store_addresses import parse_store_addresses

DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
DNS_SUBDOMAIN: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
)
CONFIG_KEY: Final = re.compile(r"(?!\.\.)[A-Za-z0-9._-]{1,253}")
IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}")
RUN_FIELD: Final = "{run_id}"
LARGEST_UID: Final = 2**31 - 1
DURATION: Final = re.compile(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?|([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTemplate:
    """A pattern of the images of models: a repository for each project, and perhaps a tag with the id of the run."""

    text: str

    def repository(self, project_id: str) -> ImageReference:
        """Return the project's repository. Raises ValueError if no repository can have the id in its path."""
        return ImageReference.parse(self.text.removesuffix(f":{RUN_FIELD}").replace(PROJECT_FIELD, project_id))

    def of_run(self, project_id: str, run_id: str) -> ImageReference | None:
        """Return the image with the tag of a run; None if the pattern has no tag. Raises ValueError as above."""
        return self.repository(project_id).tagged(run_id) if self.text.endswith(f":{RUN_FIELD}") else None


label = matching(DNS_LABEL, 'the name of a namespace, such as "domino-platform"')
name = matching(DNS_SUBDOMAIN, 'the name of a Kubernetes object, such as "mlflow-ca"')
config_key = matching(CONFIG_KEY, 'a key of a ConfigMap, such as "ca.crt"')
# Not 0: the init container does not run as root.
user_id = described(whole_number(1, LARGEST_UID), f"a user id from 1 to {LARGEST_UID}")
audience = matching(re.compile(r"[!-~]{1,255}"), 'an audience without white space, such as "model-api-gate"')
image = matching(IMAGE, 'an image, such as "registry.example/model-api-delivery@sha256:..."')


def quantity(text: str) -> Quantity:
    amount = Quantity.parse(text)
    if not amount.amount:
        raise ValueError("it must be more than 0")
    return amount


def duration(text: str) -> int:
    """Return the seconds of a time such as "900", "30m" or "1h30m"."""
    match = DURATION.fullmatch(text)
    hours, minutes, seconds, plain = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = plain or hours * 3600 + minutes * 60 + seconds
    if not total:
        raise ValueError('it must be a time of at least a second, such as "900", "30m" or "1h30m"')
    return total


def names(text: str) -> tuple[str, ...]:
    return tuple(name(part.strip()) for part in text.split(",")) if text else ()


def pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"it must be a regular expression: {error}") from None


def url(text: str) -> str:
    """Return an http or https address; one with a user or password is refused, since every pod would show them."""
    parts = _split(text)
    if (
        not parts
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not text.isprintable()
        or " " in text
    ):
        raise ValueError('it must be an http or https address, such as "http://mlflow.mlflow-efs.svc:5000"')
    if "@" in parts.netloc:
        raise ValueError("it must hold no user or password: every pod would show them")
    if parts.query or parts.fragment:
        raise ValueError("it must end with its path")
    return text


def _split(text: str) -> SplitResult | None:
    """Return the parts of an address; None if its brackets or its port are wrong, all that `urlsplit` checks."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  it is read when it is asked for
    except ValueError:
        return None
    return parts


def no_proxy(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError('it must be a list of hosts, such as "localhost,.svc,10.0.0.0/8"')
    return text


def store_addresses(text: str) -> str:
    """Return the list as it is. Raises ValueError for one that the delivery would refuse."""
    parse_store_addresses(text)
    return text


def allowed_hosts(text: str) -> str:
    """Return the list as it is. Raises ValueError for one that the delivery would refuse."""
    parse_allowed_hosts(text)
    return text


def image_template(text: str) -> ImageTemplate:
    """Return the pattern. The project is a whole part of the path: no repository is then in two projects."""
    template = ImageTemplate(text=text)
    try:
        sample = template.repository("a" * 24)
    except ValueError:
        sample = None
    path = text.removesuffix(f":{RUN_FIELD}").partition("/")[2].split("/")
    if not sample or sample.tag or sample.digest or PROJECT_FIELD not in path:
        raise ValueError(
            f"it must be a repository with {PROJECT_FIELD} as a whole part of its path, and perhaps :{RUN_FIELD} at its"
            f' end, such as "registry.example/models/{PROJECT_FIELD}:{RUN_FIELD}"'
        )
    return template


def relative_path(text: str) -> str:
    """Return a path below a volume's root, without empty or dotted parts; it is empty for the root itself."""
    dotted = text and any(part in {"", ".", ".."} for part in text.split("/"))
    if dotted or not text.isprintable():
        raise ValueError('it must be a path below the root of the volume, such as "mlflow/models"')
    return text
