# SPDX-License-Identifier: Apache-2.0
"""TensorBoard reads our event files, and we read its."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing import event_accumulator as legacy
from tensorboard.backend.event_processing import plugin_event_accumulator as accumulator
from tensorboard.summary import Writer
from tensorboard.util import tensor_util

from ostria import io


def test_tensorboard_reads_our_events(tmp_path: Path) -> None:
    values = np.arange(100.0)
    with io.EventWriter(tmp_path) as events:
        for step in range(3):
            events.scalar("loss", step / 4, step)
        events.histogram("weights", values, 2, buckets=10)
    plain = legacy.EventAccumulator(str(tmp_path))  # what Estimator's tools read
    plain.Reload()
    assert [(e.step, e.value) for e in plain.Scalars("loss")] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    reader = accumulator.EventAccumulator(str(tmp_path))  # what the web page reads
    reader.Reload()
    loss = reader.Tensors("loss")
    assert [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in loss] == [
        (0, 0.0),
        (1, 0.25),
        (2, 0.5),
    ]
    assert reader.SummaryMetadata("loss").plugin_data.plugin_name == "scalars"
    (histogram,) = reader.Tensors("weights")
    rows = tensor_util.make_ndarray(histogram.tensor_proto)
    counts, edges = np.histogram(values, 10)
    np.testing.assert_allclose(rows[:, 0], edges[:-1])
    np.testing.assert_allclose(rows[:, 1], edges[1:])
    np.testing.assert_array_equal(rows[:, 2], counts)
    assert reader.SummaryMetadata("weights").plugin_data.plugin_name == "histograms"


def test_we_read_tensorboards_events(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path))
    writer.add_scalar("loss", 0.5, 3)
    writer.add_scalar("loss", 0.25, 4)
    writer.close()
    assert io.read_events(tmp_path) == {3: {"loss": 0.5}, 4: {"loss": 0.25}}
