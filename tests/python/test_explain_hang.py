# SPDX-License-Identifier: Apache-2.0
"""`ostria explain-hang` on records made by hand: who is named, and what damage does."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ostria.cli import main
from ostria.cli.explain_hang import explain_hang

SECOND = 10**9


def collective(
    sequence: int,
    state: str = "completed",
    *,
    kind: str = "all_reduce",
    name: str = "bucket",
    count: int = 100,
    took: float = 0.1,
    **more: Any,
) -> dict[str, Any]:
    started = (10 + sequence) * SECOND
    entry = {
        "sequence": sequence,
        "kind": kind,
        "name": name,
        "dtype": "float32",
        "count": count,
        "bytes": 4 * count,
        "reduction": "sum",
        "state": state,
        "scheduled_ns": started,
        "started_ns": 0 if state == "scheduled" else started,
        "ended_ns": int(started + took * SECOND) if state in ("completed", "failed") else 0,
        "wall_ns": started,
    }
    return entry | more


def write(
    folder: Path, rank: int, size: int, collectives: list[dict[str, Any]], reason: str = "asked"
) -> None:
    record = {
        "format": "ostria flight record 1",
        "rank": rank,
        "size": size,
        "host": f"host-{rank}",
        "pid": 1,
        "transport": "shm",
        "reason": reason,
        "monotonic_ns": 100 * SECOND,
        "wall_ns": 100 * SECOND,
        "collectives": collectives,
    }
    (folder / f"rank-{rank}.json").write_text(json.dumps(record))


def explain(folder: Path) -> tuple[int, dict[str, Any], str]:
    text, data = io.StringIO(), io.StringIO()
    status = explain_hang(str(folder), as_json=False, out=text)
    assert explain_hang(str(folder), as_json=True, out=data) == status
    return status, json.loads(data.getvalue()), text.getvalue()


def test_a_rank_that_did_not_enter_is_named_with_what_it_did_last(tmp_path: Path) -> None:
    for rank in range(3):
        done = [collective(s, name=f"b{s}") for s in range(5)]
        late = rank == 1
        write(tmp_path, rank, 3, done if late else [*done, collective(5, "started", name="b5")])
    status, found, text = explain(tmp_path)
    assert status == 1
    assert (found["verdict"], found["ranks"], found["sequence"]) == ("not_entered", [1], 5)
    assert "rank 1 did not enter collective #6 all_reduce 'b5' of 100 float32 (sum)" in text
    assert "completed #5 all_reduce 'b4'" in text
    assert "85.900 s before" in text  # 100 - (14 + 0.1)


@pytest.mark.parametrize(
    ("done", "said"),
    [(2, "rank 1 ended after #2 all_reduce 'bucket'"), (0, "rank 1 ended before its first")],
)
def test_a_rank_that_ended_early_is_told_from_one_that_is_late(
    tmp_path: Path, done: int, said: str
) -> None:
    before = [collective(s) for s in range(done)]
    write(tmp_path, 0, 2, [*before, collective(done, "started")])
    write(tmp_path, 1, 2, before, reason="left the group")
    _, found, text = explain(tmp_path)
    assert (found["verdict"], found["ranks"], found["sequence"]) == ("not_entered", [1], done)
    assert said in text
    assert f"others went on to #{done + 1} all_reduce 'bucket'" in text
    assert "all ranks must make the same number of calls" in text


def test_what_is_only_scheduled_was_not_entered(tmp_path: Path) -> None:
    write(tmp_path, 0, 2, [collective(0, "started")])
    write(tmp_path, 1, 2, [collective(0, "scheduled")])
    _, found, text = explain(tmp_path)
    assert (found["verdict"], found["ranks"]) == ("not_entered", [1])
    assert "it has entered none" in text


def test_of_several_that_are_behind_the_furthest_behind_is_at_fault(tmp_path: Path) -> None:
    # Rank 3 waits for nobody: it is in none. Rank 2 is inside #1, which rank 3 has not entered.
    write(tmp_path, 0, 4, [collective(0), collective(1), collective(2, "started")])
    write(tmp_path, 1, 4, [collective(0), collective(1, "started")])
    write(tmp_path, 2, 4, [collective(0), collective(1, "started")])
    write(tmp_path, 3, 4, [collective(0)])
    _, found, _ = explain(tmp_path)
    assert (found["ranks"], found["sequence"]) == ([3], 1)


def test_a_rank_in_another_collective_is_named_with_both(tmp_path: Path) -> None:
    for rank in range(4):
        name, count = ("loss", 1) if rank == 2 else ("gradients", 9)
        write(tmp_path, rank, 4, [collective(0), collective(1, "failed", name=name, count=count)])
    status, found, text = explain(tmp_path)
    assert status == 1
    assert (found["verdict"], found["ranks"], found["sequence"]) == ("mismatch", [2], 1)
    assert "rank 2 entered all_reduce 'loss' of 1 float32 (sum) as collective #2" in text
    assert "where ranks 0, 1, 3 entered all_reduce 'gradients' of 9 float32 (sum)" in text


@pytest.mark.parametrize(
    "change",
    [{"kind": "reduce_scatter"}, {"dtype": "float16"}, {"reduction": "max"}, {"root": 1}],
)
def test_every_part_of_a_call_counts(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, 0, 2, [collective(0, "started")])
    write(tmp_path, 1, 2, [collective(0, "started") | change])
    assert explain(tmp_path)[1]["verdict"] == "mismatch"


def test_a_rank_without_a_record_is_at_fault_where_the_others_wait(tmp_path: Path) -> None:
    for rank in (0, 2):
        write(tmp_path, rank, 3, [collective(0), collective(1, "started")])
    status, found, text = explain(tmp_path)
    assert (status, found["verdict"], found["ranks"]) == (1, "missing", [1])
    assert "rank 1 left no record" in text
    assert "#2 all_reduce 'bucket'" in text


def test_all_inside_names_who_came_last(tmp_path: Path) -> None:
    for rank in range(3):
        entry = collective(0, "started")
        entry["started_ns"] += rank % 2 * SECOND
        write(tmp_path, rank, 3, [entry])
    _, found, text = explain(tmp_path)
    assert (found["verdict"], found["ranks"]) == ("inside", [1])
    assert "not the program" in text


def test_nobody_is_at_fault_where_all_is_done_and_the_slowest_is_told(tmp_path: Path) -> None:
    for rank in range(3):
        took = 0.1 if rank == 2 else 0.5  # who comes last waits least
        write(tmp_path, rank, 3, [collective(s, took=took) for s in range(10)])
    status, found, text = explain(tmp_path)
    assert (status, found["verdict"]) == (0, "none")
    assert found["slowest"] == {"rank": 2, "last": 10, "of": 10, "waited_s": pytest.approx(4.0)}
    assert "rank 2 came last to 10 of 10" in text


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": "something else"}',
        '{"format": "ostria flight record 1", "rank": 5, "size": 2}',
        '{"format": "ostria flight record 1", "rank": "1", "size": 2}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_a_damaged_record_is_a_problem_and_the_others_are_still_compared(
    tmp_path: Path, damage: str
) -> None:
    write(tmp_path, 0, 2, [collective(0, "started")])
    (tmp_path / "rank-1.json").write_text(damage, encoding="latin-1")
    status, found, text = explain(tmp_path)
    assert status == 1
    assert found["verdict"] == "missing"
    assert len(found["problems"]) == 1
    assert "rank-1.json cannot be read" in text


@pytest.mark.parametrize("name", ["state", "kind", "name", "sequence", "started_ns", "count"])
def test_a_field_of_another_type_is_damage(tmp_path: Path, name: str) -> None:
    write(tmp_path, 0, 2, [collective(0, "started")])
    write(tmp_path, 1, 2, [collective(0, "started") | {name: [1]}])
    assert f"'{name}' should be" in explain(tmp_path)[2]


def test_a_record_of_another_run_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 0, 2, [collective(0)])
    write(tmp_path, 1, 8, [collective(0)])
    assert "of a run with 8 ranks" in explain(tmp_path)[2]


def test_nothing_to_read_is_said_with_what_to_give(tmp_path: Path) -> None:
    status, found, text = explain(tmp_path)
    assert (status, found["verdict"]) == (2, "unreadable")
    assert "no flight records" in text
    assert "give the folder" in text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, 0, 1, [collective(0)])
    assert main(["explain-hang", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "none"
