"""`python -m cepkit` is the command line."""

import sys

from cepkit.cli import main

sys.exit(main())
