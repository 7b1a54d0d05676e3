"""Verdicts: what is said of one answer, and by which function.

A verifier is a function `verify(text, problem) -> Verdict`: `text` is what the model wrote, `problem` the row of the
problem with at least `answer`. Named here are those that come with largek; `module:function` names one of your own.
"""

import importlib
from collections.abc import Callable
from typing import NamedTuple

from largek.common import InputError

OUTCOMES = ("correct", "wrong", "no_answer", "truncated", "gave_up")


class Verdict(NamedTuple):
    """An answer's outcome, what was read from the text as the answer, and whether the working is sound if known."""

    outcome: str
    extracted: str | None = None
    sound: bool | None = None


Verifier = Callable[[str, dict], Verdict]


def exact(text: str, problem: dict) -> Verdict:
    """Correct if the whole text equals the answer, white space at the ends and runs of it aside."""
    extracted = " ".join(text.split())
    if not extracted:
        return Verdict("no_answer")
    return Verdict("correct" if extracted == " ".join(str(problem["answer"]).split()) else "wrong", extracted)


NAMED = {"exact": "largek.verify:exact", "math": "largek.math_answers:math"}


def load_verifier(name: str) -> Verifier:
    """The verifier of that name, or the function of `module:function`. Raises InputError."""
    module, colon, function = NAMED.get(name, name).partition(":")
    if not colon:
        raise InputError(f"--verifier {name}: expected one of {', '.join(NAMED)} or module:function")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--verifier {name}: {error}") from None


def judge(verify: Verifier, text: str, problem: dict, truncated: bool) -> Verdict:
    """The verdict on one answer. This is the one function behind both `largek grade` and the GRPO reward.

    A truncated text has not finished its answer, so what can be read from it is not held to be one.
    """
    if truncated:
        return Verdict("truncated")
    return verify(text, problem)
