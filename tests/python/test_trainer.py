# SPDX-License-Identifier: Apache-2.0
"""The training loop: limits, events, exact resume, evaluation without a trace, signals, NaN."""

import os
import signal
import warnings

import numpy as np
import pytest

native = pytest.importorskip("ostria._native")
import ostria as ost  # noqa: E402
from ostria.train import (  # noqa: E402
    BatchReader,
    Hook,
    StepTask,
    SummaryHook,
    Trainer,
    TrainingInterrupted,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)


def dataset(batch=8, epochs=None, seed=3):
    data = ost.data.Dataset.from_tensor_slices((X, Y)).shuffle(50, seed=seed)
    return data.repeat(epochs).batch(batch)


class Regression(StepTask):
    """Linear regression with momentum, written out, and what evaluation might spoil."""

    def __init__(self, name="w"):
        self.w = ost.Variable(np.zeros((3, 1), np.float32), name=name)
        self.m = ost.Variable(np.zeros((3, 1), np.float32), name=f"{name}/m", trainable=False)
        self.n = ost.Variable(np.zeros((), np.float32), name="calls", trainable=False)
        super().__init__(self.step, evaluate=self.score, predict=self.answer)

    def step(self, x, y):
        loss = ost.mean(ost.square(self.answer(x) - y))
        (g,) = ost.gradients(loss, [self.w])
        m = self.m.value() * 0.9 + g + self.n.value() * 1e-3
        self.n.assign(self.n.value() + 1.0)
        self.m.assign(m)
        self.w.assign(self.w.value() - 0.02 * m)
        return loss

    def score(self, x, y):
        self.n.assign(self.n.value() + 100.0)  # must not reach training
        return ost.mean(ost.square(self.answer(x) - y))

    def answer(self, x):
        return ost.matmul(x, self.w)


def trainer(path=None, **options):
    if path is not None:
        options.setdefault("save_steps", 10)
    return Trainer(task=Regression(), model_dir=path, **options)


def state(t):
    return {v.name: v.numpy().tobytes() for v in t.variables}


def steps_of(path):
    return [step for step, _ in ost.io.list_checkpoints(path)]


class Crash(Exception):
    pass


class CrashAt(Hook):
    def __init__(self, step, act=None):
        self.step = step
        self.act = act

    def after_step(self, trainer, results):
        if results.step == self.step:
            if self.act is None:
                raise Crash
            self.act()


# --- Limits -------------------------------------------------------------------------------------


def test_trains_to_the_end_of_the_input():
    t = trainer()
    assert t.train(dataset(epochs=3)) is t
    assert t.global_step == 19  # ceil(3 * 50 / 8)


def test_steps_are_more_and_max_steps_are_in_all(tmp_path):
    t = trainer(tmp_path)
    t.train(dataset(), steps=7)
    t.train(dataset(), steps=5)
    assert t.global_step == 12
    t.train(dataset(), max_steps=15)
    assert t.global_step == 15
    before = state(t)
    t.train(dataset(), max_steps=15)
    assert t.global_step == 15 and state(t) == before
    assert steps_of(tmp_path) == [0, 7, 10, 12, 15]


def test_both_limits():
    with pytest.raises(ValueError, match=r"^Can not provide both steps and max_steps\. "):
        trainer().train(dataset(), steps=1, max_steps=1)
    with pytest.raises(ValueError, match=r"^Must specify max_steps > 0, given: 0; "):
        trainer().train(dataset(), max_steps=0)
    with pytest.raises(TypeError, match=r"steps must be an integer or None, given: 1\.5"):
        trainer().train(dataset(), steps=1.5)


def test_one_batch_of_arrays_is_repeated_and_needs_a_limit():
    t = trainer()
    t.train(lambda: (X, Y), steps=4)
    assert t.global_step == 4
    with pytest.raises(ValueError, match="would be repeated for ever; give steps or max_steps"):
        t.train(lambda: (X, Y))


def test_any_iterable_is_input():
    t = trainer()
    t.train(lambda: [(X[:4], Y[:4]), (X[4:], Y[4:])])
    assert t.global_step == 2


def test_no_input():
    with pytest.raises(TypeError, match=r"input_fn returned None; it must return a Dataset"):
        trainer().train(lambda: None)


def test_empty_input_makes_no_steps():
    t = trainer()
    with pytest.warns(RuntimeWarning, match="Training made no steps. Perhaps input is empty or"):
        t.train(dataset().take(0))
    assert t.global_step == 0


def test_short_last_batch_is_one_trace():
    t = trainer()
    t.train(dataset(epochs=1))
    assert t._train_step.num_traces == 1
    assert t._train_step.num_specialisations == 2  # 8 and 2


def test_unknown_keyword():
    with pytest.raises(TypeError, match="did you mean 'model_dir'"):
        Trainer(task=Regression(), model_dri="x")


def test_loss_must_be_a_scalar():
    task = StepTask(lambda x, y: ost.square(x))
    with pytest.raises(
        TypeError, match=r"the training step must return a float scalar, the loss, but"
    ):
        Trainer(task=task).train(dataset(), steps=1)


# --- Exact resume -------------------------------------------------------------------------------


@pytest.mark.parametrize("crash_at", [1, 9, 10, 11, 23, 29])
def test_resume_is_bit_identical(tmp_path, crash_at):
    whole = trainer(tmp_path / "a")
    whole.train(dataset(), max_steps=30)
    first = trainer(tmp_path / "b")
    with pytest.raises(Crash):
        first.train(dataset(), max_steps=30, hooks=[CrashAt(crash_at)])
    second = trainer(tmp_path / "b")
    second.train(dataset(), max_steps=30)
    assert second.global_step == 30
    assert state(second) == state(whole)
    last = [ost.io.load_latest_checkpoint(tmp_path / d) for d in "ab"]
    assert last[0].blobs == last[1].blobs
    assert [k for k in last[0].tensors] == [k for k in last[1].tensors]
    for name, value in last[0].tensors.items():
        assert value.tobytes() == last[1].tensors[name].tobytes(), name


def test_resume_without_a_seed_keeps_the_order_of_the_first_run(tmp_path):
    seen = []

    class Keep(Hook):
        def after_step(self, trainer, results):
            seen.append(results.loss)

    data = lambda: dataset(seed=None, epochs=2)  # noqa: E731
    with pytest.raises(Crash):
        trainer(tmp_path, save_steps=4).train(data, hooks=[Keep(), CrashAt(6)])
    trainer(tmp_path, save_steps=4).train(data, hooks=[Keep()])
    assert len(seen) == 6 + 9  # 13 steps in all, those after step 4 again
    assert seen[4:6] == seen[6:8]  # steps 5 and 6 saw the same batches both times


def test_a_finished_run_is_followed_by_fresh_input(tmp_path):
    trainer(tmp_path).train(dataset(epochs=1))
    again = trainer(tmp_path)
    again.train(dataset(epochs=1))
    assert again.global_step == 14


def test_killed_at_the_very_end_of_the_input_is_finished(tmp_path):
    # 7 batches, and a checkpoint at the last: whoever goes on from it finds a finished run.
    first = trainer(tmp_path, save_steps=7)

    class KilledAfterSave(Hook):
        def after_save(self, trainer, path):
            if trainer.global_step:
                raise Crash

    with pytest.raises(Crash):
        first.train(dataset(epochs=1), hooks=[KilledAfterSave()])
    again = trainer(tmp_path, save_steps=7)
    again.train(dataset(epochs=1))
    assert again.global_step == 14


def test_changed_input_is_read_from_its_start(tmp_path):
    with pytest.raises(Crash):
        trainer(tmp_path).train(dataset(), max_steps=30, hooks=[CrashAt(15)])
    again = trainer(tmp_path)
    with pytest.warns(
        RuntimeWarning, match="the input is read from its start, not from where step 10"
    ):
        again.train(dataset().prefetch(2), max_steps=30)
    assert again.global_step == 30


def test_damaged_checkpoint_falls_back(tmp_path):
    whole = trainer(tmp_path / "a")
    whole.train(dataset(), max_steps=30)
    with pytest.raises(Crash):
        trainer(tmp_path / "b").train(dataset(), max_steps=30, hooks=[CrashAt(25)])
    newest = ost.io.latest_checkpoint(tmp_path / "b")
    for name in os.listdir(newest):
        path = os.path.join(newest, name)
        data = bytearray(open(path, "rb").read())
        data[len(data) // 2] ^= 0xFF
        open(path, "wb").write(data)
    again = trainer(tmp_path / "b")
    with pytest.warns(RuntimeWarning):
        again.train(dataset(), max_steps=30)
    assert state(again) == state(whole)


def test_checkpoint_of_another_model(tmp_path):
    trainer(tmp_path).train(dataset(), max_steps=1)
    other = Trainer(task=Regression("v"), model_dir=tmp_path, save_steps=1)
    with pytest.raises(
        ValueError, match=r"lacks 'v', 'v/m'; it holds, and the model lacks, 'w', 'w/m'"
    ):
        other.train(dataset(), max_steps=2)
    bigger = Regression()
    bigger.n = ost.Variable(np.zeros((1,), np.float32), name="calls", trainable=False)
    with pytest.raises(
        ValueError, match=r"'calls' is float32\[\] there, but float32\[1\] in the model"
    ):
        Trainer(task=bigger, model_dir=tmp_path, save_steps=1).train(dataset(), max_steps=2)


def test_two_variables_of_one_name():
    task = Regression()
    task.m = ost.Variable(np.zeros((3, 1), np.float32), name="w", trainable=False)
    with pytest.raises(ValueError, match="two variables are named 'w'"):
        Trainer(task=task).train(dataset(), steps=1)


def test_checkpoints_hold_everything(tmp_path):
    t = trainer(tmp_path)
    t.train(dataset(), max_steps=10)
    found = ost.io.load_latest_checkpoint(tmp_path)
    assert sorted(found.tensors) == ["calls", "global_step", "w", "w/m"]
    assert found.tensors["global_step"] == 10
    assert found.blobs["graph"].startswith(b"ostria-graph 1")
    assert b"finished" in found.blobs["run"]


def test_bfloat16_state_is_saved_exactly(tmp_path):
    def make():
        w = ost.Variable(ost.cast(ost.asarray(np.float32([1.1, -2.3])), ost.bfloat16), name="w16")

        def step(x, y):
            w.assign(ost.cast(ost.cast(w.value(), ost.float32) * 1.01, ost.bfloat16))
            return ost.mean(x)

        return w, Trainer(task=StepTask(step), model_dir=tmp_path, save_steps=5)

    w, t = make()
    t.train(dataset(), max_steps=5)
    again, t = make()
    t.train(dataset(), steps=1)
    w.assign(ost.cast(ost.cast(w.value(), ost.float32) * 1.01, ost.bfloat16))
    wide = [ost.cast(v.value(), ost.float32).numpy() for v in (w, again)]
    np.testing.assert_array_equal(*wide)


def test_without_a_model_dir_state_stays_in_memory():
    t = trainer()
    t.train(dataset(), steps=3)
    t.train(dataset(), steps=3)
    assert t.global_step == 6
    with pytest.raises(ValueError, match="save: this Trainer has no folder to save to"):
        t.save()
    with pytest.raises(ValueError, match="need a model_dir"):
        Trainer(task=Regression(), save_steps=3)


# --- Evaluation and prediction -------------------------------------------------------------------


def test_evaluation_leaves_no_trace_in_training(tmp_path):
    class Evaluate(Hook):
        def after_save(self, trainer, path):
            trainer.evaluate(lambda: (X, Y))

    plain, watched = trainer(tmp_path / "a"), trainer(tmp_path / "b")
    plain.train(dataset(), max_steps=25)
    watched.train(dataset(), max_steps=25, hooks=[Evaluate()])
    assert state(plain) == state(watched)


def test_evaluate_is_the_mean_over_batches(tmp_path):
    t = trainer(tmp_path)
    t.train(dataset(), max_steps=10)
    got = t.evaluate(ost.data.Dataset.from_tensor_slices((X, Y)).batch(40))
    w = t.task.w.numpy()
    losses = [np.mean((X[a:b] @ w - Y[a:b]) ** 2) for a, b in ((0, 40), (40, 50))]
    assert got["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert got["global_step"] == 10
    one = t.evaluate(ost.data.Dataset.from_tensor_slices((X, Y)).batch(40), steps=1)
    assert one["loss"] == pytest.approx(losses[0], rel=1e-5)


def test_evaluate_and_predict_use_the_newest_checkpoint(tmp_path):
    t = trainer(tmp_path)
    t.train(dataset(), max_steps=10)
    fresh = trainer(tmp_path)
    assert fresh.evaluate(lambda: (X, Y)) == t.evaluate(lambda: (X, Y))
    (row,) = trainer(tmp_path).predict(lambda: X)
    np.testing.assert_array_equal(row, next(t.predict(lambda: (X, Y))))
    np.testing.assert_allclose(row, X @ t.task.w.numpy(), rtol=1e-5)


def test_evaluate_another_checkpoint(tmp_path):
    t = trainer(tmp_path)
    t.train(dataset(), max_steps=10)
    path = ost.io.latest_checkpoint(tmp_path)
    then = t.evaluate(lambda: (X, Y))
    t.train(dataset(), max_steps=20)
    now = t.evaluate(lambda: (X, Y))
    assert t.evaluate(lambda: (X, Y), checkpoint_path=path) == then
    assert t.evaluate(lambda: (X, Y)) == now != then
    t.train(dataset(), max_steps=30)
    assert t.global_step == 30


def test_after_an_error_the_checkpoint_counts_not_what_is_in_memory(tmp_path):
    t = trainer(tmp_path)
    with pytest.raises(Crash):
        t.train(dataset(), max_steps=20, hooks=[CrashAt(15)])
    assert t.evaluate(lambda: (X, Y)) == trainer(tmp_path).evaluate(lambda: (X, Y))
    t.train(dataset(), max_steps=20)
    whole = trainer()
    whole.train(dataset(), max_steps=20)
    assert state(t) == state(whole)


def test_evaluate_without_a_checkpoint_warns(tmp_path):
    with pytest.warns(
        RuntimeWarning, match="evaluate: there is no checkpoint .* freshly initialised"
    ):
        trainer(tmp_path).evaluate(lambda: (X, Y))
    with pytest.raises(ValueError, match="evaluate: the input is empty"):
        trainer().evaluate(dataset().take(0))


# --- Events ---------------------------------------------------------------------------------------


class Record(Hook):
    def __init__(self):
        self.events = []

    def begin(self, trainer):
        self.events.append("begin")

    def before_step(self, trainer):
        self.events.append(f"before {trainer.global_step}")

    def after_step(self, trainer, results):
        assert results.step == trainer.global_step and results.committed
        self.events.append(f"after {results.step} of {results.examples}")

    def before_save(self, trainer):
        self.events.append("saving")

    def after_save(self, trainer, path):
        self.events.append(f"saved {os.path.basename(path)}")

    def end(self, trainer):
        self.events.append("end")

    def close(self):
        self.events.append("close")


def test_events_in_order(tmp_path):
    record = Record()
    trainer(tmp_path, save_steps=2).train(dataset(), max_steps=3, hooks=[record])
    assert record.events == [
        "begin", "saving", "saved ckpt-000000",
        "before 0", "after 1 of 8",
        "before 1", "after 2 of 8", "saving", "saved ckpt-000002",
        "before 2", "after 3 of 8", "saving", "saved ckpt-000003", "end", "close",
    ]  # fmt: skip


def test_close_comes_after_an_error_but_not_end(tmp_path):
    record = Record()
    with pytest.raises(Crash):
        trainer().train(dataset(), max_steps=3, hooks=[record, CrashAt(1)])
    assert record.events == ["begin", "before 0", "after 1 of 8", "close"]


def test_request_stop(tmp_path):
    t = trainer(tmp_path)
    t.train(dataset(), max_steps=30, hooks=[CrashAt(7, lambda: t.request_stop())])
    assert t.global_step == 7 and steps_of(tmp_path)[-1] == 7


def test_summaries(tmp_path):
    t = trainer(tmp_path)
    t.train(dataset(), max_steps=20, hooks=[SummaryHook(tmp_path, 5, 10)])
    events = ost.io.read_events(tmp_path)
    assert sorted(events) == [1, 5, 10, 15, 20]
    assert all("loss" in tags for tags in events.values())
    assert events[20]["global_step/sec"] > 0 and "global_step/sec" not in events[5]


# --- Signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_call_goes_on(tmp_path, signum):
    whole = trainer(tmp_path / "a")
    whole.train(dataset(), max_steps=30)
    before = signal.getsignal(signum)
    hook = CrashAt(13, lambda: os.kill(os.getpid(), signum))
    with pytest.raises(TrainingInterrupted) as caught:
        trainer(tmp_path / "b").train(dataset(), max_steps=30, hooks=[hook])
    assert signal.getsignal(signum) is before
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.signum == signum and caught.value.step == 13
    assert caught.value.checkpoint.endswith("ckpt-000013")
    assert str(caught.value).startswith(
        f"training was stopped by {signal.Signals(signum).name} after step 13; saved as "
    )
    again = trainer(tmp_path / "b")
    again.train(dataset(), max_steps=30)
    assert state(again) == state(whole)


def test_a_signal_during_an_evaluation(tmp_path):
    whole = trainer(tmp_path / "a")
    whole.train(dataset(), max_steps=30)

    class Evaluate(Hook):
        def after_save(self, trainer, path):
            if trainer.global_step == 20:
                kill = CrashAt(2, lambda: os.kill(os.getpid(), signal.SIGINT))
                trainer.evaluate(dataset(epochs=1), hooks=[kill])
                pytest.fail("the evaluation went on")

    with pytest.raises(TrainingInterrupted):
        trainer(tmp_path / "b").train(dataset(), max_steps=30, hooks=[Evaluate()])
    again = trainer(tmp_path / "b")
    again.train(dataset(), max_steps=30)
    assert state(again) == state(whole)


# --- Non-finite steps -----------------------------------------------------------------------------


def poisoned():
    x = X.copy()
    x[20] = 1e30  # finite, but its square is not
    return ost.data.Dataset.from_tensor_slices((x, Y)).batch(8)


def test_nonfinite_stops_before_harm(tmp_path):
    clean = trainer()
    clean.train(poisoned().take(2))
    t = trainer(tmp_path)
    with pytest.raises(ost.NonFiniteError) as caught:
        t.train(poisoned())
    text = str(caught.value)
    assert text.startswith(
        "step 3: the loss is inf. First: square: output 0 (float32[8, 1]) holds NaN"
    )
    assert "test_trainer.py" in text and "The model is as it was after step 2" in text
    assert state(t) == state(clean) and t.global_step == 2


def test_nonfinite_names_bad_input():
    x = X.copy()
    x[0] = np.nan
    with pytest.raises(ost.NonFiniteError, match=r"is in batch\[0\] \(1 of 50 rows"):
        trainer().train(lambda: (x, Y), steps=1)


@pytest.mark.parametrize("seed", range(8))
def test_nonfinite_replays_the_same_random_numbers(seed):
    def step(x):
        return ost.log(ost.random.uniform(()) - 0.5)  # NaN every other time

    ost.random.seed(seed)
    with pytest.raises(ost.NonFiniteError, match=r"the loss is nan\. First: log: "):
        Trainer(task=StepTask(step)).train(lambda: X, steps=100)


def test_nonfinite_skip(tmp_path):
    t = trainer(tmp_path, on_nonfinite="skip")
    t.train(poisoned())
    assert t.global_step == 7 and t.skipped_steps == 1
    clean = trainer()
    clean.train(lambda: (b for i, b in enumerate(poisoned()) if i != 2))
    assert state(t) == state(clean)
    with pytest.raises(ValueError, match="on_nonfinite 'ignore' is unknown; accepted are"):
        Trainer(task=Regression(), on_nonfinite="ignore")


# --- Reading ahead --------------------------------------------------------------------------------


def test_a_checkpoint_that_cannot_be_written_stops_training_or_is_a_warning(tmp_path, monkeypatch):
    save = ost.io.save_checkpoint

    def full(directory, step, *args, **options):
        if step in (20, 30):
            raise OSError(f"cannot write {directory}: No space left on device")
        return save(directory, step, *args, **options)

    monkeypatch.setattr(ost.io, "save_checkpoint", full)
    t = trainer(tmp_path / "raise")
    with pytest.raises(OSError, match="No space left"):
        t.train(dataset, max_steps=50)
    assert t.global_step == 20 and steps_of(tmp_path / "raise") == [0, 10]
    t = trainer(tmp_path / "warn", on_save_error="warn")
    with pytest.warns(RuntimeWarning, match="goes on without a checkpoint of step") as said:
        t.train(dataset, max_steps=50)
    assert all(f"step {k}: " in str(w.message) for k, w in zip((20, 30), said, strict=True))
    assert steps_of(tmp_path / "warn") == [0, 10, 40, 50]
    t = trainer(tmp_path / "warn", on_save_error="warn")
    monkeypatch.setattr(ost.io, "save_checkpoint", lambda *_, **__: full(tmp_path, 20))
    with pytest.raises(OSError, match="No space left"):
        t.save()
    with pytest.raises(ValueError, match="on_save_error 'ignore' is unknown; accepted are"):
        Trainer(task=Regression(), on_save_error="ignore")


def test_the_position_is_that_of_the_next_batch():
    reader = BatchReader(iter([1, 2, 3]))
    assert next(reader) == 1
    here = reader.save()
    assert reader.peek() == 2 and reader.save() == here
    assert not reader.at_end
    other = BatchReader([1, 2, 3])
    other.restore(here)
    assert [other.advance(), other.peek(), other.advance()] == [2, 3, 3]
    assert other.at_end
    with pytest.raises(StopIteration):
        other.advance()
    with pytest.raises(ValueError, match="saved by another kind of input"):
        other.restore("{}")


def test_tracing_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(tmp_path).train(dataset(), max_steps=3)


def test_the_example_in_the_docs():
    import doctest

    from ostria.train import _trainer

    result = doctest.testmod(_trainer)
    assert result.attempted >= 5 and result.failed == 0
