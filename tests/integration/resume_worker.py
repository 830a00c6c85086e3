# SPDX-License-Identifier: Apache-2.0
"""Run by test_resume.py in a process of its own: trains a small network in the given folder.

Prints a line for every checkpoint that it begins to write, so that the test can aim at it.
"""

import sys

import numpy as np

import ostria as ost
from ostria import nn
from ostria.estimator import Estimator, EvalSpec, RunConfig, TrainSpec, train_and_evaluate
from ostria.train import Hook

STEPS = 1500  # enough saves for twenty kills, however fast the machine


class Announce(Hook):
    def before_save(self, trainer):
        print(f"saving {trainer.global_step}", flush=True)


def main(folder: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(333, 12)).astype(np.float32)
    y = np.argmax(x @ rng.normal(size=(12, 4)), axis=1).astype(np.int64)

    def train_input():
        data = ost.data.Dataset.from_tensor_slices((x, y)).shuffle(100, seed=5)
        return data.repeat().batch(10).prefetch(2)

    estimator = Estimator(
        model=nn.Sequential(
            [
                nn.Dense(16, activation="relu"),
                nn.BatchNormalization(),
                nn.Dropout(0.2),
                nn.Dense(4),
            ]
        ),
        loss=ost.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=ost.optim.Adam(ost.optim.schedules.CosineDecay(0.01, STEPS)),
        metrics={"accuracy": ost.metrics.SparseCategoricalAccuracy()},
        config=RunConfig(
            folder,
            tf_random_seed=3,
            save_checkpoints_steps=7,
            save_summary_steps=11,
            log_step_count_steps=None,
        ),
    )
    train_and_evaluate(
        estimator,
        TrainSpec(train_input, max_steps=STEPS, hooks=[Announce()]),
        EvalSpec(lambda: (x, y), steps=None, throttle_secs=0.2),
    )
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
