# SPDX-License-Identifier: Apache-2.0
"""RunConfig, TrainSpec, EvalSpec and EstimatorSpec against tf.estimator's rules, word for word."""

import inspect
import json
import re

import numpy as np
import pytest

import ostria as ost
from ostria._keywords import check_keywords, checked_keywords, closest_keyword
from ostria.estimator import EstimatorSpec, EvalSpec, ModeKeys, RunConfig, TrainSpec
from ostria.estimator.cluster import parse_tf_config

CLUSTER = {
    "chief": ["host0:2222"],
    "ps": ["host1:2222", "host2:2222"],
    "worker": ["host3:2222", "host4:2222", "host5:2222"],
}


@pytest.fixture(autouse=True)
def _no_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)


def input_fn():
    return None


def message(error, fn, *args, **kwargs):
    with pytest.raises(error) as caught:
        fn(*args, **kwargs)
    return str(caught.value)


class Hook:
    def after_run(self, context, values):
        pass


class Exporter:
    def __init__(self, name):
        self.name = name

    def export(self, *args):
        pass


# --- unknown keywords ---------------------------------------------------------------------------


def test_the_popular_typo_is_answered_with_the_right_spelling():
    text = message(TypeError, RunConfig, save_checkpoint_steps=2000)
    assert text.startswith(
        "RunConfig: unknown keyword 'save_checkpoint_steps'; did you mean "
        "'save_checkpoints_steps'? Accepted: model_dir, tf_random_seed, save_summary_steps, "
    )
    assert re.search(r"checkpoint_save_graph_def, device\. \[test_run_config\.py:\d+\]$", text)


@pytest.mark.parametrize(
    ("make", "start"),
    [
        (
            lambda: TrainSpec(input_fn, max_step=3),
            "TrainSpec: unknown keyword 'max_step'; did you mean 'max_steps'?",
        ),
        (
            lambda: EvalSpec(input_fn, throttle_seconds=3),
            "EvalSpec: unknown keyword 'throttle_seconds'; did you mean 'throttle_secs'?",
        ),
        (
            lambda: EstimatorSpec("train", trainop=3),
            "EstimatorSpec: unknown keyword 'trainop'; did you mean 'train_op'?",
        ),
        (
            lambda: RunConfig().replace(saveSummarySteps=3),
            "RunConfig.replace: unknown keyword 'saveSummarySteps'; did you mean "
            "'save_summary_steps'?",
        ),
    ],
)
def test_unknown_keywords_elsewhere(make, start):
    assert message(TypeError, make).startswith(start)


def without_line(*call, **keywords):
    text, line = message(*call, **keywords).rsplit(" [", 1)
    assert re.fullmatch(r"test_run_config\.py:\d+\]", line)
    return text


def test_check_keywords():
    accepted = ("learning_rate", "units")
    check_keywords("f", ["units"], accepted)
    assert without_line(TypeError, check_keywords, "f", ["zzz"], accepted) == (
        "f: unknown keyword 'zzz'. Accepted: learning_rate, units."
    )
    assert without_line(TypeError, check_keywords, "f", ["unit", "lr"], accepted) == (
        "f: unknown keyword 'unit'; did you mean 'units'? unknown keyword 'lr'; did you mean "
        "'learning_rate'? Accepted: learning_rate, units."
    )
    assert without_line(TypeError, check_keywords, "f", ["a"], ()) == (
        "f: unknown keyword 'a'. It takes no keywords."
    )


def test_closest_keyword_prefers_spelling_variants():
    assert closest_keyword("batchSize", ["batch_size", "batches"]) == "batch_size"
    assert closest_keyword("qqq", ["batch_size"]) is None
    assert closest_keyword("data_format", ["dilation_rate", "filters"]) is None


def test_checked_keywords_keeps_the_signature_and_other_errors():
    @checked_keywords("f")
    def f(x, *, units=1):
        """Doc."""
        return x * units

    assert f(3, units=2) == 6
    assert f.__doc__ == "Doc."
    assert str(inspect.signature(f)) == "(x, *, units=1)"
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        f(units=2)


# --- RunConfig ----------------------------------------------------------------------------------


def test_run_config_has_tensorflows_arguments_in_order_with_their_defaults():
    parameters = inspect.signature(RunConfig).parameters
    assert [p.name for p in parameters.values()] == [
        "model_dir",
        "tf_random_seed",
        "save_summary_steps",
        "save_checkpoints_steps",
        "save_checkpoints_secs",
        "session_config",
        "keep_checkpoint_max",
        "keep_checkpoint_every_n_hours",
        "log_step_count_steps",
        "train_distribute",
        "device_fn",
        "protocol",
        "eval_distribute",
        "experimental_distribute",
        "experimental_max_worker_delay_secs",
        "session_creation_timeout_secs",
        "checkpoint_save_graph_def",
        "device",
    ]
    c = RunConfig()
    assert (c.model_dir, c.tf_random_seed, c.save_summary_steps) == (None, None, 100)
    assert (c.save_checkpoints_steps, c.save_checkpoints_secs) == (None, 600)
    assert (c.keep_checkpoint_max, c.keep_checkpoint_every_n_hours) == (5, 10000)
    assert (c.log_step_count_steps, c.session_creation_timeout_secs) == (100, 7200)
    assert c.checkpoint_save_graph_def is True
    assert (c.is_chief, c.num_worker_replicas, c.num_ps_replicas) == (True, 1, 0)
    assert (c.task_type, c.task_id, c.master, c.evaluation_master) == ("worker", 0, "", "")
    assert (c.cluster_spec, c.global_id_in_cluster, c.service) == ({}, 0, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"save_checkpoints_steps": 20}, (20, None)),
        ({"save_checkpoints_secs": 30}, (None, 30)),
        ({"save_checkpoints_steps": None}, (None, None)),
        ({"save_checkpoints_secs": None}, (None, None)),
        ({"save_checkpoints_steps": None, "save_checkpoints_secs": None}, (None, None)),
        ({"save_checkpoints_steps": 20, "save_checkpoints_secs": None}, (20, None)),
        ({"save_checkpoints_steps": 0}, (0, None)),
    ],
)
def test_steps_or_secs(given, expected):
    c = RunConfig(**given)
    assert (c.save_checkpoints_steps, c.save_checkpoints_secs) == expected


def test_steps_and_secs_together_are_an_error():
    text = without_line(ValueError, RunConfig, save_checkpoints_steps=1, save_checkpoints_secs=2)
    assert text == (
        "`save_checkpoints_steps` and `save_checkpoints_secs` cannot be both set. RunConfig: given "
        "1 steps and 2 seconds; leave one of them out, or make it None"
    )


@pytest.mark.parametrize(
    ("key", "value", "error", "text"),
    [
        ("model_dir", "", ValueError, "model_dir should be non-empty"),
        ("model_dir", 3, TypeError, "model_dir must be a path; given 3"),
        ("tf_random_seed", 1.5, ValueError, "tf_random_seed must be integer; given 1.5"),
        ("save_summary_steps", -1, ValueError, "save_summary_steps should be >= 0; given -1"),
        ("save_checkpoints_steps", -1, ValueError, "save_checkpoints_steps should be >= 0"),
        ("save_checkpoints_steps", "9", TypeError, "must be an integer or None; given '9'"),
        ("save_checkpoints_secs", -0.1, ValueError, "save_checkpoints_secs should be >= 0"),
        ("save_checkpoints_secs", float("nan"), ValueError, "should be >= 0; given nan"),
        ("keep_checkpoint_max", -2, ValueError, "keep_checkpoint_max should be >= 0"),
        ("keep_checkpoint_max", True, TypeError, "keep_checkpoint_max must be an integer"),
        ("keep_checkpoint_every_n_hours", 0, ValueError, "should be > 0; given 0"),
        ("log_step_count_steps", 0, ValueError, "log_step_count_steps should be > 0"),
        ("session_creation_timeout_secs", 0, ValueError, "should be > 0; given 0"),
        ("protocol", "http", ValueError, "protocol should be grpc or grpc+verbs; given 'http'"),
        ("checkpoint_save_graph_def", 1, TypeError, "must be True or False; given 1"),
        ("session_config", object(), NotImplementedError, "OSTRIA_NUM_THREADS"),
        ("device_fn", lambda op: "", NotImplementedError, "device_fn is not supported"),
        ("train_distribute", "cpu", TypeError, "must be a strategy of ost.distribute or None"),
        ("eval_distribute", 1, TypeError, "eval_distribute must be a strategy of ost.distribute"),
        ("experimental_distribute", 1, NotImplementedError, "given 1; give train_distribute a"),
    ],
)
def test_invalid_values(key, value, error, text):
    assert text in message(error, RunConfig, **{key: value})
    assert text in message(error, RunConfig().replace, **{key: value})


def test_strategies():
    one, other = (ost.distribute.MirroredStrategy(["cpu:0", "cpu:1"]) for _ in range(2))
    config = RunConfig(train_distribute=one, eval_distribute=one)
    assert config.replace(model_dir="/m").train_distribute is one
    assert config.replace(eval_distribute=other).eval_distribute is other
    assert "give one of the two" in message(
        ValueError, RunConfig, train_distribute=one, device="cpu"
    )


def test_values_at_the_border_are_accepted(tmp_path):
    c = RunConfig(
        model_dir=tmp_path,
        tf_random_seed=np.int64(7),
        save_summary_steps=0,
        save_checkpoints_secs=0,
        keep_checkpoint_max=None,
        log_step_count_steps=None,
        protocol="grpc+verbs",
    )
    assert c.model_dir == str(tmp_path)
    assert c.keep_checkpoint_max is None


def test_replace():
    c = RunConfig(model_dir="a", save_checkpoints_steps=10, keep_checkpoint_max=3)
    d = c.replace(model_dir="b", save_checkpoints_secs=5)
    assert (d.model_dir, d.save_checkpoints_steps, d.save_checkpoints_secs) == ("b", None, 5)
    assert d.keep_checkpoint_max == 3
    assert (c.model_dir, c.save_checkpoints_steps, c.save_checkpoints_secs) == ("a", 10, None)
    assert c.replace() == c
    assert d != c
    both = message(ValueError, c.replace, save_checkpoints_steps=1, save_checkpoints_secs=1)
    assert both.startswith("`save_checkpoints_steps` and `save_checkpoints_secs` cannot be both")
    assert message(ValueError, c.replace, task_id=1).startswith(
        "Replacing task_id is not supported. Allowed properties are model_dir, tf_random_seed, "
    )


def test_run_config_is_immutable_and_prints_itself():
    c = RunConfig(model_dir="a")
    assert without_line(AttributeError, setattr, c, "model_dir", "b") == (
        "RunConfig is immutable; model_dir was assigned 'b'; use config.replace(model_dir=...) to "
        "get a changed copy"
    )
    assert repr(c).startswith("RunConfig(model_dir='a', tf_random_seed=None, save_summary_steps=")


# --- TF_CONFIG ----------------------------------------------------------------------------------


def tf_config(cluster=None, task_type=None, index=None, **more):
    config = dict(more)
    if cluster is not None:
        config["cluster"] = cluster
    task = {"type": task_type, "index": index}
    config["task"] = {k: v for k, v in task.items() if v is not None}
    return json.dumps(config)


def test_tensorflows_own_example():
    c = parse_tf_config(tf_config(CLUSTER, "worker", 1))
    assert c.master == "host4:2222"
    assert c.task_id == 1
    assert c.num_ps_replicas == 2
    assert c.num_worker_replicas == 4
    assert c.cluster_spec == {job: tuple(hosts) for job, hosts in CLUSTER.items()}
    assert c.task_type == "worker"
    assert not c.is_chief


@pytest.mark.parametrize(
    ("task_type", "index", "rank"),
    [("chief", 0, 0), ("worker", 0, 1), ("worker", 2, 3), ("ps", 0, 4), ("ps", 1, 5)],
)
def test_global_ids(task_type, index, rank):
    c = parse_tf_config(tf_config(CLUSTER, task_type, index))
    assert c.global_id_in_cluster == rank
    assert c.is_chief == (task_type == "chief")


def test_the_evaluator_stands_outside():
    c = parse_tf_config(tf_config(CLUSTER, "evaluator", 0))
    assert (c.cluster_spec, c.master, c.num_worker_replicas) == ({}, "", 0)
    assert (c.is_chief, c.global_id_in_cluster) == (False, None)
    assert "index must be 0; given 1" in message(
        ValueError, parse_tf_config, tf_config(CLUSTER, "evaluator", 1)
    )


def test_only_workers_makes_worker_0_the_chief():
    cluster = {"worker": ["a:1", "b:1"]}
    first, second = (parse_tf_config(tf_config(cluster, "worker", i)) for i in (0, 1))
    assert (first.is_chief, second.is_chief) == (True, False)
    assert (second.num_worker_replicas, second.global_id_in_cluster) == (2, 1)


@pytest.mark.parametrize("job", ["chief", "master", "worker"])
def test_one_node_is_local(monkeypatch, job):
    monkeypatch.setenv("TF_CONFIG", tf_config({job: ["localhost:1"]}, job, 0))
    c = RunConfig()
    assert (c.is_chief, c.master, c.num_worker_replicas, c.task_type) == (True, "", 1, job)


def test_clusters_that_cannot_be_run_are_refused_with_what_is_supported(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(CLUSTER, "worker", 1))
    assert without_line(NotImplementedError, RunConfig) == (
        "RunConfig: TF_CONFIG describes a cluster of 6 processes (1 chief, 2 ps, 3 worker); this "
        "version trains in step and has no parameter servers: leave 'ps' out of the cluster"
    )
    monkeypatch.setenv("TF_CONFIG", tf_config({"worker": ["a:1", "b:1"]}, "worker", 1))
    assert without_line(NotImplementedError, RunConfig) == (
        "RunConfig: TF_CONFIG describes a cluster of 2 processes (2 worker), but no strategy "
        "connects them; give RunConfig(train_distribute="
        "ost.distribute.MultiWorkerMirroredStrategy()), or unset TF_CONFIG"
    )
    alone = ost.distribute.MirroredStrategy(["cpu"])
    text = message(ValueError, RunConfig, train_distribute=alone)
    assert "has 1 process(es); make a MultiWorkerMirroredStrategy()" in text


def test_an_evaluator_is_no_chief_whatever_its_strategy(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config(CLUSTER, "evaluator", 0))
    alone = ost.distribute.MirroredStrategy(["cpu"])
    for c in (RunConfig(), RunConfig(train_distribute=alone)):
        assert (c.task_type, c.is_chief, c.num_worker_replicas) == ("evaluator", False, 0)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "TF_CONFIG is not valid JSON: "),
        ("[1]", "TF_CONFIG must be a JSON object; given '[1]'"),
        (tf_config({"worker": ["a:1"], "ps": ["b:1"]}, "ps", 0), 'must have one "chief" node'),
        (tf_config({"chief": ["a:1", "b:1"]}, "chief", 0), 'must have only one "chief" node'),
        (
            tf_config({"chief": ["a:1"], "master": ["b:1"]}, "chief", 0),
            'must have only one "chief" node; given a:1, b:1',
        ),
        (tf_config(CLUSTER, None, 0), "task type must be set"),
        (tf_config(CLUSTER, "worker"), "task index must be set"),
        (tf_config(CLUSTER, "worker", -1), "must be non-negative number; TF_CONFIG gives -1"),
        (tf_config(CLUSTER, "worker", "x"), "must be non-negative number; TF_CONFIG gives 'x'"),
        (tf_config(CLUSTER, "worker", 3), "index 3 is out of range; the cluster has 3 'worker'"),
        (
            tf_config(CLUSTER, "local", 0),
            "unknown task type 'local'; supported are chief, master, worker, ps, evaluator",
        ),
        (tf_config({"chief": ["a:1"]}, "ps", 0), "'ps' is not a task type of this cluster"),
        (tf_config({"chief": "a:1"}, "chief", 0), "'chief' is given as 'a:1'"),
        (tf_config({"chief": ["a:1"], "boss": ["b:1"]}, "chief", 0), "unknown task type 'boss'"),
        (tf_config({"chief": ["a:1"], "evaluator": ["b:1"]}, "chief", 0), "not part of the clus"),
        (tf_config(None, "ps", 0), 'If "cluster" is not set in TF_CONFIG, task type must be'),
        (tf_config(None, "worker", 1), 'If "cluster" is not set in TF_CONFIG, task index must'),
        (tf_config(model_dir=""), "model_dir in TF_CONFIG should be non-empty"),
        (tf_config(service=3), '"service" must be a JSON object; given 3'),
        (json.dumps({"task": 1}), '"task" must be an object such as'),
    ],
)
def test_broken_tf_config(text, part):
    assert part in message(ValueError, parse_tf_config, text)


def test_model_dir_of_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"model_dir": "/m", "service": {"a": 1}}))
    assert RunConfig().model_dir == "/m"
    assert RunConfig(model_dir="/m").model_dir == "/m"
    assert RunConfig().service == {"a": 1}
    assert without_line(ValueError, RunConfig, model_dir="/n") == (
        "`model_dir` provided in RunConfig construct, if set, must have the same value as the "
        "model_dir in TF_CONFIG. model_dir: /n; TF_CONFIG['model_dir']: /m; leave one of them out"
    )
    config = RunConfig()
    monkeypatch.setenv("TF_CONFIG", "{")
    assert config.replace(model_dir="/n").model_dir == "/n"  # TF_CONFIG is not read again


def test_an_empty_tf_config_is_none(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", " ")
    assert RunConfig() == RunConfig()


# --- TrainSpec, EvalSpec ------------------------------------------------------------------------


def test_spec_defaults():
    assert str(inspect.signature(TrainSpec)).startswith("(input_fn")
    t = TrainSpec(input_fn)
    assert (t.max_steps, t.hooks, t.saving_listeners) == (None, (), ())
    e = EvalSpec(input_fn)
    assert (e.steps, e.name, e.hooks, e.exporters) == (100, None, (), ())
    assert (e.start_delay_secs, e.throttle_secs) == (120, 600)
    assert EvalSpec(input_fn, steps=None, throttle_secs=0).steps is None
    hook = Hook()
    assert TrainSpec(input_fn, hooks=[hook]).hooks == (hook,)
    exporter = Exporter("best")
    assert EvalSpec(input_fn, exporters=exporter).exporters == (exporter,)


@pytest.mark.parametrize(
    ("make", "error", "part"),
    [
        (lambda: TrainSpec([1, 2]), TypeError, "`input_fn` must be callable, given: [1, 2]."),
        (lambda: TrainSpec(input_fn, 0), ValueError, "Must specify max_steps > 0, given: 0"),
        (lambda: TrainSpec(input_fn, 1e3), TypeError, "max_steps must be an integer or None"),
        (lambda: TrainSpec(input_fn, hooks=Hook()), TypeError, "`hooks` must be a list of hooks"),
        (lambda: TrainSpec(input_fn, hooks=[Hook]), TypeError, "pass an instance, Hook(...)"),
        (lambda: TrainSpec(input_fn, hooks=[3]), TypeError, "has none of the methods begin, "),
        (
            lambda: TrainSpec(input_fn, saving_listeners=[Hook()]),
            TypeError,
            "none of the methods begin, before_save, after_save, end",
        ),
        (lambda: EvalSpec(None), TypeError, "`input_fn` must be callable, given: None."),
        (lambda: EvalSpec(input_fn, steps=0), ValueError, "Must specify steps > 0, given: 0"),
        (lambda: EvalSpec(input_fn, name=3), TypeError, "`name` must be string, given: 3"),
        (
            lambda: EvalSpec(input_fn, start_delay_secs=-1),
            ValueError,
            "Must specify start_delay_secs >= 0, given: -1",
        ),
        (
            lambda: EvalSpec(input_fn, throttle_secs=-1),
            ValueError,
            "Must specify throttle_secs >= 0, given: -1",
        ),
        (lambda: EvalSpec(input_fn, throttle_secs="1"), TypeError, "a number of seconds"),
        (lambda: EvalSpec(input_fn, exporters=3), TypeError, "an iterable of Exporter, or `None`"),
        (lambda: EvalSpec(input_fn, exporters=[3]), TypeError, "found [3]"),
        (
            lambda: EvalSpec(input_fn, exporters=[Exporter(None)]),
            ValueError,
            "All exporter names: [None]",
        ),
        (
            lambda: EvalSpec(input_fn, exporters=[Exporter("a"), Exporter("a")]),
            ValueError,
            "`exporters` must have unique names. All exporter names: ['a', 'a']",
        ),
    ],
)
def test_invalid_specs(make, error, part):
    assert part in message(error, make)


def test_specs_are_immutable():
    with pytest.raises(AttributeError):
        TrainSpec(input_fn).max_steps = 3


# --- ModeKeys, EstimatorSpec --------------------------------------------------------------------


def test_mode_keys_equal_their_strings():
    assert [str(m) for m in ModeKeys] == ["train", "eval", "infer"]
    assert ModeKeys.PREDICT == "infer"


def test_estimator_spec_checks_what_the_mode_needs():
    spec = EstimatorSpec("train", loss=np.float32(1), train_op="op", training_hooks=[Hook()])
    assert spec.mode is ModeKeys.TRAIN
    assert (spec.eval_metric_ops, spec.export_outputs) == ({}, None)
    assert len(spec.training_hooks) == 1
    EstimatorSpec(ModeKeys.EVAL, loss=np.ones((1, 1)))
    EstimatorSpec("infer", predictions={"a": 1})


@pytest.mark.parametrize(
    ("kwargs", "error", "part"),
    [
        ({"mode": "predict"}, ValueError, "unknown mode 'predict'; accepted are ModeKeys.TRAIN"),
        ({"mode": "train", "train_op": 1}, ValueError, "Missing loss. mode 'train' needs loss and"),
        ({"mode": "train", "loss": 1.0}, ValueError, "Missing train_op."),
        ({"mode": "eval"}, ValueError, "Missing loss."),
        ({"mode": "infer", "loss": 1.0}, ValueError, "Missing predictions."),
        ({"mode": "eval", "loss": np.ones(3)}, ValueError, "Loss must be scalar, given: shape [3]"),
        ({"mode": "eval", "loss": 1.0, "scaffold": 1}, NotImplementedError, "scaffold is not"),
        (
            {"mode": "eval", "loss": 1.0, "eval_metric_ops": [1]},
            TypeError,
            "eval_metric_ops must be a dict keyed by names, given: [1]",
        ),
        ({"mode": "eval", "loss": 1.0, "evaluation_hooks": [3]}, TypeError, "`evaluation_hooks`"),
    ],
)
def test_invalid_estimator_specs(kwargs, error, part):
    assert re.search(re.escape(part), message(error, EstimatorSpec, **kwargs))
