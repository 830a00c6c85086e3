# SPDX-License-Identifier: Apache-2.0
"""`python -m ostria COMMAND`: `doctor`, `explain-hang` and `launch`."""

import sys

from ostria.cli import main

sys.exit(main())
