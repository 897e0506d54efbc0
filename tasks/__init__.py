"""One step of work each; folders hold the pure code."""

import storage as storage  # before anything here loads Arrow
