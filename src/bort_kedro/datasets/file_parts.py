"""Large text files cut into parts at ends of documents, so that a part is read without what stands before it."""

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

# A part has about so many bytes: small enough that to read one again costs a second, and that a corpus has many.
PART_BYTES = 2**26

_LINE = rb"(?>\r\n|\r|\n)"
# Where documents end, in bytes and with the line ends as they are written; a boundary goes on as far as it can.
JSON_LINE_END = re.compile(_LINE + rb"+")
WIKI_END = re.compile(rb"</doc>\s*")
BOUNDARY_BYTES = {
    "file": None,
    "section": re.compile(_LINE + rb"[ \t]*" + _LINE + rb"[ \t]*" + _LINE + rb"\s*"),
    "paragraph": re.compile(_LINE + rb"[ \t]*" + _LINE + rb"\s*"),
    "line": re.compile(_LINE + rb"+"),
}
_NO_SPACE = re.compile(rb"\S")


@dataclass(frozen=True)
class FilePart:
    """Bytes of a file that hold whole documents.

    Args:
        stop: The byte after the last; None for the end of the file.
    """

    path: Path
    start: int = 0
    stop: int | None = None


def cut(path: Path, boundary: re.Pattern[bytes] | None) -> list[FilePart]:
    """Parts of about `PART_BYTES` that together are the file, not compressed; one where it is small or has no boundary.

    A boundary stands between two documents, or ends one, white space after it included.

    Raises:
        OSError: If the file cannot be read.
    """
    size = path.stat().st_size
    if boundary is None or size < 2 * PART_BYTES:
        return [FilePart(path)]
    starts = [0]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while starts[-1] + 2 * PART_BYTES <= size:
            # Not inside white space, which may be the rest of a longer boundary.
            text = _NO_SPACE.search(content, starts[-1] + PART_BYTES)
            end = boundary.search(content, text.start()) if text else None
            if end is None or end.end() >= size:
                break
            starts.append(end.end())
    return [FilePart(path, start, stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]
