"""Names of tags and aliases that only some callers may write, in each spelling that some database takes for the same.

A database compares names by its collation, and so a change of `Prömotion.id ` may change `promotion.id`:

- MySQL ignores case and accents, MariaDB and SQL Server ignore case and spaces at the end;
- MariaDB's utf8mb4_general_ci has U+0131, an i without its dot, for `i` and `ß` for `s`;
- utf8mb4_swedish_ci has `ü` for `y`, utf8mb4_german2_ci `ö` for `oe`;
- utf8mb4_unicode_ci and utf8mb4_uca1400_ai_ci ignore some letters as a whole, such as U+FE70 and U+0640;
- utf8mb4_roman_ci has `j` for `i` and `v` for `u`, utf8mb4_lithuanian_ci `y` for `i` and `c` for `ch`.

No list of such letters fits every database. So here a Latin letter outside ASCII, or any letter with an accent, may
mean no letter, any one or any two. Each other letter outside ASCII means no letter.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

LONGEST: Final = 500  # characters that decide: MLflow takes none of more than 250
ALIKE: Final = str.maketrans("jyv", "iiu")


@dataclass(frozen=True, slots=True)
class ProtectedNames:
    """Names in ASCII; one that ends with `*` stands for each name that begins so."""

    names: tuple[str, ...]

    def found(self, given: str) -> str | None:
        """Return the first of the names that a database may take `given` for."""
        spelled = _spelled(given)
        return next((name for name in self.names if _may_be(spelled, name)), None)


def _may_be(spelled: str, name: str) -> bool:
    wanted, is_prefix = _spelled(name.removesuffix("*")), name.endswith("*")
    if spelled.isascii():
        return spelled.startswith(wanted) if is_prefix else spelled == wanted
    ends = {0}  # of each part of the wanted name that the characters until now may mean
    for character in spelled:
        if character.isascii():
            ends = {end + 1 for end in ends if wanted[end : end + 1] == character}
        else:
            ends |= {end + more for end in ends for more in _lengths(character) if wanted[end : end + more].isalpha()}
        if not ends or (is_prefix and len(wanted) in ends):
            break
    return len(wanted) in ends


def _spelled(name: str) -> str:
    """Return a name without the differences in ASCII that databases ignore."""
    kept = name[:LONGEST].rstrip(" ")
    return "".join(one.lower() if one.isascii() else one for one in kept).translate(ALIKE).replace("ch", "c")


@lru_cache(maxsize=10_000)
def _lengths(character: str) -> range:
    """Return how many letters of ASCII a character outside it may mean, besides none."""
    parts = unicodedata.normalize("NFKD", character)
    is_latin = any("LATIN" in unicodedata.name(part, "") for part in (character, *parts))
    is_accented = any(part.isascii() or unicodedata.combining(part) for part in parts)
    return range(1, 3) if is_latin or is_accented else range(0)
