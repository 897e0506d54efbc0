"""Values on a terminal: rounded, visible, on one line."""

import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.cli.table_view import spelled


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.123456, "0.1235"),
        (123456.789, "123456.8"),
        (1e-7, "1e-07"),
        (Decimal("0.50"), "0.50"),
        ("plain [red] text", "plain [red] text"),
        (" the", '" the"'),
        ("", '""'),
        ("a\nb", "a⏎b"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202egpj", r"\u202egpj"),
        ("👩‍🚀", "👩‍🚀"),
        ({"token": " a", "logit": 1.5}, '{token: " a", logit: 1.5}'),
        ([("key", 1)], '["key": 1]'),
    ],
)
def test_values_are_spelled(value: object, message: str) -> None:
    """Nothing hides: neither spaces at the ends of a token nor what would steer the terminal."""
    assert message == spelled(value, 40)


@given(st.lists(st.integers(0, 10**6), max_size=60), st.integers(5, 80))
def test_a_list_is_cut_with_its_rest_counted(values: list[int], room: int) -> None:
    """The items that are shown and those that are counted are all of them."""
    message = spelled(values, room)

    shown, _, more = message.strip("[]").partition("… ")
    items = [int(item) for item in shown.split(",") if item.strip()]
    assert items == values[: len(items)]
    assert len(values) - len(items) == int(more.split()[0] if more else 0)
    assert len(shown) <= max(room, len(str(values[0])) + 2 if values else 0)


@given(st.text())
def test_a_text_is_one_visible_line(text: str) -> None:
    """Whatever it holds, it moves no cursor."""
    message = spelled(text, 40)

    steering = [c for c in message if unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"}]
    assert [] == steering
