"""Whether files of a lake hold what was written: each read whole, against its checksum or page by page."""

from storage import part
from storage.errors import Damaged, RunFailed
from storage.lake import Lake
from storage.manifest import File


def check(lake: Lake, path: str, size: int | None, committed: File | None = None) -> int:
    """Read a part of `size` bytes whole, block by block, and return its rows; null is the size of one that is gone.

    By the checksum with which it was committed, or else by the one that it carries; page by page where it has none.
    Raises `Damaged` with what is wrong with it, `RunFailed` where the place does not let it be read.
    """
    if size is None:
        raise Damaged(path, "it is gone")
    if committed is not None and size != committed.bytes:
        raise Damaged(path, f"it has {size:,} of {committed.bytes:,} bytes")
    try:
        return _rows(lake, path, size, committed.crc32 if committed else None)
    except part.BadPart as bad:
        raise Damaged(path, str(bad)) from bad
    except FileNotFoundError:
        raise Damaged(path, "it is gone") from None
    except OSError as error:
        if lake.is_local and not isinstance(error, PermissionError):  # as a broken disk says
            raise Damaged(path, f"it cannot be read ({error.strerror or error})") from error
        msg = f"{lake.path(path)} cannot be read ({' '.join(str(error).split())}); try again"
        raise RunFailed(msg) from error


def _rows(lake: Lake, path: str, size: int, expected: str | None) -> int:
    read = lake.reader(path)
    footer = part.read_footer(read, size)
    expected = expected or footer.crc32
    if expected is None:
        return part.decode(read(0, size))
    found = part.checksum(read, size)
    if found != expected:
        msg = f"its checksum is {found} and should be {expected}"
        raise part.BadPart(msg)
    return footer.rows
