# SPDX-License-Identifier: Apache-2.0
"""MultiWorkerMirroredStrategy in real processes, started by `ostria launch`.

A rank writes what it found to `rank-R.json`; a rank's failure must name who failed to all others.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

import numpy as np
import pytest
from launching import Launcher, lines_of
from promises import promises

import ostria as ost

PROGRAM = """
import json
import numpy as np
import ostria as ost

strategy = ost.distribute.MultiWorkerMirroredStrategy({options})
# Survivors have time to tell: the launcher's SIGTERM, half a second after a failure, ends none.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
first, ours, all_ = (
    strategy._first_replica, len(strategy.devices), strategy.num_replicas_in_sync)

def tell(**found):
    with open(f"rank-{{rank}}.json", "w") as file:
        json.dump(found, file)
"""
TRAINING = """
rng = np.random.default_rng(0)
x = rng.standard_normal((30, 8)).astype(np.float32)
y = rng.standard_normal((30, 3)).astype(np.float32)
with strategy.scope():
    ost.random.seed(rank)  # rank 0's first values count
    model = ost.nn.Sequential([ost.nn.Dense(16, activation="tanh"), ost.nn.Dense(3)])
    optimizer = ost.optim.SGD(0.1, momentum=0.9)
    loss_fn = ost.losses.MeanSquaredError()

def step(x, y):
    loss = loss_fn(y, model(x, training=True))
    optimizer.minimize(loss, model.trainable_variables)
    return loss

def parts(rows):
    cuts = np.linspace(0, 30, all_ + 1).astype(int) if rows is None else rows
    return [slice(cuts[r], cuts[r + 1]) for r in range(first, first + ours)]

def given(array, rows):
    values = [array[s] for s in parts(rows)]
    return values[0] if ours == 1 else ost.distribute.PerReplica(values)

losses = []
for k in range(4):
    rows = None if k < 2 else uneven
    share = strategy.run(step, (given(x, rows), given(y, rows)))
    losses.append(float(strategy.reduce("sum", share).item()))
tell(losses=losses, weights=[v.numpy().tolist() for v in model.trainable_variables])
"""


def program(body: str, options: str = "") -> str:
    return textwrap.dedent(PROGRAM.format(options=options)) + textwrap.dedent(body)


def train(job: Launcher, nproc: int, uneven: list[int], options: str = "") -> list[dict[str, Any]]:
    script = job.script(program(f"uneven = {uneven}\n" + TRAINING, options))
    status, _, err = job.run("--nproc", str(nproc), script)
    assert status == 0, err
    return [json.loads((job.folder / f"rank-{r}.json").read_text()) for r in range(nproc)]


@pytest.mark.parametrize(
    ("nproc", "uneven", "options"),
    [
        (2, [0, 7, 30], ""),
        (3, [0, 0, 30, 30], ""),
        (2, [0, 9, 9, 20, 30], 'devices=["cpu:0","cpu:1"]'),
    ],
    ids=["two", "empty-batches", "two-of-two-replicas"],
)
def test_processes_train_like_one(
    job: Launcher, nproc: int, uneven: list[int], options: str
) -> None:
    alone = train(job, 1, [0, 30])[0]
    ranks = train(job, nproc, uneven, options)
    for found in ranks:
        assert found["weights"] == ranks[0]["weights"], "the bits of two ranks differ"
        np.testing.assert_allclose(found["losses"], alone["losses"], rtol=1e-5)
    for mine, other in zip(ranks[0]["weights"], alone["weights"], strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)


def test_values_of_all_processes_are_joined(job: Launcher) -> None:
    body = """
    rows = ost.asarray(np.arange(rank + 1, dtype=np.float32) + 10 * rank)
    strategy.barrier("start")
    tell(
        total=strategy.reduce("sum", ost.asarray(rank + 1)).item(),
        mean=strategy.reduce("mean", ost.asarray(rank + 1)).item(),
        mean_of_rows=strategy.reduce("mean", rows, axis=0).item(),
        gathered=strategy.gather(rows, axis=0).numpy().tolist(),
        columns=list(strategy.gather(ost.zeros((2, rank)), axis=1).shape),
    )
    """
    status, _, err = job.run("--nproc", "3", job.script(program(body)))
    assert status == 0, err
    for rank in range(3):
        assert json.loads((job.folder / f"rank-{rank}.json").read_text()) == {
            "total": 6,
            "mean": 2.0,
            "mean_of_rows": pytest.approx((0 + 10 + 11 + 20 + 21 + 22) / 6),
            "gathered": [0, 10, 11, 20, 21, 22],
            "columns": [2, 3],
        }


DRAWING = """
asked, first_rows = [], strategy._first_rows

def counted(rows):
    asked.append(list(rows))
    return first_rows(rows)

strategy._first_rows = counted
cuts = [0, 3, 10] if all_ == 2 else [0, 10]
rows = np.arange(10, dtype=np.float32)[cuts[rank]:cuts[rank + 1]]

def plain(x):
    return x * 2 + ost.random.uniform((2,))[0]  # not by rows

def drawing(x):
    return x + ost.random.uniform(x.shape)

ost.random.seed(7)
found = [strategy.run(plain, (rows,)) for _ in range(3)]
before = list(asked)
found += [strategy.run(drawing, (rows,)) for _ in range(2)]
tell(before=before, asked=asked,
     found=[strategy.gather(x, axis=0).numpy().tolist() for x in found])
"""


def test_workers_ask_where_rows_begin_only_for_draws_by_rows(job: Launcher) -> None:
    found: dict[int, list[dict[str, Any]]] = {}
    for nproc in (1, 2):
        status, _, err = job.run("--nproc", str(nproc), job.script(program(DRAWING)))
        assert status == 0, err
        paths = [job.folder / f"rank-{r}.json" for r in range(nproc)]
        found[nproc] = [json.loads(path.read_text()) for path in paths]
    alone, pair = found[1][0], found[2]
    assert [rank["before"] for rank in pair] == [[], []]
    assert [rank["asked"] for rank in pair] == [[[3]] * 2, [[7]] * 2]
    for rank in pair:
        np.testing.assert_array_equal(rank["found"], alone["found"])
    assert alone["found"][3] != alone["found"][4]


def test_after_its_end_a_strategy_of_several_processes_refuses_to_work_alone(job: Launcher) -> None:
    body = """
    strategy.barrier("start")
    before = sys.excepthook
    strategy.close()
    said = []
    one = ost.ones(3)
    for call in (
        lambda: strategy.run(ost.sum, (one,)),
        lambda: strategy.reduce("sum", one),
        lambda: strategy.gather(one, axis=0),
        lambda: strategy.barrier("end"),
    ):
        try:
            call()
        except RuntimeError as error:
            said.append(str(error))
    tell(said=said, hook=sys.excepthook is not before)
    """
    status, _, err = job.run("--nproc", "2", job.script(program(body)))
    assert status == 0, err
    for rank in range(2):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert len(found["said"]) == 4
        said = "was closed; close it after its last use"
        assert all(said in text for text in found["said"])
        assert all(re.search(r"\[train\.py:\d+\]$", text) for text in found["said"])
        assert found["hook"]


def test_an_exit_without_an_error_is_no_failure(job: Launcher) -> None:
    body = "import sys\nimport ostria as ost\n" + (
        "with ost.distribute.MultiWorkerMirroredStrategy() as strategy:\n"
        "    strategy.barrier('end')\n    sys.exit(0)\n"
    )
    status, out, err = job.run("--nproc", "2", job.script(body))
    assert status == 0
    assert "failure" not in out + err


def test_a_second_strategy_of_a_process_is_told_of_the_first(job: Launcher) -> None:
    body = """
    try:
        ost.distribute.MultiWorkerMirroredStrategy()
        said = "nothing"
    except RuntimeError as error:
        said = str(error)
    total = strategy.reduce("sum", ost.asarray(rank + 1)).item()
    tell(said=said, total=total)
    """
    status, _, err = job.run("--nproc", "2", job.script(program(body)))
    assert status == 0, err
    assert "refused" not in err
    for rank in range(2):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert f"this process has made one already, as rank {rank}; " in found["said"]
        assert "use the first strategy for all" in found["said"]
        assert found["total"] == 3


SIZED = """
w = ost.Variable(np.zeros(2, np.float32), name="w")
optimizer = ost.optim.SGD(0.1)

def step(x, scale):  # a row for each example, and an argument of another kind
    loss = ost.sum(x * w) + ost.sum(scale)
    optimizer.minimize(loss, [w])
    return loss

function = strategy.compile(step)

def run(scale, *rows):  # of each rank
    function(np.ones((rows[rank], 2), np.float32), np.ones(scale, np.float32))
    return function.num_traces
"""


def test_a_last_batch_as_long_as_another_argument_is_no_other_graph(job: Launcher) -> None:
    body = program(SIZED) + "tell(traces=[run(3, 4, 4), run(3, 4, 3), run(3, 3, 3)], "
    body += "w=w.numpy().tolist())"
    status, _, err = job.run("--nproc", "2", job.script(body))
    assert status == 0, err
    for rank in (0, 1):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert found["traces"] == [1, 1, 1]
        np.testing.assert_allclose(found["w"], [-0.1 * (8 + 7 + 6)] * 2, rtol=1e-6)


def test_what_was_as_long_as_the_batch_by_accident_is_told_from_it(job: Launcher) -> None:
    body = program(SIZED) + textwrap.dedent(
        """
        traces = [run(4, 4, 4), run(4, 3, 2), run(4, 4, 4), run(4, 4, 1)]
        begin = time.monotonic()
        try:
            run(5, 5, 5)  # a new size is a new graph, on all ranks alike
            other = strategy.compile(lambda x, scale: step(x, scale))
            for rows in ((4, 4), (4, 3)):  # an accident, which ends on one rank alone
                other(np.ones((rows[rank], 2), np.float32), np.ones(4, np.float32))
        except ost.DistributedError as error:
            tell(traces=traces, text=str(error), seconds=time.monotonic() - begin)
        """
    )
    job.run("--nproc", "2", job.script(body))
    for rank in (0, 1):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert found["traces"] == [1, 2, 2, 2]
        assert "sizes of arguments of" in found["text"]
        assert found["seconds"] < 10


RUNNING = """
w = ost.Variable(np.zeros(100, np.float32), name="w")
optimizer = ost.optim.SGD(0.1)

def step(x):
    loss = ost.sum((w - x) ** 2)
    optimizer.minimize(loss, [w])
    return loss

def work(k):
    strategy.run(step, (np.ones((4, 100), np.float32),))
"""


KILL = "os.kill(os.getpid(), signal.SIGKILL)"
# The store waits a moment for the launcher to say by which signal, and no longer.
KILLED = "ended with SIGKILL|its process was killed"


@pytest.mark.parametrize(
    ("failing", "said", "options"),
    [
        (KILL, KILLED, ""),
        (KILL, KILLED, 'transport="gloo", interface="127.0.0.1"'),
        ('raise ValueError("no such file: train.csv")', "ValueError: no such file: train.csv", ""),
    ],
    ids=["killed", "killed-over-gloo", "an-exception"],
)
def test_who_fails_is_named_to_all(job: Launcher, failing: str, said: str, options: str) -> None:
    body = program(RUNNING, options) + textwrap.dedent(
        f"""
        try:
            for k in range(100_000):
                if rank == 1 and k == 50:
                    {failing}
                work(k)
        except ost.PeerFailedError as error:
            tell(rank=error.rank, text=str(error))
            raise
        """
    )
    status, _, err = job.run("--nproc", "3", job.script(body))
    assert status != 0
    for rank in (0, 2):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert found["rank"] == 1, found
        assert "rank 1 (" in found["text"], found
        assert re.search(said, found["text"]), found
        assert "strategy.run of step" in found["text"]
    assert "root cause: rank 1" in err.splitlines()[-1]
    assert ("ended with SIGKILL" in err.splitlines()[-1]) == (failing == KILL)


METERED = """
mean = ost.metrics.Mean()

def meter(x):
    mean.update_state(x)

def rows():
    values = [np.full(1 + rank, 3 * rank, np.float32)] * ours  # of rank 0 one row, of rank 1 two
    return values[0] if ours == 1 else ost.distribute.PerReplica(values)
"""


@pytest.mark.parametrize("options", ["", 'devices=["cpu:0","cpu:1"]'], ids=["one", "two"])
def test_the_result_of_a_metric_is_that_of_all_processes(job: Launcher, options: str) -> None:
    body = program(RUNNING + METERED, options) + textwrap.dedent(
        """
        results = []
        for k in range(2):
            strategy.run(meter, (rows(),))
            results += [mean.result().item(), mean.result().item()]
        mean.reset_state()
        results.append(mean.result().item())
        strategy.close()
        try:
            mean.result()
        except RuntimeError as error:
            tell(results=results, text=str(error))
        """
    )
    status, _, err = job.run("--nproc", "2", job.script(body))
    assert status == 0, err
    for rank in (0, 1):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert found["results"] == [2.0] * 4 + [0.0]
        assert "the result() of a metric" in found["text"]
        assert "was closed" in found["text"]


@pytest.mark.parametrize("traced", [False, True], ids=["traces", "runs"])
def test_a_metric_that_the_chief_alone_asks_for_is_an_error(job: Launcher, traced: bool) -> None:
    body = program(RUNNING + METERED) + textwrap.dedent(
        f"""
        strategy.run(meter, (rows(),))
        if {traced}:
            work(0)
        try:
            if rank == 0:
                mean.result()
            work(1)
        except ost.DistributedError as error:
            tell(text=str(error))
        """
    )
    job.run(
        "--nproc", "2", job.script(body), OSTRIA_TIMER_SUSPECT="1s", OSTRIA_TIMER_HEARTBEAT="0.1s"
    )
    text = json.loads((job.folder / "rank-0.json").read_text())["text"]
    assert "every process calls the result() of a metric, not the chief alone" in text
    assert ("graph of step" in text) != traced
    assert ("rank 1 (" in text and "in operation #" in text) == traced


@promises(
    13,
    "before anything runs, all ranks raise `DistributedError` that shows the first node that "
    "differs and who has it",
    bound="5 s",
)
def test_other_code_on_one_rank_is_an_error_on_all_before_it_runs(
    job: Launcher, limit: float
) -> None:
    body = program(RUNNING) + textwrap.dedent(
        """
        def other(x):
            loss = ost.sum(ost.abs(w - x))
            optimizer.minimize(loss, [w])
            return loss

        other.__name__ = "step"
        begin = time.monotonic()
        try:
            strategy.run(other if rank == 1 else step, (np.ones((4, 100), np.float32),))
        except ost.DistributedError as error:
            tell(text=str(error), seconds=time.monotonic() - begin, w=w.numpy().sum().item())
        """
    )
    job.run("--nproc", "2", job.script(body))
    for rank in (0, 1):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert "graph 1" in found["text"] and "here it is that of step" in found["text"]
        assert "rank 0 (" in found["text"]
        assert "rank 1 (" in found["text"]
        assert "abs@1" in found["text"]
        assert found["seconds"] < limit
        assert found["w"] == 0.0


def test_bytes_are_added_over_processes_without_a_wrap(job: Launcher) -> None:
    body = """
    total = strategy.reduce("sum", np.array([200, 7], np.uint8))
    tell(total=total.numpy().tolist(), dtype=str(total.dtype))
    """
    status, _, err = job.run("--nproc", "2", job.script(program(body)))
    assert status == 0, err
    for rank in (0, 1):
        found = json.loads((job.folder / f"rank-{rank}.json").read_text())
        assert found == {"total": [400, 14], "dtype": "uint64"}


def test_a_sum_of_one_rank_is_no_mean_of_another(job: Launcher) -> None:
    body = program("") + textwrap.dedent(
        """
        try:
            strategy.reduce("sum" if rank == 0 else "mean", ost.ones(3))
        except ost.DistributedError as error:
            tell(text=str(error))
            raise
        """
    )
    status, _, _ = job.run("--nproc", "2", job.script(body))
    assert status != 0
    texts = [json.loads((job.folder / f"rank-{r}.json").read_text())["text"] for r in (0, 1)]
    for text in texts:
        assert "ranks disagree: rank 0 (" in text
        assert "strategy.reduce (sum)" in text and "strategy.reduce (mean)" in text


def test_processes_must_bring_equally_many_replicas(job: Launcher) -> None:
    body = "import ostria as ost\nn = 1 + rank\n" + (
        "ost.distribute.MultiWorkerMirroredStrategy(devices=[f'cpu:{i}' for i in range(n)])\n"
    )
    status, out, err = job.run("--nproc", "2", job.script(body))
    assert status != 0
    text = "\n".join(line for lines in lines_of(out).values() for line in lines) + err
    assert "devices: 1 x cpu" in text
    assert "devices: 2 x cpu" in text


def test_a_process_alone_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTRIA_RANK", raising=False)
    strategy = ost.distribute.MultiWorkerMirroredStrategy()
    assert (strategy.num_workers, strategy.num_replicas_in_sync, strategy.is_chief) == (1, 1, True)
    assert strategy.reduce("sum", ost.asarray(2.0)).item() == 2.0


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "job"])
def test_a_record_dir_that_cannot_be_written_is_an_error_at_once(
    job: Launcher, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    (job.folder / "file").write_text("where a folder should be")
    folder = job.folder / "file" / "records"
    if alone:
        monkeypatch.delenv("OSTRIA_RANK", raising=False)
        with pytest.raises(OSError, match=f"record_dir: no flight record .* '{folder}': Not a dir"):
            ost.distribute.MultiWorkerMirroredStrategy(record_dir=folder)
        return
    options = f"record_dir={str(folder)!r} if rank == 1 else None"
    status, _, err = job.run("--nproc", "2", job.script(program("", options)))
    assert status != 0
    assert f"record_dir: no flight record can be written to '{folder}'" in err


def test_a_launcher_that_names_no_meeting_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTRIA_RANK", "0")
    monkeypatch.setenv("OSTRIA_WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"set OSTRIA_RENDEZVOUS to host:port of rank 0"):
        ost.distribute.MultiWorkerMirroredStrategy()
