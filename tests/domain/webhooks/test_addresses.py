"""Where webhooks may go to."""

import asyncio

import httpx
import pytest

from domain.webhooks.addresses import BadAddress, host_of, look_up, parse_url


@pytest.mark.parametrize(
    "host",
    ["[fec0::1]", "[::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[ff02::1]", "[::1]", "127.0.0.1", "224.0.0.1"],
)
def test_addresses_that_are_not_routed_are_refused(host: str) -> None:
    with pytest.raises(BadAddress, match="public"):
        parse_url(f"https://{host}/", allow_loopback=False)


@pytest.mark.parametrize("port", [0, 65_536, 99_999])
def test_ports_that_do_not_exist_are_refused(port: int) -> None:
    with pytest.raises(BadAddress):
        parse_url(f"https://hooks.example:{port}/", allow_loopback=False)


@pytest.mark.parametrize(
    "url", ["https://[2606:4700::1111]/", "https://1.1.1.1:65535/", "https://xn--a/x", "https://hooks.example:8443/x?k=1"]
)
def test_what_can_be_reached_is_kept_as_it_is(url: str) -> None:
    assert parse_url(url, allow_loopback=False) == url


def test_loopback_is_for_sandboxes() -> None:
    assert parse_url("http://[::1]:8000/x", allow_loopback=True) == "http://[::1]:8000/x"


async def test_the_name_that_is_looked_up_is_the_one_that_tls_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(0, 0, 0, "", ("1.1.1.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    url = httpx.URL("https://straße.example/")
    assert await look_up(url, allow_loopback=False) == ["1.1.1.1"]
    assert asked == [url.raw_host.decode()] == ["xn--strae-oqa.example"]


def test_a_host_is_all_that_a_log_has() -> None:
    assert host_of("https://hooks.example:8443/t0ken?key=t0ken") == "hooks.example"
