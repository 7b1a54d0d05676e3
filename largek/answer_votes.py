"""Texts that are the same for answers that say the same, so that votes for them count together."""

from collections.abc import Callable

from largek.answer_compare import is_name, simple, value_of
from largek.answer_kinds import (
    Based,
    Choice,
    Clock,
    Counted,
    Expression,
    Marked,
    Matrix,
    Modular,
    Quantity,
    Relation,
    Several,
    Text,
    Union,
)
from largek.answer_numbers import Number


def spelling(value: tuple, normal: Callable[[Expression], str | None]) -> str | None:
    """What `canonical` says of an answer that was read; `normal` spells expressions, and None is None for all."""
    value = simple(value)
    if isinstance(value, Number):
        return str(value.value / 100 if value.percent and 0 < abs(value.value) <= 1 else value.value)
    if isinstance(value, Expression):
        return value.latex.replace(" ", "") if value.opaque else normal(value)
    if isinstance(value, Quantity):
        return spelling(value.value, normal)
    if isinstance(value, Text):
        return value.words
    if isinstance(value, Choice):
        return value.letter.lower()
    if isinstance(value, Clock):
        return ":".join(map(str, value.parts)) + value.half
    if isinstance(value, Marked):
        return f"{value.first}'{value.second}''"
    if isinstance(value, Counted):
        return spelling(value.count, normal)
    if isinstance(value, Based):
        return f"{'-' * value.negative}{value.digits}_{value.base}"
    if isinstance(value, Relation):
        if set(value.signs) <= {"=", "\\approx"} and is_name(value.sides[0]):
            return spelling(value.sides[-1], normal)
        sides = [spelling(side, normal) for side in value.sides]
        return None if None in sides else "".join(map("".join, zip(sides, [*value.signs, ""])))
    if isinstance(value, Modular):
        return None if (inner := spelling(value.value, normal)) is None else f"{inner} mod {value.modulus}"
    if isinstance(value, Matrix):
        rows = [[spelling(cell, normal) for cell in row] for row in value.rows]
        return None if any(None in row for row in rows) else str(rows)
    items = value.items
    if isinstance(value, Several) and not value.opening:
        items = tuple(map(value_of, items))
    parts = [spelling(item, normal) for item in items]
    if None in parts:
        return None
    if isinstance(value, Union):
        return " u ".join(sorted(parts))
    if value.opening in ("", "\\{"):
        return f"{{{', '.join(sorted(parts))}}}"
    return f"{value.opening}{', '.join(parts)}{value.closing}"
