# SPDX-License-Identifier: Apache-2.0
"""``RunConfig``: where an Estimator writes, how often, and which process this is.

Names, order, defaults and rules are those of ``tf.estimator``; only values that this version
cannot honour are refused, here and not half an hour into training. A RunConfig is immutable and
checked when it is made, so everything that reads one may trust it.

It alone decides when checkpoints are written; evaluation merely follows them (``specs.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from ostria import _native
from ostria._checks import is_int, is_number
from ostria._errors import at_line
from ostria._keywords import check_keywords, checked_init
from ostria.estimator.cluster import EVALUATOR, Cluster, parse_tf_config

_SAVE_CHECKPOINTS_ERROR = "`save_checkpoints_steps` and `save_checkpoints_secs` cannot be both set."


class _Unset:
    """The default of ``save_checkpoints_*``: None already means 'never'."""

    def __repr__(self) -> str:
        return "<unset>"


UNSET = _Unset()

_CONSTRUCTOR_KEYWORDS = (
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
)
_CLUSTER_PROPERTIES = (
    "cluster_spec",
    "task_type",
    "task_id",
    "master",
    "evaluation_master",
    "is_chief",
    "num_ps_replicas",
    "num_worker_replicas",
    "global_id_in_cluster",
    "service",
)
# What this version cannot honour, and what to do instead.
_UNSUPPORTED = {
    "session_config": "set the number of threads with OSTRIA_NUM_THREADS",
    "device_fn": "this version places every operation on one device",
    "experimental_distribute": "give train_distribute a strategy of ost.distribute",
}


@checked_init
class RunConfig:
    """Where and how often an Estimator writes, and which process this is. Immutable.

    Args:
      model_dir: folder for checkpoints, event files and exports; may also come from TF_CONFIG.
      tf_random_seed: seed of initial values, shuffling and dropout.
      save_summary_steps: training summaries are written every so many steps; 0 or None: never.
      save_checkpoints_steps: a checkpoint every so many steps; 0 or None: not by steps.
      save_checkpoints_secs: a checkpoint every so many seconds. If neither is given: 600
        seconds. Both explicitly None: no checkpoints. Both set: ValueError.
      session_config: must be None (TensorFlow's session does not exist here).
      keep_checkpoint_max: the newest so many checkpoints are kept; 0 or None keeps all.
      keep_checkpoint_every_n_hours: one more checkpoint is kept for good in every such period.
      log_step_count_steps: loss and speed are logged every so many steps; None: never.
      train_distribute: a strategy of ``ost.distribute``: training, evaluation and prediction run on
        its devices, in all of its processes. None: on one device.
      eval_distribute: the strategy of evaluations; None: that of ``train_distribute``. One of a
        single process makes each process that trains evaluate all of the input by itself.
      device_fn, experimental_distribute: must be None.
      protocol: None, 'grpc' or 'grpc+verbs'; means nothing in one process.
      experimental_max_worker_delay_secs: means nothing in one process.
      session_creation_timeout_secs: how long a separate evaluator waits for somebody who trains;
        None: for ever.
      checkpoint_save_graph_def: whether a checkpoint also stores the graph.
      device: where training, evaluation and prediction run: "cpu", "cuda", "cuda:1"; None is
        ``ost.default_device()``. Checkpoints go from any device to any other.

    Raises:
      TypeError: unknown keyword, or a value of the wrong type.
      ValueError: a value out of range, a contradiction, or a broken TF_CONFIG.
      NotImplementedError: something this version cannot do, such as a cluster of several nodes.
    """

    cluster: Cluster

    def __init__(
        self,
        model_dir: str | os.PathLike[str] | None = None,
        tf_random_seed: int | None = None,
        save_summary_steps: int | None = 100,
        save_checkpoints_steps: int | _Unset | None = UNSET,
        save_checkpoints_secs: float | _Unset | None = UNSET,
        session_config: None = None,
        keep_checkpoint_max: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000,
        log_step_count_steps: int | None = 100,
        train_distribute: Any = None,
        device_fn: None = None,
        protocol: str | None = None,
        eval_distribute: Any = None,
        experimental_distribute: None = None,
        experimental_max_worker_delay_secs: int | None = None,
        session_creation_timeout_secs: float = 7200,
        checkpoint_save_graph_def: bool = True,
        device: str | None = None,
    ) -> None:
        steps, secs = save_checkpoints_steps, save_checkpoints_secs
        if isinstance(steps, _Unset) and isinstance(secs, _Unset):
            steps, secs = None, 600
        # Naming one of the two replaces the default of the other.
        self.save_checkpoints_steps = None if isinstance(steps, _Unset) else steps
        self.save_checkpoints_secs = None if isinstance(secs, _Unset) else secs

        cluster = parse_tf_config()
        self.model_dir = _model_dir(model_dir, cluster.model_dir)
        self.tf_random_seed = tf_random_seed
        self.save_summary_steps = save_summary_steps
        self.session_config = session_config
        self.keep_checkpoint_max = keep_checkpoint_max
        self.keep_checkpoint_every_n_hours = keep_checkpoint_every_n_hours
        self.log_step_count_steps = log_step_count_steps
        self.train_distribute = train_distribute
        self.device_fn = device_fn
        self.protocol = protocol
        self.eval_distribute = eval_distribute
        self.experimental_distribute = experimental_distribute
        self.experimental_max_worker_delay_secs = experimental_max_worker_delay_secs
        self.session_creation_timeout_secs = session_creation_timeout_secs
        self.checkpoint_save_graph_def = checkpoint_save_graph_def
        self.device = device
        self._validate()
        cluster.require_supported("RunConfig", train_distribute)
        self.cluster = cluster  # last: from here on the object is frozen

    def replace(self, **changes: Any) -> RunConfig:
        """Returns a copy with some constructor arguments changed; TF_CONFIG is not read again.

        Changing one of ``save_checkpoints_steps`` and ``save_checkpoints_secs`` sets the other
        to None.

        Raises:
          ValueError: a property that TF_CONFIG decides, or an invalid value.
          TypeError: a keyword that does not exist.
        """
        for key in changes:
            if key in _CLUSTER_PROPERTIES:
                raise ValueError(
                    at_line(
                        f"Replacing {key} is not supported. Allowed properties are "
                        f"{', '.join(_CONSTRUCTOR_KEYWORDS)}; RunConfig: what {key} is, TF_CONFIG "
                        "decides"
                    )
                )
        check_keywords("RunConfig.replace", changes, _CONSTRUCTOR_KEYWORDS)
        pair = {"save_checkpoints_steps", "save_checkpoints_secs"}
        if len(named := pair & changes.keys()) == 1:
            changes[(pair - named).pop()] = None
        if "model_dir" in changes:
            changes["model_dir"] = _model_dir(changes["model_dir"], None)
        copy = object.__new__(RunConfig)
        for key in _CONSTRUCTOR_KEYWORDS:
            setattr(copy, key, changes.get(key, getattr(self, key)))
        copy._validate()
        self.cluster.require_supported("RunConfig.replace", copy.train_distribute)
        copy.cluster = self.cluster
        return copy

    @property
    def cluster_spec(self) -> Mapping[str, tuple[str, ...]]:
        """Task type to addresses; empty for a local process."""
        return self.cluster.cluster_spec

    @property
    def task_type(self) -> str:
        """This process's task type; 'worker' for a local process."""
        return self.cluster.task_type

    @property
    def task_id(self) -> int:
        """This process's index within its task type."""
        return self.cluster.task_id

    @property
    def master(self) -> str:
        """Address of this process's server; empty when it runs alone."""
        return self.cluster.master

    @property
    def evaluation_master(self) -> str:
        """Address used for evaluation; empty when it runs alone."""
        return self.cluster.evaluation_master

    @property
    def is_chief(self) -> bool:
        """Whether this process saves checkpoints and writes summaries; an evaluator does not."""
        if self.cluster.task_type == EVALUATOR:
            return False
        return bool(getattr(self.train_distribute, "is_chief", self.cluster.is_chief))

    @property
    def num_ps_replicas(self) -> int:
        """Number of parameter servers."""
        return self.cluster.num_ps_replicas

    @property
    def num_worker_replicas(self) -> int:
        """Number of training processes, the chief included."""
        own = self.cluster.num_worker_replicas
        if self.cluster.task_type == EVALUATOR:
            return own
        return int(getattr(self.train_distribute, "num_workers", own))

    @property
    def global_id_in_cluster(self) -> int | None:
        """Rank over all task types: chief first, parameter servers last."""
        if self.cluster.cluster_spec or getattr(self.train_distribute, "num_workers", 1) == 1:
            return self.cluster.global_id_in_cluster
        return int(self.train_distribute.environment.rank)  # a launcher's, without TF_CONFIG

    @property
    def service(self) -> Mapping[str, object] | None:
        """TF_CONFIG["service"], as it is."""
        return self.cluster.service

    def __setattr__(self, name: str, value: object) -> None:
        if "cluster" in self.__dict__:
            raise AttributeError(
                at_line(
                    f"RunConfig is immutable; {name} was assigned {value!r}; use "
                    f"config.replace({name}=...) to get a changed copy"
                )
            )
        object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunConfig) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={getattr(self, key)!r}" for key in _CONSTRUCTOR_KEYWORDS)
        return f"RunConfig({values})"

    def _validate(self) -> None:
        for key, remedy in _UNSUPPORTED.items():
            if (value := getattr(self, key)) is not None:
                raise NotImplementedError(
                    at_line(f"RunConfig: {key} is not supported; given {value!r}; {remedy}")
                )
        self._check_strategies()
        if self.save_checkpoints_steps is not None and self.save_checkpoints_secs is not None:
            raise ValueError(
                at_line(
                    f"{_SAVE_CHECKPOINTS_ERROR} RunConfig: given {self.save_checkpoints_steps!r} "
                    f"steps and {self.save_checkpoints_secs!r} seconds; leave one of them out, or "
                    "make it None"
                )
            )
        seed = self.tf_random_seed
        if seed is not None and not is_int(seed):
            raise ValueError(
                at_line(
                    f"RunConfig: tf_random_seed must be integer; given {seed!r} "
                    f"({type(seed).__name__}); give an integer, or None for another seed in each "
                    "run"
                )
            )
        for key in ("save_summary_steps", "save_checkpoints_steps", "keep_checkpoint_max"):
            self._check(key, is_int, ">= 0", "an integer")
        self._check("save_checkpoints_secs", is_number, ">= 0", "a number of seconds")
        self._check("log_step_count_steps", is_int, "> 0", "an integer")
        self._check("keep_checkpoint_every_n_hours", is_number, "> 0", "a number of hours")
        self._check("session_creation_timeout_secs", is_number, "> 0", "a number of seconds")
        self._check("experimental_max_worker_delay_secs", is_int, ">= 0", "an integer")
        if self.protocol not in (None, "grpc", "grpc+verbs"):
            raise ValueError(
                at_line(
                    f"RunConfig: protocol should be grpc or grpc+verbs; given {self.protocol!r}; "
                    "leave it out"
                )
            )
        if self.device is not None:
            _native.device_name(self.device)  # raises where it names none
        if not isinstance(self.checkpoint_save_graph_def, bool):
            raise TypeError(
                at_line(
                    "RunConfig: checkpoint_save_graph_def must be True or False; given "
                    f"{self.checkpoint_save_graph_def!r}"
                )
            )

    def _check_strategies(self) -> None:
        train, evaluate = self.train_distribute, self.eval_distribute
        if train is None and evaluate is None:
            return
        from ostria.distribute._strategy import Strategy  # only with one

        for key, value in (("train_distribute", train), ("eval_distribute", evaluate)):
            if value is not None and not isinstance(value, Strategy):
                raise TypeError(
                    at_line(
                        f"RunConfig: {key} must be a strategy of ost.distribute or None; given "
                        f"{value!r}; give an object such as ost.distribute.MirroredStrategy()"
                    )
                )
        if self.device is not None:
            raise ValueError(
                at_line(
                    f"RunConfig: device {self.device!r} and strategy {train or evaluate!r} are "
                    "given; a strategy says itself which devices steps run on: give one of the two"
                )
            )

    def _check(self, key: str, is_kind: Callable[[object], bool], bound: str, kind: str) -> None:
        value = getattr(self, key)
        if value is None:
            return
        if not is_kind(value):
            raise TypeError(at_line(f"RunConfig: {key} must be {kind} or None; given {value!r}"))
        # `not >` rather than `<=`: NaN fails too.
        if not (value > 0 or (bound == ">= 0" and value == 0)):
            raise ValueError(
                at_line(
                    f"RunConfig: {key} should be {bound}; given {value!r}; give {kind} {bound}, or "
                    "None"
                )
            )


def _model_dir(given: str | os.PathLike[str] | None, in_tf_config: str | None) -> str | None:
    if given is None:
        if in_tf_config:
            import logging

            logging.getLogger("ostria").info("Using model_dir in TF_CONFIG: %s", in_tf_config)
        return in_tf_config
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(
            at_line(
                f"RunConfig: model_dir must be a path; given {given!r}; give a str or a "
                "pathlib.Path, or None for a temporary folder"
            )
        )
    path = os.fspath(given)
    if not path:
        raise ValueError(
            at_line(
                "RunConfig: model_dir should be non-empty; given ''; give a path, or None for a "
                "temporary folder"
            )
        )
    if in_tf_config and in_tf_config != path:
        raise ValueError(
            at_line(
                "`model_dir` provided in RunConfig construct, if set, must have the same value as "
                f"the model_dir in TF_CONFIG. model_dir: {path}; TF_CONFIG['model_dir']: "
                f"{in_tf_config}; leave one of them out"
            )
        )
    return path
