# SPDX-License-Identifier: Apache-2.0
"""Ops `cond`, `scan` and `while_loop`, whose bodies no row can hold: their text is run."""

from __future__ import annotations

import re

import numpy as np

import ostria as ost


def flops(fn: object, x: np.ndarray) -> list[float]:
    trace = ost._native.Trace("graph")
    trace.push()
    try:
        fn(trace.add_input("x", ost._native.dtype("float32"), x.shape))  # type: ignore[operator]
    finally:
        trace.pop()
    ops = re.findall(r"^%.* = (\w+)@\d+\(", trace.text(), re.MULTILINE)
    return [n for op, n in zip(ops, trace.flops(), strict=False) if n]


def test_text_runs_and_scans_backwards() -> None:
    x = np.float32([[1, 2], [3, 4], [5, 6]])
    fn = ost.compile(lambda x: ost.scan(lambda c, r: (c * r, c), x[0], x, reverse=True))
    graph = fn.trace(x)
    text = graph.text()
    assert ost._native.parse_graph(text) == text
    last, rows = ost._native.compile_text(text).run([x, *graph.captures])
    np.testing.assert_array_equal(last.numpy(), x[0] * x[0] * x[1] * x[2])
    np.testing.assert_array_equal(rows.numpy(), [x[0] * x[1] * x[2], x[0] * x[2], x[0]])


def test_a_scan_counts_every_step() -> None:
    x = np.zeros((5, 3), np.float32)
    assert flops(lambda x: ost.scan(lambda c, r: (c + r, None), x[0], x), x) == [15.0]


def test_a_gradient_runs_one_forward_loop() -> None:
    def loss(x: object) -> object:
        return ost.sum(ost.scan(lambda c, r: (ost.tanh(c * r), None), 1.0, x)[0])

    both = ost.compile(ost.value_and_grad(loss))
    x = np.ones(4, np.float32)
    both(x)
    text = both.trace(x).optimized_text({})
    assert text.count("scan@1") == 2, text


def test_what_depends_on_captures_alone_is_computed_before_the_loop() -> None:
    def fn(w: object, x: object) -> object:
        return ost.scan(lambda c, r: (c * ost.exp(w * 0.5) + r, None), 1.0, x)[0]

    compiled = ost.compile(fn)
    w, x = np.float32(0.3), np.ones(6, np.float32)
    want = ost.asarray(1.0)
    for _ in range(6):
        want = want * ost.exp(ost.asarray(w) * 0.5) + 1.0
    np.testing.assert_allclose(compiled(np.asarray(w), x).numpy(), want.numpy(), rtol=1e-6)
    text = compiled.trace(np.asarray(w), x).optimized_text({})
    assert text.index("exp@1") < text.index("scan@1"), text
    assert text.count("exp@1") == 1
