# SPDX-License-Identifier: Apache-2.0
"""Estimator and train_and_evaluate: TensorFlow's rules, their traps, and the messages."""

import logging
import os
import re

import numpy as np
import pytest

native = pytest.importorskip("ostria._native")
import ostria as ost  # noqa: E402
from ostria import nn  # noqa: E402
from ostria.estimator import (  # noqa: E402
    CheckpointSaverListener,
    Estimator,
    EstimatorSpec,
    EvalSpec,
    LoggingTensorHook,
    ModeKeys,
    NanTensorHook,
    RunConfig,
    SessionRunArgs,
    SessionRunHook,
    StopAtStepHook,
    TrainSpec,
    WarmStartSettings,
    train_and_evaluate,
)

RNG = np.random.default_rng(1)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = np.argmax(X @ RNG.normal(size=(4, 3)), axis=1).astype(np.int64)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    ost.random.seed(0)


def train_input():
    return ost.data.Dataset.from_tensor_slices(({"x": X}, Y)).shuffle(60, seed=2).repeat().batch(8)


def eval_input():
    return ost.data.Dataset.from_tensor_slices(({"x": X}, Y)).batch(25)


def model_fn(features, labels, mode, params):
    hidden = nn.Dense(params.get("units", 8), activation="relu")(features["x"])
    hidden = nn.Dropout(0.1)(hidden, training=mode == ModeKeys.TRAIN)
    logits = nn.Dense(3)(hidden)
    classes = ost.argmax(logits, axis=-1)
    if mode == ModeKeys.PREDICT:
        return EstimatorSpec(mode, predictions={"class": classes, "logits": logits})
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    accuracy = ost.metrics.SparseCategoricalAccuracy()
    accuracy.update_state(labels, logits)
    return EstimatorSpec(
        mode,
        loss=loss,
        train_op=ost.optim.Adam(0.02) if mode == ModeKeys.TRAIN else None,
        eval_metric_ops={"accuracy": accuracy},
    )


def estimator(path, fn=model_fn, params=None, warm_start_from=None, **config):
    config.setdefault("save_checkpoints_steps", 10)
    config.setdefault("log_step_count_steps", None)
    run = RunConfig(tf_random_seed=7, **config)
    return Estimator(fn, path, run, params or {}, warm_start_from)


def steps_of(path):
    return [step for step, _ in ost.io.list_checkpoints(path)]


def tensors(path):
    found = ost.io.load_latest_checkpoint(path)
    return {name: value.tobytes() for name, value in found.tensors.items()}


# --- train, evaluate, predict -------------------------------------------------------------------


def test_a_model_fn_that_makes_its_layers_anew(tmp_path):
    e = estimator(tmp_path)
    assert e.train(train_input, max_steps=120) is e
    results = e.evaluate(eval_input)
    assert sorted(results) == ["accuracy", "global_step", "loss"]
    assert results["accuracy"] > 0.9 and results["global_step"] == 120
    rows = list(e.predict(eval_input))
    assert len(rows) == 60 and sorted(rows[0]) == ["class", "logits"]
    assert np.mean([r["class"] for r in rows] == Y) == pytest.approx(results["accuracy"])
    assert e.get_variable_names()[:4] == ["dense/bias", "dense/bias/adam_m", "dense/bias/adam_v",
                                          "dense/kernel"]  # fmt: skip
    again = estimator(tmp_path)
    assert again.evaluate(eval_input) == results


def test_model_loss_optimizer_metrics(tmp_path):
    e = Estimator(
        model=nn.Dense(3),
        loss=ost.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=ost.optim.SGD(0.5),
        metrics=[ost.metrics.SparseCategoricalAccuracy(name="accuracy")],
        config=RunConfig(tmp_path, log_step_count_steps=None, save_checkpoints_steps=50),
    )
    e.train(lambda: (X, Y), steps=60)
    assert e.evaluate(lambda: (X, Y))["accuracy"] > 0.9
    assert e.model.variables[0].name == "kernel"
    assert next(e.predict(lambda: X)).shape == (3,)
    assert next(e.predict(lambda: X, yield_single_examples=False)).shape == (60, 3)


def test_evaluate_takes_the_labels_apart_from_training(tmp_path):
    a, b = estimator(tmp_path / "a"), estimator(tmp_path / "b")
    a.train(train_input, max_steps=30)
    for steps in (10, 20, 30):
        b.train(train_input if steps == 10 else more(steps - 10), max_steps=steps)
        b.evaluate(eval_input)
        list(b.predict(eval_input))
    assert tensors(tmp_path / "a") == tensors(tmp_path / "b")


def more(skip):
    return lambda: train_input().skip(skip)


def test_steps_and_max_steps(tmp_path, caplog):
    e = estimator(tmp_path)
    with pytest.raises(ValueError, match=r"^Can not provide both steps and max_steps\. "):
        e.train(train_input, steps=1, max_steps=1)
    e.train(train_input, steps=4)
    e.train(train_input, steps=4)
    assert steps_of(tmp_path)[-1] == 8
    with caplog.at_level(logging.INFO, "ostria"):
        e.train(lambda: pytest.fail("no input is needed"), max_steps=8)
    assert "Skipping training since max_steps has already saved." in caplog.messages


def test_no_steps_warns(tmp_path):
    with pytest.warns(
        RuntimeWarning, match="made no steps. Perhaps input is empty or misspecified"
    ):
        estimator(tmp_path).train(lambda: train_input().take(0))


def test_evaluate_and_predict_without_a_checkpoint_warn_loudly(tmp_path):
    e = estimator(tmp_path)
    with pytest.warns(
        RuntimeWarning, match="evaluate: there is no checkpoint in .*freshly initial"
    ):
        e.evaluate(eval_input)
    with pytest.warns(RuntimeWarning, match="predict: there is no checkpoint"):
        list(e.predict(eval_input))


def test_checkpoint_path(tmp_path):
    e = estimator(tmp_path, keep_checkpoint_max=None)
    e.train(train_input, max_steps=10)
    then = e.evaluate(eval_input)
    path = e.latest_checkpoint()
    e.train(train_input, max_steps=20)
    now = e.evaluate(eval_input)
    assert then["global_step"] == 10 and now["global_step"] == 20 and then["loss"] > now["loss"]
    assert e.evaluate(eval_input, checkpoint_path=path) == then
    assert e.evaluate(eval_input) == now


def test_predict_keys(tmp_path):
    e = estimator(tmp_path)
    e.train(train_input, max_steps=1)
    assert list(next(e.predict(eval_input, predict_keys="class"))) == ["class"]
    with pytest.raises(
        ValueError, match=r"at least one output from \['class', 'logits'\], provided"
    ):
        next(e.predict(eval_input, predict_keys=["clas"]))
    with pytest.raises(NotImplementedError, match="hooks are not supported"):
        next(e.predict(eval_input, hooks=[StopAtStepHook(1)]))


def test_nonfinite_loss_always_stops(tmp_path):
    def bad(features, labels, mode):
        y = nn.Dense(1)(features["x"])
        return EstimatorSpec(mode, loss=ost.mean(ost.log(y * 0.0)), train_op=ost.optim.SGD(0.1))

    with pytest.raises(
        ost.NonFiniteError, match=r"step 1: the loss is -inf\. First: log: .*test_est"
    ):
        estimator(tmp_path, bad).train(train_input, steps=3)


def test_an_example_that_never_learns_is_named(tmp_path):
    def nothing(features, labels, mode):
        return EstimatorSpec(mode, loss=ost.mean(features["x"]), train_op=ost.optim.SGD(0.1))

    with pytest.raises(ValueError, match="model_fn made no trainable Variable with modules of"):
        estimator(tmp_path, nothing).train(train_input, steps=1)


def test_get_variables(tmp_path):
    e = estimator(tmp_path)
    with pytest.raises(ValueError, match=r"^Could not find trained model in model_dir: "):
        e.get_variable_names()
    e.train(train_input, max_steps=3)
    assert e.get_variable_value("global_step") == 3
    assert e.get_variable_value("dense/kernel").shape == (4, 8)
    with pytest.raises(ValueError, match="there is no variable 'dense/kernle' in the checkpoint"):
        e.get_variable_value("dense/kernle")


def test_summaries(tmp_path):
    e = estimator(tmp_path, save_summary_steps=5, log_step_count_steps=10)
    e.train(train_input, max_steps=20)
    e.evaluate(eval_input)
    e.evaluate(eval_input, name="other")
    events = ost.io.read_events(tmp_path)
    assert sorted(events) == [1, 5, 10, 15, 20]
    assert set(events[20]) == {"loss", "accuracy", "global_step/sec"}
    assert e.eval_dir() == str(tmp_path / "eval")
    for name in ("eval", "eval_other"):
        assert set(ost.io.read_events(tmp_path / name)[20]) == {"loss", "accuracy"}


def test_progress_line(tmp_path, capsys):
    estimator(tmp_path, log_step_count_steps=10).train(train_input, max_steps=20)
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.match(
        r"step 20/20  loss \d\.\d+  [\d,.]+ examples/s  input wait [\d.]+ %  .* total", line
    )


# --- The constructor ----------------------------------------------------------------------------


def test_constructor(tmp_path):
    with pytest.raises(ValueError, match="model_fn must be provided"):
        Estimator(model_dir=tmp_path)
    with pytest.raises(
        ValueError, match=r"config must be an instance of RunConfig, but provided \{"
    ):
        Estimator(model_fn, tmp_path, {"model_dir": "x"})
    with pytest.raises(ValueError, match=r"are set both in constructor and `RunConfig`, but with"):
        Estimator(model_fn, tmp_path, RunConfig(model_dir="elsewhere"))
    with pytest.raises(ValueError, match="optimizer goes with model="):
        Estimator(model_fn, tmp_path, optimizer=ost.optim.SGD(0.1))
    with pytest.raises(TypeError, match="did you mean 'model_dir'"):
        Estimator(model_fn, modeldir=tmp_path)
    with pytest.warns(RuntimeWarning, match="Using temporary folder as model directory: "):
        assert os.path.isdir(Estimator(model_fn).model_dir)
    params = {"units": [1]}
    e = Estimator(model_fn, tmp_path, params=params)
    params["units"].append(2)
    assert e.params == {"units": [1]}


def test_model_fn_arguments(tmp_path):
    with pytest.raises(ValueError, match="must include features argument"):
        estimator(tmp_path, lambda labels, mode: None)
    with pytest.raises(ValueError, match=r"has following not expected args: \['mod'\]"):
        estimator(tmp_path, lambda features, mod: None)
    with pytest.raises(ValueError, match="does not take labels, but input_fn returns labels"):
        estimator(tmp_path, lambda features, mode: None).train(train_input, steps=1)
    with pytest.raises(ValueError, match="should return an EstimatorSpec; it returned None"):
        estimator(tmp_path, lambda features, labels: None).train(train_input, steps=1)


def test_warm_start(tmp_path):
    first = estimator(tmp_path / "a")
    first.train(train_input, max_steps=20)
    kernel = first.get_variable_value("dense/kernel")
    second = estimator(
        tmp_path / "b", warm_start_from=str(tmp_path / "a"), save_checkpoints_steps=5
    )
    second.train(train_input, max_steps=1)
    start = ost.io.load_checkpoint(ost.io.list_checkpoints(tmp_path / "b")[0][1])
    np.testing.assert_array_equal(start.tensors["dense/kernel"], kernel)
    assert start.step == 0 and not start.tensors["dense/kernel/adam_m"].any()
    only = WarmStartSettings(str(tmp_path / "a"), "dense_1/")
    third = estimator(tmp_path / "c", warm_start_from=only, save_checkpoints_steps=5)
    third.train(train_input, max_steps=1)
    start = ost.io.load_checkpoint(ost.io.list_checkpoints(tmp_path / "c")[0][1])
    assert (start.tensors["dense/kernel"] != kernel).any()
    none = WarmStartSettings(str(tmp_path / "a"), "conv")
    with pytest.raises(ValueError, match="warm start: no variable matches 'conv'"):
        estimator(tmp_path / "d", warm_start_from=none).train(train_input, max_steps=1)
    wide = estimator(tmp_path / "e", params={"units": 9}, warm_start_from=str(tmp_path / "a"))
    with pytest.raises(ValueError, match=r"warm start: 'dense/kernel' has shape \[4, 8\] in"):
        wide.train(train_input, max_steps=1)


# --- Hooks ----------------------------------------------------------------------------------------


class Recorder(SessionRunHook):
    def __init__(self):
        self.events = []

    def begin(self):
        self.events.append("begin")

    def after_create_session(self, session, coord):
        self.events.append("session")

    def before_run(self, run_context):
        return SessionRunArgs({"l": "loss", "both": ["loss", "global_step"]})

    def after_run(self, run_context, run_values):
        loss, step = run_values.results["both"]
        assert loss == run_values.results["l"] > 0
        self.events.append(step)

    def end(self, session):
        self.events.append("end")


def test_session_run_hooks(tmp_path):
    hook = Recorder()
    estimator(tmp_path).train(train_input, hooks=[hook], max_steps=3)
    assert hook.events == ["begin", "session", 1, 2, 3, "end"]
    hook = Recorder()
    estimator(tmp_path).evaluate(eval_input, hooks=[hook])
    assert hook.events == ["begin", "session", 1, 2, 3, "end"]


def test_hooks_in_the_spec(tmp_path):
    hook = Recorder()

    def with_hook(features, labels, mode, params):
        spec = model_fn(features, labels, mode, params)
        ops = {"accuracy": spec.eval_metric_ops["accuracy"]}
        return EstimatorSpec(
            mode, loss=spec.loss, train_op=spec.train_op, eval_metric_ops=ops, training_hooks=[hook]
        )

    estimator(tmp_path, with_hook).train(train_input, max_steps=2)
    assert hook.events == ["begin", "session", 1, 2, "end"]


def test_stock_hooks(tmp_path, caplog):
    e = estimator(tmp_path)
    e.train(train_input, hooks=[StopAtStepHook(last_step=4), NanTensorHook()])
    e.train(train_input, hooks=[StopAtStepHook(num_steps=3)])
    assert e.trainer.global_step == 7
    with caplog.at_level(logging.INFO, "ostria"):
        e.train(train_input, hooks=[LoggingTensorHook(["loss", "global_step"], 2)], steps=4)
    lines = [m for m in caplog.messages if re.match(r"loss = [\d.]+, global_step = \d+$", m)]
    assert [int(line.split()[-1]) for line in lines] == [8, 10]
    with pytest.raises(ValueError, match=r"^One of num_steps or last_step must be specified\. "):
        StopAtStepHook()


def test_unknown_fetch(tmp_path):
    class Wrong(SessionRunHook):
        def before_run(self, run_context):
            return SessionRunArgs("accuracy")

    with pytest.raises(
        ValueError, match="'accuracy', which a step does not give; it gives loss and"
    ):
        estimator(tmp_path).train(train_input, hooks=[Wrong()], steps=1)


def test_saving_listeners(tmp_path):
    class Listener(CheckpointSaverListener):
        def __init__(self):
            self.events = []

        def begin(self):
            self.events.append("begin")

        def before_save(self, session, global_step):
            self.events.append(f"before {global_step}")

        def after_save(self, session, global_step):
            self.events.append(f"after {global_step}")
            return global_step >= 10

        def end(self, session, global_step):
            self.events.append(f"end {global_step}")

    listener = Listener()
    estimator(tmp_path, save_checkpoints_steps=5).train(
        train_input, max_steps=50, saving_listeners=[listener]
    )
    assert listener.events == [
        "begin", "before 0", "after 0", "before 5", "after 5", "before 10", "after 10", "end 10",
    ]  # fmt: skip


# --- train_and_evaluate ---------------------------------------------------------------------------


class Exporter:
    name = "spy"

    def __init__(self):
        self.calls = []

    def export(self, estimator, export_path, checkpoint_path, eval_result, is_the_final_export):
        step = eval_result["global_step"]
        assert (
            export_path.endswith("export/spy") and checkpoint_path == estimator.latest_checkpoint()
        )
        self.calls.append((step, is_the_final_export))
        return step


def specs(max_steps=30, **options):
    return TrainSpec(train_input, max_steps), EvalSpec(eval_input, steps=None, **options)


def test_evaluates_every_checkpoint_but_the_first(tmp_path):
    spy = Exporter()
    e = estimator(tmp_path)
    results, exports = train_and_evaluate(e, *specs(25, throttle_secs=0, exporters=[spy]))
    assert spy.calls == [(10, False), (20, False), (25, True)]
    assert results["global_step"] == 25 and exports == [25]
    assert sorted(ost.io.read_events(e.eval_dir())) == [10, 20, 25]


def test_throttled_evaluations_but_the_last_state_always(tmp_path, caplog):
    spy = Exporter()
    with caplog.at_level(logging.INFO, "ostria"):
        train_and_evaluate(
            estimator(tmp_path), *specs(35, throttle_secs=600, start_delay_secs=600, exporters=spy)
        )
    assert spy.calls == [(10, False), (35, True)]
    skipped = [
        m for m in caplog.messages if m.startswith("Skip the current checkpoint eval due to")
    ]
    assert len(skipped) == 3  # 20, 30 and 35, which is then evaluated as the last


def test_eval_steps_and_name(tmp_path):
    e = estimator(tmp_path)
    train_and_evaluate(
        e, TrainSpec(train_input, 10), EvalSpec(eval_input, steps=1, name="x", throttle_secs=0)
    )
    assert os.path.isdir(tmp_path / "eval_x") and not os.path.isdir(tmp_path / "eval")


def test_evaluations_do_not_change_training(tmp_path):
    train_and_evaluate(estimator(tmp_path / "a"), *specs(throttle_secs=0))
    estimator(tmp_path / "b").train(train_input, max_steps=30)
    assert tensors(tmp_path / "a") == tensors(tmp_path / "b")


def test_same_command_goes_on_and_then_only_evaluates(tmp_path):
    class Killed(SessionRunHook):
        def after_run(self, run_context, run_values):
            if run_context.session.global_step == 17:
                raise MemoryError

    spec, evaluation = specs(throttle_secs=0)
    with pytest.raises(MemoryError):
        train_and_evaluate(
            estimator(tmp_path / "a"), TrainSpec(train_input, 30, hooks=[Killed()]), evaluation
        )
    e = estimator(tmp_path / "a")
    results, _ = train_and_evaluate(e, spec, evaluation)
    train_and_evaluate(estimator(tmp_path / "b"), spec, evaluation)
    assert tensors(tmp_path / "a") == tensors(tmp_path / "b")
    again, _ = train_and_evaluate(estimator(tmp_path / "a"), spec, evaluation)
    assert again == results


def test_no_new_checkpoint(tmp_path):
    e = estimator(tmp_path / "a", save_checkpoints_steps=None, save_checkpoints_secs=None)
    with pytest.raises(RuntimeError, match="There was no new checkpoint after the training"):
        train_and_evaluate(e, *specs(5))
    empty = TrainSpec(lambda: train_input().take(0), 5)
    with pytest.warns(RuntimeWarning, match="made no steps"), pytest.raises(RuntimeError):
        train_and_evaluate(estimator(tmp_path / "b"), empty, specs()[1])


def test_argument_types(tmp_path):
    e = estimator(tmp_path)
    with pytest.raises(TypeError, match="`train_spec` must have type `TrainSpec`, given"):
        train_and_evaluate(e, *reversed(specs()))
    with pytest.raises(TypeError, match="`estimator` must have type `Estimator`, given"):
        train_and_evaluate(None, *specs())
