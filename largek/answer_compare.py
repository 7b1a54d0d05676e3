"""Whether two answers, as `largek.answer_kinds` read them, say the same.

The right answer decides what is looked for: an answer with a unit, a percent sign, a name before `=` or the letter of a
choice is taken as a candidate for it. Verdicts are True, False, or None where only mathematics can tell; `same` asks
`leaf` about every pair of expressions, so that one function serves both sides: before a worker is asked, `leaf` is
`plainly`, and in the worker it is mathematics itself.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from math import comb, perm

from largek import answer_matrices
from largek.answer_kinds import (
    CHANGING,
    DENIED,
    INFINITE,
    MINUS_INFINITE,
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
    punctured,
    read,
)
from largek.answer_numbers import Number, in_words, numbers
from largek.answer_units import unit, words_of

Leaf = Callable[[tuple, tuple], bool | None]
MOST_ITEMS = 40  # of a set, whose items are compared each with each
NAME = re.compile(
    r"(?!\d)(?:\^ ?\{ ?-1 ?\}|\\(?:angle|triangle|overline|vec|hat|bar|text|[lr]?vert|det|Delta|theta|alpha"
    r"|beta|lambda|mu|sigma|phi|omega|pi)"
    r"|[A-Za-z]|[_'|{}() ,;:\d]|\\[{}|,]|\\degree)+"
)
CALCULUS = re.compile(
    r"\\(?:int|sum|lim|prod)(?![A-Za-z])"
    r"|\\frac ?\{ ?(?:d|\\partial) ?(?:\^ ?\{?\d\}? ?)?[A-Za-z]? ?\} ?\{ ?(?:d|\\partial) ?[a-z]"
)
SETS = Several | Expression
EMPTY = Expression(r"\emptyset")
LESS, MORE = ("<", "\\le"), (">", "\\ge")


def same(gold: tuple, answer: tuple, leaf: Leaf) -> bool | None:
    """Whether the answer says what the right one says; None where `leaf` could not tell."""
    if isinstance(gold, Relation) and isinstance(answer, Relation) and bounded_by_names(gold, answer):
        return relations(gold, answer, leaf)
    bounds = isinstance(gold, Relation), isinstance(answer, Relation)
    gold, answer = simple(gold), simple(answer)
    if isinstance(gold, Several | Union) and isinstance(answer, Relation):
        answer = simple(with_variable(answer))
    for bound, one, two in ((bounds[0], gold, answer), (bounds[1], answer, gold)):
        listed = isinstance(two, Several) and not two.opening
        if bound and listed and isinstance(one, Several) and one.opening in ("(", "["):  # 2 < x < 3 beside 2, 3
            return False
    if gold == answer and leaf(gold, answer) is not False:
        return True
    if isinstance(gold, Counted) or isinstance(answer, Counted):
        return counts(gold, answer, leaf)
    if isinstance(gold, Marked) or isinstance(answer, Marked):
        return marks(gold, answer)
    if isinstance(gold, Number) and isinstance(answer, Several) and (whole := with_part(answer)):
        return leaf(gold, whole)
    if isinstance(gold, Number) and isinstance(answer, Relation) and (worth := chosen(answer)) is not None:
        return leaf(gold, Number(worth))
    if isinstance(gold, Number) and isinstance(answer, Text):
        worth = counted_in_words(answer.words)
        return worth is not None and leaf(gold, Number(worth))
    if isinstance(answer, Choice) and not isinstance(gold, Choice):
        if isinstance(gold, Expression):
            return leaf(gold, Expression(answer.letter)) if answer.rest is None else same(gold, answer.rest, leaf)
        return False if answer.rest is None or isinstance(gold, Text) else same(gold, answer.rest, leaf)
    if isinstance(gold, Choice):
        if isinstance(answer, Expression | Text) and gold.letter == letters(answer).upper():
            return True
        if not isinstance(answer, Choice):
            return gold.rest is not None and same(gold.rest, answer, leaf)
        if gold.letter != answer.letter or None in (gold.rest, answer.rest):
            return gold.letter == answer.letter
        return same(gold.rest, answer.rest, leaf)
    if isinstance(gold, Quantity) or isinstance(answer, Quantity):
        return quantities(gold, answer, leaf)
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return relations(gold, answer, leaf)
    if isinstance(gold, Modular) or isinstance(answer, Modular):
        return residues(gold, answer, leaf)
    if isinstance(gold, Number | Expression) and isinstance(answer, Number | Expression):
        return leaf(gold, answer)
    gold, answer = in_coordinates(gold, answer), in_coordinates(answer, gold)
    if is_ratio_of(gold) or is_ratio_of(answer):
        return ratios(gold, answer, leaf)
    if letters_chosen(gold) and letters_chosen(gold) == letters_chosen(answer):
        return True
    if isinstance(gold, Several) and isinstance(answer, Several):
        for one, two in ((gold, answer), (answer, gold)):  # {(1,2)} is (1,2)
            if one.opening == "\\{" and len(one.items) == 1 and two.opening in ("(", "[") and one.items[0] != EMPTY:
                return same(one.items[0], answer, leaf) if one is gold else same(gold, one.items[0], leaf)
        return sequences(gold, answer, leaf)
    if (
        isinstance(gold, Union)
        and isinstance(answer, Several)
        and not answer.opening
        and all(map(is_set, answer.items))
    ):
        answer = Union(answer.items)
    if isinstance(gold, Union) and isinstance(answer, Union):
        return unordered(gold.items, answer.items, leaf) or leaf(gold, answer)
    if isinstance(gold, Union) or isinstance(answer, Union):
        return leaf(gold, answer) if isinstance(answer if isinstance(gold, Union) else gold, SETS) else False
    if isinstance(gold, Matrix) != isinstance(answer, Matrix):
        gold, answer = in_rows(gold, answer), in_rows(answer, gold)
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        if [len(row) for row in gold.rows] != [len(row) for row in answer.rows]:
            return False
        return every(same(*pair, leaf) for rows in zip(gold.rows, answer.rows) for pair in zip(*rows))
    if isinstance(gold, Matrix) or isinstance(answer, Matrix):
        return leaf(gold, answer) if isinstance(gold, Expression) or isinstance(answer, Expression) else False
    if isinstance(gold, Clock) or isinstance(answer, Clock):
        return clocks(gold, answer)
    if isinstance(gold, Based) or isinstance(answer, Based):
        return based(gold, answer)
    either = isinstance(gold, Several) and gold.joined == "or" and not isinstance(answer, Several)
    if either and every(same(gold.items[0], item, leaf) for item in gold.items[1:]):  # 3 1/2 or 7/2
        return same(gold.items[0], answer, leaf)
    for one, two in ((gold, answer), (answer, gold)):
        if one == EMPTY and isinstance(two, Several) and two.opening == "\\{":
            return not two.items
    if isinstance(gold, Several) and not isinstance(answer, Several):  # {5} is 5
        return same(gold.items[0], answer, leaf) if len(gold.items) == 1 else leaf_of_sets(gold, answer, leaf)
    if isinstance(answer, Several):
        if len({item.sides[0] for item in answer.items if isinstance(item, Relation)}) > 1:  # x = 5, y = 5
            return False
        if len(answer.items) == 1 or (answer.items and not answer.opening and not isinstance(gold, Expression)):
            return every(same(gold, item, leaf) for item in answer.items)
        return leaf_of_sets(gold, answer, leaf)
    if isinstance(gold, Text) and isinstance(answer, Text):
        words = [LETTER_OF.sub(r"\1", value.words) for value in (gold, answer)]
        return joined(words[0]) == joined(words[1]) or None is not which(words[0]) == which(words[1])
    if isinstance(gold, Text) or isinstance(answer, Text):
        return letters(gold) == letters(answer) != ""
    return False


def counts(gold: tuple, answer: tuple, leaf: Leaf) -> bool | None:
    """What says how many there are and which they are is right as either."""
    if isinstance(gold, Counted):
        return same(gold.items, answer.items if isinstance(answer, Counted) else answer, leaf)
    found = same(gold, answer.count, leaf)
    return same(gold, answer.items, leaf) if found is False else found


def marks(gold: tuple, answer: tuple) -> bool:
    """`5'6''` beside a quantity, which says whether they are feet and inches or minutes and seconds."""
    if isinstance(gold, Marked) and isinstance(answer, Marked):
        return gold == answer
    marked, other = (gold, answer) if isinstance(gold, Marked) else (answer, gold)
    known = unit(other.unit) if isinstance(other, Quantity) and isinstance(other.value, Number) else None
    if known is None or known[0] not in MARKS:
        return False
    worth, parts = MARKS[known[0]]
    return (marked.first + marked.second / parts) * worth == other.value.value * known[1]


# of what a quantity measures: what the first mark is worth, and how many of the second make it
MARKS = {
    unit("foot")[0]: (unit("foot")[1], 12),
    unit("min")[0]: (unit("min")[1], 60),
    unit("deg")[0]: (Fraction(1, 60), 60),
}


def with_part(value: Several) -> Number | None:
    """`2 and 3/4`, where one number is right."""
    if value.joined != "and" or value.opening or len(value.items) != 2:
        return None
    whole, part = value.items
    if not all(isinstance(item, Number) and not item.places and not item.percent for item in value.items):
        return None
    whole, part = whole.value, part.value
    return Number(whole + part) if whole.denominator == 1 and whole > 0 and 0 < part < 1 else None


def chosen(answer: Relation) -> Fraction | None:
    """`C(10,3)` and `P(10,3)`, which read like points, as the numbers of choices and arrangements."""
    name, *values = answer.sides
    row = values[0].items if len(values) == 1 and isinstance(values[0], Several) and values[0].opening == "(" else ()
    known = {Expression("C"): comb, Expression("P"): perm}.get(name)
    if known is None or len(row) != 2 or not all(isinstance(item, Number) and not item.percent for item in row):
        return None
    every_of, taken = (item.value for item in row)
    whole = every_of.denominator == taken.denominator == 1 and 0 <= taken <= every_of <= 200
    return Fraction(known(int(every_of), int(taken))) if whole else None


def counted_in_words(words: str) -> Fraction | None:
    """The number of `seven such integers`, where one number is right; None where a word makes it another one."""
    parts = words.split()
    if set(parts) & CHANGING or DENIED.search(words) or re.search(r"\d", words):
        return None
    size = next((size for size in (3, 2, 1) if size < len(parts) and in_words(" ".join(parts[:size]))), 0)
    counted = size and not any(in_words(part) is not None for part in parts[size:])
    return in_words(" ".join(parts[:size])) if counted else None


def residues(gold: tuple, answer: tuple, leaf: Leaf) -> bool | None:
    """The modulus may be left out where the right answer has it."""
    if not isinstance(gold, Modular):
        return False
    if isinstance(answer, Modular):
        values = gold.value, answer.value
        if gold.modulus != answer.modulus:
            return False
        if all(isinstance(value, Number) for value in values):
            return (values[0].value - values[1].value) % gold.modulus == 0
        return same(*values, leaf)
    if isinstance(answer, Expression) and (found := REMAINDER.fullmatch(answer.latex)):
        return residues(gold, Modular(read(found[1]), int(found[2])), leaf)
    return same(gold.value, answer, leaf)


REMAINDER = re.compile(r"(.*[^ ]) ?\\(?:bmod|mod) ?\{? ?(\d+) ?\}?")


def is_ratio_of(value: tuple) -> bool:
    return isinstance(value, Several) and value.opening == ":"


def ratios(gold: tuple, answer: tuple, leaf: Leaf) -> bool | None:
    """`1:\\sqrt{3}:2`, and what it is a multiple of; of two values also their fraction."""
    sides = [value_parts(value) for value in (gold, answer)]
    if None in sides:
        whole, other = (gold, answer) if is_ratio_of(gold) else (answer, gold)
        if len(whole.items) != 2 or not isinstance(other, Number | Expression):
            return False
        fraction = Expression(rf"\frac{{{latex(whole.items[0])}}}{{{latex(whole.items[1])}}}")
        return leaf(*((fraction, other) if whole is gold else (other, fraction)))
    one, two = sides
    if len(one) != len(two):
        return False
    crossed = [
        (rf"({latex(a)})\cdot({latex(two[0])})", rf"({latex(one[0])})\cdot({latex(b)})")
        for a, b in zip(one[1:], two[1:])
    ]
    return every(leaf(Expression(a), Expression(b)) for a, b in crossed)


def value_parts(value: tuple) -> tuple | None:
    """The parts of a ratio."""
    if isinstance(value, Clock) and not value.half:
        return tuple(Number(Fraction(part)) for part in value.parts)
    return value.items if is_ratio_of(value) else None


def latex(value: tuple) -> str:
    if isinstance(value, Number):
        return rf"\frac{{{value.value.numerator}}}{{{value.value.denominator}}}"
    return value.letter if isinstance(value, Choice) else value.latex


def letters_chosen(value: tuple) -> str:
    """Several choices, as `A, B, D` or `ABD`."""
    if isinstance(value, Several) and not value.opening:
        chosen = "".join(item.letter if isinstance(item, Choice) and not item.rest else "?" for item in value.items)
        return "".join(sorted(chosen)) if "?" not in chosen else ""
    written = value.words.upper() if isinstance(value, Text) else value.latex if isinstance(value, Expression) else ""
    return written if re.fullmatch("A?B?C?D?E?F?", written) and len(written) > 1 else ""


def is_set(value: tuple) -> bool:
    """An interval, or a set with its braces."""
    return isinstance(value, Union) or (isinstance(value, Several) and bool(value.opening))


def in_rows(value: tuple, other: tuple) -> tuple:
    """A tuple as the column or row that the other is, `[[1,2],[3,4]]` as a matrix."""
    if not isinstance(value, Several) or value.opening not in ("(", "[", "\\langle") or not isinstance(other, Matrix):
        return value
    if all(isinstance(item, Several) and item.opening == value.opening for item in value.items):
        return Matrix(tuple(item.items for item in value.items))
    if value.opening != "[" and all(len(row) == 1 for row in other.rows):
        return Matrix(tuple((item,) for item in value.items))
    return Matrix((value.items,)) if value.opening != "[" and len(other.rows) == 1 else value


def in_coordinates(value: tuple, other: tuple) -> tuple:
    """`2i - 3j` as the vector (2, -3), or (2, -3, 0), that the other is written like."""
    row = other.items if isinstance(other, Several) and other.opening in ("(", "\\langle") else ()
    size = len(other.rows) if isinstance(other, Matrix) else len(row)
    if not isinstance(value, Expression) or size not in (2, 3) or not re.search("[jk]", value.latex):
        return value
    terms, place = {}, 0
    for found in COORDINATE.finditer(value.latex):
        if found.start() != place or (place and not found[1]) or found[3] in terms:
            return value
        terms[found[3]], place = f"{found[1]}{found[2].strip() or 1}", found.end()
    if place != len(value.latex) or terms.keys() - set("ijk"[:size]):
        return value
    return Several(tuple(read(terms.get(name, "0")) for name in "ijk"[:size]), "\\langle", "\\rangle")


COORDINATE = re.compile(
    r" ?([-+]?) ?((?:\\(?!hat|vec|[ij]math)[A-Za-z]+|\{[^{}]*\}|\([^()]*\)|[^-+{}()\\ijk])*?)"
    r"(?:\\(?:hat|vec) ?\{? ?)?\\?([ijk])(?:math)? ?\}? ?(?![A-Za-z])"
)


def simple(value: tuple) -> tuple:
    """Inequalities about one name as intervals, and what is joined by `or` and `and` as one set."""
    if isinstance(value, Relation):
        return interval(value) or value
    if isinstance(value, Matrix) and [len(row) for row in value.rows] == [1]:
        return value.rows[0][0]
    if isinstance(value, Several) and len(value.items) >= 2 and not value.opening:
        found = [interval(item) if isinstance(item, Relation) else None for item in value.items]
        if value.joined == "or" and any(found):  # 0 < x < 1 or x = 2
            found = [one or point(item) for one, item in zip(found, value.items)]
        if all(found) and all(isinstance(item, Several) for item in found):
            if value.joined == "or":
                return Union(tuple(found))
            lower = [item for item in found if item.items[1] == INFINITE]
            upper = [item for item in found if item.items[0] == MINUS_INFINITE]
            if value.joined == "," and not together(lower, upper):
                return Union(tuple(found))
            if len(found) == 2 and len(lower) == 1 and len(upper) == 1:
                return Several((lower[0].items[0], upper[0].items[1]), lower[0].opening, upper[0].closing)
        if (
            all(found)
            and value.joined != "or"
            and len(whole := [item for item in found if isinstance(item, Several)]) == 1
        ):
            points = [item.items[0].items[1] for item in found if isinstance(item, Union)]  # x >= 0, x != 1
            return punctured(whole[0], points) or value
    return value


def with_variable(value: Relation) -> Relation:
    """`-1 < f(x) < 1` as what it says of a name, where a set of values is right."""
    named = [bool(FUNCTION.fullmatch(getattr(side, "latex", None) or "")) for side in value.sides]
    return value._replace(sides=tuple(Expression("x") if is_f else side for side, is_f in zip(value.sides, named)))


def point(value: tuple) -> Several | None:
    """`x = 2` as the set {2}."""
    if isinstance(value, Relation) and value.signs == ("=",) and is_variable(value.sides[0]):
        return Several(value.sides[1:], "\\{", "\\}")
    return None


def together(lower: list, upper: list) -> bool:
    """Whether two bounds that only a comma joins leave something between them."""
    ends = [lower[0].items[0], upper[0].items[1]] if lower and upper else []
    return all(isinstance(end, Number) for end in ends) and len(ends) == 2 and ends[0].value < ends[1].value


def bounded_by_names(*values: Relation) -> bool:
    """Whether one is about one name in terms of others, as `y < 2x`, which is no interval."""
    return any(
        found is not None and any(isinstance(item, Expression) and LETTERS.search(item.latex) for item in found.items)
        for found in map(interval, values)
        if isinstance(found, Several | None)
    )


LETTERS = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")


def interval(value: Relation) -> tuple | None:
    """`1 < x <= 2` as the interval (1, 2]; None for what is not about one name between bounds."""
    sides, signs = value
    if signs == ("\\in",) and is_name(sides[0]) and isinstance(sides[1], Several | Union):
        return sides[1]
    if signs == ("\\ne",) and is_variable(sides[0]):
        return Union((Several((MINUS_INFINITE, sides[1]), "(", ")"), Several((sides[1], INFINITE), "(", ")")))
    if not (all(sign in LESS for sign in signs) or all(sign in MORE for sign in signs)) or len(signs) > 2:
        return None
    if signs[0] in MORE:
        sides, signs = sides[::-1], tuple(LESS[MORE.index(sign)] for sign in signs[::-1])
    if len(sides) == 3:
        if not is_variable(sides[1]) or is_variable(sides[0]) or is_variable(sides[2]):
            return None
        return Several((sides[0], sides[2]), "(["[signs[0] == "\\le"], ")]"[signs[1] == "\\le"])
    if (found := absolute(sides)) is not None:
        return between_signs(*found, closed=signs[0] == "\\le")
    if is_variable(sides[0]) and not is_variable(sides[1]):
        return Several((MINUS_INFINITE, sides[1]), "(", ")]"[signs[0] == "\\le"])
    if is_variable(sides[1]) and not is_variable(sides[0]):
        return Several((sides[0], INFINITE), "(["[signs[0] == "\\le"], ")")
    return None


def absolute(sides: tuple) -> tuple[tuple, bool] | None:
    """The bound of the absolute value of a name, where it is no name itself, and whether it is the upper one."""
    for place, bound in ((0, sides[1]), (1, sides[0])):
        about = isinstance(sides[place], Expression) and re.fullmatch(r"\| ?[A-Za-z] ?\|", sides[place].latex)
        positive = bound.value > 0 if isinstance(bound, Number) else isinstance(bound, Expression)
        if about and positive and not LETTERS.search(getattr(bound, "latex", "")):
            return bound, place == 0
    return None


def between_signs(bound: tuple, upper: bool, closed: bool) -> tuple:
    """What is nearer to 0 than the bound, or farther."""
    low = Number(-bound.value) if isinstance(bound, Number) else Expression(f"-({bound.latex})")
    if upper:
        return Several((low, bound), "(["[closed], ")]"[closed])
    return Union((Several((MINUS_INFINITE, low), "(", ")]"[closed]), Several((bound, INFINITE), "(["[closed], ")")))


def is_variable(value: tuple) -> bool:
    """A single name."""
    if isinstance(value, Choice):
        return value.rest is None
    return isinstance(value, Expression) and bool(
        re.fullmatch(r"[A-Za-z]|\\(?:theta|alpha|beta|lambda|mu)", value.latex)
    )


def is_name(value: tuple) -> bool:
    """Something that is named and not computed: `x`, `f(2)`, `\\angle ABC`, `(x, y)`, `\\text{area}`."""
    if isinstance(value, Several):
        return all(is_name(item) for item in value.items)
    if isinstance(value, Choice | Text):
        return True
    if isinstance(value, Expression) and CALCULUS.match(value.latex):
        return True
    return isinstance(value, Expression) and (value.opaque or bool(NAME.fullmatch(value.latex)))


def every(found) -> bool | None:
    """True if all are, False if one is False, else None."""
    unknown = False
    for each in found:
        if each is False:
            return False
        unknown |= each is None
    return None if unknown else True


def sequences(gold: Several, answer: Several, leaf: Leaf) -> bool | None:
    """Lists and sets in any order, tuples and intervals in theirs, with their brackets."""
    marks = [(value.opening, value.closing) for value in (gold, answer)]
    kinds = ["list" if mark == ("", "") else "set" if mark[0] == "\\{" else "tuple" for mark in marks]
    one, two = gold.items, answer.items
    names = [{item.sides[0] for item in items if isinstance(item, Relation)} for items in (one, two)]
    for i, other in ((0, 1), (1, 0)):  # 3 or 4, and x = 3, x = 4, are no point (3, 4)
        alternatives = (gold, answer)[other].joined == "or" or len(names[other]) == 1 < len((one, two)[other])
        if kinds[i] == "tuple" and kinds[other] == "list" and not names[i] and alternatives:
            return False
    if len(names[0]) > 1 < len(names[1]) and (gold.joined == "or") != (answer.joined == "or"):  # x = 1 or y = 2
        return False
    if names[1] and not names[0]:  # x = 1, x = 2 where 1, 2 is right; x = 1, 2 too
        two = tuple(map(value_of, in_order(two) if kinds[0] == "tuple" else two))
    elif names[0] and not names[1]:
        if len(names[0]) > 1 and kinds[1] == "list":  # a = 1, b = 2 are values in order
            kinds[1] = "tuple"
        one = tuple(map(value_of, in_order(one) if kinds[1] == "tuple" else one))
    if by_name := counted(one, two):
        return every(same(*pair, leaf) for pair in by_name)
    if "set" in kinds and "tuple" not in kinds:
        one, two = without_repeats(one), without_repeats(two)
    if len(one) != len(two):
        return False
    if "tuple" not in kinds:
        return unordered(one, two, leaf)
    if "set" in kinds:
        return False
    if kinds == ["tuple", "tuple"] and len(one) == 2 and alike(marks[0]) != alike(marks[1]):
        return False
    if kinds != ["tuple", "tuple"] and len(one) == 2 and ("[" in marks[0] + marks[1] or "]" in marks[0] + marks[1]):
        return False
    return every(same(*pair, leaf) for pair in zip(one, two))


def counted(one: tuple, two: tuple) -> list[tuple] | None:
    """The pairs of what is counted under one name, as in 3 males, 4 females; None where both do not name the same."""
    if not all(isinstance(item, Quantity) and unit(item.unit) is None for item in (*one, *two)):
        return None
    first, second = ({item.unit.strip(" .").lower(): item for item in items} for items in (one, two))
    return (
        [(first[name], second[name]) for name in first]
        if len(first) == len(one) == len(two) > 1 and first.keys() == second.keys()
        else None
    )


def in_order(items: tuple) -> tuple:
    """`y = 2, x = 1` as a point has them; letters that do not follow one another stay as they are written."""
    names = [item.sides[0] if isinstance(item, Relation) else None for item in items]
    found = [ord(latex(name)) if is_variable(name) and len(latex(name)) == 1 else 0 for name in names]
    first = min(found, default=0)
    return (
        tuple(item for _, item in sorted(zip(found, items)))
        if sorted(found) == list(range(first, first + len(found))) and first
        else items
    )


def alike(mark: tuple[str, str]) -> tuple[str, str]:
    """Angle brackets stand around vectors, as round ones do."""
    return ("(", ")") if mark[0] == "\\langle" else mark


def without_repeats(items: tuple) -> tuple:
    """The items of a set as they are written, each once."""
    return tuple(dict.fromkeys(items))


def value_of(item: tuple) -> tuple:
    """What stands after `x =`."""
    return item.sides[-1] if isinstance(item, Relation) and set(item.signs) <= {"=", "\\approx"} else item


def unordered(one: tuple, two: tuple, leaf: Leaf) -> bool | None:
    """Whether each item has its own among the others."""
    if len(one) != len(two):
        return False
    if len(one) > MOST_ITEMS:
        return None
    table = [[same(a, b, leaf) for b in two] for a in one]
    if matches(table, lambda cell: cell is True):
        return True
    return None if matches(table, lambda cell: cell is not False) else False


def matches(table: list[list], allowed: Callable) -> bool:
    """Whether every row can have a column of its own."""
    taken: dict[int, int] = {}

    def place(row: int, tried: set) -> bool:
        for column, cell in enumerate(table[row]):
            if allowed(cell) and column not in tried:
                tried.add(column)
                if column not in taken or place(taken[column], tried):
                    taken[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(table)))


def quantities(gold: tuple, answer: tuple, leaf: Leaf) -> bool | None:
    """A unit may be left out, but not contradict; one that may be the letters of a formula is tried as that too."""
    if isinstance(gold, Quantity) and isinstance(answer, Quantity):
        units = unit(gold.unit), unit(answer.unit)
        if {gold.unit, answer.unit} & {"gbp"} and {gold.unit, answer.unit} & {"pound", "pounds"}:
            return same(gold.value, answer.value, leaf)
        if None not in units and units[0] != units[1]:
            if units[0][0] != units[1][0]:
                return False
            scale = units[1][1] / units[0][1]
            value = answer.value
            return leaf(gold.value, scaled(value, scale)) if isinstance(gold.value, Number | Expression) else False
        if opposed(gold.unit, answer.unit):
            return False
        if units == (None, None) and POWER.findall(gold.unit) != POWER.findall(answer.unit):
            return False
        return same(gold.value, answer.value, leaf)
    with_unit, other = (gold, answer) if isinstance(gold, Quantity) else (answer, gold)
    if isinstance(other, Expression):
        if with_unit.unit == "degree" and isinstance(with_unit.value, Expression) and "\\pi" in with_unit.value.latex:
            return False  # pi/4 degrees are no pi/4
        if with_unit.unit == "degree" and isinstance(with_unit.value, Number) and "\\pi" in other.latex:
            angle = Expression(rf"\frac{{{latex(with_unit.value)} \cdot \pi}}{{180}}")
            if (found := leaf(*((angle, other) if with_unit is gold else (other, angle)))) is not False:
                return found
        if with_unit.latex and not other.opaque:
            whole = Expression(with_unit.latex)
            if (found := leaf(*((whole, answer) if with_unit is gold else (gold, whole)))) is not False:
                return found
            if re.search("[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", other.latex)):
                return False
    elif isinstance(other, Clock) or (isinstance(other, Number) and other.percent and unit(with_unit.unit)):
        return False
    pair = (gold.value, answer) if with_unit is gold else (gold, answer.value)
    return same(*pair, leaf)


POWER = re.compile(r"\^ ?\{? ?(-?\d)")
# words beside numbers that say opposite things, each with others that say the same
SIDES = [
    [set(words.split()) for words in sides.split("/")]
    for sides in (
        "north northward northern/south southward southern/east eastward eastern/west westward western",
        "left leftward leftwards/right rightward rightwards",
        "up upward upwards/down downward downwards",
        "inward inwards/outward outwards",
        "forward forwards/backward backwards",
        "above/below",
        "clockwise/counterclockwise anticlockwise",
        "increase increased rise growth/decrease decreased fall decline",
        "profit gain gained/loss lost",
        "earlier before ago/later after",
        "ahead fast/behind slow",
        "many much more/few fewer little less",
        "bc bce/ad ce",
        "positive/negative",
    )
]


def opposed(one: str, two: str) -> bool:
    """Whether what is said beside two numbers differs in direction, as in 20 % profit, 20 % loss."""
    words = [set(re.findall("[a-z]+", name.lower())) for name in (one, two)]
    for sides in SIDES:
        first, second = ([bool(side & said) for side in sides] for said in words)
        if any(first) and any(second) and first != second:
            return True
    return False


def scaled(value: tuple, scale: Fraction) -> tuple:
    if isinstance(value, Number):
        return Number(value.value * scale)
    return Expression(rf"\frac{{{scale.numerator}}}{{{scale.denominator}}}\cdot\left({value.latex}\right)")


def relations(gold: tuple, answer: tuple, leaf: Leaf) -> bool | None:
    """Equations: a name before `=` may be left out, other equations must be the same up to a factor."""
    if not isinstance(gold, Relation):
        return candidate(gold, answer, leaf)
    if not isinstance(answer, Relation):
        if (
            "=" in gold.signs
            and set(gold.signs) <= {"=", "\\approx"}
            and (is_name(gold.sides[0]) or all(isinstance(side, Number) for side in gold.sides))
        ):
            return same(gold.sides[-1], answer, leaf)
        return leaf(gold, answer) if set(gold.signs) - {"="} else False
    signs = set(gold.signs), set(answer.signs)
    if all({"="} <= each <= {"=", "\\approx"} for each in signs) and "\\approx" in signs[0] | signs[1]:
        first = same(gold.sides[0], answer.sides[0], leaf)
        return every([first, candidate(gold.sides[-1], answer, leaf)])
    if signs[0] == signs[1] == {"="}:
        written = [[formula(side) for side in value.sides] for value in (gold, answer)]
        if None not in written[0] + written[1] and (found := answer_matrices.equations(*written)) is not None:
            return found
        one, two = gold.sides, answer.sides
        named = is_name(one[0]), is_name(two[0])
        if is_name(two[-1]) and not named[1] and len(two) == 2:
            two, named = two[::-1], (named[0], True)
        if is_name(one[-1]) and not named[0] and len(one) == 2:
            one, named = one[::-1], (True, named[1])
        if all(named):
            two = renamed(one[0], two)
            first = same(called(one[0]), called(two[0]), leaf)
            second = same(one[-1], two[-1], leaf)
            turned = (
                len(two) == 2 and is_name(two[-1]) and every([same(one[0], two[-1], leaf), same(one[-1], two[0], leaf)])
            )
            if (found := turned or every([first, second])) or not (is_variable(one[0]) and is_variable(two[0])):
                return found
            return leaf(Relation((one[0], one[-1]), ("=",)), Relation((two[0], two[-1]), ("=",)))
        return leaf(gold, answer)
    if len(gold.sides) == len(answer.sides):
        turned = answer.sides[::-1], tuple(TURNED.get(sign, sign) for sign in answer.signs[::-1])
        for sides, signs in ((answer.sides, answer.signs), turned):
            if (
                signs == gold.signs
                and (found := every(same(*pair, leaf) for pair in zip(gold.sides, sides))) is not False
            ):
                return found
    return leaf(gold, answer)


def formula(value: tuple) -> str | None:
    """The LaTeX of an expression, a letter or an integer; None of anything else."""
    if isinstance(value, Number):
        return str(value.value) if value.value.denominator == 1 and not value.percent else None
    if isinstance(value, Choice):
        return value.letter if value.rest is None else None
    return value.latex if isinstance(value, Expression) and not value.opaque else None


def renamed(name: tuple, sides: tuple) -> tuple:
    """`f(t) = 2t + 1` with x where the right answer names f(x)."""
    found = [FUNCTION.fullmatch(getattr(side, "latex", "")) for side in (name, sides[0])]
    if not all(found) or found[0][1] != found[1][1] or found[0][2] == found[1][2]:
        return sides
    old, new = found[1][2], found[0][2]
    if not isinstance(sides[-1], Expression) or re.search(rf"(?<![A-Za-z\\]){new}(?![A-Za-z])", sides[-1].latex):
        return sides
    return (name, *sides[1:-1], Expression(re.sub(rf"(?<!\\)(?<![A-Za-z]){old}(?![A-Za-z])", new, sides[-1].latex)))


FUNCTION = re.compile(r"([A-Za-z]) ?\( ?([a-z]) ?\)")


def called(name: tuple) -> tuple:
    """`f(x)` is also written y."""
    return (
        Expression("y") if isinstance(name, Expression) and re.fullmatch(r"[A-Za-z] ?\( ?x ?\)", name.latex) else name
    )


TURNED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}


def candidate(gold: tuple, answer: Relation, leaf: Leaf) -> bool | None:
    """An equation as an answer where the right one is a value: its last side, and either side of an approximation."""
    sides, signs = answer
    if set(signs) <= {"=", "\\approx"}:
        values = [sides[-1]]
        if "\\approx" in signs:
            place = signs.index("\\approx")
            values += [sides[place]] if not is_name(sides[place]) else []
        elif len(sides) == 2 and is_name(sides[1]) and not is_name(sides[0]):
            values = [sides[0], sides[1]]
        found = [same(gold, value, leaf) for value in values]
        return True if True in found else None if None in found else False
    if isinstance(gold, Several | Union | Expression):
        return leaf(gold, answer)
    return False


def clocks(gold: tuple, answer: tuple) -> bool:
    """Times are the same to the minute, ratios as fractions; am and pm may be left out."""
    if isinstance(gold, Clock) and isinstance(answer, Clock):
        parts = [value.parts + (0,) * (3 - len(value.parts)) for value in (gold, answer)]
        if gold.half and answer.half:
            return gold.half == answer.half and parts[0] == parts[1]
        if parts[0] == parts[1]:
            return True
        for one, two in ((gold, answer), (answer, gold)):
            hours = one.parts[0] % 12 + 12 * (one.half == "pm")
            if one.half and (hours, *one.parts[1:]) == two.parts and two.parts[0] > 12:
                return True
        if gold.half or answer.half or not is_ratio(gold) or len(gold.parts) != len(answer.parts):
            return False
        (first, *_), (other, *_) = gold.parts, answer.parts
        return all(gold.parts) and all(one * other == two * first for one, two in zip(gold.parts, answer.parts))
    clock, other = (gold, answer) if isinstance(gold, Clock) else (answer, gold)
    if not isinstance(other, Number):
        return False
    if clock.half and len(clock.parts) == 2 and clock.parts[1] == 0:  # 9 for 9 a.m.
        return other.value == clock.parts[0]
    return is_ratio(clock) and len(clock.parts) == 2 and other.value.denominator > 1 and ratio(clock) == other.value


def is_ratio(clock: Clock) -> bool:
    """Not a time of day, which has two digits after the colon."""
    return not clock.half and not any(10 <= part < 60 for part in clock.parts[1:])


def ratio(clock: Clock) -> Fraction | None:
    return Fraction(*clock.parts) if len(clock.parts) == 2 and clock.parts[1] else None


def based(gold: tuple, answer: tuple) -> bool:
    """The base may be left out where the right answer has it; the digits are never converted."""
    if isinstance(gold, Based) and isinstance(answer, Based):
        return gold == answer
    if isinstance(gold, Based) and isinstance(answer, Number):
        value = answer.value
        return value.denominator == 1 and str(abs(value)) == gold.digits and (value < 0) == gold.negative
    if isinstance(gold, Based):
        return not gold.negative and spelled(getattr(answer, "latex", letters(answer))) == gold.digits.lower()
    return (
        isinstance(gold, Number)
        and answer.base == 10
        and gold.value == Fraction(("-" if answer.negative else "") + answer.digits)
    )


def joined(words: str) -> str:
    """Words without what separates them; numbers stay apart, so that pages 1-2 are not page 12."""
    return re.sub(r"(?<!\d)[ -]|[ -](?!\d)", "", words)


def which(words: str) -> tuple | None:
    """What is said of integers: `all even n`, `n is even`; None where it is nothing such."""
    parts = [word.removesuffix("s") if len(word) > 4 else word for word in words.split()]
    left = [word for word in parts if word not in SAID_OF and len(word) > 1]
    return tuple(left) if len(left) < len(parts) and PROPERTIES & set(left) else None


LETTER_OF = re.compile(r"\b(integers|numbers|reals|primes|values) [a-z]$")  # all positive integers n
SAID_OF = words_of("all every any each integer number is are for which where such that the be")
PROPERTIES = words_of("even odd prime composite")


def leaf_of_sets(gold: tuple, answer: tuple, leaf: Leaf) -> bool | None:
    """An expression may be a set, such as an intersection."""
    other = answer if isinstance(gold, Several) else gold
    return leaf(gold, answer) if isinstance(other, Expression) and not other.opaque else False


def letters(value: tuple) -> str:
    """The letters of a word, however it is set."""
    if isinstance(value, Text):
        return value.words.replace(" ", "")
    if isinstance(value, Choice):
        return value.letter.lower() if value.rest is None else ""
    if isinstance(value, Expression) and re.fullmatch(r"[A-Za-z ]+", value.latex):
        return value.latex.replace(" ", "").lower()
    return ""


def plainly(gold: tuple, answer: tuple) -> bool | None:
    """What can be said of two leaves without mathematics: numbers exactly, expressions that are written alike."""
    if isinstance(gold, Number) and isinstance(answer, Number):
        return numbers(gold, answer)
    if isinstance(gold, Expression) and isinstance(answer, Expression):
        if gold.latex.replace(" ", "") == answer.latex.replace(" ", ""):
            return True
        if gold.opaque or answer.opaque:
            return spelled(gold.latex) == spelled(answer.latex)
        if (found := answer_matrices.expressions(gold.latex, answer.latex)) is not None:
            return found
    elif gold == answer:
        return True
    if any(isinstance(value, Expression) and value.opaque for value in (gold, answer)):
        return False
    return None


def spelled(latex: str) -> str:
    """Words and formulas without spaces and the marks around words; numbers, and what is in braces, stay apart."""
    text = re.sub(r"\\text ?\{([^{}]*)\}", r" \1 ", latex)
    text = re.sub(r"\$|(?<!\d)\.|\.(?!\d)|(?<!\d)\s+|\s+(?!\d)", "", re.sub(r"\{ ?(\w) ?\}", r"\1", text))
    return text.lower()
