import pytest

from model_contract.allowed_hosts import parse_allowed_hosts

S3 = "*.s3.example, minio.storage:9000,http://plain.example:8080"


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        (("https", "bucket.s3.example", 443), True),
        (("https", "a.b.S3.example", 443), True),
        (("https", "s3.example", 443), False),
        (("https", "evils3.example", 443), False),
        (("https", "bucket.s3.example.evil.example", 443), False),
        (("https", "bucket.s3.example", 9000), False),
        (("http", "bucket.s3.example", 443), False),
        (("https", "minio.storage", 9000), True),
        (("http", "minio.storage", 9000), False),
        (("http", "plain.example", 8080), True),
        (("https", "plain.example", 8080), False),
    ],
)
def test_only_a_named_host_with_its_scheme_and_port_is_allowed(address: tuple[str, str, int], allowed: bool) -> None:
    assert any(host.covers(*address) for host in parse_allowed_hosts(S3)) == allowed


@pytest.mark.parametrize(
    "text",
    ["*", "s3.*.example", "ftp://s3.example", "s3.example/bucket", "user@s3.example", "s3.example:x", "a b", "?"],
)
def test_an_entry_that_is_not_a_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it must be a list of hosts"):
        parse_allowed_hosts(text)


def test_an_empty_list_allows_nothing() -> None:
    assert parse_allowed_hosts(" , ") == ()
