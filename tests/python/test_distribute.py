# SPDX-License-Identifier: Apache-2.0
"""Strategies: replicas on virtual devices of the CPU do together what one device does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replicas import mirrored, split

import ostria as ost

PerReplica = ost.distribute.PerReplica


def rows_of(value: Any) -> np.ndarray:
    return np.concatenate([part.numpy() for part in value.values])


@pytest.fixture(params=[1, 2, 3, 4])
def strategy(request: pytest.FixtureRequest) -> ost.distribute.MirroredStrategy:
    return mirrored(request.param)


def test_each_replica_gets_its_own_and_all_get_the_rest(
    strategy: ost.distribute.MirroredStrategy,
) -> None:
    n = strategy.num_replicas_in_sync
    x = np.arange(12.0, dtype=np.float32)
    sizes = [[12], [7, 5], [0, 8, 4], [3, 3, 0, 6]][n - 1]

    def fn(batch: dict[str, Any], scale: Any, power: int) -> Any:
        assert ost.distribute.get_strategy() is strategy
        context = ost.distribute.get_replica_context()
        assert context is not None and context.num_replicas_in_sync == n
        y = batch["x"] ** power * scale
        return {"y": y, "id": context.replica_id_in_sync_group, "power": power}

    args = ({"x": split(x, sizes)}, np.float32(3) * np.ones(1, np.float32))
    for _ in range(2):
        result = strategy.run(fn, args, {"power": 2})
    assert result["power"] == 2
    local = strategy.experimental_local_results(result)
    assert len(local) == n
    assert [int(r["id"].item()) for r in local] == list(range(n))
    assert [r["y"].shape[0] for r in local] == sizes
    np.testing.assert_array_equal(np.concatenate([r["y"].numpy() for r in local]), 3 * x**2)
    compiled = strategy.compile(fn)
    assert (compiled.num_traces, compiled.num_specialisations) == (1, len(set(sizes)))


def test_other_sizes_and_counts_share_the_trace(strategy: ost.distribute.MirroredStrategy) -> None:
    n = strategy.num_replicas_in_sync

    def fn(x: Any) -> Any:
        return ost.sum(x)

    for rows in (4, 1, 0, 7):
        x = PerReplica([np.ones((rows + i, 2), np.float32) for i in range(n)])
        total = strategy.reduce("sum", strategy.run(fn, (x,)), axis=None)
        assert total.item() == 2 * (n * rows + n * (n - 1) / 2)
    assert strategy.compile(fn).num_traces == 1


def test_a_value_of_the_same_sizes_everywhere_need_not_be_a_batch() -> None:
    strategy = mirrored(2)
    x, y = split(np.ones((6, 2), np.float32), [4, 2]), split(np.ones((6, 3), np.float32), [3, 3])

    def fn(x: Any, y: Any) -> Any:
        return ost.sum(x) + ost.sum(y) * 10

    assert [v.item() for v in strategy.run(fn, (x, y)).values] == [98.0, 94.0]


# --- Random numbers -------------------------------------------------------------------------------


def draws(strategy: ost.distribute.MirroredStrategy, sizes: list[int]) -> dict[str, np.ndarray]:
    generator = ost.random.Generator(7)

    def fn(x: Any) -> dict[str, Any]:
        heads = ost.reshape(ost.concat([x, x], axis=1), (x.shape[0] * 2, x.shape[1]))
        doubled = ost.checkpoint(lambda x: ost.random.dropout(x, 0.5, generator=generator))
        return {
            "uniform": ost.random.uniform((x.shape[0], 5), generator=generator),
            "dropout": ost.random.dropout(x, 0.5, generator=generator),
            "heads": ost.random.dropout(heads, 0.5, generator=generator),
            "inside": doubled(x),
            "noise": ost.random.normal((3,), generator=generator),
            "last": ost.random.uniform((2, x.shape[0]), generator=generator),
        }

    x = split(np.ones((sum(sizes), 4), np.float32), sizes)
    for _ in range(2):  # a step of its own each time
        result = strategy.run(fn, (x,))
    local = strategy.experimental_local_results(result)
    together = {
        name: np.concatenate([r[name].numpy() for r in local], axis=int(name == "last"))
        for name in local[0]
    }
    together["state"] = generator.variable.numpy()
    return together


@pytest.mark.parametrize("sizes", [[4, 4], [1, 7], [3, 0, 5], [2, 2, 2, 2]])
def test_draws_of_replicas_are_those_of_one_device(sizes: list[int]) -> None:
    one, several = draws(mirrored(1), [8]), draws(mirrored(len(sizes)), sizes)
    for name in ("uniform", "dropout", "heads", "inside", "state"):
        np.testing.assert_array_equal(several[name], one[name], err_msg=name)
    # Without rows, so that what all replicas assign stays equal.
    np.testing.assert_array_equal(several["noise"], np.tile(one["noise"], len(sizes)))
    # Rows along another axis: other numbers on each replica.
    assert len(np.unique(several["last"])) == several["last"].size


# --- Variables ------------------------------------------------------------------------------------


def test_copies_are_equal_and_read_as_one(strategy: ost.distribute.MirroredStrategy) -> None:
    n = strategy.num_replicas_in_sync
    with strategy.scope():
        w = ost.Variable(np.arange(3.0, dtype=np.float32), name="w")

    def fn() -> Any:
        w.assign_add(ost.ones(3))
        return w * 2

    result = strategy.run(fn)
    expected = np.arange(1.0, 4.0, dtype=np.float32)
    assert len(w.devices) == n
    for i, value in enumerate(strategy.experimental_local_results(result)):
        np.testing.assert_array_equal(value.numpy(), 2 * expected)
        np.testing.assert_array_equal(w.copy_of(i), expected)
    np.testing.assert_array_equal(w.numpy(), expected)
    np.testing.assert_array_equal((w + 1).numpy(), expected + 1)  # an op outside of a function
    w.assign(np.zeros(3, np.float32))
    strategy.run(fn)
    assert [w.copy_of(i).tolist() for i in range(n)] == n * [[1.0, 1.0, 1.0]]


def test_a_summed_variable_adds_what_replicas_hold(
    strategy: ost.distribute.MirroredStrategy,
) -> None:
    n = strategy.num_replicas_in_sync
    count = ost.Variable(100.0, name="count", trainable=False, aggregation="sum")
    assert count.aggregation == "sum"

    def fn(x: Any) -> None:
        count.assign_add(ost.sum(x))

    x = PerReplica([np.full(2, i + 1, np.float32) for i in range(n)])
    alone = ost.compile(lambda: count * 1)
    for step in (1, 2):
        strategy.run(fn, (x,))
        expected = 100 + step * n * (n + 1)
        assert count.numpy() == expected
        assert count.value().item() == expected
        assert alone().item() == expected
        assert count.numpy() == expected
    count.assign(5.0)
    assert count.numpy() == 5


def test_metrics_count_all_replicas(strategy: ost.distribute.MirroredStrategy) -> None:
    n = strategy.num_replicas_in_sync
    metric = ost.metrics.Mean()
    x = np.arange(10.0, dtype=np.float32)
    sizes = [[10], [10, 0], [3, 3, 4], [1, 2, 3, 4]][n - 1]

    def fn(x: Any) -> None:
        metric.update_state(x)

    strategy.run(fn, (split(x, sizes),))
    assert metric.result().item() == pytest.approx(4.5)
    metric.reset_state()
    strategy.run(fn, (split(x + 1, sizes),))
    assert metric.result().item() == pytest.approx(5.5)


@pytest.mark.parametrize("replicas", [2, 4])
def test_a_checkpoint_is_that_of_one_device(replicas: int, tmp_path: Path) -> None:
    x = np.arange(8.0, dtype=np.float32)

    def trained(n: int) -> list[dict[str, np.ndarray]]:
        w = ost.Variable(np.ones(4, np.float32), name="w")
        count = ost.Variable(0.0, name="count", trainable=False, aggregation="sum")
        variables = {"w": w, "count": count}
        strategy = mirrored(n)

        def fn(x: Any) -> None:
            w.assign(w * 2)
            count.assign_add(ost.sum(x))

        def step() -> None:
            strategy.run(fn, (split(x, [8 // n] * n),))

        step()
        path = ost.io.save_checkpoint(tmp_path / str(n), 1, variables)
        step()
        late = {name: v.numpy() for name, v in variables.items()}
        saved = ost.io.load_checkpoint(path).tensors
        for name, v in variables.items():
            v.assign(saved[name])
        step()
        return [dict(saved), late, {name: v.numpy() for name, v in variables.items()}]

    one, several = trained(1), trained(replicas)
    for expected, got in zip(one, several, strict=True):
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value)
    assert several[1]["count"] == several[2]["count"] == 56


def test_one_device_and_replicas_take_turns() -> None:
    strategy = mirrored(2)
    w = ost.Variable(np.float32(0), name="w")

    def add() -> None:
        w.assign_add(np.float32(1))

    alone = ost.compile(add)
    for _ in range(3):
        strategy.run(add)
        alone()
    strategy.run(add)
    assert [w.copy_of(i).item() for i in (0, 1)] == [7, 7]
    other = ost.distribute.MirroredStrategy(["cpu:2", "cpu:1", "cpu:0"])
    other.run(add)
    assert w.devices == ["cpu:2", "cpu:1", "cpu"]
    assert [w.copy_of(i).item() for i in (0, 1, 2)] == [8, 8, 8]


def test_values_from_a_function() -> None:
    strategy = mirrored(2)
    made = strategy.experimental_distribute_values_from_function(
        lambda c: {"id": c.replica_id_in_sync_group, "all": c.num_replicas_in_sync}
    )
    assert (made["id"].values, made["all"].values) == ((0, 1), (2, 2))
    doubled = strategy.run(lambda x: x["id"] * 2, (made,))
    assert [v.item() for v in doubled.values] == [0, 2]
    with pytest.raises(ValueError, match=r"replica 0 has leaf, replica 1 \(leaf, leaf\); all"):
        strategy.experimental_distribute_values_from_function(
            lambda c: (1, 2) if c.replica_id_in_sync_group else 1
        )


# --- Where code is --------------------------------------------------------------------------------


def test_strategies_and_contexts_in_force() -> None:
    strategy = mirrored(2)
    distribute = ost.distribute
    assert not distribute.has_strategy()
    assert distribute.get_strategy().run(lambda x: x + 1, (1,)) == 2
    outside = distribute.get_replica_context()
    assert outside is not None and outside.replica_id_in_sync_group.item() == 0
    with strategy.scope() as entered:
        assert entered is strategy is distribute.get_strategy()
        assert distribute.has_strategy()
        assert distribute.get_replica_context() is None
        with strategy.scope():
            assert distribute.get_strategy() is strategy
        other: list[bool] = []
        thread = threading.Thread(target=lambda: other.append(distribute.has_strategy()))
        thread.start()
        thread.join()
        assert other == [False]
    assert not distribute.has_strategy()


def test_a_strategy_inside_another_is_refused() -> None:
    first, second = mirrored(2), mirrored(3)
    with first.scope():
        with pytest.raises(RuntimeError, match="a strategy inside of another is not possible"):
            with second.scope():
                pass
        with pytest.raises(RuntimeError, match=r"MirroredStrategy\(\['cpu', 'cpu:1'\]\) is in"):
            second.run(lambda: None)
    with pytest.raises(RuntimeError, match="called by a function that a strategy runs"):
        first.run(lambda: first.run(lambda: None))
    with pytest.raises(RuntimeError, match="a strategy inside of another is not possible"):
        first.run(lambda: second.scope().__enter__())
    with pytest.raises(RuntimeError, match=r"call it outside of ost\.compile"):
        ost.compile(lambda x: first.run(lambda: x))(ost.ones(1))


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_branch_on_the_replica_says_what_to_use(replicas: int) -> None:
    def fn() -> Any:
        context = ost.distribute.get_replica_context()
        assert context is not None
        if context.replica_id_in_sync_group == 0:
            return ost.ones(1)
        return ost.zeros(1)

    with pytest.raises(TypeError, match=r"replicas run one graph.*ost.where or ost.cond \[test_di"):
        mirrored(replicas).run(fn)


# --- Training -------------------------------------------------------------------------------------


def trained(strategy: ost.distribute.MirroredStrategy, sizes: list[list[int]]) -> dict[str, Any]:
    ost.random.seed(3)
    rng = np.random.default_rng(0)
    model = ost.nn.Sequential(
        [
            ost.nn.Dense(16, activation="relu", kernel_regularizer=ost.nn.regularizers.L2(0.01)),
            ost.nn.Dropout(0.3),
            ost.nn.Dense(3),
        ]
    )
    loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = ost.optim.Adam(0.01, global_clipnorm=0.5)
    accuracy = ost.metrics.SparseCategoricalAccuracy()

    def step(x: Any, y: Any) -> Any:
        context = ost.distribute.get_replica_context()
        assert context is not None
        logits = model(x, training=True)
        loss = loss_fn(y, logits)
        for penalty in model.losses:
            loss = loss + penalty / context.num_replicas_in_sync
        optimizer.minimize(loss, model.trainable_variables)
        accuracy.update_state(y, logits)
        return loss

    with strategy.scope():
        model(np.zeros((1, 5), np.float32))
        losses = []
        for parts in sizes:
            rows = sum(parts)
            x = rng.normal(size=(rows, 5)).astype(np.float32)
            y = rng.integers(0, 3, rows)
            result = strategy.run(step, (split(x, parts), split(y, parts)))
            losses.append(strategy.reduce("sum", result, axis=None).item())
        weights = [v.numpy() for v in model.variables]
    return {"losses": losses, "weights": weights, "accuracy": accuracy.result().item()}


@pytest.mark.parametrize(
    "parts",
    [[[4, 4], [4, 4], [2, 1]], [[3, 3, 2], [8, 0, 0], [1, 0, 2]], [[2] * 4, [2] * 4, [3, 0, 0, 0]]],
)
def test_replicas_train_as_one_device_with_all_rows(parts: list[list[int]]) -> None:
    one = trained(mirrored(1), [[sum(sizes)] for sizes in parts])
    several = trained(mirrored(len(parts[0])), parts)
    np.testing.assert_allclose(several["losses"], one["losses"], rtol=1e-5)
    for weight, expected in zip(several["weights"], one["weights"], strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)
    assert several["accuracy"] == pytest.approx(one["accuracy"])


def test_all_reduce(strategy: ost.distribute.MirroredStrategy) -> None:
    n = strategy.num_replicas_in_sync

    def fn(x: Any) -> Any:
        context = ost.distribute.get_replica_context()
        assert context is not None
        total = context.all_reduce("sum", {"x": x * 2, "id": context.replica_id_in_sync_group})
        return total, context.all_reduce(ost.distribute.ReduceOp.MEAN, x)

    x = PerReplica([np.float32(i + 1) for i in range(n)])
    for total, mean in strategy.experimental_local_results(strategy.run(fn, (x,))):
        assert total["x"].item() == n * (n + 1)
        assert total["id"].item() == n * (n - 1) / 2
        assert mean.item() == (n + 1) / 2


def test_all_reduce_of_parts_of_a_tensor_leaves_the_rest_alone(
    strategy: ost.distribute.MirroredStrategy,
) -> None:
    n = strategy.num_replicas_in_sync

    def fn(x: Any) -> Any:
        context = ost.distribute.get_replica_context()
        assert context is not None
        whole = ost.sum(x, axis=0) * 2
        parts = [whole[1:3], whole[3:70], whole[70:]]
        return whole, *context.all_reduce("sum", parts), whole + 1

    given = [np.arange(80, dtype=np.float32) + 100 * i for i in range(n)]
    total = sum(2 * x for x in given)
    results = strategy.experimental_local_results(
        strategy.run(fn, (PerReplica([x[None] for x in given]),))
    )
    for x, (whole, a, b, c, after) in zip(given, results, strict=True):
        np.testing.assert_array_equal(whole.numpy(), 2 * x)
        np.testing.assert_array_equal(np.concatenate([a, b, c]), total[1:])
        np.testing.assert_array_equal(after.numpy(), 2 * x + 1)


def test_what_replicas_do_not_agree_on_is_no_state() -> None:
    strategy = mirrored(2)
    w = ost.Variable(np.float32(0), name="w")
    parts = PerReplica([np.float32(1), np.float32(3)])
    message = r"'w' is assigned a value that each replica computes.*aggregation='sum'.*\[test_di"
    context = ost.distribute.get_replica_context

    def of_replica() -> Any:
        found = context()
        assert found is not None
        return found.replica_id_in_sync_group

    def common(x: Any) -> None:
        found = context()
        assert found is not None
        w.assign(found.all_reduce("mean", x))

    for own in (
        lambda x: w.assign(w + x),
        lambda x: w.assign(ost.cast(of_replica(), "float32")),
        lambda x: w.assign(ost.sum(ost.random.uniform((ost.stack([x]).shape[0],)) + x)),
    ):
        with pytest.raises(ValueError, match=message):
            strategy.run(own, (parts,))
    with pytest.raises(ValueError, match=message):
        rows = split(np.ones((3, 1), np.float32), [1, 2])
        strategy.run(lambda x: w.assign(w + x.shape[0]), (rows,))
    strategy.run(lambda x: w.assign(w + x), (np.float32(5),))
    assert [w.copy_of(i).item() for i in (0, 1)] == [5, 5]
    strategy.run(common, (parts,))
    assert [w.copy_of(i).item() for i in (0, 1)] == [2, 2]


def test_a_dataset_is_shared_out(strategy: ost.distribute.MirroredStrategy) -> None:
    count = ost.Variable(0.0, name="count", trainable=False, aggregation="sum")
    dataset = ost.data.Dataset.range(10).batch(4)
    total = 0
    for batch in strategy.experimental_distribute_dataset(dataset):
        strategy.run(lambda x: count.assign_add(ost.sum(ost.cast(x, "float32"))), (batch,))
        total += 1
    assert (total, count.numpy()) == (3, 45.0)
    made = strategy.distribute_datasets_from_function(
        lambda c: ost.data.Dataset.range(8).batch(c.get_per_replica_batch_size(12))
    )
    n = strategy.num_replicas_in_sync
    each = 12 // n
    batches = [list(range(k, min(k + each, 8))) for k in range(0, 8, each)]
    batches += [[]] * (-len(batches) % n)  # who has none in the last step gets no rows
    parts = [strategy.experimental_local_results(batch) for batch in made]
    assert [np.asarray(part).tolist() for step in parts for part in step] == batches


# --- Mistakes -------------------------------------------------------------------------------------


def test_devices_that_do_not_fit_are_refused() -> None:
    strategy = ost.distribute.MirroredStrategy
    with pytest.raises(ValueError, match="'tpu:0' names no device; accepted are 'cpu'"):
        strategy(["tpu:0"])
    with pytest.raises(ValueError, match="device cpu is given twice"):
        strategy(["cpu", "cpu:0"])
    with pytest.raises(ValueError, match="no device is given"):
        strategy([])
    with pytest.raises(ValueError, match="give a list of names, such as"):
        strategy("cpu:0")
    with pytest.raises(ValueError, match="all must be of one kind"):
        strategy(["cpu:0", "null"])
    with pytest.raises(ValueError, match="timeout 0 is not accepted"):
        strategy(["cpu:0"], timeout=0)
    with pytest.raises(TypeError, match="unknown keyword 'device'; did you mean 'devices'"):
        strategy(device=["cpu:0"])
    assert strategy(["cpu"]).num_replicas_in_sync == 1


def test_arguments_that_differ_too_much_are_refused() -> None:
    strategy = mirrored(2)
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"argument 'x' is float32\[2, 3\] on replica 0 and float"):
        strategy.run(_double, (PerReplica([ones, ones[:, :2]]),))
    with pytest.raises(ValueError, match=r"on replica 0 and int32\[2, 3\] on replica 1; only"):
        strategy.run(_double, (PerReplica([ones, ones.astype(np.int32)]),))
    with pytest.raises(ValueError, match=r"argument 'x'\['a'\] has values of 3 replicas"):
        strategy.run(_double, ({"a": PerReplica([ones] * 3)},))
    with pytest.raises(ValueError, match="is a str on replica 0; what differs between replicas"):
        strategy.run(_double, (PerReplica(["a", "b"]),))
    with pytest.raises(TypeError, match="args is a Tensor; give a tuple, such as"):
        strategy.run(_double, ost.ones(1))


def _double(x: Any) -> Any:
    return x * 2


def test_an_error_in_one_replica_names_it_and_changes_nothing() -> None:
    strategy = mirrored(3)
    w = ost.Variable(np.zeros(2, np.float32), name="w")

    def fn(at: Any) -> Any:
        w.assign_add(ost.ones(2))
        return ost.take(ost.ones((4, 2)), at, axis=0)

    good, bad = np.array([0]), np.array([9])
    strategy.run(fn, (good,))
    for wrong in range(3):
        at = PerReplica([bad if i == wrong else good for i in range(3)])
        name = "cpu" if wrong == 0 else f"cpu:{wrong}"
        match = rf"rank {wrong} \({name}\): gather: index 9 .*\[test_distribute.py:\d+\]"
        with pytest.raises(IndexError, match=match):
            strategy.run(fn, (at,))
        assert [w.copy_of(i).tolist() for i in range(3)] == 3 * [[1.0, 1.0]]
    strategy.run(fn, (good,))
    assert [w.copy_of(i).tolist() for i in range(3)] == 3 * [[2.0, 2.0]]


def test_debugging_names_the_replica_and_the_op() -> None:
    strategy = mirrored(2)
    same = np.ones(2, np.float32)
    with ost.debug(), pytest.raises(ost.NonFiniteError, match=r"rank 1 \(cpu:1\): .*log"):
        strategy.run(lambda x: ost.log(x), (PerReplica([same, -same]),))


def test_a_function_made_in_a_loop_is_warned_of() -> None:
    strategy = mirrored(1)
    with pytest.warns(UserWarning, match="define it once, outside of the loop") as warned:
        for i in range(8):
            strategy.run(lambda x, i=i: x + i, (ost.ones(1),))
    assert [w.filename for w in warned] == [__file__], "it is the user's line that is named"


# --- Looking inside -------------------------------------------------------------------------------


def test_explain_and_profile(strategy: ost.distribute.MirroredStrategy) -> None:
    n = strategy.num_replicas_in_sync
    w = ost.Variable(np.zeros(2, np.float32), name="w")

    def fn(x: Any) -> Any:
        w.assign_add(ost.ones(2))
        return ost.exp(x)

    x = split(np.ones((n, 3), np.float32), [1] * n)
    strategy.run(fn, (x,))
    compiled = strategy.compile(fn)
    text = compiled.explain()
    assert "fn: 1 trace(s), 1 plan(s)" in text
    assert "plan {'batch': 1}: first call" in text
    assert "replica_id" in text
    rows = compiled.profile(x, runs=2)
    assert any("exp" in (row["op"] + row["detail"]) for row in rows)
    assert w.numpy().tolist() == [1.0, 1.0]
    assert compiled.memory_plan(x)["peak_bytes"] > 0


def test_other_threads_run_meanwhile() -> None:
    strategy = mirrored(2)
    w = ost.Variable(np.zeros(1000, np.float32), name="w")

    def fn() -> None:
        w.assign_add(ost.ones(1000))

    def steps() -> None:
        for _ in range(50):
            strategy.run(fn)

    threads = [threading.Thread(target=steps) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [w.copy_of(i)[0] for i in (0, 1)] == [150, 150]
