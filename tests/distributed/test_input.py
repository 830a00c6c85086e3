# SPDX-License-Identifier: Apache-2.0
"""Data for replicas: the golden tables, every row once, one end for all, exact positions."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ostria as ost
from ostria.data import AutoShardPolicy, Dataset, Options, TensorSpec
from ostria.distribute import DistributedIterator, InputContext
from ostria.distribute._input import (
    OtherWorldError,
    Workers,
    distribute_dataset,
    distribute_datasets_from_function,
)
from ostria.distribute._parts import split_rows
from ostria.distribute._shard import make_plan

PATIENCE = 20.0


class Group:
    """Workers as threads of one process, with the maximum that they need."""

    def __init__(self, count: int, replicas: int = 1) -> None:
        self.count, self.replicas = count, replicas
        self._barrier = threading.Barrier(count, timeout=PATIENCE)
        self._values = [0] * count
        self.calls = [0] * count

    def worker(self, index: int) -> Workers:
        def agree(value: int) -> int:
            assert -(2**63) <= value < 2**63
            self.calls[index] += 1
            self._values[index] = value
            self._barrier.wait()
            largest = max(self._values)
            self._barrier.wait()
            return largest

        return Workers(self.replicas, self.count, index, agree if self.count > 1 else int)

    def run(self, body: Callable[[Workers], object]) -> list:
        """What ``body`` returns, or raises, for each worker."""
        results: list = [None] * self.count

        def call(index: int) -> None:
            try:
                results[index] = body(self.worker(index))
            except Exception as error:
                results[index] = error

        threads = [threading.Thread(target=call, args=(i,)) for i in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive(), "a worker waits for ever"
        assert len(set(self.calls)) == 1, "workers asked each other a different number of times"
        return results


def with_policy(dataset: Dataset, policy: str) -> Dataset:
    options = Options()
    options.experimental_distribute.auto_shard_policy = policy
    return dataset.with_options(options)


def steps_of(iterator, count: int | None = None) -> list[list[list[int]]]:
    """Per step and local replica the rows."""
    return [[part.tolist() for part in step] for step in itertools.islice(iterator, count)]


def share(dataset: Dataset, workers: Workers) -> DistributedIterator:
    return distribute_dataset(dataset, workers).iterator(quiet=True)


def shared(dataset: Dataset, count: int, replicas: int = 1) -> list[list[list[list[int]]]]:
    """Per worker, step and local replica the rows."""
    results = Group(count, replicas).run(lambda w: steps_of(share(dataset, w)))
    for result in results:
        if isinstance(result, Exception):
            raise result
    assert len({len(r) for r in results}) == 1, "workers ended at different steps"
    return results


def rows_of(results) -> list[int]:
    return [x for worker in results for step in worker for part in step for x in part]


def files(folder: Path, rows: list[list[int]]) -> list[str]:
    paths = []
    for i, values in enumerate(rows):
        paths.append(str(folder / f"part-{i}.npy"))
        np.save(paths[-1], np.array(values, np.int64))
    return paths


def reader(path: str):
    yield from np.load(path)


SCALAR = TensorSpec((), np.int64)


def read(paths) -> Dataset:
    return Dataset.from_files(paths, reader, output_signature=SCALAR)


# Golden tables


@pytest.mark.parametrize(
    ("rows", "batch", "replicas", "expected"),
    [
        (6, 4, 2, [[[0, 1], [2, 3]], [[4], [5]]]),
        (4, 4, 5, [[[0], [1], [2], [3], []]]),
        (8, 4, 3, [[[0, 1], [2, 3], []], [[4, 5], [6, 7], []]]),
        (5, 4, 1, [[[0, 1, 2, 3]], [[4]]]),
    ],
)
def test_a_global_batch_is_cut_for_replicas(rows, batch, replicas, expected):
    dataset = Dataset.range(rows).batch(batch)
    # In one process, and with as many workers, the replicas get the same.
    assert steps_of(share(dataset, Workers(replicas))) == expected
    several = shared(dataset, replicas)
    assert [[w[step][0] for w in several] for step in range(len(expected))] == expected


def test_auto_shard_by_file(tmp_path):
    paths = files(tmp_path, [list(range(6)), list(range(6, 12))])
    for policy in ("FILE", "AUTO"):
        got = shared(with_policy(read(paths).batch(4), policy), 2)
        assert got[0] == [[[0, 1]], [[2, 3]], [[4]], [[5]]]
        assert got[1] == [[[6, 7]], [[8, 9]], [[10]], [[11]]]


def test_auto_shard_by_data(tmp_path):
    paths = files(tmp_path, [list(range(12))])
    got = shared(with_policy(read(paths).batch(4), "DATA"), 2)
    assert got[0] == [[[0, 1]], [[4, 5]], [[8, 9]]]
    assert got[1] == [[[2, 3]], [[6, 7]], [[10, 11]]]
    assert shared(Dataset.range(12).batch(4), 2) == got  # AUTO without files


def test_auto_shard_off():
    got = shared(with_policy(Dataset.range(12).batch(4), AutoShardPolicy.OFF), 2)
    assert got[0] == got[1] == [[[i, i + 1]] for i in range(0, 12, 2)]


def test_rows_are_cut_as_the_table_says():
    assert split_rows(0, 2) == [(0, 0), (0, 0)]
    for rows, parts in itertools.product(range(20), range(1, 8)):
        cuts = split_rows(rows, parts)
        assert [r for a, b in cuts for r in range(a, b)] == list(range(rows))
        sizes = [b - a for a, b in cuts]
        assert sizes == sorted(sizes, reverse=True) and max(sizes) == -(-rows // parts)


# Every row once


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("rows", [1, 7, 24])
def test_every_row_comes_exactly_once(tmp_path, count, replicas, rows):
    """Short and empty last batches, and fewer files than workers."""
    paths = files(tmp_path, [list(range(rows))])
    pipelines = [
        Dataset.range(rows).shuffle(100).batch(6),
        with_policy(read(paths).shuffle(5).batch(6), "DATA"),
        Dataset.zip((Dataset.range(rows), Dataset.range(rows))).map(lambda a, b: a).batch(6),
    ]
    for dataset in pipelines:
        got = shared(dataset, count, replicas)
        assert Counter(rows_of(got)) == Counter(range(rows))
        assert all(len(step) == replicas for worker in got for step in worker)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_workers_with_different_numbers_of_rows_end_together(tmp_path, count):
    rows = [[], [0, 1, 2], [3], list(range(4, 27)), [27, 28], [29]]
    paths = files(tmp_path, rows)
    got = shared(read(paths).batch(5), count, 2)
    assert Counter(rows_of(got)) == Counter(range(30))
    for step in zip(*got, strict=True):  # no step is without rows everywhere
        assert any(part for worker in step for part in worker)
    # A worker without rows gets batches of 0 rows.
    assert count == 1 or [[], []] in got[0] + got[1]


def test_epochs_and_steps_are_whole_in_a_repeated_dataset(tmp_path):
    paths = files(tmp_path, [[0, 1, 2], [3, 4, 5, 6]])
    got = shared(read(paths).shuffle(10, seed=1).batch(4).repeat(3), 2)
    assert Counter(rows_of(got)) == Counter({i: 3 for i in range(7)})


def test_order_of_rows_does_not_depend_on_the_number_of_workers():
    dataset = Dataset.range(50).shuffle(50, seed=3).batch(12).repeat(2)
    orders = []
    for count, replicas in [(1, 1), (1, 4), (2, 1), (2, 2), (3, 1), (5, 1)]:
        # Each time from the first iteration, so that the shuffles' orders are the same.
        fresh = Dataset.range(50).shuffle(50, seed=3, reshuffle_each_iteration=False)
        got = shared(fresh.batch(12).repeat(2), count, replicas)
        orders.append([[x for w in got for part in w[s] for x in part] for s in range(10)])
    assert all(order == orders[0] for order in orders)
    assert len(dataset) == len(orders[0])


@pytest.mark.parametrize(("count", "replicas"), [(2, 1), (2, 2), (3, 2), (5, 1)])
def test_workers_that_gather_their_own_rows_alone_get_the_same(count, replicas):
    for rows, batch in [(1, 4), (6, 4), (23, 7), (24, 8), (12, 6)]:
        alone = Dataset.range(rows).shuffle(9, seed=1, reshuffle_each_iteration=False).batch(batch)
        alone = alone.repeat(2).skip(1)
        whole = alone.map(lambda x: x)  # which may look at all rows of a batch
        assert distribute_dataset(alone, Group(count).worker(1))._shared is not None
        assert distribute_dataset(whole, Group(count).worker(1))._shared is None
        assert shared(alone, count, replicas) == shared(whole, count, replicas)


def test_shuffles_without_a_seed_agree():
    def body(workers: Workers):
        dataset = Dataset.range(40).shuffle(40).batch(8)  # a seed of the system's in each
        return steps_of(share(dataset, workers))

    for _ in range(3):
        assert Counter(rows_of(Group(3).run(body))) == Counter(range(40))


def test_empty_batches_have_the_shape_of_others():
    rows = np.zeros((1, 3, 2), np.float32)
    dataset = Dataset.from_tensor_slices({"x": rows, "y": np.zeros(1, np.int8)}).batch(4)

    def body(workers: Workers):
        return [{k: (v.shape, v.dtype) for k, v in s[0].items()} for s in share(dataset, workers)]

    first, second = Group(2).run(body)
    assert first == [{"x": ((1, 3, 2), np.float32), "y": ((1,), np.int8)}]
    assert second == [{"x": ((0, 3, 2), np.float32), "y": ((0,), np.int8)}]
    assert distribute_dataset(dataset, Workers(2)).element_spec == {
        "x": TensorSpec((None, 3, 2), np.float32),
        "y": TensorSpec((None,), np.int8),
    }


def test_random_numbers_belong_to_elements():
    def add(x, rng):
        return x + rng.integers(0, 1000) * 1000

    def dataset() -> Dataset:
        return Dataset.range(20).repeat(2).map(add, num_parallel_calls=3, seed=5).batch(6)

    (whole,) = shared(dataset(), 1)
    flat = [x for step in whole for x in step[0]]
    assert len({x // 1000 for x in flat}) > 35, "elements, and epochs, draw numbers of their own"
    assert sorted(rows_of(shared(dataset(), 3))) == sorted(flat)
    iterator = dataset().iterator()
    next(iterator)
    resumed = dataset().iterator()
    resumed.restore(iterator.save())
    assert [x for b in resumed for x in b.tolist()] == flat[6:]


def test_random_numbers_of_files_differ(tmp_path):
    paths = files(tmp_path, [[0] * 10, [0] * 10])
    dataset = read(paths).map(lambda x, rng: x + rng.integers(0, 2**40), seed=1).batch(5)
    assert len(set(rows_of(shared(dataset, 2)))) == 20


# Functions


def test_datasets_from_a_function():
    contexts = []

    def make(context: InputContext) -> Dataset:
        contexts.append(context)
        size = context.get_per_replica_batch_size(8)
        numbers = Dataset.range(
            context.input_pipeline_id * 100, context.input_pipeline_id * 100 + 7
        )
        return numbers.batch(size)

    def body(workers: Workers):
        return steps_of(distribute_datasets_from_function(make, workers).iterator(quiet=True))

    got = Group(2, 2).run(body)
    assert got[0] == [[[0, 1], [2, 3]], [[4, 5], [6]]]
    assert got[1] == [[[100, 101], [102, 103]], [[104, 105], [106]]]
    assert sorted(c.input_pipeline_id for c in contexts) == [0, 1]
    assert {(c.num_input_pipelines, c.num_replicas_in_sync) for c in contexts} == {(2, 4)}
    with pytest.raises(ValueError, match="4 replicas cannot share a global batch of 6 evenly"):
        contexts[0].get_per_replica_batch_size(6)


def test_a_worker_whose_function_gives_less_waits_for_the_others():
    def body(workers: Workers):
        def make(context: InputContext) -> Dataset:
            return Dataset.range(1 + 4 * context.input_pipeline_id).batch(2)

        return steps_of(distribute_datasets_from_function(make, workers).iterator(quiet=True))

    assert Group(2).run(body) == [[[[0]], [[]], [[]]], [[[0, 1]], [[2, 3]], [[4]]]]


# Positions


def pipelines(folder: Path) -> dict[str, Dataset]:
    paths = files(folder, [list(range(i * 100, i * 100 + 11 + i)) for i in range(5)])
    return {
        "data": Dataset.range(70).shuffle(30).repeat(2).batch(9),
        "file": read(paths).shuffle(7).repeat(2).batch(9),
        "off": with_policy(Dataset.range(40).shuffle(9, seed=2).batch(9), "OFF"),
        "map": Dataset.range(70).map(lambda x: x * 2).shuffle(9).batch(7).prefetch(3),
    }


@pytest.mark.parametrize("name", ["data", "file", "off", "map"])
@pytest.mark.parametrize(("count", "replicas"), [(1, 2), (2, 1), (3, 2)])
def test_a_position_in_the_middle_is_exact(tmp_path, name, count, replicas):
    def body(workers: Workers):
        iterator = share(pipelines(tmp_path)[name], workers)
        saved = [iterator.save()]
        steps = []
        for step in iterator:
            steps.append([part.tolist() for part in step])
            saved.append(iterator.save())
        for at, position in enumerate(saved):
            resumed = share(pipelines(tmp_path)[name], workers)
            resumed.restore(saved[0] if at % 2 else saved[-1])  # from wherever it was
            resumed.restore(position)
            assert resumed.save() == position
            assert steps_of(resumed) == steps[at:], at
        return saved

    results = Group(count, replicas).run(body)
    for result in results:
        if isinstance(result, Exception):
            raise result
    # One text serves every worker, whoever wrote it into the checkpoint.
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("start", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("end", [(1, 1), (3, 1), (1, 4), (5, 2)])
def test_another_number_of_workers_goes_on_with_the_same_rows(start, end):
    def dataset() -> Dataset:
        return Dataset.range(100).shuffle(100).repeat(2).batch(16)

    def first(workers: Workers):
        iterator = share(dataset(), workers)
        steps_of(iterator, 4)
        position = iterator.save()
        return position, steps_of(iterator)

    def second(workers: Workers):
        iterator = share(dataset(), workers)
        iterator.restore(position)
        return steps_of(iterator)

    def batches(results) -> list[list[int]]:
        return [
            [x for worker in step for part in worker for x in part]
            for step in zip(*results, strict=True)
        ]

    results = Group(*start).run(first)
    position = results[0][0]
    assert batches(Group(*end).run(second)) == batches([r[1] for r in results])


def test_positions_of_other_inputs_are_refused(tmp_path):
    paths = files(tmp_path, [[1, 2], [3, 4], [5, 6]])
    by_file = read(paths).batch(2)

    def save(workers: Workers):
        return share(by_file, workers).save()

    (position, *_) = Group(3).run(save)

    def restore(dataset: Dataset, text: str) -> Callable[[Workers], None]:
        return lambda workers: share(dataset, workers).restore(text)

    (error, _) = Group(2).run(restore(by_file, position))
    assert isinstance(error, ValueError)
    assert "3 worker(s) with 1 replica(s)" in str(error) and "here are 2 with 1" in str(error)
    (error, _) = Group(2).run(restore(Dataset.range(4).batch(2), position))
    assert "saved with the auto-shard policy FILE, and here it is DATA" in str(error)
    for damaged in ("", "{}", "[]", position[:-1], position.replace("positions", "x"), "[" * 9999):
        (error, *_) = Group(3).run(restore(by_file, damaged))
        assert isinstance(error, ValueError), damaged
    changed = position.replace('"0 ', '"-1 ')
    (error, *_) = Group(3).run(restore(by_file, changed))
    assert "position is damaged" in str(error)


@pytest.mark.parametrize("name", ["file", "off", "function"])
@pytest.mark.parametrize(
    ("before", "now"),
    [((2, 1), (2, 1)), ((2, 1), (3, 1)), ((2, 1), (1, 2)), ((1, 1), (2, 1)), ((1, 1), (1, 2))],
)
def test_positions_of_workers_with_data_of_their_own(tmp_path, name, before, now):
    paths = files(tmp_path, [list(range(i, i + 9)) for i in (0, 10, 20)])

    def iterator(workers: Workers) -> DistributedIterator:
        if name == "function":
            make = distribute_datasets_from_function(lambda c: Dataset.range(40).batch(2), workers)
            return make.iterator(quiet=True)
        return share(with_policy(read(paths).batch(4), name.upper()), workers)

    def save(workers: Workers) -> str:
        rows = iterator(workers)
        next(rows)
        return rows.save()

    (position, *_) = Group(*before).run(save)
    results = Group(*now).run(lambda workers: iterator(workers).restore(position))
    # One worker reads global batches, however many replicas share them.
    fits = before == now or (before[0] == now[0] == 1 and name != "function")
    for result in results:
        if fits:
            assert result is None
        else:
            assert isinstance(result, OtherWorldError)
            assert f"{before[0]} worker(s) with {before[1]} replica(s) each, and" in str(result)
            assert f"here are {now[0]} with {now[1]}" in str(result)


def test_reading_ahead_is_told_apart_from_waiting():
    told = []

    def rows():
        for i in range(6):
            time.sleep(0.01)
            yield np.int64(i)

    dataset = Dataset.from_generator(rows, output_signature=SCALAR).batch(1)
    workers = Workers(1, read=lambda *seconds: told.append(seconds))
    for _ in distribute_dataset(dataset, workers).iterator(quiet=True):
        time.sleep(0.05)  # the thread reads meanwhile
    waited, ahead = map(sum, zip(*told, strict=True))
    assert ahead >= 6 * 0.01
    assert 0.01 <= waited < ahead


# What is refused, and what is said


def test_the_plan_is_said_before_the_first_batch(tmp_path, capsys):
    paths = files(tmp_path, [[1], [2], [3]])
    said: list[str] = []

    def body(workers: Workers):
        iterator = iter(distribute_dataset(read(paths).batch(2), workers, report=said.append))
        assert said
        return next(iterator)

    Group(2, 1).run(body)
    assert len(said) == 2 and said[0] == said[1]
    assert "2 worker(s) with 1 replica(s) each, 2 in sync; auto-shard AUTO -> FILE" in said[0]
    assert f"worker 0: 2 of 3 files: {paths[0]}, {paths[2]}" in said[0]
    assert f"worker 1: 1 of 3 files: {paths[1]}" in said[0]

    both = Group(2, 2).run(lambda w: next(iter(distribute_dataset(Dataset.range(4).batch(4), w))))
    assert len(both) == 2
    printed = capsys.readouterr().err
    assert printed.count("input: ") == 1, "worker 0 alone prints it"
    assert "AUTO -> DATA (no reader of files was found)" in printed
    assert "worker 1: parts 2 to 3 of the 4 of every global batch" in printed


def test_the_plan_of_many_workers_is_said_in_few_lines():
    by_data = make_plan(Dataset.range(8).batch(8), replicas=1, workers=1024, worker=3).text
    lines = by_data.splitlines()
    assert len(lines) == 34
    assert lines[1] == "  worker 0: part 0 of the 1024 of every global batch"
    assert lines[-2] == "  … 992 more lines like these"
    assert lines[-1] == "  worker 1023: part 1023 of the 1024 of every global batch"
    few = make_plan(Dataset.range(8).batch(8), replicas=1, workers=33, worker=3)
    assert len(few.text.splitlines()) == 34 and "…" not in few.text


def test_fewer_files_than_workers_is_an_error_by_file(tmp_path):
    paths = files(tmp_path, [[1], [2]])
    for policy in ("FILE", "AUTO"):
        errors = Group(3).run(lambda w, p=policy: share(with_policy(read(paths).batch(1), p), w))
        for error in errors:
            assert isinstance(error, ValueError)
            assert "2 file(s) for 3 workers" in str(error) and "policy DATA" in str(error)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d, _: Dataset.range(4), "no reader of files was found"),
        (lambda d, _: d.take(3), "take counts elements over all files"),
        (lambda d, _: d.enumerate().map(lambda i, x: x), "enumerate counts elements"),
        (lambda d, _: Dataset.zip((d, Dataset.range(4))).map(lambda a, b: a), "in no file"),
        (lambda d, p: Dataset.zip((d, read(p[:1]))).map(lambda a, b: a), "different numbers"),
    ],
)
def test_what_files_cannot_share_is_shared_by_data(tmp_path, change, reason):
    paths = files(tmp_path, [[0, 1], [2, 3]])
    dataset = change(read(paths), paths).batch(2)
    plan = distribute_dataset(dataset, Workers(1, 2)).plan
    assert "AUTO -> DATA (" in plan and reason in plan
    with pytest.raises(ValueError, match=f"auto-shard FILE: .*{reason}.*the policy DATA"):
        distribute_dataset(with_policy(dataset, "FILE"), Workers(1, 2))


def test_workers_with_different_datasets_are_refused(tmp_path):
    paths = files(tmp_path, [[0], [1]])

    def body(workers: Workers):
        order = paths if workers.index == 0 else paths[::-1]
        return share(read(order).batch(1), workers)

    for error in Group(2).run(body):
        assert isinstance(error, ValueError)
        assert "datasets differ" in str(error) and "same order" in str(error)
    for error in Group(2).run(lambda w: share(Dataset.range(4 + w.index).batch(1), w)):
        assert isinstance(error, ValueError)


def test_a_failure_of_one_worker_stops_all_at_the_same_step():
    def body(workers: Workers):
        def read_rows():
            yield from range(6)
            if workers.index == 1:
                raise OSError("disk on fire")
            yield from range(6, 12)

        dataset = Dataset.from_generator(read_rows, output_signature=SCALAR).batch(2)
        iterator = share(dataset, workers)
        steps = 0
        with pytest.raises((OSError, ost.DistributedError)) as caught:
            for _ in iterator:
                steps += 1
        with pytest.raises(StopIteration):
            next(iterator)
        return steps, type(caught.value), str(caught.value)

    first, second = Group(2).run(body)
    assert (first[0], first[1]) == (3, ost.DistributedError)
    assert "another worker" in first[2]
    assert second[:2] == (3, OSError) and "disk on fire" in second[2]


def test_a_dataset_must_be_batched():
    for dataset in (Dataset.range(4), Dataset.from_tensor_slices(np.zeros((4, 28))).shuffle(4)):
        with pytest.raises(ValueError, match=r"not batched.*global batch"):
            distribute_dataset(dataset, Workers(2))
    with pytest.raises(TypeError, match="a list was given"):
        distribute_dataset([1, 2], Workers(2))  # type: ignore[arg-type]
    uneven = Dataset.from_generator(lambda: [(np.zeros(3), np.zeros(2))])
    with pytest.raises(ValueError, match=r"\[1\] of a batch is 2 rows, and \[0\] has 3 rows"):
        next(share(uneven, Workers(2)))
    scalars = Dataset.from_generator(lambda: [1, 2])
    with pytest.raises(ValueError, match="the array of a batch is a scalar"):
        next(share(scalars, Workers(2)))
    with pytest.raises(TypeError, match="returned a list"):
        distribute_datasets_from_function(lambda context: [], Workers(1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="worker 2 of 2"):
        Workers(1, 2, 2)


def test_files_are_listed_alike_everywhere(tmp_path):
    paths = files(tmp_path, [[3], [1], [2]])
    dataset = read(str(tmp_path / "*.npy")).batch(3)
    assert [b.tolist() for b in dataset] == [[3, 1, 2]]
    assert [b.tolist() for b in read(paths[::-1]).batch(3)] == [[2, 1, 3]]
    with pytest.raises(ValueError, match="no file matches"):
        read(str(tmp_path / "*.csv"))
    with pytest.raises(ValueError, match="is listed twice"):
        read([*paths, paths[0]])
    with pytest.raises(ValueError, match="list of files is empty"):
        read([])
    with pytest.raises(TypeError, match="files is int"):
        read(3)
    with pytest.raises(ValueError, match="auto_shard_policy is 'NONE'; accepted are AUTO, FILE"):
        with_policy(dataset, "NONE")


def test_steps_are_counted_where_they_are_known():
    dataset = Dataset.range(10).batch(4)
    assert distribute_dataset(dataset, Workers(3)).cardinality() == 3
    assert distribute_dataset(dataset, Group(2).worker(0)).cardinality() == 3
    assert distribute_dataset(with_policy(dataset, "OFF"), Group(2).worker(0)).cardinality() == -2
