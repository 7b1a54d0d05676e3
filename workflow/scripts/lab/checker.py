"""The lab's verifier: reads the answer, compares it, and checks every step of the working.

`verify` is what `largek grade` and the GRPO reward call. The text of a model is only split into words.
"""

import re
from functools import lru_cache

from lab.problems import parse, solution
from largek.verify import Verdict

MARK = "answer"
DIGITS = re.compile(r"[0-9](?: [0-9])*")


@lru_cache(maxsize=100_000)
def _program(problem: str):
    return parse(problem)


def read_answer(text: str) -> str | None:
    """The words after the one `answer`, if they are digits; None where there is no such answer or more than one."""
    _, *after = f" {text} ".split(f" {MARK} ")
    extracted = " ".join(after[0].split()) if len(after) == 1 else ""
    return extracted if DIGITS.fullmatch(extracted) else None


def is_sound(text: str, problem: str) -> bool:
    """Whether the working names every operation in order, shows the right list after each, and nothing else."""
    return text.split() == solution(_program(problem)).split()


def verify(text: str, problem: dict) -> Verdict:
    """The verdict on one answer to a problem of the lab."""
    extracted = read_answer(text)
    if extracted is None:
        return Verdict("no_answer")
    outcome = "correct" if extracted == problem["answer"] else "wrong"
    return Verdict(outcome, extracted, is_sound(text, problem["problem"]))
