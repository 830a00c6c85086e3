# SPDX-License-Identifier: Apache-2.0
"""Ranks that differ in what they compute: cases 12 to 14. Different code is in test_workers.py."""

from __future__ import annotations

import pytest
from launching import HOST, Launcher
from programs import program, run, told
from promises import promises


@promises(
    12,
    "all ranks decide alike: the step changes nothing on any of them, and the next one goes on "
    "from equal weights",
)
def test_a_loss_that_is_not_finite_on_one_rank(job: Launcher) -> None:
    body = """
    bad = x.copy()
    bad[3, 5] = np.nan
    before = w.numpy()
    for k in range(4):
        strategy.run(step, (bad if rank == 1 and k == 2 else x * (1 + rank),))
        if k == 1: before = w.numpy()
        if k == 2: skipped = bool((w.numpy() == before).all())
    tell(skipped=skipped, moved=bool((w.numpy() != before).any()), w=w.numpy().tolist())
    """
    code, err = run(job, program(body))
    assert code == 0, err
    ranks = [told(job, rank) for rank in range(3)]
    for found in ranks:
        assert found["skipped"], "a step whose gradients were not finite changed weights"
        assert found["moved"], "the step after it changed nothing"
        assert found["w"] == ranks[0]["w"]


@promises(
    14,
    "a rank whose data end early takes part with empty batches until the others are done; every "
    "row counts once, and all ranks end together",
)
def test_uneven_numbers_of_batches(job: Launcher) -> None:
    body = """
    first, end = [(0, 8), (8, 10), (10, 11)][rank]
    mine = np.arange(first, end, dtype=np.float32)[:, None]

    def make(context):
        return ost.data.Dataset.from_tensor_slices(mine).batch(2)

    def count(rows):
        return ost.sum(rows), ost.sum(ost.ones_like(rows))

    steps, total, rows = 0, 0.0, 0.0
    for batch in strategy.distribute_datasets_from_function(make):
        parts = strategy.run(count, (batch,))
        total += strategy.reduce("sum", parts[0]).item()
        rows += strategy.reduce("sum", parts[1]).item()
        steps += 1
    tell(steps=steps, total=total, rows=rows)
    """
    code, err = run(job, program(body, steps=""))
    assert code == 0, err
    for rank in range(3):
        found = told(job, rank)
        assert (found["steps"], found["rows"], found["total"]) == (4, 11.0, sum(range(11)))


@promises(
    14,
    "a rank that calls a collective less often than the others, and ends, is named by them",
    bound="2 s",
)
def test_a_rank_that_ends_early(job: Launcher, limit: float) -> None:
    body = """
    try:
        for k in range(8):
            if rank == 1 and k == 5:
                write("fails.json")
                break
            work()
    except ost.DistributedError as error:
        tell_error(error)
        raise
    """
    code, err = run(job, program(body))
    assert code != 0, err
    for rank in (0, 2):
        found = told(job, rank)
        assert f"rank 1 ({HOST})" in found["text"] and "left the " in found["text"], found
        assert found["at"] - told(job, "fails.json")["at"] < limit


@pytest.mark.parametrize("options", ["", "reproducible=True", "transport='gloo'"])
@promises(
    13,
    "ranks that run functions in different orders are told so, though both functions were traced "
    "on all of them: what belongs to different graphs is never added up",
)
def test_functions_in_another_order(job: Launcher, options: str) -> None:
    body = """
    v = ost.Variable(np.zeros((64, 64), np.float32), name="v")

    def other(x):
        loss = ost.mean((x @ v - x) ** 2) / strategy.num_replicas_in_sync
        optimizer.minimize(loss, [v])
        return loss

    strategy.run(other, (x,))
    try:
        for f in (step, other) if rank == 0 else (other, step):
            strategy.run(f, (x,))
    except ost.DistributedError as error:
        tell_error(error)
        raise
    """
    code, err = run(job, program(body, options=options), nproc=2)
    assert code != 0, err
    texts = [told(job, rank)["text"] for rank in range(2)]
    assert any(
        "ranks disagree" in text and " of step (graph 1)" in text and " of other (graph 2)" in text
        for text in texts
    ), texts
