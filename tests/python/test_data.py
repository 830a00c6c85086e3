# SPDX-License-Identifier: Apache-2.0
"""ostria.data: order and resume against an independent model, structures, threads, messages."""

from __future__ import annotations

import collections
import gc
import gzip
import random
import re
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

if not (Path(__file__).parents[2] / "csrc/bindings/module.cpp").exists():
    pytest.skip("this checkout has no extension module yet", allow_module_level=True)

from ostria.data import (
    AUTOTUNE,
    FASHION_MNIST_CLASSES,
    INFINITE_CARDINALITY,
    UNKNOWN_CARDINALITY,
    Dataset,
    TensorSpec,
    fashion_mnist,
)

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def bits(key: int, n: int) -> int:
    """SplitMix64, written down a second time."""
    z = (key + (n + 1) * GAMMA) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def model_shuffle(values, buffer_size, seed, iteration, epoch):
    key = bits(bits(bits(seed & MASK, 0), iteration), epoch)
    values, buffer, out, draw = list(values), [], [], 0
    while values or buffer:
        while values and len(buffer) < buffer_size:
            buffer.append(values.pop(0))
        slot = (bits(key, draw) * len(buffer)) >> 64
        draw += 1
        out.append(buffer[slot])
        buffer[slot] = buffer[-1]
        buffer.pop()
    return out


def ints(dataset_or_iterator):
    it = dataset_or_iterator
    if isinstance(it, Dataset):
        it = it.as_numpy_iterator()
    return [np.asarray(x).tolist() for x in it]


def raises(kind, message, fn):
    with pytest.raises(kind) as info:
        fn()
    assert re.fullmatch(re.escape(message) + r"( \[test_data\.py:\d+\])?", str(info.value))


# Order


@pytest.mark.parametrize("case", range(20))
def test_order_is_the_models(case):
    rng = random.Random(case)
    n, buffer, seed = rng.randint(1, 400), rng.randint(1, 500), rng.randint(-(2**63), 2**63 - 1)
    epochs, batch = rng.randint(1, 4), rng.randint(1, 130)
    ds = Dataset.range(n).shuffle(buffer, seed=seed).repeat(epochs).batch(batch)
    for iteration in range(2):
        expected = []
        for epoch in range(epochs):
            expected += model_shuffle(range(n), buffer, seed, iteration, epoch)
        assert ints(ds) == [expected[i : i + batch] for i in range(0, len(expected), batch)]


def test_the_chain_of_the_tutorials():
    x = np.arange(1000, dtype=np.float32)
    ds = Dataset.from_tensor_slices((x, x.astype(np.int64))).shuffle(1000).repeat(15).batch(128)
    assert len(ds) == -(-15 * 1000 // 128) == len(list(ds))
    images, labels = zip(*ds.as_numpy_iterator(), strict=True)
    np.testing.assert_array_equal(np.concatenate(images), np.concatenate(labels))
    for epoch in np.concatenate(labels).reshape(15, 1000):  # no epoch runs into the next
        np.testing.assert_array_equal(np.sort(epoch), np.arange(1000))


def test_batches_are_rows_in_order():
    x = np.random.default_rng(0).normal(size=(50, 3, 2)).astype(np.float32)
    got = np.concatenate(list(Dataset.from_tensor_slices(x).batch(7).as_numpy_iterator()))
    np.testing.assert_array_equal(got, x)
    assert got.dtype == np.float32


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
     "float16", "float32", "float64"],
)  # fmt: skip
def test_every_dtype_passes(dtype):
    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    (got,) = Dataset.from_tensor_slices(x).batch(3).as_numpy_iterator()
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, x)


def test_strided_arrays():
    x = np.arange(24).reshape(6, 4)[::2, ::-1]
    np.testing.assert_array_equal(ints(Dataset.from_tensor_slices(x)), x)


# Structures

Point = collections.namedtuple("Point", "x y")


def test_structures_keep_their_nesting():
    data = {"b": np.arange(3), "a": (np.arange(3) * 2, Point([1, 2, 3], [1.5, 2.5, 3.5]))}
    first = next(Dataset.from_tensor_slices(data).as_numpy_iterator())
    assert list(first) == ["b", "a"]
    assert type(first["a"][1]) is Point
    assert first["a"][1].y.dtype == np.float32  # Python floats are float32
    assert first["a"][1].x.dtype == np.int64
    assert (int(first["b"]), int(first["a"][0]), float(first["a"][1].y)) == (0, 0, 1.5)


def test_map_unpacks_tuples_and_sets_a_new_structure():
    ds = Dataset.from_tensor_slices((np.arange(4), np.arange(4) * 10))
    ds = ds.map(lambda x, y: {"sum": x + y, "scaled": x / np.float32(2)})
    ds = ds.map(lambda d: d["sum"])
    assert ints(ds.batch(3)) == [[0, 11, 22], [33]]


def test_enumerate_zip_take_skip():
    ds = Dataset.range(5, 8).enumerate(start=1)
    assert [tuple(map(int, e)) for e in ds.as_numpy_iterator()] == [(1, 5), (2, 6), (3, 7)]
    ds = Dataset.zip((Dataset.range(9).skip(2).take(3), Dataset.range(0, -9, -4)))
    assert [tuple(map(int, e)) for e in ds.as_numpy_iterator()] == [(2, 0), (3, -4), (4, -8)]


def test_element_spec():
    x = np.zeros((10, 28, 28, 1), np.uint8)
    ds = Dataset.from_tensor_slices({"x": x, "y": np.arange(10)}).shuffle(10).repeat()
    assert ds.element_spec == {
        "x": TensorSpec((28, 28, 1), np.uint8),
        "y": TensorSpec((), np.int64),
    }
    scaled = ds.batch(4).map(lambda d: (d["x"] / np.float32(255), d["y"])).prefetch(2)
    assert scaled.element_spec == (
        TensorSpec((None, 28, 28, 1), np.float32),
        TensorSpec((None,), np.int64),
    )
    assert ds.batch(4, drop_remainder=True).element_spec["y"] == TensorSpec((4,), np.int64)
    signature = TensorSpec((None, 3), np.float32)
    assert Dataset.from_generator(lambda: [], output_signature=signature).element_spec == signature
    assert Dataset.from_generator(lambda: [(1, 2.5)]).element_spec == (
        TensorSpec((), np.int64),
        TensorSpec((), np.float32),
    )


def test_cardinality():
    ds = Dataset.range(10)
    assert ds.batch(3).cardinality() == 4
    assert ds.batch(3, drop_remainder=True).cardinality() == 3
    assert ds.repeat().cardinality() == INFINITE_CARDINALITY
    assert Dataset.from_generator(lambda: [1]).cardinality() == UNKNOWN_CARDINALITY
    raises(
        TypeError,
        "len(): the length of this dataset never ends; see cardinality()",
        lambda: len(ds.repeat()),
    )


def test_generators_start_anew_each_epoch():
    calls = []

    def numbers(n):
        calls.append(n)
        yield from range(n)

    ds = Dataset.from_generator(numbers, args=(3,)).repeat(2).batch(4)
    assert ints(ds) == [[0, 1, 2, 0], [1, 2]]
    assert calls == [3, 3]


def test_generator_signature_casts_and_lets_sizes_vary():
    signature = (TensorSpec((None,), np.float64), TensorSpec((), np.int32))
    ds = Dataset.from_generator(
        lambda: (([1] * n, n) for n in range(3)), output_signature=signature
    )
    got = list(ds.as_numpy_iterator())
    assert [g[0].shape for g in got] == [(0,), (1,), (2,)]
    assert got[0][0].dtype == np.float64 and got[0][1].dtype == np.int32


# Resume


def slow_numbers():
    yield from range(23)


PIPELINES = {
    "chain": lambda: Dataset.range(23).shuffle(9, seed=1).repeat(3).batch(4),
    "no_seed": lambda: Dataset.range(23).shuffle(9).repeat(3).batch(4),
    "generator": lambda: Dataset.from_generator(slow_numbers).shuffle(7, seed=1).repeat(2).batch(4),
    "map": lambda: Dataset.range(23).shuffle(5, seed=1).map(lambda x: x * 2).batch(5).prefetch(2),
    "parallel": lambda: (
        Dataset.from_generator(slow_numbers)
        .map(lambda x: x * 2, num_parallel_calls=3)
        .repeat(2)
        .shuffle(8, seed=3)
        .prefetch(AUTOTUNE)
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_resume_is_exact_at_every_position(name):
    make = PIPELINES[name]
    run = make().as_numpy_iterator()
    states, all_values = [run.save()], []
    for value in run:
        all_values.append(value.tolist())
        states.append(run.save())
    assert len(all_values) > 4
    for position, state in enumerate(states):
        resumed = make().as_numpy_iterator()
        resumed.restore(state)
        assert ints(resumed) == all_values[position:], position


def test_restore_into_another_pipeline():
    state = Dataset.range(9).shuffle(4, seed=1).batch(2).iterator().save()
    it = Dataset.range(9).shuffle(4, seed=2).batch(2).iterator()
    raises(
        ValueError,
        "restore: the position was saved by another input pipeline: stage 2 of it is shuffle(4, "
        "seed=1, reshuffle_each_iteration=true), here it is shuffle(4, seed=2, "
        "reshuffle_each_iteration=true); build the pipeline as it was, or start the input from its "
        "beginning",
        lambda: it.restore(state),
    )
    raises(TypeError, "restore: a int was given; save() returns a str", lambda: it.restore(3))


# Threads and errors of the user's functions


class Broken(Exception):
    pass


@pytest.mark.parametrize("parallel", [None, 3])
@pytest.mark.parametrize("prefetch", [False, True])
def test_errors_arrive_as_they_were_raised(parallel, prefetch):
    def fail_at_five(x):
        if x == 5:
            raise Broken("five is right out")
        return x

    ds = Dataset.range(10).map(fail_at_five, num_parallel_calls=parallel)
    it = (ds.prefetch(3) if prefetch else ds).as_numpy_iterator()
    assert [int(next(it)) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(Broken, match=r"^five is right out$") as info:
        next(it)
    assert any(frame.name == "fail_at_five" for frame in info.traceback)
    with pytest.raises(ValueError, match=r"the input failed before.*five is right out"):
        next(it)


def test_input_threads_end_with_their_iterator():
    started = threading.Event()

    def forever():
        n = 0
        while True:
            started.set()
            yield n
            n += 1

    for _ in range(20):
        it = iter(Dataset.from_generator(forever).map(lambda x: x, 2).prefetch(3))
        next(it)
        start = time.monotonic()
        del it
        gc.collect()
        assert time.monotonic() - start < 4


SHUTDOWN = {
    "alive": "it = iter(ds.prefetch(4)); next(it)",
    "blocked": "it = iter(Dataset.from_generator(block).prefetch(1)); threading.Thread("
    "target=lambda: next(it, None), daemon=True).start(); time.sleep(0.3)",
    "parallel": "it = iter(ds.map(lambda x: x + 1, num_parallel_calls=4).prefetch(4)); next(it)",
    "error": "it = iter(ds.map(lambda x: 1 // 0).prefetch(4)); time.sleep(0.1)",
}


@pytest.mark.parametrize("how", SHUTDOWN)
def test_the_interpreter_ends_with_iterators_alive(how):
    program = f"""
        import threading, time
        from ostria.data import Dataset
        def block():
            threading.Event().wait()
            yield 1
        def forever():
            n = 0
            while True:
                yield n
                n += 1
        ds = Dataset.from_generator(forever)
        {SHUTDOWN[how]}
        print("done", flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    if how != "blocked":  # there the waiting thread is told that the wait is over
        assert done.stderr == ""


def test_ctrl_c_ends_a_wait():
    program = """
        import os, signal, threading, time
        from ostria.data import Dataset
        # A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def block():
            threading.Event().wait(3)
            yield 1
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        start = time.monotonic()
        it = iter(Dataset.from_generator(block).prefetch(1))
        try:
            next(it)
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - start < 2, flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted True\n"), done.stderr


def test_waiting_is_counted():
    def slow():
        for n in range(3):
            time.sleep(0.02)
            yield n

    it = Dataset.from_generator(slow).iterator()
    assert it.wait_seconds == 0
    list(it)
    assert 0.06 <= it.wait_seconds < 5
    assert it.elements == 3


def test_arrays_are_kept_alive_and_read_only():
    def make():
        return Dataset.from_tensor_slices(np.arange(1000)).batch(500)

    batch = next(make().as_numpy_iterator())
    gc.collect()
    assert int(batch.sum()) == 124750
    with pytest.raises(ValueError, match="read-only"):
        batch[0] = 1


# Messages


def test_messages_word_for_word():
    ds = Dataset.range(3)
    one, two = np.zeros((3, 2)), np.zeros(4)
    cases = [
        (ValueError, "batch: batch_size is 0; it must be at least 1", lambda: ds.batch(0)),
        (
            TypeError,
            "batch: batch_size is 2.0 (float); it must be an integer",
            lambda: ds.batch(2.0),
        ),
        (
            ValueError,
            "repeat: count is -2; it must be 0 or more, or None (or -1) for no end",
            lambda: ds.repeat(-2),
        ),
        (ValueError, "shuffle: buffer_size is 0; it must be at least 1", lambda: ds.shuffle(0)),
        (
            ValueError,
            "shuffle: seed is 1.5; it must be a 64-bit integer or None",
            lambda: ds.shuffle(1, seed=1.5),
        ),
        (
            ValueError,
            "prefetch: buffer_size is 0; it must be at least 1, or AUTOTUNE",
            lambda: ds.prefetch(0),
        ),
        (
            ValueError,
            "map: num_parallel_calls is 0; it must be at least 1",
            lambda: ds.map(abs, num_parallel_calls=0),
        ),
        (TypeError, "map: map_func is a int; it must be a function", lambda: ds.map(3)),
        (
            ValueError,
            "from_tensor_slices: ['x'] has 3 rows and ['y'] has 4; all arrays must have the same "
            "first size",
            lambda: Dataset.from_tensor_slices({"x": one, "y": two}),
        ),
        (
            ValueError,
            "from_tensor_slices: [1] is a scalar; every array needs a first axis to slice along",
            lambda: Dataset.from_tensor_slices((one, 3)),
        ),
        (
            ValueError,
            "from_tensor_slices: the structure {} holds no array; give at least one",
            lambda: Dataset.from_tensor_slices({}),
        ),
        (
            ValueError,
            "from_tensor_slices: the array has shape (0, 4), which is no row; a dataset needs at "
            "least one example: look at what filtered or loaded the data",
            lambda: Dataset.from_tensor_slices(np.zeros((0, 4))),
        ),
        (
            TypeError,
            "from_tensor_slices: the array: list of dtype <U1 cannot be an element; accepted are "
            "bool, integer and float arrays, numbers, lists of them, and tuples and dicts of these",
            lambda: Dataset.from_tensor_slices(["a", "b"]),
        ),
        (
            TypeError,
            "from_generator: generator is a list; it must be a function that returns a new "
            "iterable each time, as every epoch needs one; give the function itself, or lambda: "
            "values for a list",
            lambda: Dataset.from_generator([1, 2]),
        ),
        (
            ValueError,
            "map: the result of map_func has the structure (array, array), but the first element "
            "had array; all elements must have the same structure",
            lambda: list(ds.map(lambda x: (x, x) if x == 2 else x)),
        ),
        (
            ValueError,
            "map: component 0 of element 2 is float32[], but the first element has int64[]; all "
            "elements must have the same dtype and shape",
            lambda: list(ds.map(lambda x: np.float32(x) if x == 2 else x)),
        ),
        (
            ValueError,
            "from_generator: an element has the structure {'a': array}, but the first element had "
            "array; all elements must have the same structure",
            lambda: list(Dataset.from_generator(lambda: [1, {"a": 1}])),
        ),
    ]
    for kind, message, fn in cases:
        raises(kind, message, fn)


def test_unknown_keywords_are_guessed():
    with pytest.raises(TypeError, match="did you mean 'batch_size'"):
        Dataset.range(3).batch(batchsize=3)
    with pytest.raises(TypeError, match="did you mean 'reshuffle_each_iteration'"):
        Dataset.range(3).shuffle(3, reshuffle_each_iter=False)


# Fashion-MNIST


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_fashion_mnist_without_files(tmp_path, monkeypatch):
    write_folder(tmp_path, {"train-images-idx3-ubyte.gz": b""})
    raises(
        FileNotFoundError,
        "fashion_mnist: the data files were not found. Looked in\n"
        f"  {tmp_path}: lacks train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
        "t10k-labels-idx1-ubyte.gz\n"
        "On Debian or Ubuntu: apt-get install dataset-fashion-mnist. Elsewhere put the four files "
        "(train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
        "t10k-labels-idx1-ubyte.gz) into a folder and pass it as path= or set OSTRIA_DATA_DIR.",
        lambda: fashion_mnist(tmp_path),
    )
    module = sys.modules["ostria.data.fashion_mnist"]
    monkeypatch.setattr(module, "SYSTEM_FOLDER", tmp_path / "nowhere")
    monkeypatch.setenv("OSTRIA_DATA_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(FileNotFoundError) as info:
        fashion_mnist()
    for tried in ("own:", "own/fashion-mnist:", "nowhere:", "home/.ostria/fashion-mnist:"):
        assert f"{tmp_path}/{tried} no such folder" in str(info.value)


def test_fashion_mnist_damaged(tmp_path):
    names = list(sys.modules["ostria.data.fashion_mnist"].FILES)
    write_folder(tmp_path, dict.fromkeys(names, gzip.compress(b"too short")))
    with pytest.raises(ValueError, match="unpacks to 9 bytes instead of 47040016"):
        fashion_mnist(tmp_path)
    write_folder(tmp_path, dict.fromkeys(names, b"no gzip"))
    with pytest.raises(ValueError, match="cannot be unpacked"):
        fashion_mnist(tmp_path)
    write_folder(tmp_path, dict.fromkeys(names, gzip.compress(bytes(47040016), 1)))
    with pytest.raises(ValueError, match="is damaged: its content has SHA-256"):
        fashion_mnist(tmp_path)


def test_fashion_mnist():
    try:
        (x_train, y_train), (x_test, y_test) = fashion_mnist()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert x_train.shape == (60000, 28, 28, 1) and x_train.dtype == np.uint8
    assert x_test.shape == (10000, 28, 28, 1)
    assert y_train.dtype == y_test.dtype == np.int64
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    assert FASHION_MNIST_CLASSES[y_train[0]] == "Ankle boot"
    assert len(FASHION_MNIST_CLASSES) == 10
