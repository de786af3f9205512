import pytest

from model_delivery.errors import InvalidInputError, NotFoundError
from model_delivery.listed_model import ListedFile, ListedModel, find_model, flat_tree


def planned(*paths: str) -> ListedModel:
    return find_model("1/r/artifacts", [ListedFile(path=path, size=1) for path in paths])


def paths(model: ListedModel) -> list[str]:
    return [file.path for file in model.files]


def test_the_root_is_the_directory_that_holds_mlmodel() -> None:
    model = planned("MLmodel", "data/weights.bin", "data/MLmodel")

    assert model.source == "1/r/artifacts"
    assert paths(model) == ["MLmodel", "data/weights.bin", "data/MLmodel"]


def test_the_only_directory_with_mlmodel_is_the_root_and_what_lies_beside_it_stays() -> None:
    model = planned("model/MLmodel", "model/data/weights.bin", "plots/roc.png", "model.txt")

    assert model.source == "1/r/artifacts/model"
    assert paths(model) == ["MLmodel", "data/weights.bin"]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "there are no artifacts at 1/r/artifacts"),
        (["weights.bin"], "there is no MLmodel"),
        (["a/b/MLmodel"], "there is no MLmodel"),
        (["mlmodel"], "there is no MLmodel"),
        (["a/MLmodel", "b/MLmodel"], 'several models lie at 1/r/artifacts: "a", "b"'),
    ],
    ids=["empty", "none", "too deep", "other letters", "two"],
)
def test_a_listing_without_one_model_is_not_found(files: list[str], reason: str) -> None:
    with pytest.raises(NotFoundError, match=reason):
        planned(*files)


def test_sizes_that_are_not_known_count_as_nothing() -> None:
    model = find_model("s", [ListedFile(path="MLmodel", size=3), ListedFile(path="x", size=None)])

    assert model.known_bytes == 3


def test_an_object_store_has_directories_by_the_names_of_its_files() -> None:
    marker, file = ListedFile(path="a", size=0), ListedFile(path="a/b", size=1, tag='"x"')

    assert tuple(flat_tree("s3://models", [marker, file])) == (file,)


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (("a", "a/b"), "a disk cannot hold both"),
        (("a", "a"), "twice"),
        (("../a",), "refused as a file name"),
        (("a//b",), "refused as a file name"),
        (("/".join("a" * 66),), "more than 64 directories in each other"),
        (("a" * 256,), "more than 255 bytes"),
        (("/".join(["a" * 250] * 17),), "more than 4095 bytes"),
    ],
    ids=["a file below a file", "twice", "above", "empty", "deep", "long", "long path"],
)
def test_a_tree_that_a_disk_cannot_hold_is_refused(paths: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        tuple(flat_tree("s3://models", (ListedFile(path=path, size=1) for path in paths)))
