# SPDX-License-Identifier: Apache-2.0
"""Op `call`, whose body no row can hold: custom gradients make it."""

from __future__ import annotations

from typing import Any

import numpy as np

import ostria as ost


@ost.custom_gradient
def halved(x: Any) -> Any:
    """x squared, with half of its slope as gradient."""
    return ost.square(x), lambda g: g * x


def test_the_given_gradient_is_used_and_is_differentiable() -> None:
    def loss(x: Any) -> Any:
        return ost.sum(halved(x) * 3.0)

    x = np.float32([1.0, -2.0])
    np.testing.assert_array_equal(ost.grad(loss)(x).numpy(), 3 * x)
    twice = ost.grad(lambda x: ost.sum(ost.grad(loss)(x)))(x)
    np.testing.assert_array_equal(twice.numpy(), [3.0, 3.0])


def test_text_round_trip() -> None:
    x = np.float32([[1.0, -2.0]])
    graph = ost.compile(lambda x: halved(x) + 1.0).trace(x)
    text = graph.text()
    assert "call" in text
    assert ost._native.parse_graph(text) == text
    again = ost._native.compile_text(text).run([x, *graph.captures])
    np.testing.assert_array_equal(again[0].numpy(), x * x + 1)


def test_batches_of_one_trace() -> None:
    fn = ost.compile(lambda x: ost.gradients(halved(x), [x])[0], dynamic_batch=True)
    for n in (128, 37, 0):
        x = np.linspace(-1, 1, 3 * n, dtype=np.float32).reshape(n, 3)
        np.testing.assert_array_equal(fn(x).numpy(), x)
    assert fn.num_traces == 1
