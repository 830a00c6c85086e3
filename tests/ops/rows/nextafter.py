# SPDX-License-Identifier: Apache-2.0
from typing import Any

import numpy as np
from families import binary, binary_samples, tensor
from row import WIDE, Mistake, S, V

import ostria as ost


def following(arrays: list[np.ndarray], outputs: list[np.ndarray], attrs: dict[str, Any]) -> None:
    """To the bit, in the dtype under test: a tolerance would accept x itself."""
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(outputs[0], np.nextafter(*arrays).astype(np.float64))


# Toward itself, across 0, and past the largest float32.
EDGES = S(V([1.0, 0.0, -0.0, 3.4028235e38, 2.0]), V([1.0, 1.0, -1.0, np.inf, -np.inf]))
ROW = binary(
    "nextafter",
    None,
    samples=(*binary_samples(), EDGES),
    errors=(
        Mistake(
            lambda: ost.nextafter(tensor(np.float16([1])), tensor(np.float16([2]))),
            TypeError,
            "nextafter: needs float32 or float64, but 'x' is float16[1]; cast it first, as in "
            'cast(x, "float32")',
        ),
    ),
    invariant=following,
    dtypes=WIDE,
)
