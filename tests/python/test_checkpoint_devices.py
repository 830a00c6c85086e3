# SPDX-License-Identifier: Apache-2.0
"""Runs that move between the CPU and a GPU through checkpoints: every bit of the state goes along.

The GPU's driver is the one that runs kernels on the host.
"""

from __future__ import annotations

import pytest
from fake_gpu import run  # noqa: F401

RUNS = """
import sys
import numpy as np
import ostria as ost
from ostria import nn
from ostria.estimator import Estimator, EstimatorSpec, ModeKeys, RunConfig
from ostria.train import Hook, StepTask, Trainer

rng = np.random.default_rng(1)
X = rng.normal(size=(40, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)

def data():
    return ost.data.Dataset.from_tensor_slices((X, Y)).shuffle(40, seed=2).repeat().batch(8)

class Task(StepTask):
    def __init__(self):
        self.model = nn.Sequential(
            [nn.Dense(7, use_bias=False), nn.BatchNormalization(), nn.Dense(2)])
        self.model(X[:1])
        self.optimizer = ost.optim.Adam(0.05)
        self.optimizer.build(self.model.trainable_variables)
        self.noise = ost.random.Generator(4)
        super().__init__(self.step)

    def step(self, x, y):
        x = x + ost.random.normal(x.shape, generator=self.noise) * 0.01
        loss_fn = ost.losses.SparseCategoricalCrossentropy(from_logits=True)
        loss = loss_fn(y, self.model(x, training=True))
        self.optimizer.minimize(loss, self.model.trainable_variables)
        return loss

def bits(trainer):
    return {v.name: (str(v.dtype), v.numpy().tobytes()) for v in trainer.variables}

def places(trainer):
    return {v.device for v in trainer.variables}

class Begin(Hook):
    def begin(self, trainer):
        self.bits = bits(trainer)

def go_on(path, device, steps):
    trainer, look = Trainer(task=Task(), model_dir=path, save_steps=100, device=device), Begin()
    trainer.train(data(), steps=steps, hooks=[look])
    return trainer, look.bits

PATH = sys.argv[1]
"""


@pytest.mark.parametrize(("first", "second"), [("cuda", "cpu"), ("cpu", "cuda:1")])
def test_a_trainer_resumes_on_the_other_device(run, tmp_path, first, second):  # noqa: F811
    run(
        RUNS.replace("sys.argv[1]", repr(str(tmp_path)))
        + f"FIRST, SECOND = {first!r}, {second!r}"
        + """
names = {"cpu": "cpu", "cuda": "cuda:0", "cuda:1": "cuda:1"}
one, _ = go_on(PATH + "/a", FIRST, 3)
assert places(one) == {names[FIRST]}, places(one)
other, begin = go_on(PATH + "/a", SECOND, 2)
assert begin == bits(one) and places(other) == {names[SECOND]}, places(other)
assert other.global_step == 5 and bits(other) != begin
back, begin = go_on(PATH + "/a", FIRST, 1)
assert begin == bits(other) and places(back) == {names[FIRST]}, places(back)

# The run that moved is the one that stayed, but for the rounding of other kernels.
for steps in (3, 2, 1):
    stayed, _ = go_on(PATH + "/b", FIRST, steps)
for a, b in zip(back.variables, stayed.variables, strict=True):
    np.testing.assert_allclose(
        a.numpy().astype(np.float64), b.numpy().astype(np.float64), rtol=1e-3, atol=1e-4)
"""
    )


def test_an_estimator_moves_by_its_run_config(run, tmp_path):  # noqa: F811
    run(
        RUNS.replace("sys.argv[1]", repr(str(tmp_path)))
        + """
def model_fn(features, labels, mode):
    logits = nn.Dense(2)(nn.Dense(5, activation="relu")(features["x"]))
    if mode == ModeKeys.PREDICT:
        return EstimatorSpec(mode, predictions={"logits": logits})
    loss = ost.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    train = mode == ModeKeys.TRAIN
    return EstimatorSpec(mode, loss=loss, train_op=ost.optim.Adam(0.02) if train else None)

def train_input():
    return ost.data.Dataset.from_tensor_slices(({"x": X}, Y)).repeat().batch(8)

def eval_input():
    return ost.data.Dataset.from_tensor_slices(({"x": X}, Y)).batch(20)

def estimator(device):
    return Estimator(
        model_fn, PATH, RunConfig(device=device, save_checkpoints_steps=3, tf_random_seed=7))

def tensors():
    found = ost.io.load_latest_checkpoint(PATH)
    return {name: np.asarray(value).tobytes() for name, value in found.tensors.items()}

losses = []
for step, device in ((3, "cuda"), (6, "cpu"), (9, "cuda:1")):
    run = estimator(device)
    run.train(train_input, max_steps=step)
    before = tensors()
    for other in ("cpu", "cuda"):
        result = estimator(other).evaluate(eval_input)
        assert result["global_step"] == step
        losses.append(result["loss"])
    assert tensors() == before
    np.testing.assert_allclose(losses[-1], losses[-2], rtol=1e-5)
assert losses[-1] < losses[0]
"""
    )
