"""The tables: sums of grades, metrics by hand, swapped answers."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run
from made import STEPS, made_bases, write_study

from check_guessing import swapped
from collect import read_counts
from largek.passk import estimate

# By its path: `tabulate` is also the name of a package.
spec = importlib.util.spec_from_file_location("tabulate_script", ROOT / "workflow" / "scripts" / "tabulate.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def answers(problem: str, outcomes: str, task: str = "t", first: int = 0) -> list[dict]:
    """One row an answer: + right and sound, r right with wrong working, - wrong, t truncated."""
    names = {"+": "correct", "r": "correct", "-": "wrong", "t": "truncated"}
    return [
        {"model": "m", "task": task, "split": "s", "problem": problem, "sample": first + i, "outcome": names[mark]}
        | {"sound": mark == "+", "tokens": 10 * (i + 1), "entropy": 0.5 if i else 1.0}
        for i, mark in enumerate(outcomes)
    ]


@pytest.fixture
def counts(tmp_path) -> pd.DataFrame:
    pd.DataFrame([*answers("a", "+-r-"), *answers("b", "++++", "u")]).to_parquet(tmp_path / "block-0.parquet")
    later = [*answers("a", "t---", first=4), *answers("b", "----", "u", first=4)]
    pd.DataFrame(later).to_parquet(tmp_path / "block-1.parquet")
    pd.DataFrame(answers("a", "++++", first=8)).to_parquet(tmp_path / "block-9.parquet")
    return read_counts([tmp_path / "block-0.parquet", tmp_path / "block-1.parquet"], gain_block=1)


def test_counts_are_sums_over_the_named_blocks(counts):
    row = counts.set_index("problem").loc["a"]
    assert row[["n", "correct", "truncated", "sound"]].tolist() == [8, 2, 1, 1]
    assert row[["gain_n", "gain_correct", "first_n", "first_correct"]].tolist() == [4, 0, 8, 2]
    assert row["tokens"] == 200 and row["gain_tokens"] == 100
    assert row["entropy"] == pytest.approx(2 * (10 * 1.0 + 90 * 0.5)) and row["gain_entropy"] == pytest.approx(55)


def test_metrics(counts):
    found = script.measure(counts)
    assert found["n"] == 8 and found["problems"] == 2
    assert found["mixed_groups"] == 1.0 and found["truncated"] == pytest.approx((1 / 8 + 0) / 2)
    assert found["mean_tokens"] == 25 and found["entropy"] == pytest.approx(220 / 400)
    assert found["unsound"] == pytest.approx(1 / 6)  # one of six right answers


def test_of_models_on_the_way_and_by_a_coin_only_the_score_is_kept(tmp_path):
    names = ["grpo/r/seed-1", "grpo/r/seed-1/steps-2", "grpo/r/coin-1"]
    rows = [row | {"model": name} for name in names for row in answers("a", "+-r-t")]
    pd.DataFrame(rows).to_parquet(tmp_path / "block-0.parquet")
    found = read_counts([tmp_path / "block-0.parquet"], gain_block=0).set_index("model").loc[names]
    assert found[["n", "correct", "truncated"]].to_numpy().tolist() == [[5, 2, 1]] * 3
    assert found["tokens"].isna().tolist() == [False, True, True] == found["first_n"].isna().tolist()
    assert found["gain_n"].tolist() == [5, 0, 0]
    kept, unknown = (script.measure(found.loc[[name]]) for name in names[:2])
    assert kept["truncated"] == unknown["truncated"] == pytest.approx(1 / 5)
    for name in ("entropy", "mixed_groups", "mean_tokens", "unsound"):
        assert np.isfinite(kept[name]) and np.isnan(unknown[name]), name


def test_swapped_answers():
    answers = {"a": "1 2", "b": "3 4", "c": "3 4"}
    assert swapped({"a": {"3 4", "1 2"}, "b": {"9 9"}, "c": set()}, answers) == (6, 2)  # a matches b and c
    assert swapped({"b": {"3 4"}}, answers) == (2, 1)  # its own answer is also that of c
    assert swapped({"a": {"1 2"}}, answers) == (2, 0)


def tabulated(folder, bases: list[str], ks: str = "1,4,32,64") -> dict[str, pd.DataFrame]:
    """models.csv and passk.csv by the command."""
    options = ("--runs", folder / "runs.tsv", "--k", ks, "--tables", folder / "tables")
    done = run("python", script.__file__, "--bases", *bases, *options)
    assert done.returncode == 0, done.stderr
    read = {
        name: pd.read_csv(folder / "tables" / f"{name}.csv", dtype={"base_model": str}) for name in ("models", "passk")
    }
    return read | {"output": done.stdout}


def test_several_base_models_with_steps_coins_and_greedy(tmp_path):
    """Each row is told by base model and name; splits may differ in n; scores are those of `largek passk`."""
    runs, bases = made_bases(2, 3, n={"predict": 64, "outcome": 16}, coin=("base", "r1"))
    found = tabulated(tmp_path, write_study(tmp_path, runs, bases))
    models, key = found["models"], ["base_model", "model", "split"]
    assert not models.duplicated(key).any() and set(models["base_model"]) == {"11", "12"}
    here = models[models["base_model"] == "12"].set_index(["model", "split"])
    for model, steps, reward in (
        ("grpo/r1/seed-1", STEPS[-1], "verifier"),
        ("grpo/r1/seed-1/steps-20", 20, "verifier"),
        ("grpo/r1/coin-1", STEPS[-1], "coin"),
    ):
        row = here.loc[(model, "outcome")]
        assert (row["stage"], row["run"], row["rl_steps"], row["reward"]) == ("grpo", "r1", steps, reward)
        assert row["grpo_seed"] == 1 and row["tokens_seen"] == 1000 and np.isnan(row["greedy"]) and row["n"] == 32
    assert here.loc[("base", "predict"), "tokens_seen"] == 0 == here.loc[("base", "predict"), "rl_steps"]
    assert here.loc[("grpo/base/coin-1", "outcome"), "tokens_seen"] == 0
    counts = bases["12"]["counts"].query("model == 'sft/r2'")
    for split, n in (("predict", 64), ("outcome", 16)):
        row, rows = here.loc[("sft/r2", split)], counts[counts["split"] == split]
        assert row["greedy"] == pytest.approx(rows["greedy_correct"].mean(), rel=1e-5) and row["n"] == n
        expected = estimate(rows, [1, 4]).query("task == 'mean'")
        np.testing.assert_allclose(row[["pass@1", "pass@4"]].astype(float), expected["estimate"], rtol=1e-5)
        np.testing.assert_allclose(
            row[["pass@1_lo", "pass@1_hi"]].astype(float), expected.iloc[0][["lo", "hi"]].astype(float), rtol=1e-5
        )
        assert np.isnan(row["pass@64"]) == (n < 64)
    assert found["passk"].groupby(["model", "split"])["base_model"].nunique().eq(2).all()


def test_a_study_of_before_there_were_several_base_models(tmp_path):
    """The published counts and records: no greedy answers, no `steps-` models."""
    for study, seed in (("reference", 2), ("second", 3)):
        source = ROOT / "results" / "published" / study / "tables"
        folder = tmp_path / study
        folder.mkdir()
        (folder / "runs.tsv").write_text((ROOT / "config" / "runs" / f"{study}.tsv").read_text())
        new, old = tabulated(folder, [f"{seed}={source}"])["models"], pd.read_csv(source / "models.csv")
        same = [name for name in old if name in new and name != "base_model"]
        pd.testing.assert_frame_equal(new[same], old[same], rtol=1e-5)
        after = new[new["stage"] == "grpo"]
        assert set(after["rl_steps"]) == {80} and set(after["reward"]) == {"verifier"}
        assert new["greedy"].isna().all() and (new.groupby("run")["tokens_seen"].nunique() == 1).all()


def test_models_that_failed_have_empty_cells(tmp_path):
    runs, bases = made_bases(1, 2)
    tables = bases["11"]
    gone = tables["records"]["model"].isin(["grpo/r0/seed-1", "sft/r1"])
    tables["records"].loc[gone, "record"] = '{"status": "failed", "reason": "diverged", "tokens": 0}'
    tables["counts"] = tables["counts"][~tables["counts"]["model"].isin(["grpo/r0/seed-1", "sft/r1"])]
    found = tabulated(tmp_path, write_study(tmp_path, runs, bases))
    rows = found["models"].set_index(["model", "split"])
    assert (rows.loc["sft/r1", "status"] == "failed").all() and rows.loc["sft/r1", "pass@1"].isna().all()
    assert rows.loc["sft/r1", "tokens_seen"].isna().all()  # nobody knows how many it saw
    assert np.isnan(rows.loc[("grpo/r0/seed-1", "outcome"), "rl_steps"])
    assert rows.loc[("grpo/r0/seed-1/steps-20", "outcome"), "pass@1"] > 0
    assert "base 11, sft/r1: failed (diverged)" in found["output"]


@pytest.mark.parametrize(
    "bases, complaint",
    [(["tables"], "'tables', expected SEED=FOLDER"), (["1=a", "1=b"], "the base model '1' is there twice")],
)
def test_base_models_that_are_not_well_named(tmp_path, bases, complaint):
    options = ("--runs", "config/runs/smoke.tsv", "--k", "1", "--tables", tmp_path)
    done = run("python", script.__file__, "--bases", *bases, *options)
    assert done.returncode == 2 and done.stderr.strip() == f"tabulate: error: --bases: {complaint}"


def test_a_name_that_no_model_has(tmp_path):
    runs, bases = made_bases(1, 2)
    bases["11"]["records"].loc[0, "model"] = "grpo/r0/steps-3"
    options = ("--runs", tmp_path / "runs.tsv", "--k", "1", "--tables", tmp_path)
    done = run("python", script.__file__, "--bases", *write_study(tmp_path, runs, bases), *options)
    assert done.returncode == 2 and "'grpo/r0/steps-3' is no model's name" in done.stderr
