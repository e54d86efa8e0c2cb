"""Who has which address on which virtual network: the rule is the NixOS test driver's.

Machines are numbered from 1 in the order of their names; machine N has the address 192.168.V.N on network V,
and every machine knows every other by name.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Ports from which one is drawn for a network: above the registered ones, below those the kernel hands out itself.
PORTS = range(20000, 32000)


@dataclass(frozen=True)
class Link:
    """One network card of one machine."""

    vlan: int
    address: str
    hardware: str


@dataclass(frozen=True)
class Network:
    """All virtual networks of one test run."""

    #: Names of the machines, and the networks each of them is in.
    machines: Mapping[str, Sequence[int]]
    #: Multicast group and port that carry network 0; network V uses the port V further on.
    group: str
    port: int

    @classmethod
    def of(cls, machines: Mapping[str, Sequence[int]]) -> Network:
        """Networks that another run on this computer will hardly share: group and port are drawn by lot."""
        group = ".".join(["239", *(str(random.randrange(1, 255)) for _ in range(3))])
        return cls(machines, group, random.choice(PORTS))

    def number(self, name: str) -> int:
        """The machine's number, its host part in every address."""
        return sorted(self.machines).index(name) + 1

    def links(self, name: str) -> list[Link]:
        """The machine's network cards, in order."""
        number = self.number(name)
        return [
            Link(vlan, f"192.168.{vlan}.{number}", f"52:54:00:12:{vlan:02x}:{number:02x}")
            for vlan in self.machines[name]
        ]

    def hosts(self) -> list[tuple[str, str]]:
        """Address and name of every machine that is in a network at all: the address in its first one."""
        return [(links[0].address, name) for name in sorted(self.machines) if (links := self.links(name))]
