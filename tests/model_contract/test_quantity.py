"""Quantities as Kubernetes writes them."""

from fractions import Fraction

import pytest

from model_contract.quantity import THOUSANDTH, WHOLE, Quantity, QuantityError, smallest


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1),
        ("250m", Fraction(1, 4)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("1Ki", 1024),
        ("1.5Gi", 3 * 2**29),
        ("20480Mi", 20 * 2**30),
        ("1k", 1000),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Fraction(6, 5)),
        ("100n", Fraction(1, 10**7)),
        ("1e-99", Fraction(1, 10**9)),
        ("1.5n", Fraction(2, 10**9)),
        ("+1", 1),
    ],
)
def test_quantity_is_read_as_kubernetes_reads_it(text: str, amount: Fraction) -> None:
    assert Fraction(Quantity.parse(text).amount, WHOLE) == amount


@pytest.mark.parametrize(
    "text", ["", " 1", "1 Gi", "1gi", "1K", "-1", "1e999", "1" * 20, "0x1", "NaN", "٣", "1.2.3", "Mi", ".", "+"]
)
def test_text_that_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="it must be a quantity"):
        Quantity.parse(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (350 * THOUSANDTH, "350m"),
        (2 * WHOLE, "2"),
        (200 * 2**20 * WHOLE, "200Mi"),
        (10**9 * WHOLE, "1000000000"),
    ],
)
def test_amount_is_written_shortly_and_means_the_same(amount: int, text: str) -> None:
    assert Quantity.of(amount).text == text
    assert Quantity.parse(text).amount == amount


def test_smallest_keeps_the_first_way_to_write_equal_amounts() -> None:
    assert smallest(None, Quantity.parse("1Gi"), Quantity.parse("1024Mi"), Quantity.parse("2Gi")).text == "1Gi"


@pytest.mark.parametrize(
    ("text", "size"), [("20Gi", 20 << 30), ("1.5Gi", 3 << 29), ("500M", 500_000_000), ("1500m", 2), ("1n", 1)]
)
def test_quantity_of_bytes_is_rounded_up(text: str, size: int) -> None:
    assert Quantity.parse(text).bytes == size
