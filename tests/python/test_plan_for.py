# SPDX-License-Identifier: Apache-2.0
"""Plans for a GPU that is not there: `plan_for`, the device "null", and what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ostria as ost

ROOT = Path(__file__).resolve().parents[2]
H100 = ROOT / "tests/data/devices/h100.json"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTRIA_CACHE_DIR", str(tmp_path))


def plan_on_gpu(f: Any, *args: Any, device: Any = H100) -> ost.PlanReport:
    try:
        return f.plan_for(device, *args)
    except ost.DeviceUnavailableError as error:
        pytest.skip(f"no plans for a GPU: {str(error).splitlines()[0]}")


def loss(x: Any, w: Any) -> Any:
    return ost.mean(ost.exp(ost.matmul(x, w)))


ROWS, WEIGHTS = np.ones((4, 8), np.float32), np.ones((8, 16), np.float32)


def test_the_plan_of_a_described_gpu_names_its_kernels() -> None:
    report = plan_on_gpu(ost.compile(ost.grad(loss, (0, 1))), ROWS, WEIGHTS)
    assert report.device == "cuda:sm_90"
    assert sum(report.kernels.values()) == report.launches
    assert any(name.startswith(("cublaslt", "skinny")) for name in report.kernels)
    assert report.peak_bytes >= report.least_bytes > 0
    assert report.moved_bytes == sum(report.moved.values()) >= report.fused_bound_bytes
    assert "plan for cuda:sm_90" in report.text and "plan for cuda:sm_90" in str(report)


@pytest.mark.parametrize(
    ("columns", "passes"), [(50257, 1), (400000, 2)], ids=["kept", "read again"]
)
def test_bytes_of_long_rows_count_as_often_as_they_are_read(columns: int, passes: int) -> None:
    x = np.zeros((64, columns), np.float32)
    report = plan_on_gpu(ost.compile(ost.softmax), x)
    assert report.moved_bytes == sum(report.moved.values()) == (passes + 1) * x.nbytes
    assert report.fused_bound_bytes == 2 * x.nbytes


def test_a_gpu_is_described_by_a_path_its_text_or_a_dict() -> None:
    f = ost.compile(loss)
    reports = [
        plan_on_gpu(f, ROWS, WEIGHTS, device=device)
        for device in (H100, str(H100), H100.read_text(), json.loads(H100.read_text()))
    ]
    assert all(report == reports[0] for report in reports)
    assert plan_on_gpu(f, ROWS, WEIGHTS, device=reports[0].description) == reports[0]


def test_the_description_names_the_device() -> None:
    small = {**json.loads(H100.read_text()), "deviceVer": 800, "multiProcessorCount": 2}
    assert plan_on_gpu(ost.compile(loss), ROWS, WEIGHTS, device=small).device == "cuda:sm_80"


def test_planning_for_another_device_leaves_calls_alone() -> None:
    f = ost.compile(loss)
    here = f(ROWS, WEIGHTS).item()
    report = f.plan_for("cpu", ROWS, WEIGHTS)
    assert report.device == "cpu" and report.stats["peak_bytes"] == report.peak_bytes
    plan_on_gpu(f, ROWS, WEIGHTS)
    assert f(ROWS, WEIGHTS).item() == here
    assert f.num_specialisations == 1


def test_a_plan_tells_why_a_preferred_implementation_was_not_taken() -> None:
    def f(x: Any) -> Any:
        return ost.attention(x, x, x)

    report = plan_on_gpu(ost.compile(f), np.ones((1, 8, 2, 16), np.float32))
    line = next(note for note in report.notes if note.startswith("attention "))
    assert "cudnn: " in line and "float32" in line
    assert line in report.text


def test_explain_tells_it_too() -> None:
    f = ost.compile(loss)
    f(ROWS, WEIGHTS)
    assert "matmul runs as " in f.explain(runs=1)
    assert "row: needs one row or one column, not 4 x 16" in f.explain(runs=1)


@pytest.mark.parametrize(
    "device, message",
    [
        ("{", "no JSON"),
        ("{}", "'deviceVer'"),
        ({"deviceVer": 900, "multiProcessorCount": "many"}, "'multiProcessorCount'"),
        ("[1]", "is neither a device"),
        (90, "is no device"),
    ],
)
def test_a_description_must_say_what_plans_need(device: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError, ost.DeviceUnavailableError)) as caught:
        ost.compile(loss).plan_for(device, ROWS, WEIGHTS)
    if isinstance(caught.value, ost.DeviceUnavailableError):
        pytest.skip(f"no plans for a GPU: {str(caught.value).splitlines()[0]}")
    assert message in str(caught.value)


def in_a_process(code: str) -> str:
    head = "import numpy as np\nimport ostria as ost\nfrom ostria import nn\n"
    command = [sys.executable, "-c", head + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_on_null_takes_no_memory() -> None:
    megabytes = in_a_process("""
        with ost.device("null"):
            model = nn.Dense(30_000)
            optimizer = ost.optim.Adam(0.1)
            def step(x):
                loss = ost.mean(model(x))
                optimizer.minimize(loss, model.trainable_variables)
                return loss
            plan = ost.compile(step).plan_for("cpu", np.empty((1, 30_000), np.float32))
        assert plan.stats["state_bytes"] > 10 << 30
        # Not getrusage: its peak begins with that of the process that forked this one.
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(int(status["VmHWM"].split()[0]) >> 10)
    """)
    assert int(megabytes) < 1000


def test_a_variable_of_null_says_why_it_cannot_be_used_elsewhere() -> None:
    with ost.device("null"):
        w = ost.Variable(np.ones(3, np.float32), name="w")
    with pytest.raises(ValueError, match="'w' was made on device 'null', which holds no values"):
        ost.compile(lambda x: x + w)(np.ones(3, np.float32))


def test_a_variable_of_null_has_no_values_to_give() -> None:
    with ost.device("null"):
        w = ost.Variable(np.ones((2, 2), np.float32), name="w")
    with pytest.raises(ValueError, match="'w' was made on device 'null', which holds no values"):
        w.numpy()


def test_a_name_that_is_no_device() -> None:
    with pytest.raises(ValueError, match="plan_for: 'h100' is neither a device such as 'cpu'"):
        ost.compile(loss).plan_for("h100", ROWS, WEIGHTS)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError, match=r"plan_for: .* cannot be read: .*'nope.json'"):
        ost.compile(loss).plan_for("nope.json", ROWS, WEIGHTS)


def test_the_stub_that_plans_are_made_with_is_no_driver() -> None:
    code = """
        import numpy as np
        import ostria as ost

        plan = ost.compile(lambda x: ost.exp(x)).plan_for
        try:
            plan(PATH, np.ones((2, 2), np.float32))
            ost.to_device(ost.ones((2,)), "cuda")
        except ost.DeviceUnavailableError as error:
            print(error)
        """
    code = textwrap.dedent(code).replace("PATH", repr(str(H100)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if done.stdout:  # there is no GPU
        assert "install NVIDIA's driver" in done.stdout or "sees no GPU" in done.stdout
        assert "unknown version" not in done.stdout


def test_seeds_survive_a_model_on_null() -> None:
    draws = in_a_process("""
        with ost.device("null"):
            nn.Dense(3)(ost.zeros((1, 2)))
        print(ost.random.uniform((4,)).numpy().tolist())
    """)
    assert draws == in_a_process("print(ost.random.uniform((4,)).numpy().tolist())")
