# SPDX-License-Identifier: Apache-2.0
"""Forecasts next year's sunspots with an LSTM, and compares it with two simple forecasts.

    python examples/sunspots_lstm.py

The series, yearly from 1700 to 2008, is split by time. The LSTM and a linear autoregression learn
from the years before 1900 and choose by those before 1950 (when to stop, how many years to look
at). The rest judges them; it played no part before.
"""

from __future__ import annotations

import argparse
import sys
import time

import debian
import numpy as np

import ostria as ost
from ostria import nn
from ostria.data import Dataset
from ostria.train import Trainer

WINDOW = 22  # years: two cycles of the sun
VALID, TEST = 1900, 1950  # the first years of these parts
QUICK = {"rounds": 12, "models": 1}


class Forecaster(nn.Module):
    """Windows [batch, WINDOW, 1] of a scaled series to its next values [batch, 1]."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(units), nn.Dense(1, kernel_initializer="zeros")

    def call(self, x):
        return x[:, -1] + self.head(self.lstm(x))  # so it starts as the persistence forecast


class Series:
    """The series by parts. Roots of the counts are learnt: their noise is as large everywhere."""

    def __init__(self, years: list[int], counts: list[float]) -> None:
        self.years, self.counts = np.array(years), np.array(counts)
        root = np.sqrt(self.counts)
        known = root[self.years < VALID]
        self.shift, self.scale = known.mean(), known.std()
        self.scaled = (root - self.shift) / self.scale

    def where(self, first: int, last: int) -> np.ndarray:
        """Places of the years first ≤ year < last that have WINDOW years before them."""
        at = np.flatnonzero((self.years >= first) & (self.years < last))
        return at[at >= WINDOW]

    def windows(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows [len(at), WINDOW, 1] and what follows them [len(at), 1], scaled, float32."""
        x = self.scaled[at[:, None] + np.arange(-WINDOW, 0)]
        return x[..., None].astype(np.float32), self.scaled[at, None].astype(np.float32)

    def in_counts(self, scaled: np.ndarray) -> np.ndarray:
        return np.maximum(scaled * self.scale + self.shift, 0) ** 2

    def error(self, at: np.ndarray, forecast: np.ndarray) -> float:
        """Root of the mean squared error, in sunspots."""
        return float(np.sqrt(np.mean((forecast - self.counts[at]) ** 2)))


def autoregression(series: Series, order: int, at: np.ndarray) -> np.ndarray:
    """Forecasts at `at` by least squares over the last `order` years, fitted to the first part."""

    def inputs(at: np.ndarray) -> np.ndarray:
        past = series.scaled[at[:, None] - np.arange(1, order + 1)]
        return np.concatenate([past, np.ones((len(at), 1))], axis=1)

    known = series.where(0, VALID)
    weights, *_ = np.linalg.lstsq(inputs(known), series.scaled[known], rcond=None)
    return series.in_counts(inputs(at) @ weights)


def fit_lstm(series: Series, seed: int, args: argparse.Namespace) -> Trainer:
    """Trains in rounds and goes back to the one whose validation loss was least."""
    x, y = series.windows(series.where(0, VALID))
    valid = series.windows(series.where(VALID, TEST))
    trainer = Trainer(
        Forecaster(args.units),
        ost.losses.MeanSquaredError(),
        ost.optim.Adam(args.learning_rate, global_clipnorm=1.0),
        seed=seed,
    )
    model = trainer.task.model
    data = Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).repeat().batch(32)
    best, kept = float("inf"), {}
    for i in range(1, args.rounds + 1):
        trainer.train(data, steps=args.steps)
        train_loss, loss = trainer.evaluate((x, y))["loss"], trainer.evaluate(valid)["loss"]
        if loss < best:
            best, kept = loss, {name: v.numpy() for name, v in model.state_dict().items()}
        if i == 1 or i % max(args.rounds // 6, 1) == 0:
            print(
                f"model {seed} step {trainer.global_step:5d}  loss {train_loss:.4f}  "
                f"validation {loss:.4f}  best {best:.4f}",
                flush=True,
            )
    model.load_state_dict(kept)
    return trainer


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--models", type=int, default=5, help="whose forecasts are averaged")
    parser.add_argument("--rounds", type=int, default=60, help="between two looks at validation")
    parser.add_argument("--steps", type=int, default=25, help="of a round")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    if "--quick" in (sys.argv[1:] if argv is None else argv):
        parser.set_defaults(**QUICK)
    args = parser.parse_args(argv)
    try:
        series = Series(*debian.sunspots())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1

    began = time.monotonic()
    valid, test = series.where(VALID, TEST), series.where(TEST, 10_000)
    trainers = [fit_lstm(series, args.seed + i, args) for i in range(args.models)]

    def lstm(at: np.ndarray) -> np.ndarray:
        x, _ = series.windows(at)
        return series.in_counts(
            np.mean([np.concatenate(list(t.predict(x)))[:, 0] for t in trainers], axis=0)
        )

    order = min(
        range(1, WINDOW + 1), key=lambda p: series.error(valid, autoregression(series, p, valid))
    )
    forecasts = {
        "LSTM": lstm,
        f"linear autoregression, {order} years": lambda at: autoregression(series, order, at),
        "persistence: as this year": lambda at: series.counts[at - 1],
    }
    errors = {
        name: (series.error(valid, f(valid)), series.error(test, f(test)))
        for name, f in forecasts.items()
    }
    print(f"\n{'root mean squared error, sunspots':34s}{'validation':>11s}{'test':>8s}")
    for name, (on_valid, on_test) in errors.items():
        print(f"{name:34s}{on_valid:11.2f}{on_test:8.2f}")
    print(f"\n{'year':>6s}{'sunspots':>10s}{'LSTM':>8s}")
    for at, value in list(zip(test, lstm(test), strict=True))[-10:]:
        print(f"{series.years[at]:6d}{series.counts[at]:10.1f}{value:8.1f}")
    model, linear, baseline = (on_test for _, on_test in errors.values())
    print(
        f"rmse={model:.2f} baseline={baseline:.2f} linear={linear:.2f} "
        f"seconds={time.monotonic() - began:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
