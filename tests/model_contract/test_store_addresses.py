import pytest

from model_contract.store_addresses import is_store_address, parse_store_address, parse_store_addresses

AZURE = "abfss://models@acme.dfs.core.windows.net"


@pytest.mark.parametrize(
    "text",
    [
        "s3://models",
        "s3://models/7/a b/model",
        "gs://models/x",
        AZURE,
        "wasbs://m-1@acme.blob.core.windows.net/x",
        "abfss://models@acme.privatelink.dfs.core.windows.net/a/b",
    ],
)
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert is_store_address(text)
    assert str(parse_store_address(f"{text}/")) == text


@pytest.mark.parametrize(
    "text",
    [
        "s3:models",
        "s3://",
        "s3://models//x",
        "s3://models/../x",
        "s3://models/x?versionId=1",
        "s3://key:word@models/x",
        "s3://models:9000/x",
        "abfss://models/x",
        "abfss://models@evil.example/x",
        "abfss://models@acme.dfs/x",
        "wasbs://models@acmexblob.core.windows.net/x",
        "wasbs://@acme.blob.core.windows.net/x",
        "abfss://models@acme.dfs.core.windows.net:444/x",
        "https://models/x",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it must be addresses of object stores"):
        parse_store_address(text)


@pytest.mark.parametrize(
    ("entry", "covered"),
    [
        ("s3://models", True),
        ("s3://models/a", True),
        ("s3://models/a/b", True),
        ("s3://models/a/b/c", False),
        ("s3://models/a/bb", False),
        ("s3://models/", True),
        ("s3://model", False),
        ("gs://models", False),
    ],
)
def test_an_entry_covers_its_own_path_and_those_below_it(entry: str, covered: bool) -> None:
    (allowed,) = parse_store_addresses(f" {entry} ,")

    assert allowed.covers(parse_store_address("s3://models/a/b")) is covered


@pytest.mark.parametrize(
    ("host", "blob_host"),
    [
        ("acme.dfs.core.windows.net", "acme.blob.core.windows.net"),
        ("acme.blob.core.chinacloudapi.cn", "acme.blob.core.chinacloudapi.cn"),
        ("acme.privatelink.dfs.core.windows.net", "acme.privatelink.blob.core.windows.net"),
    ],
)
def test_files_of_azure_are_read_at_the_blob_service(host: str, blob_host: str) -> None:
    assert parse_store_address(f"abfss://models@{host}/x").blob_host == blob_host


def test_an_entry_of_azure_covers_one_account() -> None:
    (allowed,) = parse_store_addresses(AZURE)

    assert allowed.covers(parse_store_address(f"{AZURE}/x"))
    assert not allowed.covers(parse_store_address("abfss://models@other.dfs.core.windows.net/x"))
