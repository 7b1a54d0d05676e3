"""What the figures share: style, colours by mix, names of runs, and saving whole files."""

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from PIL import Image

from largek.common import whole_file

plt.style.use(Path(__file__).with_name("figure.mplstyle"))

COLORS = {
    "base": "#555555",
    "random": "#0072b2",
    "simple": "#d55e00",
    "longest": "#009e73",
    "mixed": "#cc79a7",
    "homogeneous": "#e69f00",
    "own checkpoint": "#000000",
}
BEFORE, AFTER = "#0072b2", "#d55e00"


def save(figure: plt.Figure, path: str) -> None:
    """Write a PNG of 256 colours, which is a third of the size."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    with whole_file(path) as temporary, Image.open(drawn) as image:
        image.convert("RGB").quantize(dither=Image.Dither.NONE).save(temporary, format="png", optimize=True)


def say_empty(path: str, why: str) -> None:
    """A figure that says why there is nothing to show."""
    figure, axis = plt.subplots(figsize=(6, 2))
    axis.axis("off")
    axis.text(0.5, 0.5, why, ha="center", va="center")
    save(figure, path)


def mix_of(row) -> str:
    return "base" if row.stage == "base" or row.run == "base" else row.mix


def read_runs(path: str) -> pd.DataFrame:
    """One row a run: its row before RL, and its scores after RL as `post`, `post_lo`, `post_hi`, `rl_seeds`.

    Scores are on outcome problems; after RL they are means over GRPO seeds, as are the ends of the intervals. Runs
    that failed are left out.
    """
    models = pd.read_csv(path)
    models = models[(models["status"] == "ok") & (models["split"] == "outcome")]
    columns = {"pass@1": "post", "pass@1_lo": "post_lo", "pass@1_hi": "post_hi"}
    after = models[models["stage"] == "grpo"].rename(columns=columns).groupby("run")
    joined = after[list(columns.values())].mean().join(after.size().rename("rl_seeds"))
    before = models[models["stage"] != "grpo"].merge(joined, on="run", how="inner")
    before["kind"] = [mix_of(row) for row in before.itertuples()]
    return before


def sizes(runs: pd.DataFrame) -> str:
    """What the intervals rest on, in words."""
    problems, n = runs["problems"].iloc[0], runs["n"].iloc[0]
    fewest, most = int(runs["rl_seeds"].min()), int(runs["rl_seeds"].max())
    seeds = f"{fewest} to {most} GRPO seeds" if fewest < most else f"{most} GRPO seed{'s' if most > 1 else ''}"
    return f"{problems} problems, n = {n} samples each, {seeds} a run"
