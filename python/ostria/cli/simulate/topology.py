# SPDX-License-Identifier: Apache-2.0
"""How ranks are connected: `nodes=128,gpus=8,intra=nvlink,inter=ib400` read into links.

A link is what the alpha-beta model knows of one: seconds that a message takes whatever its size,
and bytes per second of one rank in one direction. Known names carry the source of their constants.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

GB = 1e9
US = 1e-6


@dataclass(frozen=True)
class Link:
    """Attributes:
    name: as it was given.
    alpha: seconds per message.
    bandwidth: bytes per second, of one rank and one direction.
    source: where the numbers come from.
    is_measured: whether they were measured here.
    """

    name: str
    alpha: float
    bandwidth: float
    source: str
    is_measured: bool = False


_NCCL = "NCCL's constant for a hop (src/graph/tuning.cc, LL128)"


def _known(name: str, gigabytes: float, us: float, rate: str, latency: str) -> Link:
    source = f"{rate}, with no loss to protocols; latency: {latency}"
    return Link(name, us * US, gigabytes * GB, source)


LINKS = {
    link.name: link
    for link in (
        _known("nvlink", 450, 1.9, "the link rate of NVLink 4, as an H100 has it", _NCCL),
        _known("nvlink3", 300, 1.9, "the link rate of NVLink 3, as an A100 has it", _NCCL),
        _known("pcie5", 63, 2.5, "the link rate of PCIe 5 x16", _NCCL),
        _known("pcie4", 31.5, 2.5, "the link rate of PCIe 4 x16", _NCCL),
        _known("ib400", 50, 4.0, "the link rate of InfiniBand NDR, 400 Gb/s", _NCCL),
        _known("ib200", 25, 4.0, "the link rate of InfiniBand HDR, 200 Gb/s", _NCCL),
        _known("ib100", 12.5, 4.0, "the link rate of InfiniBand EDR, 100 Gb/s", _NCCL),
        *(
            _known(
                f"eth{gigabits}",
                gigabits / 8,
                20.0,
                f"the link rate of Ethernet, {gigabits} Gb/s",
                "a small all-reduce by MPI over TCP of a loopback; switches add to it",
            )
            for gigabits in (100, 25, 10)
        ),
    )
}
MEASURED = "measured"
DEFAULT = "gpus=8,intra=nvlink,inter=ib400"
FORMS = (
    f"{', '.join(LINKS)}, {MEASURED} (here, between two processes), or a rate and a latency such "
    "as 400GB/s:2us"
)


@dataclass(frozen=True)
class Topology:
    """`nodes` hosts of `gpus` ranks each.

    Attributes:
      nodes, gpus: how many hosts, and ranks on each.
      nics: adapters that the ranks of a host share; as many as ranks where each has its own.
      intra, inter: links between ranks of a host, and between hosts: of one adapter.
    """

    nodes: int
    gpus: int
    nics: int
    intra: Link
    inter: Link

    @property
    def world(self) -> int:
        return self.nodes * self.gpus

    def shrunk(self, world: int) -> Topology:
        """The same with fewer ranks; `world` is at most `gpus`, or a multiple of it."""
        if world <= self.gpus:
            return Topology(1, world, min(self.nics, world), self.intra, self.inter)
        return Topology(world // self.gpus, self.gpus, self.nics, self.intra, self.inter)


_KEYS = ("nodes", "gpus", "nics", "intra", "inter")
_RATES = {
    f"{prefix}{unit}/s": size * share
    for prefix, size in (("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12))
    for unit, share in (("B", 1.0), ("b", 0.125))
}
TIMES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_NUMBERS = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kMGT][Bb]/s):([0-9]+(?:\.[0-9]+)?)([num]?s)")


def read_topology(
    text: str, world: int, measure: Callable[[str], Link], default_link: str = ""
) -> Topology:
    """A text such as `nodes=128,gpus=8,nics=8,intra=nvlink,inter=50GB/s:4us`.

    Args:
      text: what is left out: `gpus` 8 or the world if that is less, `nodes` what makes up the
        world, `nics` one for each rank, and links those of DEFAULT.
      world: number of ranks.
      measure: gives the link "intra" or "inter" as measured here, where the text asks for it.
      default_link: for links that are left out, instead of those of DEFAULT.

    Raises:
      ValueError: it is damaged, or does not make up `world`; with a caret below the place.
    """

    def refuse(at: int, why: str) -> ValueError:
        return ValueError(f"--topology: {why}\n  {text}\n  {' ' * at}^")

    given: dict[str, tuple[str, int]] = {}
    at = 0
    for part in text.split(",") if text else ():
        key, equals, value = part.partition("=")
        if not equals or key not in _KEYS:
            raise refuse(at, f"'{part}' is not accepted; give {'=…, '.join(_KEYS)}=…")
        if key in given:
            raise refuse(at, f"{key} is given twice")
        given[key] = (value, at + len(key) + 1)
        at += len(part) + 1

    def number(key: str, default: int) -> int:
        if key not in given:
            return default
        value, place = given[key]
        if not re.fullmatch("[1-9][0-9]{0,6}", value):
            raise refuse(place, f"{key} is '{value}'; accepted is a whole number of at least 1")
        return int(value)

    nodes = number("nodes", 0)
    gpus = number("gpus", max(1, world // nodes) if nodes else min(world, 8))
    if nodes == 0:
        nodes = max(1, -(-world // gpus))
    if nodes * gpus != world:
        place = given["nodes" if "nodes" in given else "gpus"][1] if given else 0
        raise refuse(
            place,
            f"{nodes} node(s) of {gpus} rank(s) are {nodes * gpus}, but --world is {world}; every "
            "node has equally many: change one of the two",
        )
    nics = number("nics", gpus)
    if nics > gpus:
        place = given["nics"][1]
        raise refuse(place, f"nics is {nics}; accepted are 1 to gpus, {gpus}")

    defaults = dict(part.split("=") for part in DEFAULT.split(",")[1:])

    def link(key: str) -> Link:
        name, place = given.get(key, (default_link or defaults[key], 0))
        if name == MEASURED:
            return measure(key)
        if name in LINKS:
            return LINKS[name]
        found = _NUMBERS.fullmatch(name)
        bandwidth = float(found[1]) * _RATES[found[2]] if found else 0.0
        if found is None or bandwidth == 0.0:
            raise refuse(place, f"{key} is '{name}'; accepted are {FORMS}")
        return Link(name, float(found[3]) * TIMES[found[4]], bandwidth, "as given")

    # A link that nothing goes over is not measured.
    known = {key: link(key) for key, used in (("intra", gpus > 1), ("inter", nodes > 1)) if used}
    spare = next(iter(known.values()), LINKS["nvlink"])
    return Topology(nodes, gpus, nics, known.get("intra", spare), known.get("inter", spare))
