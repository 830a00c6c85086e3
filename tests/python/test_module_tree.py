# SPDX-License-Identifier: Apache-2.0
"""The tree of modules: what is in it, what its weights are named, what it hands down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


class Stack(nn.Module):
    """Calls the modules that `hold` puts into its attributes, one after another."""

    def __init__(self, hold: Callable[[Any], list[nn.Module]]) -> None:
        super().__init__()
        self.order = lambda: layers  # a closure is no attribute of the tree
        layers = hold(self)

    def call(self, x: Any) -> Any:
        for layer in self.order():
            x = layer(x)
        return x


def grown_list(m: Any) -> list[nn.Module]:
    m.blocks = []
    for _ in range(2):
        m.blocks.append(nn.Dense(4))
    return list(m.blocks)


def by_key(m: Any) -> list[nn.Module]:
    m.d = {"b": nn.Dense(4), "a": nn.Dense(4)}
    m.d["c/d"] = nn.Dense(4)
    return list(m.d.values())


def nested(m: Any) -> list[nn.Module]:
    m.grid = [[nn.Dense(4)], (nn.Dense(4), {"x": nn.Dense(4)})]
    return [m.grid[0][0], m.grid[1][0], m.grid[1][1]["x"]]


def name_taken(m: Any) -> list[nn.Module]:
    m.a_0 = nn.Dense(4)
    m.a = [nn.Dense(4)]
    return [m.a_0, m.a[0]]


def list_with_a_gap(m: Any) -> list[nn.Module]:
    m.a = [nn.Dense(4), nn.Dense(4)]
    del m.a[0]
    m.a.append(nn.Dense(4))
    return list(m.a)


def itself(m: Any) -> list[nn.Module]:
    m.a = [nn.Dense(4)]
    m.a.append(m.a)
    return [m.a[0]]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    ("hold", "names"),
    [
        (grown_list, ["blocks_0", "blocks_1"]),
        (by_key, ["d_b", "d_a", "d_c_d"]),
        (nested, ["grid_0_0", "grid_1_0", "grid_1_1_x"]),
        (name_taken, ["a_0", "a_0_1"]),
        (list_with_a_gap, ["a_1", "a_1_1"]),
        (itself, ["a_0"]),
    ],
)
def test_containers_name_their_modules(hold: Any, names: list[str], compiled: bool) -> None:
    model = Stack(hold)
    (ost.compile(model) if compiled else model)(X)
    assert [c._scope_name for c in model.children()] == names
    state = model.state_dict()
    assert list(state) == [f"{name}/{w}" for name in names for w in ("kernel", "bias")]
    kernels = [state[f"{name}/kernel"].numpy() for name in names]
    assert len({k.tobytes() for k in kernels}) == len(names)
    for name in names:
        assert f"{name} (Dense)" in model.summary(print_fn=None)


@pytest.mark.parametrize("hold", [grown_list, by_key, nested])
def test_modules_in_containers_are_trained(hold: Any) -> None:
    model = Stack(hold)
    model(X)
    before = {name: v.numpy().copy() for name, v in model.state_dict().items()}
    optimizer = ost.optim.SGD(0.1)

    @ost.compile
    def step(x: Any) -> Any:
        loss = ost.mean(ost.square(model(x, training=True) - 1.0))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    step(X)
    for name, v in model.state_dict().items():
        assert not np.array_equal(before[name], v.numpy()), name


def test_the_same_program_gives_the_same_weights() -> None:
    def values() -> list[bytes]:
        model = Stack(grown_list)
        model(X)
        return [v.numpy().tobytes() for v in model.variables]

    assert values() == values()


def test_a_module_in_a_list_of_a_caller_further_up_is_named() -> None:
    class Inner(nn.Module):
        def call(self, x: Any, layer: Any) -> Any:
            return layer(x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.late = Inner(), []
            self.late.append(nn.Dense(4))

        def call(self, x: Any) -> Any:
            return self.inner(x, self.late[0])

    model = Outer()
    model(X)
    assert list(model.state_dict()) == ["inner/late_0/kernel", "inner/late_0/bias"]


def test_variables_in_containers_are_weights() -> None:
    model = nn.Module()
    model.tables = {"x": [ost.Variable(0.0, name="a")], "y": (ost.Variable(1.0, name="b"),)}
    assert list(model.state_dict()) == ["a", "b"]


# --- Roots ----------------------------------------------------------------------------------------


def test_two_roots_of_one_name_cannot_be_trained_together() -> None:
    e, d = nn.Dense(4), nn.Dense(4)
    d(e(X))
    variables = e.variables + d.variables
    with pytest.raises(ValueError, match=r"SGD: two variables are named 'kernel', .* \["):
        ost.optim.SGD(0.1).apply([ost.zeros(v.shape) for v in variables], variables)


def test_two_roots_of_one_name_cannot_be_made_in_one_function() -> None:
    e, d = nn.Dense(4), nn.Dense(4)
    message = r"dense: this function made another weight 'kernel', .* one parent, .* \["
    with pytest.raises(ValueError, match=message):
        ost.compile(lambda x: d(e(x)))(X)


def test_roots_built_apart_may_run_in_one_function() -> None:
    a, b = nn.Dense(4), nn.Dense(4)
    y = a(X) + b(X)
    np.testing.assert_allclose(ost.compile(lambda x: a(x) + b(x))(X).numpy(), y.numpy(), rtol=1e-6)


# --- training= ------------------------------------------------------------------------------------


class Plain(nn.Module):
    """Knows nothing of training, and holds a layer that does."""

    def __init__(self, layer: nn.Module, **told: Any) -> None:
        super().__init__()
        self.layer, self._told = layer, told

    def call(self, x: Any) -> Any:
        return self.layer(x, **self._told)


ONES = np.ones((8, 64), np.float32)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    ("told", "training", "drops"),
    [
        ({}, {"training": True}, True),
        ({}, {"training": False}, False),
        ({}, {}, False),
        ({"training": None}, {"training": True}, True),
        ({"training": False}, {"training": True}, False),
        ({"training": True}, {}, True),
    ],
)
def test_training_is_inherited(told: Any, training: Any, drops: bool, compiled: bool) -> None:
    model = Plain(nn.Sequential([Plain(nn.Dropout(0.5), **told)]))
    call = ost.compile(lambda x: model(x, **training)) if compiled else None
    y = call(ONES) if call else model(ONES, **training)
    assert bool((y.numpy() == 0).any()) == drops
    assert (nn.Dropout(0.5)(ONES).numpy() == 1).all()  # what was inherited ends with the call


def test_training_ends_with_a_call_that_fails() -> None:
    class Fails(nn.Module):
        def call(self, x: Any) -> Any:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        Fails()(ONES, training=True)
    assert (nn.Dropout(0.5)(ONES).numpy() == 1).all()


def test_a_trainer_reaches_layers_below_modules_that_know_nothing_of_training() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.head = nn.BatchNormalization(), nn.Dense(1)

        def call(self, x: Any) -> Any:
            return self.head(self.norm(x))

    model = Net()
    trainer = ost.train.Trainer(model, ost.losses.MeanSquaredError(), ost.optim.SGD(0.1))
    data = ost.data.Dataset.from_tensor_slices((X + 5.0, X[:, :1])).batch(6)
    trainer.train(lambda: data, steps=1)
    np.testing.assert_allclose(model.norm.moving_mean.numpy(), 0.01 * (X + 5).mean(0), rtol=1e-5)


# --- Loading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (np.zeros((2, 2), np.float32), r"float32\[2, 2\]"),
        (np.zeros((4,), np.float64), r"float64\[4\]"),
        ([0.0, 0.0], r"float32\[2\]"),
    ],
    ids=["shape", "dtype", "list"],
)
def test_a_state_with_one_misfit_loads_nothing(bad: Any, what: str) -> None:
    model = Stack(grown_list)
    model(X)
    before = {name: v.numpy().copy() for name, v in model.state_dict().items()}
    values: dict[str, Any] = {name: np.ones_like(v) for name, v in before.items()}
    values["blocks_1/bias"] = bad
    message = rf"stack: 'blocks_1/bias' is float32\[4\], but {what} in the state, so nothing"
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(values)
    for name, v in model.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), before[name])
    values["blocks_1/bias"] = [1.0, 2.0, 3.0, 4.0]
    model.load_state_dict(values)
    assert model.state_dict()["blocks_1/bias"].numpy().tolist() == [1, 2, 3, 4]
