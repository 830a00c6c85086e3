# SPDX-License-Identifier: Apache-2.0
"""ost.compile: what is traced, what is captured, when it is traced again, and what it reports."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import warnings
import weakref
from typing import Any

import numpy as np
import pytest

import ostria as ost
from ostria import nn


def rows(n: int) -> Any:
    return np.arange(n * 3, dtype=np.float32).reshape(n, 3)


# --- Batches --------------------------------------------------------------------------------------


def test_batches_of_128_37_and_0_are_one_trace_and_three_plans() -> None:
    runs = []
    weight = ost.Variable(np.ones((3, 2), np.float32), name="w")

    @ost.compile(dynamic_batch=True)
    def step(x: Any) -> Any:
        runs.append(x.shape)
        y = ost.matmul(x, weight)
        return y, ost.mean(y)

    for n in (128, 37, 0, 128, 37):
        y, mean = step(rows(n))
        expected = rows(n) @ np.ones((3, 2), np.float32)
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)
        assert mean.item() == pytest.approx(expected.mean() if n else 0.0, rel=1e-5)
    assert len(runs) == 1
    assert repr(runs[0]) == "(batch, 3)"
    assert (step.num_traces, step.num_specialisations) == (1, 3)


def test_a_batch_of_one_is_not_a_broadcast() -> None:
    f = ost.compile(lambda x: x - ost.mean(x, axis=0, keepdims=True), dynamic_batch=True)
    np.testing.assert_array_equal(f(rows(1)).numpy(), np.zeros((1, 3)))
    np.testing.assert_array_equal(f(rows(2)).numpy(), [[-1.5] * 3, [1.5] * 3])
    assert f.num_traces == 1


def test_arrays_that_share_the_batch_grow_together() -> None:
    f = ost.compile(lambda x, y, w: (x + y) @ w, dynamic_batch=True)
    w = np.ones((3, 1), np.float32)
    for n in (4, 5):
        assert f(rows(n), rows(n), w).shape == (n, 1)
    assert f.num_traces == 1


def test_sizes_make_new_shapes_and_numbers() -> None:
    def f(x: Any) -> Any:
        batch, width = x.shape
        return ost.reshape(x, (batch * width,)) * batch

    g = ost.compile(f, dynamic_batch=True)
    for n in (2, 5):
        np.testing.assert_array_equal(g(rows(n)).numpy(), rows(n).reshape(-1) * n)
    assert g.num_traces == 1


# --- What is an input, a constant, a part of the key ----------------------------------------------


def test_tensors_that_a_function_closes_over_are_inputs() -> None:
    offset = ost.asarray(np.full(3, 5.0, np.float32))
    f = ost.compile(lambda x: x + offset)
    np.testing.assert_array_equal(f(rows(2)).numpy(), rows(2) + 5)
    (entry,) = f._entries.values()
    assert "input" in entry.compiled.text().replace("capture_0", "input")
    assert "capture_0" in entry.compiled.text()


def test_numpy_arrays_that_a_function_closes_over_are_constants_of_the_trace() -> None:
    offset = np.full(3, 5.0, np.float32)
    f = ost.compile(lambda x: x + offset)
    f(rows(2))
    offset[:] = 7.0
    np.testing.assert_array_equal(f(rows(2)).numpy(), rows(2) + 5)
    assert "capture" not in next(iter(f._entries.values())).compiled.text()


def test_variables_are_read_and_written_in_place() -> None:
    total = ost.Variable(np.zeros(3, np.float32), name="total")
    place = total.chunk

    @ost.compile(dynamic_batch=True)
    def add(x: Any) -> Any:
        total.assign(total.value() + ost.sum(x, axis=0))
        return total.value() * 2.0

    np.testing.assert_array_equal(add(rows(2)).numpy(), rows(2).sum(0) * 2)
    add(rows(3))
    np.testing.assert_array_equal(total.numpy(), rows(2).sum(0) + rows(3).sum(0))
    assert total.chunk == place


def test_a_variable_changed_outside_is_seen() -> None:
    v = ost.Variable(1.0, name="v")
    f = ost.compile(lambda x: x * v)
    assert f(ost.asarray(2.0)).item() == 2.0
    v.assign(10.0)
    assert f(ost.asarray(2.0)).item() == 20.0


def test_static_arguments_and_keywords_are_part_of_the_key() -> None:
    f = ost.compile(lambda x, power, *, scale=1.0: x**power * scale)
    x = ost.asarray([2.0, 3.0])
    assert f(x, 2.0).numpy().tolist() == [4.0, 9.0]
    assert f(x, 3.0).numpy().tolist() == [8.0, 27.0]
    assert f(x, 2.0, scale=10.0).numpy().tolist() == [40.0, 90.0]
    assert f(x, 2.0).numpy().tolist() == [4.0, 9.0]
    assert f.num_traces == 3


def test_structures_go_in_and_out() -> None:
    def f(batch: dict[str, Any], pair: tuple[Any, Any]) -> Any:
        return {"sum": batch["a"] + batch["b"], "rest": [pair[0], None, "text", pair[1] * 2.0]}

    a = ost.asarray([1.0])
    out = ost.compile(f)({"b": a, "a": a}, (a, a))
    assert out["sum"].item() == 2.0
    assert out["rest"][0].item() == 1.0
    assert out["rest"][1:3] == [None, "text"]
    assert out["rest"][3].item() == 2.0


def test_no_argument_and_no_result() -> None:
    v = ost.Variable(1.0, name="v")
    f = ost.compile(lambda: v.assign(v.value() + 1.0))
    assert f() is None
    assert f() is None
    assert v.numpy() == 3.0


def test_a_compiled_function_inside_another_joins_its_graph() -> None:
    inner = ost.compile(lambda x: x * 2.0)
    outer = ost.compile(lambda x: inner(x) + inner(x))
    assert outer(ost.asarray(3.0)).item() == 12.0
    assert inner.num_traces == 0


def test_it_decorates_functions_and_methods_of_modules() -> None:
    @ost.compile
    def double(x: Any) -> Any:
        """Twice x."""
        return x * 2.0

    assert double.__name__ == "double"
    assert double.__doc__ == "Twice x."
    model = nn.Dense(2)
    x = ost.ones((4, 3))
    np.testing.assert_array_equal(ost.compile(model)(x).numpy(), model(x).numpy())


def test_eager_runs_python_each_time() -> None:
    seen = []

    @ost.compile(eager=True)
    def f(x: Any) -> Any:
        seen.append(float(ost.sum(x)))
        return x

    f(rows(2))
    f(rows(2))
    assert seen == [15.0, 15.0]


def test_an_error_in_the_function_leaves_no_open_trace() -> None:
    @ost.compile
    def f(x: Any) -> Any:
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            f(rows(2))
    assert ost._native.current_trace() is None
    assert (ost.asarray(1.0) + 1.0).item() == 2.0


# --- Traces again ---------------------------------------------------------------------------------


def test_explain_tells_why_it_was_traced_again() -> None:
    f = ost.compile(lambda x: x * 2.0, name="doubling")
    f(rows(2))
    f(rows(3))
    f(rows(3).astype(np.float64))
    text = f.explain()
    assert text.startswith("doubling: 3 trace(s), 3 plan(s)\n")
    assert "trace 0: first call" in text
    assert "trace 1: argument 'x': float32[3, 3] (was float32[2, 3])" in text
    assert "trace 2: argument 'x': float64[3, 3] (was float32[3, 3])" in text


def test_a_profile_takes_one_run_or_more() -> None:
    with pytest.raises(ValueError, match=r"profile: .*runs.* positive integer"):
        ost.compile(lambda x: x + x).profile(ost.ones((2,)), runs=0)


def test_a_profile_has_a_row_for_each_node_and_leaves_state_alone() -> None:
    w = ost.Variable(np.ones((3, 4), np.float32), name="w")

    @ost.compile
    def step(x, scale):
        w.assign(w + 1.0)
        return ost.matmul(x, w) * scale

    rows = step.profile(ost.ones((2, 3)), scale=2.0, runs=3)
    assert [row["op"] for row in rows if row["op"] == "matmul"] == ["matmul"]
    assert all(row["ns"] > 0 and row["impl"] for row in rows)
    assert any("test_compile.py" in row["line"] for row in rows)
    assert w.numpy().max() == 1.0 and step.num_traces == 1
    assert step(ost.ones((2, 3)), scale=2.0).numpy().max() == 12.0


def test_explain_shows_graph_plan_and_cost() -> None:
    f = ost.compile(lambda x: ost.tanh(x @ np.ones((3, 2), np.float32)), dynamic_batch=True)
    f(rows(4))
    f(rows(5))
    text = f.explain(runs=2)
    assert "ostria-graph 1" in text
    assert "plan {'batch': 4}" in text
    assert "plan {'batch': 5}" in text
    assert "test_compile.py" in text
    assert " us " in text
    assert " % " in text


def test_a_function_that_is_traced_again_and_again_warns_once() -> None:
    f = ost.compile(lambda x, k: x * k)
    x = ost.asarray(1.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(12):
            f(x, float(k))
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "was traced 9 times" in text
    assert "Pass changing numbers as tensors" in text
    assert caught[0].filename == __file__


# --- Plans and text -------------------------------------------------------------------------------


def test_memory_plan_before_any_step() -> None:
    runs = ost.Variable(0.0, name="runs")

    @ost.compile(dynamic_batch=True)
    def f(x: Any) -> Any:
        runs.assign(runs.value() + 1.0)
        return ost.sum(ost.exp(x) @ ost.exp(ost.transpose(x)))

    small, large = (f.memory_plan(np.zeros((n, 3), np.float32)) for n in (10, 100))
    assert runs.numpy() == 0.0
    assert small["input_bytes"] == 10 * 3 * 4
    assert large["peak_bytes"] > 100 * 100 * 4 > small["peak_bytes"]
    assert small["liveness_bytes"] <= small["activation_bytes"]


def test_the_traced_text_prints_as_it_was_read() -> None:
    v = ost.Variable(np.ones((3, 2), np.float32), name="w")

    @ost.compile(dynamic_batch=True)
    def f(x: Any) -> Any:
        y = ost.softmax(x @ v)
        v.assign(v.value() * 0.5)
        return y, ost.argmax(y, axis=-1)

    text = f.trace(rows(2)).text()
    assert text.startswith("ostria-graph 1\n")
    assert "batch" in text
    assert ost._native.parse_graph(text) == text


def test_a_finished_trace_is_freed_with_the_notes_of_its_callers() -> None:
    class Note:
        pass

    notes = []

    @ost.compile
    def f(x: Any) -> Any:
        note = Note()
        notes.append(weakref.ref(note))
        ost._native.current_trace().scratch["test"] = (note, x)  # a value, which holds the trace
        return x + 1.0

    f(rows(2))
    gc.collect()
    assert len(notes) == 1
    assert notes[0]() is None


@pytest.mark.parametrize("side, steps", [(3, 0), (300, 1)])
def test_a_small_fill_is_bytes_of_the_plan_and_no_step(side: int, steps: int) -> None:
    f = ost.compile(ost.grad(ost.sum))
    x = np.ones((side, side), np.float32)
    f(x)
    assert f.trace(x).plan_text({}).count(": full <") == steps


def test_the_null_device_plans_and_computes_nothing() -> None:
    f = ost.compile(lambda x: x + 1.0, device="null")
    assert f(rows(2)).shape == (2, 3)


def test_threads_can_call_one_function() -> None:
    import concurrent.futures

    f = ost.compile(lambda x: ost.sum(ost.exp(x) * x), dynamic_batch=True)
    expected = {n: f(rows(n) / 100).item() for n in (3, 50)}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [(n, pool.submit(lambda n=n: f(rows(n) / 100).item())) for n in (3, 50) * 100]
        for n, job in jobs:
            assert job.result() == expected[n]


def test_an_error_finds_its_line_while_another_thread_computes() -> None:
    """In a process of its own: what it looks for is a program that stands still."""
    program = """
        import sys, threading
        import numpy as np
        import ostria as ost

        sys.setswitchinterval(1e-5)  # meetings are frequent
        row = ost.compile(lambda table, i: ost.gather(table, i, axis=0))
        table, beyond = ost.zeros((4, 2)), ost.asarray(np.array([9]))
        done = threading.Event()

        def compute():
            x = ost.ones((4,))
            while not done.is_set():
                for _ in range(50):
                    x + x

        other = threading.Thread(target=compute, daemon=True)
        other.start()
        errors = set()
        for _ in range(4000):
            try:
                row(table, beyond)
            except IndexError as e:
                errors.add(str(e).rpartition(" ")[2])
        done.set()
        other.join()
        print(*errors)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[<string>:7]\n"), done.stderr
