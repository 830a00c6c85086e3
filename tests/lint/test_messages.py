# SPDX-License-Identifier: Apache-2.0
"""Messages of the Python half end with the user's line: what is raised goes through `at_line`."""

from __future__ import annotations

import ast

import pytest

# (file, innermost function): why its message has no line.
ALLOWED = {
    ("python/ostria/__init__.py", "__getattr__"): "hasattr() asks; Python's message has no line",
    ("python/ostria/estimator/__init__.py", "__getattr__"): "as for ostria itself",
    ("python/ostria/nn/__init__.py", "__getattr__"): "as for ostria itself",
}


def is_at_line(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "at_line"


def bare_raises(text: str) -> list[tuple[str, int]]:
    """(innermost function, line) of each `raise X("...")` whose text does not go through `at_line`.

    Only text that stands in the call counts: a message that is built elsewhere is not seen.
    """
    found = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            message = node.exc.args[0]
            literal = any(
                isinstance(part, ast.Constant) and isinstance(part.value, str)
                for part in ast.walk(message)
            )
            if literal and not is_at_line(message):
                found.append((function, node.lineno))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(text), "")
    return found


def test_messages_end_with_the_users_line(texts: dict[str, str]) -> None:
    wrong = [
        f"{path}:{line}: in {function}: wrap the message in at_line() of ostria._errors"
        for path, text in texts.items()
        if path.startswith("python/ostria/") and path.endswith(".py")
        for function, line in bare_raises(text)
        if (path, function) not in ALLOWED
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_exception_is_left_over(texts: dict[str, str]) -> None:
    for path, function in ALLOWED:
        names = [name for name, _ in bare_raises(texts[path])]
        assert function in names, f"{path}: {function} needs no exception any more"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("raise ValueError('x')", [("", 1)]),
        ("def f():\n    raise TypeError(f'{a}: ' + b) from None", [("f", 2)]),
        ("def f():\n    def g():\n        raise m.Error('a' if b else c)", [("g", 3)]),
        ("raise ValueError(at_line('x'))", []),
        ("raise ValueError(_errors.at_line(f'{x}' + y))", []),
        ("raise StopIteration", []),
        ("raise TrainingInterrupted(signum, step)", []),
    ],
)
def test_what_is_found(text: str, found: list[tuple[str, int]]) -> None:
    assert bare_raises(text) == found
