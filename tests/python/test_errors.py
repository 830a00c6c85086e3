# SPDX-License-Identifier: Apache-2.0
"""Mistakes with ops: what the user reads, word for word.

Each message has the op, what was given, what is accepted, what to try, and the user's own line,
which is the one marked `# <-`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check, ints, x

import ostria as ost
from ostria import nn

mistake = Mistakes()


# --- Shapes ---------------------------------------------------------------------------------------


@mistake(
    ValueError,
    "matmul: cannot multiply shapes [8, 10] and [8, 10]: 10 columns on the left, 8 rows "
    "on the right; they must be equal; transpose or reshape one of them {line}",
)
def matmul_of_shapes_that_do_not_fit() -> None:
    ost.matmul(x(), x())  # <-


@mistake(
    ValueError,
    "matmul: needs tensors of rank 1 or more; multiply a scalar with * {line}",
)
def matmul_of_a_scalar() -> None:
    ost.matmul(x(), 2.0)  # <-


@mistake(
    ValueError,
    "add: shapes [8, 10] and [3] do not broadcast: at axis -1 one has 10 and the other "
    "3; from the right, sizes must be equal or one of them 1; expand or reshape one of "
    "them {line}",
)
def add_of_shapes_that_do_not_broadcast() -> None:
    x() + np.ones(3, np.float32)  # <-


@mistake(
    ValueError,
    "reshape: a tensor of shape [8, 10] (80 elements) cannot become [7, 3] (21 "
    "elements); the numbers of elements must be equal, and -1 in one place is worked out "
    "from the others {line}",
)
def reshape_to_another_count() -> None:
    ost.reshape(x(), (7, 3))  # <-


@mistake(
    ValueError,
    "reshape: cannot make shape [7, -1] of the 80 elements of a tensor of shape [8, 10]; "
    "80 is not a multiple of 7 {line}",
)
def reshape_that_does_not_divide() -> None:
    ost.reshape(x(), (7, -1))  # <-


@mistake(
    ValueError,
    "reshape: shape [-1, -1] has 2 sizes of -1; at most one is allowed {line}",
)
def reshape_with_two_unknown_sizes() -> None:
    ost.reshape(x(), (-1, -1))  # <-


@mistake(
    ValueError,
    "reshape: -1 in shape [0, -1] is not determined beside a size of 0; give the size {line}",
)
def reshape_beside_a_size_of_zero() -> None:
    ost.reshape(ost.zeros((0, 3)), (0, -1))  # <-


@mistake(
    ValueError,
    "concat: 'xs1' has shape [7, 9] and 'xs0' has shape [8, 10]; joined along axis 0, "
    "all other sizes must be equal {line}",
)
def concat_of_shapes_that_do_not_fit() -> None:
    ost.concat([x(), ost.zeros((7, 9))])  # <-


@mistake(
    ValueError,
    "broadcast_to: a tensor of shape [8, 10] cannot be broadcast to [8, 11]; from the "
    "right, each of its sizes must be 1 or equal to the new one {line}",
)
def broadcast_to_a_smaller_shape() -> None:
    ost.broadcast_to(x(), (8, 11))  # <-


@mistake(
    ValueError,
    "split: 3 equal parts of axis 0 of size 8 are not possible; give the size of each "
    "part as a list {line}",
)
def split_into_unequal_parts() -> None:
    ost.split(x(), 3)  # <-


@mistake(
    ValueError,
    "squeeze: axis 0 of shape [8, 10] has size 8; only axes of size 1 can be removed; "
    "use reshape, or reduce the axis {line}",
)
def squeeze_of_an_axis_that_is_not_one() -> None:
    ost.squeeze(x(), axis=0)  # <-


@mistake(
    ValueError,
    "full: 'shape' holds -1; sizes are 0 or more {line}",
)
def negative_size() -> None:
    ost.zeros((-1, 2))  # <-


@mistake(
    TypeError,
    "cannot make a tensor of [[1, 2], [3]] (list); nested lists must hold numbers only, "
    "and as many in each row {line}",
)
def ragged_lists() -> None:
    ost.asarray([[1, 2], [3]])  # <-


# --- Dtypes ---------------------------------------------------------------------------------------


@mistake(
    TypeError,
    "add: Tensor conversion requested dtype float32 for Tensor with dtype int32; these "
    "are of different kinds and are not converted silently; use ost.cast(x, ost.float32) "
    "on one of them {line}",
)
def float_plus_int() -> None:
    x() + ints()  # <-


@mistake(
    TypeError,
    "add: Tensor conversion requested dtype int32 for Tensor with dtype float32; these "
    "are of different kinds and are not converted silently; use ost.cast(x, ost.int32) "
    "on one of them {line}",
)
def int_plus_python_float() -> None:
    ints() + 1.5  # <-


@mistake(
    TypeError,
    "log: needs a tensor of floating-point dtype, but 'x' is int32[3]; cast it first, as "
    'in cast(x, "float32") {line}',
)
def logarithm_of_ints() -> None:
    ost.log(ints())  # <-


@mistake(
    TypeError,
    "where: needs a tensor of bool dtype, but 'condition' is float32[8, 10]; cast it "
    'first, as in cast(condition, "bool") {line}',
)
def where_without_a_bool() -> None:
    ost.where(x(), x(), x())  # <-


@mistake(
    TypeError,
    "gather: indices must be int32 or int64, but 'indices' is float32[8, 10]; cast them "
    'first, as in cast(indices, "int64") {line}',
)
def gather_by_floats() -> None:
    ost.gather(x(), x())  # <-


@mistake(
    TypeError,
    "add: the number 1000 does not fit int8; cast the tensor to a wider dtype first {line}",
)
def number_that_does_not_fit() -> None:
    ost.asarray(np.ones(2, np.int8)) + 1000  # <-


@mistake(
    TypeError,
    "'float31' names no dtype; accepted are bool, int8, int16, int32, int64, uint8, "
    "uint16, uint32, uint64, float16, bfloat16, float32, float64 {line}",
)
def unknown_dtype() -> None:
    ost.cast(x(), "float31")  # <-


@mistake(
    TypeError,
    "a NumPy array of dtype complex64 has no tensor dtype; accepted are bool, (u)int8 to "
    "(u)int64, float16, bfloat16, float32 and float64; use array.astype(...) {line}",
)
def complex_array() -> None:
    ost.asarray(np.ones(2, np.complex64))  # <-


@mistake(
    TypeError,
    "cannot make a tensor of 'hello' (str); give a Tensor, a Variable, a number, a NumPy "
    "array or nested lists of numbers {line}",
)
def text() -> None:
    ost.asarray("hello")  # <-


@mistake(
    TypeError,
    "random_uniform: draws floating-point numbers, not int32; draw float32 and cast to "
    "int32 {line}",
)
def uniform_of_ints() -> None:
    ost.random.uniform((2,), dtype="int32")  # <-


# --- Axes, attributes, keywords, devices ----------------------------------------------------------


@mistake(
    ValueError,
    "softmax: axis 5 is out of range for a tensor of rank 2 (shape [8, 10]); valid axes "
    "are -2..1 {line}",
)
def axis_out_of_range() -> None:
    ost.softmax(x(), axis=5)  # <-


@mistake(
    ValueError,
    "sum: axis 0 is given twice in (0, 0) for a tensor of rank 2; name each axis once {line}",
)
def axis_given_twice() -> None:
    ost.sum(x(), axis=(0, 0))  # <-


@mistake(
    ValueError,
    "split: axis 7 is out of range for a tensor of rank 2 (shape [8, 10]); valid axes "
    "are -2..1 {line}",
)
def split_axis_out_of_range() -> None:
    ost.split(x(), 2, axis=7)  # <-


@mistake(
    TypeError,
    "softmax: 'axis' must be int, but 'last' was given {line}",
)
def attribute_of_another_type() -> None:
    ost.softmax(x(), axis="last")  # <-


@mistake(
    TypeError,
    "one_hot: attribute 'depth' (int) is missing {line}",
)
def attribute_missing() -> None:
    ost.one_hot(ints())  # <-


@mistake(
    TypeError,
    "sum: unknown keyword 'keepdim'; did you mean 'keepdims'? Accepted: x, axis, keepdims, dtype. "
    "{line}",
)
def keyword_of_an_op() -> None:
    ost.sum(x(), keepdim=True)  # <-


@mistake(
    TypeError,
    "Dense: unknown keyword 'activaton'; did you mean 'activation'? Accepted: units, "
    "activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, "
    "bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint, dtype, name. "
    "{line}",
)
def keyword_of_a_layer() -> None:
    nn.Dense(3, activaton="relu")  # <-


@mistake(
    TypeError,
    "compile: unknown keyword 'dynamic'; did you mean 'dynamic_batch'? Accepted: fn, "
    "dynamic_batch, device, memory_limit, eager, name, precision, accumulate, memory_budget. "
    "{line}",
)
def keyword_of_compile() -> None:
    ost.compile(lambda x: x, dynamic=True)  # <-


@mistake(
    TypeError,
    "Adam: unknown keyword 'learning_rte'; did you mean 'learning_rate'? Accepted: "
    "learning_rate, beta_1, beta_2, epsilon, lazy, weight_decay, clipnorm, clipvalue, "
    "global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, learning_rate_multipliers, "
    "name. {line}",
)
def keyword_of_an_optimizer() -> None:
    ost.optim.Adam(learning_rte=1.0)  # <-


@mistake(
    TypeError,
    "RunConfig: unknown keyword 'save_checkpoint_steps'; did you mean "
    "'save_checkpoints_steps'? Accepted: model_dir, tf_random_seed, save_summary_steps, "
    "save_checkpoints_steps, save_checkpoints_secs, session_config, keep_checkpoint_max, "
    "keep_checkpoint_every_n_hours, log_step_count_steps, train_distribute, device_fn, "
    "protocol, eval_distribute, experimental_distribute, "
    "experimental_max_worker_delay_secs, session_creation_timeout_secs, "
    "checkpoint_save_graph_def, device. {line}",
)
def keyword_of_run_config() -> None:
    ost.estimator.RunConfig(save_checkpoint_steps=3)  # <-


@mistake(
    TypeError,
    "softmax: 'axis' was given twice, by position and by name {line}",
)
def argument_given_twice() -> None:
    ost.softmax(x(), 0, axis=1)  # <-


@mistake(
    TypeError,
    "relu: takes at most 1 arguments (x), 3 were given {line}",
)
def too_many_arguments() -> None:
    ost.relu(x(), 1, 2)  # <-


@mistake(
    ValueError,
    "device: 'tpu:0' names no device; accepted are 'cpu', 'cpu:N', 'cuda:N' and 'null' {line}",
)
def device_that_is_not_there() -> None:
    ost.asarray([1.0], device="tpu:0")  # <-


@mistake(
    ValueError,
    "device: 'gpu' names no device; accepted are 'cpu', 'cpu:N', 'cuda:N' and 'null' {line}",
)
def default_device_of_another_name() -> None:
    with ost.device("gpu"):  # <-
        pass


@mistake(
    TypeError,
    "device: 0 is no name of a device; give one such as 'cpu' or 'cuda:1' {line}",
)
def device_by_number() -> None:
    ost.estimator.RunConfig(device=0)  # <-


@mistake(
    ValueError,
    "device: 'gpu' names no device; accepted are 'cpu', 'cpu:N', 'cuda:N' and 'null' {line}",
)
def device_of_another_name_in_a_config() -> None:
    ost.estimator.RunConfig(device="gpu")  # <-


@mistake(
    TypeError,
    "device: 7 is no name of a device; give one such as 'cpu' or 'cuda:1' {line}",
)
def compile_for_a_number() -> None:
    ost.compile(lambda x: x, device=7)  # <-


@mistake(
    TypeError,
    "device: None is no name of a device; give one such as 'cpu' or 'cuda:1' {line}",
)
def move_to_no_device() -> None:
    ost.to_device(x(), None)  # <-


@mistake(
    ValueError,
    "device: 'tpu' names no device; accepted are 'cpu', 'cpu:N', 'cuda:N' and 'null' {line}",
)
def device_that_is_none() -> None:
    ost.compile(lambda x: x, device="tpu")(x())  # <-


@mistake(
    TypeError,
    "compile: 3 is no function; give one, or a module {line}",
)
def compile_of_no_function() -> None:
    ost.compile(3)  # <-


@mistake(
    ValueError,
    "seed: -1 is not accepted; give an integer from 0 to 2**63 - 1 {line}",
)
def seed_out_of_range() -> None:
    ost.random.seed(-1)  # <-


@mistake(
    ValueError,
    "arange: step 0 never arrives; give a positive or negative step {line}",
)
def range_without_a_step() -> None:
    ost.arange(0, 1, 0)  # <-


@mistake(
    TypeError,
    "clip: min 'a' is not accepted; give a number, or None for no limit {line}",
)
def clip_by_text() -> None:
    ost.clip(x(), "a")  # <-


# --- Empty data, indices --------------------------------------------------------------------------


@mistake(
    ValueError,
    "argmax: no elements to choose from in float32[0]; give at least one along the axis {line}",
)
def argmax_of_nothing() -> None:
    ost.argmax(ost.zeros((0,)))  # <-


@mistake(
    ValueError,
    "max: no elements to reduce in int32[0], and int32 has no infinity to return; give "
    "at least one element, or cast to a float {line}",
)
def largest_int_of_nothing() -> None:
    ost.max(ost.asarray(np.zeros(0, np.int32)))  # <-


@mistake(
    ValueError,
    "concat: needs at least one tensor, but none was given {line}",
)
def concat_of_nothing() -> None:
    ost.concat([])  # <-


@mistake(
    ValueError,
    "from_tensor_slices: the array has shape (0, 3), which is no row; a dataset needs at "
    "least one example: look at what filtered or loaded the data {line}",
)
def dataset_of_nothing() -> None:
    ost.data.Dataset.from_tensor_slices(np.zeros((0, 3)))  # <-


@mistake(
    IndexError,
    "indexing: index 9 is out of range for axis 0 of size 8; valid are -8..7 {line}",
)
def index_out_of_range() -> None:
    x()[9]  # <-


@mistake(
    IndexError,
    "indexing: 3 indices for a tensor of rank 2 (shape [8, 10]) {line}",
)
def too_many_indices() -> None:
    x()[0, 0, 0]  # <-


@mistake(
    TypeError,
    "indexing: 1.5 cannot index a tensor; accepted are ints, slices, '...', None, and "
    "one integer or boolean array {line}",
)
def index_of_another_type() -> None:
    x()[1.5]  # <-


@mistake(
    ValueError,
    "slice: the step along axis 0 is 0; it must be positive or negative {line}",
)
def slice_without_a_step() -> None:
    x()[::0]  # <-


@mistake(
    IndexError,
    "gather: index 99 (number 1 of 2) is out of range for an axis of size 8; valid "
    "indices are -8..7 {line}",
)
def gather_out_of_range() -> None:
    ost.gather(x(), np.array([0, 99]))  # <-


@mistake(
    IndexError,
    "gather: index 99 (number 1 of 2) is out of range for an axis of size 8; valid "
    "indices are -8..7 {line}",
)
def gather_out_of_range_compiled() -> None:
    def f(x, i):
        return ost.gather(x, i)  # <-

    ost.compile(f)(x(), np.array([0, 99]))


@mistake(
    IndexError,
    "sparse_softmax_cross_entropy: label 10 of row 0 is out of range for logits with 10 "
    "classes; labels must be in 0..9 {line}",
)
def label_out_of_range() -> None:
    ost.sparse_softmax_cross_entropy(x(), np.full(8, 10))  # <-


@mistake(
    IndexError,
    "gather: index 5 (number 0 of 1) is out of range for an axis of size 3; valid "
    "indices are -3..2 (layer 'embedding', Embedding) {line}",
)
def embedding_out_of_range() -> None:
    nn.Embedding(3, 4)(np.array([[5]]))  # <-


@mistake(
    TypeError,
    "tensors are immutable: x[i] = v is not possible; use ost.where or ost.scatter_update, "
    "or assign a whole new value to an ost.Variable {line}",
)
def element_assignment() -> None:
    x()[0] = 1.0  # <-


@mistake(
    ValueError,
    "bool() needs a tensor of one element, but this one has shape [8, 10]; use ost.any "
    "or ost.all for a truth value, numpy() for the data {line}",
)
def truth_of_many_elements() -> None:
    bool(x() > 0.0)  # <-


@mistake(
    ValueError,
    "item(): a tensor of shape [8, 10] holds 80 elements; only a tensor of one element "
    "is a number; use numpy() {line}",
)
def number_of_many_elements() -> None:
    x().item()  # <-


@mistake(
    IndexError,
    "indexing: a mask of shape [3] does not fit axis 1 of size 10; give one value for each "
    "place of the axes it covers {line}",
)
def mask_too_short() -> None:
    x()[:, ints() > 0]  # <-


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(fn: Any, error: type[BaseException], expected: str) -> None:
    check(fn, error, expected)
