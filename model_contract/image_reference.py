"""References of container images: a registry, a repository in it, and a tag or a digest.

A reference names its registry. A short name, such as `wine:3`, means another image on each node.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from model_contract.digest import DIGEST

REGISTRY: Final = re.compile(
    r"(?:localhost|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+"
    r"|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?=:)|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
PROJECT_FIELD: Final = (
    "{project_id}"  # replaced by the project's id, in a pattern of the repositories of several projects
)
LONGEST_REPOSITORY: Final = 255  # characters, as registries and containerd limit it


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """An image of a registry. `tag` and `digest` are None if the text has none."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ImageReference":
        """Return the reference. Raises ValueError with the verdict."""
        rest, at, digest = text.partition("@")
        if at and not DIGEST.fullmatch(digest):
            raise ValueError("its digest must be sha256: and 64 hexadecimal digits")
        registry, slash, path = rest.partition("/")
        if not slash or not REGISTRY.fullmatch(registry):
            raise ValueError("it must begin with a registry and a slash, as registry.example/models/wine does")
        repository, colon, tag = path.partition(":")
        if colon and not TAG.fullmatch(tag):
            raise ValueError("its tag must be at most 128 letters, digits, dots, hyphens and underscores")
        if len(repository) > LONGEST_REPOSITORY or not all(map(COMPONENT.fullmatch, repository.split("/"))):
            raise ValueError("its repository must be a path of small letters, digits, dots, hyphens and underscores")
        return cls(registry=registry, repository=repository, tag=tag or None, digest=digest or None)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def tagged(self, tag: str) -> "ImageReference":
        """Return the reference by a tag alone."""
        return replace(self, tag=tag, digest=None)

    def pinned(self, digest: str) -> "ImageReference":
        """Return the reference by a digest alone, which always names the same image."""
        return replace(self, tag=None, digest=digest)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")
