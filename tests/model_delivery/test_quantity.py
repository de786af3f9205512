import pytest

from model_delivery.errors import InvalidInputError
from model_delivery.quantity import bytes_of


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1 << 20),
        ("20Gi", 20 << 30),
        ("1.5Gi", 3 << 29),
        (".5Ki", 512),
        ("5.", 5),
        ("+7", 7),
        ("500M", 500_000_000),
        ("12k", 12_000),
        ("1e9", 10**9),
        ("1E3", 1000),
        ("1E", 10**18),
        ("2Ei", 2 << 60),
        ("1.5e3", 1500),
        ("1e-1", 1),
        ("1500m", 2),
        ("1n", 1),
    ],
)
def test_a_size_is_read_as_kubernetes_does(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "Gi", ".", "20GiB", "20 Gi", "20gi", "1K", "-5", "0", "0Gi", "1e", "1e999", "0x10", "1_000", "\uff11", "nan", "9" * 65],
    ids=ascii,
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no size; write it like 20Gi"):
        bytes_of(text)
