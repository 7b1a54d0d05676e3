"""SFT mixes: how each takes examples from the pool.

A mix is one function and its name in MIXES. It gets the pool in a random order and gives it back in the order in which
it takes from it, so that ties are in random order. The sheet of runs may then name the mix, and it has a place in every
table and figure; kinds.py may give it a label and colours of its own.
"""


def length(row: dict) -> int:
    """Tokens of the whole example; in the lab, where no one has counted them, one word is one token."""
    return row.get("tokens") or len(row["problem"].split()) + len(row["solution"].split())


def random_draw(rows: list[dict], family: str) -> list[dict]:
    return rows


def shortest(rows: list[dict], family: str) -> list[dict]:
    return sorted(rows, key=length)


def longest(rows: list[dict], family: str) -> list[dict]:
    return shortest(rows, family)[::-1]


def both_ends(rows: list[dict], family: str) -> list[dict]:
    """One from each end in turn."""
    rows = shortest(rows, family)
    return [row for pair in zip(rows, reversed(rows)) for row in pair][: len(rows)]


def one_family(rows: list[dict], family: str) -> list[dict]:
    """A random draw within one family of problems, the study's `homogeneous_family`."""
    return [row for row in rows if row["family"] == family]


MIXES = {
    "random": random_draw,
    "simple": shortest,
    "longest": longest,
    "mixed": both_ends,
    "homogeneous": one_family,
}
