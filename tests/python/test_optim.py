# SPDX-License-Identifier: Apache-2.0
"""ostria.optim against loops in plain NumPy: rules, clipping, schedules, refused steps, state."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

SHAPES = [(3, 4), (4,), (2, 2, 5)]
STEPS = 20


def start(dtype):
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def gradient(step, dtype, scale=1.0):
    rng = np.random.default_rng(100 + step)
    return [(rng.normal(size=shape) * scale).astype(dtype) for shape in SHAPES]


def variables(dtype):
    return [ost.Variable(w, name=f"w{i}") for i, w in enumerate(start(dtype))]


def rate_of(value):
    return float(np.float32(value))  # learning rates are float32


def decayed(w, rate, decay):
    return w * (1 - rate * decay)


def sgd(ws, grads, rate, decay=0.0, momentum=0.0, nesterov=False):
    velocity = [np.zeros_like(w) for w in ws]
    for gs in grads:
        for i, g in enumerate(gs):
            velocity[i] = momentum * velocity[i] - rate * g
            move = momentum * velocity[i] - rate * g if nesterov else velocity[i]
            ws[i] = decayed(ws[i], rate, decay) + move
    return ws


def adam(ws, grads, rate, decay=0.0, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m, v = [np.zeros_like(w) for w in ws], [np.zeros_like(w) for w in ws]
    for t, gs in enumerate(grads, 1):
        alpha = rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        for i, g in enumerate(gs):
            m[i] = m[i] + (g - m[i]) * (1 - beta_1)
            v[i] = v[i] + (g * g - v[i]) * (1 - beta_2)
            ws[i] = decayed(ws[i], rate, decay) - alpha * m[i] / (np.sqrt(v[i]) + epsilon)
    return ws


def adagrad(ws, grads, rate, decay=0.0, start_value=0.1, epsilon=1e-7):
    a = [np.full_like(w, start_value) for w in ws]
    for gs in grads:
        for i, g in enumerate(gs):
            a[i] = a[i] + g * g
            ws[i] = decayed(ws[i], rate, decay) - rate * g / np.sqrt(a[i] + epsilon)
    return ws


ROWS = {
    "sgd": (lambda **k: optim.SGD(**k), sgd, 0.01, {}),
    "sgd_decay": (lambda **k: optim.SGD(weight_decay=0.1, **k), sgd, 0.01, {"decay": 0.1}),
    "momentum": (lambda **k: optim.SGD(0.1, 0.9, **k), sgd, 0.1, {"momentum": 0.9}),
    "nesterov": (
        lambda **k: optim.SGD(0.1, 0.9, True, **k),
        sgd,
        0.1,
        {"momentum": 0.9, "nesterov": True},
    ),
    "adam": (lambda **k: optim.Adam(**k), adam, 0.001, {}),
    "adam_options": (
        lambda **k: optim.Adam(0.1, 0.5, 0.9, 1e-3, **k),
        adam,
        0.1,
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    ),
    "adamw": (lambda **k: optim.AdamW(**k), adam, 0.001, {"decay": 0.004}),
    "adagrad": (lambda **k: optim.Adagrad(**k), adagrad, 0.001, {}),
    "adagrad_options": (
        lambda **k: optim.Adagrad(0.5, 1.0, weight_decay=0.01, **k),
        adagrad,
        0.5,
        {"decay": 0.01, "start_value": 1.0},
    ),
}


def run(optimizer, ws, grads, compiled):
    def step(*gs):
        return optimizer.apply(gs, ws)

    step = ost.compile(step) if compiled else step
    for gs in grads:
        assert step(*[ost.asarray(g) for g in gs]).item() is True
    return [w.numpy() for w in ws]


def check(got, want, dtype):
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for g, w in zip(got, want, strict=True):
        assert g.dtype == dtype
        np.testing.assert_allclose(g, w, tolerance, tolerance)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_twenty_steps_are_the_formula(name, dtype, compiled):
    make, reference, rate, options = ROWS[name]
    grads = [gradient(step, dtype) for step in range(STEPS)]
    optimizer = make()
    got = run(optimizer, variables(dtype), grads, compiled)
    wide = [[g.astype(np.float64) for g in gs] for gs in grads]
    want = reference([w.astype(np.float64) for w in start(dtype)], wide, rate_of(rate), **options)
    check(got, want, dtype)
    assert optimizer.iterations.numpy() == STEPS and optimizer.skipped.numpy() == 0


def by_value(gs, limit):
    return [np.clip(g, -limit, limit) for g in gs]


def by_norm(gs, limit):
    return [g * limit / max(np.linalg.norm(g), limit) for g in gs]


def by_global_norm(gs, limit):
    norm = math.sqrt(sum((g**2).sum() for g in gs))
    return [g * limit / max(norm, limit) for g in gs]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("limit", [0.5, 3.0, 1e6])
@pytest.mark.parametrize(
    "key, clip",
    [("clipvalue", by_value), ("clipnorm", by_norm), ("global_clipnorm", by_global_norm)],
)
def test_clipping(key, clip, limit, dtype):
    grads = [gradient(step, dtype, 1 + step) for step in range(5)]
    got = run(optim.SGD(0.1, **{key: limit}), variables(dtype), grads, True)
    wide = [clip([g.astype(np.float64) for g in gs], limit) for gs in grads]
    want = sgd([w.astype(np.float64) for w in start(dtype)], wide, rate_of(0.1))
    for g, w in zip(got, want, strict=True):  # norms are float32
        np.testing.assert_allclose(g, w, 1e-5, 1e-6)


def test_variables_of_two_dtypes_share_the_step_and_the_norm():
    a = ost.Variable(np.ones(3, np.float32), name="a")
    b = ost.Variable(np.ones(2), name="b")
    optimizer = optim.SGD(1.0, global_clipnorm=1.0)
    step = ost.compile(lambda g, h: optimizer.apply([g, h], [a, b]))
    step(np.full(3, 2.0, np.float32), np.full(2, 2.0))
    length = math.sqrt(5 * 4)
    np.testing.assert_allclose(a.numpy(), 1 - 2 / length, 1e-6)
    np.testing.assert_allclose(b.numpy(), 1 - 2 / length, 1e-6)
    step(np.full(3, 2.0, np.float32), np.array([1.0, np.nan]))
    np.testing.assert_allclose(a.numpy(), 1 - 2 / length, 1e-6)
    assert optimizer.iterations.numpy() == 1 and optimizer.skipped.numpy() == 1


# --- Refused steps --------------------------------------------------------------------------------


def snapshot(vs):
    return [v.numpy().tobytes() for v in vs]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["gradient", "loss"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adagrad"])
@pytest.mark.parametrize("options", [{}, {"clipvalue": 1.0}, {"global_clipnorm": 1.0}])
def test_a_refused_step_leaves_every_bit(name, where, bad, options):
    optimizer, ws = ROWS[name][0](**options), variables(np.float32)
    seen = ost.Variable(np.zeros(()), name="seen", trainable=False)

    @ost.compile
    def step(loss, *gs):
        seen.assign(seen + 1.0)  # stands for batch statistics and metrics
        return optimizer.apply(gs, ws, loss=loss)

    good = gradient(0, np.float32)
    assert step(np.float32(1.0), *good).item() is True
    moving = ws + [v for v in optimizer.variables if "/" in v.name and v.name[0] == "w"] + [seen]
    moving.append(optimizer.iterations)
    before = snapshot(moving)
    damaged = gradient(1, np.float32)
    loss = np.float32(1.0)
    if where == "loss":
        loss = np.float32(bad)
    else:
        damaged[2][1, 0, 3] = bad
    for _ in range(2):
        assert step(loss, *damaged).item() is False
    assert snapshot(moving) == before
    assert optimizer.skipped.numpy() == 2 and optimizer.first_bad_step.numpy() == 1
    assert step(np.float32(1.0), *gradient(1, np.float32)).item() is True
    assert optimizer.iterations.numpy() == 2 and seen.numpy() == 2
    assert snapshot(ws) != before[:3]
    assert step(loss, *damaged).item() is False
    assert optimizer.first_bad_step.numpy() == 1  # the first one sticks


def test_a_refused_eager_step_leaves_every_bit():
    optimizer, ws = optim.Adam(), variables(np.float64)
    before = snapshot(ws)
    grads = gradient(0, np.float64)
    assert optimizer.apply(grads, ws, loss=np.nan).item() is False
    assert snapshot(ws) == before and optimizer.skipped.numpy() == 1
    assert optimizer.first_bad_step.numpy() == 0 and optimizer.iterations.numpy() == 0


# --- Learning rates -------------------------------------------------------------------------------


def test_changing_the_learning_rate_does_not_trace_again():
    optimizer, w = optim.SGD(0.5), ost.Variable(np.zeros(1, np.float32), name="w")
    step = ost.compile(lambda g: optimizer.apply([g], [w]))
    one = np.ones(1, np.float32)
    step(one)
    optimizer.learning_rate = 0.25
    step(one)
    optimizer.learning_rate.assign(np.float32(0.125))
    step(one)
    assert w.numpy().tolist() == [-0.875]
    assert step.num_traces == 1 and step.num_specialisations == 1


def cosine(step, start, steps, alpha=0.0, target=None, warmup=0):
    top = start if target is None else target
    if step < warmup:
        return start + (top - start) * step / warmup
    done = min(step - warmup, steps) / steps
    return top * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * done)) + alpha)


def polynomial(step, start, steps, end, power, cycle=False):
    if cycle:
        steps *= max(1, math.ceil(step / steps))
    return (start - end) * (1 - min(step, steps) / steps) ** power + end


S = optim.schedules
SCHEDULES = [
    (S.CosineDecay(0.1, 12), lambda t: cosine(t, 0.1, 12)),
    (S.CosineDecay(0.1, 12, alpha=0.2), lambda t: cosine(t, 0.1, 12, 0.2)),
    (
        S.CosineDecay(0.01, 10, 0.1, warmup_target=0.5, warmup_steps=4),
        lambda t: cosine(t, 0.01, 10, 0.1, 0.5, 4),
    ),
    (S.ExponentialDecay(0.1, 5, 0.9), lambda t: 0.1 * 0.9 ** (t / 5)),
    (S.ExponentialDecay(0.1, 5, 0.9, staircase=True), lambda t: 0.1 * 0.9 ** (t // 5)),
    (S.InverseTimeDecay(0.1, 5, 0.5), lambda t: 0.1 / (1 + 0.5 * t / 5)),
    (S.InverseTimeDecay(0.1, 5, 0.5, staircase=True), lambda t: 0.1 / (1 + 0.5 * (t // 5))),
    (
        S.PiecewiseConstantDecay([3, 8], [1.0, 0.5, 0.1]),
        lambda t: 1.0 if t <= 3 else 0.5 if t <= 8 else 0.1,
    ),
    (S.PolynomialDecay(0.1, 10), lambda t: polynomial(t, 0.1, 10, 0.0001, 1.0)),
    (
        S.PolynomialDecay(0.1, 7, 0.01, 2.0, cycle=True),
        lambda t: polynomial(t, 0.1, 7, 0.01, 2.0, True),
    ),
]


@pytest.mark.parametrize("schedule, want", SCHEDULES)
def test_schedules(schedule, want):
    got = [schedule(t) for t in range(STEPS)]
    assert {g.dtype for g in got} == {ost.float32} and got[0].shape == ()
    np.testing.assert_allclose([g.item() for g in got], [want(t) for t in range(STEPS)], 1e-6, 1e-9)


@pytest.mark.parametrize("schedule, want", SCHEDULES)
def test_a_scheduled_rate_follows_committed_steps(schedule, want):
    optimizer, w = optim.SGD(schedule), ost.Variable(np.zeros(1), name="w")
    step = ost.compile(lambda g: optimizer.apply([g], [w]))
    total = 0.0
    for t in range(STEPS):
        assert optimizer.current_learning_rate().item() == pytest.approx(
            want(t), rel=1e-6, abs=1e-9
        )
        step(np.array([np.nan]))  # refused: the schedule stands still
        step(np.ones(1))
        total += want(t)
    assert w.numpy()[0] == pytest.approx(-total, rel=1e-6) and step.num_traces == 1


def test_far_steps_still_differ():
    schedule = S.PolynomialDecay(1.0, 2**26, 0.0)
    far = schedule(2**25 + 1).item(), schedule(2**25 + 4).item()
    assert far[0] > far[1]


def test_a_schedule_may_be_any_function():
    optimizer = optim.Adam(lambda step: 1.0 / (ost.cast(step, ost.float64) + 1.0))
    assert optimizer.current_learning_rate().item() == 1.0
    assert optimizer.current_learning_rate().dtype == ost.float32
    with pytest.raises(TypeError, match="the learning rate is a schedule"):
        optimizer.learning_rate = 0.1
    with pytest.raises(
        TypeError, match=r"the schedule returned int64\[\]; a floating-point scalar"
    ):
        optim.SGD(lambda step: step).current_learning_rate()


# --- State ----------------------------------------------------------------------------------------


def test_names_of_state_are_stable():
    optimizer, ws = optim.Adam(), variables(np.float32)
    optimizer.build(ws)
    assert [v.name for v in optimizer.variables] == [
        "optimizer/iterations",
        "optimizer/skipped",
        "optimizer/first_bad_step",
        "optimizer/learning_rate",
        "w0/adam_m",
        "w0/adam_v",
        "w1/adam_m",
        "w1/adam_v",
        "w2/adam_m",
        "w2/adam_v",
    ]
    count = len(optimizer.variables)
    optimizer.apply(gradient(0, np.float32), ws)
    assert len(optimizer.variables) == count
    scheduled = optim.SGD(S.CosineDecay(0.1, 5), name="head")
    assert [v.name for v in scheduled.variables] == [
        "head/iterations",
        "head/skipped",
        "head/first_bad_step",
    ]


def test_slots_mirror_the_chunk_of_the_weights():
    optimizer, ws = optim.Adam(), variables(np.float32)
    optimizer.build(ws)
    for kind in ("adam_m", "adam_v"):
        slots = [v for v in optimizer.variables if v.name.endswith(kind)]
        assert len({v.chunk[0] for v in slots}) == len({w.chunk[0] for w in ws})
        assert [v.chunk[1] for v in slots] == [w.chunk[1] for w in ws]


@pytest.mark.parametrize("name", ["momentum", "adam", "adagrad"])
def test_copied_state_continues_bit_for_bit(name):
    grads = [gradient(step, np.float32) for step in range(6)]
    whole = ROWS[name][0]()
    ws = variables(np.float32)
    run(whole, ws, grads, True)

    first, second = ROWS[name][0](), ROWS[name][0]()
    a, b = variables(np.float32), variables(np.float32)
    run(first, a, grads[:3], True)
    second.build(b)
    for to, of in zip(b + second.variables, a + first.variables, strict=True):
        assert to.name == of.name
        to.assign(of.numpy())
    run(second, b, grads[3:], True)
    assert snapshot(b) == snapshot(ws)
    assert second.iterations.numpy() == 6


def test_excluded_variables_do_not_decay():
    ws = variables(np.float32)
    optimizer = optim.SGD(0.1, weight_decay=1.0)
    optimizer.exclude_from_weight_decay([ws[0]], names=["w2"])
    ost.compile(lambda *gs: optimizer.apply(gs, ws))(*[np.zeros_like(w) for w in start(np.float32)])
    before = start(np.float32)
    np.testing.assert_array_equal(ws[0].numpy(), before[0])
    np.testing.assert_allclose(ws[1].numpy(), before[1] * 0.9, 1e-6)
    np.testing.assert_array_equal(ws[2].numpy(), before[2])


# --- In a model -----------------------------------------------------------------------------------


def nodes_of_optimizer(layers, optimizer):
    model = nn.Sequential([nn.Dense(8, "tanh") for _ in range(layers)])
    x = np.ones((4, 8), np.float32)
    model(x)

    def loss_and_grads(y):
        loss = ost.mean(ost.square(model(x) - y))
        return loss, ost.gradients(loss, model.trainable_variables)

    def step(y):
        loss, grads = loss_and_grads(y)
        return optimizer.apply(grads, model.trainable_variables, loss=loss)

    def size(fn):
        return ost.compile(fn).trace(x).num_nodes

    return size(step) - size(lambda y: loss_and_grads(y)[0])


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 1.0}])
def test_the_number_of_nodes_does_not_grow_with_depth(options):
    shallow = nodes_of_optimizer(2, optim.Adam(**options))
    assert shallow == nodes_of_optimizer(20, optim.Adam(**options))
    assert shallow < 30


def test_minimize_under_a_tape_and_in_a_trace():
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    target = (x @ np.array([[1.0], [-2.0], [0.5]], np.float32)) + 0.25
    finals = []
    for compiled in (True, False):
        model = nn.Dense(1, kernel_initializer="zeros")
        model(x[:1])
        optimizer = optim.SGD(0.2, 0.5)

        def step(x, y, model=model, optimizer=optimizer):
            loss = ost.mean(ost.square(model(x) - y))
            optimizer.minimize(loss, model.trainable_variables)
            return loss

        if compiled:
            fn = ost.compile(step)
            losses = [fn(x, target).item() for _ in range(60)]
        else:
            losses = []
            for _ in range(60):
                with ost.GradientTape():
                    losses.append(step(x, target).item())
        finals.append(model.kernel.numpy())
        assert losses[-1] < 1e-6 < losses[0]
    np.testing.assert_allclose(finals[0], finals[1], 1e-5, 1e-6)


# --- Messages -------------------------------------------------------------------------------------

W = ost.Variable(np.zeros(3, np.float32), name="w")
INTS = ost.Variable(np.zeros(3, np.int64), name="n")
G = np.zeros(3, np.float32)
ERRORS = [
    (lambda: optim.Adam(lr=0.1), TypeError,
     "Adam: unknown keyword 'lr'; did you mean 'learning_rate'? Accepted: learning_rate, beta_1, "
     "beta_2, epsilon, lazy, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, "
     "ema_momentum, ema_overwrite_frequency, learning_rate_multipliers, name."),
    (lambda: optim.SGD(clip_norm=1.0), TypeError,
     "SGD: unknown keyword 'clip_norm'; did you mean 'clipnorm'? Accepted: learning_rate, "
     "momentum, nesterov, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, "
     "ema_momentum, ema_overwrite_frequency, learning_rate_multipliers, name."),
    (lambda: optim.SGD(clipnorm=1.0, clipvalue=1.0), ValueError,
     "SGD: clipnorm and clipvalue exclude each other; give at most one"),
    (lambda: optim.SGD(clipvalue=-1.0), ValueError,
     "SGD: clipvalue -1.0 is not accepted; give a number of at least 0"),
    (lambda: optim.SGD("0.1"), ValueError,
     "SGD: learning_rate '0.1' is not accepted; give a number of at least 0, or a function of the "
     "step such as ost.optim.schedules.CosineDecay(...)"),
    (lambda: optim.SGD(momentum=1.5), ValueError,
     "SGD: momentum 1.5 is not accepted; give a number from 0 to 1"),
    (lambda: optim.AdamW(beta_2=1.0), ValueError,
     "AdamW: beta_2 1.0 is not accepted; give a number from 0 up to, but not, 1"),
    (lambda: optim.SGD().apply([G, G], [W]), ValueError, "SGD: 2 gradient(s) for 1 variable(s)"),
    (lambda: optim.SGD().apply([], []), ValueError,
     "SGD: there are no variables to change; a model makes its weights at its first call"),
    (lambda: optim.SGD().apply([G, G], [W, W]), ValueError,
     "SGD: a variable occurs twice; give each once"),
    (lambda: optim.SGD().apply([None], [W]), ValueError,
     "SGD: variable 'w' has no gradient (None)"),
    (lambda: optim.SGD().apply([np.zeros((3, 1))], [W]), ValueError,
     "SGD: the gradient of 'w' is float64[3, 1], but the variable is float32[3]"),
    (lambda: optim.Adam().apply([G], [INTS]), TypeError,
     "Adam: can only change float Variables, not <Variable 'n' int64[3]>"),
    (lambda: S.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), ValueError,
     "PiecewiseConstantDecay: 2 boundaries need 3 values, but 2 were given"),
    (lambda: S.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), ValueError,
     "PiecewiseConstantDecay: boundaries [2, 1] must increase"),
    (lambda: S.CosineDecay(0.1, 10, warmup_steps=3), ValueError,
     "CosineDecay: warmup_target is None and warmup_steps 3; give both or neither"),
    (lambda: S.ExponentialDecay(0.1, 0, 0.9), ValueError,
     "ExponentialDecay: decay_steps 0 is not accepted; give a positive number of steps"),
]  # fmt: skip


@pytest.mark.parametrize("call, kind, message", ERRORS)
def test_messages(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert re.fullmatch(re.escape(message) + r" \[test_optim\.py:\d+\]", str(caught.value))
