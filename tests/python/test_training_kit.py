# SPDX-License-Identifier: Apache-2.0
"""What surrounds an update: averages, rates by name, constraints, freezing, penalties."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import ostria as ost
from ostria import nn, optim

ONE = np.ones(3, np.float32)
S = optim.schedules


def weight(name="w", value=1.0):
    return ost.Variable(np.full(3, value, np.float32), name=name)


# --- Averages of weights --------------------------------------------------------------------------


@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("compiled", [False, True])
def test_averages_follow_the_weights(every, compiled):
    w = weight()
    optimizer = optim.SGD(0.5, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=every)

    def step(g):
        return optimizer.apply([g], [w])

    step = ost.compile(step) if compiled else step
    value, average = 1.0, 0.0
    for t in range(1, 8):
        step(ONE * t)
        value -= 0.5 * t
        average = value if t == 1 else 0.75 * average + 0.25 * value
        if every and t % every == 0:
            value = average
        np.testing.assert_allclose(w.numpy(), value, 1e-6)
        (slot,) = [v for v in optimizer.variables if v.name == "w/ema"]
        np.testing.assert_allclose(slot.numpy(), average, 1e-6)


def test_averages_stand_in_within_a_context_and_for_good():
    w = weight()
    optimizer = optim.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer.finalize_variable_values([w])
    assert w.numpy()[0] == 1.0  # no step yet
    for _ in range(2):
        optimizer.apply([ONE], [w])
    with optimizer.averaged_weights([w]):
        assert w.numpy()[0] == -0.5
    assert w.numpy()[0] == -1.0
    with pytest.raises(ZeroDivisionError), optimizer.averaged_weights([w]):
        _ = 1 / 0
    assert w.numpy()[0] == -1.0
    optimizer.finalize_variable_values([w])
    assert w.numpy()[0] == -0.5
    plain = optim.SGD(1.0)
    plain.finalize_variable_values([w])
    assert w.numpy()[0] == -0.5


# --- Rates by name --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.Lamb, optim.Adafactor])
def test_each_weight_moves_as_under_its_own_rate(kind):
    names = {"encoder/kernel": 0.1, "encoder/bias": 2.0, "head/kernel": 1.0}
    ws = [weight(name) for name in names]
    optimizer = kind(
        0.25,
        weight_decay=0.5,
        learning_rate_multipliers={"*/bias": 2.0, "encoder/*": 0.1},
    )
    step = ost.compile(lambda *gs: optimizer.apply(gs, ws))
    alone = [weight(f"{name}_alone") for name in names]
    others = [kind(0.25 * factor, weight_decay=0.5) for factor in names.values()]
    for t in range(3):
        grads = [ONE * (t + 1) * (i - 1.5) for i in range(3)]
        step(*grads)
        for g, v, other in zip(grads, alone, others, strict=True):
            other.apply([g], [v])
    for w, v in zip(ws, alone, strict=True):
        np.testing.assert_allclose(w.numpy(), v.numpy(), 1e-6)


def test_rates_and_averages_do_not_add_nodes_per_variable():
    def size(layers):
        ws = [weight(f"l{i}/{part}") for i in range(layers) for part in ("kernel", "bias")]
        optimizer = optim.Adam(
            use_ema=True, weight_decay=0.1, learning_rate_multipliers={"*/bias": 2.0}
        )
        optimizer.exclude_from_weight_decay(names=["bias"])
        return ost.compile(lambda *gs: optimizer.apply(gs, ws)).trace(*[ONE] * len(ws)).num_nodes

    assert size(2) == size(20)


# --- Constraints ----------------------------------------------------------------------------------

rng = np.random.default_rng(0)
MATRIX = rng.normal(size=(4, 3)).astype(np.float32) * 3


def norms(w, axis=0):
    return np.sqrt((w * w).sum(axis, keepdims=True))


@pytest.mark.parametrize(
    "constraint, want",
    [
        (nn.constraints.MaxNorm(2.0), MATRIX * np.clip(norms(MATRIX), 0, 2) / norms(MATRIX)),
        (nn.constraints.NonNeg(), np.maximum(MATRIX, 0)),
        (nn.constraints.UnitNorm(axis=1), MATRIX / norms(MATRIX, 1)),
        (
            nn.constraints.MinMaxNorm(0.5, 1.0, rate=0.25),
            MATRIX * (0.25 * np.clip(norms(MATRIX), 0.5, 1) / norms(MATRIX) + 0.75),
        ),
        (nn.constraints.get("max_norm"), MATRIX * np.clip(norms(MATRIX), 0, 2) / norms(MATRIX)),
        (nn.constraints.get("UnitNorm"), MATRIX / norms(MATRIX)),
    ],
)
def test_constraints(constraint, want):
    np.testing.assert_allclose(constraint(ost.asarray(MATRIX)).numpy(), want, 1e-5)


def test_a_constraint_holds_after_each_committed_step():
    layer = nn.Dense(3, kernel_constraint="unit_norm", bias_constraint=nn.constraints.NonNeg())
    x = rng.normal(size=(8, 4)).astype(np.float32)
    layer(x)
    optimizer = optim.SGD(0.5)

    @ost.compile
    def step(x):
        return optimizer.minimize(ost.sum(layer(x)), layer.trainable_variables)

    raw = layer.kernel.numpy()
    assert step(np.full((8, 4), np.nan, np.float32)).item() is False
    np.testing.assert_array_equal(layer.kernel.numpy(), raw)
    assert abs(norms(raw) - 1).max() > 1e-3
    assert step(x).item() is True
    moved = raw - 0.5 * x.sum(0)[:, None]
    np.testing.assert_allclose(layer.kernel.numpy(), moved / norms(moved), 1e-5)
    assert (layer.bias.numpy() == 0).all()


def test_layers_take_constraints():
    conv = nn.Conv2D(2, 3, kernel_constraint=nn.constraints.UnitNorm((1, 2, 3)))
    table = nn.Embedding(5, 4, embeddings_constraint="non_neg")
    x = rng.normal(size=(1, 5, 5, 2)).astype(np.float32)
    conv(x)
    table(np.array([0, 3]))
    optimizer = optim.SGD(0.0)
    for layer in (conv, table):
        zeros = [np.zeros(v.shape, np.float32) for v in layer.trainable_variables]
        optimizer.apply(zeros, layer.trainable_variables)
    np.testing.assert_allclose(norms(conv.kernel.numpy(), (1, 2, 3)), 1.0, 1e-5)
    assert table.embeddings.numpy().min() == 0.0


# --- Freezing -------------------------------------------------------------------------------------


def test_freezing_is_part_of_the_key_of_a_compiled_function():
    model = nn.Sequential([nn.Dense(4, kernel_regularizer="l2"), nn.Dense(1)])
    x = rng.normal(size=(8, 3)).astype(np.float32)
    model(x)
    optimizer = optim.Adam(0.1)

    @ost.compile
    def step(x):
        loss = ost.mean(ost.square(model(x)))
        return optimizer.minimize(sum(model.losses, loss), model.trainable_variables)

    step(x)
    whole = step.trace(x).num_nodes
    before = [v.numpy() for v in model.variables]
    assert len(model.losses) == 1
    model.layers[0].trainable = False
    assert model.losses == [] and len(model.trainable_variables) == 2
    step(x)
    assert step.num_traces == 2
    assert "dense.trainable: False (was True)" in step.explain(0)
    assert step.trace(x).num_nodes < whole  # no gradient, no penalty
    after = [v.numpy() for v in model.variables]
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True, True, False, False]
    model.layers[0].trainable = True
    step(x)
    assert step.num_traces == 2  # the first graph serves again
    assert not np.array_equal(model.variables[0].numpy(), after[0])
    model.layers[1].bias.trainable = False
    step(x)
    assert step.num_traces == 3
    nn.Dense(1).trainable = False  # of no concern to this function
    step(x)
    assert step.num_traces == 3


def test_a_module_hands_the_flag_to_those_below():
    model = nn.Sequential([nn.Dense(2), nn.BatchNormalization()])
    x = rng.normal(size=(6, 3)).astype(np.float32)
    model(x)
    model.trainable = False
    assert model.trainable_variables == [] and not model.layers[1].trainable
    moving = model.layers[1].moving_mean.numpy()
    model(x, training=True)
    np.testing.assert_array_equal(model.layers[1].moving_mean.numpy(), moving)
    text = model.summary(print_fn=None)
    assert "dense (Dense, frozen)" in text and " 0 trainable" in text
    model.trainable = True
    assert len(model.trainable_variables) == 4 and "frozen" not in model.summary(print_fn=None)


# --- Penalties on activities ----------------------------------------------------------------------


def test_activity_regularizers_join_the_losses():
    model = nn.Sequential(
        [
            nn.Dense(3, activity_regularizer=nn.regularizers.L2(0.5)),
            nn.ActivityRegularization(l1=0.25),
        ]
    )
    x = rng.normal(size=(4, 2)).astype(np.float32)
    y = model(x).numpy()
    want = [0.5 * (y * y).sum(), 0.25 * np.abs(y).sum()]
    np.testing.assert_allclose([v.item() for v in model.losses], want, 1e-5)
    model(x)
    assert len(model.losses) == 2  # of the last call

    @ost.compile
    def penalty(x):
        model(x)
        model(x)
        return sum(model.losses)

    np.testing.assert_allclose(penalty(x).item(), 2 * sum(want), 1e-5)
    np.testing.assert_allclose(penalty(x).item(), 2 * sum(want), 1e-5)
    optimizer = optim.SGD(0.1)

    @ost.compile
    def step(x):
        model(x)
        return optimizer.minimize(sum(model.losses), model.trainable_variables)

    kernel = model.layers[0].kernel.numpy()
    step(x)
    assert np.abs(model.layers[0].kernel.numpy() - kernel).max() > 0


BODIES = {
    "cond": lambda f, x: ost.cond(True, f, lambda x: x * 2.0, x),
    "scan": lambda f, x: ost.scan(lambda c, _: (f(c), None), x, length=2)[0],
    "nested": lambda f, x: ost.cond(True, lambda x: ost.checkpoint(f)(x), lambda x: x, x),
    "checkpoint": lambda f, x: ost.checkpoint(f)(x),
    "custom": lambda f, x: ost.custom_gradient(lambda x: (f(x), lambda g: g))(x),
}


@pytest.mark.parametrize("how", BODIES)
def test_an_activity_penalty_left_in_a_body_is_an_error_where_losses_are_read(how):
    layer = nn.Dense(2, activity_regularizer="l2")
    x = ost.ones((3, 2))
    layer(x)

    @ost.compile
    def step(x):
        y = BODIES[how](layer, x)
        return ost.mean(y) + sum(layer.losses)

    with pytest.raises(ValueError, match=r"activity regularizer of 'dense' .* return their sum"):
        step(x)
    assert ost.compile(lambda x: BODIES[how](layer, x))(x).shape == (3, 2)  # nobody asks for it


def test_an_activity_penalty_that_is_read_in_a_body_is_returned_by_it():
    layer = nn.Dense(2, activity_regularizer="l2")
    x = ost.ones((3, 2))
    want = (layer(x), sum(layer.losses).item())[1]

    def penalised(x):
        return layer(x), sum(layer.losses)

    for wrapped in (ost.checkpoint(penalised), lambda x: ost.cond(True, penalised, penalised, x)):
        step = ost.compile(lambda x, f=wrapped: f(x)[1] + sum(layer.losses))
        assert step(x).item() == pytest.approx(want)
    ost.cond(True, layer, layer, x)  # at once
    with pytest.raises(ValueError, match="activity regularizer"):
        layer.losses  # noqa: B018
    layer(x)
    assert sum(layer.losses).item() == pytest.approx(want)


# --- Schedules ------------------------------------------------------------------------------------


def restarts(step, start, first, t_mul, m_mul, alpha):
    length, height = first, 1.0
    while step >= length:
        step, length, height = step - length, length * t_mul, height * m_mul
    cosine = 0.5 * height * (1 + math.cos(math.pi * step / length))
    return start * ((1 - alpha) * cosine + alpha)


@pytest.mark.parametrize("options", [(2.0, 1.0, 0.0), (1.0, 0.5, 0.1), (3.0, 0.9, 0.2)])
def test_cosine_decay_restarts(options):
    schedule = S.CosineDecayRestarts(0.1, 5, *options)
    got = [schedule(t).item() for t in range(70)]
    want = [restarts(t, 0.1, 5, *options) for t in range(70)]
    np.testing.assert_allclose(got, want, 1e-5, 1e-8)


@pytest.mark.parametrize(
    "inner, want",
    [
        (0.5, lambda t: 0.5),
        (S.ExponentialDecay(0.5, 3, 0.5), lambda t: 0.5 * 0.5 ** (t / 3)),
        (lambda step: 1.0 / (ost.cast(step, ost.float64) + 2.0), lambda t: 1 / (t + 2)),
    ],
)
def test_linear_warmup(inner, want):
    optimizer, w = optim.SGD(S.LinearWarmup(inner, 4, 0.1)), weight()
    step = ost.compile(lambda g: optimizer.apply([g], [w]))
    for t in range(10):
        expected = 0.1 + (want(0) - 0.1) * t / 4 if t < 4 else want(t - 4)
        assert optimizer.current_learning_rate().item() == pytest.approx(expected, rel=1e-6)
        step(ONE)
    assert step.num_traces == 1


# --- Messages -------------------------------------------------------------------------------------


def average_without_ema():
    optim.SGD().averaged_weights([weight()])


def average_before_a_step():
    optim.SGD(use_ema=True).averaged_weights([weight()])


def average_of_another():
    optimizer = optim.SGD(use_ema=True)
    optimizer.apply([ONE], [weight()])
    optimizer.finalize_variable_values([weight("other")])


def pattern_of_nothing():
    optimizer = optim.SGD(learning_rate_multipliers={"encoder/*": 0.5})
    optimizer.apply([ONE], [weight("head/kernel")])


def constraint_of_another_shape():
    w = weight()
    w.constraint = lambda value: value[:1]
    optim.SGD().apply([ONE], [w])


ERRORS = [
    (average_without_ema, ValueError,
     "SGD: it keeps no averages; make it with use_ema=True"),
    (average_before_a_step, ValueError,
     "SGD: there are no averages before the first step"),
    (average_of_another, ValueError,
     "SGD: there is no average of 'other', which this optimizer never changed; give the variables "
     "that it trains"),
    (pattern_of_nothing, ValueError,
     "SGD: learning_rate_multipliers has the pattern 'encoder/*', which no variable matches; names "
     "are 'head/kernel'"),
    (lambda: optim.SGD(learning_rate_multipliers={"w": 0.0}), ValueError,
     "SGD: learning_rate_multipliers has 0.0 for 'w'; give a positive factor; to freeze weights "
     "set trainable = False"),
    (lambda: optim.SGD(learning_rate_multipliers=[0.5]), TypeError,
     "SGD: learning_rate_multipliers [0.5] is not accepted; give a dict from patterns of variable "
     'names to factors, such as {"encoder/*": 0.1}'),
    (lambda: optim.SGD(ema_momentum=1.5), ValueError,
     "SGD: ema_momentum 1.5 is not accepted; give a number from 0 to 1"),
    (lambda: optim.SGD(ema_overwrite_frequency=0), ValueError,
     "SGD: ema_overwrite_frequency 0 is not accepted; give a positive number of steps, or None to "
     "keep the averages apart"),
    (constraint_of_another_shape, ValueError,
     "constraint of 'w': it returned float32[1], but the variable is float32[3]; return a value "
     "like it"),
    (lambda: nn.Dense(2, kernel_constraint="max_nrom")(np.ones((1, 2), np.float32)), ValueError,
     "constraint 'max_nrom' is not known; accepted are max_norm, non_neg, unit_norm, "
     "min_max_norm, or a function of the weight"),
    (lambda: nn.constraints.MinMaxNorm(2.0, 1.0), ValueError,
     "MinMaxNorm: min_value 2.0 is over max_value 1.0; give min_value <= max_value"),
    (lambda: nn.constraints.MaxNorm(-1.0), ValueError,
     "MaxNorm: max_value -1.0 is not accepted; give a number of at least 0"),
    (lambda: setattr(nn.Dense(2), "trainable", 1), TypeError,
     "dense: trainable 1 is not accepted; give True or False"),
    (lambda: setattr(weight(), "trainable", None), TypeError,
     "Variable: trainable None is not accepted; give True or False"),
    (lambda: S.CosineDecayRestarts(0.1, 5, t_mul=0.5), ValueError,
     "CosineDecayRestarts: t_mul 0.5 is not accepted; give a number of at least 1"),
    (lambda: S.LinearWarmup(0.1, 0), ValueError,
     "LinearWarmup: warmup_steps 0 is not accepted; give a positive number of steps"),
    (lambda: S.InverseTimeDecay(-0.1, 5, 0.5), ValueError,
     "InverseTimeDecay: initial_learning_rate -0.1 is not accepted; give a number of at least 0"),
]  # fmt: skip


@pytest.mark.parametrize("call, kind, message", ERRORS)
def test_messages(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    text = re.sub(r"; in layer .*?(?= \[)", "", str(caught.value))
    assert re.fullmatch(re.escape(message) + r".* \[test_training_kit\.py:\d+\]", text)
