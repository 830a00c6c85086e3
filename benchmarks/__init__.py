# SPDX-License-Identifier: Apache-2.0
"""Ostria beside PyTorch and JAX: `make bench`. See README.md in this folder."""
