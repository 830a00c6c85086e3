# SPDX-License-Identifier: Apache-2.0
"""Gradients of functions, inside compiled functions, on the tape, and of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ostria as ost


def vector(*values: float) -> Any:
    return ost.asarray(np.array(values, np.float32))


def cube(x: Any) -> Any:
    return ost.sum(x * x * x)


# --- Functions ------------------------------------------------------------------------------------


def test_grad_and_value_and_grad() -> None:
    x = vector(1, 2, 3)
    assert ost.grad(cube)(x).numpy().tolist() == [3, 12, 27]
    value, g = ost.value_and_grad(cube)(x)
    assert value.item() == 36
    assert g.numpy().tolist() == [3, 12, 27]


def test_argnums_and_structures() -> None:
    def f(a: Any, tree: dict[str, Any], c: Any) -> Any:
        return ost.sum(a * tree["x"] + tree["y"][0] * c)

    a, x, y, c = vector(1, 2), vector(3, 4), vector(5, 6), vector(7, 8)
    tree = {"x": x, "y": [y]}
    assert ost.grad(f, 2)(a, tree, c).numpy().tolist() == [5, 6]
    ga, gt = ost.grad(f, (0, 1))(a, tree, c)
    assert ga.numpy().tolist() == [3, 4]
    assert gt["x"].numpy().tolist() == [1, 2]
    assert gt["y"][0].numpy().tolist() == [7, 8]


def test_by_variables() -> None:
    w = ost.Variable(np.array([2.0, 3.0], np.float32), name="w")
    unused = ost.Variable(1.0, name="unused")
    value, (gw, gu) = ost.value_and_grad(lambda x: ost.sum(w * w * x), wrt=[w, unused])(
        vector(1, 10)
    )
    assert value.item() == 94
    assert gw.numpy().tolist() == [4, 60]
    assert gu.item() == 0


def test_a_second_result_is_passed_through() -> None:
    def f(x: Any) -> Any:
        return ost.sum(x * x), {"doubled": x * 2.0}

    g, aux = ost.grad(f, has_aux=True)(vector(1, 2))
    assert g.numpy().tolist() == [2, 4]
    assert aux["doubled"].numpy().tolist() == [2, 4]


def test_second_and_third_order() -> None:
    first = ost.grad(lambda x: ost.exp(x) * x * x)
    second, third = ost.grad(first), ost.grad(ost.grad(first))
    x = 1.5
    e = np.exp(x)
    t = ost.asarray(np.float64(x))
    assert first(t).item() == pytest.approx(e * (x * x + 2 * x), rel=1e-12)
    assert second(t).item() == pytest.approx(e * (x * x + 4 * x + 2), rel=1e-12)
    assert third(t).item() == pytest.approx(e * (x * x + 6 * x + 6), rel=1e-12)


def test_inside_a_compiled_function() -> None:
    @ost.compile(dynamic_batch=True)
    def step(x: Any) -> Any:
        g = ost.grad(lambda z: ost.sum(ost.tanh(z)))(x)
        return g, ost.gradients(ost.sum(g * g), [x])[0]

    for n in (3, 5):
        x = np.linspace(-1, 1, n).astype(np.float64)
        g, gg = step(x)
        t = np.tanh(x)
        np.testing.assert_allclose(g.numpy(), 1 - t**2, rtol=1e-12)
        np.testing.assert_allclose(gg.numpy(), -4 * (1 - t**2) ** 2 * t, rtol=1e-10, atol=1e-15)
    assert step.num_traces == 1


def test_cotangents_weigh_the_outputs() -> None:
    @ost.compile
    def f(x: Any) -> Any:
        return ost.gradients([x * x, ost.exp(x)], [x], [ost.asarray([1.0, 0.0]), x])[0]

    x = np.array([2.0, 3.0], np.float32)
    expected = 2 * x * [1, 0] + np.exp(x) * x
    np.testing.assert_allclose(f(x).numpy(), expected, rtol=1e-6)


def test_values_are_added_where_paths_meet() -> None:
    assert ost.grad(lambda x: x * x + x * x * x + x)(ost.asarray(2.0)).item() == 4 + 12 + 1


def test_nothing_flows_through_stop_gradient() -> None:
    g = ost.grad(lambda x: ost.sum(x * ost.stop_gradient(x)))(vector(2, 3))
    assert g.numpy().tolist() == [2, 3]
    assert ost.grad(lambda x: ost.sum(ost.stop_gradient(x)))(vector(2, 3)).numpy().tolist() == [
        0,
        0,
    ]


def test_the_gradient_of_a_state_is_of_its_first_value() -> None:
    v = ost.Variable(3.0, name="v")

    @ost.compile
    def f() -> Any:
        loss = v * v
        v.assign(v.value() * 100.0)
        return ost.gradients(loss, [v])[0]

    assert f().item() == 6.0
    assert v.numpy() == 300.0


# --- Tape -----------------------------------------------------------------------------------------


def test_the_tape_watches_variables_by_itself_and_tensors_when_told() -> None:
    w = ost.Variable(np.array([2.0, 3.0], np.float32), name="w")
    x = vector(5, 7)
    with ost.GradientTape() as tape:
        tape.watch(x)
        y = ost.sum(w * x)
        assert float(y) == 31.0  # values are there while it records
        z = y * y
    assert [g.numpy().tolist() for g in tape.gradient(y, [w, x])] == [[5, 7], [2, 3]]
    got = tape.gradient(z, {"w": w, "x": x})
    assert got["w"].numpy().tolist() == [310, 434]
    assert got["x"].numpy().tolist() == [124, 186]


def test_python_control_flow_under_the_tape() -> None:
    def slope(value: float) -> float:
        x = ost.asarray(value)
        with ost.GradientTape() as tape:
            tape.watch(x)
            y = x * x if float(x) > 0 else -x
        return tape.gradient(y, x).item()

    assert (slope(3.0), slope(-3.0)) == (6.0, -1.0)


def test_a_gradient_inside_the_tape_is_recorded_too() -> None:
    x = ost.asarray(2.0)
    with ost.GradientTape() as tape:
        tape.watch(x)
        y = x * x * x
        dy = tape.gradient(y, x)
        z = dy * 1.0
    assert dy.item() == 12.0
    assert tape.gradient(z, x).item() == 12.0


def test_what_the_tape_does_not_know_has_no_gradient() -> None:
    a, b = vector(1), vector(2)
    with ost.GradientTape() as tape:
        tape.watch(a)
        y = ost.sum(a * b)
    assert tape.gradient(y, b).numpy().tolist() in ([0.0], [1.0])
    assert tape.gradient(y, a).numpy().tolist() == [2.0]


def test_the_tape_sees_assignments() -> None:
    v = ost.Variable(2.0, name="v")
    with ost.GradientTape() as tape:
        y = v * v
        v.assign(5.0)
        z = v * 1.0
    assert z.item() == 5.0
    assert tape.gradient(y, v).item() == 4.0


# --- One's own ------------------------------------------------------------------------------------


@ost.custom_gradient
def reversed_gradient(x: Any) -> Any:
    return x * 1.0, lambda g: -g


@pytest.mark.parametrize("compiled", [False, True])
def test_a_custom_gradient_replaces_the_true_one(compiled: bool) -> None:
    f = ost.grad(lambda x: ost.sum(x * reversed_gradient(x)))
    f = ost.compile(f) if compiled else f
    # d/dx (x * r(x)) = r + x * (-1)
    assert f(vector(2, 3)).numpy().tolist() == [0, 0]
    assert reversed_gradient(vector(2)).numpy().tolist() == [2]


def test_a_custom_gradient_with_captures_and_several_arguments() -> None:
    scale = ost.Variable(10.0, name="scale")
    constant = vector(1, 2)

    @ost.custom_gradient
    def f(x: Any, y: Any) -> Any:
        out = x * y * scale + constant

        def backward(g: Any) -> Any:
            return g * y, g * x * scale

        return out, backward

    gx, gy = ost.grad(lambda x, y: ost.sum(f(x, y)), (0, 1))(vector(3, 4), vector(5, 6))
    assert gx.numpy().tolist() == [5, 6]
    assert gy.numpy().tolist() == [30, 40]
    (gs,) = ost.grad(lambda x: ost.sum(f(x, x)), wrt=[scale])(vector(3, 4))
    assert gs.item() == 0


def test_a_custom_gradient_serves_every_batch() -> None:
    f = ost.compile(ost.grad(lambda x: ost.sum(reversed_gradient(x * 2.0))), dynamic_batch=True)
    for n in (2, 5, 0):
        np.testing.assert_array_equal(f(np.ones((n, 3), np.float32)).numpy(), np.full((n, 3), -2))
    assert f.num_traces == 1


def test_gradients_keep_the_dtype() -> None:
    for dtype in ("float32", "float64", "bfloat16", "float16"):
        g = ost.grad(cube)(ost.cast(vector(1, 2), dtype))
        assert g.dtype == dtype
        assert ost.cast(g, "float32").numpy().tolist() == [3, 12]
