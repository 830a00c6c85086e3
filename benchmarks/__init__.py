# SPDX-License-Identifier: Apache-2.0
"""Ostria beside its peers: `make bench`. See README.md in this folder."""
