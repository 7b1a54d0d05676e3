"""The verifier `reasoning-gym`: asks the scorer of the reasoning-gym data set that a problem comes from.

The answer is what stands in the last `<answer>...</answer>`, else in the last box. It is correct if it is the right
answer to the letter, or if the data set's own `score_answer` gives it full marks. Partial marks are wrong. Scorers are
taken as they are: that of puzzle24, for one, accepts any four numbers in range that make 24.

Some scorers hand the answer to `eval`, or to sympy, which evaluates text too. What a model wrote must not be run, so
for data sets whose source does either, only an answer in which nothing can be called is passed on (see `harmless`); any
other is `gave_up`. All scoring happens in worker processes under limits of time and memory.

A few data sets choose their problems by the order of a set of texts or by Python's global random numbers, which differ
from process to process. Both are fixed in the workers, so `problems` makes them there, and there they are made again.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from largek.common import InputError
from largek.math_answers import boxed
from largek.thoughts import answer_in
from largek.verify import Verdict, imports
from largek.workers import call

if find_spec("reasoning_gym") is None:
    raise ImportError("it needs the package reasoning-gym")

LONGEST = 10_000  # characters of an answer that is still passed on
SECONDS = 10.0  # CPU time to score an answer
MAKING = 600.0  # CPU time to make a data set
NONSENSE = "no answer"  # a scorer that gives this full marks would give them to anything

# What sympy or `eval` may be handed: arithmetic with names, of which only these and single letters may be called.
ARITHMETIC = re.compile(r"[0-9A-Za-z\s+\-*/^().,=°]*")
FUNCTIONS = {"sqrt", "exp", "log", "ln", "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan"}
FUNCTIONS |= {"sinh", "cosh", "tanh", "abs", "Abs", "pi"}
ATTRIBUTE = re.compile(r"\.\s*[A-Za-z]")
TOWER = re.compile(r"(?:\*\*|\^)[\s(+-]*(?:[0-9.]{4,}|[0-9A-Za-z.]+\s*(?:\*\*|\^))")  # x**1000, 2**3**4
PLAIN = (ast.Expression, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Name, ast.Load)
PLAIN = (*PLAIN, ast.UnaryOp, ast.UAdd, ast.USub)


def extract(text: str) -> str | None:
    """The final answer as it is written, "" if the tags are empty; None where there are neither tags nor a box,
    and where a thought has no end."""
    said = answer_in(text)
    if said is None:
        return None
    end = said.rfind("</answer>")
    start = said.rfind("<answer>", 0, max(end, 0))
    found = said[start + len("<answer>") : end] if start >= 0 else boxed(said)
    return None if found is None else found.strip()


def gym(text: str, problem: dict) -> Verdict:
    """The verdict on an answer. Raises InputError if the row does not say which problem of reasoning-gym it is, or if
    the installed reasoning-gym makes another one there."""
    try:
        origin = problem["reasoning_gym"]
        source = (origin["name"], json.dumps(origin["config"], sort_keys=True), origin["index"])
    except (KeyError, TypeError):
        message = "the verifier reasoning-gym expects the field reasoning_gym with name, config and index"
        raise InputError(f"problem {problem.get('id')!r}: {message}") from None
    answer, right = extract(text), str(problem["answer"])
    if answer is None:
        return Verdict("no_answer")
    # where a data set has no single right answer, the row says None, which is none
    if right != "None" and right in (answer, answer.strip("\"'")):
        return Verdict("correct", answer)
    if not answer:
        return Verdict("no_answer")
    if len(answer) > LONGEST:
        return Verdict("gave_up", answer)
    try:
        return Verdict(ask(*source, str(problem["problem"]), answer), answer)
    except RuntimeError as error:
        raise InputError(f"problem {problem.get('id')!r}: reasoning-gym cannot make it again ({error})") from None


@lru_cache(maxsize=1_000_000)
def ask(name: str, config: str, index: int, question: str, answer: str) -> str:
    """The scorer's outcome. Raises RuntimeError if there is no such problem."""
    return call(score, name, config, index, question, answer, seconds=SECONDS, prepare=prepare) or "gave_up"


def problems(name: str, config: dict) -> list[tuple[str, object]]:
    """(question, answer) of every problem of a data set, made in a worker. Raises InputError if it cannot be made."""
    text = json.dumps(config, sort_keys=True)
    try:
        made = call(make_all, name, text, seconds=MAKING, prepare=dataset)
    except RuntimeError as error:
        raise InputError(f"reasoning-gym refuses {name} ({error})") from None
    if made is None:
        raise InputError(f"reasoning-gym cannot make {name} with {text}")
    return made


# What follows runs in worker processes.


@lru_cache(maxsize=16)
def dataset(name: str, config: str):
    import reasoning_gym

    return reasoning_gym.create_dataset(name, **json.loads(config))


@lru_cache(maxsize=1_000)
def entry(name: str, config: str, index: int) -> dict:
    """One problem of a data set, whatever was made before it: question, answer, metadata."""
    import random

    import numpy as np

    random.seed(index)
    np.random.seed(index)
    return dataset(name, config)[index]


def make_all(name: str, config: str) -> list[tuple[str, object]]:
    made = [entry(name, config, index) for index in range(len(dataset(name, config)))]
    return [(row["question"], row["answer"]) for row in made]


def prepare(name: str, config: str, index: int, question: str, answer: str) -> None:
    """Makes the data set and the problem, which counts towards no limit. Raises ValueError if it is another problem."""
    if entry(name, config, index)["question"] != question:
        raise ValueError("the installed version makes another problem there")
    evaluates(name, config)
    knows(name, config, index)


def score(name: str, config: str, index: int, question: str, answer: str) -> str:
    """`correct` for full marks by the data set's scorer, `wrong` for less, `gave_up` if the answer is not passed on."""
    if not harmless(answer, *evaluates(name, config)):
        return "gave_up"
    return "correct" if knows(name, config, index) and marks(name, config, index, answer) >= 1 - 1e-9 else "wrong"


def marks(name: str, config: str, index: int, answer: str) -> float:
    """The scorer's marks, 0 to 1; 0 where it fails on an answer that it cannot read."""
    try:
        # a copy, since some scorers write into the entry
        return float(dataset(name, config).score_answer(answer, deepcopy(entry(name, config, index))))
    except (MemoryError, RecursionError):
        raise
    except Exception:
        return 0.0


@lru_cache(maxsize=1_000)
def knows(name: str, config: str, index: int) -> bool:
    """Whether the scorer can tell a wrong answer. That of game_of_life_halting cannot, nor that of polynomial_equations
    for an equation without solutions: there only the right answer to the letter is correct."""
    return not marks(name, config, index, NONSENSE) >= 1 - 1e-9


@cache
def evaluates(name: str, config: str) -> tuple[bool, bool]:
    """Whether the data set's source, or what it imports of reasoning-gym, calls eval or the like; and uses sympy."""
    calls, sympy = False, False
    for package, tree in sources(type(dataset(name, config)).__module__):
        calls |= any(
            isinstance(node, ast.Name) and node.id in ("eval", "exec", "compile", "__import__")
            for node in ast.walk(tree)
        )
        sympy |= any(module.partition(".")[0] == "sympy" for module in imports(tree, package))
    return calls, sympy


def sources(module: str) -> Iterator[tuple[str, ast.AST]]:
    """Package and syntax tree of a module of reasoning-gym and of those it imports, directly or not. Packages' own
    `__init__` are left out: they import every data set there is."""
    waiting, seen = [module], set()
    while waiting:
        name = waiting.pop()
        path = getattr(sys.modules.get(name), "__file__", None)
        if name in seen or path is None or name.partition(".")[0] != module.partition(".")[0]:
            continue
        seen.add(name)
        if name != module and Path(path).name == "__init__.py":
            continue
        package, tree = name.rpartition(".")[0], ast.parse(Path(path).read_text())
        waiting += imports(tree, package)
        yield package, tree


def harmless(answer: str, calls: bool, sympy: bool) -> bool:
    """Whether the answer may be handed to a scorer that calls eval or uses sympy.

    For both: arithmetic, in which nothing is called but `FUNCTIONS` and single letters, no attribute is read, and no
    power is huge. For eval alone, also numbers, texts, names, and lists of them, and what is no expression at all,
    which eval refuses. Not for sympy: it evaluates what is inside a text, and reads more than Python does.
    """
    if not (calls or sympy):
        return True
    if ARITHMETIC.fullmatch(answer) and not ATTRIBUTE.search(answer) and not TOWER.search(answer):
        names = set(re.findall("[A-Za-z][0-9A-Za-z]*", answer))
        if "(" not in answer or all(len(name) == 1 or name in FUNCTIONS for name in names):
            return True
    if sympy:
        return False
    try:
        tree = ast.parse(answer, mode="eval")
    except (SyntaxError, ValueError):
        return True
    except (MemoryError, RecursionError):
        return False
    return all(isinstance(node, PLAIN) for node in ast.walk(tree))
