# SPDX-License-Identifier: Apache-2.0
"""The training steps that are planned for, and timed on, a GPU: how each is built and on what.

Each is one compiled function of whole batches. `build` makes it on the current device, so that on
"null" it costs no memory: that is how plans for a GPU are looked at where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.models import mlp, resnet, transformer

Batch = list[tuple[tuple[int, ...], str]]  # shape and dtype of every input


@dataclass(frozen=True)
class Workload:
    """A name, the batch that it is planned for, and what makes the step."""

    name: str
    batch: int
    make: Callable[[int], tuple[Any, Batch]]  # (compiled step, its inputs)
    precision: str


def _step(model: Any, loss_of: Callable[..., Any], optimizer: Any, precision: str) -> Any:
    import ostria as ost

    def step(*batch: Any) -> Any:
        loss = loss_of(*batch)
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    return ost.compile(step, precision=precision, device=None)


def _cross_entropy(logits: Any, y: Any) -> Any:
    import ostria as ost

    return ost.mean(ost.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))


def _resnet50(batch: int) -> tuple[Any, Batch]:
    import ostria as ost

    net = resnet.model(resnet.IMAGENET_50)
    optimizer = ost.optim.LossScaleOptimizer(ost.optim.SGD(0.1, momentum=0.9))
    step = _step(
        net,
        lambda x, y: _cross_entropy(net(x, training=True), y),
        optimizer,
        "mixed_float16",
    )
    return step, [((batch, 224, 224, 3), "float32"), ((batch,), "int32")]


def _text(shape: transformer.Shape) -> Callable[[int], tuple[Any, Batch]]:
    def make(batch: int) -> tuple[Any, Batch]:
        import ostria as ost

        net = transformer.model(shape)
        optimizer = ost.optim.AdamW(6e-4, weight_decay=0.1)
        step = _step(
            net,
            lambda x, y: _cross_entropy(net(x, training=True), y),
            optimizer,
            "mixed_bfloat16",
        )
        return step, [((batch, shape.time), "int32")] * 2

    return make


def _lstm(batch: int) -> tuple[Any, Batch]:
    """Two layers of 650, 35 steps, a vocabulary of 10,000 (Zaremba et al. 2014, medium)."""
    import ostria as ost
    from ostria import nn

    time, width, vocabulary = 35, 650, 10_000
    net = nn.Sequential(
        [
            nn.Embedding(vocabulary, width),
            nn.LSTM(width, return_sequences=True),
            nn.LSTM(width, return_sequences=True),
            nn.Dense(vocabulary),
        ]
    )
    step = _step(
        net,
        lambda x, y: _cross_entropy(net(x, training=True), y),
        ost.optim.SGD(1.0),
        "float32",
    )
    return step, [((batch, time), "int32")] * 2


def _mlp(batch: int) -> tuple[Any, Batch]:
    import ostria as ost

    net = mlp.model()
    step = _step(
        net,
        lambda x, y: _cross_entropy(net(x, training=True), y),
        ost.optim.Adam(1e-3),
        "float32",
    )
    return step, [((batch, 784), "float32"), ((batch,), "int32")]


WORKLOADS = [
    Workload("resnet50", 64, _resnet50, "mixed_float16"),
    Workload("gpt2_124m", 16, _text(transformer.GPT2_124M), "mixed_bfloat16"),
    Workload("bert_large", 32, _text(transformer.BERT_LARGE), "mixed_bfloat16"),
    Workload("lstm", 20, _lstm, "float32"),
    Workload("mlp", 128, _mlp, "float32"),
]
