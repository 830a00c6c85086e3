# SPDX-License-Identifier: Apache-2.0
"""Recurrences written from their published equations, one step and one row at a time."""

from __future__ import annotations

from typing import Any

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _rows(x: np.ndarray, lengths: Any, reverse: bool) -> list[range]:
    """The steps of each row, in the order in which they are taken."""
    time = x.shape[1]
    full = [time] * len(x) if lengths is None else np.clip(lengths, 0, time).tolist()
    return [range(n - 1, -1, -1) if reverse else range(n) for n in full]


def lstm(x, kernel, recurrent, bias, h, c, lengths=None, reverse=False):
    units = h.shape[1]
    y, cells = np.zeros((2, *x.shape[:2], units))
    gates = np.zeros((*x.shape[:2], 4 * units))
    h, c = h.copy(), c.copy()
    for r, steps in enumerate(_rows(x, lengths, reverse)):
        for t in steps:
            zi, zf, zc, zo = np.split(x[r, t] @ kernel + h[r] @ recurrent + bias, 4)
            i, f, g, o = sigmoid(zi), sigmoid(zf), np.tanh(zc), sigmoid(zo)
            c[r] = f * c[r] + i * g
            h[r] = o * np.tanh(c[r])
            y[r, t], cells[r, t], gates[r, t] = h[r], c[r], np.concatenate([i, f, g, o])
    return y, h, c, gates, cells


def gru(x, kernel, recurrent, bias, h, lengths=None, reverse=False):
    units = h.shape[1]
    y, gates = np.zeros((*x.shape[:2], units)), np.zeros((*x.shape[:2], 4 * units))
    h = h.copy()
    for r, steps in enumerate(_rows(x, lengths, reverse)):
        for t in steps:
            xz, xr, xh = np.split(x[r, t] @ kernel + bias[0], 3)
            sz, sr, sh = np.split(h[r] @ recurrent + bias[1], 3)
            z, q = sigmoid(xz + sz), sigmoid(xr + sr)
            g = np.tanh(xh + q * sh)
            h[r] = z * h[r] + (1 - z) * g
            y[r, t], gates[r, t] = h[r], np.concatenate([z, q, g, sh])
    return y, h, gates


def simple_rnn(x, kernel, recurrent, bias, h, lengths=None, reverse=False, activation="tanh"):
    y, h = np.zeros((*x.shape[:2], h.shape[1])), h.copy()
    for r, steps in enumerate(_rows(x, lengths, reverse)):
        for t in steps:
            z = x[r, t] @ kernel + h[r] @ recurrent + bias
            y[r, t] = h[r] = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
    return y, h


def _before(r, steps, k, sequence, first):
    return sequence[r, steps[k - 1]] if k else first[r]


def lstm_grad(dy, dh, dc, x, kernel, recurrent, h, c, y, gates, cells, lengths=None, reverse=False):
    dx, dk, dr, db = np.zeros(x.shape), 0 * kernel, 0 * recurrent, np.zeros(kernel.shape[1])
    dh, dc = dh.copy(), dc.copy()
    for r, steps in enumerate(_rows(x, lengths, reverse)):
        for k in reversed(range(len(steps))):
            t = steps[k]
            i, f, g, o = np.split(gates[r, t], 4)
            total, s = dh[r] + dy[r, t], np.tanh(cells[r, t])
            dc[r] += total * o * (1 - s * s)
            previous = _before(r, steps, k, cells, c)
            parts = (
                dc[r] * g * i * (1 - i),
                dc[r] * previous * f * (1 - f),
                dc[r] * i * (1 - g * g),
                total * s * o * (1 - o),
            )
            dz = np.concatenate(parts)
            dx[r, t] = kernel @ dz
            dk += np.outer(x[r, t], dz)
            dr += np.outer(_before(r, steps, k, y, h), dz)
            db += dz
            dh[r], dc[r] = recurrent @ dz, dc[r] * f
    return dx, dk, dr, db, dh, dc


def gru_grad(dy, dh, x, kernel, recurrent, h, y, gates, lengths=None, reverse=False):
    dx, dk, dr, db = np.zeros(x.shape), 0 * kernel, 0 * recurrent, np.zeros((2, kernel.shape[1]))
    dh = dh.copy()
    for r, steps in enumerate(_rows(x, lengths, reverse)):
        for k in reversed(range(len(steps))):
            t = steps[k]
            z, q, g, s = np.split(gates[r, t], 4)
            total, previous = dh[r] + dy[r, t], _before(r, steps, k, y, h)
            dg = total * (1 - z) * (1 - g * g)
            dz, dq = total * (previous - g) * z * (1 - z), dg * s * q * (1 - q)
            of_x, of_s = np.concatenate([dz, dq, dg]), np.concatenate([dz, dq, dg * q])
            dx[r, t] = kernel @ of_x
            dk += np.outer(x[r, t], of_x)
            dr += np.outer(previous, of_s)
            db += np.stack([of_x, of_s])
            dh[r] = total * z + recurrent @ of_s
    return dx, dk, dr, db, dh


def simple_rnn_grad(
    dy, dh, x, kernel, recurrent, h, y, lengths=None, reverse=False, activation="tanh"
):
    dx, dk, dr, db = np.zeros(x.shape), 0 * kernel, 0 * recurrent, np.zeros(kernel.shape[1])
    dh = dh.copy()
    for r, steps in enumerate(_rows(x, lengths, reverse)):
        for k in reversed(range(len(steps))):
            t = steps[k]
            slope = 1 - y[r, t] ** 2 if activation == "tanh" else y[r, t] > 0
            dz = (dh[r] + dy[r, t]) * slope
            dx[r, t] = kernel @ dz
            dk += np.outer(x[r, t], dz)
            dr += np.outer(_before(r, steps, k, y, h), dz)
            db += dz
            dh[r] = recurrent @ dz
    return dx, dk, dr, db, dh
