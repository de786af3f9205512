import pytest

from model_contract.image_reference import ImageReference

DIGEST = "sha256:" + "0" * 64
REFERENCES = {
    "registry.example/wine": ("registry.example", "wine", None, None),
    "registry.example:5000/models/wine:3": ("registry.example:5000", "models/wine", "3", None),
    "localhost/wine": ("localhost", "wine", None, None),
    "localhost:5000/wine": ("localhost:5000", "wine", None, None),
    "registry:5000/wine": ("registry:5000", "wine", None, None),
    "[::1]:5000/wine": ("[::1]:5000", "wine", None, None),
    f"127.0.0.1:5000/a__b/c-d.e@{DIGEST}": ("127.0.0.1:5000", "a__b/c-d.e", None, DIGEST),
    f"registry.example/wine:_v1@{DIGEST}": ("registry.example", "wine", "_v1", DIGEST),
}


@pytest.mark.parametrize(("text", "parts"), REFERENCES.items())
def test_reference_is_read_into_its_parts_and_written_again(text: str, parts: tuple[str | None, ...]) -> None:
    found = ImageReference.parse(text)

    assert (found.registry, found.repository, found.tag, found.digest) == parts
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", "it must begin with a registry"),
        ("wine", "it must begin with a registry"),
        ("models/wine:3", "it must begin with a registry"),
        ("http://registry.example/wine", "it must begin with a registry"),
        ("user:secret@registry.example/wine", "its digest must be"),
        ("-registry.example/wine", "it must begin with a registry"),
        ("registry.example", "it must begin with a registry"),
        ("registry.example:port/wine", "it must begin with a registry"),
        ("registry.example/", "its repository must be"),
        ("registry.example/Wine", "its repository must be"),
        ("registry.example/a//b", "its repository must be"),
        ("registry.example/../b", "its repository must be"),
        ("registry.example/wine/", "its repository must be"),
        ("registry.example/" + "a" * 256, "its repository must be"),
        ("registry.example/wine\n", "its repository must be"),
        ("registry.example/wine:", "its tag must be"),
        ("registry.example/wine:a:b", "its tag must be"),
        ("registry.example/wine:-a", "its tag must be"),
        ("registry.example/wine:" + "a" * 129, "its tag must be"),
        ("registry.example/wine@", "its digest must be"),
        ("registry.example/wine@sha256:" + "A" * 64, "its digest must be"),
        ("registry.example/wine@md5:" + "0" * 32, "its digest must be"),
        (f"registry.example/wine@{DIGEST}@{DIGEST}", "its digest must be"),
    ],
)
def test_text_that_is_no_reference_is_refused_with_its_fault(text: str, verdict: str) -> None:
    with pytest.raises(ValueError, match=f"^{verdict}"):
        ImageReference.parse(text)


def test_pinned_reference_has_no_tag_and_a_tagged_one_no_digest() -> None:
    both = ImageReference.parse(f"registry.example/wine:3@{DIGEST}")

    assert str(both.pinned(DIGEST)) == f"registry.example/wine@{DIGEST}"
    assert str(both.tagged("4")) == "registry.example/wine:4"
    assert both.name == "registry.example/wine"
