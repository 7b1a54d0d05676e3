"""The verifier `math`: reads the final answer of a worked solution and compares it with the right one.

What stands for the answer is decided by `largek.final_answer`, what it is by `largek.answer_kinds`, and whether it says
the same as the right answer by `largek.answer_compare`: numbers exactly and structures piece by piece, and only where
that does not decide, as mathematics (`largek.symbolic`) in a worker process that is killed when it hangs.

Text of a model is never evaluated: numbers are read by regular expressions, and LaTeX by Math-Verify's grammar (its
reader of plain expressions, which evaluates them, is not used).
"""

import re
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from threading import Thread

from largek.answer_compare import plainly, same
from largek.answer_kinds import Quantity, read
from largek.answer_numbers import Number
from largek.answer_text import tidy
from largek.answer_votes import spelling
from largek.final_answer import boxed, extract
from largek.symbolic import equivalent, load, normal_form
from largek.verify import Verdict
from largek.workers import call, most

__all__ = ["boxed", "canonical", "compare", "extract", "load", "math", "number", "start_workers"]

LONGEST = 400  # characters of an answer that is still compared as mathematics
SECONDS = 5.0  # for one comparison
POINT, COMMA = (
    re.compile(rf"{number}(?: ?\\?%)?")
    for number in (r"-?\d+\.\d+", r"(?:-?\d+(?:,|\{,\})(?:\d{1,2}|\d{4,})|-?0(?:,|\{,\})\d+)")
)

# what stands for any integer may have any letter
PARAMETER = re.compile(
    r"[\s,;({]([a-z])\s*\\in\s*\\mathbb\s*\{?\s*[ZN]|\bintegers?[\s}$]+([a-z])(?![a-z])"
    r"|(?<![a-z\\])([a-z])[\s}$]*(?:\\text\s*\{\s*)?is an(?:y)? integer"
)


def number(answer: str) -> Fraction | None:
    """The answer as an exact number: 1,000, 0.5, 3/4, 3 1/2, 4.5e3, \\frac{3}{4}; None where it is something else. A
    percentage gives the number before its sign."""
    value = read(answer) if len(answer) <= LONGEST else None
    if isinstance(value, Quantity):
        value = value.value
    return value.value if isinstance(value, Number) else None


@lru_cache(maxsize=1_000_000)
def compare(gold: str, answer: str) -> str:
    """`correct`, `wrong`, or `gave_up` where an answer is too long or its comparison takes too long."""
    if gold.strip() == answer.strip():
        return "correct"
    if len(answer) > LONGEST or len(gold) > LONGEST:
        short = len(answer) <= 2 * LONGEST and tidy(gold).replace(" ", "") == tidy(answer).replace(" ", "")
        return "correct" if short else "gave_up"
    numbers = sorted((gold.strip(), answer.strip()), key=lambda text: "," in text)
    if POINT.fullmatch(numbers[0]) and COMMA.fullmatch(numbers[1]):  # 3,5 beside 3.5 cannot be two numbers
        gold, answer = (text.replace("{,}", ",").replace(",", ".") for text in (gold, answer))
    letters = [found and found[found.lastindex] for found in map(PARAMETER.search, (gold, answer))]
    if all(letters) and letters[0] != letters[1] and not re.search(rf"(?<![A-Za-z\\]){letters[0]}(?![A-Za-z])", answer):
        answer = re.sub(rf"(?<![A-Za-z\\]){letters[1]}(?![A-Za-z])", letters[0], answer)
    found = same(read(gold), read(answer), plainly)
    if found is not None:
        return "correct" if found else "wrong"
    return call(equivalent, gold, answer, seconds=SECONDS, prepare=load) or "gave_up"


@lru_cache(maxsize=1_000_000)
def canonical(answer: str) -> str:
    """A text that is the same for answers that say the same, whatever the right answer is: numbers as exact fractions,
    `x+1` and `1+x` alike, `{1,2}` and `{2,1}` alike; the answer itself where it cannot be read as mathematics."""
    if len(answer) > LONGEST:
        return answer.strip()[:LONGEST]
    value = read(answer)
    if (found := spelling(value, lambda _: None)) is not None:
        return found
    return call(normal_form, answer, seconds=SECONDS, prepare=load) or tidy(answer).replace(" ", "")[:LONGEST]


def start_workers() -> None:
    """Have workers import what they need while the caller goes on: for a caller that will soon have answers."""

    def start() -> None:
        with suppress(RuntimeError):  # the call that needs a worker says it
            call(int, seconds=SECONDS, prepare=load)

    for _ in range(most()):
        Thread(target=start, daemon=True).start()


def math(text: str, problem: dict) -> Verdict:
    """The verdict on a worked solution; the right answer is `problem["answer"]`."""
    answer = extract(text)
    if answer is None:
        return Verdict("no_answer")
    gold = str(problem["answer"])
    outcome = compare(gold, answer)
    if outcome == "gave_up":  # to put it into its normal form would take as long again
        return Verdict(outcome, answer, vote=answer.replace(" ", "")[:LONGEST])
    # Right answers say what the gold says, however they are written; their own normal forms would take the most time.
    vote = canonical(gold if outcome == "correct" else answer)
    if outcome == "wrong" and vote == canonical(gold):  # 5 m where 5 cm is right
        vote = tidy(answer)[:LONGEST]
    return Verdict(outcome, answer, vote=vote)
