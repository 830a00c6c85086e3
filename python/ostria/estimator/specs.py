# SPDX-License-Identifier: Apache-2.0
"""What is trained, evaluated and returned: ``TrainSpec``, ``EvalSpec``, ``EstimatorSpec``.

Names, order, defaults and rules are those of ``tf.estimator``. All are immutable and checked when
they are made. ``EvalSpec`` does not control checkpoints: an evaluation is *triggered by* a new
checkpoint (``RunConfig`` says when) and *limited by* ``throttle_secs``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ostria._checks import is_int, is_number
from ostria._errors import at_line
from ostria._keywords import checked_init

HOOK_METHODS = ("begin", "after_create_session", "before_run", "after_run", "end")
LISTENER_METHODS = ("begin", "before_save", "after_save", "end")


class ModeKeys(enum.StrEnum):
    """What a ``model_fn`` is called for. Equal to the plain strings."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


@checked_init
@dataclass(frozen=True, init=False)
class TrainSpec:
    """What ``train_and_evaluate`` trains on, and until when.

    Args:
      input_fn: function without arguments that returns a dataset, or (features, labels).
      max_steps: the global step at which training ends (absolute: a resumed run counts what it
        did before); None: until the input ends. The only stop condition there is.
      hooks: training hooks.
      saving_listeners: called around every checkpoint.

    Raises:
      TypeError: unknown keyword, or a value of the wrong type.
      ValueError: ``max_steps`` below 1.
    """

    input_fn: Callable[..., Any]
    max_steps: int | None
    hooks: tuple[Any, ...]
    saving_listeners: tuple[Any, ...]

    def __init__(
        self,
        input_fn: Callable[..., Any],
        max_steps: int | None = None,
        hooks: Iterable[Any] | None = None,
        saving_listeners: Iterable[Any] | None = None,
    ) -> None:
        _check_input_fn("TrainSpec", input_fn)
        _check_count("TrainSpec", "max_steps", max_steps)
        _set(
            self,
            input_fn=input_fn,
            max_steps=max_steps,
            hooks=check_hooks("TrainSpec", "hooks", hooks),
            saving_listeners=check_hooks(
                "TrainSpec", "saving_listeners", saving_listeners, LISTENER_METHODS
            ),
        )


@checked_init
@dataclass(frozen=True, init=False)
class EvalSpec:
    """What ``train_and_evaluate`` evaluates on, and how often at most.

    It does not control checkpoints: ``RunConfig`` does, and each new one may trigger an
    evaluation.

    Args:
      input_fn: as for ``TrainSpec``.
      steps: batches per evaluation; None: until the input ends.
      name: evaluations go to ``<model_dir>/eval_<name>`` (without: ``<model_dir>/eval``).
      hooks: evaluation hooks.
      exporters: an exporter, or several with unique names, run after each evaluation.
      start_delay_secs: a separate evaluator waits so long first; ignored in one process.
      throttle_secs: a new checkpoint is evaluated only if the last triggered evaluation began at
        least so long ago. The first one is never throttled, the last state always evaluated.

    Raises:
      TypeError: unknown keyword, or a value of the wrong type.
      ValueError: a number out of range, or exporters without unique names.
    """

    input_fn: Callable[..., Any]
    steps: int | None
    name: str | None
    hooks: tuple[Any, ...]
    exporters: tuple[Any, ...]
    start_delay_secs: float
    throttle_secs: float

    def __init__(
        self,
        input_fn: Callable[..., Any],
        steps: int | None = 100,
        name: str | None = None,
        hooks: Iterable[Any] | None = None,
        exporters: Any = None,
        start_delay_secs: float = 120,
        throttle_secs: float = 600,
    ) -> None:
        _check_input_fn("EvalSpec", input_fn)
        _check_count("EvalSpec", "steps", steps)
        if name is not None and not isinstance(name, str):
            raise TypeError(
                at_line(
                    f"EvalSpec: `name` must be string, given: {name!r}; give a str, or None for "
                    "the folder `eval`"
                )
            )
        for key, value in (
            ("start_delay_secs", start_delay_secs),
            ("throttle_secs", throttle_secs),
        ):
            if not is_number(value):
                raise TypeError(
                    at_line(
                        f"EvalSpec: {key} must be a number of seconds, given: {value!r}; give 0 or "
                        "more"
                    )
                )
            if not value >= 0:
                raise ValueError(
                    at_line(
                        f"EvalSpec: Must specify {key} >= 0, given: {value!r}; give a number of "
                        "seconds, 0 for no wait"
                    )
                )
        _set(
            self,
            input_fn=input_fn,
            steps=steps,
            name=name,
            hooks=check_hooks("EvalSpec", "hooks", hooks),
            exporters=_check_exporters(exporters),
            start_delay_secs=start_delay_secs,
            throttle_secs=throttle_secs,
        )


@checked_init
@dataclass(frozen=True, init=False, eq=False)
class EstimatorSpec:
    """What a ``model_fn`` returns. What each mode needs is checked here.

    Args:
      mode: a ``ModeKeys`` (or its string). TRAIN needs ``loss`` and ``train_op``, EVAL needs
        ``loss``, PREDICT needs ``predictions``.
      predictions: a tensor, or a dict of them.
      loss: scalar tensor.
      train_op: what one training step does.
      eval_metric_ops: metric name to metric.
      export_outputs: signature name to output, for serving.
      training_chief_hooks, training_hooks, evaluation_hooks, prediction_hooks: hooks of a mode.
      scaffold: must be None (TensorFlow's session set-up does not exist here).

    Raises:
      TypeError: unknown keyword, or a value of the wrong type.
      ValueError: unknown mode, a part that the mode needs is missing, or a loss that is no scalar.
    """

    mode: ModeKeys
    predictions: Any
    loss: Any
    train_op: Any
    eval_metric_ops: Mapping[str, Any]
    export_outputs: Mapping[str, Any] | None
    training_chief_hooks: tuple[Any, ...]
    training_hooks: tuple[Any, ...]
    scaffold: None
    evaluation_hooks: tuple[Any, ...]
    prediction_hooks: tuple[Any, ...]

    def __init__(
        self,
        mode: ModeKeys | str,
        predictions: Any = None,
        loss: Any = None,
        train_op: Any = None,
        eval_metric_ops: Mapping[str, Any] | None = None,
        export_outputs: Mapping[str, Any] | None = None,
        training_chief_hooks: Iterable[Any] | None = None,
        training_hooks: Iterable[Any] | None = None,
        scaffold: None = None,
        evaluation_hooks: Iterable[Any] | None = None,
        prediction_hooks: Iterable[Any] | None = None,
    ) -> None:
        try:
            mode = ModeKeys(mode)
        except ValueError:
            raise ValueError(
                at_line(
                    f"EstimatorSpec: unknown mode {mode!r}; accepted are "
                    + ", ".join(f"ModeKeys.{m.name} ({m.value!r})" for m in ModeKeys)
                )
            ) from None
        if scaffold is not None:
            raise NotImplementedError(
                at_line(
                    "EstimatorSpec: scaffold is not supported; set up state in model_fn or in a "
                    f"hook's `begin`; given {scaffold!r}"
                )
            )
        parts = {"predictions": predictions, "loss": loss, "train_op": train_op}
        for part in _NEEDED[mode]:
            if parts[part] is None:
                raise ValueError(
                    at_line(
                        f"EstimatorSpec: Missing {part}. mode {mode.value!r} needs "
                        + " and ".join(_NEEDED[mode])
                        + "; None was given (does model_fn return on this path what it computed?)"
                    )
                )
        _check_scalar(loss)
        _check_mapping("eval_metric_ops", eval_metric_ops)
        _check_mapping("export_outputs", export_outputs)
        hooks = {
            "training_chief_hooks": training_chief_hooks,
            "training_hooks": training_hooks,
            "evaluation_hooks": evaluation_hooks,
            "prediction_hooks": prediction_hooks,
        }
        _set(
            self,
            mode=mode,
            predictions=predictions,
            loss=loss,
            train_op=train_op,
            eval_metric_ops=dict(eval_metric_ops or {}),
            export_outputs=None if export_outputs is None else dict(export_outputs),
            scaffold=None,
            **{key: check_hooks("EstimatorSpec", key, value) for key, value in hooks.items()},
        )


_NEEDED = {
    ModeKeys.TRAIN: ("loss", "train_op"),
    ModeKeys.EVAL: ("loss",),
    ModeKeys.PREDICT: ("predictions",),
}


def check_hooks(
    owner: str,
    argument: str,
    hooks: Iterable[Any] | None,
    methods: tuple[str, ...] = HOOK_METHODS,
) -> tuple[Any, ...]:
    """Returns ``hooks`` as a tuple of instances that define at least one of ``methods``.

    Raises:
      TypeError: not an iterable, a class instead of an instance, or nothing to call.
    """
    if hooks is None:
        return ()
    try:
        items = tuple(hooks)
    except TypeError:
        raise TypeError(
            at_line(
                f"{owner}: `{argument}` must be a list of hooks or None, given: {hooks!r}; put a "
                "single one in a list"
            )
        ) from None
    for hook in items:
        if isinstance(hook, type):
            raise TypeError(
                at_line(
                    f"{owner}: `{argument}` holds the class {hook.__name__}; pass an instance, "
                    f"{hook.__name__}(...)"
                )
            )
        if not any(callable(getattr(hook, method, None)) for method in methods):
            listens = methods is LISTENER_METHODS
            base = "CheckpointSaverListener" if listens else "SessionRunHook"
            raise TypeError(
                at_line(
                    f"{owner}: `{argument}` holds {hook!r}, which has none of the methods "
                    f"{', '.join(methods)}: it would never be called; define one of them, or "
                    f"derive it from {base}"
                )
            )
    return items


def _check_exporters(exporters: Any) -> tuple[Any, ...]:
    if exporters is None:
        return ()
    if callable(getattr(exporters, "export", None)):
        exporters = (exporters,)
    try:
        items = tuple(exporters)
    except TypeError:
        items = (None,)
    for exporter in items:
        if isinstance(exporter, type) or not callable(getattr(exporter, "export", None)):
            raise TypeError(
                at_line(
                    "EvalSpec: `exporters` must be an Exporter, an iterable of Exporter, or "
                    f"`None`, found {exporters!r}; an exporter has a name and a method export()"
                )
            )
    names = [getattr(exporter, "name", None) for exporter in items]
    for name in names:
        if not name or not isinstance(name, str):
            raise ValueError(
                at_line(
                    "EvalSpec: An Exporter cannot have a name that is `None`, empty or no string. "
                    f"All exporter names: {names}; give each a str"
                )
            )
    if len(set(names)) != len(names):
        raise ValueError(
            at_line(
                f"EvalSpec: `exporters` must have unique names. All exporter names: {names}; give "
                "each a name of its own"
            )
        )
    return items


def _check_input_fn(owner: str, input_fn: object) -> None:
    if not callable(input_fn):
        raise TypeError(
            at_line(
                f"{owner}: `input_fn` must be callable, given: {input_fn!r}. Pass the function "
                "itself or `lambda: dataset`, so that each run gets fresh input"
            )
        )


def _check_count(owner: str, key: str, value: Any) -> None:
    if value is None:
        return
    if not is_int(value):
        raise TypeError(
            at_line(
                f"{owner}: {key} must be an integer or None, given: {value!r}; give at least 1, or "
                "None to read the input to its end"
            )
        )
    if value <= 0:
        raise ValueError(
            at_line(
                f"{owner}: Must specify {key} > 0, given: {value!r}; give at least 1, or None to "
                "read the input to its end"
            )
        )


def _check_mapping(key: str, value: object) -> None:
    if value is not None and not (
        isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    ):
        raise TypeError(
            at_line(
                f"EstimatorSpec: {key} must be a dict keyed by names, given: {value!r}; write "
                "{'name': ...}"
            )
        )


def _check_scalar(loss: Any) -> None:
    shape = getattr(loss, "shape", ())
    # A symbolic batch dimension is no int, so it counts as "not a scalar", as it should.
    if any(not (is_int(dim) and dim == 1) for dim in shape):
        raise ValueError(
            at_line(
                f"EstimatorSpec: Loss must be scalar, given: shape [{', '.join(map(str, shape))}]. "
                "Reduce it over the batch, for example with mean()"
            )
        )


def _set(target: object, **values: Any) -> None:
    # The one door into a frozen dataclass with an __init__ of its own.
    for key, value in values.items():
        object.__setattr__(target, key, value)
