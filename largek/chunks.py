"""What is sampled in one go, and what comes back: what `largek.sample` and the engines share.

A chunk is some problems of one task times some sample indices, with a seed of its own that follows from what it holds.
"""

from collections.abc import Iterator
from typing import NamedTuple

from largek.common import derive_seed
from largek.problems import Problem, prompt_of

CHUNK = 32  # samples of one problem in a chunk at first, and always for engines that batch by themselves


class Chunk(NamedTuple):
    """What is sampled in one go: a prompt for every problem, and the sample indices wanted of each."""

    rows: list[Problem]
    indices: list[list[int]]
    seed: int


class Answer(NamedTuple):
    """One answer; see the columns of `largek.store.SCHEMA`."""

    text: str
    tokens: int | None
    finish: str
    entropy: float | None = None
    logprob: float | None = None


def plan(
    rows: list[Problem], wanted: range, size: int | None, seed: int, name: str, present: set = frozenset()
) -> list[Chunk]:
    """The chunks that are missing. Which problems and indices make a chunk depends on the task's problems, on `wanted`
    and on `size`, the answers a chunk may hold (None: one problem a chunk), and not on what is `present`."""
    chunks = []
    for task in dict.fromkeys(row["task"] for row in rows):
        # like lengths together, so that little is padded
        ordered = [row for row in rows if row["task"] == task]
        ordered.sort(key=lambda row: (len(prompt_of(row).split()), len(prompt_of(row)), row["id"]))
        for cell in cells(wanted, size or CHUNK):
            per_chunk = max(1, size // len(cell)) if size else 1
            for start in range(0, len(ordered), per_chunk):
                group = ordered[start : start + per_chunk]
                missing = [[i for i in cell if (row["id"], i) not in present] for row in group]
                units = [(row, indices) for row, indices in zip(group, missing) if indices]
                if units:
                    ids = [f"{row['id']}:{indices[0]}-{indices[-1]}" for row, indices in units]
                    chunks.append(Chunk(*map(list, zip(*units)), derive_seed(seed, name, *ids)))
    return chunks


def cells(wanted: range, most: int) -> Iterator[list[int]]:
    """The sample indices that are drawn together: 0 to 31, 32 to 63, 64 to 127, 128 to 255 and so on, `most` at once.

    Answers to one prompt share their beginnings, so it pays to draw many in one go; and a store that has grown from 64
    to 256 samples holds the same records as one that was asked for 256, since the grid does not depend on `wanted`.
    """
    start, size = 0, CHUNK
    while start < wanted.stop:
        for first in range(start, start + size, most):
            cell = [index for index in range(first, min(first + most, start + size)) if index in wanted]
            if cell:
                yield cell
        start += size
        size = start
