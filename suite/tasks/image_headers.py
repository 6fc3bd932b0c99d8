"""Whether files are images, by their headers: on all cores, and once for the same files.

No torch here: other processes import this file alone.
"""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from suite.errors import EnvironmentProblem
from suite.files import write_text
from suite.tasks.spread import spread

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""What a file may be, whatever its ending. PIL hands some others to outside programs."""

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What PIL raises for a file that is no image, is damaged, or would fill the memory."""

DEEP = ("I", "F")
"""First letters of PIL's modes of more than eight bits, which it cuts off at 255."""

LONGEST = 1000
"""Times its short side that an image may be long: a line of 65,000 pixels, its short side brought
to 256, fills the memory."""

ALONE = 4000
"""Files that one process looks at sooner than others could start."""

BLOCK = 1000


def opened(path: str) -> Image.Image:
    """The image, its header read; raises EnvironmentProblem if it is none."""
    try:
        with warnings.catch_warnings():
            # PIL warns from half of what it refuses on.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            found = Image.open(path, formats=FORMATS)
    except DAMAGE as problem:
        raise undecodable(path, problem) from problem
    fault = _fault(found)
    if fault:
        found.close()
        raise EnvironmentProblem(f"The image {path} {fault}.")
    return found


def _fault(image: Image.Image) -> str:
    """Why an image that can be read is of no use, and what to do; "" if it is."""
    if image.mode.startswith(DEEP):
        return (
            f"has pixels of more than eight bits (PIL's mode {image.mode}), which would be cut "
            "off; convert it to eight bits a channel"
        )
    if max(image.size) > LONGEST * min(image.size):
        return f"has {image.width} x {image.height} pixels, which is no picture; remove it"
    return ""


def undecodable(path: str, problem: BaseException) -> EnvironmentProblem:
    said = " ".join(str(problem).split())[:200] or type(problem).__name__
    return EnvironmentProblem(f"The image {path} does not decode ({said}); replace or remove it.")


def check(files: Sequence[str], stamp: str, kept: Path | None) -> None:
    """Raise EnvironmentProblem with the first of `files` that is no image, and how many are not.

    stamp: names these files unchanged; kept: folder with the stamps of files that were images.
    """
    seen = kept / stamp if kept else None
    if seen and seen.is_file():
        return
    wrong = [said for found in _looked_at(files) for said in found]
    if wrong:
        more = f" ({len(wrong)} of {len(files)} files are wrong)" if len(wrong) > 1 else ""
        raise EnvironmentProblem(wrong[0].removesuffix(".") + f"{more}.")
    if seen:
        # A folder that cannot be written costs the next run this check, not its number.
        with contextlib.suppress(EnvironmentProblem):
            write_text(seen, f"{len(files)} images\n")


def _looked_at(files: Sequence[str]) -> Iterator[list[str]]:
    size = BLOCK if len(files) > ALONE else len(files)
    yield from spread(_wrong, [files[i : i + size] for i in range(0, len(files), size)])


def _wrong(files: Sequence[str]) -> list[str]:
    """What is wrong with those of `files` that are no images."""
    found = []
    for path in files:
        try:
            opened(path).close()
        except EnvironmentProblem as problem:
            found.append(str(problem))
    return found
