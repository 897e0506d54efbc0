"""Build corpus.parquet: the text that the demo explains, and that the tests' toy is trained on.

Five kinds of English text and program code, all of it free to copy, read from Debian packages:

    bible-kjv-text         4.38                 the King James Bible          kind `scripture`
    r-cran-janeaustenr     1.0.0-1              Jane Austen's novels          kind `novel`
    wordnet-base           1:3.0-37             WordNet 3.0's glosses         kind `glossary`
    jargon-text            4.4.7-4.1            the Jargon File 4.4.7         kind `jargon`
    libpython3.11-stdlib   3.11.2-6+deb12u9     Python's standard library     kind `code`
    libpython3.11-minimal  3.11.2-6+deb12u9     (the rest of that library, and its licence)

The packages may be installed, or only unpacked below a folder that `--root` then names:

    apt-get download bible-kjv-text r-cran-janeaustenr wordnet-base jargon-text \
        libpython3.11-stdlib libpython3.11-minimal
    for package in *.deb; do dpkg -x "$package" unpacked; done
    python corpus.py --root unpacked

Long works are split at natural borders (chapter, entry, blank line of a module) into documents of
about 1 to 5 kB; a document that repeats earlier ones is dropped; as many bytes of each kind are
drawn; and the documents are put in one seeded random order, so that any prefix of the file is a
fair mix. The last 5 % of the documents are held out (column `split`). The same packages give the
same file. Licences: corpus.LICENCES.md.
"""

import argparse
import gzip
import random
import re
import struct
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

BYTES_PER_KIND = 1_500_000
SHORTEST, LONGEST = 700, 4_500  # characters of a document
HELDOUT = 0.05
SEED = 22
SHINGLE, REPEATED = 8, 0.4  # words of a shingle; share of known shingles that makes a duplicate

BOOKS = (
    "Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth 1_Samuel 2_Samuel 1_Kings "
    "2_Kings 1_Chronicles 2_Chronicles Ezra Nehemiah Esther Job Psalms Proverbs Ecclesiastes "
    "Song_of_Solomon Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah "
    "Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans "
    "1_Corinthians 2_Corinthians Galatians Ephesians Philippians Colossians 1_Thessalonians "
    "2_Thessalonians 1_Timothy 2_Timothy Titus Philemon Hebrews James 1_Peter 2_Peter 1_John "
    "2_John 3_John Jude Revelation"
).split()
NOVELS = (
    "Emma",
    "Mansfield Park",
    "Northanger Abbey",
    "Persuasion",
    "Pride and Prejudice",
    "Sense and Sensibility",
)
WORD_CLASSES = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
CRUDE = re.compile(r"offensive|slur\b|obscene|vulgar|disparag|derogat|\bfuck|\bshit|\bcunt|nigger")
OTHER_OWNER = re.compile(r"copyright(?!.{0,40}Python Software Foundation)|licen[cs]e[sd]?\b", re.I)
TABLES = (
    "pydoc_data",
    "encodings",
    "lib2to3/pgen2",
    "idlelib/idle_test",
    "msilib",
    "test",
    "turtledemo",
    "_sysconfigdata",
    "dist-packages",
    "__phello__",
)


class Document(NamedTuple):
    """One row of the corpus, without its number and split."""

    kind: str
    source: str
    title: str
    text: str


def pack(units: Iterable[str], joint: str) -> Iterator[str]:
    """Join consecutive units into texts of at most LONGEST characters, leaving none cut."""
    held: list[str] = []
    for unit in units:
        if held and sum(map(len, held)) + len(unit) > LONGEST:
            yield joint.join(held)
            held = []
        held.append(unit)
    if held:
        yield joint.join(held)


def scripture(root: Path) -> Iterator[Document]:
    """Chapters of the King James Bible, from the package's separately compressed blocks."""
    data = (root / "usr/lib/bible.data").read_bytes()
    borders = struct.unpack(">69I", data[92:368])
    blocks = (b"\x1f\x9d\x90" + data[a:b] for a, b in zip(borders, borders[1:], strict=False))
    plain = b"".join(
        subprocess.run(["gzip", "-dc"], input=block, capture_output=True, check=True).stdout
        for block in blocks
    ).decode("ascii")
    chapters: dict[tuple[str, str], list[str]] = {}
    for book, chapter, verse, text in re.findall(r"^(\w*?[a-zA-Z]+)(\d+):(\d+) (.+)$", plain, re.M):
        chapters.setdefault((book, chapter), []).append(f"{verse} {text}")
    names = dict(zip(dict.fromkeys(book for book, _ in chapters), BOOKS, strict=True))
    for (book, chapter), verses in chapters.items():
        title = f"{names[book].replace('_', ' ')} {chapter}"
        for text in pack([title, *verses], "\n"):
            yield Document("scripture", "King James Bible", title, text)


def novels(root: Path) -> Iterator[Document]:
    """Chapters of Jane Austen's six novels, from an R data file (zlib blocks of R strings)."""
    rest = (root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    for name in NOVELS:
        unpacker = zlib.decompressobj()
        block = unpacker.decompress(rest[4:])
        rest = unpacker.unused_data
        lines = []
        for mark in re.finditer(rb"\x00[\x00\x04\x08]\x00\x09", block):
            (length,) = struct.unpack_from(">I", block, mark.end())
            if length < 300:
                start = mark.end() + 4
                lines.append(block[start : start + length].decode("utf-8", "replace"))
        chapters = re.split(r"\n(?=chapter \w+)", "\n".join(lines), flags=re.I)
        for number, chapter in enumerate(chapters[1:], 1):
            paragraphs = (re.sub(r"\s+", " ", p).strip() for p in chapter.split("\n\n"))
            for text in pack([p for p in paragraphs if p], "\n\n"):
                yield Document("novel", "Jane Austen", f"{name}, chapter {number}", text)


def glossary(root: Path) -> Iterator[Document]:
    """WordNet's glosses, neighbours in its files (and so in meaning) kept together."""
    for file in ("noun", "verb", "adj", "adv"):
        entries = []
        for line in (root / f"usr/share/wordnet/data.{file}").read_text("utf-8").splitlines():
            head, bar, gloss = line.partition(" | ")
            if line.startswith("  ") or not bar or CRUDE.search(gloss):
                continue
            fields = head.split()
            lemmas = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            words = ", ".join(lemma.split("(")[0].replace("_", " ") for lemma in lemmas)
            entries.append(f"{words} ({WORD_CLASSES[fields[2]]}): {gloss.strip()}")
        for text in pack(entries, "\n"):
            lines = text.split("\n")
            title = " to ".join(re.split(r", | \(", line)[0] for line in (lines[0], lines[-1]))
            yield Document("glossary", "WordNet 3.0", title, text)


def jargon(root: Path) -> Iterator[Document]:
    """The entries and essays of the Jargon File."""
    packed = (root / "usr/share/doc/jargon-text/jargon.txt.gz").read_bytes()
    plain = re.sub(r"^   ", "", gzip.decompress(packed).decode("utf-8", "replace"), flags=re.M)
    body = plain[plain.index("Hacker Slang and Hacker Culture", 4_000) :]
    entries = [e.strip() for e in re.split(r"\n\n(?=:[^:\n]+: )", body)]
    pieces = (p for e in entries if not CRUDE.search(e.lower()) for p in split_long(e))
    for text in pack(pieces, "\n\n"):
        text = re.sub(r"[ \t]+\n", "\n", text)
        yield Document("jargon", "Jargon File 4.4.7", text.split("\n")[0].strip()[:60], text)


def split_long(text: str) -> list[str]:
    """A text as it is, or its paragraphs where it is too long for one document."""
    return [text] if len(text) <= LONGEST else text.split("\n\n")


def code(root: Path) -> Iterator[Document]:
    """Parts of the standard library's modules; modules with an owner of their own are left out."""
    library = root / "usr/lib/python3.11"
    for path in sorted(library.rglob("*.py")):
        name = path.relative_to(library).as_posix()
        if path.is_symlink() or name.startswith(TABLES):
            continue
        text = path.read_text("utf-8", errors="replace")
        if OTHER_OWNER.search(text):
            continue
        blocks = re.split(r"\n[ \t]*\n(?=(?: {4})?\S)", text.expandtabs(4).strip())
        for number, part in enumerate(pack(blocks, "\n\n"), 1):
            yield Document("code", "Python 3.11", f"{name}, part {number}", part)


def without_repeats(documents: Iterable[Document]) -> Iterator[Document]:
    """Drop what is too short, too long, mostly not words, or largely said before."""
    seen: set[int] = set()
    for document in documents:
        text = document.text
        if not SHORTEST <= len(text) <= 2 * LONGEST or "\ufffd" in text:
            continue
        if sum(c.isalpha() or c in " \n" for c in text) < 0.7 * len(text):
            continue
        words = re.findall(r"\w+", text.lower())
        runs = (" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE))
        shingles = {zlib.crc32(run.encode()) for run in runs}
        if shingles and len(shingles & seen) / len(shingles) < REPEATED:
            seen |= shingles
            yield document


def balanced(documents: list[Document], draw: random.Random) -> list[Document]:
    """As many bytes of every kind, drawn at random, in one random order."""
    chosen = []
    draw.shuffle(documents)
    for kind in sorted({d.kind for d in documents}):
        size = 0
        for document in (d for d in documents if d.kind == kind):
            size += len(document.text.encode())
            if size > BYTES_PER_KIND:
                break
            chosen.append(document)
    draw.shuffle(chosen)
    return chosen


def write(documents: list[Document], path: Path) -> pa.Table:
    """Number the documents, hold out the last of them, write the file."""
    first_heldout = round(len(documents) * (1 - HELDOUT))
    columns = {name: [getattr(d, name) for d in documents] for name in Document._fields}
    table = pa.table(
        {
            "document": pa.array(range(len(documents)), pa.int64()),
            **columns,
            "split": ["train" if i < first_heldout else "heldout" for i in range(len(documents))],
        }
    )
    pq.write_table(table, path, compression="zstd", compression_level=19)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="Build corpus.parquet from Debian packages.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where they are unpacked")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "corpus.parquet")
    options = parser.parse_args()
    readers = (scripture, novels, glossary, jargon, code)
    unique = list(without_repeats(d for read in readers for d in read(options.root)))
    table = write(balanced(unique, random.Random(SEED)), options.out)
    for group in table.group_by(["kind", "split"]).aggregate([("text", "count")]).to_pylist():
        print(group)
    total = sum(len(t.as_py().encode()) for t in table["text"])
    print(f"{table.num_rows} documents, {total / 1e6:.2f} MB of text -> {options.out.name}")


if __name__ == "__main__":
    main()
