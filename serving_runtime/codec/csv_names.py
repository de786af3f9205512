"""Names of the columns in the header of a CSV."""

from collections import Counter
from collections.abc import Sequence

from serving_runtime.signature import Signature


def known_names(header: Sequence[str], signature: Signature, keep: Sequence[str] = ()) -> list[str]:
    """Return the names in a header, with those by which pandas knows columns if the model takes these, or `keep` does.

    Of a header `,a,a` pandas makes `Unnamed: 0`, `a` and `a.1`, and a model that was trained on such a file has these
    names in its signature.
    """
    if "" not in header and len(set(header)) == len(header):
        return list(header)
    wanted = {*signature.names, *keep} if signature.named else keep
    return [own if own in wanted else name for own, name in zip(_names_by_pandas(header), header, strict=True)]


def _names_by_pandas(header: Sequence[str]) -> list[str]:
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    known, counts = set(names), Counter[str]()
    for place in sorted(range(len(names)), key=lambda place: not header[place]):  # names that are there come first
        name = names[place]
        number = counts[name]
        while number and f"{name}.{number}" in known:
            number += 1
        if number:
            names[place] = f"{name}.{number}"
            known.add(names[place])
            counts[names[place]] += 1
        counts[name] = number + 1
    return names


def taken_names(header: Sequence[str], signature: Signature, keep: Sequence[str] = ()) -> list[str]:
    """Return the names in a header that may come only once, because the model takes their columns, or `keep` does.

    Spreadsheets write columns without a name beside a table.
    """
    if signature.says_nothing:
        return [name for name in header if name]  # pandas names the others by their places
    wanted = {*signature.names, *keep}
    return [name for name in header if name in wanted] if signature.named else list(header)
