# SPDX-License-Identifier: Apache-2.0
"""Mistakes inside layers: the message says which one, by the path that begins its weights' names.

Every case is run eagerly and while a function is traced, and reads the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check, ints, x

import ostria as ost
from ostria import nn

mistake = Mistakes()


def images() -> Any:
    return ost.zeros((1, 8, 8, 1))


def built() -> nn.Dense:
    """A Dense with weights for 10 features."""
    layer = nn.Dense(3)
    layer(x())
    return layer


@mistake(
    ValueError,
    "conv2d_1: needs an input of rank 4 ([batch, height, width, channels]), but its shape is "
    "[1, 108] (layer 'body/conv2d_1', Conv2D) {line}",
)
def rank_in_a_sequential_in_a_module() -> None:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential([nn.Conv2D(3, 3), nn.Flatten(), nn.Conv2D(3, 3)])

        def call(self, x):
            return self.body(x)  # <-

    Net()(images())


@mistake(
    ValueError,
    "dense_1: its weights are for 3 features, but the last size of [8, 10] is another; build "
    "another layer for it (layer 'dense_1', Dense) {line}",
)
def features_of_a_built_layer() -> None:
    layer = nn.Dense(3)
    nn.Sequential([nn.Dense(3), layer])(x())
    layer(x())  # <-


@mistake(
    TypeError,
    "matmul: Tensor conversion requested dtype int32 for Tensor with dtype float32; these are of "
    "different kinds and are not converted silently; use ost.cast(x, ost.int32) on one of them "
    "(layer 'dense', Dense) {line}",
)
def integers_into_a_dense() -> None:
    nn.Dense(3)(ost.reshape(ints(), (1, 3)))  # <-


@mistake(
    ValueError,
    "add: shapes [8, 3] and [2] do not broadcast: at axis -1 one has 3 and the other 2; from the "
    "right, sizes must be equal or one of them 1; expand or reshape one of them "
    "(layer 'block', Shifted) {line}",
)
def op_of_a_users_own_layer() -> None:
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = nn.Dense(3)

        def call(self, x):
            return self.dense(x) + np.ones(2, np.float32)  # <-

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Shifted()

        def call(self, x):
            return self.block(x)

    Net()(x())


@mistake(
    ValueError,
    "reshape: a tensor of shape [8, 10] (80 elements) cannot become [3] (3 elements); the numbers "
    "of elements must be equal, and -1 in one place is worked out from the others "
    "(layer 'net', Net) {line}",
)
def op_of_the_outermost_module() -> None:
    class Net(nn.Module):
        def call(self, x):
            return ost.reshape(x, (3,))  # <-

    Net()(x())


@mistake(
    ValueError,
    "sparse_categorical_crossentropy: y_true has shape [3], but y_pred of shape [8, 3] needs one "
    "class number per row; give labels of shape [8] {line}",
)
def labels_of_a_loss_are_of_no_layer() -> None:
    logits = nn.Dense(3)(x())
    ost.losses.SparseCategoricalCrossentropy(from_logits=True)(ints(), logits)  # <-


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str, traced: bool) -> None:
    check(ost.compile(fn) if traced else fn, error, expected)


def test_a_path_is_that_of_the_weights_however_the_model_is_called() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential([nn.Dense(3), nn.Dense(3)])

        def call(self, x: Any) -> Any:
            return self.body(x)

    net = Net()
    net(x())
    assert net.variables[2].name == "body/dense_1/kernel"
    for call in (net.body.layers[1], ost.compile(net.body.layers[1]), lambda x: net.body(x)):
        with pytest.raises(ValueError, match=r"\(layer 'body/dense(_1)?', Dense\) \[") as caught:
            call(x()[:, :2])
        assert str(caught.value).count("(layer ") == 1


@pytest.mark.parametrize(
    "error", [KeyError("x"), ValueError("no line"), ValueError(), TypeError(3), OSError(2, "gone")]
)
def test_exceptions_of_the_user_pass_unchanged(error: Exception) -> None:
    class Net(nn.Module):
        def call(self, x: Any) -> Any:
            raise error

    args = error.args
    with pytest.raises(type(error)) as caught:
        nn.Sequential([Net()])(x())
    assert caught.value is error
    assert error.args == args
