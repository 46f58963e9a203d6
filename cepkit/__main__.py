"""`python -m cepkit` is the command line."""

import sys

from cepkit.commands.cli import main

sys.exit(main())
