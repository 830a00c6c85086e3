# SPDX-License-Identifier: Apache-2.0
"""Dataset: an immutable description of an input pipeline, with tf.data's names and semantics.

The work is done by the C++ room ``data`` on flat lists of tensors; here elements get their nesting
back, arguments are checked, and Python functions and generators are adapted.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from ostria._checks import is_int
from ostria._errors import at_line
from ostria._keywords import checked_keywords
from ostria.data._iterator import DatasetIterator
from ostria.data._making import Making, list_files, read_in_turn, with_random
from ostria.data._options import Options
from ostria.data._spec import TensorSpec
from ostria.data._structure import LEAF, Structure, to_leaf

AUTOTUNE = -1
INFINITE_CARDINALITY = -1
UNKNOWN_CARDINALITY = -2

_Leaves = list[Any]


def _native() -> Any:
    return importlib.import_module("ostria._native").data


class _Nesting:
    """The structure of a dataset's elements; unknown until a function has returned the first."""

    def __init__(self, structure: Structure | None = None) -> None:
        self._structure = structure
        self._lock = threading.Lock()

    def flatten(self, value: Any, op: str, what: str) -> _Leaves:
        structure = Structure.of(value)
        with self._lock:
            if self._structure is None:
                self._structure = structure
            expected = self._structure
        if structure != expected:
            raise ValueError(
                at_line(
                    f"{op}: {what} has the structure {structure}, but the first element had "
                    f"{expected}; all elements must have the same structure"
                )
            )
        leaves = expected.flatten(value)
        names = expected.names()
        return [to_leaf(v, f"{op}: {n}") for v, n in zip(leaves, names, strict=True)]

    def get(self) -> Structure:
        assert self._structure is not None, "asked for before the first element"
        return self._structure


class _GeneratorSource:
    """What C++ calls: reset(epoch), then next() until None."""

    def __init__(
        self, make: Callable[[], Iterable[Any]], nesting: _Nesting, dtypes: list[Any] | None
    ) -> None:
        self._make, self._nesting, self._dtypes = make, nesting, dtypes
        self._iterator: Iterator[Any] = iter(())
        self._count = 0  # elements of this epoch

    def reset(self, epoch: int) -> None:
        self._iterator, self._count = iter(self._make()), 0

    def next(self) -> _Leaves | None:
        for value in self._iterator:
            leaves = self._nesting.flatten(value, "from_generator", "an element")
            if self._dtypes is not None:
                raws = self._nesting.get().flatten(value)
                for i, (raw, dtype) in enumerate(zip(raws, self._dtypes, strict=True)):
                    if not isinstance(raw, np.ndarray | np.generic):
                        leaves[i] = leaves[i].astype(dtype)
                    elif raw.dtype != dtype:
                        self._refuse(i, raw, dtype)
            self._count += 1
            return leaves
        return None

    def _refuse(self, i: int, raw: Any, dtype: Any) -> NoReturn:
        raise ValueError(
            at_line(
                f"from_generator: {self._nesting.get().names()[i]} of element {self._count} is "
                f"{raw.dtype}{list(raw.shape)}, but the signature says {dtype}; yield "
                f"value.astype(np.{dtype}), or write {raw.dtype} in output_signature"
            )
        )


class Dataset:
    """A sequence of elements: nested dicts and tuples of tensors.

    Methods return new datasets. ``for element in ds`` makes a pass; ``ds.iterator()`` gives an
    iterator whose position can be saved and restored.

    >>> import numpy as np
    >>> ds = Dataset.from_tensor_slices({"x": np.arange(4)}).batch(3)
    >>> [b["x"].tolist() for b in ds.as_numpy_iterator()]
    [[0, 1, 2], [3]]
    """

    def __init__(
        self,
        handle: Any,
        nesting: _Nesting,
        sample: Callable[[int], _Leaves] | None = None,
        making: Making | None = None,
        options: Options | None = None,
    ) -> None:
        if type(handle).__name__ != "Dataset" or isinstance(handle, Dataset):
            raise TypeError(
                at_line(
                    "Dataset: use Dataset.from_tensor_slices, Dataset.from_generator or "
                    "Dataset.range "
                    "to make one"
                )
            )
        self._handle = handle
        self._nesting = nesting
        self._making = making or Making("source")
        self._options = options
        # One element as flat arrays. Sizes that may vary depend on the argument, 0 or 1, so that
        # comparing two samples finds them.
        self._sample = sample or (lambda extra: [])
        self._spec: Any = None

    # Sources

    @staticmethod
    @checked_keywords("Dataset.from_tensor_slices")
    def from_tensor_slices(tensors: Any) -> Dataset:
        """Elements are the rows of arrays along their first axis.

        Args:
          tensors: an array, or a dict or tuple of such. Arrays in C order are not copied: the
            dataset shares their memory, so what is written to them later shows in its elements.
            Give ``a.copy()`` where ``a`` will change.

        Raises:
          ValueError: no array, no row, a scalar, or first sizes that differ.
        """
        op = "from_tensor_slices"
        structure = Structure.of(tensors)
        names = structure.names()
        if not names:
            raise ValueError(
                at_line(f"{op}: the structure {structure} holds no array; give at least one")
            )
        leaves = structure.flatten(tensors)
        arrays = [to_leaf(v, f"{op}: {n}") for v, n in zip(leaves, names, strict=True)]
        for name, array in zip(names, arrays, strict=True):
            if array.ndim == 0:
                raise ValueError(
                    at_line(
                        f"{op}: {name} is a scalar; every array needs a first axis to slice along"
                    )
                )
            if len(array) != len(arrays[0]):
                raise ValueError(
                    at_line(
                        f"{op}: {names[0]} has {len(arrays[0])} rows and {name} has {len(array)}; "
                        "all "
                        "arrays must have the same first size"
                    )
                )
        if len(arrays[0]) == 0:
            raise ValueError(
                at_line(
                    f"{op}: {names[0]} has shape {arrays[0].shape}, which is no row; a dataset "
                    "needs "
                    "at least one example: look at what filtered or loaded the data"
                )
            )
        return Dataset(
            _native().from_tensor_slices(arrays),
            _Nesting(structure),
            lambda extra: [a[0] for a in arrays],
        )

    @staticmethod
    @checked_keywords("Dataset.from_generator")
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        *,
        output_signature: Any = None,
        args: tuple[Any, ...] = (),
    ) -> Dataset:
        """Elements are what ``generator(*args)`` yields; it is called anew for every epoch.

        A position is restored by running the generator again up to there, so it must yield the same
        every time.

        Args:
          generator: a function that returns an iterable.
          output_signature: TensorSpecs nested like the elements; without it the first element tells
            structure, shapes and dtypes. Python numbers and lists are cast to its dtypes.
          args: what the function is called with.

        Raises:
          TypeError: ``generator`` is not callable.
        """
        if not callable(generator):
            raise TypeError(
                at_line(
                    f"from_generator: generator is a {type(generator).__name__}; it must be a "
                    "function "
                    "that returns a new iterable each time, as every epoch needs one; give the "
                    "function itself, or lambda: values for a list"
                )
            )

        def make() -> Iterable[Any]:
            return generator(*args)

        if output_signature is None:
            nesting = _Nesting()

            def first(extra: int) -> _Leaves:
                own = _GeneratorSource(make, nesting, None)
                own.reset(0)
                leaves = own.next()
                if leaves is None:
                    raise ValueError(
                        at_line(
                            "from_generator: the generator yields nothing, so the shapes of its "
                            "elements are not known; give output_signature"
                        )
                    )
                return leaves

            return Dataset(
                _native().from_source(lambda: _GeneratorSource(make, nesting, None), None),
                nesting,
                first,
                Making("from_generator"),
            )

        structure = Structure.of(output_signature)
        specs = structure.flatten(output_signature)
        for spec, name in zip(specs, structure.names(), strict=True):
            if not isinstance(spec, TensorSpec):
                raise TypeError(
                    at_line(
                        f"from_generator: output_signature {name} is a {type(spec).__name__}; it "
                        "must "
                        "be a TensorSpec, or a dict or tuple of TensorSpecs"
                    )
                )
        nesting = _Nesting(structure)
        dtypes = [s.dtype for s in specs]
        flat = [
            (s.dtype.name, None if s.shape is None else [-1 if n is None else n for n in s.shape])
            for s in specs
        ]
        source = lambda: _GeneratorSource(make, nesting, dtypes)  # noqa: E731
        return Dataset(
            _native().from_source(source, flat),
            nesting,
            lambda extra: [
                np.zeros([1 + extra if n is None else n for n in s.shape or ()], s.dtype)
                for s in specs
            ],
            Making("from_generator"),
        )

    @staticmethod
    @checked_keywords("Dataset.from_files")
    def from_files(
        files: Any, reader: Callable[[str], Iterable[Any]], *, output_signature: Any = None
    ) -> Dataset:
        """Elements are what ``reader(path)`` yields, file after file.

        Workers of a distributed job may share the files among them (AutoShardPolicy.FILE).

        Args:
          files: a pattern such as ``"data/*.npz"``, whose files are read in the order of their
            names, or a list of paths.
          reader: gets a path and returns an iterable; it must yield the same every time.
          output_signature: as for ``from_generator``.

        Raises:
          ValueError: there is no file, or one is listed twice.
          TypeError: ``reader`` is not callable, or ``files`` is neither pattern nor list.
        """
        paths = list_files(files)
        if not callable(reader):
            raise TypeError(
                at_line(
                    f"from_files: reader is a {type(reader).__name__}; it must be a function of a "
                    "path"
                )
            )
        made = Dataset.from_generator(
            read_in_turn(paths, reader), output_signature=output_signature
        )

        def again(paths: tuple[str, ...] = paths) -> Dataset:
            return Dataset.from_files(paths, reader, output_signature=output_signature)

        made._making = Making("from_files", again, files=paths)
        return made

    @staticmethod
    def range(*args: int) -> Dataset:
        """int64 scalars, like Python's ``range``: (stop), (start, stop) or (start, stop, step)."""
        if not 1 <= len(args) <= 3 or not all(is_int(a) for a in args):
            raise TypeError(
                at_line(f"range: got {args}; give (stop), (start, stop) or (start, stop, step)")
            )
        start, stop, step = (0, args[0], 1) if len(args) == 1 else (*args, 1)[:3]
        handle = _native().range(int(start), int(stop), int(step))
        return Dataset(handle, _Nesting(LEAF), lambda extra: [np.int64(start)])

    @staticmethod
    @checked_keywords("Dataset.zip")
    def zip(datasets: tuple[Dataset, ...]) -> Dataset:
        """Tuples of one element of each dataset, until the shortest ends."""
        for d in datasets:
            if not isinstance(d, Dataset):
                raise TypeError(
                    at_line(f"zip: a {type(d).__name__} was given; zip takes a tuple of Datasets")
                )
        nesting = _Combined(lambda: Structure("tuple", [d._nesting.get() for d in datasets]))
        return Dataset(
            _native().zip([d._handle for d in datasets]),
            nesting,
            lambda extra: [leaf for d in datasets for leaf in d._sample(extra)],
            Making("zip", lambda *d: Dataset.zip(d), tuple(datasets)),
        )

    # Transforms

    @checked_keywords("Dataset.shuffle")
    def shuffle(
        self, buffer_size: int, seed: int | None = None, reshuffle_each_iteration: bool = True
    ) -> Dataset:
        """Hands out a random one of the next ``buffer_size`` elements each time.

        Args:
          buffer_size: at least the number of elements for a full shuffle.
          seed: fixes the orders; without it they differ between runs (but not after a restore).
          reshuffle_each_iteration: whether each epoch and each iterator has another order.
        """
        _at_least("shuffle", "buffer_size", buffer_size, 1)
        if seed is not None and not (is_int(seed) and -(2**63) <= seed < 2**63):
            raise ValueError(
                at_line(f"shuffle: seed is {seed!r}; it must be a 64-bit integer or None")
            )
        return self._like(
            _native().shuffle(
                self._handle,
                int(buffer_size),
                None if seed is None else int(seed),
                bool(reshuffle_each_iteration),
            ),
            "shuffle",
            lambda d: d.shuffle(buffer_size, seed, reshuffle_each_iteration),
            seeded=seed is not None,
        )

    @checked_keywords("Dataset.repeat")
    def repeat(self, count: int | None = None) -> Dataset:
        """``count`` epochs; None or -1 for no end."""
        if count is not None:
            _at_least("repeat", "count", count, -1, "0 or more, or None (or -1) for no end")
        handle = _native().repeat(self._handle, -1 if count is None else int(count))
        return self._like(handle, "repeat", lambda d: d.repeat(count))

    @checked_keywords("Dataset.batch")
    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Stacks ``batch_size`` elements along a new first axis.

        The last batch is smaller when the number of elements is no multiple, unless
        ``drop_remainder``.
        """
        _at_least("batch", "batch_size", batch_size, 1)

        def sample(extra: int) -> _Leaves:
            n = int(batch_size) + (0 if drop_remainder else extra)
            return [np.broadcast_to(a, (n, *np.shape(a))) for a in self._sample(extra)]

        handle = _native().batch(self._handle, int(batch_size), bool(drop_remainder))
        again = lambda d: d.batch(batch_size, drop_remainder)  # noqa: E731
        making = Making(
            "batch", again, (self,), share=self._share_batches(batch_size, drop_remainder)
        )
        return Dataset(handle, self._nesting, sample, making)

    def _share_batches(
        self, size: int, drop_remainder: bool
    ) -> Callable[[int, int, int], Dataset] | None:
        """Makes (some of the parts of each batch, rows of the batch); None where all are read."""
        if not self._handle.has_rows():
            return None

        def share(first: int, count: int, total: int) -> Dataset:
            handle = _native().batch_share(self._handle, size, drop_remainder, first, count, total)
            both = _Combined(lambda: Structure("tuple", [self._nesting.get(), LEAF]))
            return Dataset(handle, both)

        return share

    @checked_keywords("Dataset.map")
    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        seed: int | None = None,
    ) -> Dataset:
        """Applies a function to each element.

        Args:
          map_func: gets the element's NumPy arrays (read-only); a tuple as separate arguments. What
            it returns (arrays, numbers, dicts and tuples of them) is the new element. It must
            depend on its arguments alone: a restored position skips calls.
          num_parallel_calls: threads that call it at once; ``AUTOTUNE`` for one per core.
          deterministic: accepted for tf.data's sake; the order is always kept.
          seed: with one, map_func gets a further argument, a NumPy Generator whose numbers depend
            on the seed and on the element's index in this dataset alone: not on threads, on where a
            run was resumed, or on the number of workers that share the data. After ``repeat`` every
            epoch draws others.
        """
        if not callable(map_func):
            raise TypeError(
                at_line(f"map: map_func is a {type(map_func).__name__}; it must be a function")
            )
        if num_parallel_calls is None:
            threads = 1
        elif num_parallel_calls == AUTOTUNE and is_int(num_parallel_calls):
            threads = len(os.sched_getaffinity(0))
        else:
            _at_least("map", "num_parallel_calls", num_parallel_calls, 1)
            threads = int(num_parallel_calls)
        if seed is not None:
            return self._map_with_random(map_func, num_parallel_calls, seed)
        nesting = _Nesting()

        def call(leaves: _Leaves) -> _Leaves:
            value = self._nesting.get().pack(leaves)
            result = map_func(*value) if type(value) is tuple else map_func(value)
            return nesting.flatten(result, "map", "the result of map_func")

        handle = _native().map(self._handle, call, threads)
        making = Making("map", lambda d: d.map(map_func, num_parallel_calls), (self,))
        return Dataset(handle, nesting, lambda extra: call(self._sample(extra)), making)

    def _map_with_random(
        self, map_func: Callable[..., Any], num_parallel_calls: int | None, seed: int, salt: int = 0
    ) -> Dataset:
        numbered = self.enumerate()
        made = numbered.map(with_random(map_func, seed, salt), num_parallel_calls)

        def again(d: Dataset, salt: int = salt) -> Dataset:
            return d._map_with_random(map_func, num_parallel_calls, seed, salt)

        made._making = Making("random map", again, (self,))
        return made

    @checked_keywords("Dataset.prefetch")
    def prefetch(self, buffer_size: int) -> Dataset:
        """A thread prepares up to ``buffer_size`` elements ahead; ``AUTOTUNE`` for two."""
        if is_int(buffer_size) and buffer_size == AUTOTUNE:
            buffer_size = 2
        _at_least("prefetch", "buffer_size", buffer_size, 1, "at least 1, or AUTOTUNE")
        handle = _native().prefetch(self._handle, int(buffer_size))
        return self._like(handle, "prefetch", lambda d: d.prefetch(buffer_size))

    @checked_keywords("Dataset.take")
    def take(self, count: int) -> Dataset:
        """The first ``count`` elements; -1 for all."""
        _at_least("take", "count", count, -1, "0 or more, or -1 for all")
        handle = _native().take(self._handle, int(count))
        return self._like(handle, "take", lambda d: d.take(count))

    @checked_keywords("Dataset.skip")
    def skip(self, count: int) -> Dataset:
        """All but the first ``count`` elements; -1 for none."""
        _at_least("skip", "count", count, -1, "0 or more, or -1 to skip all")
        handle = _native().skip(self._handle, int(count))
        return self._like(handle, "skip", lambda d: d.skip(count))

    @checked_keywords("Dataset.enumerate")
    def enumerate(self, start: int = 0) -> Dataset:
        """Pairs (int64 index, element)."""
        if not is_int(start):
            raise ValueError(at_line(f"enumerate: start is {start!r}; it must be an integer"))
        return Dataset(
            _native().enumerate(self._handle, int(start)),
            _Combined(lambda: Structure("tuple", [LEAF, self._nesting.get()])),
            lambda extra: [np.int64(start), *self._sample(extra)],
            Making("enumerate", lambda d: d.enumerate(start), (self,)),
        )

    def with_options(self, options: Options) -> Dataset:
        """The same elements, with options for this dataset and what is made from it."""
        if not isinstance(options, Options):
            raise TypeError(
                at_line(f"with_options: a {type(options).__name__} was given; give data.Options()")
            )
        making = Making("options", lambda d: d.with_options(options), (self,))
        return Dataset(self._handle, self._nesting, self._sample, making, options)

    def options(self) -> Options:
        """Those given last to this dataset or to what it is made from; else the defaults."""
        if self._options is not None:
            return self._options
        given = [d.options() for d in self._making.inputs]
        return given[0] if given else Options()

    # Reading

    def cardinality(self) -> int:
        """Number of elements, INFINITE_CARDINALITY (-1) or UNKNOWN_CARDINALITY (-2)."""
        return int(self._handle.cardinality())

    def __len__(self) -> int:
        n = self.cardinality()
        if n < 0:
            why = "never ends" if n == INFINITE_CARDINALITY else "is only known by reading it"
            raise TypeError(at_line(f"len(): the length of this dataset {why}; see cardinality()"))
        return n

    def __bool__(self) -> bool:
        return True

    @property
    def element_spec(self) -> Any:
        """TensorSpecs nested like the elements; None stands for sizes that vary.

        Where a generator without a signature or a ``map`` is involved, its function is called for a
        sample element on the first use.
        """
        if self._spec is None:
            specs = []
            for a, b in zip(self._sample(0), self._sample(1), strict=True):
                shapes = zip(np.shape(a), np.shape(b), strict=True)
                specs.append(TensorSpec([m if m == n else None for m, n in shapes], a.dtype))
            self._spec = self._nesting.get().pack(specs)
        return self._spec

    def iterator(self) -> DatasetIterator:
        """A new pass whose position can be saved and restored."""
        return DatasetIterator(self)

    def __iter__(self) -> DatasetIterator:
        return DatasetIterator(self)

    def as_numpy_iterator(self) -> DatasetIterator:
        """A new pass over read-only NumPy arrays."""
        return DatasetIterator(self, as_numpy=True)

    def __repr__(self) -> str:
        return f"<Dataset of {self.cardinality()} elements>".replace(
            "of -1 elements", "without end"
        ).replace("of -2 elements", "of unknown length")

    def _like(
        self, handle: Any, kind: str, again: Callable[..., Dataset], **details: Any
    ) -> Dataset:
        making = Making(kind, again, (self,), details=details)
        return Dataset(handle, self._nesting, self._sample, making)


class _Combined(_Nesting):
    """A structure made of others', which may not be known yet."""

    def __init__(self, combine: Callable[[], Structure]) -> None:
        super().__init__()
        self._combine = combine

    def get(self) -> Structure:
        return self._combine()


def _at_least(op: str, name: str, value: Any, least: int, accepted: str = "") -> None:
    if not is_int(value):
        kind = type(value).__name__
        raise TypeError(at_line(f"{op}: {name} is {value!r} ({kind}); it must be an integer"))
    if value < least:
        accepted = accepted or f"at least {least}"
        raise ValueError(at_line(f"{op}: {name} is {value}; it must be {accepted}"))
