# SPDX-License-Identifier: Apache-2.0
"""The one test that runs every row of `rows/`, as each op must behave.

Values, types, gradients, graph text, symbolic batches, every implementation against every other.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import row as rows
from row import BATCH, Row, Sample, numbers, reference_inputs, results, tensor

import ostria as ost

ROWS: dict[str, Row] = {
    name: importlib.import_module(f"rows.{name}").ROW
    for name in sorted(path.stem for path in (Path(__file__).parent / "rows").glob("*.py"))
}
REGISTRY = {entry["name"]: entry for entry in ost._native.registry()}
SMALL = 40  # elements: up to here every partial derivative is checked, beyond a few directions
STEP = 1e-5

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
with_reference = pytest.mark.parametrize(
    "row",
    [r for r in ROWS.values() if r.ref is not None],
    ids=[name for name, r in ROWS.items() if r.ref is not None],
)


def tensors(row: Row, sample: Sample, arrays: list[np.ndarray], t: str) -> list[Any]:
    return [
        tensor(a, t if spec.dtype == "T" else None)
        for spec, a in zip(sample.inputs, arrays, strict=True)
    ]


def compare(row: Row, t: str, got: Any, want: np.ndarray, what: str) -> None:
    want = np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if not rows.is_float(str(got.dtype)):
        np.testing.assert_array_equal(got.numpy(), want, err_msg=what)
        return
    relative, absolute = (row.slack * x for x in rows.TOLERANCE[str(got.dtype)])
    np.testing.assert_allclose(numbers(got), want, relative, absolute, err_msg=what)


def compare_compiled(row: Row, t: str, got: Any, eager: Any, what: str) -> None:
    """Bit for bit, but for half types, as a loop of several ops rounds once, and on a GPU, where
    passes take more ops apart and sums in another order."""
    if str(eager.dtype) in ("float16", "bfloat16") or eager.device != "cpu":
        compare(row, t, got, numbers(eager), what)
    else:
        np.testing.assert_array_equal(numbers(got), numbers(eager), err_msg=what)


def compiled(row: Row, sample: Sample, **options: Any) -> Any:
    return ost.compile(lambda *xs: row.call(*xs, **sample.attrs), **options)


@every_row
def test_forward(row: Row) -> None:
    """Values against NumPy (or stated properties), shape and dtype, eagerly and compiled."""
    for t in row.dtypes:
        for sample in row.samples:
            arrays = row.arrays(sample, t)
            xs = tensors(row, sample, arrays, t)
            eager = results(row.call(*xs, **sample.attrs))
            what = f"{row.op} of {t}: {sample}"
            assert str(eager[0].dtype) == row.result_dtype(t), what
            if row.ref is not None:
                wanted = results(row.ref(*reference_inputs(arrays), **sample.attrs))
                assert len(eager) == len(wanted), what
                for got, want in zip(eager, wanted, strict=True):
                    compare(row, t, got, want, what)
            if row.invariant is not None:
                row.invariant(arrays, [numbers(y) for y in eager], sample.attrs)
            traced = results(compiled(row, sample)(*xs))
            for a, b in zip(eager, traced, strict=True):
                assert a.dtype == b.dtype, what
                compare_compiled(row, t, b, a, f"compiled, {what}")


@every_row
def test_inferred_types(row: Row) -> None:
    """What tracing says before anything runs is what comes out."""
    for t in row.dtypes:
        for sample in row.samples:
            inferred: list[Any] = []

            def fn(*xs: Any, sample: Sample = sample, inferred: list[Any] = inferred) -> Any:
                y = row.call(*xs, **sample.attrs)
                inferred[:] = [(tuple(r.shape), r.dtype) for r in results(y)]
                return y

            ys = results(ost.compile(fn)(*tensors(row, sample, row.arrays(sample, t), t)))
            assert inferred == [(tuple(y.shape), y.dtype) for y in ys], f"{row.op} of {t}: {sample}"


@every_row
def test_strided_inputs(row: Row) -> None:
    """NumPy views with gaps, in Fortran order and reversed give what their copies give."""

    def gaps(a: np.ndarray) -> np.ndarray:
        big = np.zeros((*a.shape[:-1], 2 * a.shape[-1]) if a.ndim else (2,), a.dtype)
        view = big[..., ::2] if a.ndim else big[1:].reshape(())
        view[...] = a
        return view

    def fortran(a: np.ndarray) -> np.ndarray:
        return np.array(a, order="F")

    def backwards(a: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(a[..., ::-1])[..., ::-1] if a.ndim else a

    t = "float32" if "float32" in row.dtypes else row.dtypes[0]
    for sample in row.samples:
        arrays = row.arrays(sample, t)
        if any(a.size > 1000 for a in arrays):
            continue
        plain = results(row.call(*[tensor(a) for a in arrays], **sample.attrs))
        for view in (gaps, fortran, backwards):
            again = results(row.call(*[ost.asarray(view(a)) for a in arrays], **sample.attrs))
            for a, b in zip(plain, again, strict=True):
                np.testing.assert_array_equal(numbers(a), numbers(b), err_msg=f"{row.op}: {sample}")


@every_row
def test_text_round_trip(row: Row) -> None:
    """The graph printed, parsed and run again gives the same bits."""
    for t in row.dtypes:
        for sample in row.samples:
            xs = tensors(row, sample, row.arrays(sample, t), t)
            graph = compiled(row, sample).trace(*xs)
            text = graph.text()
            assert ost._native.parse_graph(text) == text
            again = ost._native.compile_text(text).run([*xs, *graph.captures])
            for a, b in zip(graph.run(xs), again, strict=True):
                np.testing.assert_array_equal(numbers(a), numbers(b), err_msg=f"{row.op}: {sample}")


@every_row
def test_in_place(row: Row) -> None:
    """With inputs that nobody needs afterwards the planner may overwrite them; the result is "
    "the same."""
    for t in row.dtypes:
        for sample in row.samples:
            xs = tensors(row, sample, row.arrays(sample, t), t)

            def fn(*xs: Any, sample: Sample = sample) -> Any:
                copies = [ost.flip(ost.flip(x, axis=()), axis=()) if x.ndim else x for x in xs]
                return row.call(*copies, **sample.attrs)

            for a, b in zip(
                results(row.call(*xs, **sample.attrs)), results(ost.compile(fn)(*xs)), strict=True
            ):
                compare_compiled(row, t, b, a, f"{row.op}: {sample}")


@every_row
def test_every_implementation(row: Row) -> None:
    """Each implementation, the decomposition too, against the reference; each must run "
    "somewhere."""
    device = ost.default_device()
    names = ost._native.implementations(row.op, device)
    names += ["decompose"] if REGISTRY[row.op]["decomposes"] else []
    if len(names) < 2 or row.ref is None:
        return
    unused = set(names)
    for name in names:
        ost._native.pin_kernel(row.op, name, device)
        try:
            for t in row.dtypes:
                for sample in row.samples:
                    unused -= {name} if _run_pinned(row, sample, t, name) else set()
        finally:
            ost._native.pin_kernel(row.op, "")
    # Libraries of a GPU take what its description allows; the C++ tests name what each must take.
    assert not unused or device != "cpu", f"{row.op}: no sample runs {sorted(unused)}"


def _run_pinned(row: Row, sample: Sample, t: str, name: str) -> bool:
    """Whether the pinned implementation ran this sample; its result is compared."""
    arrays = row.arrays(sample, t)
    xs = tensors(row, sample, arrays, t)
    graph = compiled(row, sample).trace(*xs)
    try:
        ys = graph.run(xs)
    except NotImplementedError as error:
        assert f"{row.op}: no implementation" in str(error)
        return False
    wanted = results(row.ref(*reference_inputs(arrays), **sample.attrs))  # type: ignore[misc]
    for got, want in zip(ys, wanted, strict=True):
        compare(row, t, got, want, f"{row.op} by {name} of {t}: {sample}")
    steps = [(op, impl) for op, impl, *_ in graph.profile({}, xs, 1)]
    return bool(steps) if name == "decompose" else (row.op, name) in steps


class _batch_first:
    """`fn` compiled for any batch size, which compile takes from its first array."""

    def __init__(self, sample: Sample, fn: Any) -> None:
        self.order = sorted(
            range(len(sample.inputs)), key=lambda i: sample.inputs[i].shape[:1] != ("n",)
        )

        def reordered(*xs: Any) -> Any:
            return fn(*[x for _, x in sorted(zip(self.order, xs, strict=True), key=lambda p: p[0])])

        self.compiled = ost.compile(reordered, dynamic_batch=True)

    def __call__(self, xs: list[Any]) -> Any:
        return self.compiled(*[xs[i] for i in self.order])


@every_row
def test_batch_sizes_of_one_trace(row: Row) -> None:
    """128, 37 and then 0 rows from one trace, values and gradients."""
    samples = [s for s in row.samples if s.batched]
    if not samples:
        assert row.batch, (
            f"{row.op}: no sample has a batch axis 'n'; add one, or say in `batch` why not"
        )
        return
    assert not row.batch, f"{row.op} has samples with a batch axis; leave `batch` empty"
    t = "float32" if "float32" in row.dtypes else row.dtypes[0]
    for sample in samples:
        fn = _batch_first(sample, lambda *xs, sample=sample: row.call(*xs, **sample.attrs))
        for n in (128, 37, 0):
            arrays = row.arrays(sample, t, n)
            what = f"{row.op} with {n} rows: {sample}"
            ys = results(fn(tensors(row, sample, arrays, t)))
            if row.ref is not None:
                wanted = results(row.ref(*reference_inputs(arrays), **sample.attrs))
                for got, want in zip(ys, wanted, strict=True):
                    compare(row, t, got, want, what)
        assert fn.compiled.num_traces == 1, f"{row.op}: {sample}"
        assert fn.compiled.num_specialisations == 3, f"{row.op}: {sample}"
        wrt = row.differentiable(sample)
        if not REGISTRY[row.op]["has_gradient"] or not wrt or "float64" not in row.dtypes:
            continue

        # The cotangents are made inside, of the symbolic results.
        def vjp(*xs: Any, sample: Sample = sample, wrt: list[int] = wrt) -> Any:
            ys = _floats(row.call(*xs, **sample.attrs))
            return ost.gradients([ost.sum(ost.square(y)) for y in ys], [xs[i] for i in wrt])

        fn = _batch_first(sample, vjp)
        for n in (128, 37, 0):
            xs = tensors(row, sample, row.arrays(sample, "float64", n), "float64")
            values = _floats(row.call(*xs, **sample.attrs))
            if all(np.isfinite(y.numpy()).all() for y in values):
                with ost.debug():  # nothing infinite on the way back, with 0 rows neither
                    symbolic = fn(xs)
            else:  # the maximum of nothing
                symbolic = fn(xs)
            fixed = ost.compile(vjp)(*xs)
            for a, b in zip(symbolic, fixed, strict=True):
                assert np.isfinite(a.numpy()).all(), f"{row.op} with {n} rows: {sample}"
                np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-12, 1e-12)
        assert fn.compiled.num_traces == 1


@every_row
def test_mistakes(row: Row) -> None:
    """What a user reads: the exception's class, and the text."""
    for mistake in row.errors:
        with pytest.raises(mistake.error) as caught:
            mistake.call()
        assert mistake.message in str(caught.value)


# --- Gradients ------------------------------------------------------------------------------------


def _cotangents(y: Any) -> list[Any]:
    """Fixed weights for every float result, so that a scalar can be differentiated."""
    rng = np.random.default_rng(7)
    return [
        ost.asarray(rng.uniform(0.5, 1.5, r.shape)) for r in results(y) if str(r.dtype) == "float64"
    ]


def _floats(y: Any) -> list[Any]:
    return [r for r in results(y) if rows.is_float(str(r.dtype))]


def _vjp(row: Row, sample: Sample, wrt: list[int], **options: Any) -> Any:
    def fn(xs: list[Any], gs: list[Any]) -> Any:
        ys = _floats(row.call(*xs, **sample.attrs))
        return ost.gradients(ys, [xs[i] for i in wrt], gs)

    return ost.compile(fn, **options)


def _directions(x: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Unit vectors for small arrays, a few dense directions for large ones."""
    if x.size <= SMALL:
        return list(np.eye(x.size).reshape(x.size, *x.shape))
    return [rng.choice([-1.0, 1.0], x.shape) / np.sqrt(x.size) for _ in range(3)]


def _check_slopes(
    scalar: Any, gradient: list[np.ndarray], arrays: list[np.ndarray], wrt: list[int], what: str
) -> None:
    """`gradient` against central differences of `scalar(arrays)`, in every direction."""
    rng = np.random.default_rng(3)
    for i, g in zip(wrt, gradient, strict=True):
        assert g.shape == arrays[i].shape, what
        for direction in _directions(arrays[i], rng):
            moved = [list(arrays) for _ in range(2)]
            moved[0][i], moved[1][i] = arrays[i] + STEP * direction, arrays[i] - STEP * direction
            up, down = scalar(moved[0]), scalar(moved[1])
            numeric = (up - down) / (2 * STEP)
            rounding = 1e-15 * (abs(up) + abs(down)) / STEP
            np.testing.assert_allclose(
                (g * direction).sum(), numeric, 2e-6, 2e-8 + rounding, err_msg=f"{what}, input {i}"
            )


@with_reference
def test_gradients(row: Row) -> None:
    """First derivatives, and second ones where the op is smooth, against central differences."""
    entry = REGISTRY[row.op]
    assert entry["has_gradient"] or entry["decomposes"] or entry["no_gradient_because"]
    if (not entry["has_gradient"] and not entry["decomposes"]) or "float64" not in row.dtypes:
        return
    for sample in row.samples:
        wrt = row.differentiable(sample)
        arrays = row.arrays(sample, "float64")
        probe = row.call(*[tensor(a) for a in arrays], **sample.attrs)
        if not wrt or not _floats(probe):
            continue
        gs = _cotangents(probe)
        weights = [g.numpy() for g in gs]
        forward, vjp = compiled(row, sample), _vjp(row, sample, wrt)

        def scalar(
            arrays: list[np.ndarray], forward: Any = forward, weights: Any = weights
        ) -> float:
            ys = _floats(forward(*[tensor(a) for a in arrays]))
            return float(sum((w * y.numpy()).sum() for w, y in zip(weights, ys, strict=True)))

        def gradient(arrays: list[np.ndarray], vjp: Any = vjp, gs: Any = gs) -> list[np.ndarray]:
            return [g.numpy() for g in vjp([tensor(a) for a in arrays], gs)]

        what = f"{row.op}: {sample}"
        _check_slopes(scalar, gradient(arrays), arrays, wrt, what)
        second = entry["smooth"] if row.second is None else row.second
        if second and all(a.size <= SMALL for a in arrays):
            _check_second(row, sample, arrays, wrt, gs, gradient, what)


def _slopes(
    row: Row, sample: Sample, wrt: list[int], arrays: list[np.ndarray], t: str
) -> list[np.ndarray]:
    """The first derivatives in dtype `t`, with the same cotangents in every dtype."""
    rng = np.random.default_rng(7)
    xs = tensors(row, sample, arrays, t)
    ys = _floats(row.call(*xs, **sample.attrs))
    gs = [tensor(rng.uniform(0.5, 1.5, y.shape), str(y.dtype)) for y in ys]
    return [numbers(d) for d in _vjp(row, sample, wrt)(xs, gs)]


@with_reference
def test_gradients_of_every_dtype(row: Row) -> None:
    """First derivatives of the other floats against those of float64, at the same numbers."""
    entry = REGISTRY[row.op]
    if (not entry["has_gradient"] and not entry["decomposes"]) or "float64" not in row.dtypes:
        return
    for t, tolerance in (("float32", 1e-3), ("float16", 3e-2), ("bfloat16", 2e-1)):
        for sample in row.samples if t in row.dtypes else ():
            wrt = [i for i in row.differentiable(sample) if sample.inputs[i].dtype == "T"]
            if not wrt:
                continue
            arrays = row.arrays(sample, t)
            wants = _slopes(row, sample, wrt, arrays, "float64")
            for i, got, want in zip(wrt, _slopes(row, sample, wrt, arrays, t), wants, strict=True):
                most = tolerance * (np.abs(want).max(initial=0.0) + 1e-3)
                what = f"{row.op}: {t}, {sample}, input {i}"
                np.testing.assert_allclose(got, want, 0, most, err_msg=what)


def _check_second(
    row: Row,
    sample: Sample,
    arrays: list[np.ndarray],
    wrt: list[int],
    gs: list[Any],
    gradient: Any,
    what: str,
) -> None:
    rng = np.random.default_rng(11)
    us = [rng.uniform(0.5, 1.5, arrays[i].shape) for i in wrt]

    def fn(xs: list[Any], gs: list[Any], us: list[Any]) -> Any:
        ys = _floats(row.call(*xs, **sample.attrs))
        first = ost.gradients(ys, [xs[i] for i in wrt], gs)
        return ost.gradients(first, [*(xs[i] for i in wrt), *gs], us)

    outcome = ost.compile(fn)([tensor(a) for a in arrays], gs, [tensor(u) for u in us])
    second = [g.numpy() for g in outcome[: len(wrt)]]

    def scalar(arrays: list[np.ndarray]) -> float:
        return float(sum((u * g).sum() for u, g in zip(us, gradient(arrays), strict=True)))

    _check_slopes(scalar, second, arrays, wrt, f"second derivative of {what}")
    # A gradient is linear in its cotangents, so that slope is exact.
    linear = sum(
        (g.numpy() * h.numpy()).sum() for g, h in zip(gs, outcome[len(wrt) :], strict=True)
    )
    np.testing.assert_allclose(linear, scalar(arrays), 1e-9, 1e-9, err_msg=f"cotangent of {what}")


def test_batch_of_a_sample_is_five() -> None:
    assert rows.A("n", 3).size() == (BATCH, 3)
