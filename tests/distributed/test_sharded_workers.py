# SPDX-License-Identifier: Apache-2.0
"""Optimizer state in parts, over the replicas of several processes: slots, bits, checkpoints."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from launching import Launcher, elsewhere

import ostria as ost

PROGRAM = """
import json
import numpy as np
import ostria as ost

rng = np.random.default_rng(0)
x = rng.standard_normal((48, 7)).astype(np.float32)
y = rng.integers(0, 3, 48)
strategy = ost.distribute.MultiWorkerMirroredStrategy(
    devices={devices}, shard_optimizer_state={shard})
with strategy.scope():
    model = ost.nn.Sequential([ost.nn.Dense(5, activation="tanh"), ost.nn.Dense(3)])
trainer = ost.train.Trainer(
    model, ost.losses.SparseCategoricalCrossentropy(from_logits=True),
    ost.optim.AdamW(0.02{options}), model_dir="model", save_steps=2, seed=3,
    strategy=strategy{trainer})
trainer.train(ost.data.Dataset.from_tensor_slices((x, y)).repeat().batch(48), max_steps={steps})
slots = [v for v in trainer.variables if "adam_" in v.name]
told = dict(
    state={{v.name: v.numpy().tobytes().hex() for v in trainer.variables}},
    parts=[v.num_parts for v in slots], held=sum(v.copy_of(0).size for v in slots),
    all=sum(v.size for v in slots), step=trainer.global_step)
with open(f"rank-{{rank}}.json", "w") as file:
    json.dump(told, file)
"""


def run(
    job: Launcher,
    nproc: int,
    *,
    shard: bool = True,
    steps: int = 4,
    devices: str = "None",
    options: str = "",
    trainer: str = "",
) -> list[dict[str, Any]]:
    program = PROGRAM.format(
        shard=shard, steps=steps, devices=devices, options=options, trainer=trainer
    )
    script = job.script(program)
    status, out, err = job.run("--nproc", str(nproc), script)
    assert status == 0, out + err
    return [json.loads((job.folder / f"rank-{r}.json").read_text()) for r in range(nproc)]


@pytest.mark.parametrize(
    ("devices", "replicas"), [("None", 2), ("['cpu:0', 'cpu:1']", 4)], ids=["two", "two-of-two"]
)
def test_processes_hold_parts_and_train_as_without(
    job: Launcher, devices: str, replicas: int
) -> None:
    whole = run(elsewhere(job, "whole"), 2, shard=False, devices=devices)
    parts = run(job, 2, devices=devices)
    for rank, other in zip(parts, whole, strict=True):
        assert set(rank["parts"]) == {replicas}
        assert (rank["held"], rank["all"]) == ({2: 62, 4: 32}[replicas], 116)
        assert other["held"] == other["all"]
        assert rank["state"] == parts[0]["state"]
        assert rank["state"] == other["state"]
    tensors = ost.io.load_latest_checkpoint(job.folder / "model").tensors
    for name, value in parts[0]["state"].items():
        assert tensors[name].tobytes().hex() == value, name


def test_a_run_goes_on_in_another_number_of_processes(job: Launcher) -> None:
    clip = ", global_clipnorm=0.5"
    reference = run(elsewhere(job, "reference"), 1, shard=False, steps=6, options=clip)[0]
    for nproc, shard, steps in ((2, True, 2), (1, False, 4), (2, True, 6)):
        ranks = run(job, nproc, shard=shard, steps=steps, options=clip)
        assert [rank["step"] for rank in ranks] == [steps] * nproc
    for name, value in reference["state"].items():
        if "dense" not in name:
            continue
        for rank in ranks:
            got, want = (
                np.frombuffer(bytes.fromhex(h), np.float32) for h in (rank["state"][name], value)
            )
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4, err_msg=name)


def test_micro_batches_of_processes(job: Launcher) -> None:
    whole = run(elsewhere(job, "whole"), 2, shard=False)
    ranks = run(job, 2, trainer=", accumulate=5")
    for name, value in whole[0]["state"].items():
        assert ranks[0]["state"][name] == ranks[1]["state"][name]
        if "dense" in name:
            got, want = (
                np.frombuffer(bytes.fromhex(h), np.float32)
                for h in (ranks[0]["state"][name], value)
            )
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5, err_msg=name)
