# SPDX-License-Identifier: Apache-2.0
"""Trains a convolutional network on Fashion-MNIST, reports how good it is, predicts image files.

    python examples/fashion_mnist.py --model-dir models/fashion_mnist
    python examples/fashion_mnist.py predict IMAGE --model-dir models/fashion_mnist

Run it again with the same folder after Ctrl-C, or after it was killed: it goes on where it was, and
ends bit for bit as if nothing had happened.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import struct
import sys
import time
import zlib

import numpy as np

import ostria as ost
from ostria import nn
from ostria.data import FASHION_MNIST_CLASSES, Dataset, fashion_mnist
from ostria.data.image import load_image
from ostria.diagnose import classification_report, confusion_matrix, learning_curve
from ostria.estimator import Estimator, EvalSpec, RunConfig, TrainSpec, train_and_evaluate
from ostria.train import TrainingInterrupted

EXAMPLES = 60_000


class FashionNet(nn.Module):
    """Images [batch, 28, 28, 1], uint8, to logits [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            [
                nn.Conv2D(32, 3, padding="same", activation="relu"),
                nn.MaxPool2D(2),
                nn.Conv2D(64, 3, padding="same", activation="relu"),
                nn.MaxPool2D(2),
                nn.Dropout(0.25),
                nn.Flatten(),
            ]
        )
        self.classifier = nn.Sequential(
            [nn.Dense(128, activation="relu"), nn.Dropout(0.4), nn.Dense(10)]
        )

    def call(self, images, training=False):
        x = ost.cast(images, ost.float32) * (1 / 255)
        return self.classifier(self.features(x, training=training), training=training)


@contextlib.contextmanager
def reading():
    """A file that is missing or damaged ends the program with one line instead of a traceback."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None


def make_estimator(args: argparse.Namespace, steps: int) -> Estimator:
    rate = ost.optim.schedules.CosineDecay(
        1e-4, steps - args.warmup, warmup_target=args.learning_rate, warmup_steps=args.warmup
    )
    return Estimator(
        model=FashionNet(),
        loss=ost.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=ost.optim.Adam(rate),
        metrics={"accuracy": ost.metrics.SparseCategoricalAccuracy()},
        config=RunConfig(
            model_dir=args.model_dir,
            tf_random_seed=args.seed,
            save_checkpoints_steps=args.save_steps,
            keep_checkpoint_max=3,
            save_summary_steps=50,
            device=args.device,
        ),
    )


def train(args: argparse.Namespace) -> int:
    with reading():
        (x_train, y_train), (x_test, y_test) = fashion_mnist(args.data_dir)
    steps = args.epochs * EXAMPLES // args.batch_size

    def train_input() -> Dataset:
        data = Dataset.from_tensor_slices((x_train, y_train))
        return data.shuffle(EXAMPLES, seed=args.seed).repeat().batch(args.batch_size).prefetch(4)

    def test_input() -> Dataset:
        return Dataset.from_tensor_slices((x_test, y_test)).batch(500).prefetch(2)

    estimator = make_estimator(args, steps)
    print(f"Fashion-MNIST: {steps} steps of {args.batch_size} images, {args.epochs} epochs")
    if (latest := estimator.latest_checkpoint()) is not None:
        done = estimator.get_variable_value("global_step")
        if done >= steps:
            print(f"training is complete: {latest}; --model-dir names another folder to start anew")
        else:
            print(f"going on from step {done}: {latest}")
    began = time.monotonic()
    train_and_evaluate(
        estimator,
        TrainSpec(train_input, max_steps=steps),
        EvalSpec(test_input, steps=None, throttle_secs=args.throttle_secs),
    )
    seconds = time.monotonic() - began

    logits = np.concatenate(list(estimator.predict(test_input, yield_single_examples=False)))
    report = classification_report(y_test, logits, class_names=FASHION_MNIST_CLASSES)
    print(f"\n{report}\n")
    draw(args.model_dir, estimator, report)
    sample = os.path.join(args.model_dir, "sample.png")
    write_png(sample, x_test[0, :, :, 0])
    command = [os.path.relpath(sys.executable), os.path.relpath(__file__), "predict", sample]
    print("predict the class of an image file:")
    print(f"  {shlex.join([*command, '--model-dir', args.model_dir])}")
    model = estimator.latest_checkpoint()
    print(f"accuracy={report.accuracy:.4f} seconds={seconds:.1f} model={model}")
    return 0


def draw(folder: str, estimator: Estimator, report) -> None:
    """Writes the two pictures, if matplotlib is there."""
    history = {
        "train": ost.io.read_events(folder),
        "eval": ost.io.read_events(estimator.eval_dir()),
    }
    curve, matrix = (
        os.path.join(folder, f"{n}.png") for n in ("learning_curve", "confusion_matrix")
    )
    try:
        learning_curve(history, curve, baseline=report.baseline_accuracy, title="Fashion-MNIST")
        confusion_matrix(report.confusion_matrix, report.class_names, matrix)
    except ImportError as error:
        print(f"no pictures: {error}")
    else:
        print(f"pictures: {curve}, {matrix}")


def predict(args: argparse.Namespace) -> int:
    """Prints the three most likely classes of an image file."""
    with reading():
        pixels = load_image(args.image, size=28, mode="L")
    # The data set shows bright clothes on black; photographs usually show them on white.
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    if border.mean() > 127:
        pixels = 255 - pixels
    estimator = make_estimator(args, args.warmup + 1)
    if estimator.latest_checkpoint() is None:
        print(f"there is no trained model in {args.model_dir}; train one first", file=sys.stderr)
        return 1
    (logits,) = estimator.predict(lambda: pixels[None])
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    for i in np.argsort(-chances)[:3]:
        print(f"{chances[i]:7.2%}  {FASHION_MNIST_CLASSES[i]}")
    return 0


def write_png(path: str, pixels: np.ndarray) -> None:
    """Writes [height, width] uint8 as a grey PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", nargs="?", choices=["train", "predict"], default="train")
    parser.add_argument("image", nargs="?", help="with predict: the image file")
    parser.add_argument("--model-dir", default="models/fashion_mnist")
    parser.add_argument("--data-dir", help="folder with the four files; default: the usual places")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-steps", type=int, default=250)
    parser.add_argument("--device", help="where to train: cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--throttle-secs", type=float, default=10, help="between two evaluations")
    args = parser.parse_args(argv)
    if (args.action == "predict") != (args.image is not None):
        parser.error("predict needs an image file, and only predict takes one")
    try:
        return predict(args) if args.action == "predict" else train(args)
    except TrainingInterrupted as interruption:
        print(f"\n{interruption}", file=sys.stderr)
        return interruption.exit_status
    except (OSError, ost.DeviceUnavailableError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
