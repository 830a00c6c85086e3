# SPDX-License-Identifier: Apache-2.0
import numpy as np
from row import FLOATS, INTS
from scatters import segment


def _none(dtype):
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


ROW = segment("segment_min", lambda x: np.min(x, 0), _none, FLOATS + INTS, segments=2)
