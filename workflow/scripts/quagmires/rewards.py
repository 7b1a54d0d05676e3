"""The rewards of RL: the study's verifier, functions of one's own as TRL takes them, or a coin.

A reward of one's own is `module:function`, in a file of workflow/scripts/ or an installed package:

    def short(completions, **kwargs):
        return [-len(text) / 100 for text in completions]

It gets lists with an entry for each answer: `completions` (texts, or chats of one message in a study with a chat
template), `completion_ids` (their tokens), `prompts`, and each field of the problems by its name, such as `answer`;
and it returns a number for each answer, or None where it has nothing to say. TRL adds them up by their weights and logs
each by its name, as rewards/short/mean.
"""

import importlib
import math
from collections.abc import Callable

from largek.common import InputError
from largek.verify import Verifier, judge


def read_rewards(words: list[str]) -> tuple[list[float], dict[str, Callable | None]]:
    """The weights and the functions of rewards, from words such as verifier=1.0; without a number it is 1. Verifier and
    coin have no function yet. Raises InputError for one that is not there."""
    weights, functions = [], {}
    for word in words:
        name, given, number = word.partition("=")
        try:
            weights.append(float(number) if given else 1.0)
        except ValueError:
            raise InputError(f"--reward {word}: expected a name, or a name and a number as in {name}=1.0") from None
        functions[name] = None if name in ("verifier", "coin") else load(name)
    return weights, functions


def load(name: str) -> Callable:
    """The function of `module:function`."""
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except Exception as error:  # of a module that is not ours
        raise InputError(f"--reward {name}: {in_one_line(error)}") from None


def reward_functions(
    functions: dict[str, Callable | None], verify: Verifier, ends: list[int], rows: list[dict]
) -> list:
    """What a trainer calls, in the order of `functions`. `rows` are the problems in their order, `ends` the tokens that
    end an answer."""
    known = {"verifier": reward_function(verify, ends, rows), "coin": coin}
    return [known.get(name) or own_function(name, function, rows) for name, function in functions.items()]


def reward_function(verify: Verifier, ends: list[int], rows: list[dict]) -> Callable:
    """The verifier as a reward: 1 for an answer that it calls correct, 0 otherwise.

    The trainer hands on the `row` of each answer as its number in `rows`; whole rows it would copy field by field.
    """

    def correct(completions, completion_ids, row, **kwargs) -> list[float]:
        cut = [ids[-1] not in ends for ids in completion_ids]
        texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]  # or a chat
        verdicts = [judge(verify, text, rows[number], short) for text, number, short in zip(texts, row, cut)]
        return [float(verdict.outcome == "correct") for verdict in verdicts]

    return correct


def coin(completions, **kwargs) -> list[float]:
    """A reward that knows nothing: heads or tails, from torch's own generator, whose state is in every checkpoint."""
    import torch

    return (torch.rand(len(completions)) < 0.5).float().tolist()


def own_function(name: str, function: Callable, rows: list[dict]) -> Callable:
    """A function of one's own, which gets the fields of the problems besides what TRL gives it."""
    fields = dict.fromkeys(field for row in rows for field in row)

    def of_answers(completions, row, **kwargs) -> list[float | None]:
        given = {field: [rows[number].get(field) for number in row] for field in fields}
        try:
            values = function(**given | kwargs | {"completions": completions})
            values = [None if value is None else float(value) for value in values]
        except Exception as error:
            raise InputError(f"--reward {name}: {in_one_line(error)}") from error
        if len(values) != len(completions) or not all(value is None or math.isfinite(value) for value in values):
            wanted = f"a finite number or None for each of {len(completions)} answers"
            raise InputError(f"--reward {name}: expected {wanted}, got {len(values)}: {values!r:.80}")
        return values

    of_answers.__name__ = name.partition(":")[2]  # TRL calls its metrics by this name
    return of_answers


def in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
