"""Whether an image is the one that was asked for, perhaps from a mirror."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image reference: the last part of its repository, its tag and its digest, each empty if it has none."""

    name: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, reference: str) -> "Image":
        rest, _, digest = reference.partition("@")
        name, _, tag = rest.rpartition("/")[2].partition(":")
        return cls(name=name, tag=tag, digest=digest)


def same_image(present: object, wanted: str) -> bool:
    """Whether `present` is the image `wanted` under the registry and path of a mirror.

    Equal digests are equal images. Without a digest the names are compared: a mirror may put its path before the name,
    add something to the tag, and write the digest that the tag stands for.
    """
    if not isinstance(present, str) or present == wanted:
        return present == wanted
    there, asked = Image.parse(present), Image.parse(wanted)
    if asked.digest:
        return there.digest == asked.digest
    same_name = there.name == asked.name or there.name.endswith((f"-{asked.name}", f"_{asked.name}"))
    tag = asked.tag or "latest"
    same_tag = (
        there.tag == tag
        or there.tag.startswith(f"{tag}-")
        or (not there.tag and (bool(there.digest) or tag == "latest"))
    )
    return same_name and same_tag
