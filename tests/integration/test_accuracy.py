# SPDX-License-Identifier: Apache-2.0
"""Trained to accuracy on real data, and linear models against scikit-learn's solutions."""

import numpy as np
import pytest

pytest.importorskip("ostria._native")
pytest.importorskip("sklearn")
from sklearn import datasets, linear_model

import ostria as ost
from ostria import nn
from ostria.train import Trainer


@pytest.fixture(autouse=True)
def _seed():
    ost.random.seed(0)


@pytest.mark.slow
def test_digits_cnn():
    """1,797 images of digits, 8 x 8: every fifth one is held out."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    labels = labels.astype(np.int64)
    held = np.arange(len(images)) % 5 == 0
    train = ost.data.Dataset.from_tensor_slices((images[~held], labels[~held]))
    model = nn.Sequential(
        [
            nn.Conv2D(16, 3, padding="same", activation="relu"),
            nn.MaxPool2D(2),
            nn.Conv2D(32, 3, padding="same", activation="relu"),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Dense(10),
        ]
    )
    steps = 30 * (~held).sum() // 32
    trainer = Trainer(
        model,
        ost.losses.SparseCategoricalCrossentropy(from_logits=True),
        ost.optim.Adam(ost.optim.schedules.CosineDecay(3e-3, int(steps))),
        {"accuracy": ost.metrics.SparseCategoricalAccuracy()},
    )
    trainer.train(train.shuffle(2000, seed=0).repeat().batch(32), max_steps=int(steps))
    results = trainer.evaluate(lambda: (images[held], labels[held]))
    assert results["accuracy"] >= 0.98, results


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def fit(loss, x, y, outputs=1, *, rate, steps, regularizer=None, momentum=0.9):
    """Full-batch gradient descent in float64; returns (coefficients, intercept)."""
    model = nn.Dense(outputs, dtype="float64", kernel_regularizer=regularizer)
    Trainer(model, loss, ost.optim.SGD(rate, momentum=momentum, nesterov=True)).train(
        lambda: (x, y), steps=steps
    )
    return model.kernel.numpy(), model.bias.numpy()


def test_linear_regression():
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = standardised(x), standardised(y)[:, None]
    # Two columns are nearly collinear (condition number 470): slow directions need the steps.
    kernel, bias = fit(ost.losses.MeanSquaredError(), x, y, rate=0.1, steps=6000, momentum=0.98)
    expected = linear_model.LinearRegression().fit(x, y)
    np.testing.assert_allclose(kernel[:, 0], expected.coef_[0], atol=1e-4)
    np.testing.assert_allclose(bias, expected.intercept_, atol=1e-4)


def test_ridge_regression():
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = standardised(x), standardised(y)[:, None]
    alpha = 20.0  # scikit-learn's sum of squares + alpha |w|^2, here divided by the rows
    penalty = nn.regularizers.L2(alpha / len(x))
    mse = ost.losses.MeanSquaredError()
    kernel, bias = fit(mse, x, y, rate=0.1, steps=2000, regularizer=penalty, momentum=0.95)
    expected = linear_model.Ridge(alpha=alpha, tol=1e-12).fit(x, y)
    np.testing.assert_allclose(kernel[:, 0], np.ravel(expected.coef_), atol=1e-4)
    np.testing.assert_allclose(bias, np.ravel(expected.intercept_), atol=1e-4)


def test_logistic_regression():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = standardised(x)
    c = 0.1  # scikit-learn's sum of losses + |w|^2 / (2 C)
    kernel, bias = fit(
        ost.losses.BinaryCrossentropy(from_logits=True), x, y[:, None].astype(np.float64),
        rate=0.5, steps=3000, regularizer=nn.regularizers.L2(1 / (2 * c * len(x))), momentum=0.95,
    )  # fmt: skip
    expected = linear_model.LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(kernel[:, 0], expected.coef_[0], atol=1e-4)
    np.testing.assert_allclose(bias, expected.intercept_, atol=1e-4)
