# SPDX-License-Identifier: Apache-2.0
"""Real data that Debian's packages carry: read where installed, else fetched once and kept.

`read` is given the SHA-256 of what the file holds, so an example reads the very data that its
figures in the README are of, or says that it does not.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import tarfile
import tempfile
from itertools import pairwise
from pathlib import Path

BIBLE = "bible-kjv-text", "usr/lib/bible.data"
BIBLE_SHA256 = "6c746c2acc8a34bfded980883ff1701a5d68934a1c853ebf88a07b978fe0ae0e"
SUNSPOTS = (
    "python3-statsmodels",
    "usr/lib/python3/dist-packages/statsmodels/datasets/sunspots/sunspots.csv",
)
SUNSPOTS_SHA256 = "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b"


def read(package: str, path: str, sha256: str) -> bytes:
    """The content of a file of a Debian package, `path` without the leading slash.

    Looked for in `$OSTRIA_DATA_DIR` or `~/.ostria`, in a folder named as the package, then where
    the package installs it; fetched into that folder by `apt-get download`, which needs no rights.

    Raises:
        OSError: it is nowhere and cannot be fetched.
        ValueError: it has another checksum.
    """
    data = Path(os.environ.get("OSTRIA_DATA_DIR") or "~/.ostria").expanduser()
    cached = data / package / Path(path).name
    file = next((f for f in (cached, Path("/", path)) if f.is_file()), None)
    content = file.read_bytes() if file else _fetch(package, path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{file or package + ': ' + path} is damaged or of another version: it has SHA-256 "
            f"{found} instead of {sha256}; delete it, or the package, to have it fetched anew"
        )
    if file is None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        part = cached.with_name(f"{cached.name}.{os.getpid()}")
        part.write_bytes(content)
        part.replace(cached)
        print(f"fetched {path} of Debian's package {package} into {cached}")
    return content


def _fetch(package: str, path: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # apt fetches as a user of its own
        try:
            subprocess.run(
                ["apt-get", "-qq", "download", package],
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            )
            (archive,) = Path(folder).glob("*.deb")
            tar = subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", archive], capture_output=True, check=True
            )
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            why = (getattr(error, "stderr", "") or str(error)).strip().replace("\n", "; ")
            raise OSError(
                f"{package}: {path} is not here and could not be fetched ({why}); on Debian or "
                f"Ubuntu: apt-get install {package}"
            ) from None
    with tarfile.open(fileobj=io.BytesIO(tar.stdout)) as files:
        member = files.extractfile(f"./{path}")
        assert member is not None
        return member.read()


def bible() -> str:
    """The King James Version (1611), a verse a line, without chapter and number."""
    packed = read(*BIBLE, BIBLE_SHA256)
    # From byte 92: where each part begins, up to the end of the file. Each is what compress(1)
    # makes of 64 KiB, less its first three bytes; gzip reads that.
    (first,) = struct.unpack_from(">I", packed, 92)
    begins = struct.unpack_from(f">{(first - 3 - 92) // 4}I", packed, 92)
    parts = [packed[a:b] for a, b in pairwise(begins)]
    text = b"".join(
        subprocess.run(
            ["gzip", "-dc"], input=b"\x1f\x9d\x90" + part, capture_output=True, check=True
        ).stdout
        for part in parts
    ).decode("ascii")
    # The first line is the title.
    return "".join(line.split(" ", 1)[1] + "\n" for line in text.splitlines()[1:])


def sunspots() -> tuple[list[int], list[float]]:
    """The years from 1700 to 2008, and the mean number of sunspots in each."""
    rows = [line.split(",") for line in read(*SUNSPOTS, SUNSPOTS_SHA256).decode().splitlines()[1:]]
    return [int(float(row[0].strip('"'))) for row in rows], [float(row[1]) for row in rows]
