# SPDX-License-Identifier: Apache-2.0
"""The pictures: what is drawn is read back from the axes, and the files from the disk."""

import builtins
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from ostria.diagnose import confusion_matrix, learning_curve
from ostria.diagnose.history import curves

HISTORY = {
    "loss": [(10, 2.0), (20, 1.0), (30, 0.5)],
    "eval/loss": [(15, 1.5), (30, 0.9)],
    "accuracy": [(10, 0.3), (20, 0.6), (30, 0.8)],
    "eval/accuracy": [(15, 0.5), (30, 0.7)],
}


def points(history, metric, split):
    curve = curves(history)[metric][split]
    return list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))


def by_label(axes):
    return {line.get_label(): line for line in axes.get_lines()}


# --- reading histories --------------------------------------------------------------------------


def test_a_mapping_with_steps():
    assert points(HISTORY, "loss", "train") == [(10, 2.0), (20, 1.0), (30, 0.5)]
    assert points(HISTORY, "accuracy", "eval") == [(15, 0.5), (30, 0.7)]


def test_keras_history_counts_epochs():
    class History:
        history = {"loss": [3, 2], "val_loss": [4, 3]}  # noqa: RUF012

    read = curves(History())
    assert read["loss"]["eval"].steps.tolist() == [1, 2]
    assert read["loss"]["eval"].values.tolist() == [4, 3]
    assert read["loss"]["train"].unit == "epoch"
    assert curves(HISTORY)["loss"]["train"].unit == "step"


def test_records_in_both_forms():
    Event = namedtuple("Event", "step tag value run")
    tagged = [Event(1, "loss", 2.0, "train"), Event(1, "loss", 3.0, "eval_small")]
    assert points(tagged, "loss", "eval") == [(1, 3.0)]
    wide = [
        {"step": 1, "loss": 2.0, "accuracy": 0.5, "wall_time": 9.0},
        {"step": 1, "split": "eval", "loss": 3.0, "accuracy": None},
    ]
    assert list(curves(wide)) == ["loss", "accuracy"]
    assert points(wide, "loss", "eval") == [(1, 3.0)]


def test_event_files():
    train, held_out = {10: {"loss": 2.0, "accuracy": 0.5}, 20: {"loss": 1.0}}, {20: {"loss": 1.5}}
    assert points(train, "loss", "train") == [(10, 2.0), (20, 1.0)]
    assert points(train, "accuracy", "train") == [(10, 0.5)]
    both = {"train": train, "eval": held_out}
    assert points(both, "loss", "train") == [(10, 2.0), (20, 1.0)]
    assert points(both, "loss", "eval") == [(20, 1.5)]
    with pytest.raises(ValueError, match="unknown split 'tset'"):
        curves({"tset": held_out})


def test_after_a_resume_the_later_record_wins():
    again = [{"step": s, "loss": v} for s, v in [(1, 5.0), (2, 4.0), (3, 9.0), (2, 4.5), (3, 3.0)]]
    assert points(again, "loss", "train") == [(1, 5.0), (2, 4.5), (3, 3.0)]


@pytest.mark.parametrize(
    ("history", "error", "text"),
    [
        ({}, ValueError, "history is empty"),
        ([], ValueError, "history is empty"),
        (3, TypeError, "a list of records with `step`; given int; "),
        ([{"loss": 1}], ValueError, "a record of the history has no `step`: {'loss': 1}"),
        ({"loss": [(1, 2, 3)]}, ValueError, "of (step, value) pairs; given shape [1, 3]; "),
        ([{"step": 1, "run": "tset", "loss": 1}], ValueError, "unknown split 'tset'"),
    ],
)
def test_unreadable_histories(history, error, text):
    with pytest.raises(error) as caught:
        curves(history)
    assert text in str(caught.value)


# --- the learning curve -------------------------------------------------------------------------


@pytest.fixture
def plt():
    return pytest.importorskip("matplotlib")


def test_learning_curve_draws_train_and_eval(plt, tmp_path):
    path = tmp_path / "curve.png"
    loss, accuracy = learning_curve(HISTORY, path, baseline=0.1)
    assert [loss.get_title("left"), accuracy.get_title("left")] == ["loss", "accuracy"]
    lines = by_label(loss)
    assert lines["train"].get_xydata().tolist() == [[10, 2.0], [20, 1.0], [30, 0.5]]
    assert lines["eval"].get_xydata().tolist() == [[15, 1.5], [30, 0.9]]
    assert lines["train"].get_color() != lines["eval"].get_color()
    assert lines["train"].get_linestyle() != lines["eval"].get_linestyle()
    assert loss.get_xlabel() == "step"
    legend = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert legend == ["train", "eval", "baseline 0.1"]
    low, high = accuracy.get_ylim()
    assert low < 0.1 < 0.8 < high
    assert [t.get_text() for t in loss.texts] == ["best 0.9 at step 30"]
    assert [t.get_text() for t in accuracy.texts] == ["best 0.7 at step 30"]
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["curve.png"]


def test_a_long_noisy_curve_is_smoothed_without_lag(plt):
    steps = np.arange(500)
    noisy = steps / 500 + np.random.default_rng(0).normal(0, 0.1, 500)
    (axes,) = learning_curve({"loss": np.stack([steps, noisy], 1)})
    smooth = by_label(axes)["train (smoothed)"].get_ydata()
    assert np.abs(smooth - steps / 500)[20:-20].max() < 0.08
    assert np.diff(smooth).std() < 0.1 * np.diff(noisy).std()


def test_a_wild_first_loss_does_not_flatten_the_rest(plt):
    values = np.full(1000, 0.5)
    values[0] = 1e6
    (axes,) = learning_curve({"loss": np.stack([np.arange(1000), values], 1)})
    assert axes.get_ylim()[1] < 10


def test_non_finite_values_are_left_out(plt, tmp_path):
    history = {"val_loss": [2.0, float("nan"), 1.0, float("inf")], "loss": [float("nan")] * 4}
    (axes,) = learning_curve(history, tmp_path / "a.png")
    assert [t.get_text() for t in axes.texts] == ["best 1 at epoch 3"]
    assert axes.get_ylim()[1] < 3


def test_chosen_metrics(plt):
    history = {**HISTORY, "rmse": [(1, 2.0), (2, 1.0)]}
    assert [a.get_title("left") for a in learning_curve(history, metrics=["rmse"])] == ["rmse"]
    with pytest.raises(ValueError, match="holds no metric 'f1'; it holds loss, accuracy, rmse"):
        learning_curve(history, metrics=["f1"])
    with pytest.raises(ValueError, match="metrics is empty"):
        learning_curve(history, metrics=[])
    only = learning_curve({"rmse": [3, 2], "mae": [2, 1]})
    assert [a.get_title("left") for a in only] == ["rmse", "mae"]


# --- the confusion matrix -----------------------------------------------------------------------


def test_confusion_matrix_writes_the_numbers(plt, tmp_path):
    path = tmp_path / "matrix.png"
    axes = confusion_matrix([[1029, 3], [0, 7]], ["cat", "a very long name of a class"], path)
    cells = {t.get_position(): t.get_text() for t in axes.texts if t.get_text()[0].isdigit()}
    assert cells[0, 0] == "1,029"
    assert cells[1, 0] == "3"
    assert cells[1, 1] == "7"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert axes.get_title("left") == "Confusion matrix"
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert labels == ["cat", "a very long name of a c…"]
    assert "1,039 examples, accuracy 0.9971 (most frequent class alone: 0.9933)" in [
        t.get_text() for t in axes.texts
    ]
    np.testing.assert_allclose(axes.images[0].get_array(), [[1029 / 1032, 3 / 1032], [0, 1]])
    assert path.read_bytes().startswith(b"\x89PNG")


def test_numbers_are_readable_on_their_cells(plt):
    axes = confusion_matrix([[9, 1], [6, 4]])
    image = axes.images[0]
    cells = [t for t in axes.texts if t.get_text().isdigit()]
    assert len(cells) == 4
    for text in cells:
        x, y = text.get_position()
        ground = image.cmap(image.norm(image.get_array()[y, x]))
        assert contrast(plt.colors.to_rgb(text.get_color()), ground[:3]) >= 4.5


def contrast(a, b):
    """WCAG 2 contrast ratio of two sRGB colours."""

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return linear @ np.array([0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_train_and_eval_colours_differ_for_every_eye(plt):
    from ostria.diagnose.plots import EVAL_COLOUR, TRAIN_COLOUR

    for colour in (EVAL_COLOUR, TRAIN_COLOUR):
        assert contrast(plt.colors.to_rgb(colour), (1, 1, 1)) >= 3  # WCAG, graphics on white


def test_many_classes_keep_the_shading_and_drop_the_numbers(plt):
    axes = confusion_matrix(np.eye(150, dtype=int) * 12345)
    assert not any(t.get_text() == "12,345" for t in axes.texts)
    empty = confusion_matrix(np.zeros((3, 3), dtype=int))
    assert "0 examples" in [t.get_text() for t in empty.texts]


@pytest.mark.parametrize(
    ("matrix", "names", "text"),
    [
        ([[1, 2]], None, "a confusion matrix is square, [C, C]; given shape [1, 2]; "),
        ([[1]], ["a", "b"], "confusion_matrix: 2 class names for 1 classes; "),
    ],
)
def test_invalid_matrices(matrix, names, text):
    with pytest.raises(ValueError, match="confusion_matrix: ") as caught:
        confusion_matrix(matrix, names)
    assert text in str(caught.value)


# --- manners ------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file(plt, tmp_path):
    path = tmp_path / "curve.nosuchformat"
    path.write_text("old")
    with pytest.raises(ValueError, match="nosuchformat"):
        learning_curve(HISTORY, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["curve.nosuchformat"]


def test_without_matplotlib(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"needs matplotlib.*pip install 'ostria\[plot\]'"):
        learning_curve(HISTORY)
    with pytest.raises(ImportError, match="needs matplotlib"):
        confusion_matrix([[1]])


def test_importing_does_not_load_matplotlib_and_drawing_not_pyplot(plt):
    code = (
        "import sys, ostria.diagnose as d; assert 'matplotlib' not in sys.modules; "
        "d.confusion_matrix([[1]]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
