"""The verifier `math`: reads the final answer of a worked solution and compares it with the right one.

An answer is read from the last box (`\\boxed{...}`), else from what is announced last (`#### 18`, `A: 18`,
`the answer is 18`; the formula in it, if there is one), else it is the last number of the text. Answers are compared as
text, then as exact numbers, and only if neither decides as mathematics, by Math-Verify in a worker process that is
killed when it hangs.

Text of a model is never evaluated: numbers are read by a regular expression, and Math-Verify reads LaTeX by a grammar
(its reader of plain expressions, which evaluates them, is not used).
"""

import re
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from threading import Thread

from largek.verify import Verdict
from largek.workers import CORES, call

LONGEST = 400  # characters of an answer that is still compared as mathematics
SECONDS = 5.0  # for one comparison
NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")
LAST_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:/\d+)?")
ANNOUNCED = re.compile(r"(?:####|^\s*A:|answer\s*(?:is\s*:?|:))\s*(?=\S)", re.IGNORECASE | re.MULTILINE)
FORMULA = re.compile(r"\$(?!\s*[\d.,]+\s+(?:[a-z]{2}|a\b))([^$]+)\$(?!\d)|\\\((.+?)\\\)")  # but not `$5 or $6`
FRACTION = re.compile(r"([-+]?)\\[dt]?frac\{?([-+]?\d+)\}?\{?([-+]?\d+)\}?")
DROPPED = re.compile(r"\\left|\\right|\\[!,;: ]|\\mathrm|\\mbox|\\text(?:bf|rm|it)?|\^\{?\\circ\}?|\\\$|\$|\\%|%|\s|~")


def boxed(text: str) -> str | None:
    """The content of the last `\\boxed{...}` or `\\fbox{...}` whose braces close; `\\boxed 7` gives the next word."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    rest = text[start:].split("box", 1)[1].removeprefix("ed")
    if not rest.startswith("{"):
        return (rest.split("$")[0].split() or [None])[0]
    depth = 0
    for place, letter in enumerate(rest):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return rest[1:place]
    return None  # never closed


def extract(text: str) -> str | None:
    """The final answer as it is written, or None."""
    text = text.rpartition("</think>")[2]
    found = boxed(text)
    if found is None and (announced := list(ANNOUNCED.finditer(text))):
        found = text[announced[-1].end() :].partition("\n")[0].strip()
        if formula := FORMULA.search(found):
            found = formula[1] or formula[2]
        elif not found.lstrip("-+$\\").startswith(("(", "{", "[")) and (number := LAST_NUMBER.search(found)):
            found = found if "\\" in found else number[0]
    if found is None:
        numbers = LAST_NUMBER.findall(text)
        found = numbers[-1] if numbers else None
    return found.strip() or None if found else None


def plain(answer: str) -> str:
    """The answer without what does not change it: spaces, sizes of brackets, units of degree, money and percent."""
    short = DROPPED.sub("", answer).rstrip(".")
    short = short.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    if short.startswith("{") and short.endswith("}"):
        short = short[1:-1]
    return short.replace("{,}", ",")


def number(answer: str) -> Fraction | None:
    """The answer as an exact number: 1,000, 0.5, 3/4, \\frac{3}{4}; None where it is something else."""
    short = plain(answer)
    if (found := FRACTION.fullmatch(short)) and int(found[3]):
        return Fraction(int(found[2]), int(found[3])) * (-1 if found[1] == "-" else 1)
    top, slash, bottom = short.partition("/")
    parts = [top, bottom] if slash else [top]
    if all(NUMBER.fullmatch(part) and any(map(str.isdigit, part)) and len(part) <= 60 for part in parts):
        values = [Fraction(part.replace(",", "")) for part in parts]
        return values[0] / values[1] if slash and values[1] else None if slash else values[0]
    return None


@lru_cache(maxsize=1_000_000)
def compare(gold: str, answer: str) -> str:
    """`correct`, `wrong`, or `gave_up` where an answer is too long or its comparison takes too long."""
    if plain(gold) == plain(answer):
        return "correct"
    numbers = number(gold), number(answer)
    if None not in numbers:
        return "correct" if numbers[0] == numbers[1] else "wrong"
    if len(answer) > LONGEST:
        return "gave_up"
    return call(equivalent, gold, answer, seconds=SECONDS, prepare=load) or "gave_up"


@lru_cache(maxsize=1_000_000)
def canonical(answer: str) -> str:
    """A text that is the same for answers that say the same, whatever the right answer is: numbers as exact fractions,
    `x+1` and `1+x` alike, `{1,2}` and `{2,1}` alike; `plain(answer)` where it cannot be read as mathematics."""
    if (exact := number(answer)) is not None:
        return str(exact)
    short = plain(answer)[:LONGEST]
    if len(answer) > LONGEST:
        return short
    if (word := short.strip("()")).isalpha():
        return word.lower()
    return call(normal_form, answer, seconds=SECONDS, prepare=load) or short


def load(*_) -> None:
    """Imports what the functions below need; done before a worker's time counts."""
    import logging

    import latex2sympy2_extended  # noqa: F401
    import math_verify  # noqa: F401
    import sympy  # noqa: F401

    logging.disable(logging.CRITICAL)


def start_workers() -> None:
    """Have workers import what they need while the caller goes on: for a caller that will soon have answers."""

    def start() -> None:
        with suppress(RuntimeError):  # the call that needs a worker says it
            call(int, seconds=SECONDS, prepare=load)

    for _ in range(CORES):
        Thread(target=start, daemon=True).start()


@lru_cache(maxsize=10_000)
def parsed(answer: str) -> list:
    """What Math-Verify reads: [sympy object, text], or fewer where it reads less. Runs in a worker process."""
    from math_verify import LatexExtractionConfig, parse

    return parse(f"$\\boxed{{{answer}}}$", [LatexExtractionConfig(boxed_match_priority=0)], parsing_timeout=None)


def equivalent(gold: str, answer: str) -> str:
    """The same by Math-Verify, as LaTeX. Runs in a worker process, which bounds its time and memory."""
    from math_verify import verify

    return "correct" if verify(parsed(gold), parsed(answer), timeout_seconds=None) else "wrong"


def normal_form(answer: str) -> str | None:
    """The answer evaluated and expanded by sympy, as text; constants that are not rational to 12 digits. As for
    Math-Verify, `x = 3` says 3. Runs in a worker process, which bounds its time and memory."""
    from sympy import Basic, Eq, Expr, N, Rational, Symbol, expand

    read = parsed(answer)
    if not read or not isinstance(read[0], Basic):
        return str(read[0]) if read else None
    value = read[0]
    if isinstance(value, Eq) and isinstance(value.lhs, Symbol):
        value = value.rhs
    value = value.doit()
    if isinstance(value, Expr):
        value = expand(value)
        if value.is_number and not isinstance(value, Rational):
            value = N(value, 12)
    return str(value)


def math(text: str, problem: dict) -> Verdict:
    """The verdict on a worked solution; the right answer is `problem["answer"]`."""
    answer = extract(text)
    if answer is None:
        return Verdict("no_answer")
    gold = str(problem["answer"])
    outcome = compare(gold, answer)
    if outcome == "gave_up":  # to put it into its normal form would take as long again
        return Verdict(outcome, answer, vote=plain(answer)[:LONGEST])
    # Right answers say what the gold says, however they are written; their own normal forms would take the most time.
    return Verdict(outcome, answer, vote=canonical(gold if outcome == "correct" else answer))
