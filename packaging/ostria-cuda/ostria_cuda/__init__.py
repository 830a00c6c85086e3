# SPDX-License-Identifier: Apache-2.0
"""The CUDA backend of Ostria: one library, which `ostria` loads when a CUDA device is asked for."""
