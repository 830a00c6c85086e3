# SPDX-License-Identifier: Apache-2.0
"""Module: a tree of Variables with a `call`. Weights are made at the first call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

from ostria import _activity, _native, _scope, _step, _trainable, _tree
from ostria import _functions as F
from ostria._checks import is_int
from ostria._errors import at_line, name_layer
from ostria.nn import constraints, initializers, regularizers


def snake_case(name: str) -> str:
    """`Conv2D` is `conv2d`, `LayerNormalization` is `layer_normalization`: Keras's names."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_CONTAINERS = (list, tuple, dict)


class InputType(NamedTuple):
    """dtype and shape of one tensor that a module was called with."""

    dtype: Any
    shape: tuple[Any, ...]


class Module:
    """Base of layers and models. Subclasses define `call(self, x, …)`, perhaps `build(self,
    shape)`.

    Attributes that are Modules are children, Variables are weights; so are those in lists, tuples
    and dicts, nested ones too. The name of a weight is its path, `encoder/blocks_1/kernel`: the
    attribute names from the root, with the places in containers, which is what checkpoints use.
    `training=` holds for all modules called within, and is handed to every `call` that takes it.
    """

    #: A penalty on what the module returns, added to `losses`; see `nn.regularizers`.
    activity_regularizer: Callable[[Any], Any] | None = None
    _takes_training: ClassVar[bool] = False
    _observer: ClassVar[Callable[..., Any] | None] = None  # see nn.summary

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "call" in cls.__dict__:
            cls._takes_training = "training" in inspect.signature(cls.call).parameters

    def __init__(self, *, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self._trainable = True
        self.built = False
        self._activity: tuple[Any, list[Any] | None] = (None, [])  # the call, its penalties
        self._scope_name = ""
        self._path = ""
        self._losses: list[Callable[[], Any]] = []
        self._penalties: list[tuple[Any, Callable[[Any], Any]]] = []  # (weight, regularizer)
        # Arguments of the first call that succeeded, flattened: tensors are InputTypes.
        self._first_call: tuple[list[Any], Any] | None = None

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(
            at_line(f"{type(self).__name__} has no call(); define `def call(self, x): …`")
        )

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Makes the weights for inputs of these shapes; called once, before the first `call`."""

    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The result of `call`, after `build` the first time.

        Args:
            args: given to `call`.
            training: whether this is a step of training; None: as the module that calls this one,
                False outside modules.
            kwargs: given to `call`.
        """
        if training is None:
            training = _scope.training()
        if not self._scope_name:
            for caller in reversed(_scope.callers()):
                caller._name_children()
                if self._scope_name:
                    break
        sharing = _scope.sharing()
        name = sharing.name_root(self) if sharing and not _scope.path() else self._scope_name
        with _scope.scope(name, self, training):
            try:
                if not self.built:
                    self._path = _scope.path()
                    self.build(*(tuple(a.shape) for a in args if hasattr(a, "shape")))
                    self.built = True
                if self._takes_training:
                    kwargs["training"] = training
                if Module._observer is None:
                    result = self.call(*args, **kwargs)
                else:
                    result = Module._observer(self, lambda: self.call(*args, **kwargs))
                if self.activity_regularizer is not None:
                    _activity.add(self, self.activity_regularizer, result)
                if self._first_call is None:
                    self._first_call = _types_of(args, kwargs)
                return result
            except Exception as error:
                name_layer(error, self._path or self.name, type(self).__name__)
                raise

    # --- The tree ---------------------------------------------------------------------------------

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)
        if isinstance(value, (Module, *_CONTAINERS)):
            self._name_children()

    def _leaves(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of all attributes; of a container's items instead of the container."""
        seen: set[int] = set()  # a container may hold itself

        def walk(name: str, value: Any) -> Iterator[tuple[str, Any]]:
            if not isinstance(value, _CONTAINERS):
                yield name, value
            elif id(value) not in seen:
                seen.add(id(value))
                items = value.items() if isinstance(value, dict) else enumerate(value)
                for key, item in items:
                    yield from walk(f"{name}_{key}", item)

        for key, value in self.__dict__.items():
            yield from walk(key, value)

    def _name_children(self) -> None:
        """Names the children that have no name yet: lists grow after they were assigned."""
        children = [(name, leaf) for name, leaf in self._leaves() if isinstance(leaf, Module)]
        taken = {child._scope_name for _, child in children}
        for name, child in children:
            if not child._scope_name:
                base, number = name.replace("/", "_"), 0
                name = base
                while name in taken:
                    number += 1
                    name = f"{base}_{number}"
                taken.add(name)
                child._scope_name = name

    @property
    def trainable(self) -> bool:
        """Whether optimizers are to change its weights; setting it sets it for all modules below.

        It may be set at any time: compiled functions that ask for it are traced again.
        """
        return _trainable.note(self, self._trainable)

    @trainable.setter
    def trainable(self, flag: bool) -> None:
        if not isinstance(flag, bool):
            raise TypeError(
                at_line(f"{self.name}: trainable {flag!r} is not accepted; give True or False")
            )
        for module in self.modules():
            if module._trainable != flag:
                module._trainable = flag
                _trainable.changed()

    def children(self) -> Iterator[Module]:
        """Modules directly below, in the order they were assigned."""
        self._name_children()
        return (leaf for _, leaf in self._leaves() if isinstance(leaf, Module))

    def modules(self) -> Iterator[Module]:
        """This module and all below it, parents first; a shared module once."""
        seen: set[int] = set()

        def walk(module: Module) -> Iterator[Module]:
            if id(module) in seen:
                return
            seen.add(id(module))
            yield module
            for child in module.children():
                yield from walk(child)

        return walk(self)

    @property
    def variables(self) -> list[Any]:
        """All Variables of the tree, in order of creation."""
        found = {}
        for module in self.modules():
            for _, value in module._leaves():
                if isinstance(value, _native.Variable):
                    found[value.id] = value
        return [found[i] for i in sorted(found)]

    @property
    def trainable_variables(self) -> list[Any]:
        """The Variables that an optimizer changes: trainable ones of trainable modules."""
        frozen = set()
        for module in self.modules():
            if not module.trainable:
                frozen |= {v.id for v in module.variables}
        return [v for v in self.variables if v.trainable and v.id not in frozen]

    @property
    def non_trainable_variables(self) -> list[Any]:
        """All other Variables, such as moving averages."""
        trainable = {v.id for v in self.trainable_variables}
        return [v for v in self.variables if v.id not in trainable]

    def add_weight(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        initializer: Any = "glorot_uniform",
        dtype: Any = "float32",
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Any:
        """Makes a Variable below this module's path; seed and path alone fix its first value.

        Args:
            name: the last part of its name.
            shape: sizes, all known.
            initializer: of its first value; see `nn.initializers`.
            dtype: its dtype.
            trainable: whether optimizers are to change it.
            regularizer: a penalty, in `losses` while the weight is trainable.
            constraint: what optimizers apply to it after each step; see `nn.constraints`.

        Raises:
            ValueError: a size is not known (a symbolic dimension), or the name is taken: here, or
                in another module that the function being traced calls for the first time.
        """
        rule, limit = regularizers.get(regularizer), constraints.get(constraint)
        variable = self._make_weight(name, shape, initializer, dtype, trainable)
        if rule is not None:
            self._penalties.append((variable, rule))
        if limit is not None:
            variable.constraint = limit
        return variable

    def _make_weight(
        self, name: str, shape: tuple[int, ...], initializer: Any, dtype: Any, trainable: bool
    ) -> Any:
        shape = tuple(int(size) if is_int(size) else size for size in shape)
        for size in shape:
            if not isinstance(size, int):
                raise ValueError(
                    at_line(
                        f"{self.name}: weight '{name}' needs the size `{size}`, which is not known "
                        f"while tracing (shape {list(shape)}); only the batch dimension may be "
                        "unknown"
                    )
                )
        path = f"{self._path}/{name}" if self._path else name
        if any(v.name == path for v in self.variables):
            raise ValueError(
                at_line(f"{self.name}: there is a weight '{path}' already; give it another name")
            )
        sharing = _scope.sharing()
        if sharing is not None and path in sharing.variables:
            return _same(self.name, sharing.variables[path], shape, dtype)
        trace = _native.current_trace()
        notes = None if trace is None else trace.scratch if trace.is_tape else _step.notes()
        if notes is not None and path in notes.setdefault("weights", set()):
            raise ValueError(
                at_line(
                    f"{self.name}: this function made another weight '{path}', of another module, "
                    "and with one name both would start alike and be one in checkpoints; make both "
                    "modules attributes of one parent, so that their paths differ"
                )
            )
        init = initializers.get(initializer)
        variable = _native.Variable(init(shape, dtype, path), name=path, trainable=trainable)
        if sharing is not None:
            sharing.variables[path] = variable
        if notes is not None:
            notes["weights"].add(path)
        return variable

    def add_loss(self, loss: Callable[[], Any]) -> None:
        """Adds a term to the training loss, such as a weight penalty: a function of nothing."""
        self._losses.append(loss)

    @property
    def losses(self) -> list[Any]:
        """The values of all such terms of the tree, as scalars; read it where the loss is made.

        Besides those of `add_loss`: regularizers of the weights that are trainable, and activity
        regularizers of the calls so far in the function being traced, elsewhere of the last call.
        What a function of `cond`, `scan`, `while_loop` or `checkpoint` calls counts in that
        function alone: read it there and return it.

        Raises:
            ValueError: an activity regularizer was applied in such a function, and not read there.
        """
        modules = list(self.modules())
        penalties = [p for module in modules for p in module._penalties]
        terms = [loss() for module in modules for loss in module._losses]
        if penalties:
            trainable = {v.id for v in self.trainable_variables}
            terms += [rule(weight) for weight, rule in penalties if weight.id in trainable]
        return terms + [value for module in modules for value in _activity.values(module)]

    # --- State as a dictionary --------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Variables by name; raises ValueError when two share one."""
        state: dict[str, Any] = {}
        for v in self.variables:
            if v.name in state:
                raise ValueError(
                    at_line(
                        f"{self.name}: two variables are named '{v.name}'; make both modules "
                        "attributes "
                        "of one parent, so that their paths differ"
                    )
                )
            state[v.name] = v
        return state

    def load_state_dict(self, values: dict[str, Any], *, strict: bool = True) -> None:
        """Copies arrays into the Variables of the same names: all of them or, on an error, none.

        Raises:
            ValueError: names are missing or left over (with `strict`), or a shape or dtype differs.
        """
        state = self.state_dict()
        missing, extra = sorted(set(state) - set(values)), sorted(set(values) - set(state))
        if strict and (missing or extra):
            raise ValueError(
                at_line(
                    f"{self.name}: the state does not fit: missing {missing or 'nothing'}, left "
                    "over "
                    f"{extra or 'nothing'}; use strict=False to load what fits"
                )
            )
        fitting = {name: values[name] for name in state if name in values}
        for name, value in fitting.items():
            if not hasattr(value, "shape"):
                fitting[name] = value = F.asarray(value, dtype=state[name].dtype)
            _check_fits(self.name, state[name], value)
        for name, value in fitting.items():
            state[name].assign(value)

    def summary(
        self,
        input_shape: Any = None,
        *,
        batch: int = 1,
        dtype: Any = None,
        print_fn: Callable[[str], Any] | None = print,
    ) -> str:
        """Prints and returns a table of layers: output shape, parameters, FLOPs, memory; totals.

        Layers have the names that their weights' names begin with. FLOPs are those of one call with
        training=False: a multiply-add counts two; an addition, a comparison or the value of a
        function such as exp one; a reduction or a pool one per element that it reads; moving data,
        as Flatten and Embedding do, nothing.

        Args:
            input_shape: sizes with the batch in front, None for `batch`; a list of them for several
                inputs; by default that of the first call. A model without weights yet is built.
            batch: what None stands for.
            dtype: of the inputs, or a list with one for each; by default those of the first call or
                float32.
            print_fn: where the text goes; None prints nothing.

        Raises:
            ValueError: the model was never called and no `input_shape` is given.
        """
        from ostria.nn.summary import summarize

        text = summarize(self, input_shape, batch=batch, dtype=dtype)
        if print_fn is not None:
            print_fn(text)
        return text

    def memory_plan(
        self,
        batch: int,
        input_shape: Any = None,
        *,
        training: bool = False,
        optimizer: Any = None,
        loss: Callable[[Any], Any] | None = None,
        dtype: Any = None,
        memory_limit: int | None = None,
    ) -> dict[str, int]:
        """Bytes that one step takes, by kind and in all (`peak_bytes`), before any step runs.

        Args:
            batch: examples per step.
            input_shape: as in `summary`.
            training: plan forward, backward and update instead of inference.
            optimizer: whose update and state to plan; plain SGD by default.
            loss: from the model's output to a scalar; the mean of squares by default.
            dtype: as in `summary`.
            memory_limit: bytes that the plan may take.

        Raises:
            OutOfMemoryError: the plan is over `memory_limit`; names the largest values and their
                lines.
            ValueError: the model was never called and no `input_shape` is given.
        """
        from ostria.nn.summary import inputs_of, plan_of

        return plan_of(
            self,
            inputs_of(self, input_shape, batch, dtype, "memory_plan"),
            training=training,
            optimizer=optimizer,
            loss=loss,
            memory_limit=memory_limit,
        )


def _types_of(args: Any, kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    named = {name: value for name, value in kwargs.items() if name != "training"}
    leaves, structure = _tree.flatten((args, named))
    return [
        InputType(leaf.dtype, tuple(leaf.shape))
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        else leaf
        for leaf in leaves
    ], structure


def _check_fits(module: str, variable: Any, value: Any) -> None:
    dtype, shape = _native.dtype(value.dtype), list(value.shape)
    if dtype != variable.dtype or shape != list(variable.shape):
        raise ValueError(
            at_line(
                f"{module}: '{variable.name}' is {variable.dtype}{list(variable.shape)}, but "
                f"{dtype}{shape} in the state, so nothing was loaded; give values of the model "
                "that the state is for"
            )
        )


def _same(module: str, variable: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    if tuple(variable.shape) == tuple(shape) and variable.dtype == _native.dtype(dtype):
        return variable
    raise ValueError(
        at_line(
            f"{module}: weight '{variable.name}' is {variable.dtype}{list(variable.shape)} since "
            f"an earlier call of this function, but {_native.dtype(dtype)}{list(shape)} now; make "
            "modules in the same order and with the same sizes every time"
        )
    )
