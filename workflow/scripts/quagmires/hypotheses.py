"""The statistic of every hypothesis of the plan, of one base model. judge_hypotheses.py says what they are."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from largek.common import derive_seed
from quagmires.kinds import JUDGED, MANY
from quagmires.lineages import with_ties
from quagmires.mixes import MIXES
from quagmires.promises import curve, over_promise, read_ok_models, scores_of
from quagmires.rank_statistics import FEWEST_RECIPES, correlation, ranks, spearman

CLAIMS = {  # the sign of the effect that is claimed
    **{"simple": -1, "repeated": -1, "homogeneous": -1, "large_k": 1, "loss": 1, "best_k_grows": 1},
    **{"over_promise_grows": -1, "large_k_adds": 1, "argmax_k_grows": 1},
}
SECONDARY = ("large_k_adds", "argmax_k_grows")
TREATED = (*JUDGED, "over_promise_grows")
LARGE = 64  # the large k


@dataclass
class Scores:
    """Recipes of one base model (or of many that have the same, along axes in front), as arrays along the last axis."""

    runs: pd.DataFrame  # mix ("base" without SFT), epochs, and seeds, how many runs a recipe's scores are means of
    steps: list[int]
    before: np.ndarray  # (..., recipes), points
    after: np.ndarray  # (..., steps, recipes), points
    passk: dict[int, np.ndarray]  # k to (..., recipes)
    loss: np.ndarray  # (..., recipes)

    def kind(self, name: str) -> np.ndarray:
        mix, epochs = self.runs["mix"].to_numpy(), self.runs["epochs"].to_numpy(float)
        if name == "repeated":
            return (mix == "random") & (epochs >= MANY)
        if name == "curve":
            return (mix == "base") | (mix == "random") & (epochs == 1)
        if name == "over_promise_grows":
            return self.kind("simple") | self.kind("repeated")
        return (mix == name) & (epochs == 1)

    def over_promise(self) -> np.ndarray:
        """(..., steps, recipes), NaN outside the curve."""
        knots = self.kind("curve")
        before = self.before[..., None, :]
        return over_promise(curve(before[..., knots], self.after[..., knots]), before, self.after)


def mean_of(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Mean along the last axis over `kept` that are not NaN; NaN where none is."""
    there = kept & np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(-1) / there.sum(-1)


def slope(values: np.ndarray, steps: list[int]) -> np.ndarray:
    """Least-squares slope per doubling of the steps, the last axis; NaN with one number of steps."""
    x = np.log2(np.asarray(steps, float))
    x = x - x.mean()
    return (values * x).sum(-1) / (x**2).sum() if len(steps) > 1 else np.full(values.shape[:-1], np.nan)


def partial(x: np.ndarray, y: np.ndarray, given: np.ndarray, draws: int = 0, seed: object = 0):
    """Partial rank correlation of x and y given a third, along the last axis; with `draws` also those of permutations.

    Freedman and Lane: residuals of y's ranks on the third's are permuted and added back to the fit. Since residuals are
    taken again, the fit drops out. Draws are along a new first axis.
    """
    x, y, z = map(ranks, (x, y, given))
    z = z - z.mean(-1, keepdims=True)

    def residual(values: np.ndarray) -> np.ndarray:
        values = values - values.mean(-1, keepdims=True)
        return values - z * (values * z).sum(-1, keepdims=True) / (z**2).sum(-1, keepdims=True)

    x, y = residual(x), residual(y)
    found = correlation(x, y)
    if not draws:
        return found
    rng = np.random.default_rng(derive_seed("partial", seed))
    return found, correlation(x, residual(rng.permuted(np.repeat(y[None], draws, 0), axis=-1)))


def statistics(scores: Scores, noise: float = 0.0) -> dict[str, np.ndarray]:
    """The statistic of every hypothesis for each base model, NaN where it has none, and what premises are told from.

    `lead:` is the mean lead before RL of the treated recipes, `runs:` their number, `share` the part of the variance of
    scores after RL that is not noise of seeds, whose sd is `noise`.
    """
    out, over, recipes = {}, scores.over_promise(), scores.before.shape[-1]
    base = scores.runs["mix"].to_numpy() == "base"
    for name in TREATED:
        kept = scores.kind(name) & np.isfinite(over[..., -1, :])
        out[f"lead:{name}"] = mean_of(scores.before, kept) - mean_of(scores.before, base)
        out[f"runs:{name}"] = kept.sum(-1)
        means = mean_of(over, scores.kind(name)[..., None, :])
        value = slope(means, scores.steps) if name == "over_promise_grows" else means[..., -1]
        out[name] = np.where(np.isfinite(out[f"lead:{name}"]), value, np.nan)  # none without a score of the base model
    after, ks, large = with_ties(scores.after), sorted(scores.passk), max(k for k in scores.passk if k <= LARGE)
    last = after[..., -1, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        out["share"] = 1 - noise**2 * (1 / scores.runs["seeds"]).mean() / last.var(-1, ddof=1)
    if recipes < FEWEST_RECIPES:
        return out | {name: np.full(last.shape[:-1], np.nan) for name in CLAIMS if name not in TREATED}
    rho = np.stack([spearman(with_ties(scores.passk[k])[..., None, :], after) for k in ks], -1)  # (..., steps, ks)
    out["loss"] = spearman(with_ties(-scores.loss), last) - rho[..., -1, 0]
    small, big = rho[..., 0], rho[..., ks.index(large)]
    out["large_k"] = (big - small)[..., -1]
    both = spearman(with_ties(scores.passk[1]), with_ties(scores.passk[large]))[..., None]
    weights = small - both * big, big - both * small  # of standardised ranks, but for a factor that they share
    rho = with_ties(rho)
    best = rho == rho.max(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weights[1] / (np.abs(weights[0]) + np.abs(weights[1]))
        highest = (best * np.log2(ks)).sum(-1) / best.sum(-1)
    out["best_k_grows"], out["argmax_k_grows"] = (
        slope(np.log2(large) * share, scores.steps),
        slope(highest, scores.steps),
    )
    out["large_k_adds"] = partial(scores.passk[large], last, scores.passk[1])
    return out


def read_scores(path: str) -> tuple[dict[str, Scores], int]:
    """Scores of each base model from models.csv, and how many recipes lack one; seeds of a recipe are averaged."""
    models = read_ok_models(path)
    ks = sorted(int(name.split("@")[1]) for name in models if name.startswith("pass@") and name.split("@")[1].isdigit())
    rows = scores_of(models)
    steps = sorted(rows["rl_steps"].unique())
    values = models[(models["stage"] != "grpo") & (models["split"] == "predict")]
    values = values[["base_model", "run", "loss_common", *(f"pass@{k}" for k in ks)]]
    rows = rows[rows["mix"].isin([*MIXES, "base"])].merge(values, on=["base_model", "run"])
    ks = [k for k in ks if rows[f"pass@{k}"].notna().any()]
    found, left_out = {}, 0
    for base_model, part in rows.groupby("base_model"):
        after = part.pivot_table(index="recipe", columns="rl_steps", values="after", sort=False).reindex(columns=steps)
        means = part[part["rl_steps"] == steps[0]].groupby("recipe", sort=False)
        runs = means[["run", "mix", "epochs"]].first().assign(seeds=means.size())
        numbers = means[["before", "loss_common", *(f"pass@{k}" for k in ks)]].mean()
        needed = numbers[["before", *(f"pass@{k}" for k in ks)]].join(after)
        complete = needed.index[needed.notna().all(axis=1)]
        left_out += len(needed) - len(complete)
        runs, numbers, after = runs.loc[complete], numbers.loc[complete], after.loc[complete].to_numpy().T
        passk = {k: numbers[f"pass@{k}"].to_numpy() for k in ks}
        if len(complete):
            loss = numbers["loss_common"].to_numpy()
            found[base_model] = Scores(runs, steps, numbers["before"].to_numpy(), after, passk, loss)
    return found, left_out
