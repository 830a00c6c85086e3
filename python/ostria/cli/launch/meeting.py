# SPDX-License-Identifier: Apache-2.0
"""Where the processes of a job meet: a port that is bound before it is told, and a secret.

The socket stays with the launcher, which serves the store there, so nobody can take the port in
between. The secret is never an argument or a variable: it is a file that only its owner reads, or
one without a name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ostria._errors import at_line
from ostria.distribute._env_values import join_address

_TRIES = 3
_PAUSE = 0.1


@dataclass(frozen=True)
class Meeting:
    """What every process of the job is told.

    Attributes:
      address: host:port.
      listener: the bound socket on host 0, until the store takes it; None elsewhere.
      secret_file: path of the secret, valid in the children that get ``secret_fd``.
      secret_fd: descriptor to pass on; None for a file that has a name.
      job_id: the same on all hosts, and of this job alone.
    """

    address: str
    listener: socket.socket | None
    secret_file: str
    secret_fd: int | None
    job_id: str


def make_meeting(
    rendezvous: tuple[str, int], *, nnodes: int, node_rank: int, environ: Mapping[str, str]
) -> Meeting:
    """Binds on host 0, and finds or draws the secret.

    Raises:
      ValueError: no secret is given for several hosts, or others may read its file.
      OSError: the address is no one of this host, or its port is in use.
    """
    given = environ.get("OSTRIA_SECRET_FILE", "")
    if given:
        secret, fd = _read_secret(given), None
    elif nnodes > 1:
        raise ValueError(
            at_line(
                f"ostria launch: {nnodes} hosts need one secret, and OSTRIA_SECRET_FILE is not "
                "set; make a file (umask 077; openssl rand -hex 32 > secret), copy it "
                "to every host and set OSTRIA_SECRET_FILE to its path"
            )
        )
    else:
        secret = secrets.token_hex(32).encode()
        fd = _unnamed_file(secret)
        given = f"/proc/self/fd/{fd}"
    listener = bind(*rendezvous) if node_rank == 0 else None
    port = listener.getsockname()[1] if listener is not None else rendezvous[1]
    address = join_address(rendezvous[0], port)
    digest = hashlib.sha256(b"job " + address.encode() + b"\0" + secret).hexdigest()
    return Meeting(address, listener, given, fd, digest[:16])


def bind(host: str, port: int) -> socket.socket:
    """A listening socket on exactly this interface; port 0 for a free one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        what = f"ostria launch: the host of {join_address(host, port)} is not known"
        remedy = "give --rendezvous a name or an address of host 0"
        raise ValueError(at_line(f"{what} ({error.strerror}); {remedy}")) from None
    family, kind, protocol, _, where = found[0]
    for left in range(_TRIES, 0, -1):
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(where)
            listener.listen(4096)
            return listener
        except OSError as error:
            listener.close()
            address = join_address(host, port)
            if error.errno == errno.EADDRNOTAVAIL:
                what = f"ostria launch: {address} is no address of this host"
                remedy = "give --rendezvous an address of host 0"
                raise OSError(error.errno, at_line(f"{what}; {remedy}")) from None
            if error.errno != errno.EADDRINUSE or left == 1:
                holder = holder_of(port) or "a process that cannot be seen"
                what = f"ostria launch: {address} cannot be bound ({os.strerror(error.errno or 0)})"
                remedy = "give --rendezvous another port, or leave it out on one host"
                raise OSError(
                    error.errno, at_line(f"{what}: the port is held by {holder}; {remedy}")
                ) from None
        time.sleep(_PAUSE)
    raise AssertionError


def holder_of(port: int, proc: Path = Path("/proc")) -> str:
    """`process 123 (python)` for the one that listens at a port; "" where it cannot be seen."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{words[9]}]")
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if any(os.readlink(fd) in inodes for fd in (folder / "fd").iterdir()):
                return f"process {folder.name} ({(folder / 'comm').read_text().strip()})"
        except OSError:
            continue
    return ""


def _read_secret(path: str) -> bytes:
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        what = f"ostria launch: OSTRIA_SECRET_FILE is '{path}', which cannot be read"
        raise ValueError(at_line(f"{what} ({error.strerror}); give a readable file")) from None
    if mode & 0o077:
        raise ValueError(
            at_line(
                f"ostria launch: OSTRIA_SECRET_FILE is '{path}', which others may read (mode "
                f"{mode:o}); accepted is a file of its owner alone: chmod 600 {path}"
            )
        )
    if not re.fullmatch(rb"[0-9a-fA-F]{64}", secret):
        raise ValueError(
            at_line(
                f"ostria launch: OSTRIA_SECRET_FILE is '{path}', which holds {len(secret)} "
                "characters or others than hexadecimal digits; accepted are 64 digits: openssl "
                "rand -hex 32"
            )
        )
    return secret


def _unnamed_file(content: bytes) -> int:
    fd = os.memfd_create("ostria-secret")
    os.fchmod(fd, 0o600)
    os.write(fd, content)
    return fd
