# SPDX-License-Identifier: Apache-2.0
"""The character transformer of the examples learns the Bible as well as PyTorch's does.

Both start from the same weights and see the same batches; the losses on the validation text are
compared.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import char_gpt  # noqa: E402
import debian  # noqa: E402

STEPS = 250
EPSILON = char_gpt.EPSILON


@pytest.fixture(scope="module")
def text() -> char_gpt.Text:
    try:
        return char_gpt.Text.of(debian.bible())
    except OSError as error:
        pytest.skip(str(error))


def logits_of(w: dict[str, Any], ids: Any) -> Any:
    """The network, written anew in PyTorch, with weights by Ostria's names."""

    def norm(x: Any, name: str) -> Any:
        shape = (char_gpt.WIDTH,)
        return F.layer_norm(x, shape, w[f"{name}/gamma"], w[f"{name}/beta"], EPSILON)

    def dense(x: Any, name: str) -> Any:
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    def attention(x: Any, name: str) -> Any:
        q, k, v = (
            torch.einsum("btf,fhd->bhtd", x, w[f"{name}/{part}/kernel"])
            + w[f"{name}/{part}/bias"][:, None]
            for part in ("query", "key", "value")
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out = f"{name}/attention_output"
        return torch.einsum("bhtd,hdf->btf", y, w[f"{out}/kernel"]) + w[f"{out}/bias"]

    h = w["tokens/embeddings"][ids] + w["positions/embeddings"]
    for i in range(char_gpt.LAYERS):
        block = f"blocks_{i}"
        h = h + attention(norm(h, f"{block}/norm_1"), f"{block}/attention")
        up = F.gelu(dense(norm(h, f"{block}/norm_2"), f"{block}/up"))
        h = h + dense(up, f"{block}/down")
    return dense(norm(h, "norm"), "head")


def loss_of(w: dict[str, Any], x: np.ndarray, y: np.ndarray) -> Any:
    logits = logits_of(w, torch.tensor(x, dtype=torch.int64))
    return F.cross_entropy(logits.flatten(0, 1), torch.tensor(y, dtype=torch.int64).flatten())


def rate(step: int, args: Any) -> float:
    """The learning rate after `step` steps, by the book."""
    if step < args.warmup:
        return args.learning_rate * step / args.warmup
    done = min((step - args.warmup) / (args.steps - args.warmup), 1.0)
    return args.learning_rate * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * done)))


def trained_by_torch(first: dict[str, np.ndarray], text: char_gpt.Text, args: Any) -> Any:
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in first.items()}
    optimizer = torch.optim.AdamW(
        weights.values(), betas=(0.9, 0.99), eps=1e-8, weight_decay=args.weight_decay
    )
    for i, (x, y) in enumerate(text.batches(args.batch_size, args.steps, args.seed)):
        optimizer.param_groups[0]["lr"] = rate(i, args)
        optimizer.zero_grad()
        loss_of(weights, x, y).backward()
        optimizer.step()
    return weights


def test_validation_loss_beside_torch(text: char_gpt.Text) -> None:
    args = char_gpt.parse(
        ["--steps", str(STEPS), "--warmup", "50", "--valid-windows", "200", "--weight-decay", "0.1"]
    )
    training = char_gpt.Training(len(text.characters), args)
    first = {name: v.numpy() for name, v in training.model.state_dict().items()}
    x, y = text.valid_windows(200)
    with torch.no_grad():
        theirs = {name: torch.tensor(value) for name, value in first.items()}
        before = loss_of(theirs, x, y).item()
    assert training.valid_loss(x, y) == pytest.approx(before, rel=1e-5)

    ours = char_gpt.train(training, text, args)
    expected = loss_of(trained_by_torch(first, text, args), x, y).item()
    print(f"validation loss after {STEPS} steps: ostria {ours:.5f}, torch {expected:.5f}")
    assert expected < 0.6 * before
    assert ours == pytest.approx(expected, rel=0.003)
