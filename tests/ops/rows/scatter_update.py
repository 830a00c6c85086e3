# SPDX-License-Identifier: Apache-2.0
from row import BOOL, FLOATS, INTS
from scatters import scatter

ROW = scatter("scatter_update", lambda old, update: update, FLOATS + INTS + BOOL)
