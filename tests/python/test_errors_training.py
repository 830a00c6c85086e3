# SPDX-License-Identifier: Apache-2.0
"""Messages about mistakes in training, estimators, files, data and reports, word for word."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mistakes import Mistakes, check

import ostria as ost
from ostria import io
from ostria.data import Dataset, TensorSpec
from ostria.data.image import load_image
from ostria.diagnose import classification_report
from ostria.estimator import Estimator, EstimatorSpec, EvalSpec, RunConfig, TrainSpec
from ostria.train import Trainer

mistake = Mistakes()
ONES = np.ones((8, 1), np.float32)


def make(loss: Any = None, **more: Any) -> Trainer:
    loss = loss or ost.losses.MeanSquaredError()
    return Trainer(ost.nn.Dense(1), loss, ost.optim.SGD(0.1), **more)


def rows(*arrays: Any) -> Dataset:
    return Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(4)


@mistake(
    ValueError,
    "Trainer: neither model nor task is given; give one of them: a model (with loss and optimizer) "
    "or task= {line}",
)
def trainer_of_nothing() -> None:
    Trainer()  # <-


@mistake(
    TypeError,
    "Trainer: loss must be a function of (labels, predictions), given: 'mse'; take one of "
    "ost.losses, such as ost.losses.MeanSquaredError() {line}",
)
def loss_as_text() -> None:
    Trainer(ost.nn.Dense(1), "mse")  # <-


@mistake(
    ValueError,
    "Can not provide both steps and max_steps. train: given steps=3 and max_steps=5; give steps "
    "for so many more, or max_steps for so many in all {line}",
)
def both_limits() -> None:
    make().train(rows(ONES, ONES), steps=3, max_steps=5)  # <-


NO_LABELS = (
    "train: the batch has no labels: it is features alone, float32[batch, 1]; let the input yield "
    "(features, labels) or (features, labels, weights), or give a loss and metrics that need none "
    "{line}"
)


@mistake(ValueError, NO_LABELS)
def training_without_labels() -> None:
    make().train(rows(ONES))  # <-


@mistake(ValueError, NO_LABELS.replace("train:", "evaluate:"))
def evaluation_without_labels() -> None:
    make(metrics=[ost.metrics.MeanSquaredError()]).evaluate(rows(ONES))  # <-


def test_a_loss_that_needs_no_labels_gets_none() -> None:
    trainer = make(lambda labels, predictions: ost.mean(predictions * predictions))
    assert trainer.train(rows(ONES)).global_step == 2


def test_other_errors_of_a_loss_stay() -> None:
    def loss(labels: Any, predictions: Any) -> Any:
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        make(loss).train(rows(ONES, ONES))


@mistake(
    ost.NonFiniteError,
    "step 2: the loss is nan. The input is not finite: NaN or infinity is in batch[0] (2 of 4 "
    "rows, the first is 1). The model is as it was after step 1. Look at the data: clean or leave "
    "out such rows where it is loaded, for instance with np.nan_to_num; on_nonfinite='skip' leaves "
    "out whole batches {line}",
)
def nan_in_the_data() -> None:
    bad = ONES.copy()
    bad[5], bad[7] = np.nan, np.inf
    make().train(rows(bad, ONES))  # <-


def test_a_nan_that_the_model_made_has_other_remedies() -> None:
    trainer = make(lambda labels, predictions: ost.mean(ost.log(predictions * 0 - 1)))
    with pytest.raises(ost.NonFiniteError, match=r"First: log: .* Remedies: a smaller learning"):
        trainer.train(rows(ONES, ONES))


@mistake(
    ValueError,
    "`save_checkpoints_steps` and `save_checkpoints_secs` cannot be both set. RunConfig: given 1 "
    "steps and 2 seconds; leave one of them out, or make it None {line}",
)
def steps_and_secs() -> None:
    RunConfig(save_checkpoints_steps=1, save_checkpoints_secs=2)  # <-


@mistake(
    ValueError,
    "TrainSpec: Must specify max_steps > 0, given: 0; give at least 1, or None to read the input "
    "to its end {line}",
)
def no_steps() -> None:
    TrainSpec(list, max_steps=0)  # <-


@mistake(
    TypeError,
    "EvalSpec: `input_fn` must be callable, given: [1]. Pass the function itself or `lambda: "
    "dataset`, so that each run gets fresh input {line}",
)
def input_fn_that_is_data() -> None:
    EvalSpec([1])  # type: ignore[arg-type]  # <-


@mistake(
    ValueError,
    "EstimatorSpec: Missing train_op. mode 'train' needs loss and train_op; None was given (does "
    "model_fn return on this path what it computed?) {line}",
)
def spec_without_its_train_op() -> None:
    EstimatorSpec("train", loss=1.0)  # <-


@mistake(
    ValueError,
    "Estimator: model_fn must be provided, or model=; not both; given neither {line}",
)
def estimator_of_nothing() -> None:
    Estimator()  # <-


@mistake(OSError, "cannot open there/is/none: No such file or directory; check the path {line}")
def tensors_from_nowhere() -> None:
    io.load_tensors("there/is/none")  # <-


@mistake(TypeError, "io: 3 (int) is no path; give a str or a pathlib.Path {line}")
def a_number_as_path() -> None:
    io.load_checkpoint(3)  # type: ignore[arg-type]  # <-


@mistake(
    TypeError,
    "EventWriter.scalar: the value of 'loss' is 'x', which is not one number; give a float or a "
    "tensor of one element, and arrays to histogram() {line}",
)
def text_as_scalar() -> None:
    with io.EventWriter(io_file() + "-events") as events:
        events.scalar("loss", "x", 1)  # type: ignore[arg-type]  # <-


@mistake(
    ValueError,
    "load: bfloat16='half' is unknown; accepted are 'float32' and 'bits' {line}",
)
def bfloat16_as_half() -> None:
    io.load_tensors(io_file(), bfloat16="half")  # type: ignore[arg-type]  # <-


@mistake(
    ValueError,
    "from_generator: ['x'] of element 1 is float64[2], but the signature says float32; yield "
    "value.astype(np.float32), or write float64 in output_signature {line}",
)
def generator_of_another_dtype() -> None:
    dataset = Dataset.from_generator(
        lambda: iter([{"x": ONES[:2, 0]}, {"x": np.ones(2)}]),
        output_signature={"x": TensorSpec((2,), np.float32)},
    )
    list(dataset.prefetch(2))  # <-


@mistake(
    ost.DataCorruptionError,
    "the saved position of the input pipeline is damaged: its text ends too early; use another "
    "checkpoint {line}",
)
def damaged_position() -> None:
    Dataset.range(3).iterator().restore("xx")  # <-


@mistake(
    ValueError,
    "load_image: unknown mode 'CMYK'; accepted are 'L' (grey) and 'RGB' {line}",
)
def image_in_cmyk() -> None:
    load_image("a.png", mode="CMYK")  # <-


@mistake(
    ValueError,
    "classification_report: sample_weight must hold 2 finite values >= 0; given -1.0; give one "
    "weight per example, 0 to leave it out {line}",
)
def negative_weight() -> None:
    classification_report([0, 1], [0, 1], sample_weight=[1, -1])  # <-


_files: list[str] = []


def io_file() -> str:
    return _files[-1]


@pytest.mark.parametrize(("fn", "error", "expected"), mistake.cases)
def test_message(
    fn: Callable[[], Any], error: type[BaseException], expected: str, tmp_path: Path
) -> None:
    _files.append(str(tmp_path / "t"))
    io.save_tensors(_files[-1], {"a": ONES})
    check(fn, error, expected)


def test_what_a_users_function_raises_stays() -> None:
    def f(x: Any) -> Any:
        raise ValueError("mine")

    for dataset in (Dataset.range(3).map(f), Dataset.range(3).map(f).prefetch(1)):
        with pytest.raises(ValueError, match=r"^mine$"):
            list(dataset)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 64 bytes, which the system reports much as it does a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_does_not_fit_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, full_disk():
        io.save_checkpoint(tmp_path, 1, {"a": np.ones(99)})
    assert str(caught.value).startswith(
        f"checkpoint of step 1 was not saved: cannot write {tmp_path}"
    )
    line = caught.traceback[0].lineno + 1
    assert str(caught.value).endswith(f" [test_errors_training.py:{line}]")


def test_so_does_a_record_that_does_not_fit() -> None:
    writer = io.RecordWriter("/dev/full")
    writer.write(b"x" * 9)
    with pytest.raises(OSError, match=r"more bytes are needed.* \[test_errors_training.py:\d+\]$"):
        writer.flush()
