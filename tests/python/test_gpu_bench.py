# SPDX-License-Identifier: Apache-2.0
"""The harness of `make gpu-bench`: statistics, checkpoints, budgets, peers that fail. No GPU."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.child import Child, WorkerError  # noqa: E402
from benchmarks.gpu import (  # noqa: E402
    bench,
    cases,
    kernels,
    launches,
    processes,
    report,
    turns,
    verdicts,
    worker,
)
from benchmarks.gpu.record import Record  # noqa: E402
from benchmarks.models import gpu, transformer  # noqa: E402

SECONDS = {"ostria compile": 0.001, "torch eager": 0.004, "torch graph": 0.002, "jax jit": 0.003}
GROUPS = (("torch", ("eager", "graph")), ("jax", ("jit",)))


class Scripted(processes.Worker):
    """A worker without a process; `script` says how long a step takes, or what goes wrong."""

    script: dict[str, Any]
    started: list[str]
    made: list[str]
    slow = False

    def __init__(self, framework: str, device: str, folder: str):
        self.framework, self.kernels = framework, Path(folder, "kernels")
        self.steps, self._seconds, self._is_loaded, self._case = {}, {}, False, ""
        self._pending: Any = {"ready": True}
        self.started.append(framework)

    def tell(self, **command: Any) -> None:
        mode = command["make"]["mode"] if "make" in command else command["mode"]
        name = f"{self.framework} {mode}"
        seconds = self.script[name]
        if isinstance(seconds, list) and "make" not in command:
            seconds = self.script[f"{name} now"]
        if "make" in command:
            self.made.append(name)
            losses = [2.0, 1.0]
            self._pending = {"first_step_s": 1.0, "losses": losses, "peak_mb": 100.0}
            if isinstance(seconds, list):  # one for each time that it is made
                seconds = self.script[f"{name} now"] = seconds.pop(0)
        elif "profile" in command:
            self._pending = self.script.get("profile", {"nodes": 1, "sum_us": 5.0})
        else:
            self._pending = {"seconds": command["steps"] * seconds, "loss": 1.0}
        if isinstance(seconds, str):
            self._pending = {"error": seconds}

    def answer(self, timeout: float = 0.0) -> dict[str, Any]:
        if self.slow and "seconds" in self._pending:
            time.sleep(0.1)
        if "error" in self._pending:
            raise WorkerError(self._pending["error"])
        return self._pending

    def close(self) -> None:
        self._pending = {"error": "closed"}


def measured(
    path: Path,
    script: dict[str, Any],
    budget: float = 1000.0,
    resume: bool = False,
    slow: bool = False,
    **case: Any,
) -> tuple[dict[str, Any], type[Scripted]]:
    """The record's entry of one case, and the workers."""

    class Workers(Scripted):
        pass

    Workers.script, Workers.started, Workers.made = script, [], []
    Workers.slow = slow

    class Session(turns.Session):
        start = Workers

    record = Record(path, "bench", "abc", resume)
    session = Session(record, budget)
    options = {"groups": GROUPS, "target": 1.5, **case}
    session.run([cases.Case("mlp", 128, "float32", "steps/s", 1, model="mlp", **options)])
    session.close()
    entry = json.loads(path.read_text())["results"]["mlp float32 batch 128"]
    return entry, Workers


def test_the_best_peer_decides_and_all_are_in_the_record(tmp_path: Path) -> None:
    entry, workers = measured(tmp_path / "r.json", dict(SECONDS))
    assert entry["ratio"] == {
        **{"peer": "torch graph", "ratio": 2.0, "p10": 2.0, "p90": 2.0, "target": 1.5}
    }
    assert set(entry["modes"]) == set(SECONDS)
    full = {name for name, m in entry["modes"].items() if not m["probed"]}
    assert full == {"ostria compile", "torch graph"}
    for name in full:
        assert len(entry["modes"][name]["windows_us"]) == turns.Protocol().windows >= 5
    assert entry["modes"]["torch eager"]["step_us"]["median"] == pytest.approx(4000)
    assert entry["modes"]["jax jit"]["rate"] == pytest.approx(333.33)
    assert entry["losses"]["agree"] and entry["profile"]["sum_us"] == 5.0
    assert workers.made[0] == "ostria compile"  # alone, before any peer
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["timed"]["models"] == ["mlp"] and data["stand_in"]


def test_a_peer_that_fails_leaves_its_words_and_its_other_modes(tmp_path: Path) -> None:
    script = {**SECONDS, "torch eager": "CUDA error: nothing works", "jax jit": "no JAX"}
    entry, workers = measured(tmp_path / "r.json", script)
    assert entry["modes"]["torch eager"]["error"] == "CUDA error: nothing works"
    assert entry["modes"]["jax jit"]["error"] == "no JAX"
    assert entry["ratio"]["peer"] == "torch graph"
    assert workers.started.count("torch") == 2  # the graph in a process of its own


def test_ours_may_fail_too(tmp_path: Path) -> None:
    entry, _ = measured(tmp_path / "r.json", {**SECONDS, "ostria compile": "no such kernel"})
    assert entry["modes"]["ostria compile"]["error"] == "no such kernel"
    assert entry["modes"]["torch graph"]["step_us"]["median"] == pytest.approx(2000)
    assert "ratio" not in entry and "no such kernel" in verdicts.summary(entry)
    assert json.loads((tmp_path / "r.json").read_text())["timed"]["models"] == []


def test_a_profile_that_fails_costs_no_ratio(tmp_path: Path) -> None:
    script = {**SECONDS, "profile": {"error": "an illegal address"}}
    entry, workers = measured(tmp_path / "r.json", script)
    assert entry["profile"] == {"error": "an illegal address"} and entry["ratio"]["ratio"] == 2.0
    assert workers.started.count("ostria") == 3  # again after the profile, and once to start warm


def test_who_ran_out_of_memory_beside_others_gets_another_turn(tmp_path: Path) -> None:
    script = {**SECONDS, "torch eager": ["CUDA out of memory", 0.0005], "torch graph": 0.002}
    entry, workers = measured(tmp_path / "r.json", script)
    assert workers.made.count("torch eager") == 2 and workers.made.count("torch graph") == 1
    assert entry["ratio"]["peer"] == "torch eager" and entry["ratio"]["ratio"] == 0.5
    script = {**SECONDS, "torch eager": ["CUDA out of memory"] * 2}
    entry, workers = measured(tmp_path / "r.json", script)
    assert entry["modes"]["torch eager"]["error"] == "CUDA out of memory"  # once more, not for ever
    assert entry["ratio"]["peer"] == "torch graph"


def test_a_budget_that_is_spent_ends_the_peers_not_the_run(tmp_path: Path) -> None:
    begin = time.monotonic()
    script = {**SECONDS, "torch eager": 0.25, "ostria compile": 0.25}
    entry, _ = measured(tmp_path / "r.json", script, budget=0.2, slow=True)
    assert time.monotonic() - begin < 5
    assert entry["modes"]["ostria compile"]["step_us"]["median"] == pytest.approx(250_000)
    for name in ("torch eager", "torch graph", "jax jit"):
        assert "no time is left" in entry["modes"][name]["error"]


def test_cases_that_come_too_late_start_nothing(tmp_path: Path, capsys: Any) -> None:
    record = Record(tmp_path / "r.json", "bench", "abc")
    session = turns.Session(record, 0.0)
    session.run(cases.mlp())
    session.close()
    assert "no time is left" in capsys.readouterr().out and record.data["results"] == {}
    assert bench.main(["g4", "--total", "1e-9", "--output", str(tmp_path / "t.json")]) == 0
    assert "g4: no time is left for it" in capsys.readouterr().out


def test_a_run_goes_on_where_another_ended(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    measured(path, {**SECONDS, "torch graph": "killed", "jax jit": "killed"})
    data = json.loads(path.read_text())
    entry = data["results"]["mlp float32 batch 128"]
    del entry["ratio"]
    path.write_text(json.dumps(data))
    entry, workers = measured(path, dict(SECONDS), resume=True)
    assert "torch eager" not in workers.made and "torch graph" in workers.made
    assert entry["ratio"]["peer"] == "torch graph"
    entry, workers = measured(path, dict(SECONDS), resume=True)
    assert workers.started == []  # all is there
    entry, workers = measured(path, dict(SECONDS))
    assert "torch eager" in workers.made  # without --resume it begins anew


def test_the_best_peer_of_an_earlier_run_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    measured(path, dict(SECONDS))
    data = json.loads(path.read_text())
    del data["results"]["mlp float32 batch 128"]["ratio"]
    path.write_text(json.dumps(data))
    entry, workers = measured(path, dict(SECONDS), resume=True)
    assert workers.made[:2] == ["ostria compile", "torch graph"]
    assert entry["ratio"]["ratio"] == 2.0


def test_what_is_compiled_is_kept_only_where_it_is_asked_for(tmp_path: Path) -> None:
    record = Record(tmp_path / "r.json", "bench", "abc")
    session = turns.Session(record, 1.0)
    folder = session._cache
    assert folder.exists()
    session.close()
    assert not folder.exists()
    session = turns.Session(record, 1.0, cache=tmp_path / "cache")
    session.close()
    assert (tmp_path / "cache").exists() and session._cache == (tmp_path / "cache").resolve()
    paths = processes.environment("cuda", "/kept", "/kept/log")
    assert paths["OSTRIA_CACHE_DIR"] == "/kept/ostria" and paths["JAX_PLATFORMS"] == "cuda"


def test_a_record_of_another_commit_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    Record(path, "bench", "abc").set("x", 1)
    assert Record(path, "bench", "abc", resume=True).data["results"] == {"x": 1}
    with pytest.raises(ValueError, match="its commit is 'abc', this run's is 'def'"):
        Record(path, "bench", "def", resume=True)
    assert Record(path, "bench", "abc").data["results"] == {}


def test_a_copy_is_a_yardstick_and_no_peer(tmp_path: Path) -> None:
    script = {**SECONDS, "torch copy": 0.0008}
    groups = (("torch", ("copy", "eager")),)
    entry, _ = measured(tmp_path / "r.json", script, groups=groups, of_copy=0.85)
    assert entry["ratio"]["peer"] == "torch eager" and entry["ratio"]["ratio"] == 4.0
    assert entry["of_copy"]["ratio"] == pytest.approx(0.8) and entry["of_copy"]["target"] == 0.85
    assert "0.80 of a copy" in verdicts.summary(entry)


def test_a_process_that_dies_says_of_what() -> None:
    for words, code in (("SIGSEGV", "os.kill(os.getpid(), 11)"), ("died, 3", "os._exit(3)")):
        program = f"import os; print('last words', flush=True); {code}"
        child = Child([sys.executable, "-c", f"import sys; sys.stdout = sys.stderr; {program}"], {})
        with pytest.raises(WorkerError, match=f"{words}.*last words"):
            child.answer(20)
        child.close()


def test_a_report_says_who_is_faster_and_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    script = {**SECONDS, "torch copy": 0.0008, "jax jit": "no JAX\nat all"}
    measured(path, script, groups=(("torch", ("copy", "graph")), ("jax", ("jit",))), of_copy=0.85)
    data = json.loads(path.read_text())
    data["results"]["device"] = {"error": "no cuDNN"}
    data["results"]["mlp float32 batch 128"]["profile"]["by_kind"] = [["matmul <lt>", 3, 4.0]]
    text = report.text(data)
    line = next(x for x in text.splitlines() if x.startswith("mlp")).split()
    assert line[4:9] == ["torch", "graph", "steps/s", "1,000", "500"]
    assert line[9:13] == ["2.00", "2.00..2.00", "1.5", "met"] and line[-1] == "agree"
    assert "0.80    0.85  MISSED" in text
    assert " 80.0 %        4.0 us     3 x matmul <lt>" in text
    assert "mlp float32 batch 128, jax jit: no JAX" in text and "device: no cuDNN" in text
    assert "at all" not in text


def test_losses_are_compared_at_every_step() -> None:
    same = {"a": [2.0, 1.0, 0.5], "b": [2.0, 1.001, 0.5], "c": [2.0, 1.0]}
    found = verdicts.compare(same, 2e-3)
    assert found["agree"] and found["steps"] == 2 and found["off"]["b"] == pytest.approx(1e-3)
    skipped = verdicts.compare({**same, "d": [2.0, 1.01]}, 2e-3)
    assert not skipped["agree"] and skipped["off"]["d"] == pytest.approx(0.01, rel=0.1)
    lost = verdicts.compare({**same, "d": [2.0, float("nan")]}, 2e-3)
    assert not lost["agree"] and lost["off"]["d"] == "not finite" and lost["off"]["a"] < 1e-3


def test_a_ratio_is_of_medians_and_its_spread_of_pairs() -> None:
    found = verdicts.ratio([1.0, 1.0, 2.0], [2.0, 3.0, 4.0])
    assert found["ratio"] == 3.0 and 2.0 <= found["p10"] < found["p90"] <= 3.0


def test_a_profile_is_summed_by_kind() -> None:
    rows = [
        {"op": "matmul", "impl": "lt", "detail": "a", "line": f"x.py:{i}", "ns": 1000.0 * i}
        for i in range(40)
    ]
    rows.append({"op": "cast", "impl": "loop", "detail": "", "line": "x.py:1", "ns": 5e6})
    found = worker.nodes(rows)
    assert found["nodes"] == 41 and found["sum_us"] == pytest.approx(5780.0)
    assert found["by_kind"] == [["cast <loop>", 1, 5000.0], ["matmul <lt> a", 40, 780.0]]
    assert len(found["longest"]) == worker.NODES and found["longest"][1][-1] == 39.0


def test_every_case_names_what_it_times() -> None:
    for make in cases.PROGRAMS.values():
        for case in make():
            assert case.name in kernels.NAMES or gpu.find(case.name)
            assert case.items > 0 and case.groups
    assert set(bench.ORDER) == {*bench.HAND, *cases.PROGRAMS} - {"g3"}
    with pytest.raises(SystemExit):
        bench.parse(["g9"])
    assert bench.parse(["g1", "--budget", "90"]).budget == 90
    few = bench.parse(["--batch", "64", "--case", "res", "--case", "softmax"])
    assert [c.batch for c in bench.chosen("g1", few)] == [64]
    assert [c.name for c in bench.chosen("g6", few)] == ["softmax"]
    tiny = bench.parse(["--tiny", "--peers", "cpu"])
    for case in bench.chosen("g4", tiny):  # a CPU captures no graphs
        assert case.batch == 4
        assert [modes for _, modes in case.groups] == [("eager",), ("jit",)]


def test_a_share_that_is_used_up_leaves_no_time_for_slow_modes(tmp_path: Path) -> None:
    session = turns.Session(Record(tmp_path / "r.json", "bench", "abc"), 1000.0)
    session._share_end = time.monotonic() - 1
    entry: dict[str, Any] = {"modes": {}}
    (case,) = cases.mlp()
    assert session._probe_wave(case, entry, list(cases.SLOW), None, False) is None
    assert {m["error"] for m in entry["modes"].values()} == {"no time is left for it in the budget"}
    assert len(entry["modes"]) == 2 and session._alive == []
    session.close()


def test_slow_modes_that_have_time_may_win(tmp_path: Path) -> None:
    script = {**SECONDS, "torch max_autotune": 0.001, "torch max_autotune_graph": 0.001}
    groups = (*GROUPS, *cases.SLOW)
    entry, _ = measured(tmp_path / "r.json", dict(script), groups=groups)
    assert entry["modes"]["torch max_autotune_graph"]["step_us"]["median"] == pytest.approx(1000)
    assert entry["ratio"]["ratio"] == 1.0


def test_the_slow_modes_come_alone_and_last() -> None:
    waves = turns.Session._waves
    record = type("R", (), {"memory_mb": 80_000.0})()
    session = type("S", (), {"_record": record})()
    groups = list(cases.QUICK + cases.SLOW)
    for need, count in ((1000.0, 2), (20_000.0, 4)):  # as many as the memory holds
        found = waves(session, groups, {"peak_mb": need})
        assert len(found) == count
        assert found[-1] == list(cases.SLOW)
        assert [g for wave in found for g in wave] == groups


def test_sizes_are_the_published_ones() -> None:
    assert transformer.GPT2_124M.parameters == 124_475_904  # 124,439,808 and 47 rows of padding
    assert transformer.GPT2_124M.flops_per_token == pytest.approx(855e6, rel=1e-3)
    assert sum(np.prod(s) for s in kernels._adam_shapes(False)) == 124_475_904
    by_name = {k.name: k for k in kernels.MEMORY_BOUND}
    assert by_name["softmax"].bytes == 2 * 65536 * 1024 * 2
    assert by_name["adam_124m"].bytes == 28 * 124_475_904
    tiny = transformer.tiny(transformer.BERT_LARGE)
    for shape in (tiny, transformer.tiny(transformer.GPT2_124M)):
        assert sum(w.size for w in transformer.weights(shape)) == shape.parameters


def test_a_node_costs_what_a_longer_chain_adds() -> None:
    medians = {"plain, 1 nodes of 1 blocks": 3.0, "plain, 44 nodes of 1 blocks": 46.0}
    medians |= {"phases, 1 of 32 blocks": 2.0, "phases, 11 of 32 blocks": 12.0}
    assert launches.slopes(medians) == {"plain, of 1 blocks": 1.0, "phases, of 32 blocks": 1.0}


STUB = r"""
#include <string.h>
typedef unsigned long long u64;
struct Attribute { int id; char pad[4]; int value; char rest[60]; };
struct Config {
  unsigned grid[3], block[3], shared; void* stream; struct Attribute* attributes; unsigned count;
};
static int launches, flagged;
static const char* names[] = {"plain", "programmatic", "phases", "clear"};
#define OK(name, ...) int name(__VA_ARGS__) { return 0; }
OK(cuInit, unsigned f) OK(cuDeviceGet, int* d, int i) OK(cuCtxSetCurrent, void* c)
OK(cuDevicePrimaryCtxRetain, void** c, int d) OK(cuModuleLoadData, void** m, const void* i)
OK(cuMemsetD8_v2, u64 p, unsigned char v, size_t n) OK(cuStreamBeginCapture_v2, void* s, int m)
OK(cuGraphInstantiateWithFlags, void** e, void* g, u64 f) OK(cuGraphLaunch, void* e, void* s)
OK(cuEventCreate, void** e, unsigned f) OK(cuEventRecord, void* e, void* s)
OK(cuEventSynchronize, void* e) OK(cuStreamEndCapture, void* s, void** g)
int cuStreamCreate(void** s, unsigned f) { *s = (void*)(u64)(0x1000 + f); return 0; }
int cuMemAlloc_v2(u64* p, size_t n) { *p = 0x20000 + n; return 0; }
int cuEventElapsedTime(float* ms, void* b, void* e) { *ms = 1.5f; return 0; }
int cuModuleGetFunction(void** f, void* m, const char* name) {
  for (u64 i = 0; i < 4; ++i) if (!strcmp(name, names[i])) { *f = (void*)(i + 1); return 0; }
  return 500;
}
int cuLaunchKernelEx(struct Config* c, void* f, void** args, void** extra) {
  if (c->stream != (void*)0x1001 || c->block[0] != 256 || c->grid[1] != 1 || extra) return 1;
  int is_flagged = c->count == 1 && c->attributes->id == 6 && c->attributes->value == 1;
  if ((f == (void*)2) != is_flagged || (f != (void*)2 && c->count)) return 2;
  if (f != (void*)4 && *(u64*)args[0] != 0x20000 + (1 << 20)) return 3;
  if (f != (void*)4 && *(int*)args[1] != (int)(c->grid[0] * 256)) return 4;
  ++launches; flagged += is_flagged; return 0;
}
int counted(void) { return 1000 * launches + flagged; }
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_chains_are_launched_as_the_driver_wants_it(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "stub.c").write_text(f"#include <stddef.h>\n{STUB}")
    library = tmp_path / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "stub.c")]
    subprocess.run(command, check=True)
    stub = ctypes.CDLL(str(library))
    monkeypatch.setattr(launches, "library", lambda name: stub)
    monkeypatch.setattr(launches, "compiled", lambda: b"code")
    found = launches.measure(replays=10, windows=3)
    count = 2 * (1 + launches.NODES + 4 * launches.NODES)  # of each kind, at 1 and at 32 blocks
    assert stub.counted() == 1000 * (2 * count + 2 * 2 * 3) + count
    assert set(found["replay_us"].values()) == {150.0}
    assert found["us_per_added_node"]["plain, of 32 blocks"] == 0.0
