# SPDX-License-Identifier: Apache-2.0
"""Ostria: a deep learning framework on a C++ graph executor."""

from ostria._version import __version__

__all__ = ["__version__"]
