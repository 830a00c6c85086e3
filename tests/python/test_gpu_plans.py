# SPDX-License-Identifier: Apache-2.0
"""The steps of benchmarks/models/gpu.py, planned for sm_90 without a GPU: held to the table
tests/cuda/plans.txt, proved free of races, and small ones run by the CPU in any legal order."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.models import gpu, lstm, resnet, transformer  # noqa: E402

NARROW = resnet.Net((7, 2), True, True, [(8, 1), (8, 1), (16, 2)], 10)
TEXT = transformer.Shape(2, 64, 2, 32, 96, True)
ODD = transformer.Shape(1, 128, 2, 128, 26001, True)  # products that are large enough to be padded
WHOLE_TEXT = replace(transformer.BERT_LARGE, layers=2, width=64, heads=2, time=32, vocabulary=96)
SMALL = {
    "resnet": lambda: (gpu._images(NARROW, 32, 4), 2e-2),
    "gpt": lambda: (gpu._text(TEXT, 2), 2e-2),
    "gpt_odd": lambda: (gpu._text(ODD, 4), 2e-2),
    "bert": lambda: (gpu._text(WHOLE_TEXT, 2), 2e-2),
    "lstm": lambda: (
        (
            gpu._step(lstm.model(lstm.Sizes(24, 40, 5)), gpu.PLAIN, "float32"),
            [((4, 5), "int32")] * 2,
        ),
        1e-4,
    ),
    "mlp": lambda: (gpu._mlp(8), 1e-4),
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module tests/cuda/plans.py, where GPUs can be planned for."""
    spec = importlib.util.spec_from_file_location("plans", ROOT / "tests/cuda/plans.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plans"] = module
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTRIA_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        try:
            ost.compile(lambda x: x + 1).plan_for(module.DEVICE, np.ones(3, np.float32))
        except ost.DeviceUnavailableError as error:
            pytest.skip(f"no plans for a GPU: {str(error).splitlines()[0]}")
        yield module


@pytest.mark.parametrize("workload", gpu.WORKLOADS, ids=lambda w: w.name)
def test_the_plan_is_that_of_the_table(plans: ModuleType, workload: gpu.Workload) -> None:
    row = plans.plan(workload)  # plan_for proves that no two steps race
    table = plans.TABLE.read_text()
    assert not row.complaints()
    assert row.report.streams > 1  # else there is nothing to prove
    if f"cuDNN {plans.cudnn()};" in table:
        assert row.text() in table.splitlines(), "python tests/cuda/plans.py --write writes it"


def test_another_gpu_is_planned_for_alike(plans: ModuleType) -> None:
    for name in ("resnet50", "gpt2_124m"):
        row = plans.plan(gpu.find(name), plans.DEVICE.with_name("h200.json"))
        assert "H200" in row.report.description
        assert not row.complaints()


@pytest.mark.parametrize("tied", [True, False])
def test_an_odd_vocabulary_is_padded_and_costs_no_more(plans: ModuleType, tied: bool) -> None:
    def row(vocabulary: int) -> Any:
        shape = replace(transformer.GPT2_124M, vocabulary=vocabulary, tied=tied)
        name = f"vocabulary {vocabulary}"
        return plans.plan(gpu.Workload(name, 16, partial(gpu._text, shape), "bfloat16", None))

    odd, even = row(50257), row(50304)
    text = odd.report.text
    assert "misaligned" not in text
    assert "bfloat16[16, 1024, 50304]" in text
    assert "bfloat16[16, 1024, 50257]" not in text
    assert "is computed as 16384x768x50304, so that rows are vectors" in text
    assert odd.report.fused_bound_bytes < even.report.fused_bound_bytes
    if tied:  # nothing is cut: the first rows of the gradient are read where they lie
        assert not odd.complaints()
        assert odd.report.peak_bytes <= even.report.peak_bytes
        assert odd.report.launches == even.report.launches
        assert odd.report.moved_bytes <= even.report.moved_bytes
    else:  # the kernel's gradient, in float32, loses columns
        cut = 2 * 4 * 768 * 50257
        assert odd.report.moved_bytes <= even.report.moved_bytes + cut


def test_650_features_are_padded_for_tf32_where_that_pays(
    plans: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = gpu.find("lstm")
    assert "so that rows are vectors" not in plans.plan(workload).report.text
    monkeypatch.setenv("OSTRIA_TF32", "1")
    row = plans.plan(workload)
    # A gradient's operand is small beside it; the kernel [650, 10000] that others read is not.
    assert "matmul 650x10000x700 is computed as 672x10000x700" in row.report.text
    assert "misaligned (ld of a 650)" in row.report.text
    assert not row.complaints()


def head(model: str) -> Any:
    """What a program of a classifier with an odd number of classes returns."""
    classes, width = 4001, 2048
    layer = nn.Dense(classes)
    layer(np.zeros((1, width), np.float32))

    def run(x: Any, y: Any) -> Any:
        logits = layer(x)
        if model == "logits":
            return logits
        if model == "softmax":
            return ost.softmax(logits)
        labels = y if model == "sparse" else ost.one_hot(y, classes)
        kind = "Sparse" if model == "sparse" else ""
        loss = getattr(ost.losses, f"{kind}CategoricalCrossentropy")(from_logits=True)
        value = loss(labels, logits)
        return [value, *ost.gradients(value, layer.trainable_variables)]

    return ost.compile(run, precision="mixed_bfloat16")


@pytest.mark.parametrize("model", ["logits", "softmax", "sparse", "dense"])
def test_who_reads_wide_rows_gets_the_sizes_of_the_program(plans: ModuleType, model: str) -> None:
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(1024, 2048)).astype(np.float32), rng.integers(0, 4001, 1024)]
    step = head(model)
    text = step.plan_for(plans.DEVICE, *given).text
    assert "bfloat16[1024, 4032]" in text  # the product
    copies = [line for line in text.splitlines() if "slice <" in line and "[1024, 4001]" in line]
    assert not copies
    graph = step.trace(*given)
    outputs, _ = graph.run_shuffled({}, "cuda", plans.DEVICE.read_text(), given, 0)
    here = step(*given)
    for a, b in zip(arrays(outputs), here if isinstance(here, list) else [here], strict=True):
        want = b.numpy()
        assert a.shape == want.shape
        np.testing.assert_allclose(a, want, rtol=0, atol=2e-2 * max(1e-3, np.abs(want).max()))


def arguments(inputs: gpu.Batch) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        rng.normal(size=shape).astype(dtype)
        if dtype == "float32"
        else rng.integers(0, 10, shape).astype(dtype)
        for shape, dtype in inputs
    ]


def arrays(tensors: list[Any]) -> list[np.ndarray]:
    return [t.numpy().copy() for t in tensors]


@pytest.mark.parametrize("name", SMALL)
def test_a_plan_for_a_gpu_gives_one_result_in_every_legal_order(
    plans: ModuleType, name: str
) -> None:
    (step, inputs), tolerance = SMALL[name]()
    given = arguments(inputs)
    graph = step.trace(*given)
    padded = "so that rows are vectors" in step.plan_for(plans.DEVICE, *given).text
    assert padded == name.endswith("_odd")
    text = plans.DEVICE.read_text()
    names = ["loss", *(v.name for v in graph.variables)]
    runs = []
    for seed in range(4):
        outputs, state = graph.run_shuffled({}, "cuda", text, given, seed)
        runs.append(arrays(outputs) + arrays(state))
    for other in runs[1:]:
        for name, a, b in zip(names, runs[0], other, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
    here = [step(*given).numpy()] + [v.numpy() for v in graph.variables]
    for name, a, b in zip(names, runs[0], here, strict=True):
        assert a.dtype == b.dtype and np.isfinite(a).all(), name
        limit = tolerance * max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=limit, err_msg=name)
