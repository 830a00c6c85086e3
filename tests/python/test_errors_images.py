# SPDX-License-Identifier: Apache-2.0
"""Mistakes with layers for images: each message ends with the user's line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

from ostria import nn

mistake = Mistakes()


def image(*shape: int) -> Any:
    return np.ones(shape, np.float32)


@mistake(
    ValueError,
    "conv1d: needs an input of rank 3 ([batch, length, channels]), but its shape is [2, 8, 8, 1] "
    "(layer 'conv1d', Conv1D) {line}",
)
def rank_of_a_sequence() -> None:
    nn.Conv1D(3, 3)(image(2, 8, 8, 1))  # <-


@mistake(
    ValueError,
    "Conv3D: kernel_size (3, 3) is not accepted; give a positive integer or three of them {line}",
)
def sizes_for_two_axes() -> None:
    nn.Conv3D(3, (3, 3))  # <-


@mistake(
    ValueError,
    "Conv2DTranspose: output_padding 2 is not accepted; it must be smaller than strides (2, 2) "
    "{line}",
)
def output_padding_too_large() -> None:
    nn.Conv2DTranspose(3, 3, 2, output_padding=2)  # <-


@mistake(
    ValueError,
    "Conv2DTranspose: padding 'full' is not known; accepted are 'valid', 'same' {line}",
)
def padding_of_a_transpose() -> None:
    nn.Conv2DTranspose(3, 3, padding="full")  # <-


@mistake(
    ValueError,
    "group_normalization: groups 4 does not divide the 6 channels of an input of shape [2, 3, 6] "
    "(layer 'group_normalization', GroupNormalization) {line}",
)
def groups_and_channels() -> None:
    nn.GroupNormalization(4)(image(2, 3, 6))  # <-


@mistake(
    ValueError,
    "layer_normalization: axis [1] does not name the last axes of an input of shape [2, 3, 6], in "
    "order; give -1, or such as [-2, -1] (layer 'layer_normalization', LayerNormalization) {line}",
)
def axis_in_the_middle() -> None:
    nn.LayerNormalization(axis=1)(image(2, 3, 6))  # <-


@mistake(
    ValueError,
    "cropping2d: cropping ((2, 1), (0, 0)) leaves nothing of an input of shape [1, 3, 3, 1] (layer "
    "'cropping2d', Cropping2D) {line}",
)
def everything_cropped() -> None:
    nn.Cropping2D(((2, 1), (0, 0)))(image(1, 3, 3, 1))  # <-


@mistake(
    ValueError,
    "ZeroPadding2D: padding (1, 2, 3) is not accepted; give an integer of at least 0, one per axis "
    "(height, width), or a pair (before, after) per axis {line}",
)
def padding_of_three_axes() -> None:
    nn.ZeroPadding2D((1, 2, 3))  # <-


@mistake(
    ValueError,
    "UpSampling2D: interpolation 'area' is not known; accepted are 'nearest', 'bilinear', "
    "'bicubic' {line}",
)
def unknown_interpolation() -> None:
    nn.UpSampling2D(interpolation="area")  # <-


@mistake(
    ValueError,
    "reshape: an input of shape [2, 3, 4] has 12 elements per example, which do not fill [5, -1] "
    "(layer 'reshape', Reshape) {line}",
)
def target_that_does_not_fit() -> None:
    nn.Reshape((5, -1))(image(2, 3, 4))  # <-


@mistake(
    ValueError,
    "Permute: dims (0, 1) is not accepted; give every axis once, from 1, such as (2, 1) {line}",
)
def axes_from_zero() -> None:
    nn.Permute((0, 1))  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)
