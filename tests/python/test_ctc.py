# SPDX-License-Identifier: Apache-2.0
"""losses.ctc on sequences too long to list their alignments, padding, extremes, training."""

from __future__ import annotations

import re

import numpy as np
import pytest

import ostria as ost
from ostria import losses

RNG = np.random.default_rng(0)


def forward(log_p, labels, blank):
    """The forward recursion in scaled probabilities: of one sequence, log p of its labels."""
    states = [blank]
    for label in labels:
        states += [label, blank]
    skips = [i > 1 and s != blank and s != states[i - 2] for i, s in enumerate(states)]
    alpha = np.zeros(len(states))
    alpha[:2] = 1
    total = 0.0
    for t, row in enumerate(np.exp(log_p)):
        if t:
            before = alpha
            alpha = before.copy()
            alpha[1:] += before[:-1]
            alpha[2:] += np.where(skips[2:], before[:-2], 0)
        alpha = alpha * row[states]
        total += np.log(alpha.sum())
        alpha = alpha / alpha.sum()
    return total + np.log(alpha[-2:].sum())


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("blank", [0, -1, 3])
def test_long_sequences(dtype, tolerance, blank):
    batch, time, size, classes = 9, 120, 25, 11
    logits = RNG.normal(size=(batch, time, classes)) * 2
    choices = [c for c in range(classes) if c != blank % classes]
    labels = RNG.choice(choices, (batch, size))
    labels[:, 5] = labels[:, 4]
    label_length = RNG.integers(1, size + 1, batch)
    logit_length = RNG.integers(2 * size, time + 1, batch)
    want = [
        -forward(log_softmax(x)[:steps], y[:n], blank % classes)
        for x, y, n, steps in zip(logits, labels, label_length, logit_length, strict=True)
    ]
    x = ost.cast(ost.asarray(logits), dtype)
    got = losses.ctc(labels, x, label_length, logit_length, blank)
    assert got.dtype == dtype
    np.testing.assert_allclose(got.numpy(), want, tolerance)


def test_blanks_at_the_end_are_padding():
    logits = RNG.normal(size=(2, 9, 4)).astype(np.float32)
    got = losses.ctc([[1, 2, 0, 0], [3, 3, 1, 2]], logits).numpy()
    full = losses.ctc([[1, 2, 3, 3], [3, 3, 1, 2]], logits, [2, 4], [9, 9]).numpy()
    np.testing.assert_array_equal(got, full)
    last = losses.ctc([[1, 2, 3], [0, 1, 3]], logits, blank=-1).numpy()
    np.testing.assert_array_equal(
        last, losses.ctc([[1, 2], [0, 1]], logits, [2, 2], [9, 9], 3).numpy()
    )
    loss = losses.CTC()(np.uint8([[1, 2, 0, 0], [3, 3, 1, 2]]), logits).item()
    assert loss == pytest.approx(got.mean(), rel=1e-6)


def test_extreme_logits_are_exact():
    x = np.full((2, 4, 3), -1e4, np.float32)
    x[0, [0, 1, 2, 3], [1, 1, 0, 2]] = 1e4  # certain of 1 1 blank 2
    x[1, :, 0] = 1e4  # certain of nothing
    y, lengths = [[1, 2], [1, 2]], [2, 2]

    def each(logits):
        return losses.ctc(y, logits, lengths, [4, 4])

    np.testing.assert_allclose(each(x).numpy(), [0, 40000 - np.log(6)], 1e-6, 1e-6)
    slope = ost.grad(lambda v: ost.sum(each(v)))(ost.asarray(x)).numpy()
    np.testing.assert_allclose(slope[0], 0, atol=1e-6)
    # Six ways to place two labels in four steps, so half of all steps should not be blanks.
    np.testing.assert_allclose(slope[1].sum(), 0, atol=1e-5)
    np.testing.assert_allclose(slope[1, :, 0].sum(), 2, 1e-5)


def test_classes_that_are_ruled_out():
    x = RNG.normal(size=(1, 5, 4))
    x[..., 3] = -np.inf
    want = losses.ctc([[1, 2]], x[..., :3]).item()
    assert losses.ctc([[1, 2]], x).item() == pytest.approx(want, rel=1e-12)
    slope = ost.grad(lambda v: losses.ctc([[1, 2]], v)[0])(ost.asarray(x)).numpy()
    assert np.isfinite(slope).all() and (slope[..., 3] == 0).all()
    assert losses.ctc([[1, 3]], x).item() == np.inf


def test_impossible_sequences_are_infinite_or_nothing():
    x = RNG.normal(size=(2, 2, 3))
    y = [[1, 1], [1, 2]]  # two equal labels need three steps
    assert losses.ctc(y, x).numpy()[0] == np.inf
    assert losses.CTC("none", zero_infinity=True)(y, x).numpy()[0] == 0
    for zero in (False, True):
        slope = ost.grad(lambda v, z=zero: ost.sum(losses.ctc(y, v, zero_infinity=z)))(
            ost.asarray(x)
        ).numpy()
        assert (slope[0] == 0).all() and (slope[1] != 0).any()


def test_what_is_not_a_number_stays_so():
    x = RNG.normal(size=(2, 4, 3))
    x[0, 2, 1] = np.nan
    got = losses.ctc([[1, 2], [1, 2]], x).numpy()
    assert np.isnan(got[0]) and np.isfinite(got[1])


def test_steps_beyond_the_length_have_no_gradient():
    x = RNG.normal(size=(1, 6, 3))
    slope = ost.grad(lambda v: losses.ctc([[1]], v, [1], [4])[0])(ost.asarray(x)).numpy()
    assert (slope[0, 4:] == 0).all() and (slope[0, :4] != 0).all()


def test_a_model_learns_labels_without_places():
    frames = np.eye(4)[[[1, 1, 0, 2, 0, 3], [3, 0, 1, 1, 2, 2]]].astype(np.float32)
    labels = np.array([[1, 2, 3], [3, 1, 2]])
    model, loss_fn = ost.nn.Dense(4), losses.CTC()
    model(frames)
    optimizer = ost.optim.Adam(0.1)

    @ost.compile(dynamic_batch=True)
    def step(x, y):
        loss = loss_fn(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    assert step(frames, labels).item() > 3
    for _ in range(100):
        loss = step(frames, labels).item()
    assert loss < 0.1
    assert step(frames[:0], labels[:0]).item() == 0


def test_there_is_no_second_derivative():
    x = ost.asarray(RNG.normal(size=(1, 4, 3)))

    def slope(v):
        return ost.sum(ost.square(ost.grad(lambda u: ost.sum(losses.ctc([[1]], u)))(v)))

    with pytest.raises(NotImplementedError, match="second derivatives of ctc_loss"):
        ost.grad(slope)(x)


ERRORS = [
    (lambda: losses.ctc([1, 2], np.zeros((1, 4, 3))), ValueError,
     "ctc: y_true has shape [2] and y_pred [1, 4, 3]; give class numbers [batch, labels] and "
     "logits [batch, time, classes]"),
    (lambda: losses.ctc([[1.0]], np.zeros((1, 4, 3))), TypeError,
     "ctc: y_true is float32, but labels are integers (class numbers); use ost.cast(y_true, "
     "ost.int64)"),
    (lambda: losses.ctc([[1, 0, 2]], np.zeros((1, 4, 3))), IndexError,
     "ctc_loss: label 0 (labels[0, 1]) is the blank; labels must be in 0..2 and not 0; shorten "
     "label_lengths where a row is padded"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, message", ERRORS)
def test_messages(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert re.fullmatch(re.escape(message) + r" \[test_ctc\.py:\d+\]", str(caught.value))
