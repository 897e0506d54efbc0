"""Check of a part of a lake: it is read completely, against its checksum or page by page."""

from storage import part
from storage.errors import Damaged, RunFailed
from storage.lake import Lake
from storage.manifest import File


def check_part(lake: Lake, path: str, size: int | None, committed: File | None = None) -> int:
    """Read a part of `size` bytes completely, block by block, and return its rows; `size` is None if it is missing.

    It is compared with its committed checksum, or else the one in its footer; without either, its pages are decoded.
    Raises `Damaged` with the kind of damage, `RunFailed` where the lake refuses to read it.
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
        if lake.is_local and not isinstance(error, PermissionError):  # for example a broken disk
            raise Damaged(path, f"it cannot be read ({error.strerror or error})") from error
        msg = f"{lake.path(path)} cannot be read ({' '.join(str(error).split())}); try again"
        raise RunFailed(msg) from error


def _rows(lake: Lake, path: str, size: int, expected: str | None) -> int:
    read = lake.reader(path)
    footer = part.read_footer(read, size)
    expected = expected or footer.crc32
    if expected is None:
        return part.decode(read(0, size))
    actual = part.checksum(read, size)
    if actual != expected:
        msg = f"its checksum is {actual} and should be {expected}"
        raise part.BadPart(msg)
    return footer.rows
