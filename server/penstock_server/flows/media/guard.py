"""Which addresses the server may be sent to by its callers.

Whoever names an address makes the server connect from where the server stands: inside its network, beside its cloud's
metadata service. So addresses that are not of the public internet are refused, unless the operator allows them. What
is public is read from IANA's registries of special addresses (as Python's `ipaddress` knows them), and addresses that
carry another one inside count as that one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundGuard:
    """Tells allowed addresses from others."""

    allowed: tuple[Network, ...] = ()
    """Networks that may be reached although they are not public."""

    def allows(self, address: Address) -> bool:
        """Whether a connection to this address may be made."""
        if any(address in network for network in self.allowed):
            return True
        return all(any(each in network for network in self.allowed) or _is_public(each) for each in _within(address))


def guard_of(networks: Iterable[str]) -> OutboundGuard:
    """A guard that allows what is public and these networks, such as `10.1.0.0/16` or `127.0.0.1`.

    Raises:
        ValueError: one of them is no network; the text says which.
    """
    return OutboundGuard(allowed=tuple(map(network_of, networks)))


def network_of(text: str) -> Network:
    """A network, or a single address as a network of one.

    Raises:
        ValueError: it is neither.
    """
    try:
        return ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"`{text}` is no network such as 10.1.0.0/16, and no address ({error})") from None


def address_of(text: str) -> Address:
    """An address as resolvers give it, without the zone of a link-local one.

    Raises:
        ValueError: it is none.
    """
    return ip_address(text.partition("%")[0])


def _is_public(address: Address) -> bool:
    if any(address in network for network in _SPECIAL):
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return address.is_global and not special


def _within(address: Address) -> Sequence[Address]:
    """The address itself, or those that a packet to it may be turned into on its way (RFC 4291, 6052, 3056, 4380)."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    carried = [address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _CARRIERS):
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    found = [each for each in carried if each is not None]
    return found or [address]


_CARRIERS = (ip_network("64:ff9b::/96"), ip_network("::/96"))
"""Networks whose last 32 bits are an IPv4 address: NAT64's, and the old IPv4-compatible one."""

_SPECIAL = (
    ip_network("192.0.0.0/24"),  # protocol assignments, among them a cloud's metadata service
    ip_network("192.88.99.0/24"),  # the anycast address of 6to4 relays
    ip_network("168.63.129.16/32"),  # a cloud's service for its machines, at an address like any other
    ip_network("64:ff9b:1::/48"),  # NAT64 within a network
    ip_network("2001::/23"),  # protocol assignments
    ip_network("fec0::/10"),  # site-local
)
"""What is special beyond that which `ipaddress` of every Python that we run on knows."""
