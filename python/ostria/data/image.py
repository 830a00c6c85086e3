# SPDX-License-Identifier: Apache-2.0
"""Reads one image file into an array, for prediction from the command line.

PNG (8 and 16 bits, grey, RGB, palette, alpha; not interlaced) and binary PGM/PPM need nothing but
NumPy; with Pillow (the extra ``image``) everything that Pillow reads is read, with the same result.
Transparency is laid over a background, then RGB becomes grey, then the image is resized, in that
order. A damaged or hostile file gives a ValueError with file and offset, never a crash or a
gigabyte of memory.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ostria._checks import is_int
from ostria._errors import at_line
from ostria._keywords import checked_keywords

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 1 << 26  # 8192 x 8192

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type -> samples per pixel
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SHRINK = "shrink the image with another program first"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@checked_keywords("load_image")
def load_image(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    mode: str = "L",
    *,
    background: int = 255,
) -> Pixels:
    """Reads an image as uint8 [height, width, channels].

    Args:
      path: the file; its content decides the format.
      size: (height, width), or one number for both; the image is stretched to it with an
        antialiasing triangle filter. None keeps its size.
      mode: 'L' for one grey channel (ITU-R 601 luma), 'RGB' for three.
      background: grey level, 0 to 255, that shows through transparent pixels.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: an unsupported, damaged or too large image, or an invalid argument.
    """
    if mode not in ("L", "RGB"):
        raise ValueError(
            at_line(f"load_image: unknown mode {mode!r}; accepted are 'L' (grey) and 'RGB'")
        )
    if not is_int(background) or not 0 <= background <= 255:
        raise ValueError(
            at_line(
                f"load_image: background must be 0 to 255; given {background!r}; give an integer, "
                "255 for white"
            )
        )
    target = _check_size(size)
    name = os.fspath(path)
    data = Path(name).read_bytes()
    pixels = _with_pillow(name, data)
    if pixels is None:
        pixels = _decode(name, data)
    pixels = _flatten(pixels, background)
    if mode == "L":
        pixels = to_grey(pixels)
    elif pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels if target is None else resize(pixels, *target)


def to_grey(pixels: Pixels) -> Pixels:
    """[H, W, 3] to [H, W, 1] by ITU-R 601 luma, rounded as Pillow rounds; [H, W, 1] as it is."""
    if pixels.shape[2] == 1:
        return pixels
    luma: npt.NDArray[np.int64] = pixels.astype(np.int64) @ np.array([19595, 38470, 7471])
    return ((luma + 0x8000) >> 16).astype(np.uint8)[..., None]


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """[H, W, C] to [height, width, C]: bilinear, and antialiased where it shrinks."""
    rows = _triangle(pixels.shape[0], height)
    columns = _triangle(pixels.shape[1], width)
    shrunk = np.einsum("hH,HWc->hWc", rows, pixels.astype(np.float64), optimize=True)
    result: npt.NDArray[np.float64] = np.einsum("wW,hWc->hwc", columns, shrunk, optimize=True)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def _triangle(size: int, target: int) -> npt.NDArray[np.float64]:
    """[target, size] weights of a triangle filter as wide as the larger of the two pixels."""
    scale = size / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centres[:, None]) / support
    weights = np.maximum(1 - distance, 0)
    normalised: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _flatten(pixels: Pixels, background: int) -> Pixels:
    """Drops the alpha channel of [H, W, 2] and [H, W, 4], laying the rest over ``background``."""
    if pixels.shape[2] in (1, 3):
        return pixels
    colour, alpha = pixels[..., :-1].astype(np.int64), pixels[..., -1:].astype(np.int64)
    return ((colour * alpha + background * (255 - alpha) + 127) // 255).astype(np.uint8)


def _check_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(is_int(n) and n > 0 for n in pair):
        raise ValueError(
            at_line(
                f"load_image: size must be (height, width), both positive; given {size!r}; give a "
                "pair of integers, one integer for both, or None"
            )
        )
    _check_pixels("size", *pair, "give a smaller size")
    return pair


def _check_pixels(what: str, height: int, width: int, remedy: str) -> None:
    if not 0 < height * width <= MAX_PIXELS:
        remedy = remedy if height * width else "export the image again"
        raise ValueError(
            at_line(
                f"load_image: {what}: {height} x {width} pixels; 1 to {MAX_PIXELS} are accepted; "
                f"{remedy}"
            )
        )


def _with_pillow(name: str, data: bytes) -> Pixels | None:
    """[H, W, 1..4], or None without Pillow."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_pixels(name, image.height, image.width, _SHRINK)
            upright: Any = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits: keep the high byte, as for PNG in RGB
                return (np.asarray(upright).astype(np.int64) >> 8).astype(np.uint8)[..., None]
            transparent = "A" in upright.getbands() or "transparency" in upright.info
            grey = upright.mode in ("1", "L", "LA")
            plain = "L" if grey else "RGB"
            upright = upright.convert(plain + "A" if transparent else plain)
            pixels = np.asarray(upright, dtype=np.uint8)
            return pixels.reshape(*pixels.shape[:2], -1)
    except Image.DecompressionBombError as error:
        raise ValueError(at_line(f"load_image: {name}: {error}; {_SHRINK}")) from None
    except (OSError, SyntaxError, EOFError, zlib.error, struct.error) as error:
        # Pillow's own text names its buffer, not the file.
        unknown = isinstance(error, UnidentifiedImageError)
        what = f"it begins with {data[:8]!r}" if unknown else str(error)
        raise ValueError(
            at_line(
                f"load_image: {name}: not a readable image: {what}; give a file that Pillow reads, "
                "such as PNG or JPEG, or export this one again"
            )
        ) from None


def _decode(name: str, data: bytes) -> Pixels:
    if data.startswith(_PNG_SIGNATURE):
        return _decode_png(name, data)
    if data[:2] in (b"P5", b"P6"):
        return _decode_pnm(name, data)
    _fail(
        name,
        0,
        f"unknown format (it begins with {data[:8]!r}). PNG and binary PGM/PPM are read as they "
        "are; for other formats pip install 'ostria[image]' (Pillow)",
        remedy=False,
    )


def _decode_pnm(name: str, data: bytes) -> Pixels:
    gap = rb"(?:\s|#[^\n]*\n)+"
    number = rb"(\d{1,9})"
    header = re.match(rb"P[56]" + gap + number + gap + number + gap + number + rb"\s", data)
    if header is None:
        _fail(name, 0, "a broken PGM/PPM header")
    width, height, top = (int(n) for n in header.groups())
    _check_pixels(name, height, width, _SHRINK)
    if not 0 < top <= 65535:
        _fail(name, header.start(3), f"the largest grey level is {top}; 1 to 65535 are allowed")
    channels = 1 if data[:2] == b"P5" else 3
    dtype = np.dtype(">u2" if top > 255 else "u1")
    count = height * width * channels
    if len(data) - header.end() < count * dtype.itemsize:
        _fail(name, len(data), f"the file ends early: {count * dtype.itemsize} bytes are announced")
    samples = np.frombuffer(data, dtype, count, header.end()).astype(np.int64)
    grey = np.minimum((samples * 255 + top // 2) // top, 255).astype(np.uint8)
    return grey.reshape(height, width, channels)


def _decode_png(name: str, data: bytes) -> Pixels:
    header: tuple[int, ...] = ()
    palette, transparency, packed = b"", b"", []
    position = len(_PNG_SIGNATURE)
    while True:
        if position + 12 > len(data):
            _fail(name, len(data), "the PNG ends early")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            _fail(name, position, f"a PNG chunk of {length} bytes reaches beyond the file")
        if zlib.crc32(data[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            _fail(name, position, f"the checksum of the PNG chunk {kind!r} is wrong")
        body = data[position + 8 : end]
        if kind == b"IHDR":
            if length != 13 or header:
                _fail(name, position, "a broken PNG header")
            header = struct.unpack(">IIBBBBB", body)
        elif not header:
            _fail(name, position, "the PNG does not begin with its header")
        elif kind == b"PLTE":
            palette = body
        elif kind == b"tRNS":
            transparency = body
        elif kind == b"IDAT":
            packed.append(body)
        elif kind == b"IEND":
            break
        position = end + 4
    width, height, depth, colour, _, _, interlace = header
    if colour not in _CHANNELS or depth not in _DEPTHS[colour]:
        _fail(name, 16, f"PNG has no colour type {colour} with {depth} bits")
    if interlace:
        _fail(name, 28, "an interlaced PNG needs Pillow: pip install 'ostria[image]'", remedy=False)
    _check_pixels(name, height, width, _SHRINK)
    channels = _CHANNELS[colour]
    stride = (width * channels * depth + 7) // 8
    raw = _inflate(name, b"".join(packed), height * (stride + 1))
    rows = _unfilter(name, raw, height, stride, max(channels * depth // 8, 1))
    samples = _unpack(rows, width * channels, depth).reshape(height, width, channels)
    if colour == 3:
        return _apply_palette(name, samples, palette, transparency)
    if transparency and colour in (0, 2):
        return _mask_colour(name, samples, depth, transparency)
    return _to_bytes(samples, depth)


def _inflate(name: str, packed: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(packed, size)  # a bomb stops at the size it ought to have
    except zlib.error as error:
        _fail(name, 8, f"the PNG's data does not unpack: {error}")
    if len(raw) != size:
        _fail(name, 8, f"the PNG's data unpacks to {len(raw)} of {size} bytes")
    return raw


def _unfilter(name: str, raw: bytes, height: int, stride: int, step: int) -> Pixels:
    """Undoes PNG's row filters; ``step`` is the distance in bytes to the pixel on the left."""
    lines = np.frombuffer(raw, np.uint8).reshape(height, stride + 1)
    out = np.zeros((height, stride), np.uint8)
    above = np.zeros(stride, np.uint8)
    for y in range(height):
        kind, line = lines[y, 0], lines[y, 1:]
        if kind == 0:
            out[y] = line
        elif kind == 1:
            for channel in range(step):
                out[y, channel::step] = np.cumsum(line[channel::step], dtype=np.uint8)
        elif kind == 2:
            out[y] = line + above
        elif kind in (3, 4):
            undo = _undo_average if kind == 3 else _undo_paeth
            out[y] = np.frombuffer(undo(line.tobytes(), above.tobytes(), step), np.uint8)
        else:
            _fail(name, 8, f"row {y} of the PNG has the unknown filter {kind}")
        above = out[y]
    return out


def _undo_average(line: bytes, above: bytes, step: int) -> bytearray:
    out = bytearray(line)
    for i in range(len(out)):
        left = out[i - step] if i >= step else 0
        out[i] = (line[i] + (left + above[i]) // 2) & 255
    return out


def _undo_paeth(line: bytes, above: bytes, step: int) -> bytearray:
    out = bytearray(line)
    for i in range(len(out)):
        a, c = (out[i - step], above[i - step]) if i >= step else (0, 0)
        b = above[i]
        pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        guess = a if pa <= pb and pa <= pc else b if pb <= pc else c
        out[i] = (line[i] + guess) & 255
    return out


def _unpack(rows: Pixels, count: int, depth: int) -> npt.NDArray[np.int64]:
    """[H, stride] bytes to [H, count] samples of ``depth`` bits, most significant first."""
    if depth == 16:
        pairs = rows.reshape(len(rows), -1, 2).astype(np.int64)
        return pairs[..., 0] * 256 + pairs[..., 1]
    bits = np.arange(8 - depth, -1, -depth)
    samples = (rows[..., None].astype(np.int64) >> bits) & ((1 << depth) - 1)
    return samples.reshape(len(rows), -1)[:, :count]


def _to_bytes(samples: npt.NDArray[np.int64], depth: int) -> Pixels:
    eight = samples >> 8 if depth == 16 else samples * 255 // ((1 << depth) - 1)
    return eight.astype(np.uint8)


def _apply_palette(
    name: str, samples: npt.NDArray[np.int64], palette: bytes, transparency: bytes
) -> Pixels:
    if not palette or len(palette) % 3 or len(palette) > 768:
        _fail(name, 8, f"a PNG palette of {len(palette)} bytes")
    colours = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    if samples.max() >= len(colours):
        _fail(name, 8, f"colour {samples.max()} is beyond the PNG's palette of {len(colours)}")
    if transparency:
        alpha = np.full((len(colours), 1), 255, np.uint8)
        known = np.frombuffer(transparency, np.uint8)[: len(colours)]
        alpha[: len(known), 0] = known
        colours = np.concatenate([colours, alpha], axis=1)
    return colours[samples[..., 0]]


def _mask_colour(
    name: str, samples: npt.NDArray[np.int64], depth: int, transparency: bytes
) -> Pixels:
    """One colour of a grey or RGB image is declared transparent."""
    if len(transparency) != 2 * samples.shape[2]:
        _fail(name, 8, f"PNG transparency of {len(transparency)} bytes")
    clear = np.frombuffer(transparency, ">u2").astype(np.int64)
    alpha = np.where((samples == clear).all(axis=2, keepdims=True), 0, 255).astype(np.uint8)
    return np.concatenate([_to_bytes(samples, depth), alpha], axis=2)


def _fail(name: str, offset: int, what: str, remedy: bool = True) -> NoReturn:
    again = "; export or copy the file again" if remedy else ""
    raise ValueError(at_line(f"load_image: {name}, offset {offset}: {what}{again}"))
