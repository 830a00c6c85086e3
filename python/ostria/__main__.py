# SPDX-License-Identifier: Apache-2.0
"""`python -m ostria doctor`."""

import sys

from ostria.cli import main

sys.exit(main())
