# SPDX-License-Identifier: Apache-2.0
"""`python -m ostria doctor`, `python -m ostria explain-hang DIR`."""

import sys

from ostria.cli import main

sys.exit(main())
