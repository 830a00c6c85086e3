# SPDX-License-Identifier: Apache-2.0
"""A training job that is stopped and started again, and what of it can be compared.

Every row of the data knows its number. Each generation's ranks write which rows they read, a line
per batch, to `rows-G-R.jsonl`; rank 0 writes its weights after each step, a line too, to `weights`.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from launching import Launcher
from programs import HEAD, STRATEGY

from ostria.io import load_latest_checkpoint

STEPS = 19  # of a run that nothing happens to: three epochs of 50 rows in batches of 8
TRAINING = """
rng = np.random.default_rng(0)
x = rng.standard_normal((50, 6)).astype(np.float32)
x[:, 0] = np.arange(50) / 50
y = rng.integers(0, 3, 50)
generation = int(os.environ["OSTRIA_GENERATION"])

class Logged:
    '''Writes what is read of a dataset of replicas.'''

    def __init__(self, dataset):
        self.dataset = dataset

    def iterator(self):
        return LoggedIterator(self.dataset.iterator())

class LoggedIterator:
    def __init__(self, rows):
        self.rows = rows
        self.save, self.restore = rows.save, rows.restore

    def __next__(self):
        batch = next(self.rows)
        ids = [round(float(v) * 50) for v in np.asarray(batch[0])[:, 0]]
        with open(f"rows-{generation}-{rank}.jsonl", "a") as file:
            print(json.dumps(ids), file=file)
        return batch

    @property
    def wait_seconds(self):
        return self.rows.wait_seconds

def data():
    rows = ost.data.Dataset.from_tensor_slices((x, y)).shuffle(50, seed=4).repeat(3).batch(8)
    return Logged(strategy.experimental_distribute_dataset(rows))

class Watch(ost.train.Hook):
    def begin(self, trainer):
        if trainer.is_chief:
            write(f"begin-{generation}", step=trainer.global_step, world=strategy.num_workers)

    def after_step(self, trainer, results):
        if trainer.is_chief:
            named = sorted((v.name, v) for v in trainer.variables if v.trainable)
            values = np.concatenate([v.numpy().reshape(-1) for _, v in named])
            with open("weights", "a") as file:
                print(json.dumps([results.step, values.tolist()]), file=file)

class At(ost.train.Hook):
    '''Something that happens after a step.'''

    def __init__(self, step, action):
        self.step, self.action = step, action

    def after_step(self, trainer, results):
        if results.step == self.step:
            self.action()

def kill(signum=signal.SIGKILL):
    os.kill(os.getpid(), signum)

with strategy.scope():
    model = ost.nn.Sequential(
        [ost.nn.Dense(16, activation="tanh"), ost.nn.Dropout(0.2), ost.nn.Dense(3)])
trainer = ost.train.Trainer(
    model, ost.losses.SparseCategoricalCrossentropy(from_logits=True),
    ost.optim.SGD(0.1, momentum=0.9), [ost.metrics.SparseCategoricalAccuracy(name="accuracy")],
    model_dir="model", save_steps=4, seed=3, strategy=strategy, hooks=[Watch()])
"""


def training(body: str = "trainer.train(data)", **changes: str) -> str:
    """The program; `changes` are texts of it to replace, by a name of your own for each."""
    text = HEAD + STRATEGY.format(options="") + TRAINING
    for change in changes.values():
        before, after = change.split(" -> ")
        assert before in text, before
        text = text.replace(before, after)
    return text + textwrap.dedent(body)


def state(job: Launcher) -> dict[str, Any]:
    """All of the newest checkpoint: weights, slots, metrics, generators, counters, the position."""
    saved = load_latest_checkpoint(job.folder / "model")
    assert saved is not None
    tensors = {name: value.tobytes() for name, value in saved.tensors.items()}
    assert any("momentum" in n for n in tensors) and any("accuracy" in n for n in tensors)
    blobs = {n: bytes(b) for n, b in saved.blobs.items() if n != "graph"}
    return {"step": saved.step, **tensors, **blobs}


def begun(job: Launcher, generation: int) -> dict[str, Any]:
    return json.loads((job.folder / f"begin-{generation}").read_text())


def order_of_rows(*jobs: tuple[Launcher, int]) -> dict[int, list[int]]:
    """Rows of the global batch by step, as the last to train it read them: (job, generation)."""
    order: dict[int, list[int]] = {}
    for job, generation in jobs:
        start = begun(job, generation)
        ranks = [
            _lines(job.folder / f"rows-{generation}-{rank}.jsonl") for rank in range(start["world"])
        ]
        for k in range(min(len(lines) for lines in ranks)):
            order[start["step"] + k + 1] = [row for lines in ranks for row in lines[k]]
    return order


def weights_by_step(job: Launcher) -> dict[int, np.ndarray]:
    """Of the last to do each step."""
    return {step: np.array(values) for step, values in _lines(job.folder / "weights")}


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]
