# SPDX-License-Identifier: Apache-2.0
"""Optimizer: what all of them share, from gradients to committed state.

A step is one multi-tensor update per dtype, however many variables there are. Every write of the
step depends on one scalar, `commit`: a step whose loss or gradients are not finite changes nothing
but the counters that report it. A compiled step may hold several updates, of one optimizer or more:
each is computed under the decisions so far, and the trace puts all of them under the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ostria import _accumulate, _autodiff, _checks, _native, _replicas, _step
from ostria import _functions as F
from ostria._errors import at_line
from ostria.optim import _division, _options
from ostria.optim._averages import Averages
from ostria.optim._segments import constrain, decay_table, factors_of, rate_table

_ops = _native.ops
_F32 = _native.float32


class Optimizer:
    """Base of optimizers. Subclasses give `_slots` and `_rule`.

    State, all of it Variables and part of a checkpoint: `iterations` (int64, committed updates, one
    per `apply`), `skipped` (int64, refused ones), `first_bad_step` (int64, `iterations` when the
    first step was refused; -1: none), `learning_rate` (float32, unless it is a schedule), and slots
    named after their weights, such as `dense/kernel/adam_m`.

    Args:
        learning_rate: a number, or a function of the step.
        weight_decay: w *= 1 - lr weight_decay before the step; see `exclude_from_weight_decay`.
        clipnorm: limit of the norm of each gradient.
        clipvalue: limit of each element.
        global_clipnorm: limit of the norm of all gradients together. At most one of the three.
        use_ema: keep a moving average of every weight, for `averaged_weights` and
            `finalize_variable_values`.
        ema_momentum: share of the average that a step keeps; the first step starts it.
        ema_overwrite_frequency: every so many steps the averages replace the weights; None: never.
        learning_rate_multipliers: factors of the rate by patterns of variable names, such as
            `{"encoder/*": 0.1, "*/bias": 2.0}`; the first that matches a name counts, and decay
            follows the rate.
        name: prefix of the names of the state.
    """

    #: (kind, first value) of each slot, in the order the update op takes them.
    _slots: tuple[tuple[str, float], ...] = ()
    #: Whether the update op takes the number of the step, from 1, after the rate.
    _takes_step = False
    #: Whether each element is updated by what is in its place alone, so that a part can be.
    _elementwise = False

    def __init__(
        self,
        learning_rate: float | Callable[[Any], Any],
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        learning_rate_multipliers: Mapping[str, float] | None = None,
        name: str | None = None,
    ):
        kind = type(self).__name__
        _options.check_clipping(
            kind,
            {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm},
        )
        _options.check_averaging(kind, ema_momentum, ema_overwrite_frequency)
        self._factors = _options.check_multipliers(kind, learning_rate_multipliers or {})
        self.name = name or "optimizer"
        decay = 0.0 if weight_decay is None else weight_decay
        self.weight_decay = _checks.check_not_negative(kind, "weight_decay", decay)
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self._averages = Averages(ema_momentum, ema_overwrite_frequency) if use_ema else None
        self.iterations = self._counter("iterations", 0)
        self.skipped = self._counter("skipped", 0)
        self.first_bad_step = self._counter("first_bad_step", -1)
        self._rate: Any = learning_rate
        if not callable(learning_rate):
            rate = self._check_rate(learning_rate)
            self._rate = _native.Variable(
                np.array(rate, np.float32), name=f"{self.name}/learning_rate", trainable=False
            )
        self._slot_variables: dict[int, list[Any]] = {}
        self._no_decay_ids: set[int] = set()
        self._no_decay_names: tuple[str, ...] = ()

    def _counter(self, what: str, start: int) -> Any:
        return _native.Variable(
            np.array(start, np.int64), name=f"{self.name}/{what}", trainable=False
        )

    # --- State ------------------------------------------------------------------------------------

    @property
    def variables(self) -> list[Any]:
        """All state: counters, the learning rate, and the slots made so far (see `build`)."""
        own = [self.iterations, self.skipped, self.first_bad_step]
        if isinstance(self._rate, _native.Variable):
            own.append(self._rate)
        own += [slot for slots in self._slot_variables.values() for slot in slots]
        return own + (self._averages.variables if self._averages else [])

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the slots of `variables` that have none yet: before a checkpoint is restored.

        Raises:
            TypeError: an element is no Variable of a floating-point dtype.
        """
        self._build(variables, None)

    def _build(self, variables: Sequence[Any], parts: Any) -> None:
        for v in variables:
            self._check_variable(v)
            if v.id not in self._slot_variables:
                self._slot_variables[v.id] = self._make_slots(v, parts)
            if self._averages is not None:
                self._averages.build(v, parts)

    def _make_slots(self, variable: Any, parts: Any) -> list[Any]:
        return [variable._slot(kind, first, parts) for kind, first in self._slots]

    def _check_variable(self, v: Any) -> None:
        if not isinstance(v, _native.Variable) or v.dtype.kind != "float":
            raise TypeError(
                at_line(f"{type(self).__name__}: can only change float Variables, not {v!r}")
            )

    @property
    def learning_rate(self) -> Any:
        """The Variable, or the schedule. Setting a number changes it without a new trace."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if not isinstance(self._rate, _native.Variable):
            raise TypeError(
                at_line(
                    f"{type(self).__name__}: the learning rate is a schedule, which decides at "
                    "every "
                    "step; make a new optimizer to use another"
                )
            )
        if not isinstance(value, (_native.Tensor, _native.Variable)):
            value = np.array(self._check_rate(value), np.float32)
        self._rate.assign(value)

    def current_learning_rate(self) -> Any:
        """The rate of the next step, a float32 scalar (traced inside a trace)."""
        if isinstance(self._rate, _native.Variable):
            return self._rate.value()
        rate = F.asarray(self._rate(self.iterations.value()))
        if rate.ndim != 0 or rate.dtype.kind != "float":
            raise TypeError(
                at_line(
                    f"{type(self).__name__}: the schedule returned "
                    f"{rate.dtype}{list(rate.shape)}; a "
                    "floating-point scalar is needed"
                )
            )
        return rate if rate.dtype == _F32 else F.cast(rate, _F32)

    def _check_rate(self, rate: Any) -> float:
        if not _checks.is_number(rate) or not 0 <= rate < float("inf"):
            raise ValueError(
                at_line(
                    f"{type(self).__name__}: learning_rate {rate!r} is not accepted; give a "
                    "number of "
                    "at least 0, or a function of the step such as "
                    "ost.optim.schedules.CosineDecay(...)"
                )
            )
        return float(rate)

    def exclude_from_weight_decay(
        self, variables: Sequence[Any] = (), *, names: Sequence[str] = ()
    ) -> None:
        """Spares given variables the decay, and those whose name contains one of `names`.

        Call it before the first step; a compiled step keeps what it was traced with.
        """
        self._no_decay_ids |= {v.id for v in variables}
        self._no_decay_names += tuple(names)

    def _decays(self, variable: Any) -> bool:
        return variable.id not in self._no_decay_ids and not any(
            part in variable.name for part in self._no_decay_names
        )

    # --- Averages of weights ----------------------------------------------------------------------

    def finalize_variable_values(self, variables: Sequence[Any]) -> None:
        """Replaces the weights by their averages for good, where `use_ema` keeps some.

        Call it when training is over. Without `use_ema`, or before the first step, nothing changes.

        Raises:
            ValueError: a variable has no average, or a compiled function calls this.
        """
        if self._averages is not None and self.iterations.numpy() > 0:
            self._averages.overwrite(type(self).__name__, list(variables))

    def averaged_weights(self, variables: Sequence[Any]) -> AbstractContextManager[None]:
        """Context manager: the averages stand in the weights within, to evaluate or to save them.

        Raises:
            ValueError: the optimizer was made without `use_ema`, made no step yet, or did not
                change one of the variables.

        Example:
            >>> import ostria as ost
            >>> from ostria import optim
            >>> w = ost.Variable([1.0], name="w")
            >>> optimizer = optim.SGD(0.5, use_ema=True, ema_momentum=0.5)
            >>> for _ in range(2):
            ...     _ = optimizer.apply([ost.asarray([1.0])], [w])
            >>> with optimizer.averaged_weights([w]):
            ...     print(w.numpy())
            [0.25]
            >>> print(w.numpy())
            [0.]
        """
        kind = type(self).__name__
        if self._averages is None:
            raise ValueError(at_line(f"{kind}: it keeps no averages; make it with use_ema=True"))
        if self.iterations.numpy() == 0:
            raise ValueError(at_line(f"{kind}: there are no averages before the first step"))
        return self._averages.swapped_in(kind, list(variables))

    # --- Steps ------------------------------------------------------------------------------------

    def minimize(self, loss: Any, variables: Sequence[Any]) -> Any:
        """`apply` with the gradients of `loss`; inside a compiled function or under a tape.

        Args:
            loss: a float scalar of the trace.
            variables: what to change, for example `model.trainable_variables`.

        Returns:
            Whether the step was committed, a bool scalar.
        """
        return self.apply(self.gradients(loss, variables), variables, loss=loss)

    minimise = minimize

    def minimize_batch(
        self,
        loss_fn: Callable[..., Any],
        variables: Sequence[Any] | Callable[[], Sequence[Any]],
        batch: Sequence[Any],
    ) -> Any:
        """One step on `loss_fn(*batch)`, in the micro-batches that `ost.compile` was told to make.

        The result is that of the whole batch at once: gradients and losses of the micro-batches are
        added, weighted by rows, and draws are those of the whole batch. There are two exceptions:
        batch normalization takes its statistics from each micro-batch, and terms that are no means
        over rows (a loss divided by a sum of weights or by the labels that count, an activity
        regularizer that sums) become the mean of what they are in the micro-batches.

        Args:
            loss_fn: gives a scalar, a mean over the rows of its arguments.
            variables: what to change, or a function that says it after the first call of `loss_fn`.
            batch: tensors, or nested structures of them, that are split along their first axis.

        Returns:
            The loss, a float scalar.

        Raises:
            ValueError: the loss is no scalar, or draws random numbers whose rows are not split
                along their first axis.
        """
        loss, grads, wrt = _accumulate.over_batch(loss_fn, variables, batch, self.gradients)
        self.apply(grads, wrt, loss=loss)
        return loss

    def gradients(self, loss: Any, variables: Sequence[Any]) -> list[Any]:
        """d(loss)/d(variables); an optimizer that scales the loss does it here."""
        return _autodiff.gradients(loss, variables)

    def apply(self, grads: Sequence[Any], variables: Sequence[Any], loss: Any = None) -> Any:
        """One step: clip, decide whether to commit, update every variable.

        Inside a replica of a strategy, gradients and loss are shares: they are added over all
        replicas first, so that everything below sees those of the global batch.
        The step is refused when an element of `grads`, or `loss`, is not finite. In a trace the
        decision covers every state write of the function, also those of layers, metrics and other
        optimizers: what one `apply` refuses, none of them does.

        Args:
            grads: one per variable, of its shape and dtype.
            variables: float32 or float64 Variables.
            loss: the loss, if its value should decide too.

        Returns:
            Whether the step was committed, a bool scalar; a later `apply` of the same trace can
            still refuse it.

        Raises:
            ValueError: the lengths differ, a variable or a name occurs twice, a gradient is missing
                or of another shape or dtype; or the precision is float16 and nothing scales the
                loss.
        """
        trace = _native.current_trace()
        policy = None if trace is None else _step.current()[0].notes.get("precision")
        if policy is not None and policy.compute_dtype == _native.float16:
            raise ValueError(
                at_line(
                    f"{type(self).__name__}: under mixed_float16 gradients underflow unless the "
                    "loss is scaled; wrap the optimizer, "
                    f"ost.optim.LossScaleOptimizer({type(self).__name__}(...)), or use "
                    "mixed_bfloat16"
                )
            )
        return self._apply_scaled(grads, variables, loss)

    def _divides_gradients(self, variables: Sequence[Any]) -> bool:
        """Whether the update itself can undo a scale of the gradients, which it multiplies by a
        float32; clipping wants them as they are."""
        clips = (self.clipvalue, self.clipnorm, self.global_clipnorm) != (None, None, None)
        return not clips and all(getattr(v, "dtype", None) == _F32 for v in variables)

    def _apply_scaled(
        self, grads: Sequence[Any], variables: Sequence[Any], loss: Any, scale: Any = None
    ) -> Any:
        """`apply`, without asking whether the loss is scaled.

        `scale`: at least 1, what the gradients are still to be divided by (`_divides_gradients`).
        """
        variables, grads = list(variables), list(grads)
        self._check(grads, variables)
        division = _division.of_step(
            type(self).__name__, self._elementwise, bool(self._slots or self._averages)
        )
        self._build(variables, None if division is None else division.parts)
        if division is not None:
            division.divide(type(self).__name__, self._state_of(variables))
        groups: dict[Any, list[int]] = {}
        for i, v in enumerate(variables):
            groups.setdefault(v.dtype, []).append(i)
        if _replicas.count() > 1:
            loss = None if loss is None else _replicas.total(loss)
            for members in groups.values():
                _sum_over_replicas(grads, variables, members, division)

        commit = None
        for members in groups.values():  # before clipping, which would hide infinities
            commit = _and(commit, _ops.all_finite([grads[i] for i in members]))
        if division is not None:
            commit = division.agree(commit)
        if loss is not None:
            commit = _and(commit, _ops.all_finite([F.asarray(loss)]))
        trace = _native.current_trace()
        if trace is not None and trace.is_tape:  # what runs at once is a step of its own
            trace = None
        if trace is not None and trace.commit is not None:  # an earlier update of this step
            commit = _and(commit, trace.commit)

        norm = _norm_of(variables, division)
        grads, grad_scale = self._clip(grads, groups, norm)
        if scale is not None:
            grad_scale = 1.0 / scale
        rate = self.current_learning_rate()
        step = self.iterations.value()
        factors = factors_of(type(self).__name__, self._factors, variables)
        update, attributes = self._rule()
        for members in groups.values():
            ws = [variables[i] for i in members]
            slots = [[self._slot_variables[w.id][k] for w in ws] for k in range(len(self._slots))]
            lr, rates = rate_table(rate, [factors[i] for i in members])
            decay = decay_table(self.weight_decay, [self._decays(w) for w in ws])
            scalars = [lr, step + 1] if self._takes_step else [lr]
            gs = [grads[i] for i in members]
            own = ws if division is None else division.own(ws)
            results = update(
                own, gs, *slots, *scalars, grad_scale, commit, **attributes, **decay, **rates
            )
            results = list(results) if isinstance(results, tuple) else [results]
            values = results[: len(ws)]
            flat = [slot for group in slots for slot in group]
            for target, value in zip(flat, results[len(ws) :], strict=True):
                target._assign_decided(value, commit)
            if self._averages is not None:
                values = self._averages.update(ws, values, step + 1, commit)
            if division is not None:
                values = division.whole(values, ws)
            for target, value in zip(ws, values, strict=True):
                target._assign_decided(value, commit)
        for v in variables:
            constrain(v, commit)
        self._count(commit, trace)
        if trace is not None:
            trace.set_commit(commit)
        return commit

    def _rule(self) -> tuple[Any, dict[str, Any]]:
        """The multi-tensor update op, which takes w, g, the slots and scalars, and its attributes.

        It gives the new weights, then the new slots, group by group.
        """
        raise NotImplementedError(at_line(f"{type(self).__name__} has no _rule()"))

    def _check(self, grads: list[Any], variables: list[Any]) -> None:
        kind = type(self).__name__
        if len(grads) != len(variables):
            raise ValueError(
                at_line(f"{kind}: {len(grads)} gradient(s) for {len(variables)} variable(s)")
            )
        if not variables:
            raise ValueError(
                at_line(
                    f"{kind}: there are no variables to change; a model makes its weights at "
                    "its first call"
                )
            )
        for v in variables:
            self._check_variable(v)
        if len({v.id for v in variables}) < len(variables):
            raise ValueError(at_line(f"{kind}: a variable occurs twice; give each once"))
        names = [v.name for v in variables]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(
                at_line(
                    f"{kind}: two variables are named '{twice}', so they would start alike and be "
                    "one in checkpoints; make their modules attributes of one parent, so that "
                    "their paths differ"
                )
            )
        for i, (g, v) in enumerate(zip(grads, variables, strict=True)):
            if g is None:
                raise ValueError(at_line(f"{kind}: variable '{v.name}' has no gradient (None)"))
            grads[i] = g = F.asarray(g)
            if tuple(g.shape) != tuple(v.shape) or g.dtype != v.dtype:
                raise ValueError(
                    at_line(
                        f"{kind}: the gradient of '{v.name}' is {g.dtype}{list(g.shape)}, but the "
                        f"variable is {v.dtype}{list(v.shape)}"
                    )
                )

    def _state_of(self, variables: Sequence[Any]) -> list[Any]:
        """What this optimizer keeps of these variables."""
        slots = [slot for v in variables for slot in self._slot_variables[v.id]]
        return slots + (self._averages.of(variables) if self._averages else [])

    def _clip(
        self,
        grads: list[Any],
        groups: dict[Any, list[int]],
        norm_of: Callable[[Sequence[Any], Sequence[int]], Any],
    ) -> tuple[list[Any], Any]:
        """(gradients, what the update multiplies them by).

        `norm_of`: of gradients, and which of the variables they are of.
        """
        if self.clipvalue is not None:
            limit = float(self.clipvalue)
            grads = [_ops.clip(g, -limit, limit) for g in grads]
        elif self.clipnorm is not None:
            limit = float(self.clipnorm)
            grads = [
                g * F.cast(_shrink(norm_of([g], [i]), limit), g.dtype) for i, g in enumerate(grads)
            ]
        elif self.global_clipnorm is not None:
            norms = [norm_of([grads[i] for i in members], members) for members in groups.values()]
            norm = norms[0] if len(norms) == 1 else _ops.global_norm(norms)
            return grads, _shrink(norm, float(self.global_clipnorm))
        return grads, 1.0

    def _count(self, commit: Any, trace: Any) -> None:
        """Counts an update; once more when the step ends, if others had a say after this one."""
        counters = (self.iterations, self.skipped, self.first_bad_step)
        before = [counter.value() for counter in counters]
        if trace is not None:
            step, _ = _step.current()
            notes = step.notes.setdefault(("optimizer", self.iterations.id), {})
            if not notes:
                in_body = trace.is_body
                notes.update(before=[step.before(c) for c in counters] if in_body else before)
                notes.update(commit=None, updates=0)
                step.finish.append(lambda: self._count_again(step, notes))
            # How often a body runs is not known here, and what it decides has no value outside.
            notes.update(commit=None if trace.is_body else commit, updates=notes["updates"] + 1)
        self._write_counters(before, commit, 1)

    def _count_again(self, step: _step.Step, notes: dict[str, Any]) -> None:
        commit, last = step.commit, notes["commit"]
        if last is not None and notes["updates"] == 1 and step.trace.is_commit(last):
            return
        before = notes["before"]
        tried = (self.iterations - before[0]) + (self.skipped - before[1])
        self._write_counters(before, commit, tried)

    def _write_counters(self, before: list[Any], commit: Any, updates: Any) -> None:
        """`updates`: 1, or a tensor."""
        step, skipped, first = before
        done = F.cast(commit, _native.int64)
        if not isinstance(updates, int):
            done = done * updates
        self.iterations._assign_always(step + done)
        self.skipped._assign_always(skipped + (updates - done))
        is_first = _ops.logical_and(_ops.logical_not(commit), first < 0)
        self.first_bad_step._assign_always(_ops.where(is_first, step, first))


def _sum_over_replicas(
    grads: list[Any],
    variables: list[Any],
    members: list[int],
    division: _division.Division | None,
) -> None:
    # In the order in which the weights lie, so that a part of the gradients is one range.
    places = sorted(members, key=lambda i: variables[i].id)
    add = _replicas.sums if division is None else division.reduced
    for i, g in zip(places, add([grads[i] for i in places]), strict=True):
        grads[i] = g


def _norm_of(
    variables: list[Any], division: _division.Division | None
) -> Callable[[Sequence[Any], Sequence[int]], Any]:
    if division is None:
        return lambda grads, _: _ops.global_norm(list(grads))
    return lambda grads, members: division.norm(grads, [variables[i] for i in members])


def _and(a: Any, b: Any) -> Any:
    return b if a is None else _ops.logical_and(a, b)


def _shrink(norm: Any, limit: float) -> Any:
    return limit / _ops.maximum(norm, limit) if limit > 0 else norm * 0.0
