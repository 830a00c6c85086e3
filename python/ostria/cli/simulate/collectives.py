# SPDX-License-Identifier: Apache-2.0
"""How long a collective takes by the alpha-beta model, by the best of the algorithms it knows.

For n ranks, S bytes, links of latency a and bandwidth B:

    ring          2 (n - 1) (a + S / (n B))
    tree          2 log2(n) a + 2 S / B              pipelined, two trees that share the data
    hierarchical  reduce-scatter in the node, a ring or tree over nodes of S / g, all-gather

A flat ring or tree over several nodes goes as fast as its slowest link. Nothing else is modelled:
no congestion, no start of kernels, no noise of other jobs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ostria.cli.simulate.topology import Link, Topology


@dataclass(frozen=True)
class Estimate:
    seconds: float
    algorithm: str


def ring(n: int, size: float, link: Link) -> float:
    """Seconds of an all-reduce of `size` bytes."""
    return 2 * ring_phase(n, size, link)


def ring_phase(n: int, size: float, link: Link) -> float:
    """Seconds of a reduce-scatter or an all-gather of `size` bytes over all blocks."""
    return (n - 1) * (link.alpha + size / (n * link.bandwidth))


def tree(n: int, size: float, link: Link) -> float:
    """Seconds of an all-reduce of `size` bytes, up and down."""
    return 2 * tree_phase(n, size, link)


def tree_phase(n: int, size: float, link: Link) -> float:
    """Seconds of a reduction to one rank, or of a broadcast."""
    return 0.0 if n == 1 else _depth(n) * link.alpha + size / link.bandwidth


def _depth(n: int) -> int:
    return math.ceil(math.log2(n))


class Model:
    """Collectives over a topology."""

    def __init__(self, topology: Topology) -> None:
        self.topology = t = topology
        slow = min(t.intra.bandwidth, t.inter.bandwidth)
        self._slowest = Link("", max(t.intra.alpha, t.inter.alpha), slow, "")
        # Every rank of a node talks to other nodes at once, through the adapters of the node.
        shared = t.inter.bandwidth * t.nics / t.gpus
        self._rails = Link("", t.inter.alpha, shared, "")

    def seconds(self, kind: str, size: float) -> Estimate:
        """Of a call of the log: `size` bytes of the whole, over all blocks where there are some."""
        if self.topology.world == 1:
            return Estimate(0.0, "none")
        rules: dict[str, Callable[[float], dict[str, float]]] = {
            "all_reduce": self._all_reduce,
            "reduce_scatter": self._phase,
            "all_gather": self._phase,
            "broadcast": self._broadcast,
            "barrier": self._all_reduce,
        }
        candidates = rules[kind](size)
        name = min(candidates, key=lambda n: candidates[n])
        return Estimate(candidates[name], name)

    def _all_reduce(self, size: float) -> dict[str, float]:
        t = self.topology
        if t.nodes == 1 or t.gpus == 1:
            link = t.intra if t.nodes == 1 else t.inter
            return {"ring": ring(t.world, size, link), "tree": tree(t.world, size, link)}
        inside = 2 * ring_phase(t.gpus, size, t.intra)
        share = size / t.gpus
        return {
            "hierarchical ring": inside + ring(t.nodes, share, self._rails),
            "hierarchical tree": inside + tree(t.nodes, share, self._rails),
            "ring": ring(t.world, size, self._slowest),
            "tree": 2 * self._flat_tree(size),
        }

    def _phase(self, size: float) -> dict[str, float]:
        t = self.topology
        if t.nodes == 1 or t.gpus == 1:
            return {"ring": ring_phase(t.world, size, t.intra if t.nodes == 1 else t.inter)}
        inside = ring_phase(t.gpus, size, t.intra)
        return {
            "hierarchical ring": inside + ring_phase(t.nodes, size / t.gpus, self._rails),
            "ring": ring_phase(t.world, size, self._slowest),
        }

    def _broadcast(self, size: float) -> dict[str, float]:
        return {"tree": self._flat_tree(size)}

    def _flat_tree(self, size: float) -> float:
        t = self.topology
        hops = _depth(t.gpus) * t.intra.alpha + _depth(t.nodes) * t.inter.alpha
        used = [t.intra.bandwidth] * (t.gpus > 1) + [t.inter.bandwidth] * (t.nodes > 1)
        return hops + size / min(used)
