# SPDX-License-Identifier: Apache-2.0
"""`ostria simulate`: rank 0 of a large world, planned and run here, with modelled collectives.

`options` reads the flags, `topology` how ranks are connected, `collectives` models how long they
take, `calibrate` measures links by `fitting`, `session` runs the script while `load` looks at other
processes, `timeline` schedules its collectives, `rendezvous` lets threads meet, `real` compares
with processes, `report` collects all figures, `text` prints them; `command` is the whole of it.
"""

from ostria.cli.simulate.options import SimulateOptions, add_flags, read_options

__all__ = ["SimulateOptions", "add_flags", "read_options"]
