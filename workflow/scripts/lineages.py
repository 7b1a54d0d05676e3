"""A study's tables as arrays: predictors and targets of every run in every bootstrap draw of problems.

A lineage is a run with what came of it: its model before RL and the models after RL, one a GRPO seed. Runs are along
the last axis, draws along the first; draw 0 is the estimate itself, the plain mean over tasks.
"""

from itertools import combinations

import numpy as np
import pandas as pd

from largek.common import derive_seed
from largek.passk import passk, resample_weights

PROBE = 0.1  # of the RL steps: what a practitioner could run of every candidate instead of measuring it


class Lineages:
    """All runs of a study that have a score before and after RL; the base model is one of them."""

    def __init__(
        self, counts: pd.DataFrame, models: pd.DataFrame, metrics: pd.DataFrame, ks: list[int], resamples: int
    ):
        models = models[models["status"] == "ok"]
        after = models[models["stage"] == "grpo"]
        before = models[(models["stage"] != "grpo") & (models["split"] == "outcome")].set_index("run")
        self.runs = [run for run in before.index if run in set(after["run"])]
        self.before = before.loc[self.runs]
        self.series = np.array([s or r for s, r in zip(self.before["series"].fillna("").astype(str), self.runs)])
        self.ks, self.metrics = ks, metrics
        in_order = counts.sort_values(["task", "problem"]).groupby(["model", "split"], observed=True)
        self.counts = {model_and_split: rows for model_and_split, rows in in_order}
        self.pre = self.before["model"].tolist()
        self.post = [after[after["run"] == run].sort_values("grpo_seed")["model"].tolist() for run in self.runs]
        if len(self.runs) < 3:
            return  # too few for any statistic, which whoever asks says
        self.tasks = {split: self.matrix(self.pre[0], split, "task") for split in ("predict", "outcome")}
        self.weights = {
            split: np.vstack([self.even(tasks), resample_weights(tasks, resamples, split)])
            for split, tasks in self.tasks.items()
        }

    @staticmethod
    def even(tasks: np.ndarray) -> np.ndarray:
        """The weights of a plain mean over tasks, one a problem."""
        names, inverse, sizes = np.unique(tasks, return_inverse=True, return_counts=True)
        return 1 / sizes[inverse] / len(names)

    @classmethod
    def halves(cls, tasks: np.ndarray, draws: int, seed: object) -> tuple[np.ndarray, np.ndarray]:
        """Weights of random halves of the problems of every task and of the other halves: two of (draws, problems)."""
        shuffled = np.random.default_rng(derive_seed("halves", seed)).random((draws, len(tasks)))
        half = np.zeros_like(shuffled)
        for task in np.unique(tasks):
            members = np.flatnonzero(tasks == task)
            half[:, members] = shuffled[:, members].argsort(1).argsort(1) < len(members) // 2
        both = [chosen * cls.even(tasks) for chosen in (half, 1 - half)]
        return tuple(weights / weights.sum(1, keepdims=True) for weights in both)

    def matrix(self, model: str, split: str, column: str) -> np.ndarray:
        return self.counts[model, split][column].to_numpy()

    def stack(self, models: list[str], split: str, column: str) -> np.ndarray:
        return np.array([self.matrix(model, split, column) for model in models])

    def predictors(self, problems: str, weights: np.ndarray | None = None, half: str = "") -> dict[str, np.ndarray]:
        """Each predictor's value in every draw of problems: (draws, runs). A run without a value has NaN throughout.

        More always promises more: losses, truncation and the distance from the base weights enter with a minus sign.
        `weights` are draws of other problems than those of the bootstrap, `half` ("_even", "_odd") the losses on half
        of the held-out examples.
        """
        split = "predict" if problems == "disjoint" else "outcome"
        weights = self.weights[split] if weights is None else weights
        names = ("n", "correct", "tokens", "entropy", "truncated", "sound")
        sums = {name: self.stack(self.pre, split, name) for name in names}
        if problems == "shared":  # leave the block out that the gain is measured on
            sums = {name: total - self.stack(self.pre, split, f"gain_{name}") for name, total in sums.items()}
        grid = np.array(self.ks)
        values = {f"pass@{k}": [] for k in self.ks}
        for run in range(len(self.runs)):
            drawn = weights @ passk(sums["n"][run], sums["correct"][run], grid)
            for column, k in enumerate(self.ks):
                values[f"pass@{k}"].append(drawn[:, column])
        out = {name: np.array(rows).T for name, rows in values.items()}
        for name in ("loss_own", "loss_common"):
            out[name] = self.of_runs(-self.before[f"{name}{half}"], weights)
        largest = f"pass@{64 if 64 in self.ks else max(self.ks)}"
        out["combined"] = (zscore(out["loss_common"]) + zscore(out[largest])) / 2
        out["entropy"] = (weights @ sums["entropy"].T) / (weights @ sums["tokens"].T)
        first, first_n = (self.stack(self.pre, split, name) for name in ("first_correct", "first_n"))
        out["mixed_groups"] = weights @ ((first > 0) & (first < first_n)).T.astype(float)
        with np.errstate(invalid="ignore"):  # 0 / 0 without any right answer
            out["sound"] = (weights @ sums["sound"].T) / (weights @ sums["correct"].T)
        out["truncated"] = -(weights @ (sums["truncated"] / sums["n"]).T)
        out["length"] = weights @ (sums["tokens"] / sums["n"]).T
        out["weight_distance"] = self.of_runs(-self.before["weight_distance"], weights)
        return {name: with_ties(values) for name, values in out.items()}

    def baselines(self) -> dict[str, np.ndarray]:
        """What needs no sampling: `mean` knows nothing, `probe` is the mean reward over the first steps of RL."""
        weights = self.weights["outcome"]
        first = self.metrics["step"] <= np.ceil(PROBE * self.metrics.groupby("model")["step"].transform("max"))
        reward = self.metrics[first].groupby("model")["reward"].mean()
        probe = [np.mean([reward[model] for model in models]) for models in self.post]
        return {"mean": self.of_runs(np.zeros(len(self.runs)), weights), "probe": self.of_runs(probe, weights)}

    @staticmethod
    def of_runs(values, weights: np.ndarray) -> np.ndarray:
        """A value of each run that is the same in every draw of problems."""
        return np.tile(np.asarray(values, float), (len(weights), 1))

    def targets(self) -> dict[str, np.ndarray]:
        """What is to be predicted: (draws, runs) each.

        `score` is the score after RL, `gain` the same minus the score before. `half_steps` and `matched_tokens` are
        rewards in training, means over a tenth of the steps: up to half of the steps, and up to as many tokens as the
        run of the shortest answers has seen in all.
        """
        after, before = self.scores(self.weights["outcome"]), self.before_rl()
        out = {"score": after, "gain": after - before}
        half, matched = [], []
        ends = self.metrics.groupby("model")["num_tokens"].max()
        least = ends.loc[[model for models in self.post for model in models]].min()
        for models in self.post:
            rows = [self.metrics[self.metrics["model"] == model] for model in models]
            half.append(np.mean([reward_at(each, each["step"], each["step"].max() / 2) for each in rows]))
            matched.append(np.mean([reward_at(each, each["num_tokens"], least) for each in rows]))
        out["half_steps"] = self.of_runs(half, self.weights["outcome"])
        out["matched_tokens"] = self.of_runs(matched, self.weights["outcome"])
        return {name: with_ties(values) for name, values in out.items()}

    def scores(self, weights: np.ndarray, seeds: list[int] | None = None) -> np.ndarray:
        """Post-RL pass@1, the mean over all GRPO seeds or those at the positions `seeds`: (draws, runs)."""
        chosen = [[models[s] for s in seeds] if seeds is not None else models for models in self.post]
        rates = [
            np.mean([self.matrix(m, "outcome", "correct") / self.matrix(m, "outcome", "n") for m in models], 0)
            for models in chosen
        ]
        return with_ties(weights @ np.array(rates).T)

    def before_rl(self) -> np.ndarray:
        """Pre-RL pass@1 on outcome problems from the block that no predictor uses: (draws, runs)."""
        n, c = (self.stack(self.pre, "outcome", name) for name in ("gain_n", "gain_correct"))
        return self.weights["outcome"] @ (c / n).T

    def split_scores(self) -> tuple[np.ndarray, np.ndarray, str]:
        """Post-RL scores to pick the best run by, scores to value it by, and what the two halves differ in."""
        repeated = min(map(len, self.post))
        if repeated >= 2:
            halves = list(combinations(range(repeated), repeated // 2))
            picks = [self.scores(self.weights["outcome"], list(half)) for half in halves]
            values = [
                self.scores(self.weights["outcome"], [s for s in range(repeated) if s not in half]) for half in halves
            ]
            which = np.arange(len(self.weights["outcome"])) % len(halves)
            rows = np.arange(len(which))
            return np.array(picks)[which, rows], np.array(values)[which, rows], "seeds"
        half, other = self.halves(self.tasks["outcome"], len(self.weights["outcome"]), "regret")
        return self.scores(half), self.scores(other), "problem halves"


def reward_at(rows: pd.DataFrame, clock: pd.Series, end: float) -> float:
    """Mean reward over the last tenth of all steps before `clock` passes `end`."""
    reached = int((clock <= end).sum())
    width = max(1, round(len(rows) / 10))
    return rows["reward"].iloc[max(0, reached - width) : max(1, reached)].mean()


def with_ties(values: np.ndarray) -> np.ndarray:
    """The values to 40 binary places. Equal fractions tie then in ranks and choices, in whatever order their sums were
    added up, which differs between processors."""
    return np.round(values * 2.0**40) / 2.0**40


def zscore(x: np.ndarray) -> np.ndarray:
    """z-scores over the runs (last axis); 0 where all are equal."""
    scale = np.nanstd(x, -1, keepdims=True)
    return (x - np.nanmean(x, -1, keepdims=True)) / np.where(scale > 1e-12, scale, 1)
