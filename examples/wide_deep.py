# SPDX-License-Identifier: Apache-2.0
"""A wide and deep classifier of tumours, beside logistic regression, in cross-validation.

    python examples/wide_deep.py

The table is scikit-learn's breast cancer set (Wisconsin, 569 tumours, 30 measurements). As in Cheng
et al. 2016, the wide part is linear in buckets of the measurements and in pairs of them, trained by
FTRL with an L1 penalty; the deep part has embeddings of the buckets, trained by Adagrad. Either
classifier scores every tumour by a model that has not seen it.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import combinations

import numpy as np

import ostria as ost
from ostria import nn
from ostria.data import Dataset
from ostria.diagnose import classification_report

BUCKETS, CROSSED, WIDTH = 5, 10, 4  # crossed: the means, which come first
QUICK = {"epochs": 15, "folds": 3}


class Features:
    """How a table becomes ids and numbers, as learnt from the rows `x`."""

    def __init__(self, x: np.ndarray) -> None:
        self.edges = np.quantile(x, np.arange(1, BUCKETS) / BUCKETS, axis=0)
        self.mean, self.std = x.mean(0), x.std(0)
        self.pairs = np.array(list(combinations(range(CROSSED), 2)))

    @property
    def crosses(self) -> int:
        """How many ids pairs of buckets have."""
        return len(self.pairs) * BUCKETS**2

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids of buckets [rows, 30], of pairs of buckets [rows, 45], and numbers [rows, 30].

        A column has ids of its own, so one table holds the weights of all.
        """
        bucket = (x[:, None, :] > self.edges).sum(1)
        first, second = bucket[:, self.pairs[:, 0]], bucket[:, self.pairs[:, 1]]
        cross = first * BUCKETS + second + np.arange(len(self.pairs)) * BUCKETS**2
        ids = bucket + np.arange(x.shape[1]) * BUCKETS
        numbers = (x - self.mean) / self.std
        return ids.astype(np.int32), cross.astype(np.int32), numbers.astype(np.float32)


class WideDeep(nn.Module):
    """Ids of buckets, ids of crosses and numbers to logits [batch, 1]."""

    def __init__(self, columns: int, crosses: int) -> None:
        super().__init__()
        self.wide = [
            nn.Embedding(rows, 1, embeddings_initializer="zeros")
            for rows in (columns * BUCKETS, crosses)
        ]
        self.table = nn.Embedding(columns * BUCKETS, WIDTH)
        self.layers = nn.Sequential(
            [nn.Dense(32, "relu"), nn.Dropout(0.3), nn.Dense(16, "relu"), nn.Dense(1)]
        )

    def call(self, ids, crosses, numbers, training=False):
        wide = ost.sum(self.wide[0](ids), axis=1) + ost.sum(self.wide[1](crosses), axis=1)
        rows = ost.reshape(self.table(ids), (ids.shape[0], ids.shape[1] * WIDTH))
        return wide + self.layers(ost.concat([rows, numbers], axis=1), training=training)


def fit(x: np.ndarray, y: np.ndarray, args: argparse.Namespace):
    """Trains on rows `x` with labels `y`; a function from rows to logits, losses, the model."""
    ost.random.seed(args.seed)
    features = Features(x)
    model = WideDeep(x.shape[1], features.crosses)
    model(*features(x[:1]))  # makes the weights
    wide = [v for table in model.wide for v in table.variables]
    deep = [v for part in (model.table, model.layers) for v in part.trainable_variables]
    ftrl = ost.optim.Ftrl(args.wide_rate, l1_regularization_strength=args.l1)
    adagrad = ost.optim.Adagrad(args.deep_rate)
    loss_of = ost.losses.BinaryCrossentropy(from_logits=True)

    @ost.compile(dynamic_batch=True)
    def step(inputs, labels):
        loss = loss_of(labels, model(*inputs, training=True))
        ftrl.minimize(loss, wide)
        adagrad.minimize(loss, deep)
        return loss

    @ost.compile(dynamic_batch=True)
    def logits(ids, crosses, numbers):
        return model(ids, crosses, numbers)

    data = Dataset.from_tensor_slices((features(x), y[:, None].astype(np.float32)))
    losses = []
    for inputs, labels in data.shuffle(len(x), seed=args.seed).repeat(args.epochs).batch(32):
        losses.append(step(inputs, labels).item())
    return lambda rows: logits(*features(rows)).numpy()[:, 0], losses, model


def roc_auc(labels: np.ndarray, logits: np.ndarray) -> float:
    auc = ost.metrics.AUC(num_thresholds=1000, from_logits=True)
    auc.update_state(labels.astype(np.float32), logits.astype(np.float32))
    return float(auc.result())


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--folds", type=int, default=10, help="of the cross-validation")
    parser.add_argument("--wide-rate", type=float, default=0.02)
    parser.add_argument("--deep-rate", type=float, default=0.02)
    parser.add_argument("--l1", type=float, default=0.02, help="of the wide part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    if "--quick" in (sys.argv[1:] if argv is None else argv):
        parser.set_defaults(**QUICK)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        from sklearn.datasets import load_breast_cancer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        print(f"{error}; it carries the data: pip install scikit-learn", file=sys.stderr)
        return 1

    began = time.monotonic()
    table = load_breast_cancer()
    x, y = table.data, 1 - table.target  # 1: malignant, which is to be found
    ours, theirs = np.zeros(len(x)), np.zeros(len(x))
    folds = StratifiedKFold(args.folds, shuffle=True, random_state=args.seed)
    for i, (seen, unseen) in enumerate(folds.split(x, y), start=1):
        predict, losses, model = fit(x[seen], y[seen], args)
        ours[unseen] = predict(x[unseen])
        linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[seen], y[seen])
        theirs[unseen] = linear.decision_function(x[unseen])
        zeros = np.mean([(t.embeddings.numpy() == 0).mean() for t in model.wide])
        print(
            f"fold {i:2d}  first loss {losses[0]:.4f}  last loss {np.mean(losses[-16:]):.4f}  "
            f"wide weights that are 0: {zeros:.0%}",
            flush=True,
        )
    names = ["benign", "malignant"]
    report = classification_report(y, np.stack([-ours, ours], axis=1), class_names=names)
    linear_report = classification_report(y, (theirs > 0).astype(np.int64), class_names=names)
    auc, linear_auc = roc_auc(y, ours), roc_auc(y, theirs)
    print(f"\n{report}\n")
    print(f"{'':22s}{'ROC AUC':>9s}{'accuracy':>10s}{'malignant found':>17s}")
    for name, area, one in (
        ("wide and deep", auc, report),
        ("logistic regression", linear_auc, linear_report),
    ):
        print(f"{name:22s}{area:9.4f}{one.accuracy:10.4f}{one.recall[1]:17.4f}")
    print(
        f"accuracy={report.accuracy:.4f} baseline={report.baseline_accuracy:.4f} auc={auc:.4f} "
        f"linear_auc={linear_auc:.4f} seconds={time.monotonic() - began:.1f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
