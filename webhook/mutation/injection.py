"""The data from which every part of the mutation is made."""

from dataclasses import dataclass

from model_contract.quantity import Quantity
from webhook.annotations import PodAnnotations
from webhook.decision import ModelImage
from webhook.pod import Pod
from webhook.settings import Settings
from webhook.targets import Targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A pod that gets a model, and the largest size of the model.

    `project_id` is None if no pull token is needed, `image` if the model does not come by an image.
    """

    pod: Pod
    targets: Targets
    annotations: PodAnnotations
    settings: Settings
    project_id: str | None
    store_size: Quantity
    image: ModelImage | None = None

    @property
    def has_account_token(self) -> bool:
        """True if the init container gets a token of the pod's ServiceAccount."""
        return self.settings.token == "service-account" and self.settings.delivery == "fetch"

    @property
    def has_token(self) -> bool:
        return self.project_id is not None or self.has_account_token
