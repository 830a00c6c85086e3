# SPDX-License-Identifier: Apache-2.0
"""`ostria simulate`: the model against formulas by hand, schedules, topologies, whole runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostria._native import CallLog, modelled_replicas
from ostria.cli import main
from ostria.cli.simulate import calibrate, rendezvous
from ostria.cli.simulate.collectives import Model
from ostria.cli.simulate.fitting import fit
from ostria.cli.simulate.timeline import Call, Event, events_of, schedule
from ostria.cli.simulate.topology import LINKS, Link, Topology, read_topology
from ostria.distribute import _simulated

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


def test_a_report_needs_no_rendezvous(run: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(ranks: int) -> float:
        raise RuntimeError("Resource temporarily unavailable")

    monkeypatch.setattr(rendezvous.dist, "measure_join", refuse)
    status, out, err = run("--world", "8", "--steps", "1", "--rendezvous", "8")
    assert status == 0 and "exposed communication" in out and "threads meet" not in out
    assert "8 ranks do not meet on this machine; give --rendezvous fewer, or 0: Resource" in err


# --- Rank 0 of a world that is not there ----------------------------------------------------------

SCRIPT = """
import sys
import numpy as np
import ostria as ost

with ost.distribute.MultiWorkerMirroredStrategy() as strategy:
    ranks = strategy.num_replicas_in_sync
    rows = 4 * ranks
    x = np.random.default_rng(0).standard_normal((rows, 16)).astype(np.float32)
    y = x[:, :1]
    data = ost.data.Dataset.from_tensor_slices((x, y)).batch(rows).repeat(20)
    batches = strategy.experimental_distribute_dataset(data)
    with strategy.scope():
        model = ost.nn.Sequential([ost.nn.Dense(700), ost.nn.Dense(400), ost.nn.Dense(1)])
        optimizer = ost.optim.Adam(1e-5)
        loss_fn = ost.losses.MeanSquaredError()

    def step(x, y):
        loss = loss_fn(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    def look(x, y):
        return loss_fn(y, model(x))

    for batch in batches:
        strategy.run(look, batch)
        loss = strategy.reduce("sum", strategy.run(step, batch))
        rank, share = strategy.environment.rank, batch[0].shape[0]
        print(f"{rank} of {ranks}: {share} rows, {loss.item():.5f}")
    print("the end")
"""
WEIGHTS = 4 * (16 * 700 + 700 + 700 * 400 + 400 + 400 + 1)

Simulate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Simulate:
    """Runs a script; the exit status, and what was printed."""

    def simulate(*flags: str, script: str = SCRIPT) -> tuple[int, str, str]:
        file = tmp_path / "train.py"
        file.write_text(script)
        status = main(["simulate", "--rendezvous", "0", *flags, str(file)])
        out, err = capfd.readouterr()
        return status, out, err

    return simulate


def figures(data: Any, place: str = "") -> dict[str, dict[str, Any]]:
    """All figures by place; fails on a number that is none, and on an origin that is not known."""
    if isinstance(data, dict):
        if data.keys() == {"value", "unit", "origin"}:
            assert data["origin"] in ("measured", "simulated", "modelled"), place
            return {place: data}
        parts = [(f"{place}/{key}", value) for key, value in data.items()]
    elif isinstance(data, list):
        parts = [(f"{place}/{i}", value) for i, value in enumerate(data)]
    else:
        assert isinstance(data, (str, bool, type(None))), f"{place} is {data}, of no origin"
        return {}
    return {key: value for part in parts for key, value in figures(part[1], part[0]).items()}


def report(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    data = json.loads(path.read_text())
    return data, figures({key: value for key, value in data.items() if key != "given"})


def test_a_script_as_rank_0_of_1024(run: Simulate, tmp_path: Path) -> None:
    flags = ("--world", "1024", "--topology", "gpus=8,intra=nvlink,inter=ib400", "--steps", "3")
    status, out, err = run(*flags, "--json", str(tmp_path / "report.json"))
    assert status == 0, err
    assert out.startswith("ostria simulate: rank 0 of 1,024 runs on this machine alone; no cluster")
    said = re.findall(r"^0 of 1024: 4 rows, (.*)$", out, re.M)
    assert len(said) == 4 and "the end" not in out, "a step that traces, and 3 that are measured"
    assert float(said[-1]) < float(said[0]) < 10, "the loss is that of 1,024 equal shares"
    assert "StepsDone" not in err, "the end is no failure"

    data, found = report(tmp_path / "report.json")
    assert data["format"] == "ostria simulation 1"
    assert data["given"]["world"] == 1024 and data["given"]["nodes"] == 128
    assert data["step"]["function"] == "step"
    assert data["step"]["measured_steps"]["value"] == 3, "without the one that plans"
    assert [figure["value"] for figure in data["step"]["rows"]] == [4]
    assert re.fullmatch("[0-9a-f]{16}", data["step"]["fingerprint"]["value"])
    buckets = [b for b in data["buckets"] if b["bytes"]["value"] > 1000]
    assert len(buckets) == 2, "gradients of 1.17 MB go in two buckets"
    assert all(b["overlapped"] for b in buckets[:1])
    # Chunks pad each weight to 256 bytes.
    assert WEIGHTS <= sum(b["bytes"]["value"] for b in buckets) < WEIGHTS + 6 * 256
    assert [b["algorithm"]["value"] for b in buckets] == ["tree", "hierarchical tree"]
    for bucket in data["buckets"]:
        assert bucket["ready"]["value"] <= bucket["start"]["value"] < bucket["end"]["value"]
        assert bucket["bytes"]["origin"] == "simulated" and bucket["end"]["origin"] == "modelled"
    step = data["step"]
    parts = step["compute"]["value"] + step["exposed"]["value"]
    assert step["step_time"]["value"] == pytest.approx(parts)
    assert step["compute"]["origin"] == "measured" and step["step_time"]["origin"] == "modelled"

    memory = {key: figure["value"] for key, figure in data["memory"].items()}
    assert memory["weights"] == WEIGHTS
    assert memory["optimizer"] == 2 * WEIGHTS, "Adam has two slots"
    assert memory["optimizer_zero1"] == -(-2 * WEIGHTS // 1024)
    assert memory["peak_zero1"] == memory["peak"] - 2 * WEIGHTS + memory["optimizer_zero1"]
    assert data["start"]["first_values_bytes"]["value"] > 3 * WEIGHTS

    between = [(call["kind"], call["bytes"]["value"]) for call in data["between_steps"]["calls"]]
    assert ("all_reduce", 4) in between, "strategy.reduce of the loss"
    assert ("all_gather", 8 * 1024) in between, "ranks agree on whether there is a batch"
    assert "/memory/peak" in found and "/growth/0/efficiency" in found
    assert [row["world"]["value"] for row in data["growth"]] == [
        1,
        8,
        16,
        32,
        64,
        128,
        256,
        512,
        1024,
    ]
    exposed = [row["exposed"]["value"] for row in data["growth"]]
    assert exposed == sorted(exposed) and exposed[0] == 0.0 < exposed[-1]
    assert exposed[-1] == step["exposed"]["value"]


def test_every_figure_that_is_printed_has_its_origin(run: Simulate) -> None:
    status, out, _ = run("--world", "16", "--steps", "2", "--rendezvous", "4")
    assert status == 0
    rows = [line for line in out.splitlines() if re.match(r"  [a-z].* \d", line)]
    bare = [r for r in rows if not re.search(r"\[(measured|simulated|modelled)\]", r)]
    assert len(rows) > 20 and not bare, bare
    assert re.search(r"^  4 threads meet +\S+ [um]?s \[measured\]", out, re.M)
    assert re.search(r"^  16 ranks meet +\S+ [um]?s \[modelled\]", out, re.M)


TRAINER = """
import numpy as np
import ostria as ost

strategy = ost.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = ost.nn.Dense(1)

def input_fn():
    rows = np.ones((256, 8), np.float32)
    return ost.data.Dataset.from_tensor_slices((rows, rows[:, :1])).repeat().batch(128)

ost.train.Trainer(
    model, ost.losses.MeanSquaredError(), ost.optim.SGD(0.01), strategy=strategy
).train(input_fn, max_steps=100)
print("100 steps are done")
"""


def test_a_trainer_is_simulated_too(run: Simulate, tmp_path: Path) -> None:
    flags = ("--world", "64", "--steps", "2", "--json", str(tmp_path / "trainer.json"))
    status, out, err = run(*flags, script=TRAINER)
    assert status == 0, err
    assert "100 steps are done" not in out
    data, _ = report(tmp_path / "trainer.json")
    assert data["step"]["function"] == "train_step"
    assert [figure["value"] for figure in data["step"]["rows"]] == [2]
    assert max(bucket["bytes"]["value"] for bucket in data["buckets"]) >= 4 * 9


def test_one_rank_has_no_communication(run: Simulate, tmp_path: Path) -> None:
    status, _, err = run("--world", "1", "--steps", "2", "--json", str(tmp_path / "one.json"))
    assert status == 0, err
    data, _ = report(tmp_path / "one.json")
    assert data["buckets"] == [] and data["links"] == {}
    assert data["step"]["exposed"]["value"] == 0.0
    assert data["step"]["efficiency"]["value"] == 1.0
    assert data["step"]["function"] == "look", "the first that ran"


def test_the_time_of_a_step_may_be_that_of_another_device(run: Simulate, tmp_path: Path) -> None:
    path = str(tmp_path / "scaled.json")
    flags = ("--world", "64", "--steps", "2", "--json", path)
    assert run(*flags, "--step-time", "10s")[0] == 0
    data, _ = report(tmp_path / "scaled.json")
    assert data["step"]["compute"] == {
        "value": pytest.approx(10.0),
        "unit": "s",
        "origin": "modelled",
    }
    assert data["step"]["exposed"]["value"] < 1e-3, "computing dominates"
    assert "host" not in data["between_steps"]
    assert run(*flags, "--step-time", "1us")[0] == 0
    data, _ = report(tmp_path / "scaled.json")
    assert data["step"]["efficiency"]["value"] < 0.1, "communication dominates"


def test_another_function_may_be_the_step(run: Simulate, tmp_path: Path) -> None:
    flags = ("--world", "1", "--steps", "2", "--json", str(tmp_path / "one.json"))
    assert run(*flags, "--function", "step")[0] == 0
    assert report(tmp_path / "one.json")[0]["step"]["function"] == "step"
    status, _, err = run(*flags, "--function", "train")
    assert status == 2
    assert "--function is 'train', and its strategy ran look, step; name one of these" in err


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("print('hello')", "it made no ost.distribute.MultiWorkerMirroredStrategy"),
        (
            "import ostria as ost; ost.distribute.MultiWorkerMirroredStrategy()",
            "its strategy ran nothing; call strategy.run",
        ),
        (
            "import ostria as ost\n"
            "strategy = ost.distribute.MultiWorkerMirroredStrategy()\n"
            "def square(x): return x * x\n"
            "for _ in range(3): strategy.run(square, (ost.ones(3),))",
            "nothing was reduced over ranks; its strategy ran square; change weights by",
        ),
        (SCRIPT.replace("repeat(20)", "repeat(1)"), "'step' ran once, and the first run traces"),
        ("import sys; sys.exit(3)", "ended with exit status 3"),
    ],
)
def test_a_script_that_cannot_be_simulated(run: Simulate, script: str, message: str) -> None:
    status, _, err = run("--world", "8", script=script)
    assert status == 2
    assert "train.py" in err and message in err


def test_what_a_script_raises_is_shown(run: Simulate) -> None:
    status, out, err = run("--world", "8", script="raise KeyError('lost')")
    assert status == 1
    assert "KeyError: 'lost'" in err and err.rstrip().endswith("train.py failed as above")
    assert "topology" not in out
    status, _, err = run(
        "--world", "8", script=SCRIPT.replace("Strategy()", "Strategy(devices=['cpu:0', 'cpu:1'])")
    )
    assert status == 1
    assert "accepted is one of the CPU, where rank 0 runs: leave devices out" in err
    assert _simulated.current() is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--world", "0"), "--world is '0'; give an integer from 1 to 1000000"),
        (("--world", "many"), "--world is 'many'; give an integer"),
        (
            ("--world", "8", "--json", "no/such.json"),
            "--json is 'no/such.json', whose",
        ),
        (("--world", "8", "--steps", "0"), "--steps is '0'; give an integer from 1 to 1000"),
        (("--world", "8", "--step-time", "38"), "--step-time is '38'; give a number above 0 with"),
        (("--world", "8", "--rendezvous", "9"), "--rendezvous is '9'; give an integer from 0 to 8"),
        (
            ("--world", "8", "--topology", "gpus=3"),
            "3 node(s) of 3 rank(s) are 9, but --world is 8",
        ),
    ],
)
def test_flags_are_checked(run: Simulate, flags: tuple[str, ...], message: str) -> None:
    status, out, err = run(*flags)
    assert (status, out) == (2, "")
    assert message in err


def test_the_command_of_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    docs = Path(__file__).resolve().parents[2] / "docs"
    (command,) = re.findall("^```sh\n(.*?)\n```", (docs / "simulate.md").read_text(), re.M | re.S)
    script = re.search("^```python\n(.*?)^```", (docs / "distributed.md").read_text(), re.M | re.S)
    assert script is not None
    (tmp_path / "train.py").write_text(script[1])
    monkeypatch.chdir(tmp_path)
    program, *words = command.split()
    assert program == "ostria"
    assert main(words) == 0
    out = capfd.readouterr().out
    assert re.search(r"^  1,000 threads meet +\S+ m?s \[measured\]", out, re.M)
    assert re.search(r"^  1,024 ranks meet +\S+ m?s \[modelled\]", out, re.M)
    assert re.search(r"^  exposed communication +\S+ [um]?s \[modelled\]", out, re.M)


def test_there_is_no_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--world", "8", str(tmp_path / "none.py")]) == 2
    assert "there is no script" in capsys.readouterr().err


def test_a_group_of_no_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0 rank\(s\) of which the first is on cpu"):
        modelled_replicas("cpu", 0, CallLog())
