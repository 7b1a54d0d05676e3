"""A study's tables as arrays: predictors and targets of every recipe of every base model.

A lineage is a run with what came of it: its model before RL and the models after RL, at each number of steps, one a
GRPO seed. Runs of one recipe differ in their SFT seed alone and are averaged: seeds are never counted as recipes. RL on
a coin flip's reward makes no lineage, nor does an average of weights. `base`, RL without SFT, is a recipe like others.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from largek.common import derive_seed
from quagmires.bases import RECIPE
from quagmires.predictors import Measured, names, value_of
from quagmires.rank_statistics import spearman

PROBE = 0.1  # of the RL steps: what a practitioner could run of every candidate instead of measuring it
DRAWS = 1000  # of the noise of runs
GAIN = ("n", "correct", "tokens", "entropy", "truncated", "sound")  # are counted in the block of the gain, too


class Base:
    """The runs of one base model before and after RL."""

    def __init__(self, name: str, counts: pd.DataFrame, models: pd.DataFrame, metrics: pd.DataFrame, ks: list[int]):
        self.name, self.ks = name, ks
        ok = models[models["status"] == "ok"]
        before = ok[(ok["stage"] != "grpo") & (ok["split"] == "outcome") & (ok["mix"] != "average")]
        self.before = before.drop_duplicates("run").set_index("run")
        self.runs, self.pre = self.before.index.tolist(), self.before["model"].tolist()
        self.series = np.array(
            [s or r for s, r in zip(self.before["series"].astype(object).fillna("").astype(str), self.runs)]
        )
        self.recipes = recipes_of(self.before)
        after = ok[(ok["stage"] == "grpo") & (ok["reward"] == "verifier")]
        after = after.assign(short=after["model"].str.len()).sort_values(["grpo_seed", "short"])
        after = after.drop_duplicates(["run", "rl_steps", "grpo_seed"])  # of two names of one model the shorter
        self.post = {
            int(steps): {run: rows["model"].tolist() for run, rows in part.groupby("run")}
            for steps, part in after.groupby("rl_steps")
        }
        place = [pd.factorize(counts[column], sort=True)[0] for column in ("problem", "task")]
        counts = counts.iloc[np.lexsort(place)]
        self.columns = {column: counts[column].to_numpy() for column in counts if column not in ("model", "split")}
        self.at = counts.groupby(["model", "split"], observed=True).indices
        self.tasks = {split: self.column(self.pre[0], split, "task") for split in ("predict", "outcome") if self.pre}
        training = metrics["model"].astype(str).str.replace(r"/steps-\d+$", "", regex=True)
        self.known: dict[str, float] = {}  # scores after RL that were asked for
        self.metrics = {
            model: rows.drop_duplicates("step").sort_values("step") for model, rows in metrics.groupby(training)
        }

    def column(self, model: str, split: str, column: str) -> np.ndarray:
        return self.columns[column][self.at[model, split]]

    def stack(self, split: str, column: str) -> np.ndarray:
        """A column of the counts of every model before RL: (runs, problems)."""
        return np.array([self.column(model, split, column) for model in self.pre])

    def predictors(self, problems: str, weights: np.ndarray | None = None, half: str = "") -> dict[str, np.ndarray]:
        """Each predictor's value of every run, (draws, runs), NaN where a run has none. Without `weights` there is one
        draw, the plain mean over tasks.

        More always promises more: `sign` in predictors.py says what enters with a minus sign. `half` ("_even", "_odd")
        takes the losses on half of the held-out examples.
        """
        split = "predict" if problems == "disjoint" else "outcome"
        weights = even(self.tasks[split])[None] if weights is None else weights
        sums = {name: self.stack(split, name) for name in self.columns if name not in ("problem", "task")}
        gain = {name: sums[f"gain_{name}"] for name in GAIN}
        if problems == "shared" and (sums["n"] > gain["n"]).all():  # leave the block out that the gain is measured on
            sums |= {name: sums[name] - gain[name] for name in GAIN}
        seen = Measured(sums, self.before, weights, half, self.ks)
        return {name: with_ties(value_of(name, seen)) for name in names(self.ks)}

    def of_lineages(self, steps: int, value) -> np.ndarray:
        """The mean over GRPO seeds of value(model) of every run; NaN where RL did not get as far."""
        post = self.post.get(steps, {})
        return np.array(
            [np.mean([value(model) for model in post[run]]) if run in post else np.nan for run in self.runs]
        )

    def baselines(self, steps: int) -> dict[str, np.ndarray]:
        """What needs no sampling: `mean` knows nothing, `probe` is the mean reward over the first tenth of RL."""

        def probe(model: str) -> float:
            rows = self.metrics.get(model.partition("/steps-")[0])
            return np.nan if rows is None else rows["reward"][rows["step"] <= np.ceil(PROBE * steps)].mean()

        return {"mean": np.zeros(len(self.runs)), "probe": with_ties(self.of_lineages(steps, probe))}

    def score(self, model: str) -> float:
        """pass@1 on outcome problems."""
        if model not in self.known:
            rate = self.column(model, "outcome", "correct") / self.column(model, "outcome", "n")
            self.known[model] = float(even(self.tasks["outcome"]) @ rate)
        return self.known[model]

    def before_rl(self) -> np.ndarray:
        """Pre-RL pass@1 of every run on outcome problems, from the block that no predictor uses if there is one."""
        n, correct = self.stack("outcome", "gain_n"), self.stack("outcome", "gain_correct")
        if not (n > 0).all():
            n, correct = self.stack("outcome", "n"), self.stack("outcome", "correct")
        return (correct / n) @ even(self.tasks["outcome"])

    def targets(self, steps: int, longest: bool) -> dict[str, np.ndarray]:
        """What is to be predicted, of every run; NaN where RL did not get as far.

        `score` is the score after RL, `gain` the same minus the score before. After the longest RL also `half_steps`
        and `matched_tokens`, rewards in training, means over a tenth of the steps: up to half of the steps, and up to
        as many tokens as the run of the shortest answers has seen in all.
        """
        score = self.of_lineages(steps, self.score)
        out = {"score": score, "gain": score - self.before_rl()}
        if longest:
            trained = [
                model.partition("/steps-")[0] for models in self.post.get(steps, {}).values() for model in models
            ]
            least = min((self.metrics[m]["num_tokens"].max() for m in trained if m in self.metrics), default=0)

            def reward(model: str, clock: str, end: float) -> float:
                rows = self.metrics.get(model.partition("/steps-")[0])
                return np.nan if rows is None else reward_at(rows, rows[clock], end)

            out["half_steps"] = self.of_lineages(steps, lambda model: reward(model, "step", steps / 2))
            out["matched_tokens"] = self.of_lineages(steps, lambda model: reward(model, "num_tokens", least))
        return {name: with_ties(values) for name, values in out.items()}

    def by_recipe(self, kept: np.ndarray, *columns: np.ndarray) -> tuple["Recipes", list[np.ndarray]]:
        """The recipes of the `kept` runs, and columns averaged over the runs of each."""
        names, first, of, runs = np.unique(
            self.recipes[kept], return_index=True, return_inverse=True, return_counts=True
        )
        means = [with_ties(np.bincount(of, values[kept], len(names)) / runs) for values in columns]
        return Recipes(names.tolist(), runs, self.series[kept][first]), means


class Recipes(NamedTuple):
    names: list[str]
    runs: np.ndarray  # how many each has
    series: np.ndarray


def read_lineages(counts: pd.DataFrame, models: pd.DataFrame, metrics: pd.DataFrame, ks: list[int]) -> list[Base]:
    """Every base model of the study that has a model before RL; all tables have the column base_model."""
    found = []
    for name in models["base_model"].unique():
        here = [table[table["base_model"] == name].drop(columns="base_model") for table in (counts, models, metrics)]
        base = Base(name, *here, ks)
        if base.runs:
            found.append(base)
    return found


def steps_of(bases: list[Base]) -> list[int]:
    """The numbers of RL steps that there are scores after, in order."""
    return sorted({steps for base in bases for steps in base.post})


def recipes_of(before: pd.DataFrame) -> np.ndarray:
    """A name for the recipe of every row. Runs of one mix, size and epochs are one recipe if their SFT seeds differ;
    two of one seed differ in something else, and are recipes of their own."""
    cells = pd.Series([" ".join(map(str, row)) for row in before.reindex(columns=RECIPE).to_numpy()], before.index)
    mix, seed = (before.reindex(columns=[name])[name] for name in ("mix", "sft_seed"))
    twice = pd.DataFrame({"cells": cells, "seed": seed}).duplicated(keep=False)
    return np.where(twice | mix.isna() | (mix == "own checkpoint"), before.index, cells).astype(str)


class Noise(NamedTuple):
    """How far a run's score after RL lies from that of another with other seeds: standard deviation, and from where."""

    sd: float
    source: str


def noise_of_runs(bases: list[Base], steps: int, given: float | None) -> Noise:
    """From runs of one recipe, else as `given`, else from GRPO seeds of one run (without that of SFT), else from what
    is left of the scores without the means of their recipe and base model, in shares. That holds what truly differs
    from base model to base model too, so it is at least the noise."""
    groups = {"SFT seeds": [], "GRPO seeds": []}
    scores = {}
    for base in bases:
        score = base.of_lineages(steps, base.score)
        there = np.isfinite(score)
        for name in np.unique(base.recipes[there]):
            groups["SFT seeds"].append(score[there & (base.recipes == name)])
            scores[base.name, name] = groups["SFT seeds"][-1].mean()
        for models in base.post.get(steps, {}).values():
            groups["GRPO seeds"].append(np.array([base.score(model) for model in models]))
    for source, members in groups.items():
        if source == "GRPO seeds" and given is not None:
            return Noise(given, "given")
        df = sum(len(values) - 1 for values in members)
        if df >= 3:
            squares = sum(((values - values.mean()) ** 2).sum() for values in members)
            mean = np.mean([1 / len(values) for values in members]) if source == "GRPO seeds" else 1
            return Noise((squares / df * mean) ** 0.5, source)
    table = pd.Series(scores).unstack().dropna(axis=1) if scores else pd.DataFrame()
    if min(table.shape) >= 3:
        left = table.sub(table.mean(axis=1), axis=0).sub(table.mean() - table.stack().mean(), axis=1).to_numpy()
        df = (table.shape[0] - 1) * (table.shape[1] - 1)
        return Noise(((left**2).sum() / df) ** 0.5, "base models")
    return Noise(np.nan, "")


def expectations(score: np.ndarray, sizes: np.ndarray, noise: Noise, seed: object) -> np.ndarray:
    """Draws of what recipes would score in the mean over seeds, given what they scored: (DRAWS, recipes).

    The recipes' expectations are taken as normal around their mean (empirical Bayes): scores are drawn in towards it,
    the more the more of their spread is noise of runs, so that the luck of the best is taken from it. Where the noise
    is not known, the scores themselves, once.
    """
    if not np.isfinite(noise.sd) or len(score) < 2:
        return score[None]
    own = noise.sd**2 / sizes
    true = max(0.0, score.var(ddof=1) - own.mean())
    kept = true / (true + own) if true else np.zeros(len(score))
    rng = np.random.default_rng(derive_seed("expectations", seed))
    drawn = rng.standard_normal((DRAWS, len(score))) * np.sqrt(kept * own)
    return score.mean() + kept * (score - score.mean()) + drawn


def regret(choice: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """What the recipe that `choice` puts first loses against the best in each draw of `expected`, (draws, recipes).
    Recipes that tie for the first place count by their mean."""
    return expected.max(1) - expected[:, choice == choice.max()].mean(1)


def ceiling(score: np.ndarray, sizes: np.ndarray, noise: Noise, seed: object) -> float:
    """Spearman's correlation that the recipes' expectations themselves would have with scores of one run each (or as
    many as there were), on average: what a perfect predictor could reach. NaN where the noise is not known."""
    spread = score.var(ddof=1) if len(score) > 2 else 0.0
    if not np.isfinite(noise.sd) or spread < 1e-12:
        return np.nan
    own = noise.sd**2 / sizes
    true = score * np.sqrt(max(0.0, 1 - own.mean() / spread))  # as far apart as expectations are
    rng = np.random.default_rng(derive_seed("ceiling", seed))
    drawn = true + rng.standard_normal((DRAWS, len(score))) * np.sqrt(own)
    return float(np.nan_to_num(spearman(np.broadcast_to(with_ties(true), drawn.shape), drawn)).mean())


def even(tasks: np.ndarray) -> np.ndarray:
    """The weights of a plain mean over tasks, one a problem."""
    names, inverse, sizes = np.unique(tasks.astype(str), return_inverse=True, return_counts=True)
    return 1 / sizes[inverse] / len(names)


def halves(tasks: np.ndarray, draws: int, seed: object) -> tuple[np.ndarray, np.ndarray]:
    """Weights of random halves of the problems of every task and of the other halves: two of (draws, problems)."""
    shuffled = np.random.default_rng(derive_seed("halves", seed)).random((draws, len(tasks)))
    half = np.zeros_like(shuffled)
    for task in np.unique(tasks.astype(str)):
        members = np.flatnonzero(tasks == task)
        half[:, members] = shuffled[:, members].argsort(1).argsort(1) < len(members) // 2
    both = [chosen * even(tasks) for chosen in (half, 1 - half)]
    return tuple(weights / weights.sum(1, keepdims=True) for weights in both)


def reward_at(rows: pd.DataFrame, clock: pd.Series, end: float) -> float:
    """Mean reward over the last tenth of all steps before `clock` passes `end`."""
    reached = int((clock <= end).sum())
    width = max(1, round(len(rows) / 10))
    return rows["reward"].iloc[max(0, reached - width) : max(1, reached)].mean()


def with_ties(values: np.ndarray) -> np.ndarray:
    """The values to 40 binary places. Equal fractions tie then in ranks and choices, in whatever order their sums were
    added up, which differs between processors."""
    return np.round(values * 2.0**40) / 2.0**40
