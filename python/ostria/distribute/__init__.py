# SPDX-License-Identifier: Apache-2.0
"""Training on several devices and in several processes."""

from ostria.distribute._environment import WorkerEnvironment, read_environment

__all__ = ["WorkerEnvironment", "read_environment"]
