"""Build the text that the coders of SmolLM2-135M are trained on, from the demo's corpus and Debian packages.

    python -m deployments.demo.training_corpus --packages                # what apt-get is to download
    apt-get download $(python -m deployments.demo.training_corpus --packages)
    for package in *.deb; do dpkg -x "$package" unpacked; done
    python -m deployments.demo.training_corpus --root unpacked --out corpus.parquet

Seventeen kinds of prose, documentation and program code: the demo's five, out of its corpus.parquet, and those of
`SOURCES`. As many bytes of each kind are drawn at random; a document that repeats earlier ones is dropped. What the
demo's corpus holds out is held out here too, and 5 % of the other documents. The same packages give the same texts; the
SHA-256 of those that the shipped coders are made from is in metrics.json. The texts are not shipped; where they come
from, and under which licences: training_corpus.LICENCES.md.
"""

import argparse
import gzip
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from deployments.demo.corpus import CRUDE, HELDOUT, SEED, Document, pack, split_long, without_repeats
from deployments.demo.markup import plain_html, plain_manual

DEMO = Path(__file__).with_name("corpus.parquet")
BYTES_PER_KIND = 900_000
TRIED = 1.6
"""Bytes looked at, as a multiple of those wanted: some documents are repeats, or mostly numbers."""


class Source(NamedTuple):
    """Where a kind's text lies."""

    kind: str
    package: str
    version: str
    pattern: str
    """Files below the root."""
    cut: str
    """Expression at whose matches a file is cut into pieces, to be packed into documents."""
    plain: Callable[[str], str] = str.strip
    """A file's text without its markup."""


PARAGRAPH = r"\n[ \t]*\n"
TOP_LEVEL = r"\n[ \t]*\n(?=\S)"

SOURCES = (
    Source("dictionary", "dict-gcide", "0.48.5+nmu2", "usr/share/dictd/gcide.dict.dz", TOP_LEVEL),
    Source("computing", "dict-foldoc", "20230119-1", "usr/share/dictd/foldoc.dict.dz", r"\n\n(?=\S)"),
    Source("essay", "anarchism", "15.3-3", "usr/share/doc/anarchism/markdown/*.md.gz", PARAGRAPH),
    Source(
        "handbook",
        "debian-handbook",
        "11.20220922",
        "usr/share/doc/debian-handbook/html/en-US/*.html",
        PARAGRAPH,
        plain_html,
    ),
    Source("manual", "manpages-dev", "6.03-2", "usr/share/man/man[23]/*.[23].gz", PARAGRAPH, plain_manual),
    Source("git", "git-doc", "1:2.39.5-0+deb12u3", "usr/share/doc/git-doc/*.txt", PARAGRAPH),
    Source("perl", "perl-doc", "5.36.0-7+deb12u4", "usr/share/perl/5.36.0/pod/*.pod", PARAGRAPH),
    Source(
        "database",
        "postgresql-doc-15",
        "15.20-0+deb12u1",
        "usr/share/doc/postgresql-doc-15/html/*.html",
        PARAGRAPH,
        plain_html,
    ),
    Source(
        "kernel",
        "linux-doc-6.1",
        "6.1.192-3",
        "usr/share/doc/linux-doc-6.1/Documentation/**/*.rst.gz",
        PARAGRAPH,
    ),
    Source(
        "python",
        "python3.11-doc",
        "3.11.2-6+deb12u9",
        "usr/share/doc/python3.11/html/_sources/**/*.rst.txt",
        PARAGRAPH,
    ),
    Source("go", "golang-1.19-src", "1.19.8-2", "usr/share/go-1.19/src/**/*.go", TOP_LEVEL),
    Source("rust", "rust-src", "1.63.0+dfsg1-2", "usr/src/rustc-1.63.0/library/**/*.rs", TOP_LEVEL),
)


def read_file(path: Path) -> str:
    """The text of a file, packed or not, with spaces for tabs."""
    data = path.read_bytes()
    if path.suffix in {".gz", ".dz"}:
        data = gzip.decompress(data)
    return data.decode("utf-8", "replace").expandtabs(4)


def documents(source: Source, root: Path) -> Iterator[Document]:
    """A source's files in random order, cut into documents; of one long file, pieces in random order."""
    draw = random.Random(f"{SEED} {source.kind}")  # noqa: S311  (a seeded order)
    files = sorted(path for path in root.glob(source.pattern) if path.is_file() and not path.is_symlink())
    if not files:
        msg = f"no {source.pattern} below {root}: unpack {source.package} {source.version} there"
        raise SystemExit(msg)
    draw.shuffle(files)
    for file in files:
        pieces = re.split(source.cut, source.plain(read_file(file)))
        fitting = (
            piece for whole in pieces for piece in split_long(whole) if not CRUDE.search(piece.lower())
        )
        parts = list(pack(fitting, "\n\n"))
        if len(files) == 1:
            draw.shuffle(parts)
        for number, text in enumerate(parts, 1):
            name = file.name.removesuffix(".gz")
            yield Document(source.kind, f"{source.package} {source.version}", f"{name}, part {number}", text)


def first_bytes(all_documents: Iterable[Document], most: float) -> Iterator[Document]:
    """The first documents, up to so many bytes."""
    size = 0
    for document in all_documents:
        size += len(document.text.encode())
        if size > most:
            return
        yield document


def demo_documents(split: str) -> list[Document]:
    """The documents of a split of the demo's corpus."""
    table = pq.read_table(DEMO, columns=[*Document._fields], filters=[("split", "=", split)])
    return [Document(**row) for row in table.to_pylist()]


def build(root: Path) -> pa.Table:
    """The corpus: the train split in a random order, then the held-out one."""
    demo = {split: demo_documents(split) for split in ("heldout", "train")}
    tried = (first_bytes(documents(source, root), TRIED * BYTES_PER_KIND) for source in SOURCES)
    unique = list(without_repeats(chain(demo["heldout"], demo["train"], *tried)))
    heldout = set(demo["heldout"])
    kinds = dict.fromkeys(document.kind for document in unique)
    drawn = [
        document
        for kind in kinds
        for document in first_bytes(
            (d for d in unique if d.kind == kind and d not in heldout), BYTES_PER_KIND
        )
    ]
    random.Random(SEED).shuffle(drawn)  # noqa: S311  (a seeded order)
    ours = {source.kind for source in SOURCES}
    new = [document for document in drawn if document.kind in ours]
    heldout |= set(new[: round(HELDOUT * len(new))])
    train = [document for document in drawn if document not in heldout]
    rest = [document for document in unique if document in heldout]
    columns = {name: [getattr(d, name) for d in (*train, *rest)] for name in Document._fields}
    return pa.table(
        {
            "document": pa.array(range(len(train) + len(rest)), pa.int64()),
            **columns,
            "split": ["train"] * len(train) + ["heldout"] * len(rest),
        }
    )


def read(path: Path) -> pa.Table:
    """The corpus in a file that this script wrote."""
    return pq.read_table(path)


def texts(table: pa.Table, split: str) -> list[str]:
    """The texts of a split, in their order."""
    rows = table.select(["split", "text"]).to_pylist()
    return [row["text"] for row in rows if row["split"] == split]


def demo_texts() -> list[str]:
    """The texts of the demo's corpus, of either split, in their order."""
    return pq.read_table(DEMO, columns=["text"])["text"].to_pylist()


def describe(table: pa.Table) -> dict[str, object]:
    """Sizes of the corpus, and the SHA-256 of its splits and texts in order."""
    digest, size = hashlib.sha256(), 0
    for row in table.select(["split", "text"]).to_pylist():
        size += len(row["text"].encode())
        digest.update(f"{row['split']}\0{row['text']}\0".encode())
    return {
        "documents": table.num_rows,
        "heldout_documents": len(texts(table, "heldout")),
        "kinds": len(set(table["kind"].to_pylist())),
        "bytes": size,
        "sha256": digest.hexdigest(),
    }


def main() -> None:
    """Build the corpus, or name the packages that it is made of."""
    parser = argparse.ArgumentParser(description="Build the training text from Debian packages.")
    parser.add_argument("--packages", action="store_true", help="print the packages and their versions")
    parser.add_argument("--root", type=Path, help="where they are unpacked")
    parser.add_argument("--out", type=Path, help="the Parquet file to write")
    options = parser.parse_args()
    if options.packages:
        print(" ".join(f"{source.package}={source.version}" for source in SOURCES))
        return
    table = build(options.root)
    pq.write_table(table, options.out, compression="zstd")
    groups = table.group_by(["kind", "split"]).aggregate([("text", "count")]).sort_by("kind")
    for group in groups.to_pylist():
        print(group)
    print(json.dumps(describe(table)))


if __name__ == "__main__":
    main()
