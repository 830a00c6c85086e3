# SPDX-License-Identifier: Apache-2.0
"""einsum against NumPy's, values and gradients; what it is lowered to; errors' words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check, x

import ostria as ost

# Equation and the operands' shapes.
CASES: list[tuple[str, list[tuple[int, ...]]]] = [
    ("i->i", [(4,)]),
    ("i->", [(4,)]),
    ("ij->ji", [(2, 3)]),
    ("ij->j", [(2, 3)]),
    ("ji", [(2, 3)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("iij->j", [(3, 3, 2)]),
    ("ijij->ji", [(2, 3, 2, 3)]),
    ("iii->i", [(2, 2, 2)]),
    ("aab,bb->a", [(2, 2, 3), (3, 3)]),
    ("i,i", [(4,), (4,)]),
    ("i,i->i", [(4,), (4,)]),
    ("i,j->ij", [(4,), (3,)]),
    ("i,j->ji", [(4,), (3,)]),
    (",->", [(), ()]),
    (",ij", [(), (2, 3)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ij,jk->ki", [(2, 3), (3, 4)]),
    ("ij,kj->ik", [(2, 3), (4, 3)]),
    ("ji,jk->ik", [(3, 2), (3, 4)]),
    ("ij,j", [(2, 3), (3,)]),
    ("j,ij->i", [(3,), (2, 3)]),
    ("ij,jk->", [(2, 3), (3, 4)]),
    ("ij,kl->il", [(2, 3), (4, 5)]),
    ("ij,ij->ij", [(2, 3), (2, 3)]),
    ("ij,ij->", [(2, 3), (2, 3)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("bij,bkj->bki", [(2, 3, 4), (2, 5, 4)]),
    ("bi,bi->b", [(2, 3), (2, 3)]),
    ("bi,bij->bj", [(2, 3), (2, 3, 4)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("bqhd,bkhd->bhqk", [(2, 4, 3, 5), (2, 6, 3, 5)]),
    ("abcd,cdef->abef", [(2, 3, 4, 5), (4, 5, 2, 3)]),
    ("abcd,dcef->feba", [(2, 3, 4, 5), (5, 4, 2, 3)]),
    ("ea,fb,abcd,gc,hd->efgh", [(3, 2), (2, 3), (2, 3, 2, 3), (4, 2), (2, 3)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("ij,jk,ki->", [(2, 3), (3, 4), (4, 2)]),
    ("i,i,i->i", [(4,), (4,), (4,)]),
    ("bi,ij,bj->b", [(2, 3), (3, 4), (2, 4)]),
    ("...", [(2, 3)]),
    ("...i->...", [(2, 3, 4)]),
    ("i...->...i", [(2, 3, 4)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]),
    ("...ij,...jk", [(6, 1, 2, 3), (5, 3, 4)]),
    ("...ij,jk->...ik", [(5, 2, 3), (3, 4)]),
    ("i...,i...->...", [(2, 3, 4), (2, 4)]),
    ("...,...->...", [(2, 3), ()]),
    ("ij,jk->ik", [(2, 1), (3, 4)]),  # one of the sizes is 1
    ("bij,bjk->bik", [(1, 3, 4), (2, 4, 5)]),
    ("ij,ij->ij", [(1, 3), (2, 1)]),
    ("ij , jk -> ik", [(2, 3), (3, 4)]),
    ("bA,Ab->b", [(3, 2), (2, 3)]),
    ("ij,jk->ik", [(2, 0), (0, 4)]),
    ("ij,jk->ik", [(0, 3), (3, 4)]),
    ("ii->i", [(0, 0)]),
    ("ii", [(1, 1)]),
]
every_case = pytest.mark.parametrize(
    ("equation", "shapes"), CASES, ids=[f"{e} of {s}" for e, s in CASES]
)


def operands(shapes: list[tuple[int, ...]], dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    if "int" in dtype:
        return [np.asarray(rng.integers(-3, 4, s), dtype) for s in shapes]
    return [np.asarray(rng.uniform(-1, 1, s), dtype) for s in shapes]


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_values_are_those_of_numpy(
    equation: str, shapes: list[tuple[int, ...]], dtype: str
) -> None:
    arrays = operands(shapes, dtype)
    want = np.einsum(equation, *arrays)
    got = ost.einsum(equation, *map(ost.asarray, arrays))
    assert (got.shape, got.numpy().dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got.numpy(), want, 1e-5, 1e-6)


@every_case
def test_gradients_are_those_of_differences(equation: str, shapes: list[tuple[int, ...]]) -> None:
    """Exact up to rounding: an einsum is linear in each operand."""
    arrays = operands(shapes)
    weights = np.random.default_rng(1).normal(size=np.einsum(equation, *arrays).shape)

    def loss(*tensors: Any) -> Any:
        return ost.sum(ost.einsum(equation, *tensors) * weights)

    grads = ost.grad(loss, argnums=tuple(range(len(arrays))))(*map(ost.asarray, arrays))
    for k, (array, grad) in enumerate(zip(arrays, grads, strict=True)):
        want = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            for by in (0.5, -0.5):
                moved = [a.copy() for a in arrays]
                moved[k][at] += by
                want[at] += (np.einsum(equation, *moved) * weights).sum() * np.sign(by)
        np.testing.assert_allclose(grad.numpy(), want, 1e-9, 1e-9)


SYMBOLIC = [
    ("bij,bjk->bik", [("n", 3, 4), ("n", 4, 5)]),
    ("bi,ij->bj", [("n", 3), (3, 4)]),
    ("bi,bj->ij", [("n", 3), ("n", 4)]),
    ("bi,bi->b", [("n", 3), ("n", 3)]),
    ("bi,ij,bj->b", [("n", 3), (3, 4), ("n", 4)]),
    ("bhqd,bhkd->bhqk", [("n", 3, 4, 5), ("n", 3, 6, 5)]),
    ("...i,i->...", [("n", 2, 3), (3,)]),
    ("bi,ci->bc", [("n", 3), ("n", 3)]),
    ("bb->b", [("n", "n")]),
    ("b->", [("n",)]),
]


@pytest.mark.parametrize(("equation", "shapes"), SYMBOLIC, ids=[e for e, _ in SYMBOLIC])
def test_one_trace_serves_every_batch(equation: str, shapes: Any) -> None:
    def contract(batched: Any, fixed: Any) -> Any:
        xs = {**batched, **fixed}
        return ost.einsum(equation, *(xs[k] for k in sorted(xs)))

    if equation == "bb->b":  # both axes of one symbol

        def contract(batched: Any, fixed: Any) -> Any:
            (v,) = batched.values()
            return ost.einsum("bb->b", ost.outer(v, v))

    traced = ost.compile(contract, dynamic_batch=True)
    for n in (4, 7, 0):
        arrays = operands([tuple(n if d == "n" else d for d in s) for s in shapes])
        if equation == "bb->b":
            v = np.arange(n, dtype=np.float64)
            arrays = [np.outer(v, v)]
            got = traced({"0": v}, {})
        else:
            split: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
            for k, (a, s) in enumerate(zip(arrays, shapes, strict=True)):
                split["n" not in s][str(k)] = a
            fixed = {k: ost.asarray(v) for k, v in split[1].items()}
            got = traced(split[0], fixed)
        np.testing.assert_allclose(got.numpy(), np.einsum(equation, *arrays), 1e-9, 1e-12)


def nodes(equation: str, *shapes: tuple[int, ...]) -> list[str]:
    xs = [ost.ones(s) for s in shapes]
    text = ost.compile(lambda *xs: ost.einsum(equation, *xs)).trace(*xs).text()
    return re.findall(r"^%.* = (\w+)@\d+\(", text, re.MULTILINE)


def test_a_contraction_is_one_matrix_product() -> None:
    assert nodes("bij,bjk->bik", (2, 3, 4), (2, 4, 5)).count("matmul") == 1
    assert "transpose" not in nodes("bij,bjk->bik", (2, 3, 4), (2, 4, 5))
    assert "transpose" not in nodes("ij,kj->ik", (2, 3), (4, 3))  # the product turns it round
    assert "transpose" not in nodes("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5))
    assert "matmul" not in nodes("ij,ij->ij", (2, 3), (2, 3))
    assert "matmul" not in nodes("bi,bi->b", (2, 3), (2, 3))  # of one row and one column
    assert "multiply" not in nodes("abcd,cdef->abef", (2, 3, 4, 5), (4, 5, 2, 3))


def test_the_cheap_pair_comes_first() -> None:
    """A vector times two matrices is two products with a vector, whichever comes first."""
    shapes = ((100, 200), (200, 300), (300,))
    xs = [ost.ones(s) for s in shapes]
    graph = ost.compile(lambda *xs: ost.einsum("ij,jk,k->i", *xs)).trace(*xs).text()
    assert "float32[100, 300]" not in graph
    assert "float32[200, 1]" in graph


def test_relatives() -> None:
    a, b = operands([(2, 3), (4, 3)])
    ta, tb = ost.asarray(a), ost.asarray(b)
    np.testing.assert_allclose(ost.inner(ta, tb).numpy(), np.inner(a, b))
    np.testing.assert_allclose(ost.inner(ta[0], tb[0]).numpy(), np.inner(a[0], b[0]))
    np.testing.assert_allclose(ost.inner(ta, 2.0).numpy(), np.inner(a, 2.0))
    np.testing.assert_allclose(ost.outer(ta, tb[0]).numpy(), np.outer(a, b[0]))
    np.testing.assert_allclose(ost.vdot(ta, tb[:2]).numpy(), np.vdot(a, b[:2]))
    small = np.array([100, 100], np.int8)
    assert ost.vdot(small, small).dtype == "int8"  # wraps around, as NumPy's


# --- Mistakes -------------------------------------------------------------------------------------

mistake = Mistakes()


@mistake(
    ValueError,
    "einsum: in 'ij,jk->ik' there are 2 operands, but 1 were given {line}",
)
def an_operand_too_few() -> None:
    ost.einsum("ij,jk->ik", x())  # <-


@mistake(
    ValueError,
    "einsum: in 'ijk->i' 'ijk' names 3 axes, but operand 0 has shape [8, 10]; give one letter per "
    "axis, or '...' for the others {line}",
)
def a_label_too_many() -> None:
    ost.einsum("ijk->i", x())  # <-


@mistake(
    ValueError,
    "einsum: in 'ij,jk' 'j' is 10 in operand 0 of shape [8, 10], but 8 in operand 1 of shape [8, "
    "10]; they must be equal, or one of them 1 {line}",
)
def sizes_that_differ() -> None:
    ost.einsum("ij,jk", x(), x())  # <-


@mistake(
    ValueError,
    "einsum: in '...i,...i' axis -1 of '...' is 8 in operand 0 of shape [8, 10], but 4 in operand "
    "1 of shape [4, 10]; they must be equal, or one of them 1 {line}",
)
def sizes_under_dots_that_differ() -> None:
    ost.einsum("...i,...i", x(), ost.ones((4, 10)))  # <-


@mistake(
    ValueError,
    "einsum: in 'i1->i' '1' is no label; use letters, '...' once per operand, ',' and one '->' "
    "{line}",
)
def a_digit() -> None:
    ost.einsum("i1->i", x())  # <-


@mistake(ValueError, "einsum: in 'ij->ik' the result names 'k', which no operand has {line}")
def a_label_from_nowhere() -> None:
    ost.einsum("ij->ik", x())  # <-


@mistake(
    ValueError,
    "einsum: in 'ij->ii' the result names 'i' 2 times; name each label once {line}",
)
def a_label_twice() -> None:
    ost.einsum("ij->ii", x())  # <-


@mistake(
    ValueError,
    "einsum: in '...j->j' the result has no '...' for the axes that it stands for; add it {line}",
)
def dots_lost() -> None:
    ost.einsum("...j->j", x())  # <-


@mistake(
    ValueError,
    "einsum: in 'ii' 'i' stands twice for operand 0 of shape [8, 10], where it is 8 and 10; a "
    "diagonal needs equal sizes {line}",
)
def a_diagonal_of_no_square() -> None:
    ost.einsum("ii", x())  # <-


@mistake(
    TypeError,
    "einsum: the equation is tensor(1, dtype=int64); give it first and as a string, as in "
    'einsum("ij,jk->ik", a, b) {line}',
)
def the_equation_is_missing() -> None:
    ost.einsum(ost.asarray(1), x())  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[Exception], expected: str) -> None:
    check(fn, error, expected)
