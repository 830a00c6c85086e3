# SPDX-License-Identifier: Apache-2.0
"""Mistakes with the Array API's functions: what the user reads, word for word.

Each message has the op, what was given, what is accepted, what to try, and the user's own line,
which is the one marked `# <-`.
"""

from __future__ import annotations

from typing import Any

import pytest
from mistakes import Mistakes, check, ints, x

import ostria as ost

mistake = Mistakes()


@mistake(
    ValueError,
    "__array_namespace__: version '2099.12' of the Array API is not known; accepted are 2021.12, "
    "2022.12, 2023.12, 2024.12 {line}",
)
def an_unknown_version() -> None:
    x().__array_namespace__(api_version="2099.12")  # <-


@mistake(ValueError, "to_device: copies are ordered by themselves; stream must be None {line}")
def a_stream() -> None:
    x().to_device("cpu", stream=1)  # <-


@mistake(TypeError, "finfo: int32 is no floating-point dtype; use ost.iinfo {line}")
def finfo_of_integers() -> None:
    ost.finfo(ost.int32)  # <-


@mistake(TypeError, "iinfo: float32 is no integer dtype; use ost.finfo for floats {line}")
def iinfo_of_floats() -> None:
    ost.iinfo(x())  # <-


@mistake(
    TypeError,
    "result_type: Tensor conversion requested dtype float32 for Tensor with dtype int32; these are "
    "of different kinds and are not converted silently; use ost.cast(x, ost.float32) on one of "
    "them {line}",
)
def result_type_across_kinds() -> None:
    ost.result_type(x(), ints())  # <-


@mistake(TypeError, "result_type: needs at least one tensor, dtype or number {line}")
def result_type_of_nothing() -> None:
    ost.result_type()  # <-


@mistake(
    TypeError,
    "positive: needs a tensor of floating-point or integer dtype, but 'x' is bool[8, 10]; cast it "
    'first, as in cast(x, "int32") {line}',
)
def positive_of_bool() -> None:
    +(x() > 0)  # <-


@mistake(
    ValueError,
    "broadcast_shapes: shapes [8, 10], [8] do not broadcast: at axis -1 one has 10 and another 8; "
    "from the right, sizes must be equal or one of them 1 {line}",
)
def broadcast_of_what_does_not_fit() -> None:
    ost.broadcast_arrays(x(), ost.ones((8,)))  # <-


@mistake(
    ValueError,
    "moveaxis: axis 2 is out of range for a tensor of rank 2 (shape [8, 10]); valid axes are "
    "-2..1 {line}",
)
def moveaxis_of_no_axis() -> None:
    ost.moveaxis(x(), 2, 0)  # <-


@mistake(
    ValueError,
    "moveaxis: source (0, 1) and destination 0 do not pair up; give as many axes in each, and each "
    "axis once {line}",
)
def moveaxis_without_a_partner() -> None:
    ost.moveaxis(x(), (0, 1), 0)  # <-


@mistake(
    ValueError,
    "roll: 2 shifts (1, 2) for 1 axes (0); give one number for all, or one for each axis {line}",
)
def roll_with_a_shift_too_many() -> None:
    ost.roll(x(), (1, 2), axis=0)  # <-


@mistake(ValueError, "tile: -1 repetitions are not possible; give an integer, 0 or more {line}")
def tile_less_than_none() -> None:
    ost.tile(x(), (1, -1))  # <-


@mistake(
    ValueError,
    "repeat: repeats [1, 2, 3] do not fit axis 0 of size 8; give one integer, or as many as the "
    "axis is long {line}",
)
def repeat_by_a_list_too_short() -> None:
    ost.repeat(x(), [1, 2, 3], axis=0)  # <-


@mistake(
    ValueError,
    "unstack: axis 0 has size `batch`, which is not known while the function is traced; use "
    "another axis, or compile without dynamic_batch {line}",
)
def unstack_of_the_batch() -> None:
    def f(x: Any) -> Any:
        return ost.unstack(x)  # <-

    ost.compile(f, dynamic_batch=True)(x())


@mistake(ValueError, "meshgrid: indexing 'yx' is neither 'xy' nor 'ij' {line}")
def meshgrid_in_an_unknown_order() -> None:
    ost.meshgrid(ints(), ints(), indexing="yx")  # <-


@mistake(
    ValueError,
    "triu: needs a tensor of rank 2 or more, but 'x' has shape [3]; reshape it {line}",
)
def triu_of_a_vector() -> None:
    ost.triu(ints())  # <-


@mistake(
    ValueError,
    "take_along_axis: 'x' has shape [8, 10] and 'indices' has shape [3]; both must have one rank "
    "{line}",
)
def take_along_axis_of_another_rank() -> None:
    ost.take_along_axis(x(), ints())  # <-


@mistake(
    TypeError,
    "take_along_axis: indices must be int32 or int64, but 'indices' is float32[8, 10]; cast them "
    'first, as in cast(indices, "int64") {line}',
)
def take_along_axis_by_floats() -> None:
    ost.take_along_axis(x(), x())  # <-


@mistake(
    ValueError,
    "vecdot: axis 1 is not possible for shapes [8, 10] and [8, 10]; give a negative axis that both "
    "have {line}",
)
def vecdot_along_an_axis_from_the_front() -> None:
    ost.vecdot(x(), x(), axis=1)  # <-


@mistake(
    ValueError,
    "vecdot: axis -1 of shape [8, 10] and axis -1 of shape [8, 1] are summed over together, but "
    "one has 10 and the other 1; they must be equal {line}",
)
def vecdot_does_not_repeat_what_it_sums() -> None:
    ost.vecdot(x(), ost.ones((8, 1)))  # <-


@mistake(
    ValueError,
    "tensordot: axes=3 is not possible for shapes [8, 10] and [8, 10]; give a number of axes that "
    "both have {line}",
)
def tensordot_over_too_many_axes() -> None:
    ost.tensordot(x(), x(), axes=3)  # <-


@mistake(
    ValueError,
    "tensordot: axes=([0], [0, 1]) do not pair up; give a number, or two lists of as many axes "
    "{line}",
)
def tensordot_without_a_partner() -> None:
    ost.tensordot(x(), x(), axes=([0], [0, 1]))  # <-


@mistake(ValueError, "diff: n=-1 is not possible; give an integer, 0 or more {line}")
def diff_less_than_never() -> None:
    ost.diff(x(), n=-1)  # <-


@mistake(
    ValueError,
    "cumulative_sum: give the axis; only a tensor of rank 1 needs none, not 2 {line}",
)
def cumulative_sum_without_an_axis() -> None:
    ost.cumulative_sum(x())  # <-


@mistake(
    ValueError,
    "cumulative_prod: axis 2 is out of range for a tensor of rank 2 (shape [8, 10]); valid axes "
    "are -2..1 {line}",
)
def cumulative_prod_of_no_axis() -> None:
    ost.cumulative_prod(x(), axis=2)  # <-


@mistake(
    ValueError,
    "sort: axis 2 is out of range for a tensor of rank 2 (shape [8, 10]); valid axes are -2..1 "
    "{line}",
)
def sort_along_no_axis() -> None:
    ost.sort(x(), axis=2)  # <-


@mistake(ValueError, "searchsorted: side is 'middle'; accepted are 'left' and 'right' {line}")
def searchsorted_on_no_side() -> None:
    ost.searchsorted(ints(), ints(), side="middle")  # <-


@mistake(
    ValueError,
    "top_k: k is 11, but axis 1 of shape [8, 10] has 10 elements; give 0..10 {line}",
)
def top_k_of_more_than_there_are() -> None:
    ost.top_k(x(), 11)  # <-


@mistake(
    IndexError,
    "segment_sum: index 1 (number 0 of 3) is out of range for an axis of size 1; valid indices are "
    "0..0 {line}",
)
def segment_sum_of_an_id_outside() -> None:
    ost.segment_sum(ints(), ints(), 1)  # <-


@mistake(
    TypeError,
    "norm: needs a tensor of floating-point dtype, but 'x' is int32[3]; cast it first, as in "
    'cast(x, "float32") {line}',
)
def norm_of_integers() -> None:
    ost.norm(ints())  # <-


@mistake(ValueError, "norm: ord 'nuc' is not accepted; give a number, inf, -inf or 'fro' {line}")
def norm_of_an_unknown_kind() -> None:
    ost.norm(x(), ord="nuc")  # <-


@mistake(
    ValueError,
    "inner: shapes [8, 10] and [3] are summed over together along their last axes, but one has 10 "
    "and the other 3; they must be equal {line}",
)
def inner_of_what_does_not_fit() -> None:
    ost.inner(x(), ints())  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[Exception], expected: str) -> None:
    check(fn, error, expected)
