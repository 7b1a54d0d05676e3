"""The paper's own points: numbers known from them, the table, the figure."""

import pandas as pd
import pytest
from conftest import ROOT, run

from analyze_paper import compare, read_points, sets_of_points
from quagmires.rank_statistics import spearman

POINTS = ROOT / "workflow" / "resources" / "paper_points.csv"
SCRIPTS = ROOT / "workflow" / "scripts"


@pytest.fixture(scope="module")
def points() -> pd.DataFrame:
    return read_points(POINTS)


@pytest.fixture(scope="module")
def table(points) -> pd.DataFrame:
    return compare(points, half_splits=50).set_index(["set", "predictor", "target"])


def test_all_points_are_there(points):
    assert points["model"].value_counts().to_dict() == {"Mistral-12B": 20, "Llama3-8B": 9, "Qwen3-4B": 7}
    assert points["loss"].notna().sum() == 9 and points[["sft", "rl"]].notna().all(axis=None)
    assert not points.duplicated(["model", "data", "examples", "epochs"]).any()
    assert ((points["series"] != "") == (points["epochs"] > 1)).all()


@pytest.mark.parametrize(
    "cells, count, rho",
    [
        (("Llama3-8B: all", "-loss", "score"), 9, 0.46),
        (("Llama3-8B: all", "-loss", "gain"), 9, 0.93),  # of the loss itself, -0.93
        (("Llama3-8B: epochs over 10k examples", "-loss", "score"), 4, 0.60),
        (("Llama3-8B: epochs over 25k examples", "-loss", "score"), 5, 0.05),
        (("Llama3-8B: epochs over 25k examples", "-loss", "gain"), 5, 0.97),
        (("Mistral-12B: not an epoch series", "pass@1", "score"), 14, 0.97),
        (("Mistral-12B: random", "pass@1", "score"), 10, 0.82),
        (("Mistral-12B: epochs over 25k examples", "pass@1", "score"), 6, 0.43),
    ],
)
def test_known_correlations(table, cells, count, rho):
    row = table.loc[cells]
    assert row["points"] == count and row["spearman"] == pytest.approx(rho, abs=0.005)
    assert row["spearman_lo"] <= row["spearman"] <= row["spearman_hi"]


def test_the_fourteen_are_those_of_one_epoch(points):
    chosen = sets_of_points(points)["Mistral-12B: not an epoch series"]
    assert (chosen["epochs"] == 1).all()
    assert chosen["data"].value_counts().to_dict() == {"shortest": 6, "random": 5, "longest": 3}
    with_base = points[(points["model"] == "Mistral-12B") & (points["series"] == "")]
    assert spearman(with_base["sft"].to_numpy(), with_base["rl"].to_numpy()) == pytest.approx(0.964, abs=0.0005)


def test_sets_differ_and_have_points_enough(points):
    sets = sets_of_points(points)
    assert len({tuple(chosen.index) for chosen in sets.values()}) == len(sets)
    assert all(len(chosen) >= 4 and chosen["model"].nunique() == 1 for chosen in sets.values())


def test_one_series_is_not_halved(table):
    alone = table.loc["Llama3-8B: epochs over 10k examples"]
    assert alone["r2_half"].isna().all() and alone["reason"].str.startswith("r2_half").all()
    assert table.loc[("Mistral-12B: all", "pass@1", "score"), "r2_half"] > 0.8


def analyzed(path, points=POINTS):
    options = ("--half-splits", 20, "--output", path, "--over-promise", path.with_name("promise.csv"))
    return run("python", SCRIPTS / "analyze_paper.py", "--points", points, *options)


def test_the_script_writes_the_same_table_twice(tmp_path):
    for name in ("one.csv", "two.csv"):
        done = analyzed(tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    table = pd.read_csv(tmp_path / "one.csv")
    assert {"set", "predictor", "target", "points", "spearman", "r2", "r2_half", "r2_half_sd"} <= set(table)
    assert set(table["predictor"]) == {"pass@1", "-loss"} and set(table["target"]) == {"score", "gain"}


@pytest.mark.parametrize(
    "old, new, named",
    [
        (",loss,", ",lost,", "loss"),
        ("17.58", "many", "many"),
        ("17.58", "", "line 2: sft"),
        ("17.58", '"17', "EOF"),
    ],
)
def test_wrong_points_are_refused_in_one_line(tmp_path, old, new, named):
    (tmp_path / "points.csv").write_text(POINTS.read_text().replace(old, new, 1))
    done = analyzed(tmp_path / "paper.csv", tmp_path / "points.csv")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "points.csv" in done.stderr and named in done.stderr and not (tmp_path / "paper.csv").exists()
