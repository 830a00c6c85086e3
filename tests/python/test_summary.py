# SPDX-License-Identifier: Apache-2.0
"""`summary` and `memory_plan`: the table, FLOPs counted by hand, nesting, peak memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn


def cnn() -> Any:
    return nn.Sequential(
        [nn.Conv2D(8, 3, activation="relu"), nn.MaxPool2D(), nn.Flatten(), nn.Dense(10)]
    )


def rows_of(text: str) -> list[list[str]]:
    """The table's lines, split into cells: layer, output shape, parameters, FLOPs, memory."""
    table = re.split(r"^-+$", text, flags=re.MULTILINE)[2]
    return [re.split(r" {2,}", line.strip()) for line in table.strip().splitlines()]


SUMMARY = """\
sequential (Sequential), batch 4
---------------------------------------------------------------------------
Layer (type)            Output shape    Parameters    FLOPs  Output memory
---------------------------------------------------------------------------
conv2d (Conv2D)         [4, 10, 10, 8]          80   64,000        12.5 KB
max_pool2d (MaxPool2D)  [4, 5, 5, 8]             0    3,200         3.1 KB
flatten (Flatten)       [4, 200]                 0        0         3.1 KB
dense (Dense)           [4, 10]              2,010   16,040          160 B
---------------------------------------------------------------------------
parameters  2,090 (8.2 KB): 2,090 trainable, 0 non-trainable
FLOPs       83,240 forward
"""


def test_summary() -> None:
    printed: list[str] = []
    text = cnn().summary((None, 12, 12, 1), batch=4, print_fn=printed.append)
    assert printed == [text]
    # convolution: 4 * 100 * 8 outputs of 9 multiply-adds, one bias, one relu
    assert 4 * 100 * 8 * (2 * 9 + 2) == 64_000
    assert 4 * 10 * (2 * 200 + 1) == 16_040
    wanted = [" ".join(line.split()) for line in SUMMARY.splitlines() if "---" not in line]
    got = [" ".join(line.split()) for line in text.splitlines() if "---" not in line]
    assert got[:-1] == wanted
    assert re.fullmatch(r"peak memory [\d.]+ KB inference, [\d.]+ KB training with SGD", got[-1])


# --- FLOPs ----------------------------------------------------------------------------------------


class Training(nn.Module):
    """A layer as it runs in training; `summary` counts inference."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def call(self, x: Any) -> Any:
        return self.layer(x, training=True)


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        # multiply-adds, and the bias
        (lambda: nn.Dense(5), (4, 7), 4 * 5 * (2 * 7 + 1)),
        (lambda: nn.Dense(5, use_bias=False), (2, 3, 7), 6 * 5 * 2 * 7),
        (lambda: nn.Dense(5, activation="gelu"), (4, 7), 4 * 5 * (2 * 7 + 1 + 1)),
        (lambda: nn.Conv2D(8, 3), (2, 12, 12, 3), 2 * 10 * 10 * 8 * (2 * 27 + 1)),
        (
            lambda: nn.Conv2D(8, (3, 5), strides=2, padding="same", groups=2, use_bias=False),
            (1, 12, 12, 4),
            6 * 6 * 8 * 2 * 3 * 5 * 2,
        ),
        (lambda: nn.Conv1D(8, 3), (2, 12, 3), 2 * 10 * 8 * (2 * 9 + 1)),
        (lambda: nn.Conv3D(8, 2), (1, 3, 4, 5, 3), 2 * 3 * 4 * 8 * (2 * 24 + 1)),
        # a transpose multiplies as often as its convolution
        (
            lambda: nn.Conv2DTranspose(5, 3, 2, padding="same"),
            (1, 4, 4, 3),
            2 * 16 * 3 * 9 * 5 + 8 * 8 * 5,
        ),
        (lambda: nn.DepthwiseConv2D(3), (1, 6, 6, 4), 16 * 4 * (2 * 9 + 1)),
        (lambda: nn.SeparableConv2D(5, 3), (1, 6, 6, 4), 16 * (4 * 18 + 5 * (2 * 4 + 1))),
        # every window reads its elements: comparisons, or additions and a division
        (lambda: nn.MaxPool2D(2), (1, 6, 6, 4), 3 * 3 * 4 * 4),
        (lambda: nn.MaxPool2D(3, strides=1), (2, 6, 6, 4), 2 * 4 * 4 * 4 * 9),
        (lambda: nn.AvgPool2D(2), (1, 6, 6, 4), 3 * 3 * 4 * 4),
        (nn.GlobalAveragePooling2D, (2, 6, 6, 4), 2 * 6 * 6 * 4),
        (lambda: nn.MaxPool3D(2), (1, 4, 4, 6, 3), 2 * 2 * 3 * 3 * 8),
        (nn.GlobalMaxPooling1D, (2, 6, 4), 2 * 6 * 4),
        (nn.UpSampling2D, (1, 3, 3, 2), 0),
        (lambda: nn.ZeroPadding2D(1), (1, 3, 3, 2), 0),
        # x * factor + shift; per channel + epsilon, rsqrt, * gamma, mean * factor, beta - that
        (nn.BatchNormalization, (2, 6, 6, 4), 2 * 288 + 5 * 4),
        # mean, difference, square, mean, product, sum; per channel + epsilon, rsqrt, * gamma, and
        # two moving averages of two products and a sum
        (lambda: Training(nn.BatchNormalization()), (2, 6, 6, 4), 6 * 288 + 3 * 4 + 2 * 3 * 4),
        # mean, difference, square, mean, * rstd, * gamma, + beta; per row + epsilon and rsqrt
        (nn.LayerNormalization, (2, 5, 8), 7 * 80 + 2 * 10),
        (lambda: nn.GroupNormalization(2), (2, 5, 8), 7 * 80 + 2 * 4),
        # square, mean, * rstd, * gamma; per row + epsilon and rsqrt
        (nn.RMSNormalization, (2, 5, 8), 4 * 80 + 2 * 10),
        # maximum, difference, exponential, sum, quotient
        (lambda: nn.Activation("softmax"), (3, 10), 5 * 30),
        (lambda: nn.Activation("relu"), (3, 10), 30),
        (nn.Flatten, (2, 3, 4), 0),
        (lambda: nn.Dropout(0.5), (3, 10), 0),
        # a draw, a comparison, a product
        (lambda: Training(nn.Dropout(0.5)), (3, 10), 3 * 30),
    ],
)
def test_flops_by_hand(
    make: Callable[[], nn.Module], shape: tuple[int, ...], expected: int
) -> None:
    text = make().summary(shape, print_fn=None)
    assert re.search(r"^FLOPs +(.*) forward$", text, re.MULTILINE)[1] == f"{expected:,}"  # type: ignore[index]


def test_an_embedding_only_moves_data() -> None:
    text = nn.Embedding(10, 4).summary((None, 7), dtype="int32", print_fn=None)
    assert rows_of(text) == [["embedding (Embedding)", "[1, 7, 4]", "40", "0", "112 B"]]
    assert "parameters  40 (160 B): 40 trainable, 0 non-trainable" in text


def test_parameters_that_no_optimizer_changes() -> None:
    model = nn.Sequential([nn.Dense(3), nn.BatchNormalization()])
    text = model.summary((None, 4), print_fn=None)
    assert "parameters  27 (108 B): 21 trainable, 6 non-trainable" in text
    model.layers[0].trainable = False
    assert "6 trainable, 21 non-trainable" in model.summary(print_fn=None)


# --- Nested and shared modules, several inputs ----------------------------------------------------


def test_shared_layers_count_their_parameters_once() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential([nn.Dense(4), nn.Dense(4)])
            self.head = nn.Dense(2)

        def call(self, a: Any, b: Any) -> Any:
            return self.head(self.body(a) + self.body(b))

    text = Pair().summary([(None, 3), (None, 3)], print_fn=None)
    assert [[row[0], *row[2:4]] for row in rows_of(text)] == [
        ["body (Sequential)", "36", "64"],
        ["dense (Dense)", "16", "28"],
        ["dense_1 (Dense)", "20", "36"],
        ["body (Sequential)", "shared", "64"],
        ["dense (Dense)", "shared", "28"],
        ["dense_1 (Dense)", "shared", "36"],
        ["head (Dense)", "10", "18"],
        ["pair itself (Pair)", "0", "4"],
    ]
    assert "\n  dense_1 (Dense) " in text
    assert "FLOPs       150 forward" in text
    assert "parameters  46 " in text


def test_rows_have_the_names_of_the_weights_and_add_up() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Dense(4), nn.Dense(4, name="named")
            self.blocks = [nn.Dense(4), nn.Dense(4)]

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight("scale", (4,))

        def call(self, x: Any) -> Any:
            y = self.second(self.first(x)) * self.scale
            for block in self.blocks:
                y = y + block(y)
            return y

    net = Net()
    rows = rows_of(net.summary((None, 4), print_fn=None))
    assert [row[0] for row in rows] == [
        "first (Dense)", "second (Dense)", "blocks_0 (Dense)", "blocks_1 (Dense)",
        "net itself (Net)",
    ]  # fmt: skip
    assert rows[-1][2:4] == ["4", str(3 * 4)]
    assert sum(int(row[2]) for row in rows) == sum(v.size for v in net.variables)
    names = {v.name.split("/")[0] for v in net.variables}
    assert names == {"first", "second", "blocks_0", "blocks_1", "scale"}


class Mixed(nn.Module):
    """Class numbers and features, as two arguments, one by name, or a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.dense = nn.Embedding(10, 4), nn.Dense(4)

    def call(self, inputs: Any, x: Any = None, scale: float = 1.0) -> Any:
        ids, x = (inputs["ids"], inputs["x"]) if isinstance(inputs, dict) else (inputs, x)
        return self.table(ids) + self.dense(x) * scale


IDS, X = np.zeros(2, np.int32), np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("args", "named"),
    [((IDS, X), {}), ((IDS,), {"x": X, "scale": 2.0}), (({"ids": IDS, "x": X},), {})],
    ids=["positions", "name", "dict"],
)
def test_a_model_is_summarised_as_it_was_called(args: Any, named: Any) -> None:
    model = Mixed()
    model(*args, **named)
    text = model.summary(batch=5, print_fn=None)
    assert text.startswith("mixed (Mixed), batch 5\n")
    assert [row[1] for row in rows_of(text)] == ["[5, 4]"] * 3
    assert model.memory_plan(5)["input_bytes"] == 5 * 4 + 5 * 3 * 4


def test_the_first_call_counts() -> None:
    model = nn.Dense(4)
    model(X)
    model(np.zeros((2, 5, 3), np.float32))
    assert rows_of(model.summary(print_fn=None))[0][1] == "[1, 4]"


def test_sizes_that_are_no_batch_stay() -> None:
    class Attend(nn.Module):
        def call(self, x: Any, mask: Any) -> Any:
            return ost.matmul(mask, x)

    model = Attend()
    model(np.zeros((2, 3, 4), np.float32), np.zeros((3, 3), np.float32))
    assert rows_of(model.summary(batch=7, print_fn=None))[0][1] == "[7, 3, 4]"


def test_dtypes_of_several_inputs() -> None:
    text = Mixed().summary([(None,), (None, 3)], dtype=["int32", "float32"], print_fn=None)
    assert [row[0] for row in rows_of(text)] == [
        "table (Embedding)", "dense (Dense)", "mixed itself (Mixed)",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"^summary: dtype has 1 entries for 2 inputs"):
        Mixed().summary([(None,), (None, 3)], dtype=["int32"], print_fn=None)


def test_an_assumed_dtype_is_said() -> None:
    model = nn.Sequential([nn.Embedding(10, 4)])
    with pytest.raises(
        TypeError,
        match=r"\(layer 'embedding', Embedding\); float32 inputs are assumed, give dtype= for "
        r"others \[test_summary\.py:\d+\]$",
    ):
        model.summary((None, 7), print_fn=None)
    text = model.summary((None, 7), dtype="int64", print_fn=None)
    assert model.summary(print_fn=None) == text  # what failed was no call to remember


def test_a_model_without_a_float_output_has_no_training_peak() -> None:
    class Choice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Dense(3)

        def call(self, x: Any) -> Any:
            return ost.argmax(self.dense(x), axis=-1)

    text = Choice().summary((None, 4), print_fn=None)
    assert text.endswith(" inference")


# --- memory_plan ----------------------------------------------------------------------------------


def test_memory_plan_needs_no_step() -> None:
    model = cnn()
    small = model.memory_plan(8, (None, 12, 12, 1))
    before = [v.numpy() for v in model.variables]
    large = model.memory_plan(64)
    training = model.memory_plan(64, training=True)
    adam = model.memory_plan(64, training=True, optimizer=ost.optim.Adam())
    for v, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(v.numpy(), old)
    assert small["input_bytes"] * 8 == large["input_bytes"] == 64 * 12 * 12 * 4
    assert small["peak_bytes"] < large["peak_bytes"] < training["peak_bytes"]
    assert adam["state_bytes"] >= 3 * training["state_bytes"] - 4096
    assert large["activation_bytes"] <= 1.05 * large["liveness_bytes"]


def test_a_plan_over_the_limit_is_refused_before_the_first_step() -> None:
    with pytest.raises(ost.OutOfMemoryError, match=r"over the limit of 1000 bytes on cpu"):
        cnn().memory_plan(64, (None, 12, 12, 1), training=True, memory_limit=1000)
