"""A problem, and a worked example, as every command knows them: rows of JSON whose fields have been checked.

What is read from a file becomes a `Problem` or an `Example` here and nowhere else, so all that comes after may take a
field for what its type says. Fields of other names stay as they are, for verifiers of one's own.
"""

import math
from typing import NotRequired, TypedDict, cast

from largek.common import InputError


class Problem(TypedDict):
    """`answer` is None where an import has brought none."""

    id: str
    task: str
    split: str
    problem: str
    answer: str | int | float | None
    prompt: NotRequired[str]  # what the model is asked, if that is not the problem alone
    solution: NotRequired[str]  # a worked solution
    family: NotRequired[str]  # what kind of problem it is
    verifier: NotRequired[str | None]  # reads the answers, if nobody names another
    reasoning_gym: NotRequired[dict]  # the data set that it comes from, and its place there
    samples: NotRequired[int]  # of a store: how many answers were asked for


class Example(TypedDict):
    problem: str
    solution: str
    prompt: NotRequired[str]


def as_problem(row: dict, where: str) -> Problem:
    """The row as a problem of a task. Raises InputError that names `where` (file and row, or task and row) and the
    field."""
    need_fields(row, ("id", "task", "split", "problem", "answer"), where)
    need_texts(row, ("id", "problem", "task", "split", "prompt"), where)
    need_names(row, where)
    need_answer(row["answer"], where)
    need_verifier(row, where)
    return cast(Problem, row)


def as_stored(row: dict, where: str) -> Problem:
    """The row as a problem of a store: it has a number of `samples`. Imports may lack a right answer, and what was
    asked. Raises InputError."""
    need_fields(row, ("id", "task", "split", "problem", "answer", "samples"), where)
    for field in ("id", "task", "split", "problem", "prompt"):
        if not isinstance(row.get(field, ""), str):
            raise InputError(f"{where}, {field}: expected text, got {row[field]!r:.80}")
    need_names(row, where)
    need_verifier(row, where)
    if type(row["samples"]) is not int or not 0 <= row["samples"] < 2**31:
        raise InputError(f"{where}, samples: expected a number of answers, got {row['samples']!r:.80}")
    return cast(Problem, row)


def as_example(row: dict, where: str) -> Example:
    """The row as a worked example. Raises InputError."""
    need_fields(row, ("problem", "solution"), where)
    need_texts(row, ("problem", "solution", "prompt"), where)
    return cast(Example, row)


def prompt_of(row: Problem | Example) -> str:
    """What the model is asked."""
    return row.get("prompt", row["problem"])


def need_fields(row: dict, fields: tuple[str, ...], where: str) -> None:
    if missing := [field for field in fields if field not in row]:
        raise InputError(f"{where}: expected the field {missing[0]!r}, found {', '.join(row)}")


def need_texts(row: dict, fields: tuple[str, ...], where: str) -> None:
    """Raises InputError unless something stands in each of these fields that the row has."""
    for field in fields:
        if field in row and not (isinstance(row[field], str) and row[field].strip()):
            raise InputError(f"{where}, {field}: expected text, got {row[field]!r:.80}")


def need_names(row: dict, where: str) -> None:
    """Raises InputError if a name ends in what arrays of texts do not keep, so that two names would be one."""
    for field in ("id", "task", "split"):
        if "\0" in row[field]:
            raise InputError(f"{where}, {field}: expected text without NUL, got {row[field]!r:.80}")


def need_verifier(row: dict, where: str) -> None:
    if not isinstance(row.get("verifier"), str | None):
        raise InputError(f"{where}, verifier: expected the name of one, got {row['verifier']!r:.80}")


def need_answer(answer: object, where: str) -> None:
    """Raises InputError if a right answer is neither text nor a number: null, NaN, a list of several and the like."""
    if type(answer) not in (str, int, float) or answer != answer or answer in (math.inf, -math.inf):
        hint = "; what is no answer goes into fields of other names"
        raise InputError(f"{where}, answer: expected text or a number, got {answer!r:.80}{hint}")
