# SPDX-License-Identifier: Apache-2.0
"""A residual network as the bytes of an ONNX model, with its batch normalisations as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import resnet


class _Graph:
    """Values are names; a `Layers` of resnet.forward."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op: str, *inputs: Any, **attributes: Any) -> _Value:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [str(i) for i in inputs], [name], **attributes))
        return _Value(self, name)

    def unit(self, x: Any, unit: Any, stride: int, border: int) -> _Value:
        (kernel, gamma, beta), (mean, var) = unit
        weight = self.constant(kernel.transpose(3, 2, 0, 1))
        x = self.add("Conv", x, weight, strides=[stride] * 2, pads=[border] * 4)
        norm = [self.constant(a) for a in (gamma, beta, mean, var)]
        return self.add("BatchNormalization", x, *norm, epsilon=resnet.EPSILON)

    def relu(self, x: Any) -> _Value:
        return self.add("Relu", x)

    def max_pool(self, x: Any) -> _Value:
        return self.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def mean(self, x: Any) -> _Value:
        return self.add("Flatten", self.add("GlobalAveragePool", x))

    def dense(self, x: Any, head: Any) -> _Value:
        return self.add("Gemm", x, *(self.constant(a) for a in head))


class _Value:
    def __init__(self, graph: _Graph, name: str):
        self._graph, self._name = graph, name

    def __str__(self) -> str:
        return self._name

    def __add__(self, other: Any) -> _Value:
        return self._graph.add("Add", self, other)


def graph(net: resnet.Net, weights: resnet.Weights) -> bytes:
    """A serialised model with the input `x`, NCHW."""
    made = _Graph()
    units = zip(weights.units, weights.stats, strict=True)
    result = resnet.forward(net, made, units, weights.head, _Value(made, "x"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])
    y = helper.make_tensor_value_info(str(result), TensorProto.FLOAT, ["n", net.classes])
    body = helper.make_graph(made.nodes, "resnet", [x], [y], made.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialised: bytes = model.SerializeToString()
    return serialised
