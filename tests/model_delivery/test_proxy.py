import pytest

from model_delivery.errors import InvalidInputError
from model_delivery.proxy import proxy_for
from model_delivery.tracking_uri import parse_tracking_uri

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({}, None),
        ({"HTTP_PROXY": ""}, None),
        ({"HTTP_PROXY": PROXY}, "proxy.example"),
        ({"HTTP_PROXY": "proxy.example:3128"}, "proxy.example"),
        ({"HTTP_PROXY": PROXY, "http_proxy": "http://lower.example"}, "lower.example"),
        ({"HTTPS_PROXY": PROXY}, None),
    ],
    ids=["none", "empty", "set", "without a scheme", "lower case first", "for https only"],
)
def test_a_plain_address_goes_through_the_proxy_for_http(environ: dict[str, str], host: str | None) -> None:
    proxy = proxy_for(parse_tracking_uri("http://mlflow:5000"), environ)

    assert (proxy.host if proxy else None) == host


@pytest.mark.parametrize(
    ("uri", "no_proxy", "direct"),
    [
        ("http://mlflow.ns.svc:5000", "*", True),
        ("http://mlflow.ns.svc:5000", "mlflow.ns.svc", True),
        ("http://MLFLOW.ns.svc:5000", "other, mlflow.NS.svc ", True),
        ("http://mlflow.ns.svc:5000", "mlflow.ns.svc:5000", True),
        ("http://mlflow.ns.svc:5000", "mlflow.ns.svc:80", False),
        ("http://mlflow.ns.svc:5000", ".svc", True),
        ("http://mlflow.ns.svc:5000", "svc", True),
        ("http://mlflow.ns.svc:5000", "*.ns.svc", True),
        ("http://mlflow.ns.svc:5000", "low.ns.svc", False),
        ("http://mlflow.ns.svc:5000", ",,", False),
        ("http://10.1.2.3:5000", "10.0.0.0/8", True),
        ("http://10.1.2.3:5000", "192.168.0.0/16", False),
        ("http://10.1.2.3:5000", "10.1.2.3", True),
        ("http://[fd00::1]:5000", "fd00::/8", True),
        ("http://mlflow.ns.svc:5000", "10.0.0.0/8", False),
        ("http://mlflow.ns.svc:5000", "10.0.0.0/99", False),
    ],
)
def test_no_proxy_names_what_is_reached_directly(uri: str, no_proxy: str, direct: bool) -> None:
    proxy = proxy_for(parse_tracking_uri(uri), {"HTTP_PROXY": PROXY, "NO_PROXY": no_proxy})

    assert (proxy is None) is direct


def test_no_proxy_in_lower_case_comes_first() -> None:
    environ = {"HTTP_PROXY": PROXY, "NO_PROXY": "mlflow", "no_proxy": "other"}

    assert proxy_for(parse_tracking_uri("http://mlflow:5000"), environ) is not None


@pytest.mark.parametrize("value", ["socks5://proxy:1080", "https://proxy:3128", "http://", "http://proxy:hunter2"])
def test_a_proxy_of_another_kind_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(InvalidInputError, match=r"HTTP_PROXY .* it must look like") as refused:
        proxy_for(parse_tracking_uri("http://mlflow"), {"HTTP_PROXY": value})

    assert "hunter2" not in str(refused.value)


def test_the_password_of_a_proxy_is_not_printed() -> None:
    proxy = proxy_for(parse_tracking_uri("http://mlflow"), {"HTTP_PROXY": "http://user:hunter2@proxy:3128"})

    assert proxy is not None
    assert proxy.headers() == {"Proxy-Authorization": "Basic dXNlcjpodW50ZXIy"}
    assert "dXNlcjpodW50ZXIy" not in repr(proxy)
