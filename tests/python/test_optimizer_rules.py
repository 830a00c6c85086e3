# SPDX-License-Identifier: Apache-2.0
"""Optimizers beyond SGD, Adam and Adagrad: twenty steps against their formulas in float64."""

from __future__ import annotations

import re

import numpy as np
import pytest

import ostria as ost
from ostria import optim

SHAPES = [(3, 4), (4,), (2, 2, 5)]
STEPS = 20
RATE = float(np.float32(0.05))  # rates are float32


def numbers(seed, dtype):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def variables(dtype):
    return [ost.Variable(w, name=f"w{i}") for i, w in enumerate(numbers(3, dtype))]


# Each rule changes w and the dict `s` of its slots, from gradient g in step t.


def blend(s, key, now, share):
    s[key] = share * s.get(key, 0.0) + (1 - share) * now
    return s[key]


def rmsprop(momentum=0.0, centered=False, rho=0.9, epsilon=1e-7):
    def rule(w, g, t, s):
        v = blend(s, "v", g * g, rho)
        if centered:
            v = v - blend(s, "a", g, rho) ** 2
        s["m"] = momentum * s.get("m", 0.0) + RATE * g / np.sqrt(v + epsilon)
        return w - s["m"]

    return rule


def adadelta(w, g, t, s, rho=0.95, epsilon=1e-7):
    a = blend(s, "a", g * g, rho)
    move = g * np.sqrt(s.get("d", 0.0) + epsilon) / np.sqrt(a + epsilon)
    blend(s, "d", move * move, rho)
    return w - RATE * move


def adamax(w, g, t, s, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m = blend(s, "m", g, beta_1)
    s["u"] = np.maximum(beta_2 * s.get("u", 0.0), np.abs(g))
    return w - RATE * m / ((1 - beta_1**t) * (s["u"] + epsilon))


def nadam(w, g, t, s, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    now, after = (beta_1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
    product = s["product"] = s.get("product", 1.0) * now
    m, v = blend(s, "m", g, beta_1), blend(s, "v", g * g, beta_2)
    m_hat = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
    return w - RATE * m_hat / (np.sqrt(v / (1 - beta_2**t)) + epsilon)


def ftrl(l1=0.0, l2=0.0, shrinkage=0.0, beta=0.0, power=-0.5, start=0.1):
    def rule(w, g, t, s):
        before = s.get("n", start)
        s["n"] = after = before + g * g
        sigma = (after**-power - before**-power) / RATE
        s["z"] = s.get("z", 0.0) + g + 2 * shrinkage * w - sigma * w
        quadratic = after**-power / RATE + 2 * (l2 + beta / (2 * RATE))
        return (np.clip(s["z"], -l1, l1) - s["z"]) / quadratic

    return rule


def lion(w, g, t, s, beta_1=0.9, beta_2=0.99):
    direction = np.sign(beta_1 * s.get("m", 0.0) + (1 - beta_1) * g)
    blend(s, "m", g, beta_2)
    return w - RATE * direction


def lamb(w, g, t, s, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m_hat = blend(s, "m", g, beta_1) / (1 - beta_1**t)
    v_hat = blend(s, "v", g * g, beta_2) / (1 - beta_2**t)
    move = m_hat / (np.sqrt(v_hat) + epsilon)
    return w - RATE * np.linalg.norm(w) / np.linalg.norm(move) * move


def adafactor(clip=1.0, decay=-0.8):
    def rms(x):
        return np.sqrt(np.mean(x * x))

    def rule(w, g, t, s):
        keep, square = 1 - t**decay, g * g + 1e-30
        if w.ndim < 2:
            v = blend(s, "v", square, keep)
        else:
            r, c = blend(s, "r", square.mean(-1), keep), blend(s, "c", square.mean(-2), keep)
            v = (r / r.mean(-1, keepdims=True))[..., None] * c[..., None, :]
        u = g / np.sqrt(v)
        u = u / max(1.0, rms(u) / clip)
        return w - max(1e-3, rms(w)) * min(RATE, 1 / np.sqrt(t)) * u

    return rule


ROWS = {
    "rmsprop": (optim.RMSprop, {}, rmsprop()),
    "rmsprop_momentum": (optim.RMSprop, {"momentum": 0.9}, rmsprop(0.9)),
    "rmsprop_centered": (optim.RMSprop, {"centered": True}, rmsprop(centered=True)),
    "rmsprop_all": (
        optim.RMSprop,
        {"rho": 0.8, "momentum": 0.5, "epsilon": 1e-3, "centered": True},
        rmsprop(0.5, True, 0.8, 1e-3),
    ),
    "adadelta": (optim.Adadelta, {}, adadelta),
    "adamax": (optim.Adamax, {}, adamax),
    "nadam": (optim.Nadam, {}, nadam),
    "ftrl": (optim.Ftrl, {}, ftrl()),
    "ftrl_all": (
        optim.Ftrl,
        {
            "l1_regularization_strength": 0.5,
            "l2_regularization_strength": 0.1,
            "l2_shrinkage_regularization_strength": 0.2,
            "beta": 1.0,
            "initial_accumulator_value": 0.5,
        },
        ftrl(0.5, 0.1, 0.2, 1.0, start=0.5),
    ),
    "ftrl_power": (optim.Ftrl, {"learning_rate_power": -0.75}, ftrl(power=-0.75)),
    "lion": (optim.Lion, {}, lion),
    "lamb": (optim.Lamb, {}, lamb),
    "adafactor": (optim.Adafactor, {}, adafactor()),
    "adafactor_options": (
        optim.Adafactor,
        {"clip_threshold": 0.25, "beta_2_decay": -0.5},
        adafactor(0.25, -0.5),
    ),
}


def run(optimizer, ws, steps, dtype, compiled=True):
    def step(*gs):
        return optimizer.apply(gs, ws)

    step = ost.compile(step) if compiled else step
    for t in steps:
        assert step(*[ost.asarray(g) for g in numbers(100 + t, dtype)]).item() is True
    return [w.numpy() for w in ws]


@pytest.mark.parametrize("decay", [None, 0.1])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_twenty_steps_are_the_formula(name, dtype, compiled, decay):
    kind, options, rule = ROWS[name]
    optimizer = kind(0.05, weight_decay=decay, **options)
    got = run(optimizer, variables(dtype), range(STEPS), dtype, compiled)
    want = [w.astype(np.float64) for w in numbers(3, dtype)]
    slots = [{} for _ in want]
    for t in range(STEPS):
        for i, g in enumerate(numbers(100 + t, dtype)):
            kept = want[i] * (1 - RATE * (decay or 0.0))
            want[i] = rule(kept, g.astype(np.float64), t + 1, slots[i])
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype
        np.testing.assert_allclose(g, w, tolerance, tolerance)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_centered_rmsprop_survives_a_gradient_that_stops_changing(compiled):
    optimizer = optim.RMSprop(1e-6, centered=True)
    ws = [ost.Variable(np.zeros(37, np.float32), name="w")]

    def step(g):
        return optimizer.apply([g], ws)

    step = ost.compile(step) if compiled else step
    g = ost.asarray(np.random.default_rng(0).normal(0, 1, 37).astype(np.float32))
    for t in range(400):  # both averages fall until only rounding is left of the variance
        step(2 * g if t < 20 else g)
    assert np.isfinite(ws[0].numpy()).all()


@pytest.mark.parametrize("name", ROWS)
def test_a_refused_step_leaves_every_bit(name):
    kind, options, _ = ROWS[name]
    optimizer, ws = kind(0.05, use_ema=True, **options), variables(np.float32)
    step = ost.compile(lambda *gs: optimizer.apply(gs, ws))
    step(*numbers(100, np.float32))
    state = [v for v in ws + optimizer.variables if not v.name.startswith("optimizer/")]
    before = [v.numpy().tobytes() for v in state]
    bad = numbers(101, np.float32)
    bad[1][2] = np.nan
    assert step(*bad).item() is False
    assert [v.numpy().tobytes() for v in state] == before
    assert optimizer.skipped.numpy() == 1


@pytest.mark.parametrize("name", ["rmsprop_all", "adafactor", "nadam", "lamb"])
def test_saved_state_continues_bit_for_bit(name, tmp_path):
    kind, options, _ = ROWS[name]
    options = {**options, "use_ema": True}
    whole, ws = kind(0.05, **options), variables(np.float32)
    run(whole, ws, range(6), np.float32)

    first, a = kind(0.05, **options), variables(np.float32)
    run(first, a, range(3), np.float32)
    saved = {v.name: v.numpy() for v in a + first.variables}
    np.savez(tmp_path / "state.npz", **{n.replace("/", "|"): x for n, x in saved.items()})

    second, b = kind(0.05, **options), variables(np.float32)
    second.build(b)
    with np.load(tmp_path / "state.npz") as state:
        assert len(state.files) == len(b + second.variables)
        for v in b + second.variables:
            v.assign(state[v.name.replace("/", "|")])
    run(second, b, range(3, 6), np.float32)
    for one, other in zip(b + second.variables, ws + whole.variables, strict=True):
        assert one.name == other.name and one.numpy().tobytes() == other.numpy().tobytes()


def test_l1_of_ftrl_gives_exact_zeros():
    w = ost.Variable(np.full(8, 0.5, np.float32), name="w")
    optimizer = optim.Ftrl(0.1, l1_regularization_strength=0.5)
    small = np.array([0.01, -0.01] * 4, np.float32)
    for _ in range(3):
        optimizer.apply([small], [w])
    assert (w.numpy() == 0.0).all()
    optimizer.apply([np.full(8, 5.0, np.float32)], [w])
    assert (w.numpy() < 0.0).all()


def test_adafactor_keeps_rows_and_columns_only():
    optimizer, ws = optim.Adafactor(), variables(np.float32)
    optimizer.build(ws)
    shapes = {v.name: tuple(v.shape) for v in optimizer.variables if v.name.startswith("w")}
    assert shapes == {
        "w0/adafactor_r": (3,),
        "w0/adafactor_c": (4,),
        "w1/adafactor_r": (4,),
        "w1/adafactor_c": (),
        "w2/adafactor_r": (2, 2),
        "w2/adafactor_c": (2, 5),
    }


def test_a_norm_is_that_of_its_own_variable_only():
    alone = ost.Variable(np.ones(4, np.float32), name="alone")
    optim.Lamb(0.1).apply([np.ones(4, np.float32)], [alone])
    pair = [ost.Variable(np.ones(4, np.float32), name="pair0")]
    pair.append(ost.Variable(np.full(9, 50.0, np.float32), name="pair1"))
    optim.Lamb(0.1).apply([np.ones(4, np.float32), np.full(9, 7.0, np.float32)], pair)
    np.testing.assert_array_equal(pair[0].numpy(), alone.numpy())


ERRORS = [
    (lambda: optim.RMSprop(rho=1.0),
     "RMSprop: rho 1.0 is not accepted; give a number from 0 up to, but not, 1"),
    (lambda: optim.Adadelta(epsilon=-1.0),
     "Adadelta: epsilon -1.0 is not accepted; give a number of at least 0"),
    (lambda: optim.Ftrl(learning_rate_power=0.5),
     "Ftrl: learning_rate_power 0.5 is not accepted; give a number of at most 0"),
    (lambda: optim.Ftrl(l1_regularization_strength=-1.0),
     "Ftrl: l1_regularization_strength -1.0 is not accepted; give a number of at least 0"),
    (lambda: optim.Lion(beta_2=1.0),
     "Lion: beta_2 1.0 is not accepted; give a number from 0 up to, but not, 1"),
    (lambda: optim.Adafactor(clip_threshold=0.0),
     "Adafactor: clip_threshold 0.0 is not accepted; give a positive number"),
    (lambda: optim.Adafactor(beta_2_decay=0.8),
     "Adafactor: beta_2_decay 0.8 is not accepted; give a number of at most 0"),
]  # fmt: skip


@pytest.mark.parametrize("call, message", ERRORS)
def test_messages(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    line = r" \[test_optimizer_rules\.py:\d+\]"
    assert re.fullmatch(re.escape(message) + line, str(caught.value))
