"""The command without its entry point: `python -m flows.cli`."""

import sys

from flows.cli import main

sys.exit(main())
