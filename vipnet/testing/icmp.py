"""P11: ICMP errors about translated flows."""

from __future__ import annotations

from typing import get_args

from vipnet.testing.network import NetworkUnderTest
from vipnet.testing.probe import BEYOND, OUTSIDE, Complaint, IcmpError
from vipnet.testing.promises import EIP, GATEWAY, VIP, WORLD, settle

__all__ = ["IcmpPromises"]

COMPLAINTS: tuple[Complaint, ...] = get_args(Complaint)


class IcmpPromises:
    """P11, of IPv4. Who is told of an error has recognised a flow of its own in what the error quotes."""

    def test_p11_outside_is_told_by_the_eip(self, network: NetworkUnderTest) -> None:
        settle(network)
        for complaint in COMPLAINTS:
            assert network.probe.told(OUTSIDE, EIP, complaint, at="a") == IcmpError(complaint, EIP)

    def test_p11_the_holder_is_told_from_beyond(self, network: NetworkUnderTest) -> None:
        settle(network)
        for complaint in COMPLAINTS:
            assert network.probe.told("a", BEYOND, complaint, at=OUTSIDE, src=VIP) == IcmpError(complaint, WORLD)

    def test_p11_who_is_masqueraded_is_told_from_beyond(self, network: NetworkUnderTest) -> None:
        settle(network)
        for complaint in COMPLAINTS:
            assert network.probe.told("c", BEYOND, complaint, at=OUTSIDE) == IcmpError(complaint, WORLD)

    def test_p11_a_hairpin_is_told_by_the_eip(self, network: NetworkUnderTest) -> None:
        settle(network)
        for complaint in COMPLAINTS:
            assert network.probe.told("c", EIP, complaint, at="a") == IcmpError(complaint, EIP)

    def test_p11_traceroute_shows_no_private_address_outside(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.trace(OUTSIDE, EIP) == (EIP, EIP)

    def test_p11_traceroute_from_the_holder(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.trace("a", WORLD, src=VIP) == (GATEWAY, WORLD)

    def test_p11_traceroute_by_a_hairpin(self, network: NetworkUnderTest) -> None:
        settle(network)
        assert network.probe.trace("c", EIP)[1:] == (EIP,)  # its router may answer as either
