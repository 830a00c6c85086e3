# SPDX-License-Identifier: Apache-2.0
"""`ostria launch`: starts the processes of a job on this host, and ends them together.

`options` reads the flags, `job` runs generations of processes, `process` is one of them, `output`
its lines, `evidence` says why it was killed, `meeting` makes port and secret, `store` serves the
control channel, `guard` ends the processes where the launcher itself is killed. No thread but the
store's, which runs no Python; no shell, and none of the user's code.
"""

from ostria.cli.launch.job import run_job
from ostria.cli.launch.options import LaunchOptions, add_flags, read_options

__all__ = ["LaunchOptions", "add_flags", "read_options", "run_job"]
