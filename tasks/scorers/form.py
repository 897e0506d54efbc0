"""The form of replies that are nothing but numbers, for servers that hold replies to one.

A form says no more than what holds of every right reply: held to it, a reader may still be wrong, and is no longer
unreadable. What comes is read as it is from a server that holds nothing.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple


class Form(NamedTuple):
    """What a reply looks like: all that it may be, or a regular expression that the whole of it matches."""

    choices: tuple[str, ...] = ()
    pattern: str | None = None


@cache
def one_of(numbers: Sequence[int]) -> Form:
    """One of these numbers and nothing else."""
    return Form(choices=tuple(map(str, numbers)))


@cache
def list_of(numbers: Sequence[int], least: int, most: int) -> Form:
    """A list of so many of these numbers, as JSON writes it."""
    # No schema: between the signs of JSON there may be blanks, and a weak model fills its reply with them.
    # That no number comes twice cannot be said of so many.
    number = f"({'|'.join(map(str, numbers))})"
    fewest = max(least, 1) - 1
    often = f"{{{fewest}}}" if most - 1 == fewest else f"{{{fewest},{most - 1}}}"
    some = number if most == 1 else f"{number}(, {number}){often}"
    return Form(pattern=rf"\[{some}\]" if least else rf"\[({some})?\]")
