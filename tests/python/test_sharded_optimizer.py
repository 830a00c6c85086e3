# SPDX-License-Identifier: Apache-2.0
"""`shard_optimizer_state`: each replica holds a part of the slots, and training stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 6)).astype(np.float32)
Y = RNG.integers(0, 5, 12)
CE = ost.losses.SparseCategoricalCrossentropy(from_logits=True)


def mirrored(replicas: int, shard: bool = True) -> Any:
    devices = [f"cpu:{i}" for i in range(replicas)]
    return ost.distribute.MirroredStrategy(devices, shard_optimizer_state=shard)


def split(x: np.ndarray, replicas: int) -> Any:
    return ost.distribute.PerReplica(np.array_split(x, replicas))


def made(strategy: Any, make: Callable[[], Any]) -> tuple[Any, Any, Any]:
    """(model, optimizer, step): kernels of 6 x 7 and 7 x 5, whose sizes 2 and 3 divide or not."""
    with strategy.scope():
        ost.random.seed(1)
        model = nn.Sequential([nn.Dense(7, activation="tanh"), nn.Dense(5)])
        model(X[:1])
        optimizer = make()

    def step(x: Any, y: Any) -> Any:
        loss = CE(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    return model, optimizer, step


def trained(
    replicas: int, shard: bool, make: Callable[[], Any], steps: int = 4
) -> tuple[dict[str, np.ndarray], Any, Any, Any]:
    """(every value by name, optimizer, strategy, its function) after some steps."""
    strategy = mirrored(replicas, shard)
    model, optimizer, step = made(strategy, make)
    for i in range(steps):
        order = np.random.default_rng(i).permutation(12)
        strategy.run(step, (split(X[order], replicas), split(Y[order], replicas)))
    for v in model.variables:
        assert len({v.copy_of(r).tobytes() for r in range(replicas)}) == 1, v.name
    values = {v.name: v.numpy() for v in [*model.variables, *optimizer.variables]}
    return values, optimizer, strategy, strategy.compile(step)


EXACT = {
    "momentum": lambda: optim.SGD(0.1, momentum=0.9),
    "adam": lambda: optim.Adam(0.01),
    "adamw": lambda: optim.AdamW(0.01, weight_decay=0.1),
    "adamw-of-some": lambda: excluding(optim.AdamW(0.01, weight_decay=0.1)),
    "clipvalue": lambda: optim.Adam(0.01, clipvalue=1e-2),
    "averages": lambda: optim.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
    "averages-alone": lambda: optim.SGD(0.1, use_ema=True),
    "rates": lambda: optim.Adam(0.01, learning_rate_multipliers={"*/bias": 2.0}),
    "ftrl": lambda: optim.Ftrl(0.1, l1_regularization_strength=1e-3),
    "rmsprop": lambda: optim.RMSprop(0.01, centered=True),
    "loss-scale": lambda: optim.LossScaleOptimizer(optim.Adam(0.01)),
}


def excluding(optimizer: Any) -> Any:
    optimizer.exclude_from_weight_decay(names=["bias"])
    return optimizer


def slots(optimizer: Any) -> list[Any]:
    return [v for v in optimizer.variables if "dense" in v.name]


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("make", EXACT.values(), ids=EXACT.keys())
def test_the_same_bits_as_undivided(replicas: int, make: Callable[[], Any]) -> None:
    whole, *_ = trained(replicas, False, make)
    parts, optimizer, *_ = trained(replicas, True, make)
    assert parts.keys() == whole.keys()
    for name, value in whole.items():
        assert parts[name].tobytes() == value.tobytes(), name
    for v in slots(optimizer):
        assert v.num_parts == replicas
        assert v.copy_of(0).shape == (-(-v.size // replicas),)


@pytest.mark.parametrize("replicas", [2, 3, 4])
@pytest.mark.parametrize("options", [{"global_clipnorm": 0.05}, {"clipnorm": 0.02}], ids=str)
def test_norms_are_those_of_whole_gradients(replicas: int, options: dict[str, float]) -> None:
    # A sum of squares is added up in another order: equal but for the last bits.
    whole, *_ = trained(replicas, False, lambda: optim.SGD(0.5, momentum=0.9, **options))
    parts, *_ = trained(replicas, True, lambda: optim.SGD(0.5, momentum=0.9, **options))
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_replica_holds_its_share_of_the_slots() -> None:
    def planned(shard: bool) -> tuple[int, str, Any]:
        _, optimizer, _, function = trained(4, shard, lambda: optim.Adam(0.01))
        args = (split(X, 4), split(Y, 4))
        return function.memory_plan(*args)["state_bytes"], function.explain(), optimizer

    whole, _, optimizer = planned(False)
    parts, explained, divided = planned(True)
    held = sum(v.size for v in slots(optimizer)) * 4
    mine = sum(v.copy_of(2).nbytes for v in slots(divided))
    assert mine == sum(-(-v.size // 4) * 4 for v in slots(divided)) < 0.27 * held
    assert whole - parts == held - mine
    assert f"Adam: each of 4 replicas holds {mine} of {held} bytes of its slots" in explained


def test_large_weights_and_all_slots_are_written_where_they_lie() -> None:
    """Though the labels are looked at, and a replica may have none: state is written once."""
    strategy = mirrored(2)
    with strategy.scope():
        model = nn.Dense(512)
        model(np.zeros((1, 1024), np.float32))  # 2 MB
        optimizer = optim.Adam(0.01)

    def step(x: Any, y: Any) -> Any:
        loss = CE(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    x, y = RNG.normal(size=(6, 1024)).astype(np.float32), np.arange(6)
    function = strategy.compile(step)
    args = [ost.distribute.PerReplica([v, v[:0]]) for v in (x, y)]
    function(*args)
    for rows in (6, 0):
        plan = function.trace(*args).plan_text({"batch": rows})
        assert "all_gather" in plan and "adam_update" in plan
        copied = [line for line in plan.splitlines() if line.startswith("  copy ")]
        assert not [line for line in copied if "adam_" in line or "kernel" in line], copied
    for v in model.variables:
        assert v.copy_of(0).tobytes() == v.copy_of(1).tobytes()


@pytest.mark.parametrize(("replicas", "most"), [(2, 0.9), (4, 0.75), (7, 0.7)])
def test_a_step_takes_less_memory_in_all(replicas: int, most: float) -> None:
    def peak(shard: bool) -> int:
        strategy = mirrored(replicas, shard)
        with strategy.scope():
            model = nn.Sequential([nn.Dense(512, activation="relu"), nn.Dense(512), nn.Dense(5)])
            model(np.zeros((1, 700), np.float32))
            optimizer = optim.Adam(0.01)

        def step(x: Any, y: Any) -> Any:
            optimizer.minimize(CE(y, model(x, training=True)), model.trainable_variables)

        args = (np.zeros((14, 700), np.float32), np.zeros(14, np.int64))
        plan = strategy.compile(step).memory_plan(*[split(v, replicas) for v in args])
        return int(plan["peak_bytes"])

    assert peak(True) < most * peak(False)


@pytest.mark.parametrize("sizes", [[9, 3, 0], [12, 0]], ids=str)
def test_replicas_without_rows_take_part(sizes: list[int]) -> None:
    ends = []
    for shard in (False, True):
        strategy = mirrored(len(sizes), shard)
        model, optimizer, step = made(strategy, lambda: optim.Adam(0.01))
        cuts = np.cumsum(sizes)[:-1]
        args = [ost.distribute.PerReplica(np.split(v, cuts)) for v in (X, Y)]
        for _ in range(3):
            strategy.run(step, args)
        ends.append([v.numpy().tobytes() for v in [*model.variables, *slots(optimizer)]])
    assert ends[0] == ends[1]


def test_bad_labels_of_one_replica_change_nothing() -> None:
    strategy = mirrored(3)
    model, optimizer, step = made(strategy, lambda: optim.Adam(0.01))
    strategy.run(step, (split(X, 3), split(Y, 3)))
    before = [v.numpy() for v in [*model.variables, *slots(optimizer)]]
    bad = Y.copy()
    bad[6] = 99
    with pytest.raises(IndexError, match=r"rank 1 \(cpu:1\): .*99"):
        strategy.run(step, (split(X, 3), split(bad, 3)))
    for v, old in zip([*model.variables, *slots(optimizer)], before, strict=True):
        assert v.numpy().tobytes() == old.tobytes(), v.name
    strategy.run(step, (split(X, 3), split(Y, 3)))


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing_anywhere(where: str) -> None:
    strategy = mirrored(3)
    model, optimizer, _ = made(strategy, lambda: optim.Adam(0.01))

    def step(x: Any, y: Any, poison: Any) -> Any:
        loss = CE(y, model(x, training=True))
        wrt = model.trainable_variables
        grads = optimizer.gradients(loss, wrt)
        if where == "gradient":  # one element, which is in the part of one replica
            grads[0] = grads[0] + ost.pad(ost.reshape(poison, (1, 1)), ((0, 5), (0, 6)))
        return optimizer.apply(grads, wrt, loss=loss + poison if where == "loss" else loss)

    def args(*poison: float) -> Any:
        values = [np.float32(v) for v in poison]
        return split(X, 3), split(Y, 3), ost.distribute.PerReplica(values)

    strategy.run(step, args(0, 0, 0))
    before = [v.numpy() for v in [*model.variables, *slots(optimizer)]]
    committed = strategy.run(step, args(0, np.inf, 0))
    assert [c.item() for c in committed.values] == [False] * 3
    for v, old in zip([*model.variables, *slots(optimizer)], before, strict=True):
        assert v.numpy().tobytes() == old.tobytes(), v.name
    assert optimizer.skipped.numpy() == 1
    assert all(c.item() for c in strategy.run(step, args(0, 0, 0)).values)


def test_a_slot_is_read_and_assigned_whole() -> None:
    _, optimizer, *_ = trained(3, True, lambda: optim.Adam(0.01))
    v = slots(optimizer)[0]
    value = RNG.normal(size=v.shape).astype(np.float32)
    v.assign(value)
    np.testing.assert_array_equal(v.numpy(), value)
    np.testing.assert_array_equal(v.value().numpy(), value)
    np.testing.assert_array_equal(v.view().numpy(), value)
    begins = [0, 14, 28]
    for r in range(3):
        np.testing.assert_array_equal(v.copy_of(r), value.ravel()[begins[r] : begins[r] + 14])
    with pytest.raises(ValueError, match="cannot assign"):
        v.assign(value.ravel())


def test_one_device_and_other_strategies_take_over() -> None:
    """The same optimizer undivided, on one device, and divided by another number of replicas."""
    reference, *_ = trained(1, False, lambda: optim.Adam(0.01), steps=8)
    strategy = mirrored(3)
    model, optimizer, step = made(strategy, lambda: optim.Adam(0.01))
    alone = ost.compile(step)
    others = [mirrored(2), mirrored(2, shard=False), strategy]

    def order(i: int) -> np.ndarray:
        return np.random.default_rng(i).permutation(12)

    for i in range(2):
        strategy.run(step, (split(X[order(i)], 3), split(Y[order(i)], 3)))
    for i in range(2, 4):
        alone(X[order(i)], Y[order(i)])
    for i, other in enumerate([others[0], others[1], others[2], others[0]], start=4):
        n = other.num_replicas_in_sync
        other.run(step, (split(X[order(i)], n), split(Y[order(i)], n)))
    for v in [*model.variables, *slots(optimizer)]:
        np.testing.assert_allclose(v.numpy(), reference[v.name], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    "make",
    [lambda: optim.Lamb(0.01), lambda: optim.Adafactor(0.01), lambda: optim.Adam(lazy=True)],
    ids=["lamb", "adafactor", "lazy"],
)
def test_what_takes_norms_or_rows_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(
        ValueError, match=r"shard_optimizer_state=True divides .* norms or rows .*\[test_sharded"
    ):
        trained(2, True, make, steps=1)


def test_an_optimizer_without_slots_says_so() -> None:
    whole, *_ = trained(2, False, lambda: optim.SGD(0.1))
    parts, _, _, function = trained(2, True, lambda: optim.SGD(0.1))
    assert all(parts[name].tobytes() == value.tobytes() for name, value in whole.items())
    assert "SGD has no state of weights that replicas could divide" in function.explain()


def test_a_slot_read_in_the_step_before_the_update_is_refused() -> None:
    strategy = mirrored(2)
    _, optimizer, step = made(strategy, lambda: optim.Adam(0.01))
    args = (split(X, 2), split(Y, 2))
    strategy.run(step, args)

    def peeking(x: Any, y: Any) -> Any:
        seen = ost.sum(slots(optimizer)[0].value())
        return step(x, y) + seen

    with pytest.raises(ValueError, match=r"adam_m' is read before the optimizer's step, .* part"):
        strategy.run(peeking, args)


def test_debug_mode_runs_it() -> None:
    strategy = mirrored(3)
    _, _, step = made(strategy, lambda: optim.Ftrl(0.1))
    with ost.debug():
        strategy.run(step, (split(X, 3), split(Y, 3)))


def test_the_option_is_a_bool_and_means_nothing_alone() -> None:
    with pytest.raises(TypeError, match=r"shard_optimizer_state 2 is not accepted; give True"):
        ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"], shard_optimizer_state=2)  # type: ignore[arg-type]
    _, optimizer, *_ = trained(1, True, lambda: optim.Adam(0.01))
    assert slots(optimizer)[0].num_parts == 1


# --- Checkpoints ----------------------------------------------------------------------------------


def trainer(folder: Path, strategy: Any) -> Any:
    with strategy.scope() if strategy else ost.device("cpu"):
        model = nn.Sequential([nn.Dense(7, activation="tanh"), nn.Dense(5)])
    return ost.train.Trainer(
        model, CE, optim.Adam(0.01), model_dir=folder, save_steps=3, seed=2, strategy=strategy
    )


def data() -> Any:
    return ost.data.Dataset.from_tensor_slices((X, Y)).repeat(8).batch(12)


@pytest.mark.parametrize(("first", "second"), [(3, 2), (2, 0), (0, 3)])
def test_checkpoints_hold_whole_slots(tmp_path: Path, first: int, second: int) -> None:
    """Saved by so many dividing replicas (0: no strategy), continued by so many others."""

    def strategy(n: int) -> Any:
        return mirrored(n) if n else None

    reference = trainer(tmp_path / "one", None)
    reference.train(data(), max_steps=6)
    trainer(tmp_path / "two", strategy(first)).train(data(), max_steps=3)
    saved = ost.io.load_latest_checkpoint(tmp_path / "two").tensors
    assert saved["dense/kernel/adam_m"].shape == (6, 7)
    assert np.abs(saved["dense/kernel/adam_m"]).max() > 0
    again = trainer(tmp_path / "two", strategy(second))
    again.train(data(), max_steps=6)
    names = {v.name: v.numpy() for v in again.variables}
    assert names.keys() == {v.name for v in reference.variables}
    for v in reference.variables:
        np.testing.assert_allclose(names[v.name], v.numpy(), rtol=1e-4, atol=1e-5, err_msg=v.name)


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", mirrored(3))
    whole.train(data(), max_steps=6)
    trainer(tmp_path / "parts", mirrored(3)).train(data(), max_steps=3)
    again = trainer(tmp_path / "parts", mirrored(3))
    again.train(data(), max_steps=6)
    for a, b in zip(again.variables, whole.variables, strict=True):
        assert a.name == b.name and a.numpy().tobytes() == b.numpy().tobytes(), a.name
