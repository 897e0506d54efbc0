"""Tables, lakes and SQL."""

import os

# Arrow reads this once, when it is loaded. The allocator that it takes otherwise fetches fresh memory for most buffers,
# and the system's zeroing of it was up to half of what sampling cost: `python -m benchmarks.sample`.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
