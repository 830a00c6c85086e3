# SPDX-License-Identifier: Apache-2.0
"""Trains a character transformer on a text, reports its validation loss, writes some text.

    python examples/char_gpt.py
    python examples/char_gpt.py --text FILE --steps 2000

Without --text that is the King James Bible, which Debian's package bible-kjv-text carries.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import debian
import numpy as np

import ostria as ost
from ostria import nn

LAYERS, WIDTH, HEADS, TIME = 4, 128, 4, 64
EPSILON = 1e-5
QUICK = {"steps": 600, "warmup": 50, "valid_windows": 200, "sample": 80}


class Block(nn.Module):
    """Attention and a small network, each after a normalisation and added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNormalization(epsilon=EPSILON)
        self.attention = nn.MultiHeadAttention(HEADS, WIDTH // HEADS)
        self.norm_2 = nn.LayerNormalization(epsilon=EPSILON)
        self.up, self.down = nn.Dense(4 * WIDTH, activation="gelu"), nn.Dense(WIDTH)

    def call(self, x):
        h = self.norm_1(x)
        x = x + self.attention(h, h, use_causal_mask=True)
        return x + self.down(self.up(self.norm_2(x)))


class CharGPT(nn.Module):
    """Ids of characters [batch, TIME] to logits of the next ones [batch, TIME, vocabulary]."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        small = nn.initializers.RandomNormal(stddev=0.02)
        self.tokens = nn.Embedding(vocabulary, WIDTH, embeddings_initializer=small)
        self.positions = nn.Embedding(TIME, WIDTH, embeddings_initializer=small)
        self.blocks = [Block() for _ in range(LAYERS)]
        self.norm = nn.LayerNormalization(epsilon=EPSILON)
        self.head = nn.Dense(vocabulary, kernel_initializer=small)

    def call(self, x):
        h = self.tokens(x) + self.positions(ost.arange(TIME))
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


@dataclass(frozen=True)
class Text:
    """A text as ids of its characters; the last tenth is for validation."""

    characters: str
    train: np.ndarray
    valid: np.ndarray

    @classmethod
    def of(cls, text: str) -> Text:
        characters = "".join(sorted(set(text)))
        number = {c: i for i, c in enumerate(characters)}
        ids = np.array([number[c] for c in text], np.int32)
        cut = len(ids) * 9 // 10
        if len(ids) - cut <= TIME:
            raise ValueError(f"the text has {len(ids)} characters; give at least {10 * TIME + 10}")
        return cls(characters, ids[:cut], ids[cut:])

    def batches(self, batch_size: int, steps: int, seed: int):
        """Pairs of characters and the ones after them, from random places of the training text."""
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            starts = rng.integers(0, len(self.train) - TIME, batch_size)
            windows = self.train[starts[:, None] + np.arange(TIME + 1)]
            yield windows[:, :-1], windows[:, 1:]

    def valid_windows(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The validation text in windows side by side: all of them, or `count` evenly spread."""
        whole = (len(self.valid) - 1) // TIME
        x = self.valid[: whole * TIME].reshape(whole, TIME)
        y = self.valid[1 : whole * TIME + 1].reshape(whole, TIME)
        chosen = np.linspace(0, whole - 1, min(count or whole, whole)).astype(np.int64)
        return x[chosen], y[chosen]

    def guess_losses(self) -> tuple[float, float]:
        """Validation loss of guessing by how frequent characters are, alone or after the last."""
        n = len(self.characters)
        single = np.bincount(self.train, minlength=n) + 1.0
        pairs = np.bincount(self.train[:-1] * n + self.train[1:], minlength=n * n) + 1.0
        pairs = pairs.reshape(n, n)
        single, pairs = single / single.sum(), pairs / pairs.sum(1, keepdims=True)
        last, following = self.valid[:-1], self.valid[1:]
        return (
            float(-np.log(single[following]).mean()),
            float(-np.log(pairs[last, following]).mean()),
        )


class Training:
    """A model, its optimizer, and the compiled functions of both."""

    def __init__(self, vocabulary: int, args: argparse.Namespace) -> None:
        ost.random.seed(args.seed)
        self.model = CharGPT(vocabulary)
        self.model(np.zeros((1, TIME), np.int32))  # makes the weights
        self.optimizer = ost.optim.AdamW(
            ost.optim.schedules.CosineDecay(
                0.0,
                args.steps - args.warmup,
                alpha=0.1,
                warmup_target=args.learning_rate,
                warmup_steps=args.warmup,
            ),
            weight_decay=args.weight_decay,
            beta_2=0.99,
            epsilon=1e-8,
        )
        loss_of = ost.losses.SparseCategoricalCrossentropy(from_logits=True)

        @ost.compile
        def step(x, y):
            loss = loss_of(y, self.model(x, training=True))
            self.optimizer.minimize(loss, self.model.trainable_variables)
            return loss

        @ost.compile(dynamic_batch=True)
        def evaluate(x, y):
            return loss_of(y, self.model(x))

        @ost.compile
        def logits(x):
            return self.model(x)

        self.step, self._evaluate, self._logits = step, evaluate, logits

    def valid_loss(self, x: np.ndarray, y: np.ndarray, batch_size: int = 64) -> float:
        total = 0.0
        for i in range(0, len(x), batch_size):
            part = slice(i, i + batch_size)
            total += self._evaluate(x[part], y[part]).item() * len(x[part])
        return total / len(x)

    def write(self, text: Text, prompt: str, count: int, temperature: float, seed: int) -> str:
        """`prompt` and `count` more characters, each drawn from what the model expects."""
        rng = np.random.default_rng(seed)
        ids = [text.characters.index(c) for c in prompt]
        for _ in range(count):
            window = np.zeros((1, TIME), np.int32)  # what is behind the last one is not looked at
            seen = ids[-TIME:]
            window[0, : len(seen)] = seen
            scores = self._logits(window).numpy()[0, len(seen) - 1].astype(np.float64)
            chances = np.exp((scores - scores.max()) / temperature)
            ids.append(rng.choice(len(chances), p=chances / chances.sum()))
        return "".join(text.characters[i] for i in ids)


def train(training: Training, text: Text, args: argparse.Namespace) -> float:
    """Trains; the loss of the whole validation text, or of --valid-windows windows of it."""
    glimpse = text.valid_windows(200)
    began = time.monotonic()
    for i, (x, y) in enumerate(text.batches(args.batch_size, args.steps, args.seed), start=1):
        loss = training.step(x, y)
        if i == 1 or i % max(args.steps // 10, 1) == 0:
            seconds = time.monotonic() - began
            print(
                f"step {i:5d} of {args.steps}  loss {loss.item():.4f}  "
                f"validation {training.valid_loss(*glimpse):.4f}  {seconds:5.1f} s",
                flush=True,
            )
    return training.valid_loss(*text.valid_windows(args.valid_windows))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", help="a file to learn instead of the Bible")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--valid-windows", type=int, help="default: the whole validation text")
    parser.add_argument("--prompt", default="And ")
    parser.add_argument("--sample", type=int, default=400, help="characters to write at the end")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    if "--quick" in (sys.argv[1:] if argv is None else argv):
        parser.set_defaults(**QUICK)
    args = parser.parse_args(argv)
    if not 0 < args.warmup < args.steps:
        parser.error("--warmup must be at least 1 and less than --steps")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        if args.text is None:
            text = Text.of(debian.bible())
        else:
            with open(args.text, encoding="utf-8") as file:
                text = Text.of(file.read())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    if unknown := sorted(set(args.prompt) - set(text.characters)):
        print(f"--prompt has characters that the text lacks: {unknown}", file=sys.stderr)
        return 1
    training = Training(len(text.characters), args)
    weights = sum(v.numpy().size for v in training.model.trainable_variables)
    print(
        f"{len(text.train):,} characters to learn, {len(text.valid):,} to validate, "
        f"{len(text.characters)} different ones; {weights:,} weights"
    )
    began = time.monotonic()
    loss = train(training, text, args)
    seconds = time.monotonic() - began
    print(f"\n{training.write(text, args.prompt, args.sample, args.temperature, args.seed)}\n")
    single, pair = text.guess_losses()
    print(
        f"validation loss {loss:.4f} ({loss / np.log(2):.3f} bits a character); guessing by the "
        f"last character {pair:.4f}, by frequency {single:.4f}"
    )
    print(f"valid_loss={loss:.4f} baseline={pair:.4f} seconds={seconds:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
