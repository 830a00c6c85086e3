# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from optimizers import update

ROW = update("sgd_update", 0, lambda w, g, lr, t: (w - lr * g,), by_rows={})
