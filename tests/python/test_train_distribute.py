# SPDX-License-Identifier: Apache-2.0
"""Training under a strategy of one process: what two devices do is what one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replicas import mirrored

import ostria as ost
from ostria import nn
from ostria.train import Hook, StepResults, SummaryHook, Trainer

RNG = np.random.default_rng(5)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 50)


def data(batch: int = 8, epochs: int = 1) -> Any:
    pairs = ost.data.Dataset.from_tensor_slices((X, Y)).shuffle(50, seed=2)
    return pairs.repeat(epochs).batch(batch)


def trainer(strategy: Any, path: Path | None = None, **options: Any) -> Trainer:
    if path is not None:
        options.setdefault("save_steps", 3)
    model = nn.Sequential(
        [
            nn.Dense(8, activation="tanh", kernel_regularizer=nn.regularizers.L2(0.01)),
            nn.Dropout(0.3),
            nn.Dense(3),
        ]
    )
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = [ost.metrics.SparseCategoricalAccuracy(name="accuracy")]
    optimizer = options.pop("optimizer", None) or ost.optim.SGD(0.1, momentum=0.9)
    return Trainer(
        model, loss, optimizer, metrics, model_dir=path, seed=11, strategy=strategy, **options
    )


class Watch(Hook):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rows: list[int] = []

    def after_step(self, trainer: Trainer, results: StepResults) -> None:
        self.losses.append(results.loss)
        self.rows.append(results.examples)


def weights(t: Trainer) -> list[np.ndarray]:
    return [v.numpy() for v in t.task.model.variables]  # type: ignore[attr-defined]


def bits(t: Trainer) -> dict[str, bytes]:
    return {v.name: v.numpy().tobytes() for v in t.variables}


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_replicas_train_evaluate_and_predict_like_one_device(replicas: int) -> None:
    one, many = Watch(), Watch()
    alone = trainer(None).train(data(), hooks=[one])
    several = trainer(mirrored(replicas)).train(data(), hooks=[many])
    assert many.rows == one.rows == [8] * 6 + [2]
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-5)
    for mine, other in zip(weights(several), weights(alone), strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-6)
    mine, other = several.evaluate(data(7)), alone.evaluate(data(7))
    assert mine.keys() == other.keys()
    for name, value in other.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-5, err_msg=name)
    for part, whole in zip(several.predict(data(7)), alone.predict(data(7)), strict=True):
        np.testing.assert_allclose(part, whole, atol=1e-5)


def test_training_metrics_cover_all_rows(tmp_path: Path) -> None:
    found = []
    for name, strategy in (("one", None), ("two", mirrored(2))):
        t = trainer(strategy)
        t.train(data(), hooks=[SummaryHook(str(tmp_path / name), 7, None)])
        found.append(ost.io.read_events(tmp_path / name))
    assert set(found[1]) == {1, 7}
    for step in (1, 7):
        assert found[1][step].keys() == {"loss", "accuracy"}
        assert found[1][step] == pytest.approx(found[0][step], rel=1e-5)


def test_a_run_cut_short_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole = trainer(mirrored(2), tmp_path / "whole").train(data(epochs=3))

    class Cut(Hook):
        def after_step(self, trainer: Trainer, results: StepResults) -> None:
            if results.step == 8:
                raise OSError("the power went off")

    with pytest.raises(OSError, match="power"):
        trainer(mirrored(2), tmp_path / "cut").train(data(epochs=3), hooks=[Cut()])
    again = Watch()
    resumed = trainer(mirrored(2), tmp_path / "cut").train(data(epochs=3), hooks=[again])
    assert resumed.global_step == whole.global_step == len(again.rows) + 6
    assert bits(resumed) == bits(whole)


def test_checkpoints_go_from_one_device_to_several_and_back(tmp_path: Path) -> None:
    trainer(None, tmp_path).train(data())
    several = trainer(mirrored(2), tmp_path)
    several.train(data(), steps=2)
    alone = trainer(None, tmp_path)
    results = alone.evaluate(data())
    assert results["global_step"] == 9
    assert results["loss"] == pytest.approx(several.evaluate(data())["loss"], rel=1e-5)


def test_a_step_that_is_not_finite(tmp_path: Path) -> None:
    bad = X.copy()
    bad[45, 1] = np.nan
    broken = ost.data.Dataset.from_tensor_slices((bad, Y)).batch(50)
    t = trainer(mirrored(2))
    with pytest.raises(ost.NonFiniteError, match=r"1 of 25 rows, the first is 20\) of replica 1"):
        t.train(broken)
    t = trainer(mirrored(2), on_nonfinite="skip")
    t.train(broken)
    assert (t.global_step, t.skipped_steps) == (1, 1)
    assert all(np.isfinite(w).all() for w in weights(t))


def test_what_overflows_is_found() -> None:
    t = trainer(mirrored(2), optimizer=ost.optim.SGD(1e30))
    with pytest.raises(ost.NonFiniteError, match=r"step \d: .*First: "):
        t.train(data())


def test_what_input_functions_return() -> None:
    contexts = []

    def per_replica(input_context: Any) -> Any:
        contexts.append(input_context)
        batch = input_context.get_per_replica_batch_size(10)
        return ost.data.Dataset.from_tensor_slices((X, Y)).batch(batch)

    def whole() -> Any:
        return ost.data.Dataset.from_tensor_slices((X, Y)).batch(10)

    results = [trainer(s).train(f) for s in (None, mirrored(2)) for f in (per_replica, whole)]
    assert [c.num_replicas_in_sync for c in contexts] == [1, 2]
    for other in results[1:]:
        for mine, theirs in zip(weights(results[0]), weights(other), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-6)

    constant = [trainer(s).train((X, Y), steps=3) for s in (None, mirrored(2))]
    for mine, theirs in zip(*map(weights, constant), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)
    with pytest.raises(ValueError, match="repeated for ever"):
        trainer(mirrored(2)).train((X, Y))
    with pytest.raises(TypeError, match=r"returned a list, which .* cannot share"):
        trainer(mirrored(2)).train([(X, Y)])


def test_what_does_not_go_with_a_strategy() -> None:
    with pytest.raises(TypeError, match=r"strategy must be one of ost\.distribute, given: 'cpu'"):
        trainer("cpu")
    with pytest.raises(ValueError, match="device 'cpu' and strategy"):
        trainer(mirrored(2), device="cpu")
    with pytest.raises(ValueError, match=r"memory_budget '1GB' .* give accumulate="):
        trainer(mirrored(2), memory_budget="1GB")


# --- Estimator ------------------------------------------------------------------------------------


def model_fn(features: Any, labels: Any, mode: Any, params: dict[str, Any]) -> Any:
    logits = nn.Dense(3)(nn.Dense(8, activation="tanh")(features))
    if mode == ost.estimator.ModeKeys.PREDICT:
        return ost.estimator.EstimatorSpec(mode, predictions=logits)
    if params["loss"] == "ours":
        loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    else:  # a mean over the rows that there are
        loss = ost.mean(ost.square(logits - ost.cast(ost.reshape(labels, (-1, 1)), "float32")))
    accuracy = ost.metrics.SparseCategoricalAccuracy()
    accuracy.update_state(labels, logits)
    train_op = ost.optim.SGD(0.1, momentum=0.9)
    return ost.estimator.EstimatorSpec(
        mode, loss=loss, train_op=train_op, eval_metric_ops={"accuracy": accuracy}
    )


def estimator(strategy: Any, path: Path, loss: str) -> Any:
    config = ost.estimator.RunConfig(
        tf_random_seed=3,
        save_checkpoints_steps=4,
        save_summary_steps=4,
        train_distribute=strategy,
        log_step_count_steps=None,
    )
    return ost.estimator.Estimator(model_fn, path, config, {"loss": loss})


@pytest.mark.parametrize("loss", ["ours", "own"])
def test_an_estimator_is_the_same_under_a_strategy(tmp_path: Path, loss: str) -> None:
    def train_input(input_context: Any = None, mode: Any = None) -> Any:
        assert mode == ost.estimator.ModeKeys.TRAIN
        rows = input_context.get_per_replica_batch_size(10)
        return ost.data.Dataset.from_tensor_slices((X, Y)).batch(rows)

    results, events = [], []
    for name, strategy in (("one", None), ("two", mirrored(2))):
        e = estimator(strategy, tmp_path / name, loss)
        spec = ost.estimator.TrainSpec(train_input, max_steps=5)
        found, _ = ost.estimator.train_and_evaluate(
            e, spec, ost.estimator.EvalSpec(lambda: data(7), steps=None, throttle_secs=0)
        )
        assert found is not None
        rows = list(e.predict(lambda: data(7)))
        assert len(rows) == 50
        weights = {n: e.get_variable_value(n) for n in e.get_variable_names()}
        results.append((found, np.asarray(rows), weights))
        events.append(ost.io.read_events(tmp_path / name))
    (found, rows, one), (found_by_two, rows_of_two, two) = results
    assert found_by_two == pytest.approx(found, rel=1e-5)
    np.testing.assert_allclose(rows_of_two, rows, atol=1e-5)
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=2e-6, err_msg=name)
    assert events[1].keys() == events[0].keys()


def test_a_loss_of_its_own_that_a_model_fn_minimizes_itself(tmp_path: Path) -> None:
    w = ost.Variable(np.zeros((6, 1), np.float32), name="w")

    def fn(features: Any, labels: Any, mode: Any) -> Any:
        loss = ost.mean(ost.square(ost.matmul(features, w)))
        train_op = ost.optim.SGD(0.1).minimize(loss, [w])
        return ost.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    config = ost.estimator.RunConfig(train_distribute=mirrored(2), log_step_count_steps=None)
    e = ost.estimator.Estimator(fn, tmp_path, config)
    with pytest.raises(ValueError, match="return train_op=optimizer, or take a loss"):
        e.train(lambda: data())


# --- Evaluations on another strategy --------------------------------------------------------------


@pytest.mark.parametrize("evaluating", [1, 3])
@pytest.mark.parametrize("training", [None, 2])
def test_evaluations_on_other_devices(training: int | None, evaluating: int) -> None:
    strategy = None if training is None else mirrored(training)
    same, apart = trainer(strategy), trainer(strategy, eval_strategy=mirrored(evaluating))

    class Evaluates(Hook):
        def __init__(self) -> None:
            self.results: list[dict[str, Any]] = []

        def after_step(self, trainer: Trainer, results: StepResults) -> None:
            if results.step % 3 == 0:
                self.results.append(trainer.evaluate(data(7)))

    wanted, given = Evaluates(), Evaluates()
    same.train(data(), hooks=[wanted])
    apart.train(data(), hooks=[given])
    assert bits(apart) == bits(same)  # training went on as if nothing had been evaluated
    assert len(given.results) == 2
    for mine, other in zip(given.results, wanted.results, strict=True):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_allclose(mine[name], value, rtol=1e-5, err_msg=name)
    for part, whole in zip(apart.predict(data(7)), same.predict(data(7)), strict=True):
        np.testing.assert_allclose(part, whole, atol=1e-6)


def test_a_strategy_of_evaluations_that_goes_with_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="give one of the two"):
        trainer(None, eval_strategy=mirrored(2), device="cpu")
    with pytest.raises(TypeError, match=r"must be one of ost\.distribute"):
        trainer(None, eval_strategy="cpu")
