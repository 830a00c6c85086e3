# SPDX-License-Identifier: Apache-2.0
"""Inference by kept, folded weights gives what the unfolded layers give, whoever writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ostria as ost
from ostria import nn


class Block(nn.Module):
    """A residual block with a projection: what the passes fold and fuse."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(32, 3, padding="same", use_bias=False)
        self.norm = nn.BatchNormalization()
        self.short = nn.Conv2D(32, 1)
        self.short_norm = nn.BatchNormalization()

    def call(self, x, training=False):
        y = self.norm(self.conv(x), training=training)
        return ost.relu(y + self.short_norm(self.short(x), training=training))


@pytest.fixture
def block() -> Block:
    block = Block()
    block(images())
    rng = np.random.default_rng(3)
    for v in block.variables:
        v.assign(ost.asarray(rng.uniform(0.5, 1.5, v.shape).astype(np.float32)))
    return block


def images() -> ost.Tensor:
    return ost.asarray(np.random.default_rng(1).standard_normal((2, 8, 8, 16), dtype=np.float32))


def agree(compiled, block: Block) -> np.ndarray:
    """Eager calls fold nothing, since there the weights are inputs."""
    got = compiled(images()).numpy()
    np.testing.assert_allclose(got, block(images()).numpy(), rtol=2e-5, atol=2e-4)
    return got


def changed(value: np.ndarray, before: np.ndarray) -> bool:
    return not np.allclose(value, before, rtol=1e-4, atol=1e-3)


def test_every_writer_is_seen(block: Block, tmp_path: Path) -> None:
    infer, other = ost.compile(lambda x: block(x)), ost.compile(lambda x: block(x))
    first = agree(infer, block)
    agree(other, block)
    ost.io.save_tensors(tmp_path / "w", {k: v.numpy() for k, v in block.state_dict().items()})

    block.norm.moving_variance.assign(block.norm.moving_variance.numpy() * 4)
    second = agree(infer, block)
    assert changed(second, first)

    optimizer = ost.optim.SGD(0.05)

    weights = block.trainable_variables
    gradients = [np.ones(w.shape, np.float32) for w in weights]
    train = ost.compile(lambda *gs: optimizer.apply(gs, weights))
    for _ in range(2):
        assert train(*gradients).item()
        third = agree(infer, block)
        assert changed(third, second)
        second = third
    agree(other, block)

    block.load_state_dict(ost.io.load_tensors(tmp_path / "w"))
    np.testing.assert_array_equal(agree(infer, block), first)
    np.testing.assert_array_equal(agree(other, block), first)


def test_the_plan_holds_only_convolutions(block: Block) -> None:
    infer = ost.compile(lambda x: block(x))
    x = images()
    infer(x)
    costs = infer.explain(1).split("cost per node:")[1].split("graph:")[0]
    ops = [line.split("%  ")[1].split()[0] for line in costs.strip().splitlines()]
    assert ops == ["conv_fused", "conv_fused"]
    memory = infer.memory_plan(x)
    weights = block.conv.kernel.numpy().nbytes + block.short.kernel.numpy().nbytes
    assert weights <= memory["kept_bytes"] <= 1.5 * weights + 4096
    parts = ("activation", "state", "input", "output", "constant", "kept")
    assert memory["peak_bytes"] == sum(memory[f"{part}_bytes"] for part in parts)


@pytest.mark.parametrize("kind", [nn.SimpleRNN, nn.GRU, nn.LSTM])
def test_recurrent_weights_are_packed_once_and_again_when_they_are_written(kind) -> None:
    layer = kind(20, return_sequences=True)
    x = ost.asarray(np.random.default_rng(2).standard_normal((3, 5, 8), dtype=np.float32))
    layer(x)
    infer = ost.compile(lambda x: layer(x))
    for scale in (1.0, -0.5):
        layer.recurrent_kernel.assign(layer.recurrent_kernel * scale)
        want = ost.compile(lambda x: layer(x))(x).numpy()
        np.testing.assert_array_equal(infer(x).numpy(), want)
        np.testing.assert_allclose(layer(x).numpy(), want, rtol=1e-6, atol=1e-6)
    assert "(kept): pack " in infer.trace(x).plan_text({})
