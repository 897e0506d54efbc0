"""docs/modules.md: generated from the first lines of the modules."""

from pathlib import Path

from tests.docs.generator import generator

GENERATOR = generator("modules")


def test_every_module_says_what_it_holds() -> None:
    """The page has a line for each, and none is empty."""
    rows = [line for line in GENERATOR.page().splitlines() if line.startswith("| [")]
    assert len(rows) > 150
    assert [] == [row for row in rows if row.endswith("|  |")]


def test_a_first_line_is_the_first_paragraph(tmp_path: Path) -> None:
    """On one line, and no part of it is taken for a table's cell or a tag."""
    file = tmp_path / "module.py"
    file.write_text('"""One <b>\\ntwo | three.\n\nMore."""\n')
    assert "One &lt;b> two \\| three." == GENERATOR.first_line(file)
