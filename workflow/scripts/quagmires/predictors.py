"""Predictors before RL of the score after it: how each is measured, its sign, what it costs, and what it is called.

A predictor is one entry of PREDICTORS: tables, figures and the numbers that pages quote follow from it. Its `value`
takes what was measured on the models of one base model and gives a number of every run. Entries stand in the order of
the tables.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from largek.passk import passk_where_enough


@dataclass
class Measured:
    """What was measured on the runs of one base model before RL, on one set of problems."""

    sums: dict[str, np.ndarray]  # over the answers to a problem, (runs, problems); for their names see collect.py
    runs: pd.DataFrame  # one row a run: what is measured on other examples than these problems
    weights: np.ndarray  # of the problems in a mean over tasks, (draws, problems)
    half: str  # of the held-out examples: "", "_even" or "_odd"
    ks: list[int]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over problems of (runs, problems): (draws, runs)."""
        return self.weights @ values.T

    def share(self, name: str) -> np.ndarray:
        """The mean over problems of a sum's part of an answer."""
        return self.mean(self.sums[name] / self.sums["n"])

    def ratio(self, part: str, whole: str) -> np.ndarray:
        """The ratio of two sums' means over problems; NaN where there is nothing to divide by."""
        with np.errstate(invalid="ignore"):
            return self.mean(self.sums[part]) / self.mean(self.sums[whole])

    def of_runs(self, column: str) -> np.ndarray:
        """A column of `runs`, the same in every draw of problems."""
        return np.tile(self.runs[column].to_numpy(float), (len(self.weights), 1))

    def loss(self, name: str) -> np.ndarray:
        return self.of_runs(f"{name}{self.half}")

    @cached_property
    def rates(self) -> np.ndarray:
        """pass@k of every problem: (runs, problems, ks)."""
        grid, pairs = np.array(self.ks), zip(self.sums["n"], self.sums["correct"])
        return np.array([passk_where_enough(n, correct, grid) for n, correct in pairs])

    def passk(self, k: int) -> np.ndarray:
        return self.mean(self.rates[:, :, self.ks.index(k)])

    def together(self, *names: str) -> np.ndarray:
        """The mean of the z-scores of other predictors."""
        return sum(zscore(value_of(name, self)) for name in names) / len(names)


@dataclass(frozen=True)
class Predictor:
    value: Callable[..., np.ndarray] | None  # of Measured (and k), (draws, runs); None: lineages.py, from the training
    label: str = ""  # in figures; its own name where this is empty
    words: str = ""  # in tables of pages, which do not show it where this is empty
    text: str = ""  # in a sentence
    sign: int = 1  # -1: less promises more
    cost: tuple[str, ...] = ("samples",)  # of all samples, `own` and `common` held-out examples, first tenth of `rl`
    halves: bool = True  # halves of the problems or examples tell its reliability
    least_k: int = 1  # of a name with {k}, which stands for one predictor of every k


def log_odds(seen: Measured) -> np.ndarray:
    n, correct = seen.sums["n"], seen.sums["correct"]
    return seen.mean(np.log((correct + 0.5) / (n - correct + 0.5)))


def greedy(seen: Measured) -> np.ndarray:
    if "greedy_n" not in seen.sums:
        return np.full((len(seen.weights), len(seen.runs)), np.nan)
    asked = seen.sums["greedy_n"]
    with np.errstate(invalid="ignore"):
        return seen.mean(seen.sums["greedy_correct"] / np.where(asked, asked, np.nan))


def mixed_groups(seen: Measured) -> np.ndarray:
    first, n = seen.sums["first_correct"], seen.sums["first_n"]
    return seen.mean(((first > 0) & (first < n)).astype(float))


PREDICTORS = {
    "pass@{k}": Predictor(Measured.passk, words="pass@{k}"),
    "greedy": Predictor(greedy, "pass@1 at temperature 0", "one answer at temperature 0"),
    "log_odds": Predictor(log_odds, "mean log-odds of the rates", "rates of single problems (mean log odds)"),
    "loss_own": Predictor(
        lambda seen: seen.loss("loss_own"),
        label="−held-out loss, own mix",
        words="−loss on the run's own held-out examples",
        sign=-1,
        cost=("own",),
    ),
    "loss_common": Predictor(
        lambda seen: seen.loss("loss_common"),
        label="−held-out loss, common",
        words="−loss on common held-out examples",
        text="minus the held-out loss",
        sign=-1,
        cost=("common",),
    ),
    "combined": Predictor(
        lambda seen: seen.together("loss_common", f"pass@{large_k(seen.ks)}"),
        label="−common loss and pass@64",
        words="−common loss and pass@64 (mean of z-scores)",
        cost=("samples", "common"),
    ),
    "pair@{k}": Predictor(
        lambda seen, k: seen.together("pass@1", f"pass@{k}"), words="pass@1 and pass@{k} together", least_k=2
    ),
    "entropy": Predictor(lambda seen: seen.ratio("entropy", "tokens"), words="entropy of answers"),
    "mixed_groups": Predictor(mixed_groups, "share of mixed groups", "groups with right and wrong answers"),
    "sound": Predictor(
        lambda seen: seen.ratio("sound", "correct"),
        label="right answers well derived",
        words="right answers with right working",
    ),
    "truncated": Predictor(lambda seen: seen.share("truncated"), "−truncated answers", sign=-1),
    "length": Predictor(lambda seen: seen.share("tokens"), "answer length"),
    "weight_distance": Predictor(
        lambda seen: seen.of_runs("weight_distance"),
        label="−distance from base weights",
        words="−distance from the base weights",
        sign=-1,
        cost=(),
        halves=False,
    ),
    "mean": Predictor(None, "recipes at random", cost=()),
    "probe": Predictor(None, "reward, first tenth of RL", "reward over the first tenth of RL", cost=("rl",)),
}
BASELINES = tuple(name for name, entry in PREDICTORS.items() if entry.value is None)
# How the lines are drawn of predictors that are shown together: colour, marker, dashes.
LINES = {
    "pass@1": ("#000000", "o", "-"),
    "pass@4": ("#12439b", "s", "-"),
    "pass@16": ("#3f9fd0", "D", "-"),
    "pass@64": ("#eba71a", "^", "-"),
    "loss_common": ("#c8460b", "v", "--"),
    "combined": ("#d88cb8", "P", "--"),
    "probe": ("#0f9d76", "X", "--"),
    "mean": ("#bcbcbc", ".", ":"),
}


def names(ks: list[int]) -> list[str]:
    """Predictors that are measured before RL, those of many k for each of `ks`."""
    found = []
    for name, entry in PREDICTORS.items():
        if entry.value and "{k}" in name:
            found += [name.format(k=k) for k in ks if k >= entry.least_k]
        elif entry.value:
            found.append(name)
    return found


def entry_of(name: str) -> tuple[Predictor, int | None]:
    """The entry of a predictor, and its k if it has one. Raises KeyError where there is none."""
    stem, at, k = name.partition("@")
    return (PREDICTORS[f"{stem}@{{k}}"], int(k)) if at and k.isdigit() else (PREDICTORS[name], None)


def called(name: str, where: str = "label") -> str:
    """What a predictor, or several as pass@1+pass@64, is called in figures, or `where` else: `words` or `text`. Its own
    name where it has no other."""
    entries = [(each, *entry_of(each)) for each in name.split("+")]
    return " and ".join(getattr(entry, where).format(k=k) or each for each, entry, k in entries)


def value_of(name: str, seen: Measured) -> np.ndarray:
    """A predictor's value of every run, (draws, runs), with its sign: more always promises more."""
    entry, k = entry_of(name)
    value = entry.value(seen) if k is None else entry.value(seen, k)
    return value if entry.sign > 0 else -value


def large_k(ks: list[int]) -> int:
    """64, or the largest k below that there is."""
    return max(k for k in ks if k <= 64)


def zscore(x: np.ndarray) -> np.ndarray:
    """z-scores over the runs (last axis); 0 where all are equal, NaN where there is none."""
    there = np.isfinite(x)
    size = np.maximum(1, there.sum(-1, keepdims=True))
    centred = x - np.where(there, x, 0).sum(-1, keepdims=True) / size
    scale = np.sqrt(np.where(there, centred**2, 0).sum(-1, keepdims=True) / size)
    return centred / np.where(scale > 1e-12, scale, 1)
