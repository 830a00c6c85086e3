# SPDX-License-Identifier: Apache-2.0
"""The training steps that are planned for, and timed on, a GPU: how each is built and on what.

Each is one compiled function of whole batches. `make` builds it on the current device, so that on
"null" it costs no memory: that is how plans for a GPU are looked at where there is none. `job`
trains the same step, or a peer's, from weights and batches that everybody shares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.models import lstm, mlp, resnet, resnet_train, rules, transformer, wide_deep

Batch = list[tuple[tuple[int, ...], str]]  # shape and dtype of every input
POOL = 4  # batches that are cycled through
CHECK_STEPS = 8  # after which losses are compared
SGD = rules.Momentum(0.05, 0.9)
ADAMW = rules.AdamW(6e-4, 0.1)
PLAIN = rules.Momentum(1.0)
BLOCK = resnet.Net((1, 1), False, True, [(64, 1), (64, 1)], 1000)  # bottlenecks at 56 x 56


@dataclass(frozen=True)
class Workload:
    """A name, the batch that it is planned for, and what makes the step."""

    name: str
    batch: int
    make: Callable[[int], tuple[Any, Batch]]  # (compiled step, its inputs)
    precision: str
    job: Callable[[str, str, int, bool], Any]  # of (framework, mode, batch, whether tiny)


def _step(model: Any, rule: Any, precision: str, loss_of: Callable[..., Any] | None = None) -> Any:
    from benchmarks.models import train_ostria

    loss_of = loss_of or train_ostria.classifier(model)
    return train_ostria.make_step(model, loss_of, rule, None, precision)


def _images(net: resnet.Net, size: int, batch: int) -> tuple[Any, Batch]:
    step = _step(resnet.model(net), SGD, "mixed_float16")
    return step, [((batch, size, size, 3), "float32"), ((batch,), "int32")]


def _images_job(
    net: resnet.Net, size: int, framework: str, mode: str, batch: int, tiny: bool
) -> Any:
    if tiny:
        net, size = resnet.TINY, 16
    if framework == "torch":
        mode += "_channels_last"
    return resnet_train.make(net, size, SGD, framework, mode, batch, POOL, CHECK_STEPS)


def _text(shape: transformer.Shape, batch: int) -> tuple[Any, Batch]:
    step = _step(transformer.model(shape), ADAMW, "mixed_bfloat16")
    return step, [((batch, shape.time), "int32")] * 2


def _text_job(shape: transformer.Shape, framework: str, mode: str, batch: int, tiny: bool) -> Any:
    if tiny:
        shape = transformer.tiny(shape)
    given = transformer.weights(shape)
    batches = transformer.examples(shape, batch, POOL)
    return transformer.make(shape, given, batches, ADAMW, framework, mode, CHECK_STEPS)


def _lstm(batch: int) -> tuple[Any, Batch]:
    step = _step(lstm.model(lstm.MEDIUM), PLAIN, "float32")
    return step, [((batch, lstm.MEDIUM.time), "int32")] * 2


def _lstm_job(framework: str, mode: str, batch: int, tiny: bool) -> Any:
    sizes = lstm.Sizes(8, 50, 5) if tiny else lstm.MEDIUM
    return lstm.make(framework, mode, batch, POOL, sizes, PLAIN, CHECK_STEPS)


def _mlp(batch: int) -> tuple[Any, Batch]:
    return _step(mlp.model(), rules.ADAM, "float32"), [
        ((batch, 784), "float32"),
        ((batch,), "int32"),
    ]


def _mlp_job(framework: str, mode: str, batch: int, tiny: bool) -> Any:
    return mlp.make(framework, mode, batch, POOL)


def _wide_deep(batch: int) -> tuple[Any, Batch]:
    net = wide_deep.model(True, wide_deep.LARGE)
    step = _step(net, wide_deep.RULE, "float32", wide_deep.clicks_loss(net))
    tables, numeric = wide_deep.TABLES, wide_deep.NUMERIC
    inputs = [((batch, tables), "int32"), ((batch, numeric), "float32"), ((batch,), "float32")]
    return step, inputs


def _wide_deep_job(framework: str, mode: str, batch: int, tiny: bool) -> Any:
    sizes = wide_deep.Sizes(100, (8, 4)) if tiny else wide_deep.LARGE
    return wide_deep.make(framework, mode, batch, POOL, sizes)


WORKLOADS = [
    Workload(
        "resnet50",
        64,
        partial(_images, resnet.IMAGENET_50, 224),
        "mixed_float16",
        partial(_images_job, resnet.IMAGENET_50, 224),
    ),
    Workload(
        "gpt2_124m",
        16,
        partial(_text, transformer.GPT2_124M),
        "mixed_bfloat16",
        partial(_text_job, transformer.GPT2_124M),
    ),
    Workload(
        "bert_large",
        32,
        partial(_text, transformer.BERT_LARGE),
        "mixed_bfloat16",
        partial(_text_job, transformer.BERT_LARGE),
    ),
    Workload("lstm", 20, _lstm, "float32", _lstm_job),
    Workload("mlp", 128, _mlp, "float32", _mlp_job),
]
# Timed, but in no table of plans.
OTHERS = [
    Workload("wide_deep", 2048, _wide_deep, "float32", _wide_deep_job),
    Workload(
        "bottleneck",
        128,
        partial(_images, BLOCK, 56),
        "mixed_float16",
        partial(_images_job, BLOCK, 56),
    ),
]


def find(name: str) -> Workload:
    """The workload of this name."""
    return next(w for w in [*WORKLOADS, *OTHERS] if w.name == name)
