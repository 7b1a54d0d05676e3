"""Scores before RL and after it, the reference curve between them, and what a run promised beyond it.

The curve is piecewise linear through (before, after) of the base model without SFT and of its random one-epoch recipes.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from largek.common import InputError
from quagmires.bases import RECIPE
from quagmires.mixes import MIXES

NEEDED = [
    "base_model",
    "model",
    "stage",
    "run",
    *RECIPE,
    "tokens_seen",
    "rl_steps",
    "reward",
    "split",
    "status",
    "pass@1",
]


def curve(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The knots of the reference curve in the order of their scores before RL, along the last axis.

    Knots that tie before RL have the mean of their scores after it. A knot that lacks a score is no knot.
    """
    before, after = np.broadcast_arrays(np.asarray(before, float), np.asarray(after, float))
    there = np.isfinite(before) & np.isfinite(after)
    x, y = np.where(there, before, np.inf), np.where(there, after, 0.0)
    same = x[..., :, None] == x[..., None, :]
    y = (same * y[..., None, :]).sum(-1) / same.sum(-1)
    order = x.argsort(-1, kind="stable")
    return np.take_along_axis(x, order, -1), np.take_along_axis(y, order, -1)


def weights(x: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which knots of a curve each run lies between, as the place of the left one, and how far along (0 to 1).

    NaN outside the range of the curve. Axes before the last are those of the curve.
    """
    before = np.broadcast_to(before, (*x.shape[:-1], np.shape(before)[-1]))
    last = np.isfinite(x).sum(-1, keepdims=True) - 1  # the place of the last knot
    left = (x[..., None, :] <= before[..., :, None]).sum(-1) - 1
    left = left.clip(0, np.maximum(last - 1, 0))
    right = np.minimum(left + 1, np.maximum(last, 0))
    start, end = (np.take_along_axis(x, place, -1) for place in (left, right))
    with np.errstate(invalid="ignore", divide="ignore"):
        along = np.where(end > start, (before - start) / (end - start), 0.0)
        inside = (before >= x[..., :1]) & (before <= np.take_along_axis(x, np.maximum(last, 0), -1)) & (last >= 1)
    return left, np.where(inside, along, np.nan)


def expected(knots: tuple[np.ndarray, np.ndarray], before: np.ndarray) -> np.ndarray:
    """The curve at the runs' scores before RL, by linear interpolation; NaN outside its range."""
    x, y = knots
    left, along = weights(x, before)
    right = np.minimum(left + 1, x.shape[-1] - 1)
    return (1 - along) * np.take_along_axis(y, left, -1) + along * np.take_along_axis(y, right, -1)


def over_promise(knots: tuple[np.ndarray, np.ndarray], before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Scores after RL minus what the curve gives at the scores before: below 0, more was promised than kept."""
    return after - expected(knots, before)


def read_ok_models(path: str | Path) -> pd.DataFrame:
    """models.csv with `recipe`, which is equal where runs differ in their seed alone, and `score` in points.

    Models that failed and models trained with a coin-flip reward are left out.
    """
    models = pd.read_csv(path, dtype={"base_model": str, "budget_tokens": str, "unique": str})
    missing = [name for name in NEEDED if name not in models]
    if missing:
        raise InputError(f"{path}: missing column {missing[0]!r}, expected {', '.join(NEEDED)}")
    models = models[(models["status"] == "ok") & (models["reward"] != "coin")].copy()
    cells = [" ".join(map(str, row)) for row in models[RECIPE].itertuples(index=False)]
    models["recipe"] = np.where(models["mix"].isin(list(MIXES)), cells, models["run"])
    models["mix"] = models["mix"].where(models["run"] != "base", "base")
    models["score"] = 100 * models["pass@1"]
    return models


def scores_of(models: pd.DataFrame) -> pd.DataFrame:
    """One row a run and number of RL steps: `before`, and `after`, the mean over GRPO seeds, or NaN."""
    after = models[models["stage"] == "grpo"].groupby(["base_model", "run", "rl_steps"], sort=False)["score"].mean()
    steps = pd.DataFrame({"rl_steps": sorted(after.index.get_level_values("rl_steps").unique())})
    kept = ["base_model", "run", "recipe", "mix", "unique", "epochs", "tokens_seen"]
    before = models[(models["stage"] != "grpo") & (models["split"] == "predict")]
    before = before[[*kept, "score"]].rename(columns={"score": "before", "tokens_seen": "tokens"})
    return before.merge(steps, how="cross").merge(
        after.rename("after").reset_index(), on=["base_model", "run", "rl_steps"], how="left"
    )


def is_knot(rows: pd.DataFrame) -> pd.Series:
    return (rows["mix"] == "base") | (rows["mix"] == "random") & (pd.to_numeric(rows["epochs"]) == 1)
