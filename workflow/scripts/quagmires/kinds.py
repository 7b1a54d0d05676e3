"""Kinds of SFT data: what runs are grouped by in figures and tables, what each is called, and how it is drawn.

A kind is a mix of mixes.py, or what a run is besides: without SFT, random data seen again and again, an average, a
checkpoint made elsewhere. Colours differ in grey, too, and to the colour-blind; markers differ as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle

from quagmires.mixes import MIXES

MANY = 8  # epochs from which one set counts as repeated


@dataclass(frozen=True)
class Kind:
    label: str  # in legends
    color: str = "#a0a0a0"
    marker: str = "8"
    size: float = 6  # of the marker
    dashes: str | tuple = "-"  # of its lines, where several kinds cross
    text: str = ""  # in a sentence


class Kinds(dict):
    """Kinds by name, in the order of legends; one that is in no list, as in tables made elsewhere, is drawn in grey."""

    def __missing__(self, name: str) -> Kind:
        return Kind(name)


KINDS = Kinds(
    {
        "base": Kind("base model, no SFT", "#000000", "*", 11),
        "random": Kind("random, once", "#767676", "o", 5),
        "simple": Kind("simple", "#bb3e06", "v", dashes="--", text="simple data"),
        "repeated": Kind(
            f"repeated: one set, {MANY} epochs or more", "#0d3a8c", "s", dashes="-.", text="many epochs over one set"
        ),
        "homogeneous": Kind("homogeneous", "#e69f00", "D", dashes=":", text="homogeneous data"),
        "longest": Kind("longest", "#0f9d76", "^", dashes=(0, (5, 1))),
        "mixed": Kind("mixed", "#d88cb8", "P", 7.5, dashes=(0, (1, 1))),
        "a few epochs": Kind(f"one random set, 2 to {MANY - 1} epochs", "#7cc4ea", "X", 7.5, dashes=(0, (3, 1, 1, 1))),
        "average": Kind("average with the base", "#7d3a85", "h", dashes="--"),
        "own checkpoint": Kind("own checkpoint", "#3d2b1f", "p", dashes="-."),
    }
)
# Mixes that are new in mixes.py take these looks in turn.
SPARE = zip(cycle(("#5b8c2a", "#c2185b", "#00838f", "#8d6e63", "#5e35b1")), cycle("<>8Hd"))
KINDS.update({mix: Kind(mix, *look) for mix, look in zip((mix for mix in MIXES if mix not in KINDS), SPARE)})
NOT_TREATED = ("base", "random")  # the reference curve goes through these
JUDGED = ("simple", "repeated", "homogeneous")  # a hypothesis is about each of these


def kind_of(run: str, mix: str, epochs: float) -> str:
    """The kind of a run: its mix, of random data by how often they were seen."""
    if run == "base":
        return "base"
    if mix == "random" and epochs > 1:
        return "repeated" if epochs >= MANY else "a few epochs"
    return mix


def in_order(kinds: Iterable[str]) -> list[str]:
    """The kinds that there are, in the order of legends; those that are in no list come last."""
    there = set(kinds)
    return [kind for kind in KINDS if kind in there] + sorted(there - KINDS.keys())
