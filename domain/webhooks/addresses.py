"""Which addresses webhooks may go to. A customer writes the URL, and our network must not be reached by it.

A name is looked up at the moment of sending, and the connection goes to the very address that was checked: what the name leads
to a moment later makes no difference.
"""

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from domain.errors import Invalid

_LONGEST = 2_000
_LOOK_UP_WITHIN = 5.0
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL = IPv6Network("2000::/3")  # all that is routed; the library knows of many exceptions outside it, but not of all
_PORTS = range(1, 65_536)

Address = IPv4Address | IPv6Address


class BadAddress(Invalid):
    """Webhooks do not go to such a URL."""

    code = "WHK-001"


def parse_url(text: str, *, allow_loopback: bool) -> str:
    """The URL in its normal form. Raises BadAddress for what is no https URL, or names an address that is not public."""
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, UnicodeError):
        raise BadAddress("This is not a URL.", field=("url",)) from None
    host = _host(url)
    literal = _literal(host)
    is_loopback = host == "localhost" or (literal is not None and _inner(literal).is_loopback)
    if url.scheme != "https" and not (allow_loopback and is_loopback and url.scheme == "http"):
        raise BadAddress("Webhooks go to https:// URLs only.", field=("url",))
    is_named = literal is not None or _NAME.fullmatch(host)
    if not is_named or url.userinfo or url.fragment or len(text) > _LONGEST:
        raise BadAddress("The URL has a host, no password and no fragment, and at most 2,000 characters.", field=("url",))
    if url.port is not None and url.port not in _PORTS:
        raise BadAddress("A port is a number from 1 to 65535.", field=("url",))
    if literal is not None and not _is_allowed(literal, allow_loopback=allow_loopback):
        raise BadAddress("This address is not a public one.", field=("url",))
    return str(url)


def host_of(url: str) -> str:
    """The host alone, for logs and messages: the rest of a webhook's URL may be what lets its sender in."""
    return _host(httpx.URL(url))


async def look_up(url: httpx.URL, *, allow_loopback: bool) -> list[str]:
    """The addresses that the URL's host has now. Raises BadAddress where one of them is not public, OSError for none at all."""
    port = url.port or (443 if url.scheme == "https" else 80)
    async with asyncio.timeout(_LOOK_UP_WITHIN):
        found = await asyncio.get_running_loop().getaddrinfo(_host(url), port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    for text in addresses:
        if not _is_allowed(ip_address(text.partition("%")[0]), allow_loopback=allow_loopback):
            raise BadAddress(f"{_host(url)} leads to an address that is not public.", field=("url",))
    return addresses


def _is_allowed(address: Address, *, allow_loopback: bool) -> bool:
    inner = _inner(address)
    is_routed = isinstance(inner, IPv4Address) or inner in _GLOBAL
    return (is_routed and inner.is_global and not inner.is_multicast) or (allow_loopback and inner.is_loopback)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does: translation must not lead around the check."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address


def _host(url: httpx.URL) -> str:
    """As it goes over the wire, and as TLS asks for it: decoded, a name may be another one, or none at all."""
    return url.raw_host.decode("ascii")


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
