# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 on 224x224 images, inference with frozen weights: images per second.

torch compile   weights as constants (`freezing`), so that Inductor folds the normalisation
onnxruntime     the same graph; its optimizer folds the normalisation
jax, tensorflow normalisation folded into the kernels by hand; XLA does not do it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.models import data, job, resnet
from benchmarks.suites import Suite

NET = resnet.IMAGENET_50
POOL = 2
CHECK_STEPS = 2
MODES = {
    "ostria": ["compile"],
    "torch": ["eager_channels_last", "compile", "compile_channels_last"],
    "jax": ["jit"],
    "tensorflow": ["function", "xla"],
    "onnxruntime": ["session"],
}


def make(framework: str, mode: str, batch: int, pool: int = POOL) -> Any:
    """A worker's job: the mean size of the logits stands for the loss."""
    weights = resnet.weights(NET)
    rng = np.random.default_rng(data.SEED + 1)
    images = rng.standard_normal((pool, batch, 224, 224, 3), dtype=np.float32)
    makers: dict[str, Callable[..., Any]] = {
        "torch": _torch,
        "jax": _jax,
        "tensorflow": _tensorflow,
        "onnxruntime": _onnxruntime,
        "ostria": _ostria,
    }
    return makers[framework](weights, images, mode)


def _job(step: Any, images: Any, read: Callable[[Any], float] = job.sample) -> job.StepJob:
    return job.StepJob(step, [(image,) for image in images], CHECK_STEPS, read)


def _torch(weights: resnet.Weights, images: np.ndarray, mode: str) -> Any:
    import torch

    from benchmarks.models import train_torch

    train_torch.setup()
    last = mode.endswith("_channels_last")
    layout = torch.channels_last if last else torch.contiguous_format
    torch.set_grad_enabled(False)
    module = resnet.torch_module(NET, weights, layout).eval()
    if mode.startswith("compile"):
        torch._inductor.config.freezing = True
        module = torch.compile(module, fullgraph=True)
    nchw = torch.from_numpy(images).permute(0, 1, 4, 2, 3).unbind()
    return _job(module, [image.contiguous(memory_format=layout) for image in nchw])


def _jax(weights: resnet.Weights, images: np.ndarray, mode: str) -> Any:
    import jax
    import jax.numpy as jnp

    units, head = jax.tree.map(jnp.array, (weights.folded(), weights.head))

    def step(units: Any, head: Any, x: Any) -> Any:
        return resnet.forward(NET, resnet.JaxLayers(), units, head, x)

    compiled = jax.jit(step)
    return _job(lambda x: compiled(units, head, x), [jnp.array(image) for image in images])


def _tensorflow(weights: resnet.Weights, images: np.ndarray, mode: str) -> Any:
    import tensorflow as tf

    from benchmarks.models import train_tensorflow

    train_tensorflow.setup()
    units = [[tf.constant(a) for a in unit] for unit in weights.folded()]
    head = [tf.constant(a) for a in weights.head]

    def step(x: Any) -> Any:
        return resnet.forward(NET, resnet.TensorFlowLayers(), units, head, x)

    return _job(train_tensorflow.compiled(step, mode), [tf.constant(image) for image in images])


def _onnxruntime(weights: resnet.Weights, images: np.ndarray, mode: str) -> Any:
    import onnxruntime

    from benchmarks.models import resnet_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.THREADS
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        resnet_onnx.graph(NET, weights), options, providers=["CPUExecutionProvider"]
    )
    nchw = [np.ascontiguousarray(image.transpose(0, 3, 1, 2)) for image in images]
    return _job(lambda x: session.run(None, {"x": x})[0], nchw)


def _ostria(weights: resnet.Weights, images: np.ndarray, mode: str) -> Any:
    import ostria as ost
    from benchmarks.models import train_ostria

    model = resnet.model(NET)
    given = [ost.asarray(image) for image in images]
    model(given[0])  # makes the weights
    train_ostria.assign(model, resnet.ostria_arrays(weights))
    moving = [a for pair in weights.stats for a in pair]
    for variable, value in zip(model.non_trainable_variables, moving, strict=True):
        variable.assign(ost.asarray(value))
    return _job(ost.compile(lambda x: model(x)), given, lambda out: job.sample(out.numpy()))


SUITES = [Suite("resnet50", "images/s", MODES, make, [1, 8], images=True)]
