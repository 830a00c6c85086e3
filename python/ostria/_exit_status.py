# SPDX-License-Identifier: Apache-2.0
"""How a process says, by its exit status alone, that it has not failed although it is not done.

Training raises it, `ostria launch` understands it: nothing else belongs here, so that the launcher
imports nothing of training.
"""

# Stopped from outside (a pre-emption) and saved: the same command goes on. Schedulers can be told
# of it, as by RequeueExit=42 of Slurm.
SAVED = 42
