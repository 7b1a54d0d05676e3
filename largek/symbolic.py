"""Mathematics on expressions, by sympy and Math-Verify. Everything here runs in a worker process, under its limits.

Math-Verify's reader of LaTeX is used, which reads by a grammar and evaluates no text; of its normalisation all but the
removal of units, which takes letters for them. Its comparison is used for sets only: it holds tiny numbers for equal,
equations without a variable too, and any number for its percentage.
"""

import re
import zlib
from fractions import Fraction
from functools import lru_cache

from largek.answer_compare import plainly, same
from largek.answer_kinds import (
    TRIGONOMETRIC,
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
    Text,
    Union,
    read,
)
from largek.answer_numbers import Number, close
from largek.answer_votes import spelling

PRECISION = 120  # digits to which numbers are evaluated
# After these a fraction is a factor; the reader takes both for one mixed number.
PRODUCT = re.compile(
    r"(?:(?<![\w^.])\d+(?:\.\d+)?|\)) ?(?=\( ?(?:\\frac|\d+ ?/))|\\binom ?\{[^{}]*\} ?\{[^{}]*\}(?= ?(?:\\frac|\d))"
)
# What the reader leaves out, or takes for (n!)!: marks of derivatives, the subscript of a number
UNREAD = re.compile(
    r"'|\\prime|!!|(?<![\w^.{])\d+(?:\.\d+)? ?_|(?<![A-Za-z\\])[fghy] ?\^ ?\{ ?\( ?\w+ ?\) ?\}"
    r"|\\(?:coth|sech|csch)(?![A-Za-z])"
)
# What it takes for other things: a derivative of a name for 0, an inverse function for a quotient, \Omega for \omega
RATIO = re.compile(
    r"\\frac ?\{ ?(d|\\partial) ?(?:\^ ?\{? ?(\d) ?\}?)? ?([A-Za-z]|\\[a-z]+) ?\}"
    r" ?\{ ?(?:d|\\partial) ?([A-Za-z]|\\[a-z]+) ?(?:\^ ?\{? ?\d ?\}?)? ?\}"
)
INVERSE = re.compile(r"(?<![A-Za-z\\])([fghFGH]) ?\^ ?\{ ?-1 ?\}(?= ?\()")
CAPITAL = re.compile(
    r"\\(Omega|Delta|Gamma|Phi|Psi|Sigma|Theta|Lambda|Xi|Upsilon)(?![A-Za-z])(?: ?_ ?(?:\{ ?(\w+) ?\}|(\w)))?"
)
# It takes letters to have no common divisor, and the letters of an angle for factors.
DIVISOR = re.compile(r"\\(?:operatorname ?\{ ?)?(gcd|lcm) ?\}? ?\(([^()]*[A-Za-z][^()]*)\)")
ANGLE = re.compile(r"\\angle ?([A-Z])([A-Z])([A-Z])(?![A-Za-z])")
# A constant of integration, and what it is added to.
CONSTANT = r"[CcKk](?: ?_ ?(?:\d|\{ ?\d ?\}))?"
ADDED_CONSTANT = re.compile(rf"(.*\S) ?\+ ?({CONSTANT})|({CONSTANT}) ?\+ ?(.*\S)", re.DOTALL)
COMMAND = re.compile(r"\\[A-Za-z]+")
# Where expressions are tried, shifted for every variable: positive, negative, and with signs that alternate.
POINTS = ((2, 7, 1), (3, 5, None), (13, 11, 1), (17, 3, -1), (29, 8, 1), (-5, 2, -1))


def load(*_) -> None:
    """Imports what the functions below need; done before a worker's time counts."""
    import logging

    import latex2sympy2_extended  # noqa: F401
    import math_verify  # noqa: F401
    import sympy  # noqa: F401

    logging.disable(logging.CRITICAL)


@lru_cache(maxsize=10_000)
def parsed(latex: str):
    """The sympy object that a LaTeX text says, decimals as exact numbers; None where it cannot be read."""
    from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from math_verify.grader import should_treat_as_complex
    from sympy import Float, I, Pow, Rational, nan, zoo

    normal = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    if UNREAD.search(latex):
        return None
    latex = re.sub(r"\^ ?(?:\{ ?(?:T|\\top|\\intercal) ?\}|T|(?:\\top|\\intercal)(?![A-Za-z]))", "^{T_{0}} ", latex)
    latex = INVERSE.sub(r"\1_{-1}", CAPITAL.sub(named, RATIO.sub(named, latex)))
    latex = ANGLE.sub(lambda found: f" {{D_{{{found[2]}{min(found[1], found[3])}{max(found[1], found[3])}}}}} ", latex)
    latex = DIVISOR.sub(divisor, latex)
    if TRIGONOMETRIC.search(latex):
        latex = re.sub(r"(\d+(?:\.\d+)?) ?\\degree", r"(\\frac{\1 \\cdot \\pi}{180})", latex)
    latex = re.sub(r"\\gamma(?![A-Za-z])", r"\\varrho ", latex)  # which is read as a function or Euler's constant
    latex = PRODUCT.sub(r"\g<0>\\cdot ", latex)
    text = normalize_latex(latex.replace("\\degree", ""), normal)
    try:
        found = latex2sympy(
            text,
            is_real=not should_treat_as_complex(text),
            convert_degrees=False,
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=False),
        )
    except Exception:  # the reader raises Exception itself
        return None
    if hasattr(found, "has") and found.has(zoo, nan):
        return None
    if hasattr(found, "free_symbols"):  # which the reader leaves a symbol
        found = found.xreplace({name: I for name in found.free_symbols if name.name == "i"})
    if hasattr(found, "atoms") and (floats := found.atoms(Float)):
        found = found.xreplace({value: Rational(str(value)) for value in floats})
    if hasattr(found, "atoms") and (powers := found.atoms(Pow)):
        found = found.xreplace({power: root for power in powers if (root := real_root(power)) is not None})
    return found


def named(found: re.Match) -> str:
    """A name of its own for a capital, or for what is derived, by what, and how often."""
    name = "".join(part.strip("\\") for part in found.groups() if part)
    return rf" {{D_{{{name}}}}} "


def divisor(found: re.Match) -> str:
    """A name of its own for the common divisor or multiple of letters, in whatever order they are."""
    terms = sorted(found[2].replace(" ", "").split(","))
    return rf" {{D_{{{zlib.crc32(','.join([found[1], *terms]).encode())}}}}} "


def real_root(power):
    """The odd root of a negative number, which sympy takes for a complex one; None for other powers."""
    exponent = power.exp.doit()
    if power.base.is_negative and exponent.is_Rational and exponent.q % 2 and exponent.q > 1:
        return (-1) ** exponent.p * (-power.base) ** exponent
    return None


def equivalent(gold: str, answer: str) -> str:
    """`correct` or `wrong`."""
    return "correct" if same(read(gold), read(answer), mathematically) else "wrong"


def mathematically(gold: tuple, answer: tuple) -> bool:
    """Whether two leaves say the same; what cannot be shown is False."""
    if (found := plainly(gold, answer)) is not None:
        return found
    if isinstance(gold, Expression) and isinstance(answer, Expression):
        parts = antiderivative(gold.latex), antiderivative(answer.latex)
        if all(parts) and "C" in (parts[0][1][0], parts[1][1][0]):
            return same_antiderivative(*parts)
    one, two = meaning(gold), meaning(answer)
    if one is None or two is None:
        return False
    from sympy import Expr, ImmutableMatrix, MatrixBase, MatrixExpr, Set
    from sympy.core.relational import Relational
    from sympy.logic.boolalg import BooleanFunction

    for written, other in ((gold, two), (answer, one)):
        if isinstance(written, Number) and written.places and isinstance(other, Expr) and not other.free_symbols:
            value = exactly(other)
            if value is not None and close(written, value):
                return True
    if isinstance(one, Expr) and isinstance(two, Expr):
        return equal(one, two)
    if isinstance(one, Relational) and isinstance(two, Relational):
        return same_relation(one, two)
    if isinstance(one, MatrixBase | MatrixExpr) and isinstance(two, MatrixBase | MatrixExpr):
        one, two = (ImmutableMatrix(value.doit()) for value in (one, two))
        return one.shape == two.shape and all(equal(a, b) for a, b in zip(one, two))
    if isinstance(one, Set | BooleanFunction | Relational) and isinstance(two, Set | BooleanFunction | Relational):
        return same_set(one, two)
    return False


def antiderivative(latex: str) -> tuple[str, str] | None:
    """A function of a variable, and the constant that is added to it: `x^2` and `C` of `x^2 + C`."""
    found = ADDED_CONSTANT.fullmatch(latex)
    if not found:
        return None
    function, constant = (found[1] or found[4]).strip(), found[2] or found[3]
    letters = COMMAND.sub(" ", function.replace("\\theta", " t"))
    balanced = function.count("|") % 2 == 0 and all(function.count(a) == function.count(b) for a, b in ("()", "{}"))
    return (function, constant) if balanced and re.search("[r-z]", letters) and constant[0] not in letters else None


def same_antiderivative(gold: tuple[str, str], answer: tuple[str, str]) -> bool:
    """Whether two functions of one variable are the same or differ by a number, which their constants take up."""
    one, two = parsed(gold[0]), parsed(answer[0])
    from sympy import Expr

    if not isinstance(one, Expr) or not isinstance(two, Expr):
        return gold[0].replace(" ", "") == answer[0].replace(" ", "")
    if equal(one, two):
        return True
    one, two = same_names(one.doit(), two.doit())
    if one.free_symbols != two.free_symbols or len(one.free_symbols) != 1:
        return False
    shifts = [(one - two).subs(place) for place in places(one, two)]
    return all(same_value(shift, shifts[0], real=True) for shift in shifts[1:])


def meaning(value: tuple):
    """The sympy object of what was read; None for what is none."""
    from sympy import Eq, FiniteSet, Ge, Gt, Interval, Le, Lt, Ne, Rational, Tuple
    from sympy import Matrix as SympyMatrix
    from sympy import Union as SympyUnion

    if isinstance(value, Number):
        scale = 100 if value.percent else 1
        return Rational(value.value.numerator, value.value.denominator * scale)
    if isinstance(value, Expression):
        return None if value.opaque else parsed(value.latex)
    if isinstance(value, Choice):
        return parsed(value.letter)
    if isinstance(value, Quantity):
        return meaning(value.value)
    if isinstance(value, Text | Clock | Based | Modular | Marked | Counted):
        return None
    if isinstance(value, Relation):
        kinds = {"=": Eq, "<": Lt, ">": Gt, "\\le": Le, "\\ge": Ge, "\\ne": Ne}
        sides = [meaning(side) for side in value.sides]
        if len(sides) < 2 or any(side is None for side in sides) or any(sign not in kinds for sign in value.signs):
            return None
        if set(value.signs) == {"="}:
            return Eq(sides[0], sides[-1], evaluate=False)
        if len(sides) == 2:
            return kinds[value.signs[0]](*sides, evaluate=False)
        return None
    if isinstance(value, Matrix):
        rows = [[meaning(cell) for cell in row] for row in value.rows]
        return None if any(cell is None for row in rows for cell in row) else SympyMatrix(rows)
    items = [meaning(item) for item in value.items]
    if any(item is None for item in items):
        return None
    if isinstance(value, Union):
        return SympyUnion(*items)
    if value.opening == "\\{" or not value.opening:
        return FiniteSet(*items)
    if len(items) == 2 and value.opening in "([" and value.closing in ")]":
        return Interval(*items, left_open=value.opening == "(", right_open=value.closing == ")")
    return Tuple(*items)


def exactly(value) -> Fraction | None:
    """A real number to `PRECISION` digits."""
    from sympy import N, Rational

    found = N(value.doit(), PRECISION)
    if not found.is_real or not found.is_finite:
        return None
    found = Rational(found)
    return Fraction(int(found.p), int(found.q))


def equal(one, two) -> bool:
    """Whether two expressions are equal for all values of their variables."""
    from sympy import Abs, I, Rational, log, nan, simplify, zoo

    if one == two:
        return True
    one, two = same_names(one.doit(), two.doit())
    if one.has(nan, zoo) or two.has(nan, zoo):
        return False
    if one == two:
        return True
    if isinstance(one, Rational) and isinstance(two, Rational):
        return False
    if one.free_symbols != two.free_symbols and (one.is_number or two.is_number):
        return (
            (one - two).equals(0) is True if one.free_symbols and two.free_symbols else bool(simplify(one - two) == 0)
        )
    real = not any(side.has(I) or any(each.has(Abs) for each in side.atoms(log)) for side in (one, two))
    tried = []
    for place in places(one, two):
        tried.append(same_value(one.subs(place), two.subs(place), real))
        if tried[-1] is False:
            return False
    if tried.count(True) >= 3 or (True in tried and not one.free_symbols | two.free_symbols):
        return True
    return bool(simplify(one - two) == 0)


def same_names(one, two) -> tuple:
    """Both with one symbol for a name: in what has an `i`, variables are read as complex numbers."""
    from sympy import Symbol

    names = [{name.name: name for name in side.free_symbols} for side in (one, two)]
    other = {name: symbol for name, symbol in names[1].items() if names[0].get(name, symbol) != symbol}
    if not other:
        return one, two
    free = {name: Symbol(name) for name in other}
    return tuple(side.xreplace({names[i][name]: free[name] for name in other}) for i, side in enumerate((one, two)))


def places(one, two) -> list[dict]:
    """Values for the variables at which the expressions are tried."""
    from sympy import Rational

    names = sorted(one.free_symbols | two.free_symbols, key=str)
    if not names:
        return [{}]
    return [
        {name: Rational(p + 3 * i, q + i) * (-1 if sign is None else sign**i) for i, name in enumerate(names)}
        for p, q, sign in POINTS
    ]


def same_value(one, two, real: bool) -> bool | None:
    """Whether two numbers are equal to far more digits than chance explains, in proportion to their size; None where
    either has no value, or should be real and is not."""
    from sympy import Abs, N

    try:
        first, second = N(one, PRECISION), N(two, PRECISION)
        if not (first.is_number and second.is_number) or not (first.is_finite and second.is_finite):
            return None
        size = max(Abs(first), Abs(second))
        if size == 0 or Abs(first - second) <= size * 10 ** -(PRECISION - 20):
            return True
        # Roots and logarithms where one has no real value, such as sqrt(1/n) at -1, are on different branches.
        return None if real and not (first.is_real and second.is_real) else False
    except (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError):
        return None


def same_relation(one, two) -> bool:
    """Equations and inequalities that are one another up to a factor, positive for inequalities."""
    from sympy import Eq, Ge, Gt, Le, Lt, Ne, simplify

    if isinstance(one, Gt | Ge):
        one = {Gt: Lt, Ge: Le}[type(one)](one.rhs, one.lhs, evaluate=False)
    if isinstance(two, Gt | Ge):
        two = {Gt: Lt, Ge: Le}[type(two)](two.rhs, two.lhs, evaluate=False)
    if type(one) is not type(two):
        return False
    if not all(getattr(side, "is_number", None) is not None for side in (one.lhs, one.rhs, two.lhs, two.rhs)):
        return False
    first, second = same_names(one.lhs - one.rhs, two.lhs - two.rhs)
    if not first.free_symbols or not second.free_symbols or first.free_symbols != second.free_symbols:
        return equal(one.lhs, two.lhs) and equal(one.rhs, two.rhs)
    factor = simplify(first / second)
    if factor.free_symbols or not factor.is_finite or factor == 0:
        return False
    return isinstance(one, Eq | Ne) or bool(factor > 0)


def same_set(one, two) -> bool:
    """Whether two sets, or a set and a condition for one variable, are equal."""
    from sympy import Set

    if any(not isinstance(value, Set) and len(value.free_symbols) != 1 for value in (one, two)):
        return False
    sets = [value if isinstance(value, Set) else value.as_set() for value in (one, two)]
    if sets[0] == sets[1]:
        return True
    return bool(sets[0].symmetric_difference(sets[1]).is_empty)


def normal_form(answer: str) -> str | None:
    """The answer as text that is the same for answers that say the same; see `canonical` in `math_answers`."""
    return spelling(read(answer), normal)


def normal(value: Expression) -> str | None:
    """An expression evaluated and expanded by sympy; constants that are not rational to 12 digits."""
    from sympy import Expr, N, Rational, expand

    found = parsed(value.latex)
    if found is None:
        return None
    found = found.doit()
    if isinstance(found, Expr):
        found = expand(found)
        if found.is_number and not isinstance(found, Rational):
            found = N(found, 12)
    return str(found)
