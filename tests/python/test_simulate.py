# SPDX-License-Identifier: Apache-2.0
"""`ostria simulate` on whole scripts; test_simulate_model.py has what it computes with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ostria._native import CallLog, modelled_replicas, num_threads
from ostria.cli import main
from ostria.cli.simulate import calibrate, rendezvous
from ostria.cli.simulate.topology import LINKS
from ostria.distribute import _simulated

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
    assert data["step"]["other_cores"]["origin"] == "measured"
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

    assert data["memory"].pop("device") == "cpu"
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


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processes need two cores")
def test_a_small_world_is_compared_with_real_processes(run: Simulate, tmp_path: Path) -> None:
    flags = ("--world", "2", "--steps", "3", "--real", "--json", str(tmp_path / "real.json"))
    threads = num_threads()
    status, out, err = run(*flags)
    assert status == 0, err
    assert num_threads() == threads, "one of two processes has half of the cores, for a while"
    data, _ = report(tmp_path / "real.json")
    step, link = data["step"], data["links"]["intra"]
    assert step["real"]["origin"] == "measured" and 0 < step["real"]["value"] < 10, err
    off = step["step_time"]["value"] / step["real"]["value"] - 1
    assert step["off"]["value"] == pytest.approx(off) and step["off"]["origin"] == "modelled"
    assert link["name"] == "measured" and link["bandwidth"]["origin"] == "measured"
    assert re.search(r"^  time of a real step +\S+ [um]?s \[measured\]", out, re.M)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processes need two cores")
def test_real_processes_that_fail_are_told_of_below_the_report(
    run: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "measure", lambda place: LINKS["pcie4"])
    failing = "import os; assert 'OSTRIA_RENDEZVOUS' not in os.environ, 'it is real'\n"
    script = failing + SCRIPT
    status, out, err = run("--world", "2", "--steps", "1", "--real", script=script)
    assert status == 0 and "exposed communication" in out and "a real step" not in out
    assert "--real: 2 processes of this machine failed" in err and "it is real" in err


def test_memory_may_be_that_of_a_gpu(run: Simulate, tmp_path: Path) -> None:
    h100 = Path(__file__).resolve().parents[1] / "data/devices/h100.json"
    flags = ("--world", "16", "--steps", "1", "--json", str(tmp_path / "gpu.json"))
    status, out, err = run(*flags, "--device", str(h100))
    if "nothing can be planned for it" in err:
        pytest.skip(err.splitlines()[0])
    assert status == 0, err
    memory = report(tmp_path / "gpu.json")[0]["memory"]
    assert memory["device"] == "cuda:sm_90" and "by its plan for cuda:sm_90" in out
    assert memory["weights"]["value"] == WEIGHTS
    assert memory["peak"]["value"] > 3 * WEIGHTS
    status, _, err = run(*flags, "--device", str(tmp_path / "none.json"))
    assert status == 2 and "none.json', which is no file; give one as fn.plan_for" in err


def test_a_report_needs_no_rendezvous(run: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(ranks: int) -> float:
        raise RuntimeError("Resource temporarily unavailable")

    monkeypatch.setattr(rendezvous.dist, "measure_join", refuse)
    status, out, err = run("--world", "8", "--steps", "1", "--rendezvous", "8")
    assert status == 0 and "exposed communication" in out and "threads meet" not in out
    assert "8 ranks do not meet on this machine; give --rendezvous fewer, or 0: Resource" in err


def test_state_that_ranks_divide_is_counted_as_rank_0_holds_it(
    run: Simulate, tmp_path: Path
) -> None:
    flags = ("--world", "64", "--steps", "2", "--json", str(tmp_path / "parts.json"))
    script = SCRIPT.replace("Strategy()", "Strategy(shard_optimizer_state=True)")
    status, _, err = run(*flags, script=script)
    assert status == 0, err
    data, _ = report(tmp_path / "parts.json")
    share = 2 * WEIGHTS / 64
    assert share <= data["memory"]["optimizer"]["value"] < 1.1 * share
    assert share <= data["memory"]["optimizer_zero1"]["value"] < 1.1 * share
    kinds = [bucket["kind"] for bucket in data["buckets"]]
    assert "reduce_scatter" in kinds and "all_gather" in kinds
    largest = max(bucket["bytes"]["value"] for bucket in data["buckets"])
    assert 4 * 700 * 400 <= largest < 1.1 * WEIGHTS


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
    same = SCRIPT.replace("Strategy()", "Strategy(reproducible=True)")
    status, _, err = run("--world", "8", script=same)
    assert status == 1 and "reproducible=True is not modelled; leave it out here" in err
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
        (("--world", "4096", "--real"), "--real starts as many processes as --world says, 4096;"),
        (("--world", "2", "--real", "--step-time", "1s"), "leave --topology and --step-time out"),
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


def test_a_calibration_that_takes_too_long_is_a_mistake_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calibrate, "_PATIENCE", 0.01)
    with pytest.raises(ValueError, match=r"over shm took longer than 0\.01 s; give the link as"):
        calibrate.time_all_reduce("shm")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simulate", "--world", "0", "x.py"], "ostria simulate: "),
        (["simulate", "--world", "8", "--topology", "intra=warp", "x.py"], "ostria simulate: "),
        (["launch", "--nproc", "0", "x.py"], "ostria launch: "),
    ],
)
def test_the_installed_program_says_what_is_wrong_without_a_line_of_its_own(
    tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "x.py").write_text("")
    program = tmp_path / "ostria"  # as pip writes it
    program.write_text("import sys\nfrom ostria.cli import main\nsys.exit(main())\n")
    done = subprocess.run(
        [sys.executable, str(program), *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(said) and "[ostria:" not in done.stderr, done.stderr
