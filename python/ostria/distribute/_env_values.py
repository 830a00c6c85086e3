# SPDX-License-Identifier: Apache-2.0
"""Single environment variables as numbers, addresses and lists of hosts.

Everything here is untrusted text: what is not exactly as described is a ValueError that names the
variable, its value and what is accepted. Nothing is run, and no length is believed before it is
checked.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import NoReturn

from ostria._errors import at_line

MAX_WORLD_SIZE = 1_000_000
MAX_TEXT = 1 << 16
_NUMBER = re.compile(r"[0-9]{1,9}")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def shorten(text: str) -> str:
    """``text`` quoted, and cut where it is longer than a message should be."""
    return repr(text if len(text) <= 120 else text[:117] + "...")


class IncompleteError(ValueError):
    """A variable is missing that others of the same launcher ask for."""


class Values:
    """The variables of one launcher in ``environ``; remembers in ``used`` which were read."""

    def __init__(self, environ: Mapping[str, str], launcher: str) -> None:
        self.environ, self.launcher = environ, launcher
        self.used: dict[str, str] = {}

    def text(self, variable: str, accepted: str = "a text") -> str:
        """A variable that must be set."""
        value = self.environ.get(variable, "").strip()
        if not value:
            given = ", ".join(f"{k}={shorten(v)}" for k, v in self.used.items())
            raise IncompleteError(
                at_line(
                    f"{self.launcher}: {variable} is not set"
                    + (f", but {given}" if given else "")
                    + f"; it must be {accepted}; set it, or unset the launcher's other variables"
                )
            )
        if len(value) > MAX_TEXT:
            self.refuse(variable, value, f"a text of at most {MAX_TEXT} characters")
        self.used[variable] = value
        return value

    def number(self, variable: str, least: int = 0, most: int = MAX_WORLD_SIZE) -> int:
        """An integer from ``least`` to ``most`` that must be set."""
        accepted = f"an integer from {least} to {most}"
        text = self.text(variable, accepted)
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            self.refuse(variable, text, accepted)
        return int(text)

    def optional(self, variable: str, least: int = 0, most: int = MAX_WORLD_SIZE) -> int | None:
        """The same of a variable that may be missing."""
        return self.number(variable, least, most) if self.has(variable) else None

    def has(self, variable: str) -> bool:
        return bool(self.environ.get(variable, "").strip())

    def address(self, variable: str) -> str:
        """`host:port`, in the form of ``join_address``."""
        text = self.text(variable, "host:port")
        try:
            return join_address(*split_address(text))
        except ValueError:
            self.refuse(variable, text, "host:port, such as node1:29400 or [fd00::1]:29400")

    def host(self, variable: str) -> str:
        text = self.text(variable, "a host name or an IP address")
        if not is_host(text):
            self.refuse(variable, text, "a host name or an IP address")
        return text

    def refuse(self, variable: str, value: str, accepted: str) -> NoReturn:
        raise ValueError(
            at_line(
                f"{self.launcher}: {variable} is {shorten(value)}; it must be {accepted}; correct "
                "it, or unset the launcher's variables"
            )
        )


def is_host(text: str) -> bool:
    """Whether ``text`` is a host name, an IPv4 or an IPv6 address (without brackets)."""
    if ":" in text:
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(text) is not None


def split_address(text: str) -> tuple[str, int]:
    """`host:port` or `[IPv6]:port` as (host, port).

    Raises:
      ValueError: it is neither.

    >>> split_address("[fd00::1]:29400")
    ('fd00::1', 29400)
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    fine = colon and is_host(host) and bracketed == (":" in host) and _NUMBER.fullmatch(port)
    if not fine or not 0 < int(port) < 65536:
        raise ValueError(
            at_line(
                f"{shorten(text)} is no address; it must be host:port with a port from 1 to 65535, "
                "such as node1:29400 or [fd00::1]:29400"
            )
        )
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """The opposite of ``split_address``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def expand_hosts(text: str, most: int = 100_000) -> list[str]:
    """The hosts of a list in Slurm's short form.

    Raises:
      ValueError: it is damaged, or names more than ``most`` hosts.

    >>> expand_hosts("n[08-10,12],login")
    ['n08', 'n09', 'n10', 'n12', 'login']
    """
    hosts: list[str] = []
    for item in _split_list(text):
        names = [""]
        for part, ranges in re.findall(r"([^\[\]]*)(?:\[([^\[\]]*)\])?", item):
            ends = _expand_ranges(ranges, text, most) if ranges else [""]
            if len(names) * len(ends) + len(hosts) > most:
                _refuse_list(text, f"at most {most} hosts")
            names = [name + part + end for name in names for end in ends]
        hosts += names
    if not all(is_host(host) for host in hosts):
        _refuse_list(text, "host names, such as n[01-16,20]")
    return hosts


def expand_counts(text: str, most: int = MAX_WORLD_SIZE) -> list[int]:
    """Tasks per node in Slurm's short form.

    Raises:
      ValueError: it is damaged, or more than ``most`` numbers.

    >>> expand_counts("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"([0-9]{1,7})(?:\(x([0-9]{1,7})\))?", item, re.ASCII)
        repeat = int(match[2] or 1) if match else 0
        if match is None or len(counts) + repeat > most:
            raise ValueError(
                at_line(
                    f"{shorten(text)} is no list of tasks per node; it must be like '4(x2),1', of "
                    f"at most {most} numbers"
                )
            )
        counts += [int(match[1])] * repeat
    return counts


def _split_list(text: str) -> list[str]:
    """At the commas outside brackets."""
    items, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c == "[") - (c == "]")
        if not 0 <= depth <= 1:
            _refuse_list(text, "names with matching brackets, such as n[01-16,20]")
        if c == "," and depth == 0:
            items.append(text[start:i])
            start = i + 1
    if depth:
        _refuse_list(text, "names with matching brackets, such as n[01-16,20]")
    return [*items, text[start:]]


def _expand_ranges(ranges: str, text: str, most: int) -> list[str]:
    ends: list[str] = []
    for item in ranges.split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", item, re.ASCII)
        first = int(match[1]) if match else 1
        last = int(match[2] or match[1]) if match else 0
        if match is None or last < first:
            _refuse_list(text, "ranges from low to high, such as n[01-16,20]")
        if len(ends) + last - first >= most:
            _refuse_list(text, f"at most {most} hosts")
        ends += [str(n).zfill(len(match[1])) for n in range(first, last + 1)]
    return ends


def _refuse_list(text: str, accepted: str) -> NoReturn:
    raise ValueError(at_line(f"{shorten(text)} is no list of hosts; accepted are {accepted}"))
