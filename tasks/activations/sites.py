"""What names a site: a module of the subject model, its input or its output."""

import re
from dataclasses import dataclass
from typing import Literal

from storage.errors import WrongRequest

_MODULE = re.compile(r"\w+(\.\w+)*", re.ASCII)


@dataclass(frozen=True, order=True)
class Site:
    """One tensor of the subject model."""

    module: str
    """Dotted name of the module, without the wrapper that the architecture puts around it."""
    side: Literal["input", "output"] = "output"

    def __post_init__(self) -> None:
        """Refuse what can be no module's name."""
        if not _MODULE.fullmatch(self.module):
            msg = f"{self.module!r} names no site: write a module such as layers.2 or layers.5.mlp.input"
            raise WrongRequest(msg)

    @classmethod
    def parse(cls, text: str) -> "Site":
        """The site that `layers.2`, `layers.2.output` or `layers.5.mlp.input` names."""
        module, _, last = text.rpartition(".")
        if module and last == "input":
            return cls(module, "input")
        if module and last == "output":
            return cls(module)
        return cls(text)

    def __str__(self) -> str:
        """The shortest name that parses to this site; an output is not spelt out."""
        ends_like_a_side = self.module.endswith((".input", ".output"))
        return f"{self.module}.{self.side}" if self.side == "input" or ends_like_a_side else self.module
