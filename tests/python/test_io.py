# SPDX-License-Identifier: Apache-2.0
"""ostria.io against other people's readers and writers of the same formats."""

from __future__ import annotations

import doctest
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ostria._native", exc_type=ImportError, reason="the extension is not built")

from ostria import io
from ostria.io import _events, _records, _tensors

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    out = {f"layer/{d}": rng.integers(0, 2, (3, 1, 5)).astype(d) for d in DTYPES}
    out["scalar"] = np.float64(2.5)
    out["empty"] = np.zeros((0, 4), np.float32)
    out["transposed"] = rng.standard_normal((4, 6)).T
    out["big_endian"] = np.arange(5, dtype=">i4")
    return out


def assert_same(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert set(got) == set(want)
    for name, array in want.items():
        array = np.asarray(array)
        assert got[name].dtype == array.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(got[name], array, err_msg=name)
        assert got[name].shape == array.shape


def damage(path: str | Path, from_end: int) -> None:
    data = bytearray(Path(path).read_bytes())
    data[-from_end] ^= 0x10
    Path(path).write_bytes(data)


def test_documented_examples() -> None:
    for module in (_tensors, _events, _records):
        result = doctest.testmod(module)
        assert result.failed == 0 and result.attempted > 0, module.__name__


def test_tensors_round_trip(tmp_path: Path) -> None:
    io.save_tensors(tmp_path / "t", arrays(), {"note": "käse"})
    assert_same(io.load_tensors(tmp_path / "t"), arrays())
    assert io.read_metadata(tmp_path / "t") == {"note": "käse"}
    assert os.listdir(tmp_path) == ["t"]
    io.load_tensors(tmp_path / "t")["scalar"][...] = 1.0  # the arrays are the caller's own


def test_the_safetensors_package_reads_ours_and_we_its(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    theirs = pytest.importorskip("safetensors.numpy")
    plain = {name: np.ascontiguousarray(a) for name, a in arrays().items() if name != "big_endian"}
    ours = tmp_path / "ours.safetensors"
    io.save_tensors(ours, plain, {"k": "v"})
    assert_same(theirs.load_file(ours), plain)
    with safetensors.safe_open(ours, framework="np") as file:
        assert file.metadata() == {"k": "v"}
    theirs.save_file(plain, tmp_path / "theirs.safetensors", {"k": "v"})
    assert_same(io.load_tensors(tmp_path / "theirs.safetensors"), plain)
    assert io.read_metadata(tmp_path / "theirs.safetensors") == {"k": "v"}


def test_safetensors_rejects_what_we_reject_and_the_other_way_round(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    from safetensors.numpy import load

    io.save_tensors(tmp_path / "t", {"a": np.arange(3, dtype=np.int32), "b": np.ones(5, np.int8)})
    valid = (tmp_path / "t").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(300):
        data = bytearray(valid)
        header_bytes = len(valid) - 17
        data[rng.integers(0, header_bytes)] = rng.integers(0, 256)
        try:
            theirs = load(bytes(data))
        except (safetensors.SafetensorError, KeyError, UnicodeDecodeError, ValueError):
            theirs = None
        (tmp_path / "m").write_bytes(data)
        try:
            ours = io.load_tensors(tmp_path / "m")
        except ValueError as error:
            # JSON lets a key occur twice or be unknown; we refuse to guess.
            assert theirs is None or "once each" in str(error) or "unknown key" in str(error)
        else:
            assert theirs is not None
            assert_same(ours, theirs)


def test_bfloat16(tmp_path: Path) -> None:
    bits = np.array([[0x3F80, 0xC000], [0x7F80, 0x0001]], np.uint16)
    io.save_tensors(tmp_path / "t", {"w": (bits, "bfloat16")})
    np.testing.assert_array_equal(io.load_tensors(tmp_path / "t", bfloat16="bits")["w"], bits)
    wide = io.load_tensors(tmp_path / "t")["w"]
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide, np.array([[1, -2], [np.inf, 2.0**-133]], np.float32))
    with pytest.raises(
        ValueError, match=r"bfloat16='half' is unknown; accepted are 'float32' and 'bits'"
    ):
        io.load_tensors(tmp_path / "t", bfloat16="half")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (np.ones(2, np.complex64), TypeError, r'"w" has the NumPy dtype <c8 \(complex64\)'),
        (np.array(["a"]), TypeError, r'"w" has the NumPy dtype <U1 \(str32\)'),
        ((np.ones(2, np.float32), "bfloat16"), TypeError, r'and \(uint16 array, "bfloat16"\)'),
        ((1, 2), TypeError, '"w" is a tuple; an array or a pair'),
        (np.zeros((1,) * 9), ValueError, "rank 9"),
    ],
)
def test_tensors_that_do_not_fit_the_format(
    tmp_path: Path, value: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        io.save_tensors(tmp_path / "t", {"w": value})
    assert os.listdir(tmp_path) == []


def test_damaged_tensor_file_names_file_and_byte(tmp_path: Path) -> None:
    io.save_tensors(tmp_path / "t", {"w": np.ones(3, np.float32)})
    data = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(data[:-1])
    with pytest.raises(ValueError, match=rf"{tmp_path}/t: damaged at byte \d+: data_offsets"):
        io.load_tensors(tmp_path / "t")
    with pytest.raises(OSError, match=r"cannot open .*absent: No such file"):
        io.load_tensors(tmp_path / "absent")


def test_checkpoint_round_trip_and_fallback(tmp_path: Path) -> None:
    plain = {k: v for k, v in arrays().items() if k != "big_endian"}
    plain["half"] = np.zeros(0, np.float32)
    for step in (1, 2):
        path = io.save_checkpoint(
            tmp_path,
            step,
            {**plain, "half": (np.array([0x3F80], np.uint16), "bfloat16")},
            blobs={"iterator": '{"epoch": 1}', "raw": b"\x00\xff"},
            metadata={"note": "n"},
        )
    found = io.load_checkpoint(path)
    assert (found.step, found.path) == (2, str(tmp_path / "ckpt-000002"))
    assert found.blobs == {"iterator": b'{"epoch": 1}', "raw": b"\x00\xff"}
    assert found.metadata == {"note": "n"}
    assert found.dtypes["half"] == "bfloat16" and found.dtypes["scalar"] == "float64"
    plain["half"] = np.ones(1, np.float32)
    assert_same(found.tensors, plain)
    assert [step for step, _ in io.list_checkpoints(tmp_path)] == [1, 2]
    assert io.latest_checkpoint(tmp_path) == path

    damage(tmp_path / "ckpt-000002/state.safetensors", 1)
    with pytest.warns(RuntimeWarning, match="ckpt-000002 cannot be used, the one before it is tak"):
        latest = io.load_latest_checkpoint(tmp_path)
    assert latest is not None and latest.step == 1
    damage(tmp_path / "ckpt-000001/manifest.json", 50)
    with pytest.raises(ValueError, match=r"no usable checkpoint in .* \(2 found\)"):
        io.load_latest_checkpoint(tmp_path)
    assert io.load_latest_checkpoint(tmp_path / "absent") is None
    assert io.latest_checkpoint(tmp_path / "absent") is None


def test_checkpoint_state_is_a_safetensors_file(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.numpy")
    path = io.save_checkpoint(tmp_path, 3, {"w": np.arange(4.0)})
    assert_same(theirs.load_file(Path(path) / "state.safetensors"), {"w": np.arange(4.0)})


def test_checkpoints_are_pruned(tmp_path: Path) -> None:
    for step in range(5):
        io.save_checkpoint(tmp_path, step, {"w": np.zeros(1)}, keep_max=2)
    assert [step for step, _ in io.list_checkpoints(tmp_path)] == [3, 4]
    io.save_checkpoint(tmp_path, 5, {"w": np.zeros(1)}, keep_max=None)
    assert len(io.list_checkpoints(tmp_path)) == 3
    with pytest.warns(RuntimeWarning, match=r"renamed to .*superseded-ckpt-000005"):
        io.save_checkpoint(tmp_path, 4, {"w": np.zeros(1)})


SAVER = """
import sys, numpy as np
from ostria import io
found = io.load_latest_checkpoint(sys.argv[1])
step = found.step if found else 0
while True:
    step += 1
    io.save_checkpoint(sys.argv[1], step, {"w": np.full(50_000, step)}, keep_max=2)
    print(step, flush=True)
"""


def test_killed_while_saving_resumes_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    rng = np.random.default_rng(3)
    last = 0
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        seen = int(process.stdout.readline())
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = io.load_latest_checkpoint(tmp_path)
        assert found is not None and found.step >= seen > last
        assert (found.tensors["w"] == found.step).all()
        last = seen
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_events_round_trip(tmp_path: Path) -> None:
    with io.EventWriter(tmp_path / "eval", suffix=".v2") as events:
        assert events.path.endswith(".v2")
        events.scalar("loss", 0.5, 1)
        events.scalar("loss", math.nan, 2)
        events.scalar("accuracy", np.float32(0.25), np.int64(2))
        events.flush()
        assert io.read_events(events.path)[1] == {"loss": 0.5}
    events.close()
    found = io.read_events(tmp_path / "eval")
    assert found[2]["accuracy"] == 0.25 and math.isnan(found[2]["loss"])
    with pytest.raises(OSError, match="was closed"):
        events.scalar("loss", 1.0, 3)


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with io.RecordWriter(path) as records:
        records.write(b"")
        records.write(b"hello")
    golden = "000000000000000029039807d8ea82a20500000000000000eab2043e68656c6c6fbb1f1c19"
    assert path.read_bytes().hex() == golden
    with io.RecordWriter(path, append=True) as records:
        records.write(b"more")
    with io.RecordReader(path) as reader:
        assert next(reader) == b""
        position = reader.offset
        assert list(reader) == [b"hello", b"more"]
        reader.seek(position)
        assert next(reader) == b"hello"
    with pytest.raises(ValueError, match="RecordReader: this reader is closed"):
        next(reader)
    damage(path, 2)
    with pytest.raises(ValueError, match=rf"{path}: damaged at byte 37: the checksum of record 2"):
        list(io.RecordReader(path))


def test_damaged_records_are_left_out_with_a_warning_and_a_count(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with io.RecordWriter(path) as records:
        for k in range(4):
            records.write(b"%d" % k)
    content = bytearray(path.read_bytes())
    content[17 + 12] ^= 1  # the data of record 1
    path.write_bytes(content[:-1])
    with io.RecordReader(path, on_damage="skip") as reader:
        with pytest.warns(
            RuntimeWarning, match=rf"left out: {path}: damaged at byte 17: .*record 1"
        ):
            assert [next(reader), next(reader)] == [b"0", b"2"]
        assert reader.num_skipped == 1
        with pytest.warns(
            RuntimeWarning, match="damaged at byte 51: the file ends inside record 3"
        ):
            assert list(reader) == []
        assert reader.num_skipped == 2
    with pytest.raises(ValueError, match="on_damage 'ignore' is unknown; accepted are 'raise' and"):
        io.RecordReader(path, on_damage="ignore")
