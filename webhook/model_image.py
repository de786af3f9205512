"""The image of a pod's model: the pod's annotation > the pattern of the settings, both in the project's repository."""

from typing import Final

from model_contract.image_reference import ImageReference
from model_contract.names import IMAGE_ANNOTATION
from webhook.decision import ModelImage, RefusalError, warning
from webhook.reasons import Reason
from webhook.settings import Settings

ANNOTATION: Final = "annotation"
SETTING: Final = "setting"


def find_model_image(
    annotated: ImageReference | None, project_id: str, run_id: str, settings: Settings
) -> ModelImage | None:
    """Return the image; None if models come another way.

    Raises RefusalError if the annotation names another repository than the project's, or if nothing names an image.
    """
    if settings.delivery != "image" or not (template := settings.model_image):
        return None
    try:
        repository, of_run = template.repository(project_id), template.of_run(project_id, run_id)
    except ValueError:
        raise RefusalError(
            Reason.MISSING_PROJECT_ID, f"the project id {project_id} cannot be a part of a repository of images"
        ) from None
    if annotated:
        if annotated.name != repository.name:
            raise RefusalError(
                Reason.FOREIGN_IMAGE,
                f"annotation {IMAGE_ANNOTATION} names an image of another repository than the project's,"
                f" {repository.name}",
            )
        return ModelImage(reference=annotated, source=ANNOTATION)
    if not of_run:
        raise RefusalError(
            Reason.MISSING_IMAGE,
            f"models are mounted from images: annotate {IMAGE_ANNOTATION}: {repository.name}@sha256:<digest>, which"
            " `model-api package` prints",
        )
    return ModelImage(reference=of_run, source=SETTING)


def is_of_project(reference: str, project_id: str) -> bool:
    """Return True if the project's id is a whole part of the repository's path, as the policy compares them."""
    name, part = reference.partition("@")[0], f"/{project_id}"
    return bool(project_id) and (name.endswith(part) or f"{part}/" in name or f"{part}:" in name)


def unused_image_warnings(annotated: ImageReference | None, settings: Settings) -> tuple[str, ...]:
    """Return a warning if the pod names an image and models come another way."""
    if settings.delivery == "image" or not annotated:
        return ()
    sentence = f"annotation {IMAGE_ANNOTATION} does nothing: models come by {settings.delivery} here"
    return (warning(Reason.UNKNOWN_KEY, sentence),)
