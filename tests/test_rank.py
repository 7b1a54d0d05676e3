"""`largek rank`: the recipe on tables made by hand, and the command from model folders to a table."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import run

from largek.common import InputError, write_json, write_jsonl
from largek.rank import rank, resample_weights, settle, training_of, unlike, verdict


def counts(model: str, correct: list[int], n: int = 16) -> pd.DataFrame:
    names = [f"p{i}" for i in range(len(correct))]
    fixed = {"model": model, "task": "t", "split": "all", "n": n, "truncated": 0}
    return pd.DataFrame({"problem": names, "correct": correct} | fixed)


def losses(**values: float) -> dict:
    return {name: {"per_token": value, "per_token_se": 0.01} for name, value in values.items()}


def test_resampling_keeps_every_task_at_its_size():
    tasks = np.array(["a"] * 3 + ["b"] * 5)
    weights = resample_weights(tasks, 100, 0)
    np.testing.assert_allclose(weights[:, :3].sum(1), 0.5)
    np.testing.assert_allclose(weights[:, 3:].sum(1), 0.5)


def test_ranks_by_pass_at_large_k_and_not_by_accuracy():
    """Sharp always solves a quarter of the problems, wide solves each now and then."""
    table = rank(pd.concat([counts("sharp", [16] * 10 + [0] * 30), counts("wide", [3] * 40)]), 8)
    assert table["model"].tolist() == ["wide", "sharp"]
    assert table.set_index("model").loc["sharp", "pass@1"] > table.set_index("model").loc["wide", "pass@1"]
    assert table["best"].tolist() == [1.0, 0.0] and not table["dropped"].any()
    assert verdict(table, 8) == "Take wide: the recipe picks it in 100% of resampled sets of problems."


def test_drops_low_accuracy_and_high_loss_together_only():
    every = [counts("good", [8] * 40), counts("poor", [2] * 40), counts("early", [3] * 40), counts("late", [9] * 40)]
    table = rank(pd.concat(every), 8, losses(good=0.5, poor=0.9, early=0.4, late=0.8)).set_index("model")
    assert table["dropped"].to_dict() == {"good": 0, "late": 0, "early": 0, "poor": 1}
    assert table.loc["poor", "best"] == 0 and table["best"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "loss, message",
    [
        (
            {"per_token": float("nan"), "per_token_se": float("nan")},
            "poor: its loss is nan: it has diverged in training",
        ),
        ({"per_token": float("inf"), "per_token_se": 0.1}, "poor: its loss is inf: it has diverged in training"),
        ({"per_token": 0.5, "per_token_se": None}, "poor: expected the loss of two held-out examples or more"),
    ],
)
def test_a_loss_that_is_no_number_is_named_and_switches_nothing_off(loss, message):
    every = pd.concat([counts("good", [8] * 40), counts("poor", [2] * 40), counts("late", [9] * 40)])
    with pytest.raises(InputError, match=message):
        rank(every, 8, losses(good=0.5, late=0.8) | {"poor": loss})


def test_a_missing_loss_is_named_and_not_taken_for_the_lowest():
    every = pd.concat([counts("good", [8] * 40), counts("poor", [2] * 40), counts("late", [9] * 40)])
    with pytest.raises(InputError, match="poor: its held-out loss is missing, others have one"):
        rank(every, 8, losses(good=0.5, late=0.8))


def test_says_what_would_settle_it():
    draw = np.random.default_rng(0)
    same = pd.concat([counts(name, list(draw.binomial(16, chance, 40))) for name, chance in (("a", 0.1), ("b", 0.12))])
    table = rank(same, 8)
    advice, said = settle(same, table, 8)
    assert {advice["first"], advice["second"]} == {"a", "b"} and advice["problems"] > 40
    assert re.search(r"some [\d,]+ problems like these, not 40, would tell in 80% of studies", said[0])
    sure = pd.concat([counts("wide", [3] * 40), counts("none", [0] * 40)])
    assert settle(sure, rank(sure, 8), 8) == (None, [])
    unsure = table.assign(dropped=[0.5, 0.0])
    assert f"Whether the recipe drops {table['model'][0]} is open too" in settle(same, unsure, 8)[1][1]


def test_unlike_budgets_are_marked(tmp_path):
    for name, steps in (("checkpoint-100", 100), ("checkpoint-400", 400)):
        write_json(tmp_path / name / "trainer_state.json", {"global_step": steps, "num_input_tokens_seen": 0})
    short, long = (str(tmp_path / name) for name in ("checkpoint-100", "checkpoint-400"))
    assert training_of(short) == ("steps", 100)
    write_json(tmp_path / "run.json", {"tokens": 5000})
    assert training_of(str(tmp_path / "model")) == ("tokens", 5000)
    (tmp_path / "run.json").write_text("[]")
    assert training_of(str(tmp_path / "model")) is None
    (line,) = unlike([short, long], {short: 20.0, long: 21.0})
    assert line.endswith(f"steps of training: {short} 100, {long} 400.")
    (line,) = unlike(["a", "b", "c"], {"a": 20.0, "b": 40.0, "c": float("nan")})
    assert line.endswith("tokens an answer: a 20, b 40.")


def test_noise_alone_drops_nobody_for_sure():
    """Two candidates that are the same but for noise: now one is dropped, now the other, and none is picked."""
    draw, sure = np.random.default_rng(3), 0
    for study in range(40):
        chances = draw.beta(0.5, 1.5, 60)
        both = [counts(name, list(draw.binomial(16, chances))) for name in ("a", "b")]
        held_out = {name: {"per_token": draw.normal(0.5, 0.01), "per_token_se": 0.01} for name in ("a", "b")}
        sure += verdict(rank(pd.concat(both), 8, held_out, seed=study), 8).startswith("Take")
    assert sure <= 6  # at 95 % about one in twenty either way


@pytest.mark.parametrize("problems", [5, 30])
def test_one_of_two_equal_candidates_is_seldom_taken(problems):
    """All or nothing, each half of the problems by itself."""
    draw, taken = np.random.default_rng(4), 0
    for study in range(50):
        both = [counts(name, list(16 * draw.integers(0, 2, problems))) for name in ("a", "b")]
        taken += verdict(rank(pd.concat(both), 8, seed=study), 8).startswith("Take")
    assert taken <= 7  # 5 expected at most


def test_one_problem_a_task_is_refused():
    with pytest.raises(InputError, match="at least two problems a task"):
        rank(pd.concat([counts("a", [1]), counts("b", [2])]), 4)


def test_says_when_candidates_cannot_be_told_apart():
    draw = np.random.default_rng(0)
    same = [counts(name, list(draw.binomial(16, 0.1, 40))) for name in ("a", "b")]
    table = rank(pd.concat([*same, counts("c", [0] * 40)]), 8)
    assert re.match(r"The data cannot tell [ab] and [ab] apart", verdict(table, 8))
    assert table.set_index("model").loc["c", "best"] == 0


def test_equal_models_share_the_first_place():
    table = rank(pd.concat([counts("a", [1, 2, 3, 0]), counts("b", [1, 2, 3, 0])]), 4)
    assert table["best"].tolist() == pytest.approx([0.5, 0.5], abs=0.04)
    assert table["best"].sum() == 1


def test_the_chance_of_being_best_is_calibrated():
    """Over simulated studies, models that are called best with chance p are the better one in about that share."""
    draw, said, true = np.random.default_rng(1), [], []
    for study in range(300):
        chances = draw.beta(0.4, 2.0, 60)
        gain = draw.normal(0, 0.02)
        better = np.clip(chances + gain, 0, 1)
        both = [counts("a", list(draw.binomial(16, chances))), counts("b", list(draw.binomial(16, better)))]
        table = rank(pd.concat(both), 4, seed=study)
        said.append(table.set_index("model").loc["b", "best"])
        true.append(gain > 0)
    said, true = np.array(said), np.array(true)
    for low, high in ((0.0, 0.25), (0.75, 1.0)):
        inside = (said >= low) & (said <= high)
        assert inside.sum() > 30
        assert abs(said[inside].mean() - true[inside].mean()) < 0.12


def test_models_need_the_same_problems_and_enough_samples():
    with pytest.raises(InputError, match="b: expected answers to the same problems as a"):
        rank(pd.concat([counts("a", [1, 2]), counts("b", [1, 2, 3])]), 4)
    with pytest.raises(InputError, match="a: k = 17 is more than the n = 16"):
        rank(counts("a", [1, 2]), 17)


def test_the_command_goes_from_folders_to_a_table(small_model, tmp_path):
    from pretrain_base import new_model, word_tokenizer

    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    other = tmp_path / "other"
    new_model(shape | {"max_position_embeddings": 128}, word_tokenizer(), seed=2).save_pretrained(other)
    word_tokenizer().save_pretrained(other)
    write_json(other / "trainer_state.json", {"global_step": 20})  # as in a checkpoint of RL
    rows = [{"id": i, "problem": "start 1 2 then sort ?", "answer": str(i)} for i in range(5)]
    write_jsonl(tmp_path / "task.jsonl", rows)
    write_jsonl(tmp_path / "held_out.jsonl", [{"problem": "start 1 2 then sort ?", "solution": "sort answer 1 2"}] * 3)
    command = ["largek", "rank", small_model, other, "--tasks", tmp_path / "task.jsonl", "--samples", 64, "--k", 16]
    command += ["--max-tokens", 3, "--verifier", "math", "--examples", tmp_path / "held_out.jsonl"]
    command += ["--stores", tmp_path / "stores"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "stores" / "rank.csv")
    assert sorted(table["model"]) == sorted(map(str, (small_model, other)))
    assert {"pass@1", "pass@16", "pass@16_lo", "pass@16_hi", "loss", "loss_se", "truncated", "dropped", "best"} <= {
        *table
    }
    assert table["loss"].between(3, 4.5).all()  # untrained: about log 41
    for part in ("sampled tokens in all", "Evidence for the recipe: arXiv 2510.01624", "best"):
        assert part in done.stdout
    samples = list((tmp_path / "stores").glob("*/samples/*.parquet"))
    before = {path: path.stat().st_mtime_ns for path in samples}
    again = run(*command, "--json")
    assert again.returncode == 0, again.stderr
    said = json.loads(again.stdout)
    assert [row["model"] for row in said["candidates"]] == table["model"].tolist() and said["k"] == 16
    assert said["verdict"] in done.stdout and said["unlike"] == []
    assert pd.read_csv(tmp_path / "stores" / "rank.csv").equals(table)
    assert {path: path.stat().st_mtime_ns for path in samples} == before
    stored = json.loads(next((tmp_path / "stores").glob("other-*/loss.json")).read_text())
    assert stored["loss"]["examples"] == 3


def test_a_checkpoint_that_is_no_model_is_one_line(small_model, tmp_path):
    write_jsonl(tmp_path / "task.jsonl", [{"id": 1, "problem": "start 1 ?", "answer": "1"}])
    (tmp_path / "empty").mkdir()
    command = [
        "largek",
        "rank",
        tmp_path / "empty",
        small_model,
        "--tasks",
        tmp_path / "task.jsonl",
        "--verifier",
        "math",
    ]
    done = run(*command, "--stores", tmp_path / "stores")
    assert done.returncode == 2 and "expected a model folder with config.json" in done.stderr
    assert "largek sample failed, see above" in done.stderr and done.stderr.count("\n") == 2
