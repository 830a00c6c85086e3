# SPDX-License-Identifier: Apache-2.0
"""What costs in proportion: lines of Python that run, so no clock decides."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np

from ostria import nn


def lines(layers: int) -> int:
    """How many lines run to make, build and list the weights of so many layers."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        model = nn.Sequential([nn.Dense(2) for _ in range(layers)])
        model(np.zeros((1, 2), np.float32))
        assert len(model.trainable_variables) == 2 * layers
    finally:
        sys.settrace(before)
    return count


def test_a_sequential_costs_in_proportion_to_its_layers() -> None:
    lines(4)  # what runs only once
    few, many = lines(32), lines(256)
    assert many / few < 8.2  # exactly quadratic: 64; names looked up among all: 8.8


def test_names_continue_after_the_list_was_changed() -> None:
    model = nn.Sequential([nn.Dense(2), nn.Dense(2), nn.Dense(2)])
    model.layers.pop()
    model.add(nn.Dense(3))
    model.add(nn.Dense(3))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2", "dense_3"]
    del model.layers[1:]
    model.add(nn.Dense(3, name="dense_2"))
    model.add(nn.Dense(3))
    model.add(nn.Dense(3))
    assert [layer.name for layer in model.layers] == ["dense", "dense_2", "dense_1", "dense_3"]
