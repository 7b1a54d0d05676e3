"""Checksums of a store's files, in its checksums.log. In goes a line for each content that a file is given,

    CRC-32 of the rest of the line, CRC-32 of the content, path of the file in the store

before the file takes its name; out comes whether a file has one of the contents that were written. A file without a
line is taken as it is: it is older than these lines, or somebody has taken them out. A broken line is none.
"""

import contextlib
import shlex
import zlib
from collections.abc import Iterator
from pathlib import Path

from largek.common import whole_file

LOG = "checksums.log"
Known = dict[str, set[int]]  # checksums by the path of the file in the store


def sealed(content: bytes) -> bytes:
    """A line of a log with its checksum."""
    return b"%08x %s\n" % (zlib.crc32(content), content)


def unsealed(line: bytes) -> bytes:
    """What stands in a line of `sealed`, given without its end. Raises ValueError if it is not as it was written."""
    checksum, _, content = line.partition(b" ")
    if int(checksum, 16) != zlib.crc32(content):
        raise ValueError("another checksum")
    return content


@contextlib.contextmanager
def listed_file(folder: Path, name: str) -> Iterator[Path]:
    """`whole_file` for the file `name` of a store, with a line for what it then holds."""
    with whole_file(folder / name) as temporary:
        yield temporary
        line = b"%08x %s" % (zlib.crc32(temporary.read_bytes()), name.encode())
        with (folder / LOG).open("ab", buffering=0) as log:  # in one call: `largek grade` writes beside `largek sample`
            log.write(b"\n" + sealed(line))  # what a kill has left of a line ends before this one


def read_log(folder: Path) -> Known:
    """The checksums of a store. A file must have been listed or read before, so that it cannot be newer than them."""
    known: Known = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / LOG).read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):
                content, _, name = unsealed(line).decode().partition(" ")
                known.setdefault(name, set()).add(int(content, 16))
    return known


def as_written(known: Known, name: str, content: bytes) -> bool:
    """Whether a file holds what largek has written into it, as far as one can know."""
    return name not in known or zlib.crc32(content) in known[name]


def pardon(path: Path) -> str:
    """How to say that a file of the upper level of a store was changed on purpose."""
    return f"sed -i /{path.name}/d {shlex.quote(str(path.parent / LOG))}"
