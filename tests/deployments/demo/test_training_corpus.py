"""The training text: cut from packages, balanced, without repeats, and never what the demo holds out."""

import gzip
from pathlib import Path

import pytest

from deployments.demo import training_corpus
from deployments.demo.markup import plain_html, plain_manual
from deployments.demo.training_corpus import SOURCES, Source, build, demo_documents, describe, texts

WORDS = "the quick brown fox jumps over a lazy dog while eleven other animals look on and say nothing".split()


def _prose(seed: int) -> str:
    """A paragraph that repeats no other."""
    words = [
        WORDS[(seed * 7 + place * (seed + 3)) % len(WORDS)] + chr(97 + seed % 26) for place in range(150)
    ]
    return " ".join(words)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two unpacked packages, one of a packed file, and a corpus of no more than those and the demo's."""
    (tmp_path / "pages").mkdir()
    for number in range(20):
        (tmp_path / "pages" / f"{number}.txt").write_text(f"{_prose(number)}\n\n{_prose(number + 50)}")
    (tmp_path / "words.gz").write_bytes(gzip.compress(f"{_prose(99)}\n\n{_prose(0)}".encode()))
    sources = (
        Source("pages", "pages-doc", "1-1", "pages/*.txt", r"\n\n"),
        Source("words", "words-doc", "2-1", "words.gz", r"\n\n"),
    )
    monkeypatch.setattr(training_corpus, "SOURCES", sources)
    return tmp_path


def test_the_same_packages_give_the_same_text(packages: Path) -> None:
    """Its hash is in the metrics of the shipped coders."""
    first, again = build(packages), build(packages)

    assert first.equals(again)
    assert describe(first)["sha256"] == describe(again)["sha256"]
    assert {"pages", "words", "novel"} <= set(first["kind"].to_pylist())
    assert 7 == describe(first)["kinds"]


def test_what_the_demo_holds_out_is_not_trained_on(packages: Path) -> None:
    """The demo's corpus is what the coders' features are explained on."""
    table = build(packages)

    demo = {document.text for document in demo_documents("heldout")}
    assert demo
    assert not demo & set(texts(table, "train"))
    assert set(texts(table, "heldout")) & demo
    assert not set(texts(table, "train")) & set(texts(table, "heldout"))


def test_no_kind_has_more_bytes_than_are_wanted(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that none drowns the others."""
    monkeypatch.setattr(training_corpus, "BYTES_PER_KIND", 9_000)
    rows = build(packages).to_pylist()

    sizes = {row["kind"]: 0 for row in rows}
    for row in rows:
        if row["split"] == "train":
            sizes[row["kind"]] += len(row["text"].encode())
    assert max(sizes.values()) <= 9_000
    assert min(size for kind, size in sizes.items() if kind != "words") > 4_000


def test_a_package_that_is_not_unpacked_is_named(tmp_path: Path) -> None:
    """With its version, as apt-get takes it."""
    with pytest.raises(SystemExit, match=r"unpack dict-gcide 0\.48\.5"):
        build(tmp_path)


def test_every_source_states_its_licence() -> None:
    """Package and version stand in the page of licences."""
    page = Path(training_corpus.__file__).with_name("training_corpus.LICENCES.md").read_text(encoding="utf-8")
    for source in SOURCES:
        assert f"| {source.kind} | " in page
        assert f"| {source.package} {source.version} | " in page


def test_a_pages_text_is_kept_without_its_markup() -> None:
    """Blocks are parted by empty lines, what is verbatim keeps its lines without their indent, scripts go."""
    page = "<head><title>no</title></head><p>One &amp;\n two<pre>a\n  b</pre><script>no()</script><ul><li>three</ul>"

    assert "One & two\n\na\nb\n\nthree" == plain_html(page)


def test_a_manual_pages_text_is_kept_without_its_requests() -> None:
    """Alternating fonts are set side by side; comments and settings go."""
    page = r""".\" a comment
.TH open 2
.SH NAME
open \- open a file
.PP
The call
.BR open ()
takes \fIflags\fP.
.nf
"""

    assert "NAME\nopen - open a file\n\nThe call\nopen()\ntakes flags." == plain_manual(page)
