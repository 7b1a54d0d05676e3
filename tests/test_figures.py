"""Figures of made-up and published studies: drawn without a warning, and what is drawn is what the tables say."""

import shutil
import sys
import warnings
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis.strategies import floats
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from scipy.stats import t as student
from synthetic import ROOT, make, tabulate

from plot_over_promise import budgets
from quagmires import figures
from quagmires.kinds import KINDS
from quagmires.predictors import LINES

NAMES = ("sft_vs_rl", "over_promise", "steps", "correlation", "predictors")
NAMES += ("regret", "scores", "passk", "training", "paper", "map")
SOME = ("random-10k", "random-42k", "random-168k", "random-336k", "simple-42k", "simple-84k", "simple-42k-x4")
SOME += ("homogeneous-42k", "longest-42k", "longest-168k", "mixed-42k", "epochs-5k-x8", "epochs-21k-x2", "wise-5k-x32")
SOME += ("epochs-5k-x32",)


class Study:
    """The tables of a study and the folders of its base models."""

    def __init__(self, tables: Path, bases: dict[str, Path]):
        self.tables, self.bases = tables, bases

    def read(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.tables / f"{name}.csv", dtype={"base_model": str})

    def draw(self, name: str, monkeypatch) -> plt.Figure:
        """The figure as its program leaves it, after it was written; a warning is an error."""
        tables = {
            "sft_vs_rl": ("models", "over_promise"),
            "over_promise": ("models", "over_promise", "verdicts"),
            "paper": ("models", "over_promise", "paper"),
            "passk": ("models", "passk"),
            "scores": ("models",),
            "training": ("models",),
            "regret": ("regret",),
            "map": ("map",),
        }.get(name, ("predictors",))
        options = [part for table in tables for part in (f"--{table.replace('_', '-')}", self.tables / f"{table}.csv")]
        if name == "training":
            options += ["--bases", *(f"{base}={folder}" for base, folder in self.bases.items())]
        path = self.tables / f"{name}.png"
        monkeypatch.setattr(sys, "argv", list(map(str, [f"plot_{name}.py", *options, "--output", path])))
        plt.close("all")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            import_module(f"plot_{name}").main()
        assert path.read_bytes().startswith(b"\x89PNG")
        return plt.gcf()


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Path:
    """The over-promise of the paper's points."""
    from analyze_paper import promise, read_points

    path = tmp_path_factory.mktemp("paper") / "paper.csv"
    promise(read_points(str(ROOT / "workflow" / "resources" / "paper_points.csv"))).to_csv(path, index=False)
    return path


STUDIES = {
    "several": {"bases": 3, "only": SOME},
    "three runs": {"bases": 1, "only": ("random-42k", "simple-42k", "epochs-21k-x2")},
    "failed": {"bases": 2, "only": ("random-10k", "random-336k", "simple-42k"), "failed": "simple-42k"},
    "unsolved": {"bases": 1, "only": ("random-10k", "random-336k", "simple-42k"), "unsolved": True},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory, paper):
    """A made-up study by name, or the second published one, made once."""
    made: dict[str, Study] = {}

    def get(name: str) -> Study:
        if name not in made:
            folder = tmp_path_factory.mktemp("study")
            if name == "published":
                bases = {"2": ROOT / "results" / "published" / "second" / "tables"}
                tables = tabulate(folder, ROOT / "config" / "runs" / "second.tsv", bases)
            else:
                tables = make(folder, **STUDIES[name])
                bases = {part.name.removeprefix("base-"): part for part in folder.glob("base-*")}
            shutil.copy(paper, tables / "paper.csv")
            made[name] = Study(tables, bases)
        return made[name]

    return get


def interval(values) -> tuple[float, float]:
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return np.mean(values) - half, np.mean(values) + half


def points(axis: plt.Axes, color: str = "") -> list[tuple[float, float]]:
    """What is drawn with markers in front of single runs, of one colour."""
    drawn = [
        line for line in axis.lines if line.get_marker() not in ("None", "", "_", "|") and line.get_alpha() is None
    ]
    drawn = [line for line in drawn if not color or to_rgb(line.get_color()) == to_rgb(color)]
    found = [point for line in drawn for point in zip(*map(np.ravel, line.get_data()))]
    return [point for point in found if np.isfinite(point).all()]


def ends(axis: plt.Axes, color: str) -> list[tuple[float, float]]:
    """The ends of upright error bars and stems of one colour."""
    found = []
    for collection in axis.collections:
        if hasattr(collection, "get_segments") and len(collection.get_colors()):
            for segment, shade in zip(collection.get_segments(), np.resize(collection.get_colors(), (99, 4))):
                if len(segment) and np.allclose(shade[:3], to_rgb(color)):
                    found.append(tuple(sorted(segment[:, 1])))
    return found


def shown(figure: plt.Figure) -> list[plt.Axes]:
    return [axis for axis in figure.axes if axis.axison]


@pytest.mark.parametrize("case", [*STUDIES, "published"])
@pytest.mark.parametrize("name", NAMES)
def test_every_figure_of_every_study(study, monkeypatch, case, name):
    """It is drawn without a warning, and letters stay as large as the style says: nothing sticks out at the sides."""
    figure = study(case).draw(name, monkeypatch)
    assert figure.get_tightbbox().width <= figures.WIDTH + 0.05
    for axis in shown(figure):
        assert axis.lines or axis.collections or axis.patches or axis.images, "an empty panel"


def recipes_of(study: Study) -> pd.DataFrame:
    """over_promise.csv after the longest RL; in the made-up study a run is a recipe."""
    rows = study.read("over_promise")
    return rows[rows["rl_steps"] == 320]


def test_the_main_figure_shows_means_over_base_models(study, monkeypatch):
    left, right = shown(study("several").draw("sft_vs_rl", monkeypatch))
    rows = recipes_of(study("several"))
    for kind, run in (("simple", "simple-42k"), ("homogeneous", "homogeneous-42k"), ("longest", "longest-42k")):
        here = rows[rows["run"] == run]
        assert here["over_promise"].notna().all()
        before, after, lacking = (here[column].mean() for column in ("before", "after", "over_promise"))
        color = KINDS[kind].color
        assert any(np.allclose(point, (before, after)) for point in points(left, color))
        assert any(np.allclose(point, (before, lacking)) for point in points(right, color))
        stem = sorted((after, after - lacking))
        assert any(np.allclose(end, stem) for end in ends(left, color))
        assert any(np.allclose(end, interval(here["over_promise"])) for end in ends(right, color))
    knots = rows[rows["reason"] == "on the curve"].groupby("run")[["before", "after"]].mean().sort_values("before")
    assert any(
        np.shape(line.get_xydata()) == knots.shape and np.allclose(line.get_xydata(), knots) for line in left.lines
    )


def test_a_recipe_that_most_base_models_lack_has_no_mean(study, monkeypatch, tmp_path):
    whole = study("several")
    tables = Path(shutil.copytree(whole.tables, tmp_path / "tables"))
    rows = pd.read_csv(tables / "over_promise.csv")
    gone = (rows["run"] == "simple-42k") & (rows["base_model"] != rows["base_model"].max())
    rows.loc[gone, ["over_promise", "lo", "hi"]] = np.nan
    rows.to_csv(tables / "over_promise.csv", index=False)
    for name, place in (("sft_vs_rl", 1), ("over_promise", 0)):
        before, after = (
            points(shown(one.draw(name, monkeypatch))[place], KINDS["simple"].color)
            for one in (whole, Study(tables, whole.bases))
        )
        assert len(before) == len(after) + 1


def test_a_run_of_one_base_model_has_its_own_interval(study, monkeypatch):
    right = shown(study("published").draw("sft_vs_rl", monkeypatch))[1]
    rows = study("published").read("over_promise")
    rows = rows[(rows["mix"] == "longest") & rows["over_promise"].notna()]
    assert len(rows)
    for row in rows.itertuples():
        assert any(np.allclose(end, (row.lo, row.hi)) for end in ends(right, KINDS["longest"].color))


def test_the_over_promise_of_a_kind_is_that_of_its_hypothesis(study, monkeypatch):
    figure = study("several").draw("over_promise", monkeypatch)
    axes = np.array(shown(figure)).reshape(2, -1)
    verdicts = study("several").read("verdicts").set_index("hypothesis")
    for upper, lower in axes.T:
        kind, verdict = upper.get_title().split("\n")
        steps, value = points(lower, KINDS[kind].color)[-1]
        assert steps == 320
        if kind in verdicts.index:
            row = verdicts.loc[kind]
            assert value == pytest.approx(row["effect"], abs=1e-3) and verdict == row["verdict"]
            assert any(np.allclose(end, (row["lo"], row["hi"]), atol=1e-3) for end in ends(lower, KINDS[kind].color))
        else:
            assert not verdict
    assert {"simple", "repeated", "homogeneous"} <= {axis.get_title().split("\n")[0] for axis in axes[0]}


def test_predictors_by_steps_are_those_of_the_table(study, monkeypatch):
    left, right = shown(study("several").draw("steps", monkeypatch))
    table = study("several").read("predictors")
    table = table[(table["target"] == "score") & (table["problems"] == "disjoint") & (table["scope"] == "all")]
    for axis, column in ((left, "spearman"), (right, "delta")):
        for name in ("pass@4", "pass@16", "pass@64", "loss_common"):
            rows = table[table["predictor"] == name].sort_values("rl_steps")
            color = LINES[name][0]
            np.testing.assert_allclose([y for _, y in points(axis, color)], rows[column])
            bars = rows[[f"{column}_lo", f"{column}_hi"]].dropna().to_numpy()
            assert len(bars) and all(any(np.allclose(end, bar) for end in ends(axis, color)) for bar in bars)


def test_the_map_tells_what_models_and_over_promises_say(study, monkeypatch):
    """Its base models are of one amount each; what it shows is in the tables that it does not read, too."""
    whole = study("several")
    found = whole.read("map").set_index(["examples", "rl_steps"])
    models, promises = (whole.read(name) for name in ("models", "over_promise"))
    for place, base in enumerate(sorted(models["base_model"].unique())):
        row = found.loc[80_000 * (place + 1), 320]
        here = promises[(promises["base_model"] == base) & (promises["rl_steps"] == 320)].set_index("run")
        assert row["simple"] == pytest.approx(here.loc["simple-42k":"simple-84k", "over_promise"].mean(), abs=1e-3)
        kept = models[(models["base_model"] == base) & (models["mix"] != "average")]
        last = kept[(kept["rl_steps"] == 320) & (kept["reward"] == "verifier")].set_index("run")["pass@1"]
        before = kept[(kept["rl_steps"] == 0) & (kept["split"] == "predict")].set_index("run")["pass@1"]
        assert row["small_k"] == pytest.approx(before.corr(last, method="spearman"), abs=1e-3)
        assert row["spread"] == pytest.approx(100 * last.std(), abs=1e-3) and row["recipes"] == len(last)
    panels = shown(whole.draw("map", monkeypatch))
    shown_numbers = {text.get_text() for text in panels[0].texts}
    assert shown_numbers == {f"{value:.2f}".replace("-", "−") for value in found["small_k"]}


def test_a_predictor_beyond_the_scale_is_an_arrow_and_no_scale(study, monkeypatch):
    figure = study("several").draw("predictors", monkeypatch)
    table = figures.longest(figures.read_predictors(study("several").tables / "predictors.csv"))
    best = table["spearman"].max()
    useless = table[table["spearman"] < best / 4]
    assert len(useless)
    axis = shown(figure)[0]
    assert axis.get_xlim()[0] > useless["spearman"].min()
    arrows = [line for line in axis.lines if line.get_marker() == "<" and len(line.get_xdata())]
    assert sum(len(line.get_xdata()) for line in arrows) == (table["spearman"] < axis.get_xlim()[0]).sum()


def test_how_many_answers_scores_rest_on_before_rl_and_after(study, monkeypatch):
    """On the predict problems where the over-promise is shown, on outcome problems elsewhere."""
    for case, name, words in (
        ("several", "sft_vs_rl", "n = 128 answers a problem before RL, 32 after"),
        ("several", "scores", "n = 32 answers a problem before RL, 32 after"),
        ("published", "passk", "n = 256 answers a problem before RL, 128 after"),
    ):
        assert words in study(case).draw(name, monkeypatch).get_suptitle()


def test_a_kind_that_is_in_no_list_is_drawn(study, monkeypatch, tmp_path):
    """Tables made elsewhere may have others."""
    made = study("several")
    tables = Path(shutil.copytree(made.tables, tmp_path / "tables"))
    for name in ("models", "over_promise"):
        rows = pd.read_csv(tables / f"{name}.csv")
        rows["mix"] = rows["mix"].replace("simple", "odd")
        rows.to_csv(tables / f"{name}.csv", index=False)
    for name in ("sft_vs_rl", "over_promise", "scores", "passk", "training", "paper"):
        words = [text.get_text() for text in Study(tables, made.bases).draw(name, monkeypatch).findobj(Text)]
        assert any("odd" in text for text in words), name


def test_bars_of_scores(study, monkeypatch):
    figure = study("several").draw("scores", monkeypatch)
    models = study("several").read("models")
    models = models[(models["split"] == "outcome") & (models["reward"] != "coin")]
    before = 100 * models[models["model"] == "sft/simple-42k"]["pass@1"].mean()
    after = 100 * models[models["model"] == "grpo/simple-42k/seed-1"]["pass@1"].mean()
    heights = [patch.get_height() for axis in shown(figure) for patch in axis.patches]
    for value in (before, after):
        assert np.isclose(heights, value).any()
    labels = [label.get_text() for axis in shown(figure) for label in axis.get_xticklabels()]
    assert "42k × 4" in labels and "no SFT" in labels


def luminance(color: str) -> float:
    """L* of CIELAB, 0 to 100: what is left of a colour in grey."""
    red, green, blue = ((value + 0.055) / 1.055 if value > 0.04045 else value / 12.92 for value in to_rgb(color))
    linear = [value**2.4 if value > 0.09 else value for value in (red, green, blue)]
    y = np.dot(linear, [0.2126, 0.7152, 0.0722])
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


@pytest.mark.parametrize("colors", [[kind.color for kind in KINDS.values()], [look[0] for look in LINES.values()]])
def test_colours_differ_in_grey(colors):
    """Those that stand in one figure; markers differ as well."""
    levels = sorted(luminance(color) for color in colors)
    assert min(np.diff(levels)) >= 3
    assert len({kind.marker for kind in KINDS.values()}) == len(KINDS)


@given(low=floats(1e3, 1e6), factor=floats(2.6, 1e3))
def test_labels_of_budgets_are_few_and_stand_apart(low, factor):
    """The ends are the least budget over 1.6 and the largest times 1.6; labels of a narrow axis overlapped."""
    ticks = budgets(low, low * factor)
    assert 2 <= len(ticks) <= 7 and all(low <= tick <= low * factor for tick in ticks)
    assert all(after / before > factor**0.1 for before, after in pairwise(ticks))
