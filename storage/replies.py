"""Replies of readers by request, stored so that the same request is never paid for twice.

replies/<reader>/<first>-<end>-<when>.parquet     replies to requests about features [first, end)

`<reader>` is a hash of all that decides a reader's replies. Runs and steps are not part of the path, so every run finds
the replies. Files are written atomically and never changed; the many small files of a bucket, each with the replies of
a moment, are merged at its end. Any number of processes may write: where two files hold a reply to the same request,
the earlier reply counts.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from secrets import token_hex
from typing import TypeVar

import duckdb
import pyarrow as pa

from storage import query
from storage.errors import Damaged, RunFailed
from storage.integrity import check_part
from storage.lake import Lake
from storage.layout import Range
from storage.table import Table, column

REPLIES = Table(
    "replies",
    "one row per reply of a reader to a request",
    pa.schema(
        [
            column("request", pa.string(), "Hash of the reader and of all that it saw."),
            column("feature", pa.int32(), "Feature that the request is about."),
            column(
                "run", pa.string(), "Run that paid for it.", null="it was kept before runs were told apart"
            ),
            column("asked_by", pa.string(), "Step and key of the request that was paid for."),
            column(
                "reply", pa.binary(), "The reply, as `tasks/llm/reply_cache.py` writes it.", null="it failed"
            ),
            column("reason", pa.string(), "Why it failed.", null="it did not fail"),
            column("endpoint", pa.string(), "URL that answered."),
            column("model", pa.string(), "Model that answered."),
            column("attempts", pa.int32(), "How often it was sent."),
            column(
                "cost",
                pa.float64(),
                "What it cost at the time.",
                null="it failed, or nobody said what it costs",
            ),
            column("latency", pa.float64(), "From the first attempt to the end of the last.", "seconds"),
            column("structured", pa.string(), "How it was held to a form.", null="no form was asked for"),
            column("too_long", pa.bool_(), "It failed since it does not fit into the model's context."),
            column("answered", pa.int64(), "When it came.", "nanoseconds since 1970"),
        ]
    ),
    keys=("request",),
    order=("feature",),
)
"""No table of a run: only stages that are about to send requests read it."""

LOG = logging.getLogger(__name__)

_NAME = re.compile(r"[0-9]{10,}-[0-9]{10,}-[0-9a-f]{24,}\.parquet")
"""Names of files of replies; other files in the folder are left alone."""

_FEW = 8
"""Files of a range that may remain unmerged."""
_ATTEMPTS = 5
"""Attempts to read files while another process merges some of them."""

_Result = TypeVar("_Result")


class ReplyStore:
    """Replies to requests about the features of one range."""

    def __init__(
        self, lake: Lake, reader: str, part: Range, tell: Callable[[str], None] = LOG.warning
    ) -> None:
        """Reaches nothing. `reader` is the text that decides the replies; `tell` gets a line on each damaged file."""
        self._lake, self._part, self._tell = lake, part, tell
        self._folder = folder(reader)
        self._own: list[str] = []

    def read(self) -> list[dict[str, object]]:
        """All rows about the range's features, one per request. Damaged files are renamed and left out.

        Raises `RunFailed` when the others cannot be read.
        """

        def files() -> list[str]:
            return [file for file in _files(self._lake, self._folder) if self._overlaps(file)]

        return _read_retrying(self._lake, self._folder, files, self._rows, self._tell).to_pylist()

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Write rows; they are stored durably when this returns."""
        self._write(REPLIES.rows([dict(row) for row in rows]))

    def merge(self) -> None:
        """Merge the files that this store wrote, or all files of its range where there are many, into one."""
        inside = [file for file in _files(self._lake, self._folder) if self._inside(file)]
        own = [file for file in inside if file in set(self._own)]
        files = inside if len(inside) - len(own) > _FEW else own
        if len(files) < 2:
            return
        try:
            rows = self._rows(files, every=True)
        except duckdb.Error:  # another process is merging them at this moment
            return
        self._write(rows)
        for file in files:
            self._lake.remove(file)

    def _rows(self, files: Sequence[str], *, every: bool = False) -> pa.Table:
        """Rows of some files about the range's features: one per request, or with `every` all that were paid for."""
        if not files:
            return REPLIES.empty()
        with self._lake.connect(threads=1) as connection:
            return query.rows(
                connection,
                "replies",
                REPLIES,
                replies=[self._lake.path(file) for file in files],
                first=self._part.first,
                end=self._part.end,
                every=every,
            )

    def _write(self, rows: pa.Table) -> None:
        first, end = self._part
        name = f"{first:010d}-{end:010d}-{time.time_ns():016x}{token_hex(4)}.parquet"
        path = f"{self._folder}/{name}"
        self._lake.write(REPLIES, path, rows)
        self._own.append(path)

    def _overlaps(self, file: str) -> bool:
        first, end = _range(file)
        return first < self._part.end and self._part.first < end

    def _inside(self, file: str) -> bool:
        first, end = _range(file)
        return self._part.first <= first and end <= self._part.end


def folder(reader: str) -> str:
    """Folder of a reader's replies; `reader` is the text that decides them."""
    return f"replies/{sha256(reader.encode()).hexdigest()[:16]}"


def paid(lake: Lake, run: str, tell: Callable[[str], None] = LOG.warning) -> float:
    """Cost of all replies that a run paid for; `tell` is called with a line on each damaged file, which is left out.

    Raises `RunFailed` when the others cannot be read.
    """

    def cost(files: Sequence[str]) -> float:
        if not files:
            return 0.0
        with lake.connect() as connection:
            replies = [lake.path(file) for file in files]
            return float(str(query.records(connection, "replies_paid", replies=replies, run=run)[0]["paid"]))

    return _read_retrying(lake, REPLIES.name, lambda: _files(lake, REPLIES.name), cost, tell)


def files(lake: Lake) -> dict[str, int]:
    """All files of replies with their sizes in bytes."""
    sizes = lake.files(REPLIES.name)
    return {file: size for file, size in sizes.items() if _is_reply(file)}


def _files(lake: Lake, folder: str) -> list[str]:
    return [file for file in lake.files(folder) if _is_reply(file)]


def _is_reply(file: str) -> bool:
    return _NAME.fullmatch(file.rsplit("/", 1)[-1]) is not None


def _read_retrying(
    lake: Lake,
    folder: str,
    files: Callable[[], list[str]],
    read: Callable[[list[str]], _Result],
    tell: Callable[[str], None],
) -> _Result:
    """Read files; list and read them again if another process has just merged some, or some were damaged."""
    reason = ""
    for _ in range(_ATTEMPTS):
        listed = files()
        try:
            return read(listed)
        except duckdb.Error as error:
            reason = " ".join(str(error).split())
            if all(lake.exists(file) for file in listed) and not _quarantine(lake, listed, tell):
                break
    msg = f"cached replies in {lake.uri}/{folder} cannot be read ({reason}); remove the file and run again"
    raise RunFailed(msg)


def _quarantine(lake: Lake, files: Sequence[str], tell: Callable[[str], None]) -> int:
    """Rename damaged files, so that they are not read any more; returns how many."""
    count = 0
    sizes = lake.files(REPLIES.name)
    for file in files:
        try:
            if file in sizes:
                check_part(lake, file, sizes[file])
        except Damaged as damaged:
            tell(f"{damaged}; it is now {lake.quarantine(file)}, and its requests are sent again")
            count += 1
    return count


def _range(file: str) -> tuple[int, int]:
    first, end, _ = file.rsplit("/", 1)[-1].split("-")
    return int(first), int(end)
