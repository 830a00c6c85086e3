# SPDX-License-Identifier: Apache-2.0
"""Every struct that a kernel takes asserts its layout (kernels/common/layout.h)."""

from __future__ import annotations

import re

STRUCT = re.compile(r"^struct (\w+) \{\n(.*?)^\};\n", re.M | re.S)
ASSERTED = re.compile(r"^OSTRIA_LAYOUT\((\w+),", re.M)
TAKEN = re.compile(r"\bOSTRIA_KERNEL\(\s*[^,()]+,\s*(\w+Params)\b")


def without_layout(texts: dict[str, str]) -> list[str]:
    """Structs that kernels take, and structs of their members, that assert no layout."""
    structs: dict[str, tuple[str, str]] = {}  # name: where, body without comments
    asserted: set[str] = set()
    open_: list[str] = []
    for path, text in texts.items():
        if not re.match(r"kernels/(?!host/|loop/).*\.(h|cu)$", path):
            continue
        for name, body in STRUCT.findall(text):
            structs[name] = (path, re.sub(r"//.*", "", body))
            if name.endswith("Params"):
                open_.append(name)
        asserted |= set(ASSERTED.findall(text))
        open_ += TAKEN.findall(text)
    found = set()
    seen: set[str] = set()
    while open_:
        name = open_.pop()
        if name in seen:
            continue
        seen.add(name)
        path, body = structs.get(name, ("kernels", ""))
        if name not in asserted:
            found.add(f"{path}: {name} lacks OSTRIA_LAYOUT({name}, bytes, members...)")
        open_ += [word for word in re.findall(r"\w+", body) if word in structs]
    return sorted(found)


def test_every_struct_of_a_kernel_asserts_its_layout(texts: dict[str, str]) -> None:
    found = without_layout(texts)
    assert not found, "\n" + "\n".join(found)


def test_one_without_is_found() -> None:
    part = "struct Part {\n  int n = 0;\n};\n"
    params = "struct XParams {\n  Part parts[4];  // of Other\n};\n"
    layouts = "OSTRIA_LAYOUT(Part, 4, n);\nOSTRIA_LAYOUT(XParams, 16, parts);\n"
    other = "struct Other {\n  int n = 0;\n};\n"
    kernel = {"kernels/x/x.cu": "OSTRIA_KERNEL(x_f32, XParams, 32) {}\n"}
    header = part + params + other
    assert without_layout({"kernels/x/x.h": header + layouts, **kernel}) == []
    assert [line.split()[1] for line in without_layout({"kernels/x/x.h": header, **kernel})] == [
        "Part",
        "XParams",
    ]
    assert "XParams" in without_layout(kernel)[0]
