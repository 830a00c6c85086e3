# SPDX-License-Identifier: Apache-2.0
"""What `ostria simulate` computes with: formulas and schedules by hand, topologies, fits."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ostria.cli.simulate import calibrate, load, rendezvous
from ostria.cli.simulate.collectives import Model
from ostria.cli.simulate.fitting import fit
from ostria.cli.simulate.timeline import Call, Event, events_of, schedule
from ostria.cli.simulate.topology import LINKS, Link, Topology, read_topology

# --- Formulas -------------------------------------------------------------------------------------

FAST, SLOW = Link("fast", 1e-6, 100e9, "as given"), Link("slow", 10e-6, 10e9, "as given")


def topology(nodes: int, gpus: int, nics: int | None = None) -> Topology:
    return Topology(nodes, gpus, nics or gpus, FAST, SLOW)


@pytest.mark.parametrize(
    ("nodes", "gpus", "size", "seconds", "algorithm"),
    [
        # 2 (8 - 1) (1 us + 80 MB / (8 x 100 GB/s)) = 14 x 101 us
        (1, 8, 80e6, 1.414e-3, "ring"),
        # 2 log2(8) 1 us + 2 x 80 B / 100 GB/s
        (1, 8, 80, 6.0016e-6, "tree"),
        # 2 (4 - 1) (10 us + 40 MB / (4 x 10 GB/s)) = 6 x 1.01 ms
        (4, 1, 40e6, 6.06e-3, "ring"),
        # 2 x 7 (1 us + 80 MB / 800 GB/s) in the node, 2 x 3 (10 us + 10 MB / 40 GB/s) outside
        (4, 8, 80e6, 1.414e-3 + 1.56e-3, "hierarchical ring"),
        # in the node 14 us, outside 2 log2(128) 10 us: 154 us; a flat tree 2 (3 x 1 + 7 x 10) us
        (128, 8, 0, 146e-6, "tree"),
        (1, 1, 80e6, 0.0, "none"),
    ],
)
def test_all_reduce_is_that_of_the_best_algorithm(
    nodes: int, gpus: int, size: float, seconds: float, algorithm: str
) -> None:
    found = Model(topology(nodes, gpus)).seconds("all_reduce", size)
    assert found.algorithm == algorithm
    assert found.seconds == pytest.approx(seconds, rel=1e-9)


def test_hierarchical_tree_where_nodes_are_many_and_data_some() -> None:
    # 2 x 7 (1 us + 1 MB / 800 GB/s), then 2 x 10 x 10 us + 2 x 125 KB / 10 GB/s over 1,024 nodes
    found = Model(topology(1024, 8)).seconds("all_reduce", 1e6)
    assert found.algorithm == "hierarchical tree"
    assert found.seconds == pytest.approx(31.5e-6 + 225e-6, rel=1e-9)


def test_adapters_that_ranks_share_divide_the_rate_between_nodes() -> None:
    each = Model(topology(4, 8)).seconds("all_reduce", 80e6).seconds
    shared = Model(topology(4, 8, nics=1)).seconds("all_reduce", 80e6)
    # the ring over nodes sends 2 x 3 / 4 of 10 MB, at an eighth of 10 GB/s; a flat ring at all of
    # it, but 80 MB: 62 x (10 us + 80 MB / (32 x 10 GB/s)) = 16.12 ms is more than 13.47 ms
    assert shared.seconds - each == pytest.approx(7 * 15e6 / 10e9, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "size", "seconds"),
    [
        ("reduce_scatter", 80e6, 0.707e-3),  # half of the ring
        ("all_gather", 80e6, 0.707e-3),
        ("broadcast", 80e6, 3e-6 + 0.8e-3),  # log2(8) hops, all data once
        ("barrier", 0, 6e-6),
    ],
)
def test_other_collectives(kind: str, size: float, seconds: float) -> None:
    assert Model(topology(1, 8)).seconds(kind, size).seconds == pytest.approx(seconds, rel=1e-9)


# --- Schedules ------------------------------------------------------------------------------------

MS = 1e-3
# 2 a + S / B of two ranks: no latency, 1 MB takes 1 ms
PAIR = Model(Topology(1, 2, 2, Link("", 0.0, 1e9, ""), SLOW))


def start(slot: int, size: int) -> Call:
    return Call("start", f"bucket {slot}", size, slot, 0, 0)


def wait(slot: int) -> Call:
    return Call("wait", "", 0, slot, 0, 0)


# 2 ms, bucket of 4 MB; 1 ms, bucket of 1 MB; 3 ms, wait for both; 1 ms
STEP = [
    Event(2 * MS, start(0, 4_000_000)),
    Event(1 * MS, start(1, 1_000_000)),
    Event(3 * MS, wait(0)),
    Event(0.0, wait(1)),
    Event(1 * MS, None),
]


def test_buckets_go_one_after_the_other_beside_the_computing() -> None:
    found = schedule(STEP, PAIR)
    first, second = found.buckets
    assert (first.ready, first.start, first.end) == pytest.approx((2 * MS, 2 * MS, 6 * MS))
    assert (second.ready, second.start, second.end) == pytest.approx((3 * MS, 6 * MS, 7 * MS))
    assert first.exposed == pytest.approx(0.0)  # it ends when computing comes to wait, at 6 ms
    assert second.exposed == pytest.approx(1 * MS)
    assert found.compute == pytest.approx(7 * MS)
    assert found.step == pytest.approx(8 * MS)
    assert found.efficiency == pytest.approx(7 / 8)
    assert first.undelayed and second.undelayed


def test_nothing_is_exposed_where_computing_dominates() -> None:
    found = schedule(STEP, PAIR, scale=100.0)
    assert found.exposed == 0.0
    assert found.step == found.compute == pytest.approx(700 * MS)
    assert found.communication == pytest.approx(5 * MS)


def test_what_nothing_runs_beside_is_waited_for_and_comes_after_what_was_started() -> None:
    events = [
        Event(1 * MS, start(0, 2_000_000)),
        Event(0.0, Call("all_reduce", "norm", 1_000_000, -1, 0, 0)),
        Event(1 * MS, wait(0)),
        Event(0.0, None),
    ]
    found = schedule(events, PAIR)
    norm = next(b for b in found.buckets if b.what == "norm")
    assert not norm.overlapped
    assert (norm.start, norm.end) == pytest.approx((3 * MS, 4 * MS))
    assert norm.exposed == pytest.approx(3 * MS)
    assert found.step == pytest.approx(5 * MS)


def test_one_rank_communicates_nothing() -> None:
    found = schedule(STEP, Model(topology(1, 1)))
    assert found.communication == found.exposed == 0.0
    assert found.step == found.compute


def test_time_inside_of_calls_is_no_computing() -> None:
    calls = [Call("start", "a", 8, 0, 1_000, 5_000), Call("wait", "", 0, 0, 6_000, 7_000)]
    events = events_of(0, 10_000, calls)
    assert [event.compute for event in events] == pytest.approx([1e-6, 1e-6, 3e-6])


# --- Topologies -----------------------------------------------------------------------------------


def no_measure(place: str) -> Link:
    raise AssertionError(f"{place} was measured")


def test_what_is_left_out_of_a_topology_is_filled_in() -> None:
    found = read_topology("", 1024, no_measure)
    assert (found.nodes, found.gpus, found.nics) == (128, 8, 8)
    assert (found.intra, found.inter) == (LINKS["nvlink"], LINKS["ib400"])
    assert read_topology("", 4, no_measure).nodes == 1
    assert read_topology("nodes=3", 12, no_measure).gpus == 4
    given = read_topology(
        "nodes=2,gpus=4,nics=2,intra=400GB/s:2us,inter=100Gb/s:1.5us", 8, no_measure
    )
    assert (given.intra.bandwidth, given.intra.alpha) == pytest.approx((400e9, 2e-6))
    assert (given.inter.bandwidth, given.inter.alpha) == pytest.approx((12.5e9, 1.5e-6))
    assert given.nics == 2


def test_links_are_measured_where_it_is_asked_for_and_something_goes_over_them() -> None:
    asked: list[str] = []

    def measure(place: str) -> Link:
        asked.append(place)
        return FAST

    assert read_topology("intra=measured,inter=ib400", 16, measure).intra is FAST
    read_topology("gpus=1", 4, measure, "measured")
    assert asked == ["intra", "inter"]


@pytest.mark.parametrize(
    ("text", "world", "message", "column"),
    [
        ("nodes=2,gpus=8,intra=nvlnk", 16, "intra is 'nvlnk'; accepted are nvlink, nvlink3", 21),
        ("intra=0GB/s:1us", 16, "intra is '0GB/s:1us'; accepted are", 6),
        ("gpus=8,cpus=2", 16, "'cpus=2' is not accepted; give nodes=…, gpus=…", 7),
        ("gpus", 16, "'gpus' is not accepted", 0),
        ("gpus=0", 16, "gpus is '0'; accepted is a whole number of at least 1", 5),
        ("gpus=8,gpus=8", 16, "gpus is given twice", 7),
        ("nodes=3,gpus=8", 16, "3 node(s) of 8 rank(s) are 24, but --world is 16", 6),
        ("gpus=8", 12, "2 node(s) of 8 rank(s) are 16, but --world is 12", 5),
        ("gpus=8,nics=9", 16, "nics is 9; accepted are 1 to gpus, 8", 12),
    ],
)
def test_a_damaged_topology_is_refused_below_a_caret(
    text: str, world: int, message: str, column: int
) -> None:
    with pytest.raises(ValueError) as caught:
        read_topology(text, world, no_measure)
    first, shown, caret = str(caught.value).splitlines()
    assert first.startswith(f"--topology: {message}")
    assert shown == f"  {text}"
    assert caret == "  " + " " * column + "^"


# --- What is measured -----------------------------------------------------------------------------


def test_a_fit_finds_latency_and_rate_and_its_error() -> None:
    exact = [(size, 2 * 5e-6 + size / 2e9) for size in calibrate.SIZES]
    link = calibrate.link_of(exact, "shm")
    assert (link.alpha, link.bandwidth) == pytest.approx((5e-6, 2e9))
    assert link.source.endswith("over shm; the model is off by at most 0% there")
    bent = [(size, seconds * (1.2 if size > 1 << 20 else 1.0)) for size, seconds in exact]
    found = fit(bent, lambda _: 2.0, float)
    assert 0.05 < found.error < 0.2
    assert fit([(size, size / 1e9) for size, _ in exact], lambda _: 2.0, float).first < 1e-12
    with pytest.raises(ValueError, match="over shm time does not grow with size"):
        calibrate.link_of([(size, 1e-3 / (1 + n)) for n, (size, _) in enumerate(exact)], "shm")


def test_two_processes_are_measured() -> None:
    link = calibrate.measure("intra")
    assert link.is_measured
    assert 0 <= link.alpha < 0.1
    assert 1e7 < link.bandwidth < 1e12
    assert re.search(r"over shm; the model is off by at most \d+% there", link.source)


def test_more_ranks_than_can_meet_are_computed_from_those_that_did() -> None:
    points = [(n, 1e-3 * n + 1e-6 * n * n) for n in (250, 500, 1000)]
    seconds, error = rendezvous.extrapolate(points, 4000)
    assert seconds == pytest.approx(4.0 + 16.0)
    assert error < 1e-9
    flat = [(n, 2e-3 * n) for n in (250, 500, 1000)]
    assert rendezvous.extrapolate(flat, 2000)[0] == pytest.approx(4.0)
    falling = [(250, 1.0), (500, 1.1), (1000, 1.2)]  # no part is negative all the same
    assert rendezvous.extrapolate(falling, 2000)[0] > 1.2


def test_threads_meet_over_a_real_control_channel() -> None:
    assert rendezvous.measure(32, 0) is None
    found = rendezvous.measure(32, 32)
    assert found is not None and found.is_measured
    assert found.joined == ((32, found.seconds),)
    assert 0 < found.seconds < 60
    partly = rendezvous.measure(1024, 32)
    assert partly is not None and not partly.is_measured
    assert [n for n, _ in partly.joined] == [8, 16, 32]
    assert partly.seconds > partly.joined[-1][1]


def test_the_limit_of_open_files_is_raised_for_ranks_to_meet() -> None:
    code = (
        "import resource as r\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (100, r.getrlimit(r.RLIMIT_NOFILE)[1]))\n"
        "from ostria.cli.simulate import rendezvous\n"
        "print(rendezvous.measure(800, 800).seconds)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 60


def test_the_load_is_that_of_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, own, clock = iter([10.0, 13.0]), iter([1.0, 2.0]), iter([100.0, 101.6])
    monkeypatch.setattr(load, "_busy", lambda: next(busy))
    monkeypatch.setattr(load, "_own", lambda: next(own))
    monkeypatch.setattr(load.time, "monotonic", lambda: next(clock))
    assert load.Load().other_cores() == pytest.approx(2.0 / 1.6)


def test_the_system_says_how_busy_it_is() -> None:
    before = load._busy()
    assert before > 0.0
    assert load._busy() >= before
