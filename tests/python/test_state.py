# SPDX-License-Identifier: Apache-2.0
"""Variables: where they live, how they change, and what readers hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn


def variable(name: str, shape: tuple[int, ...] = (3,), value: float = 0.0, **options: Any) -> Any:
    return ost.Variable(np.full(shape, value, np.float32), name=name, **options)


@pytest.fixture(autouse=True)
def _fresh_chunks() -> None:
    ost._native.seal_state_chunks()


# --- Chunks ---------------------------------------------------------------------------------------


def test_variables_lie_in_order_of_creation() -> None:
    made = [variable(f"v{i}", shape) for i, shape in enumerate([(3,), (100,), (), (7, 9)])]
    chunks = {v.chunk[0] for v in made}
    offsets = [v.chunk[1] for v in made]
    assert len(chunks) == 1
    assert offsets == [0, 256, 768, 1024]  # 256-byte steps: 12, 400, 4 and 252 bytes
    assert [v.id for v in made] == sorted(v.id for v in made)


def test_dtypes_and_classes_have_chunks_of_their_own() -> None:
    a = variable("a")
    b = ost.Variable(np.zeros(3), name="b")
    c = variable("c", trainable=False)
    d = variable("d")
    assert len({v.chunk[0] for v in (a, b, c)}) == 3
    assert d.chunk == (a.chunk[0], 256)


def test_slots_mirror_the_offsets_of_their_variables() -> None:
    weights = [variable(f"w{i}", (n,)) for i, n in enumerate([10, 200, 30])]
    m = [w._slot("m") for w in reversed(weights)][::-1]
    v = [w._slot("v", 0.5) for w in weights]
    for slots in (m, v):
        assert len({s.chunk[0] for s in slots}) == 1
        assert [s.chunk[1] for s in slots] == [w.chunk[1] for w in weights]
    assert len({weights[0].chunk[0], m[0].chunk[0], v[0].chunk[0]}) == 3
    assert (v[1].numpy() == 0.5).all()
    assert (m[1].numpy() == 0).all()
    assert m[0].name == "w0/m"


def test_a_sealed_chunk_takes_no_more() -> None:
    a = variable("a")
    ost._native.seal_state_chunks()
    b = variable("b")
    assert a.chunk[0] != b.chunk[0]
    assert b.chunk[1] == 0


def test_padding_between_variables_stays_zero() -> None:
    a, b = variable("a", (3,), 1.0), variable("b", (3,), 2.0)
    step = ost.compile(lambda: (a.assign(a.value() + 1.0), b.assign(b.value() * 2.0)))
    for _ in range(3):
        step()
    assert a.numpy().tolist() == [4] * 3
    assert b.numpy().tolist() == [16] * 3
    assert a.chunk[0] == b.chunk[0]


# --- Values ---------------------------------------------------------------------------------------


def test_value_and_numpy_are_snapshots_and_view_is_live() -> None:
    v = variable("v", value=1.0)
    value, array, view = v.value(), v.numpy(), v.view()
    v.assign(np.full(3, 2.0, np.float32))
    assert value.numpy().tolist() == [1] * 3
    assert array.tolist() == [1] * 3
    assert view.numpy().tolist() == [2] * 3
    with pytest.raises(ValueError, match="read-only"):
        view.numpy()[0] = 3


def test_a_view_outlives_its_variable() -> None:
    v = variable("v", value=5.0)
    view = v.view()
    del v
    assert view.numpy().tolist() == [5] * 3


def test_assign_is_in_place_and_strict() -> None:
    v = variable("v")
    place = v.chunk
    for value in (
        [1.0, 2.0, 3.0],
        np.ones(3, np.float32),
        ost.ones((3,)),
        variable("w", value=4.0),
    ):
        v.assign(value)
    assert v.numpy().tolist() == [4] * 3
    assert v.chunk == place
    for bad in (np.ones(3), np.ones(4, np.float32), np.ones((3, 1), np.float32), 1.0):
        with pytest.raises(ValueError, match=r"variable 'v': cannot assign a value of"):
            v.assign(bad)
    assert v.numpy().tolist() == [4] * 3


def test_the_array_that_was_given_is_not_kept() -> None:
    a = np.ones(3, np.float32)
    v = ost.Variable(a, name="v")
    a[:] = 7
    assert v.numpy().tolist() == [1] * 3
    v.assign(a)
    a[:] = 8
    assert v.numpy().tolist() == [7] * 3


def test_reads_after_an_assignment_see_it() -> None:
    v = variable("v", value=1.0)

    @ost.compile
    def f() -> Any:
        before = v.value()
        v.assign(before + 1.0)
        middle = v * 10.0
        v.assign(v.value() * 2.0)
        return before, middle, v.value()

    assert [y.numpy()[0] for y in f()] == [1, 20, 4]
    assert v.numpy()[0] == 4


def test_two_variables_swap_in_one_step() -> None:
    a, b = variable("a", value=1.0), variable("b", value=2.0)

    @ost.compile
    def swap() -> None:
        old = a.value()
        a.assign(b.value())
        b.assign(old)

    for expected in ((2, 1), (1, 2)):
        swap()
        assert (a.numpy()[0], b.numpy()[0]) == expected


def test_a_false_commit_leaves_state_as_it_was() -> None:
    v, count = variable("v"), variable("count", ())

    @ost.compile
    def f(x: Any) -> Any:
        ost._native.current_trace().set_commit(ost.all(ost.isfinite(x)))
        v.assign(v.value() + x)
        count._assign_always(count.value() + 1.0)
        return ost.sum(x)

    for x in ([1, 1, 1], [1, np.nan, 1], [np.inf, 0, 0], [2, 2, 2]):
        f(np.array(x, np.float32))
    assert v.numpy().tolist() == [3] * 3
    assert count.numpy() == 4


def test_names_are_paths_and_the_same_every_time() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNormalization()
            self.parts = [nn.Dense(4), nn.Dense(4)]

        def call(self, x: Any) -> Any:
            return self.parts[1](self.parts[0](self.norm(x)))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Block()
            self.head = nn.Sequential([nn.Dense(3), nn.Dense(2)])

        def call(self, x: Any) -> Any:
            return self.head(self.first(x))

    def names() -> list[str]:
        model = Model()
        model(ost.ones((2, 4)))
        return list(model.state_dict())

    assert names() == names()
    assert names() == [
        "first/norm/gamma", "first/norm/beta",
        "first/parts_0/kernel", "first/parts_0/bias", "first/parts_1/kernel", "first/parts_1/bias",
        "head/dense/kernel", "head/dense/bias", "head/dense_1/kernel", "head/dense_1/bias",
    ]  # fmt: skip


def test_state_goes_from_one_model_to_another() -> None:
    def model() -> Any:
        m = nn.Sequential([nn.Dense(3, "tanh"), nn.BatchNormalization(), nn.Dense(2)])
        m(ost.ones((1, 4)))
        return m

    a, b = model(), model()
    for v in a.variables:
        v.assign(np.random.default_rng(v.size).random(v.shape, np.float32))
    b.load_state_dict({k: v.numpy() for k, v in a.state_dict().items()})
    x = np.random.default_rng(0).random((5, 4), np.float32)
    np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())


def test_variables_act_like_tensors() -> None:
    v = variable("v", (2, 3), 2.0)
    assert (v + 1.0).numpy().tolist() == [[3] * 3] * 2
    assert (1.0 / v)[0, 0].item() == 0.5
    assert (v @ v.T).shape == (2, 2)
    assert ost.sum(v).item() == 12
    assert v[1].shape == (3,)
    assert repr(v) == "<Variable 'v' float32[2, 3]>"
    assert float(v[0, 0]) == 2.0
    assert len({v, v}) == 1
