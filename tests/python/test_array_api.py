# SPDX-License-Identifier: Apache-2.0
"""The Array API standard 2024.12: every name is there, or stands here with the reason why not."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost

# --- Names ----------------------------------------------------------------------------------------

STANDARD = {
    "constants": "e inf nan newaxis pi",
    "creation": """arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid
        ones ones_like tril triu zeros zeros_like""",
    "data types": """bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64
        complex64 complex128 astype can_cast finfo iinfo isdtype result_type""",
    "elementwise": """abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert
        bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos
        cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite
        isinf isnan less less_equal log log10 log1p log2 logaddexp logical_and logical_not
        logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow
        real reciprocal remainder round sign signbit sin sinh sqrt square subtract tan tanh
        trunc""",
    "indexing": "take take_along_axis",
    "inspection": "__array_api_version__ __array_namespace_info__",
    "linear algebra": "matmul matrix_transpose tensordot vecdot",
    "manipulation": """broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims
        repeat reshape roll squeeze stack tile unstack""",
    "searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "sets": "unique_all unique_counts unique_inverse unique_values",
    "sorting": "argsort sort",
    "statistics": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "utilities": "all any diff",
    "extensions": "fft linalg",
}
NOT_THERE = {
    "the shape of the result depends on data, and a graph is planned before it runs": (
        "nonzero unique_all unique_counts unique_inverse unique_values"
    ),
    "there are no complex numbers": "complex64 complex128 conj imag real",
    "optional extensions are not built": "fft linalg",
}
METHODS = """__abs__ __add__ __and__ __array_namespace__ __bool__ __dlpack__ __dlpack_device__
    __eq__ __float__ __floordiv__ __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__
    __lshift__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pos__ __pow__ __radd__
    __rand__ __rfloordiv__ __rlshift__ __rmatmul__ __rmod__ __rmul__ __ror__ __rpow__
    __rrshift__ __rshift__ __rsub__ __rtruediv__ __rxor__ __setitem__ __sub__ __truediv__
    __xor__ T device dtype mT ndim shape size to_device"""


def test_every_name_is_there_or_has_a_reason() -> None:
    xp = ost.ones((2,)).__array_namespace__(api_version="2024.12")
    assert xp is ost
    missing = {n for n in " ".join(STANDARD.values()).split() if not hasattr(xp, n)}
    assert missing == set(" ".join(NOT_THERE.values()).split())


@pytest.mark.parametrize("cls", [ost.Tensor, ost.Variable])
def test_every_method_is_there(cls: type) -> None:
    # __complex__ alone is left out: there are no complex numbers.
    assert [name for name in METHODS.split() if not hasattr(cls, name)] == []


BINARY = "add and floordiv lshift matmul mod mul or pow rshift sub truediv xor".split()
COMPARISONS = "eq ge gt le lt ne".split()


@pytest.mark.parametrize("name", [*BINARY, *(f"r{b}" for b in BINARY), *COMPARISONS])
def test_a_method_is_its_operator(name: str) -> None:
    dtype = np.float32 if "truediv" in name else np.int32
    a, b = np.array([7, 5, 3], dtype), np.array([1, 2, 3], dtype)
    want = getattr(a, f"__{name}__")(b)
    for self in (ost.asarray(a), ost.Variable(a, name="operand")):
        np.testing.assert_array_equal(getattr(self, f"__{name}__")(ost.asarray(b)).numpy(), want)


def test_a_class_derived_from_variable_keeps_the_operators() -> None:
    class Weight(ost.Variable):
        pass

    w = Weight(np.array([1.0, -2.0], np.float32), name="derived")
    np.testing.assert_array_equal((w * 2 + 1).numpy(), [3, -3])
    np.testing.assert_array_equal((1 - w).numpy(), [0, 3])
    np.testing.assert_array_equal(abs(w).numpy(), [1, 2])
    np.testing.assert_array_equal((w < 0).numpy(), [False, True])


def test_an_array_of_one_integer_is_an_index() -> None:
    assert [10, 20, 30][ost.asarray(1)] == 20
    assert operator.index(ost.asarray(np.uint8(7))) == 7


def test_operators_of_the_standard() -> None:
    a = np.array([1, -7, 3], np.int32)
    t, v = ost.asarray(a), ost.Variable(a, name="shifted")
    for ours, theirs in (
        (t << 2, a << 2),
        (t >> 1, a >> 1),
        (1 << ost.abs(t), 1 << np.abs(a)),
        (v >> 1, a >> 1),
        (+t, a),
        (+v, a),
    ):
        assert isinstance(ours, ost.Tensor)
        assert ours.numpy().dtype == theirs.dtype
        np.testing.assert_array_equal(ours.numpy(), theirs)
    assert ost.positive(t) is t
    before = +v
    v.assign(a * 2)
    np.testing.assert_array_equal(before.numpy(), a)


def test_devices() -> None:
    t = ost.ones((2,))
    assert t.device == "cpu"
    assert t.to_device("cpu") is t
    with pytest.raises(ost.DeviceUnavailableError, match="cuda"):
        t.to_device("cuda:99")


def test_namespace_info() -> None:
    info = ost.__array_namespace_info__()
    assert ost.__array_api_version__ == "2024.12"
    assert info.default_device() in info.devices()
    for t in info.dtypes(kind="integral").values():
        assert ost.isdtype(t, "integral")
    assert set(info.dtypes()) == set(STANDARD["data types"].split()[:11])
    assert set(info.dtypes(kind=("bool", "real floating"))) == {"bool", "float32", "float64"}
    default = info.default_dtypes()
    assert ost.asarray([0.5]).dtype == default["real floating"]
    assert ost.asarray([1]).dtype == default["integral"]
    assert ost.argmax(ost.ones((2,))).dtype == default["indexing"]
    most = info.capabilities()["max dimensions"]
    assert ost.ones((1,) * most).ndim == most
    with pytest.raises(ValueError, match="supported"):
        ost.ones((1,) * (most + 1))


# --- dtypes ---------------------------------------------------------------------------------------

NUMBERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if "float" in d])
def test_finfo(dtype: str) -> None:
    ours, theirs = ost.finfo(dtype), np.finfo(dtype)
    for name in ("bits", "eps", "max", "min", "smallest_normal"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.dtype == dtype


def test_finfo_of_bfloat16() -> None:
    info = ost.finfo(ost.bfloat16)

    def held(value: float) -> float:
        return float(ost.cast(ost.cast(ost.asarray(value), ost.bfloat16), ost.float32))

    assert held(info.max) == info.max
    assert held(info.smallest_normal) == info.smallest_normal
    assert held(1 + info.eps) == 1 + info.eps
    assert held(1 + info.eps / 2) == 1
    assert (info.bits, info.min) == (16, -info.max)


@pytest.mark.parametrize("dtype", [d for d in NUMBERS if "int" in d])
def test_iinfo(dtype: str) -> None:
    ours, theirs = ost.iinfo(ost.ones((1,), dtype=dtype)), np.iinfo(dtype)
    assert (ours.bits, ours.min, ours.max) == (theirs.bits, theirs.min, theirs.max)
    assert ours.dtype == dtype


def test_result_type_is_what_ops_give() -> None:
    assert ost.result_type("int8", ost.uint8) == ost.int16
    assert ost.result_type(ost.ones((1,), dtype="int8"), 300) == ost.int8
    assert ost.result_type(np.zeros(2, np.float32), ost.float64, 1.0) == ost.float64
    assert ost.result_type(1, 2.0) == ost.float32
    assert ost.result_type(True) == ost.bool_
    for a in NUMBERS:
        for b in NUMBERS:
            try:
                common = (ost.ones((1,), dtype=a) + ost.ones((1,), dtype=b)).dtype
            except TypeError:
                common = None
            assert ost.can_cast(a, b) == (common == b)
            if common is None:
                with pytest.raises(TypeError, match="result_type: Tensor conversion requested"):
                    ost.result_type(a, b)
            else:
                assert ost.result_type(a, b) == common
    assert ost.can_cast(ost.ones((1,), dtype="int8"), ost.int16)


# --- Functions against NumPy ----------------------------------------------------------------------


def plane(xp: Any, a: Any) -> Any:
    return xp.asarray(np.arange(6).reshape(3, 2) - 2, dtype=str(a.dtype))


def name(a: Any) -> str:
    return str(a.dtype)


LINE, ROWS, HALF = np.arange(-2, 3), np.arange(3)[:, None], np.array([-1.5, 0.5])
PLACES = np.array([[[0, -1], [2, 1], [1, 1]]])  # for take_along_axis


# What is done to x[4, 3, 2], here and in NumPy; `still` where a size of the result would have to be
# an integer that is not known when the batch is a symbol.
class Case:
    def __init__(self, ours: Any, theirs: Any = None, *, still: bool = False) -> None:
        self.ours: Callable[[Any], Any] = ours
        self.theirs: Callable[[Any], Any] = theirs or ours
        self.still = still


def both(fn: Callable[[Any, Any], Any], *, still: bool = False) -> Case:
    """The same words for `ostria` and for `numpy`."""
    return Case(lambda a: fn(ost, a), lambda a: fn(np, a), still=still)


CASES = {
    "moveaxis": both(lambda xp, a: xp.moveaxis(a, 0, -1)),
    "moveaxis of several": both(lambda xp, a: xp.moveaxis(a, (0, 2), (1, 0))),
    "roll": both(lambda xp, a: xp.roll(a, 1, axis=1)),
    "roll of the batch": both(lambda xp, a: xp.roll(a, -3, axis=0)),
    "roll by more than all": both(lambda xp, a: xp.roll(a, 11, axis=0)),
    "roll of several": both(lambda xp, a: xp.roll(a, (1, -1), axis=(0, 2))),
    "roll of all": both(lambda xp, a: xp.roll(a, 5)),
    "tile": both(lambda xp, a: xp.tile(a, (2, 1, 3))),
    "tile, fewer": both(lambda xp, a: xp.tile(a, (2,))),
    "tile, more": both(lambda xp, a: xp.tile(a, (2, 1, 1, 2))),
    "tile by 0": both(lambda xp, a: xp.tile(a, (1, 0, 1))),
    "repeat": both(lambda xp, a: xp.repeat(a, 3, axis=1)),
    "repeat of the batch": both(lambda xp, a: xp.repeat(a, 2, axis=0)),
    "repeat of all": both(lambda xp, a: xp.repeat(a, 2)),
    "repeat by a list": both(lambda xp, a: xp.repeat(a, [2, 0, 3], axis=1)),
    "unstack": Case(
        lambda a: ost.unstack(a, axis=1), lambda a: [a[:, i] for i in range(a.shape[1])]
    ),
    "meshgrid": both(lambda xp, a: xp.meshgrid(a[:, 0, 0], plane(xp, a)[:, 0], plane(xp, a)[0])),
    "meshgrid, ij": both(lambda xp, a: xp.meshgrid(a[:, 0, 0], plane(xp, a)[:, 0], indexing="ij")),
    "broadcast_arrays": both(lambda xp, a: xp.broadcast_arrays(a, plane(xp, a), a[:, :1, :])),
    "tril": both(lambda xp, a: xp.tril(a)),
    "triu": both(lambda xp, a: xp.triu(a, k=1)),
    "tril of the batch": both(lambda xp, a: xp.tril(a[..., 0], k=-1)),
    "vecdot": Case(
        lambda a: ost.vecdot(a, a[:, :1, :]),
        lambda a: (a * a[:, :1, :]).sum(-1, dtype=a.dtype),
    ),
    "vecdot, axis": Case(
        lambda a: ost.vecdot(a, a, axis=-2), lambda a: (a * a).sum(-2, dtype=a.dtype)
    ),
    "tensordot": both(lambda xp, a: xp.tensordot(a, plane(xp, a), axes=2)),
    "tensordot of the batch": both(lambda xp, a: xp.tensordot(a, a, axes=([0], [0]))),
    "tensordot of pairs": both(lambda xp, a: xp.tensordot(a, plane(xp, a), axes=((2, 1), (1, 0)))),
    "tensordot of none": both(lambda xp, a: xp.tensordot(a, plane(xp, a), axes=0)),
    "count_nonzero": both(lambda xp, a: xp.count_nonzero(a, axis=1)),
    "count_nonzero, kept": both(lambda xp, a: xp.count_nonzero(a > 0, axis=0, keepdims=True)),
    "diff": both(lambda xp, a: xp.diff(a, axis=1)),
    "diff of the batch": both(lambda xp, a: xp.diff(a, axis=0)),
    "diff twice": both(lambda xp, a: xp.diff(a, n=2, axis=1)),
    "diff with ends": both(lambda xp, a: xp.diff(a, axis=1, prepend=a[:, :1], append=a[:, -1:])),
    "take_along_axis": Case(
        lambda a: ost.take_along_axis(a, PLACES, axis=1),
        lambda a: np.take_along_axis(a, np.broadcast_to(PLACES, a.shape), axis=1),
    ),
    "take_along_axis of the batch": both(
        lambda xp, a: xp.take_along_axis(a, np.array([[[1, -1]] * 3] * 5), axis=0)
    ),
    "cumulative_sum": Case(lambda a: ost.cumulative_sum(a, axis=1), lambda a: np.cumsum(a, 1)),
    "cumulative_sum, last": Case(
        lambda a: ost.cumulative_sum(a, axis=-1, include_initial=True),
        lambda a: np.pad(np.cumsum(a, -1), ((0, 0), (0, 0), (1, 0))),
    ),
    "cumulative_sum of a vector": Case(
        lambda a: ost.cumulative_sum(ost.reshape(a, -1)), lambda a: np.cumsum(a)
    ),
    "cumulative_prod": Case(
        lambda a: ost.cumulative_prod(a, axis=1, include_initial=True),
        lambda a: np.pad(np.cumprod(a, 1), ((0, 0), (1, 0), (0, 0)), constant_values=1),
    ),
    "cumulative_prod, dtype": Case(
        lambda a: ost.cumulative_prod(a, axis=0, dtype=a.dtype),
        lambda a: np.cumprod(a, 0, dtype=a.dtype),
    ),
    "sort": Case(  # of what is never equal, so that it has a slope
        lambda a: ost.sort(a * 8 + ost.asarray(ROWS, dtype=name(a)), axis=1),
        lambda a: np.sort(a * 8 + ROWS.astype(a.dtype), 1),
    ),
    "sort of the batch": Case(
        lambda a: ost.sort(a + ost.cumsum(ost.ones_like(a)).astype(a.dtype) * 8, axis=0),
        lambda a: np.sort(a + np.cumsum(np.ones_like(a), 0, a.dtype) * 8, 0),
    ),
    "argsort": both(lambda xp, a: xp.argsort(a, axis=-1, stable=True)),
    "searchsorted": both(lambda xp, a: xp.searchsorted(xp.asarray(LINE, dtype=name(a)), a)),
    "searchsorted, sorter": Case(
        lambda a: ost.searchsorted(
            ost.asarray(LINE[::-1], dtype=name(a)), a, side="right", sorter=np.arange(5)[::-1]
        ),
        lambda a: np.searchsorted(LINE.astype(a.dtype), a, side="right"),
    ),
    "sum, dtype": both(lambda xp, a: xp.sum(a, axis=1, dtype=name(a))),
    "prod, dtype": both(lambda xp, a: xp.prod(a, axis=1, dtype=name(a))),
    "method sum, dtype": both(lambda xp, a: a.sum(axis=1, dtype=name(a))),
    "clip by tensors": Case(
        lambda a: ost.clip(a, HALF.astype(name(a)), 2),
        lambda a: np.clip(a, HALF.astype(a.dtype), 2),
    ),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def data(n: int, dtype: Any) -> Any:
    a = np.random.default_rng(5).integers(-3, 4, (n, 3, 2))
    return (a + 0.25 * (a != 0) if np.dtype(dtype).kind == "f" else a).astype(dtype)


def compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
        return
    assert ours.numpy().dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.numpy(), theirs, 2e-6, 1e-6)


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_functions_match_numpy(case: Case, dtype: str) -> None:
    a = data(4, dtype)
    compare(case.ours(ost.asarray(a)), case.theirs(a))


@every_case
def test_functions_can_be_traced(case: Case) -> None:
    """Once for every batch size, unless a size would have to be known."""
    traced = ost.compile(case.ours, dynamic_batch=not case.still)
    for n in (4, 7, 4):
        a = data(n, "float32")
        compare(traced(a), case.theirs(a))
    assert traced.num_traces == (2 if case.still else 1)


@every_case
def test_gradients_of_functions(case: Case) -> None:
    """Against central differences, in the direction of one random cotangent per result."""
    a = data(4, "float64")
    outputs = case.ours(ost.asarray(a))
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    if outputs[0].dtype != ost.float64:
        return  # counts
    rng = np.random.default_rng(1)
    cotangents = [rng.normal(size=y.shape) for y in outputs]

    def loss(t: Any) -> Any:
        ys = case.ours(t)
        ys = ys if isinstance(ys, (list, tuple)) else [ys]
        return sum(
            (ost.sum(y * g) for y, g in zip(ys, cotangents, strict=True)),
            ost.zeros((), dtype="float64"),
        )

    got = ost.grad(loss)(ost.asarray(a)).numpy()
    want, step = np.zeros_like(a), 1e-5
    for i in np.ndindex(a.shape):
        up, down = a.copy(), a.copy()
        up[i] += step
        down[i] -= step
        want[i] = (loss(ost.asarray(up)).item() - loss(ost.asarray(down)).item()) / (2 * step)
    np.testing.assert_allclose(got, want, 1e-6, 1e-6)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 1000])
def test_cumulative_functions_of_any_length(n: int) -> None:
    a = np.random.default_rng(0).uniform(0.9, 1.1, n)
    compare(ost.cumulative_sum(ost.asarray(a)), np.cumsum(a))
    compare(ost.cumulative_prod(ost.asarray(a)), np.cumprod(a))
    small = np.full(n, 200, np.uint8)
    compare(ost.cumulative_sum(ost.asarray(small)), np.cumsum(small))


def test_empty_and_scalar_tensors() -> None:
    empty, one = np.zeros((0, 3), np.float32), np.float32(2.5)
    compare(ost.roll(ost.asarray(empty), 2, axis=0), empty)
    compare(ost.repeat(ost.asarray(empty), 2, axis=1), np.repeat(empty, 2, axis=1))
    compare(ost.unstack(ost.asarray(empty)), [])
    compare(ost.diff(ost.asarray(empty), axis=1), np.diff(empty, axis=1))
    compare(ost.count_nonzero(ost.asarray(empty)), np.array(0))
    compare(ost.roll(ost.asarray(one), 1), np.roll(one, 1))
    compare(ost.tile(ost.asarray(one), (2, 2)), np.tile(one, (2, 2)))
    compare(ost.tensordot(ost.asarray(one), ost.asarray(empty), axes=0), one * empty)
    assert ost.broadcast_shapes() == ()
    assert ost.broadcast_shapes((2, 1), (), (3,), (1, 1, 1)) == (1, 2, 3)


def test_an_index_outside_never_meets_another_row() -> None:
    a = ost.asarray(np.arange(6.0).reshape(2, 3))
    for bad in (3, -4):
        with pytest.raises(IndexError, match="take_along_axis"):
            ost.take_along_axis(a, np.array([[0], [bad]]), axis=1)


def test_gradient_of_logaddexp_at_equal_infinities() -> None:
    low = ost.asarray(-np.inf)
    slopes = ost.grad(ost.logaddexp, argnums=(0, 1))(low, low)
    assert [g.item() for g in slopes] == [0.5, 0.5]


def test_gradient_of_hypot_at_the_origin() -> None:
    zero = ost.asarray(0.0)
    assert [g.item() for g in ost.grad(ost.hypot, argnums=(0, 1))(zero, zero)] == [0.0, 0.0]


@pytest.mark.parametrize("op", [ost.asinh, ost.acosh])
def test_gradient_where_a_square_would_overflow(op: Callable[..., Any]) -> None:
    slope = ost.grad(op)(ost.asarray(np.float32(1e30))).item()
    assert slope == pytest.approx(1e-30, rel=1e-6, abs=0)
