# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be written, are damaged, or whose writer is killed: cases 7 to 10.

OSTRIA_KILLS and OSTRIA_FUZZ say how often a saver is killed and how many damaged files are read.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from launching import HOST, Launcher
from programs import program, run, told
from promises import promises

from ostria import DataCorruptionError, io

RANKS = (0, 1, 2)
TRAINER = """
import warnings
rng = np.random.default_rng(0)
x = rng.standard_normal((48, 64)).astype(np.float32)

def data(epochs):
    pairs = ost.data.Dataset.from_tensor_slices((x, x))
    return pairs.shuffle(48, seed=4).repeat(epochs).batch(12)

def trainer(folder, hooks=(), **options):
    with strategy.scope():
        model = ost.nn.Dense(64)
    return ost.train.Trainer(
        model, ost.losses.MeanSquaredError(), ost.optim.Adam(0.01), model_dir=folder, save_steps=2,
        keep_max=None, seed=3, strategy=strategy, hooks=hooks, **options)

def digest(t):
    return [v.numpy().tobytes().hex()[-64:] for v in t.variables]
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which two checkpoints of TRAINER have room, and no third."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here: that needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@promises(
    7,
    "all ranks raise the same `OSError`, which says that no space is left, how much is missing, "
    "and the path; the checkpoint before is intact",
    bound="5 s",
)
def test_a_full_disk(job: Launcher, small_disk: Path, limit: float) -> None:
    body = f"""
    class Began(ost.train.Hook):
        def before_save(self, trainer):
            write(f"began-{{rank}}.json")

    t = trainer({str(small_disk)!r}, [Began()])
    try:
        t.train(data(4))
    except OSError as error:
        tell(text=str(error), step=t.global_step)
        raise
    """
    code, err = run(job, program(body, steps=TRAINER))
    assert code != 0, err
    step = told(job, 0)["step"]
    latest = io.load_latest_checkpoint(small_disk)
    assert latest is not None and latest.step == step - 2
    for rank in RANKS:
        error = told(job, rank)
        assert error["step"] == step
        assert "No space left on device" in error["text"], error
        assert "more bytes are needed" in error["text"], error
        assert f"{small_disk}/.tmp-ckpt-{step:06}/" in error["text"], error
        assert f"the checkpoint before, {latest.path}, is intact" in error["text"], error
        assert error["at"] - told(job, f"began-{rank}.json")["at"] < limit


@promises(
    7,
    'with `Trainer(on_save_error="warn")` training goes on on all ranks, with a warning for each '
    "checkpoint that was not written",
)
def test_training_goes_on_with_a_full_disk(job: Launcher, small_disk: Path) -> None:
    body = f"""
    t = trainer({str(small_disk)!r}, on_save_error="warn")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        t.train(data(4))
    tell(step=t.global_step, said=[str(w.message) for w in said], state=digest(t))
    """
    code, err = run(job, program(body, steps=TRAINER))
    assert code == 0, err
    latest = io.load_latest_checkpoint(small_disk)
    assert latest is not None and latest.step < 16
    for rank in RANKS:
        found = told(job, rank)
        assert found["step"] == 16 and found["state"] == told(job, 0)["state"]
        missing = [*range(latest.step + 2, 17, 2), 16]  # the end tries the last one once more
        assert len(found["said"]) == len(missing), found["said"]
        for step, text in zip(missing, found["said"], strict=True):
            assert f"training goes on without a checkpoint of step {step}: " in text
            assert "No space left on device" in text


# --- Kills ----------------------------------------------------------------------------------------


def save_until_killed(folder: Path, step: int, saved: int) -> None:
    """In a process of its own; tells when it begins and of each step saved, a byte each."""
    try:
        os.write(saved, b".")
        while True:
            step += 1
            io.save_checkpoint(folder, step, {"w": np.full(100_000, step)}, keep_max=2)
            os.write(saved, b".")
    finally:
        os._exit(1)


@promises(
    8,
    "the newest checkpoint can be read and is one that was saved as a whole; none that a save "
    "had returned is lost (1,000 kills in `make test-faults`)",
)
def test_kill_while_saving(tmp_path: Path) -> None:
    kills = int(os.environ.get("OSTRIA_KILLS", "20"))
    rng = random.Random(5)
    begin = time.monotonic()
    io.save_checkpoint(tmp_path, 1, {"w": np.full(100_000, 1)})
    one_save = time.monotonic() - begin
    last, within = 1, 0
    for _ in range(kills):
        told, saved = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(told)
            save_until_killed(tmp_path, last, saved)
        os.close(saved)
        os.read(told, 1)  # that it begins, however long that took
        time.sleep(rng.uniform(0, 2 * one_save))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the saver failed by itself"
        with open(told, "rb") as pipe:
            reported = last + len(pipe.read())
        within += any(name.startswith(".tmp-") for name in os.listdir(tmp_path))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it would be one that is left out as damaged
            latest = io.load_latest_checkpoint(tmp_path)
        assert latest is not None and latest.step >= reported
        assert (latest.tensors["w"] == latest.step).all()
        last = latest.step
    assert within >= kills // 10, f"{within} of {kills} kills fell into a save"


@promises(
    8,
    "a job whose rank 0 is killed while it saves goes on from that checkpoint or the one before, "
    "and ends as one that was left alone",
)
def test_kill_of_the_rank_that_saves(job: Launcher) -> None:
    body = """
    attempt = len([name for name in os.listdir(".") if name.startswith("killed-")])

    def kill_soon():
        time.sleep(0.001 * attempt)
        write(f"killed-{attempt}.json", tmp=[n for n in os.listdir("model") if n[0] == "."])
        os.kill(os.getpid(), signal.SIGKILL)

    class Kill(ost.train.Hook):
        def before_save(self, trainer):
            if rank == 0 and trainer.global_step > 2 * attempt and attempt < 2:
                threading.Thread(target=kill_soon).start()

    t = trainer(sys.argv[1], [Kill()] if sys.argv[1] == "model" else [])
    t.train(data(4))
    tell(step=t.global_step, state=digest(t))
    """
    script = job.script(program(body, steps=TRAINER))
    (job.folder / "model").mkdir()
    flags = ["--nproc", "2", "--max-restarts", "3"]
    ends = {}
    for name in ("alone", "model"):
        code, _, err = job.run(*flags, script, name)
        assert code == 0, err
        ends[name] = [told(job, rank) for rank in (0, 1)]
    assert len(list(job.folder.glob("killed-*.json"))) == 2
    for alone, killed in zip(ends["alone"], ends["model"], strict=True):
        assert killed["step"] == alone["step"] == 16
        assert killed["state"] == alone["state"]


# --- Damage ---------------------------------------------------------------------------------------


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut off, or with a bit, a byte or a stretch of it changed."""
    kind = rng.randrange(4)
    at = rng.randrange(len(content))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    stretch = rng.randbytes(rng.randint(1, 64))
    if kind == 2:
        return content[:at] + stretch + content[at + len(stretch) :]
    return content[:at] + stretch + content[at:]


def mutations(file: Path, count: int) -> Iterator[None]:
    """The file in `count` damaged forms; whole again afterwards."""
    rng, content = random.Random(11), file.read_bytes()
    for _ in range(count):
        changed = damaged(content, rng)
        if changed != content:
            file.write_bytes(changed)
            yield
    file.write_bytes(content)


COUNT = int(os.environ.get("OSTRIA_FUZZ", "300"))


@promises(
    9,
    "cut off or changed anywhere, it is found damaged, with file and byte, and the one before is "
    "taken with a warning (100,000 mutations in `make test-faults`)",
)
def test_a_damaged_checkpoint_is_always_found(tmp_path: Path) -> None:
    for step in (1, 2):
        tensors = {"w": np.arange(20.0) * step, "b": np.full(3, step, np.int64)}
        path = io.save_checkpoint(tmp_path, step, tensors, blobs={"run": "{}"})
    for file in sorted(Path(path).iterdir()):
        for _ in mutations(file, COUNT // 2):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                latest = io.load_latest_checkpoint(tmp_path)
            assert latest is not None and latest.step == 1
            assert len(said) == 1
            text = str(said[0].message)
            assert f"checkpoint {path} cannot be used, the one before it is taken: " in text
            assert str(file) in text, text
    latest = io.load_latest_checkpoint(tmp_path)
    assert latest is not None and latest.step == 2


@promises(
    9,
    "all ranks warn, and go on from the checkpoint before; where all are damaged, all raise that",
)
def test_a_damaged_checkpoint_on_all_ranks(job: Launcher) -> None:
    folder = job.folder / "model"
    body = """
    t = trainer("model")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            t.train(data(4), max_steps=int(sys.argv[1]))
        tell(step=t.global_step, said=[str(w.message) for w in said], state=digest(t))
    except Exception as error:
        tell(kind=type(error).__name__, text=str(error))
        raise
    """
    script = job.script(program(body, steps=TRAINER))

    def train(max_steps: int) -> list[dict]:
        code, _, err = job.run("--nproc", "3", script, str(max_steps))
        found = [told(job, rank) for rank in RANKS]
        assert code == 0 or "kind" in found[0], err
        return found

    train(4)
    newest = folder / "ckpt-000004" / "state.safetensors"
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-1])
    for rank in train(8):
        assert rank["step"] == 8
        assert rank["state"] == told(job, 0)["state"]
        assert len(rank["said"]) == 1
        assert "model/ckpt-000004 cannot be used, the one before it is taken: " in rank["said"][0]
        assert "model/ckpt-000004/state.safetensors: damaged at byte " in rank["said"][0]
    for file in folder.glob("ckpt-*/state.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    for rank in train(12):
        assert "no usable checkpoint" in rank["text"], rank
        assert "damaged at byte" in rank["text"], rank


RECORDS = """
def rows(path, seen, **options):
    reader = ost.io.RecordReader(path, **options)
    for record in reader:
        yield np.frombuffer(record, np.float32)
    seen.append(reader.num_skipped)

def means(path, seen, **options):
    spec = ost.data.TensorSpec((4,), "float32")
    data = ost.data.Dataset.from_generator(
        lambda: rows(path, seen, **options), output_signature=spec).batch(3)
    total = 0.0
    for batch in strategy.experimental_distribute_dataset(data):
        parts = strategy.run(lambda x: ost.sum(x), (batch,))
        total += strategy.reduce("sum", parts).item()
    return total
"""


def write_records(path: Path) -> list[int]:
    """Twelve records; where each begins."""
    begins = []
    with io.RecordWriter(path) as records:
        for k in range(12):
            begins.append(k * 32)
            records.write(np.full(4, k, np.float32).tobytes())
    assert path.stat().st_size == 12 * 32
    return begins


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@promises(
    10,
    "`DataCorruptionError` names file, byte and number of the record: on all ranks that read the "
    "file, and to the others as what failed on that rank",
    bound="2 s",
)
def test_a_damaged_record(job: Launcher, limit: float) -> None:
    shared, mine = job.folder / "shared", job.folder / "of-rank-1"
    begins = write_records(shared)
    write_records(mine)
    for path in (shared, mine):
        flip(path, begins[7] + 20)
    where = f"damaged at byte {begins[7]}: the checksum of record 7 of 16 bytes does not fit"
    body = f"""
    try:
        means({str(shared)!r}, [])
    except ost.DataCorruptionError as error:
        write(f"all-{{rank}}.json", text=str(error))
    strategy.barrier("the second part")
    try:
        if rank == 1:
            for row in rows({str(mine)!r}, []): pass
        while True: strategy.reduce("sum", ost.asarray(1.0))
    except (ost.DistributedError, ost.DataCorruptionError) as error:
        tell_error(error)
        raise
    """
    code, err = run(job, program(body, steps=RECORDS))
    assert code != 0, err
    for rank in RANKS:
        assert f"{shared}: {where}" in told(job, f"all-{rank}.json")["text"]
        found = told(job, rank)
        assert f"{mine}: {where}" in found["text"], found
        assert found["at"] - told(job, 1)["at"] < limit
        assert found["kind"] == ("DataCorruptionError" if rank == 1 else "PeerFailedError")
        assert rank == 1 or f"rank 1 ({HOST}" in found["text"], found


@promises(
    10,
    'with `RecordReader(on_damage="skip")` all ranks leave the same records out, with a warning '
    "and a count of them",
)
def test_damaged_records_are_left_out_alike(job: Launcher) -> None:
    path = job.folder / "records"
    begins = write_records(path)
    flip(path, begins[7] + 20)
    flip(path, begins[2] + 1)  # its length, so the next record has to be found
    path.write_bytes(path.read_bytes()[:-1])
    body = f"""
    seen = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        total = means({str(path)!r}, seen, on_damage="skip")
    tell(total=total, seen=seen, said=[str(w.message) for w in said])
    """
    code, err = run(job, program(body, steps="import warnings\n" + RECORDS))
    assert code == 0, err
    for rank in RANKS:
        found = told(job, rank)
        assert found["total"] == 4.0 * (sum(range(11)) - 2 - 7), found
        assert found["seen"] == [3]
        assert len(found["said"]) == 3 and all(str(path) in text for text in found["said"]), found


@pytest.mark.parametrize("skips", [False, True], ids=["raise", "skip"])
def test_no_damage_of_a_record_file_goes_unseen(tmp_path: Path, skips: bool) -> None:
    path = tmp_path / "records"
    write_records(path)
    whole = list(io.RecordReader(path))
    for _ in mutations(path, COUNT):
        reader = io.RecordReader(path, on_damage="skip" if skips else "raise")
        found: list[bytes] = []
        try:
            with warnings.catch_warnings(record=True):
                found.extend(reader)
        except DataCorruptionError as error:
            assert not skips and str(path) in str(error)
            continue
        if skips:
            assert [r for r in whole if r in found] == found, "a record that was never written"
            # A cut between two records leaves a file that is whole.
            assert reader.num_skipped or path.stat().st_size % 32 == 0
        else:
            assert found == whole[: len(found)] and path.stat().st_size % 32 == 0
