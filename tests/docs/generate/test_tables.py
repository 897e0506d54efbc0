"""docs/tables.md: generated from the declared tables."""

from tests.docs.generator import generator

GENERATOR = generator("tables")


def test_the_page_of_tables_is_current() -> None:
    """docs/tables.md is what `make docs` writes."""
    assert GENERATOR.page() == GENERATOR.FILE.read_text(encoding="utf-8")
