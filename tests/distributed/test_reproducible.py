# SPDX-License-Identifier: Apache-2.0
"""`reproducible=True`: the bits of a job do not depend on its devices, processes or threads."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reproducible_job
from launching import Launcher
from ranks import why_not
from test_input import Group

import ostria as ost
from ostria import _native, nn
from ostria.distribute import WorkerEnvironment
from ostria.distribute._input import Workers, distribute_datasets_from_function

KINDS = ["cnn", "cnn of one norm", "lstm"]
JOB = str(Path(reproducible_job.__file__))
_alone: dict[str, Any] = {}


def mirrored(count: int, **options: Any) -> ost.distribute.MirroredStrategy:
    devices = [f"cpu:{i}" for i in range(count)]
    return ost.distribute.MirroredStrategy(devices, reproducible=True, **options)


def alone(kind: str) -> dict[str, Any]:
    """What a job on one device ends with."""
    if kind not in _alone:
        _alone[kind] = reproducible_job.do(mirrored(1), kind)
    return _alone[kind]


def run(
    job: Launcher, nproc: int, kinds: list[str], training: dict[str, Any] | None = None, **keys: Any
) -> list[dict[str, Any]]:
    words = [json.dumps(x) for x in (kinds, training or {}, keys)]
    status, out, err = job.run("--nproc", str(nproc), JOB, *words)
    assert status == 0, out + err
    return [json.loads((job.folder / f"rank-{r}.json").read_text()) for r in range(nproc)]


def bits(x: Any) -> bytes:
    return bytes(ost.cast(ost.asarray(x), "float32").numpy().tobytes())


def own_loop(
    strategy: Any, make: Callable[[], nn.Module], x: np.ndarray, y: np.ndarray, sizes: list[int]
) -> list[bytes]:
    """Losses and Variables of a few steps; `sizes` are rows of each shard."""
    ost.random.seed(5)
    with strategy.scope():
        model, optimizer = make(), ost.optim.Adam(0.01, global_clipnorm=0.1)
    loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(x: Any, y: Any) -> Any:
        loss = loss_fn(y, model(x, training=True))
        optimizer.minimize(loss, model.trainable_variables)
        return loss

    cuts = np.cumsum(sizes)[:-1]
    batch = [ost.distribute.PerReplica(np.split(array, cuts)) for array in (x, y)]
    losses = [strategy.reduce("sum", strategy.run(step, batch)) for _ in range(3)]
    return [bits(value) for value in (*losses, *model.variables)]


@pytest.fixture
def threads() -> Iterator[None]:
    before = _native.num_threads()
    yield
    _native.set_num_threads(before)


# --- Devices and threads of one process -----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 4, 8])
def test_devices_of_one_process(kind: str, count: int) -> None:
    assert reproducible_job.train(mirrored(count), kind) == alone(kind)


def test_the_threads_of_a_process_do_not_matter(threads: None) -> None:
    x = np.random.default_rng(3).standard_normal((32, 24, 24, 16)).astype(np.float32)
    y = np.arange(32) % 4

    def found(count: int) -> list[bytes]:
        _native.set_num_threads(count)  # of which each of 8 replicas would have a share
        layers = [nn.Conv2D(32, 3), nn.GlobalAveragePooling2D(), nn.Dense(4)]
        result = own_loop(mirrored(2), lambda: nn.Sequential(layers), x, y, [4] * 8)
        assert _native.num_threads() == count
        return result

    assert found(32) == found(8)


def test_training_happened_and_depends_on_shards() -> None:
    found = alone("cnn")
    assert found["step"] == 6 and len(set(found["losses"])) == 6
    other = reproducible_job.train(mirrored(1, virtual_shards=4), "cnn")
    assert other["state"].keys() == found["state"].keys()
    assert other["state"] != found["state"], "normalisation over 4 shards is another one"


# --- Processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nproc", "kinds"), [(2, [*KINDS, "metric"]), (4, ["cnn", "lstm", "metric"])]
)
def test_processes(job: Launcher, nproc: int, kinds: list[str]) -> None:
    for rank in run(job, nproc, kinds):
        assert rank == {kind: alone(kind) for kind in kinds}


def test_processes_of_several_devices_over_sockets(job: Launcher) -> None:
    if reason := why_not("gloo"):
        pytest.skip(reason)
    devices = ["cpu:3", "cpu:1"]
    for rank in run(job, 2, ["cnn"], devices=devices, transport="gloo", interface="lo"):
        assert rank == {"cnn": alone("cnn")}


def test_a_checkpoint_is_gone_on_from_by_any_number_of_processes(job: Launcher) -> None:
    cut = run(job, 2, ["cnn"], {"model_dir": "model", "cut": 5})[0]["cnn"]["losses"]
    whole = alone("cnn")
    assert cut == whole["losses"][:5]
    for nproc in (1, 4):  # from step 4, in the middle of an epoch
        shutil.copytree(job.folder / "model", job.folder / f"model-{nproc}")
        for rank in run(job, nproc, ["cnn"], {"model_dir": f"model-{nproc}"}):
            assert cut[:4] + rank["cnn"].pop("losses") == whole["losses"]
            assert rank["cnn"] == {key: whole[key] for key in ("step", "evaluation", "state")}


@pytest.mark.parametrize(
    ("training", "options"),
    [({}, {"shard_optimizer_state": True}), ({"accumulate": 2}, {})],
    ids=["state in parts", "micro-batches"],
)
def test_with_what_else_replicas_do(
    job: Launcher, training: dict[str, Any], options: dict[str, Any]
) -> None:
    one, four = (reproducible_job.train(mirrored(n, **options), "cnn", **training) for n in (1, 4))
    assert one == four
    for rank in run(job, 2, ["cnn"], training, **options):
        assert rank == {"cnn": one}


def test_an_estimator(job: Launcher, tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in ("one", "four")]
    one, four = (
        reproducible_job.estimate(mirrored(n), folder)
        for n, folder in zip((1, 4), folders, strict=True)
    )
    assert one == four
    for rank in run(job, 2, ["estimator"], {"model_dir": "model"}):
        assert rank == {"estimator": one}


# --- A loop of one's own --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reductions_outside_of_steps(dtype: str) -> None:
    rows = ost.asarray(np.random.default_rng(0).standard_normal(1000), dtype="float32")

    def found(count: int) -> list[bytes]:
        strategy = mirrored(count)
        parts = ost.distribute.PerReplica(
            [ost.cast(rows[100 * i : 100 * i + 50 + i], dtype) for i in range(8)]
        )
        whole = strategy.run(lambda x: ost.sum(x * x), (parts,))
        return [
            bits(strategy.reduce("sum", whole)),
            bits(strategy.reduce("mean", parts, axis=0)),
            bits(strategy.gather(parts, axis=0)),
        ]

    assert found(1) == found(2) == found(8)


def test_a_function_makes_a_dataset_for_each_shard() -> None:
    seen: list[tuple[int, int, int]] = []

    def make(context: ost.distribute.InputContext) -> ost.data.Dataset:
        count, index = context.num_input_pipelines, context.input_pipeline_id
        seen.append((count, index, context.num_replicas_in_sync))
        return ost.data.Dataset.from_tensor_slices(np.arange(10)[index::count]).batch(1)

    batches = mirrored(1, virtual_shards=4).distribute_datasets_from_function(make)
    assert seen == [(4, i, 4) for i in range(4)]
    steps = [[x.tolist() for x in step.values] for step in batches]
    assert steps == [[[0], [1], [2], [3]], [[4], [5], [6], [7]], [[8], [9], [], []]]


def test_the_position_of_such_datasets_fits_any_number_of_workers() -> None:
    def make(context: ost.distribute.InputContext) -> ost.data.Dataset:
        count, index = context.num_input_pipelines, context.input_pipeline_id
        return ost.data.Dataset.from_tensor_slices(np.arange(40)[index::count]).batch(3)

    def iterator(workers: Workers) -> Any:
        shared = distribute_datasets_from_function(
            make, dataclasses.replace(workers, reproducible=True)
        )
        return shared.iterator(quiet=True)

    def rest(batches: Any) -> list[list[list[int]]]:
        return [[part.tolist() for part in step] for step in batches]

    one = iterator(Workers(4))
    next(one)
    position = one.save()
    expected = rest(one)
    assert [row for part in expected[0] for row in part] == [
        *range(12, 24, 4),
        *range(13, 24, 4),
        *range(14, 24, 4),
        *range(15, 24, 4),
    ]

    def go_on(workers: Workers) -> tuple[list[list[list[int]]], str]:
        mine = iterator(workers)
        mine.restore(position)
        saved = mine.save()
        return rest(mine), saved

    (first, saved), (second, other) = Group(2, 2).run(go_on)
    assert [a + b for a, b in zip(first, second, strict=True)] == expected
    assert saved == other == position


def test_more_rows_on_one_shard_than_on_others() -> None:
    x = np.random.default_rng(2).standard_normal((80, 12, 12, 2)).astype(np.float32)
    y = np.arange(80) % 4
    sizes = [40, 1, 0, 20, 3, 0, 15, 1]

    def found(count: int) -> list[bytes]:
        make = functools.partial(reproducible_job.network, "cnn of one norm")
        return own_loop(mirrored(count), make, x, y, sizes)

    assert found(1) == found(4)


# --- Mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"devices": ["cpu:0", "cpu:1", "cpu:2"], "reproducible": True},
            r"MirroredStrategy: 8 virtual shards cannot be spread evenly over 3 devices \(one "
            r"process\); use 1, 2, 4 or 8, or give other virtual_shards, the same in every run",
        ),
        (
            {"devices": ["cpu"], "reproducible": True, "virtual_shards": 6},
            r"virtual_shards=6 is not accepted; give a power of two from 2 to 1024, such as 8",
        ),
        (
            {"devices": ["cpu"], "reproducible": True, "virtual_shards": 8.0},
            r"virtual_shards=8.0 is not accepted; give a power of two",
        ),
        (
            {"devices": ["cpu"], "virtual_shards": 8},
            r"virtual_shards=8 is given, but not reproducible=True.*give both, or neither",
        ),
        (
            {"devices": ["cuda:0"], "reproducible": True},
            r"reproducible=True is for the CPU, and cuda:0 is none: NCCL adds in an order of its "
            r"own.*give devices=\['cpu'\], or leave reproducible out",
        ),
        (
            {"devices": ["cpu"], "reproducible": "yes"},
            r"reproducible='yes' is not accepted; give True, for the same bits on any number",
        ),
        ({"devices": [], "reproducible": True}, r"no device is given"),
        (
            {"devices": ["cpu:1", "cpu:1"], "reproducible": True},
            r"device cpu:1 is given twice",
        ),
    ],
)
def test_what_is_asked_wrongly_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ost.distribute.MirroredStrategy(**options)


@pytest.mark.parametrize("policy", ["FILE", "OFF"])
def test_policies_whose_rows_depend_on_workers_are_refused(policy: str) -> None:
    options = ost.data.Options()
    options.experimental_distribute.auto_shard_policy = policy
    dataset = ost.data.Dataset.range(8).batch(4).with_options(options)
    with pytest.raises(ValueError, match=rf"auto-shard {policy}: .*reproducible; use the policy D"):
        mirrored(1).experimental_distribute_dataset(dataset)


def test_processes_that_cannot_share_the_shards_are_refused() -> None:
    three = WorkerEnvironment(0, 3, 0, 3, 0, 3, None, "tests", 0, ())
    with pytest.raises(
        ValueError, match=r"over 6 devices \(3 processes with 2 each\); use 1, 2, 4"
    ):
        ost.distribute.MultiWorkerMirroredStrategy(
            three, devices=["cpu:0", "cpu:1"], reproducible=True
        )


def test_processes_with_other_numbers_of_shards_are_refused(job: Launcher) -> None:
    body = (
        "import ostria as ost\n"
        "ost.distribute.MultiWorkerMirroredStrategy(\n"
        "    reproducible=True, virtual_shards=4 + 4 * rank)\n"
    )
    status, _, err = job.run("--nproc", "2", job.script(body))
    assert status == 1
    assert "reproducible with 4 virtual shards" in err and "with 8 virtual shards" in err


def test_replicas_are_as_many_wherever_they_run() -> None:
    for count in (1, 2, 4, 8):
        strategy = mirrored(count)
        assert strategy.num_replicas_in_sync == len(set(strategy.devices)) == 8
    assert mirrored(2, virtual_shards=4).devices == ["cpu", "cpu:2", "cpu:1", "cpu:3"]
