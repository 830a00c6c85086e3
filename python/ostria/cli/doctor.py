# SPDX-License-Identifier: Apache-2.0
"""`ostria doctor`: the findings as text, what is wrong, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO

from ostria.cli.facts import LAUNCHED, SETTINGS, collect

# What ops ask for; NCCL, which only several GPUs need, may be missing.
_NEEDED = ("cuBLASLt", "cuDNN", "NVRTC")


def doctor(*, as_json: bool, out: TextIO) -> int:
    """Prints the findings and the verdict; 0 when all that is installed works.

    Args:
        as_json: one JSON object instead of lines for people.
        out: where to.

    Example:
        >>> import io
        >>> from ostria.cli.doctor import doctor
        >>> text = io.StringIO()
        >>> status = doctor(as_json=False, out=text)
        >>> text.getvalue().splitlines()[0].startswith("Ostria ")
        True
    """
    facts = collect()
    problems = find_problems(facts)
    notes, verdict = find_notes(facts), judge(facts, problems)
    if as_json:
        found = {**facts, "notes": notes, "problems": problems, "verdict": verdict}
        json.dump(found, out, indent=2)
        out.write("\n")
    else:
        said = [f"Note: {n}." for n in notes] + [f"Problem: {p}." for p in problems]
        lines = [*report(facts), "", *said, f"Verdict: {verdict}."]
        out.write("\n".join(lines) + "\n")
    return 1 if problems else 0


def find_problems(facts: dict[str, Any]) -> list[str]:
    """What is installed and of no use, a sentence each that ends with what to do."""
    gpu, problems = facts["gpu"], []
    library = gpu["library"]
    for part in facts["cpu"]:
        if part["state"] == "broken":
            problems.append(f"{part['title']}: {part['text']}")
    if gpu["failure"]:
        problems.append(gpu["failure"])
    if library["error"] and library["path"]:
        problems.append(_first_line(library["error"]))
    devices = _devices(facts)
    for part in gpu["parts"]:
        lacks = part["state"] == "missing" and part["title"] in _NEEDED and devices
        if part["state"] == "broken" or lacks:
            problems.append(_first_line(part["text"]))
    wanted = facts["settings"].get("OSTRIA_DEVICE", "")
    if wanted.startswith("cuda") and not gpu["failure"]:
        name = "cuda:0" if wanted == "cuda" else wanted
        if name not in [part["title"] for part in devices]:
            problems.append(
                f"OSTRIA_DEVICE is '{wanted}', and there is no such device; unset it, or see above "
                "what a GPU lacks"
            )
    cache = facts["cache"]
    if devices and not cache["writable"]:
        problems.append(
            f"the cache folder '{cache['folder']}' cannot be written, so kernels are compiled anew "
            "by each process; set OSTRIA_CACHE_DIR to a folder that can"
        )
    return problems


def find_notes(facts: dict[str, Any]) -> list[str]:
    """What may be a mistake and breaks nothing."""
    return [
        f"{name} is no setting of this release; accepted are {', '.join(SETTINGS)}"
        for name in facts["settings"]
        if not _known(name)
    ]


def judge(facts: dict[str, Any], problems: list[str]) -> str:
    """One sentence on the whole: what works, and what a GPU would take where there is none."""
    gpu, devices = facts["gpu"], _devices(facts)
    cpu_works = all(part["state"] != "broken" for part in facts["cpu"])
    works = ["the CPU"] if cpu_works else []
    if devices:
        works.append("1 GPU" if len(devices) == 1 else f"{len(devices)} GPUs")
    said = f"{' and '.join(works) or 'nothing'} work{'s' if len(works) == 1 else ''}"
    if problems:
        count = "one thing is" if len(problems) == 1 else f"{len(problems)} things are"
        return f"{said}; {count} wrong, see above"
    if devices:
        return f"{said}; device='cuda' runs on {devices[0]['text'].split(',')[0]}"
    if gpu["library"]["error"]:
        version = facts["ostria"]["version"]
        return f"{said}; for a GPU, `pip install 'ostria-cuda[libraries]=={version}'`"
    driver = next((p for p in gpu["parts"] if p["title"].startswith("the NVIDIA driver")), None)
    if driver is not None and driver["state"] == "missing":
        return f"{said}; there is no NVIDIA driver, which a GPU needs ({driver['needed']})"
    return f"{said}; CUDA_VISIBLE_DEVICES hides every GPU from this process"


def report(facts: dict[str, Any]) -> list[str]:
    """The findings as lines for people."""
    own, gpu, cache = facts["ostria"], facts["gpu"], facts["cache"]
    lines = [
        f"Ostria {own['version']} in {own['folder']}",
        f"  Python {own['python']} ({own['executable']}) on {own['system']}",
        *_builds(own["build_id"], gpu["library"]),
        "CPU",
        *(_line(part) for part in facts["cpu"]),
        "GPU",
    ]
    if gpu["kernel_driver"]:
        lines.append(_row("works", "kernel driver", gpu["kernel_driver"]))
    if gpu["failure"]:
        lines.append(_row("broken", "devices", gpu["failure"]))
    elif gpu["library"]["error"]:
        text = "not installed" if not gpu["library"]["path"] else "see above"
        lines.append(_row("missing", "CUDA backend", text))
    lines += [_line(part) for part in gpu["parts"]]
    lines.append("Settings")
    lines += [
        f"  {name}={value}" + ("" if _known(name) else "  (no setting of this release)")
        for name, value in facts["settings"].items()
    ] or ["  none"]
    writable = "can be written" if cache["writable"] else "CANNOT BE WRITTEN"
    lines += [
        "Cache",
        f"  {cache['folder'] or 'no folder: neither OSTRIA_CACHE_DIR nor HOME is set'}",
        f"  {cache['files']} files, {cache['bytes'] / 2**20:.1f} MiB, {writable}",
        "Wheels",
        *(f"  {name:<20} {v or 'not installed'}" for name, v in facts["wheels"].items()),
    ]
    return lines


def _builds(own: str, library: dict[str, str]) -> Iterable[str]:
    yield _row("works", "libostria", f"build {own}")
    if library["build_id"]:
        same = library["build_id"] == own
        said = "the same" if same else "ANOTHER BUILD: both must come from one release"
        where = f"build {library['build_id']} in {library['path']}: {said}"
        yield _row("works" if same else "broken", "libostria_cuda", where)
    elif library["error"]:
        state = "broken" if library["path"] else "missing"
        yield _row(state, "libostria_cuda", _indented(library["error"]))


def _devices(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [p for p in facts["gpu"]["parts"] if p["title"][:5] == "cuda:" and p["state"] == "works"]


def _known(name: str) -> bool:
    return not name.startswith("OSTRIA_") or name in SETTINGS or name in LAUNCHED


def _line(part: dict[str, Any]) -> str:
    text = part["text"]
    if part["needed"]:
        text += f"; needed is {part['needed']}" if part["state"] == "works" else ""
    return _row(part["state"], part["title"], _indented(text))


def _row(state: str, title: str, text: str) -> str:
    mark = {"works": "ok", "missing": "--", "broken": "!!"}[state]
    return f"  {mark} {title}: {text}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n   ")


def _first_line(text: str) -> str:
    return text.splitlines()[0].removesuffix(". Tried:")
