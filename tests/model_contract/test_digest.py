"""One digest for a whole model."""

import hashlib

from model_contract.digest import FileEntry, model_digest

EMPTY = hashlib.sha256(b"").hexdigest()
ONE = FileEntry(path="MLmodel", size=0, sha256=EMPTY)
TWO = FileEntry(path="data/ü.bin", size=1, sha256=hashlib.sha256(b"x").hexdigest())


def test_digest_is_the_sha256_of_the_sorted_lines() -> None:
    lines = f"MLmodel\0{0}\0{EMPTY}\ndata/ü.bin\0{1}\0{TWO.sha256}\n"

    assert model_digest([TWO, ONE]) == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def test_digest_does_not_depend_on_the_order_of_the_files() -> None:
    assert model_digest([ONE, TWO]) == model_digest([TWO, ONE])


def test_digest_changes_with_a_name_a_size_or_a_content() -> None:
    changed = [FileEntry(path="mlmodel", size=0, sha256=EMPTY), FileEntry(path="MLmodel", size=1, sha256=EMPTY)]

    digests = {model_digest([file]) for file in [ONE, *changed, FileEntry(path="MLmodel", size=0, sha256=TWO.sha256)]}

    assert len(digests) == 4
