# SPDX-License-Identifier: Apache-2.0
"""CONTRIBUTING's op is the tree's: the page shows its three pieces as they stand there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.S).group(1)


def test_the_files_it_names_exist():
    named = re.findall(r"`((?:csrc|tests|kernels)/[^`]+)`", PAGE)
    assert "csrc/ops/elementwise/softsign.cpp" in named
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_op_is_what_the_page_shows():
    assert block("cpp") == (ROOT / "csrc/ops/elementwise/softsign.cpp").read_text()


def test_the_line_is_in_the_list():
    assert block("cmake").strip() in (ROOT / "csrc/ops/CMakeLists.txt").read_text().splitlines()


def test_the_row_is_what_the_page_shows():
    assert block("python") == (ROOT / "tests/ops/rows/softsign.py").read_text()
