# SPDX-License-Identifier: Apache-2.0
"""Unknown keyword arguments: one message, everywhere, that guesses what was meant.

A misspelt keyword must never be swallowed by ``**kwargs`` and must never be reported without the
right spelling. The decorators keep the decorated signature for type checkers and for
``inspect.signature``, so an editor still flags the typo before the program runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")

# Keywords of Keras that nothing here takes, and what holds instead.
_ABSENT = {
    "data_format": "images are NHWC, 'channels_last'; bring others there with ost.transpose",
    "input_shape": "shapes are taken from the first call",
    "input_dim": "sizes are taken from the first call",
}


def closest_keyword(word: str, accepted: Iterable[str]) -> str | None:
    """Returns the accepted word that ``word`` most likely stands for, or None.

    Spelling variants (``learningRate``, ``batch-size``) and initials (``lr`` for
    ``learning_rate``) count as near, then difflib's similarity decides.
    """
    import difflib  # only paid for when something is already wrong

    names = list(accepted)
    plain = {_plain(name): name for name in reversed(names)}
    if match := plain.get(_plain(word)):
        return match
    initials = [n for n in names if "_" in n and "".join(p[:1] for p in n.split("_")) == word]
    if len(initials) == 1:
        return initials[0]
    near = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.7)
    return plain[near[0]] if near else None


def unknown_name(what: str, word: object, accepted: Iterable[str]) -> str:
    """The message about a name that is none of ``accepted``, with the likely one."""
    names = list(accepted)
    guess = closest_keyword(str(word), names)
    hint = f"; did you mean {guess!r}?" if guess else "."
    return f"{what} {word!r} is not known{hint} Accepted: {', '.join(names)}."


def check_keywords(fn_name: str, given: Iterable[str], accepted: Iterable[str]) -> None:
    """Raises TypeError if ``given`` holds a keyword that ``accepted`` does not.

    Raises:
      TypeError: ``RunConfig: unknown keyword 'save_checkpoint_steps'; did you mean
        'save_checkpoints_steps'?``, followed by the accepted keywords.
    """
    names = list(accepted)
    unknown = [word for word in given if word not in names]
    if not unknown:
        return
    parts = []
    for word in unknown:
        if word in _ABSENT:
            parts.append(f"unknown keyword {word!r}: {_ABSENT[word]}.")
            continue
        guess = closest_keyword(word, names)
        parts.append(f"unknown keyword {word!r}" + (f"; did you mean {guess!r}?" if guess else "."))
    listing = "Accepted: " + ", ".join(names) + "." if names else "It takes no keywords."
    from ostria._errors import at_line  # late: this file serves setup tools without the extension

    raise TypeError(at_line(f"{fn_name}: {' '.join(parts)} {listing}"))


def checked_keywords(
    fn_name: str, options: type | None = None
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorates a function so that a misspelt keyword gets ``check_keywords``' message.

    ``options``: the TypedDict of its ``**options``, whose keys are accepted too.
    """

    def decorate(fn: Callable[_P, _R]) -> Callable[_P, _R]:
        names = _keyword_names(fn) + _keys_of(options)
        known = frozenset(names)

        @functools.wraps(fn)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if not kwargs.keys() <= known:
                check_keywords(fn_name, kwargs, names)
            return fn(*args, **kwargs)

        return wrapper

    return decorate


def checked_init(cls: type[_T]) -> type[_T]:
    """Class decorator: ``checked_keywords`` for the constructor, under the class's name."""
    setattr(cls, "__init__", checked_keywords(cls.__name__)(cls.__init__))  # noqa: B010
    return cls


def checked_init_with(options: type) -> Callable[[type[_T]], type[_T]]:
    """``checked_init`` for a constructor that ends in ``**options: Unpack[…]``, this TypedDict."""

    def decorate(cls: type[_T]) -> type[_T]:
        checked = checked_keywords(cls.__name__, options)(cls.__init__)
        setattr(cls, "__init__", checked)  # noqa: B010
        return cls

    return decorate


def _keys_of(options: type | None) -> tuple[str, ...]:
    # The bases of a TypedDict are gone at run time, but its annotations hold theirs, first.
    return () if options is None else tuple(options.__annotations__)


def _plain(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def _keyword_names(fn: Callable[..., object]) -> tuple[str, ...]:
    # Not inspect.signature: importing inspect would cost every program milliseconds.
    code = getattr(fn, "__wrapped__", fn).__code__  # a constructor inherited from a checked class
    names = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    return tuple(name for name in names if name not in ("self", "cls"))
