# SPDX-License-Identifier: Apache-2.0
"""Attention layers with Keras's names, arguments and weight shapes, and positions for them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ostria import _functions as F
from ostria import _native, random
from ostria._attention import attend
from ostria._checks import check_positive_int, check_share
from ostria._errors import at_line
from ostria._keywords import checked_init
from ostria.nn import regularizers
from ostria.nn._common import given, own_generator, require_features, rules_of
from ostria.nn.module import Module

_ops = _native.ops


def _require_positive(layer: str, **counts: Any) -> None:
    for name, count in counts.items():
        check_positive_int(layer, name, count)


class _Projection(Module):
    """[…, inputs] times a kernel that has them in its first `split` axes, and a bias.

    The product is one of two matrices; the kernel's shape is Keras's. Its first values are those of
    the matrix: `fan_in` counts all inputs of an output.
    """

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        options: dict[str, Any],
    ):
        super().__init__(name="projection")
        self.inputs, self.outputs, self._options = inputs, outputs, options
        self.activity_regularizer = options["activity_regularizer"]
        self.bias: Any = None

    def build(self, *shapes: Any) -> None:
        options = self._options
        rows, cols = math.prod(self.inputs), math.prod(self.outputs)
        init = options["kernel"]["initializer"]

        def first(shape: Any, dtype: Any, path: str) -> Any:
            return F.reshape(F.astensor(init((rows, cols), dtype, path)), shape)

        self.kernel = self.add_weight(
            "kernel",
            (*self.inputs, *self.outputs),
            dtype=options["dtype"],
            **{**options["kernel"], "initializer": first},
        )
        if options["use_bias"]:
            self.bias = self.add_weight(
                "bias", self.outputs, dtype=options["dtype"], **options["bias"]
            )

    def call(self, x: Any) -> Any:
        rows, cols = math.prod(self.inputs), math.prod(self.outputs)
        leading = tuple(x.shape[: len(x.shape) - len(self.inputs)])
        if len(self.inputs) == 1:
            require_features(self, x, rows)
        y = F.matmul(F.reshape(x, (*leading, rows)), F.reshape(self.kernel, (rows, cols)))
        if self.bias is not None:
            y = y + F.reshape(self.bias, (cols,))
        return F.reshape(y, (*leading, *self.outputs))


class _Attention(Module):
    """What both attention layers share: projections, masks, and the attention between them."""

    _heads: int
    _kv_heads: int
    _key_dim: int
    _value_dim: int
    _output_dim: int | None

    def __init__(self, options: dict[str, Any]):
        super().__init__(name=options["name"])
        self.dropout = check_share(type(self).__name__, "dropout", options["dropout"])
        seed = options["seed"]
        self.seed = None if seed is None else random.check_seed(seed)
        self.generator: random.Generator | None = None
        self._options = {
            "kernel": rules_of(options, "kernel"),
            "bias": rules_of(options, "bias"),
            "activity_regularizer": regularizers.get(options["activity_regularizer"]),
            "use_bias": options["use_bias"],
            "dtype": options["dtype"],
        }
        self.query: Any = None
        self.key: Any = None
        self.value: Any = None
        self.attention_output: Any = None

    def build(self, *shapes: Any) -> None:
        if self.seed is not None and self.dropout:
            self.generator = own_generator(self, self.seed)

    def _make(self, query: Any, key: Any, value: Any) -> None:
        def heads(x: Any, count: int, dim: int) -> _Projection:
            return _Projection((x.shape[-1],), (count, dim), self._options)

        self.query = heads(query, self._heads, self._key_dim)
        self.key = heads(key, self._kv_heads, self._key_dim)
        self.value = heads(value, self._kv_heads, self._value_dim)
        out = self._output_dim or query.shape[-1]
        self.attention_output = _Projection((self._heads, self._value_dim), (out,), self._options)

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value = F.astensor(query), F.astensor(value)
        key = value if key is None else F.astensor(key)
        for name, x in (("query", query), ("value", value), ("key", key)):
            if len(x.shape) != 3:
                raise ValueError(
                    at_line(
                        f"{self.name}: {name} must be [batch, length, features], but its shape is "
                        f"{list(x.shape)}; attention is along one axis, so reshape the others into "
                        "the batch or the length"
                    )
                )
        if self.query is None:
            self._make(query, key, value)
        mask = self._mask(query, key, query_mask, value_mask, key_mask, attention_mask)
        q, k, v = self.query(query), self.key(key), self.value(value)
        y, lse = attend(
            q,
            k,
            v,
            mask=mask,
            lengths=None,
            causal=use_causal_mask,
            scale=None,
            dropout=self.dropout if training else 0.0,
            generator=self.generator,
            offset=None,
        )
        y = self.attention_output(y)
        if not return_attention_scores:
            return y
        return y, self._weights(q, k, lse, mask, use_causal_mask)

    def _mask(
        self, query: Any, key: Any, query_mask: Any, value_mask: Any, key_mask: Any, mask: Any
    ) -> Any:
        """All masks as one that fits [batch, heads, length_q, length_kv], or None."""
        combined = None
        for name, part, rank, shape in (
            ("query_mask", query_mask, 2, (query.shape[0], 1, query.shape[1], 1)),
            ("value_mask", value_mask, 2, (query.shape[0], 1, 1, key.shape[1])),
            ("key_mask", key_mask, 2, (query.shape[0], 1, 1, key.shape[1])),
            ("attention_mask", mask, 3, None),
        ):
            if part is None:
                continue
            part = F.astensor(part)
            if part.dtype.kind != "bool":
                part = _ops.not_equal(part, 0)
            if shape is None:
                sizes = tuple(part.shape)
                if len(sizes) == 4:
                    shape = sizes
                elif len(sizes) in (2, 3):
                    shape = (*([1] * (3 - len(sizes))), *sizes)
                    shape = (shape[0], 1, shape[1], shape[2])
            if shape is None or (name != "attention_mask" and len(part.shape) != rank):
                accepted = "[batch, length]" if rank == 2 else "[batch, length_q, length_kv]"
                raise ValueError(
                    at_line(
                        f"{self.name}: {name} must be {accepted}, but its shape is "
                        f"{list(part.shape)}; true or 1 means: attend"
                    )
                )
            if name != "attention_mask":
                whose, of = ("query", query) if name == "query_mask" else ("key", key)
                if tuple(part.shape) != tuple(of.shape[:2]):
                    raise ValueError(
                        at_line(
                            f"{self.name}: {name} has the shape {list(part.shape)}, but {whose} "
                            f"has [batch, length] = {list(of.shape[:2])}; give one truth value per "
                            "row and position"
                        )
                    )
            part = F.reshape(part, shape)
            combined = part if combined is None else _ops.logical_and(combined, part)
        if combined is not None and combined.shape[-1] != key.shape[1]:
            sizes = (*combined.shape[:-1], key.shape[1])
            combined = F.broadcast_to(combined, sizes)
        return combined

    def _weights(self, q: Any, k: Any, lse: Any, mask: Any, causal: bool) -> Any:
        """The softmax itself, before dropout: [batch, heads, length_q, length_kv]."""
        q = F.transpose(q, (0, 2, 1, 3))
        k = F.transpose(k, (0, 2, 1, 3))
        if self._heads != self._kv_heads:
            batch, heads, length, dim = k.shape
            group = self._heads // self._kv_heads
            k = F.broadcast_to(F.expand_dims(k, axis=2), (batch, heads, group, length, dim))
            k = F.reshape(k, (batch, self._heads, length, dim))
        scores = F.matmul(q, k, transpose_b=True) * (1 / math.sqrt(self._key_dim))
        weights = _ops.exp(scores - F.cast(F.expand_dims(lse, axis=-1), scores.dtype))
        zero = F.zeros((), dtype=scores.dtype)
        if mask is not None:
            weights = _ops.where(mask, weights, zero)
        if causal:
            rows = F.expand_dims(F.arange(q.shape[2]), axis=1)
            weights = _ops.where(_ops.greater_equal(rows, F.arange(k.shape[2])), weights, zero)
        return weights


@checked_init
class MultiHeadAttention(_Attention):
    """Attention of several heads between projections (Vaswani et al. 2017).

    Weights have Keras's shapes: query, key and value kernels [features, heads, dim], that of
    attention_output [heads, dim, features]. A query whose keys are all masked gives what a result
    of zeros gives, where Keras takes the mean of the values. `activity_regularizer` is of what each
    projection returns.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | None = None,
        attention_axes: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        seed: int | None = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        _require_positive("MultiHeadAttention", num_heads=num_heads, key_dim=key_dim)
        for what, size in (("value_dim", value_dim), ("output_shape", output_shape)):
            if size is not None:
                _require_positive("MultiHeadAttention", **{what: size})
        if attention_axes is not None:
            raise ValueError(
                at_line(
                    f"MultiHeadAttention: attention_axes {attention_axes!r} is not supported; "
                    "attention is along axis 1 of [batch, length, features], so reshape the other "
                    "axes into the batch"
                )
            )
        super().__init__(given(locals()))
        self.num_heads, self.key_dim, self.value_dim = num_heads, key_dim, value_dim or key_dim
        self._heads = self._kv_heads = num_heads
        self._key_dim, self._value_dim, self._output_dim = key_dim, self.value_dim, output_shape


@checked_init
class GroupedQueryAttention(_Attention):
    """Attention where groups of query heads share a head of keys and values (Ainslie et al. 2023).

    One head of keys and values for all is multi-query attention. Weights have Keras's shapes, as in
    `MultiHeadAttention`.
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        seed: int | None = None,
        *,
        dtype: Any = "float32",
        name: str | None = None,
    ):
        _require_positive(
            "GroupedQueryAttention",
            head_dim=head_dim,
            num_query_heads=num_query_heads,
            num_key_value_heads=num_key_value_heads,
        )
        if num_query_heads % num_key_value_heads:
            raise ValueError(
                at_line(
                    f"GroupedQueryAttention: {num_query_heads} query heads do not split into "
                    f"{num_key_value_heads} groups of one size; give a multiple of "
                    f"num_key_value_heads"
                )
            )
        super().__init__(given(locals()))
        self.head_dim = head_dim
        self.num_query_heads, self.num_key_value_heads = num_query_heads, num_key_value_heads
        self._heads, self._kv_heads = num_query_heads, num_key_value_heads
        self._key_dim = self._value_dim = head_dim
        self._output_dim = None


def sinusoidal_positions(length: int, dim: int, *, base: float = 10000.0) -> Any:
    """Position encodings [length, dim]: sines, then cosines, of positions / base^(2 i / dim).

    Raises:
        ValueError: `dim` is odd, or a size is not positive.

    Example:
        >>> from ostria import nn
        >>> nn.sinusoidal_positions(5, 4).shape
        (5, 4)
    """
    _require_positive("sinusoidal_positions", length=length, dim=dim)
    angles = _angles(length, dim, base, "sinusoidal_positions")
    return F.asarray(np.concatenate([np.sin(angles), np.cos(angles)], -1).astype(np.float32))


def rotary_embedding(x: Any, *, base: float = 10000.0) -> Any:
    """Queries or keys [batch, length, heads, dim] turned by their positions (Su et al. 2021).

    Feature i and feature i + dim / 2 are a pair, turned by position / base^(2 i / dim), so products
    of queries and keys depend on the distance of their positions.

    Raises:
        ValueError: `x` is not of rank 4, its length is not known, or dim is odd.

    Example:
        >>> import ostria as ost
        >>> ost.nn.rotary_embedding(ost.ones((1, 3, 2, 4))).shape
        (1, 3, 2, 4)
    """
    x = F.astensor(x)
    if len(x.shape) != 4 or not isinstance(x.shape[1], int):
        raise ValueError(
            at_line(
                "rotary_embedding: x must be [batch, length, heads, dim] of known length, but its "
                f"shape is {list(x.shape)}"
            )
        )
    angles = _angles(x.shape[1], x.shape[3], base, "rotary_embedding")[:, None, :]
    half = x.shape[3] // 2
    a, b = x[..., :half], x[..., half:]
    sin, cos = (F.cast(F.asarray(f(angles)), x.dtype) for f in (np.sin, np.cos))
    return F.concat([a * cos - b * sin, b * cos + a * sin], axis=-1)


def _angles(length: int, dim: int, base: float, what: str) -> np.ndarray:
    if dim % 2:
        raise ValueError(
            at_line(f"{what}: dim {dim} is odd, but its features are pairs; give an even number")
        )
    rates = base ** (-2.0 * np.arange(dim // 2) / dim)
    return np.arange(length)[:, None] * rates
