"""README.md: puts the end of a real `make demo`, which `docs/demo.txt` keeps, into it.

`python docs/generate/readme.py` writes it; `--check` only says whether it is current.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(<!-- demo:.*?-->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Write the README, or with `--check` say whether it is current."""
    readme, demo = ROOT / "README.md", (ROOT / "docs" / "demo.txt").read_text(encoding="utf-8")
    old = readme.read_text(encoding="utf-8")
    new = BLOCK.sub(lambda found: f"{found[1]}```\n{demo}```\n{found[2]}", old)
    if "--check" in sys.argv[1:]:
        return int(new != old)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
