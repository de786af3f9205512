"""An image from a mirror is the image; another one under the same name is not."""

import pytest

from webhook.mutation.comparison import same_image

TAGGED = "quay.io/acme/model-api-delivery:7"
PINNED = "quay.io/acme/model-api-delivery@sha256:aaaa"


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        (TAGGED, TAGGED),
        ("mirror.example:5000/quay.io/acme/model-api-delivery:7", TAGGED),
        ("model-api-delivery:7", TAGGED),
        ("mirror.example/quay.io-acme-model-api-delivery:7", TAGGED),
        ("127.0.0.1:31999/acme/model-api-delivery:7-zarf-1234567", TAGGED),
        ("mirror.example/acme/model-api-delivery@sha256:feed", TAGGED),
        ("mirror.example/acme/model-api-delivery:7@sha256:feed", TAGGED),
        ("mirror.example/anything@sha256:aaaa", PINNED),
        ("model-api-delivery", "model-api-delivery:latest"),
    ],
)
def test_image_of_a_mirror_is_the_same(present: str, wanted: str) -> None:
    assert same_image(present, wanted)


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        ("quay.io/acme/mine:7", TAGGED),
        ("quay.io/acme/model-api-delivery:8", TAGGED),
        ("quay.io/acme/model-api-delivery", TAGGED),
        ("quay.io/acme/not-model-api-delivery-at-all:7", TAGGED),
        ("quay.io/acme/model-api-delivery@sha256:bbbb", PINNED),
        ("quay.io/acme/model-api-delivery:7", PINNED),
        ("", TAGGED),
        (None, TAGGED),
        (7, TAGGED),
    ],
)
def test_other_image_is_not_the_same(present: object, wanted: str) -> None:
    assert not same_image(present, wanted)
