# SPDX-License-Identifier: Apache-2.0
"""Image files: our reader against a writer in this file and, where present, against Pillow."""

import builtins
import io
import struct
import zlib

import numpy as np
import pytest

from ostria.data import image as image_module
from ostria.data.image import load_image, resize

RNG = np.random.default_rng(5)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples, colour, depth=8, filters=(0,), extra=b"", interlace=0):
    """[H, W, C] samples as a PNG; ``filters`` are applied to the rows in turn."""
    height, width, channels = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        rows = samples.astype(np.uint8).reshape(height, -1)
    else:
        bits = (samples.reshape(height, -1)[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    step = max(channels * depth // 8, 1)
    packed, above = b"", np.zeros(rows.shape[1], int)
    for y, row in enumerate(rows.astype(int)):
        kind = filters[y % len(filters)]
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        guess = {0: 0 * row, 1: left, 2: above, 3: (left + above) // 2}.get(kind)
        if kind == 4:
            p = left + above - corner
            order = np.stack([abs(p - left), abs(p - above), abs(p - corner)]).argmin(axis=0)
            guess = np.choose(order, [left, above, corner])
        if guess is None:
            guess = 0 * row
        packed += bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        above = row
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(packed))
        + chunk(b"IEND", b"")
    )


@pytest.fixture(params=["numpy", "pillow"])
def reader(request, monkeypatch):
    if request.param == "pillow":
        pytest.importorskip("PIL")
    else:
        without_pillow(monkeypatch)
    return request.param


def without_pillow(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "PIL":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)


@pytest.fixture
def write(tmp_path):
    def write(data, name="image.png"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def noise(*shape, top=256):
    return RNG.integers(0, top, shape)


@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (4, 3, 2, 1, 0)])
@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)])
def test_png_filters(reader, write, filters, colour, channels):
    samples = noise(7, 11, channels)
    got = load_image(
        write(png(samples, colour, filters=filters)), mode="L" if channels == 1 else "RGB"
    )
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, samples)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_of_few_bits(reader, write, depth):
    samples = noise(5, 13, 1, top=1 << depth)
    got = load_image(write(png(samples, 0, depth)))
    np.testing.assert_array_equal(got, samples * 255 // ((1 << depth) - 1))


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3)])
def test_png_of_16_bits_keeps_the_high_byte(reader, write, colour, channels):
    samples = noise(4, 6, channels, top=65536)
    got = load_image(write(png(samples, colour, 16, filters=(4, 1))), mode="RGB")
    np.testing.assert_array_equal(got, np.broadcast_to(samples >> 8, (4, 6, 3)))


@pytest.mark.parametrize("depth", [2, 8])
def test_png_palette(reader, write, depth):
    palette = noise(4, 3).astype(np.uint8)
    samples = noise(5, 9, 1, top=4)
    extra = chunk(b"PLTE", palette.tobytes())
    got = load_image(write(png(samples, 3, depth, extra=extra)), mode="RGB")
    np.testing.assert_array_equal(got, palette[samples[..., 0]])
    clear = extra + chunk(b"tRNS", bytes([255, 0]))
    got = load_image(write(png(samples, 3, depth, extra=clear)), mode="RGB", background=9)
    np.testing.assert_array_equal(
        got, np.where(samples == 1, 9, palette[samples[..., 0]]).astype(np.uint8)
    )


@pytest.mark.parametrize(("colour", "channels"), [(4, 2), (6, 4)])
def test_transparency_shows_the_background(reader, write, colour, channels):
    samples = noise(4, 5, channels)
    samples[0, 0, -1], samples[0, 1, -1] = 0, 255
    path = write(png(samples, colour, filters=(4,)))
    got = load_image(path, mode="RGB", background=40)
    assert got[0, 0].tolist() == [40, 40, 40]
    plain = np.broadcast_to(samples[..., :-1], (4, 5, 3))
    np.testing.assert_array_equal(got[0, 1], plain[0, 1])
    alpha = samples[..., -1:] / 255
    np.testing.assert_allclose(got, plain * alpha + 40 * (1 - alpha), atol=0.51)
    assert load_image(path)[0, 0].tolist() == [255]


def test_a_transparent_colour(reader, write):
    samples = np.array([[[3], [200], [3]]])
    data = png(samples, 0, extra=chunk(b"tRNS", struct.pack(">H", 3)))
    assert load_image(write(data), background=77)[..., 0].tolist() == [[77, 200, 77]]


def test_grey_is_luma(reader, write):
    got = load_image(write(png(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]), 2)))
    assert got[..., 0].tolist() == [[76, 150, 29]]


def test_pgm_and_ppm(reader, write):
    assert load_image(write(b"P5\n# comment\n2 1\n255\n\x05\xff"))[..., 0].tolist() == [[5, 255]]
    assert load_image(write(b"P6 1 1 255\n\x01\x02\x03"), mode="RGB").tolist() == [[[1, 2, 3]]]


def test_pillow_and_our_reader_agree(write, monkeypatch):
    pillow = pytest.importorskip("PIL.Image")
    ramp = np.add.outer(np.arange(40) * 3, np.arange(50) * 2)
    colours = np.stack([ramp, ramp[::-1], 255 - ramp], axis=2).astype(np.uint8)
    file = io.BytesIO()
    pillow.fromarray(colours).save(file, "png")
    path = write(file.getvalue())
    theirs = [load_image(path, size, mode) for size in (None, 28) for mode in ("L", "RGB")]
    without_pillow(monkeypatch)
    ours = [load_image(path, size, mode) for size in (None, 28) for mode in ("L", "RGB")]
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours[1], colours)


def test_pillow_reads_what_we_do_not(write):
    pillow = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pillow.fromarray(np.full((8, 9), 130, np.uint8)).save(file, "jpeg")
    got = load_image(write(file.getvalue(), "image.jpg"), (4, 5))
    assert got.shape == (4, 5, 1)
    assert np.abs(got.astype(int) - 130).max() <= 2


@pytest.mark.parametrize("size", [(3, 3), (12, 7), (28, 40), (1, 1)])
def test_resize_like_pillow(size):
    pillow = pytest.importorskip("PIL.Image")
    grey = noise(20, 31, 1).astype(np.uint8)
    want = pillow.fromarray(grey[..., 0]).resize(size[::-1], pillow.Resampling.BILINEAR)
    got = resize(grey, *size)[..., 0]
    assert np.abs(got.astype(int) - np.asarray(want).astype(int)).max() <= 1


def test_resize_keeps_a_flat_image_and_the_middle():
    assert (resize(np.full((9, 5, 3), 201, np.uint8), 28, 28) == 201).all()
    assert resize(np.array([[[0], [100]]], np.uint8), 1, 1).tolist() == [[[50]]]


GOOD = png(noise(6, 6, 1), 0)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "unknown format (it begins with b'')"),
        (b"\xff\xd8\xff\xe0JFIF", "for other formats pip install 'ostria[image]' (Pillow)"),
        (GOOD[:-5], "the PNG ends early"),
        (GOOD[:60], "offset 33: a PNG chunk of"),
        (GOOD[:20] + b"\x01" + GOOD[21:], "offset 8: the checksum of the PNG chunk b'IHDR' is"),
        (png(noise(2, 2, 1), 0, interlace=1), "an interlaced PNG needs Pillow"),
        (png(noise(2, 2, 1), 5), "PNG has no colour type 5 with 8 bits"),
        (png(noise(2, 2, 1), 0, filters=(7,)), "row 0 of the PNG has the unknown filter 7"),
        (png(noise(2, 2, 1, top=200) + 9, 3), "a PNG palette of 0 bytes"),
        (
            png(noise(2, 2, 1, top=9) + 9, 3, extra=chunk(b"PLTE", bytes(9))),
            "is beyond the PNG's palette of 3",
        ),
        (png(np.zeros((2, 0, 1), int), 0), "2 x 0 pixels; 1 to 67108864 are accepted; export"),
        (GOOD[:8] + GOOD[33:], "the PNG does not begin with its header"),
        (b"P5 2 2 255\n\x00", "the file ends early: 4 bytes are announced"),
        (b"P5 2 2 0\n\x00\x00\x00\x00", "the largest grey level is 0"),
        (b"P5 2 2", "a broken PGM/PPM header"),
        (b"P5 99999 99999 255\n", "99999 x 99999 pixels; 1 to 67108864 are accepted; shrink"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_and_unsupported_files(write, monkeypatch, data, text):
    without_pillow(monkeypatch)
    path = write(data)
    with pytest.raises(ValueError, match="load_image: ") as caught:
        load_image(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_bomb_is_refused_without_being_unpacked(write, monkeypatch):
    without_pillow(monkeypatch)
    header = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1 << 24))
    data = GOOD[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    sizes = []
    real = image_module._unfilter
    monkeypatch.setattr(
        image_module, "_unfilter", lambda n, raw, *a: sizes.append(len(raw)) or real(n, raw, *a)
    )
    assert load_image(write(data)).shape == (4, 4, 1)
    assert sizes == [20]


def test_random_damage_never_crashes(reader, write):
    base = bytearray(png(noise(9, 9, 4), 6, filters=(4, 3, 2, 1)))
    refused = 0
    for _ in range(300):
        data = bytearray(base)
        for _ in range(RNG.integers(1, 4)):
            data[RNG.integers(0, len(data))] = RNG.integers(0, 256)
        path = write(bytes(data[: RNG.integers(1, len(data) + 1)]))
        try:
            assert load_image(path).shape[2] == 1
        except ValueError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 200


def test_arguments(write, tmp_path):
    path = write(GOOD)
    for kwargs, text in (
        ({"mode": "CMYK"}, "unknown mode 'CMYK'; accepted are 'L' (grey) and 'RGB'"),
        ({"size": (0, 3)}, "size must be (height, width), both positive; given (0, 3); "),
        ({"size": (1, 2, 3)}, "given (1, 2, 3); "),
        ({"background": 256}, "background must be 0 to 255; given 256; "),
    ):
        with pytest.raises(ValueError, match="load_image") as caught:
            load_image(path, **kwargs)
        assert text in str(caught.value)
    with pytest.raises(TypeError, match="did you mean 'background'"):
        load_image(path, backgruond=0)
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none.png")
