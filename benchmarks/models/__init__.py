# SPDX-License-Identifier: Apache-2.0
"""Workloads: each module that suites.py names has a list SUITES; train_*.py are their adapters."""
