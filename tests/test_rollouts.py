"""The prompts of GRPO, as many as TRL's own sampler takes; and the answers of which some are kept."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT, run
from trl import GRPOConfig, GRPOTrainer

from largek import grade, report
from largek.common import write_jsonl
from largek.store import read_samples
from quagmires.configs import read_config
from quagmires.rollouts import ANSWERS, LONGEST, STEPS, keep_some, make_store
from train_rl import prompt_order, prompts_drawn

# steps, answers of a process and pass, processes, accumulation, passes of a batch of rollouts, uses of it
COMBINATIONS = [
    (80, 256, 1, 1, 1, 1),  # the lab
    (100, 16, 1, 16, 16, 1),  # what TRL takes where nothing is said: rollouts for a whole step
    (100, 16, 1, 16, 4, 1),  # 800 prompts were prepared and 3200 drawn
    (164, 4, 8, 32, 32, 1),
    (10, 8, 2, 2, 8, 1),  # rollouts for four steps: the last batch is not used up
    (7, 8, 1, 4, 4, 3),
    (9, 16, 4, 3, 2, 2),
    (1, 8, 1, 1, 5, 1),
]


@pytest.mark.parametrize("steps, rows, processes, accumulated, passes, uses", COMBINATIONS)
def test_as_many_prompts_are_prepared_as_trls_sampler_draws(steps, rows, processes, accumulated, passes, uses):
    recipe = SimpleNamespace(
        max_steps=steps, gradient_accumulation_steps=accumulated, steps_per_generation=passes, num_iterations=uses,
        num_generations=8, generation_batch_size=rows * processes * passes, seed=1,
    )  # fmt: skip
    prepared = prompts_drawn(recipe)
    trainer = SimpleNamespace(args=recipe, num_generations=8, num_iterations=uses, shuffle_dataset=False)
    drawn = list(GRPOTrainer._get_train_sampler(trainer, range(prepared)))
    whole = rows * processes * passes  # the loader's batches are as large as a batch of rollouts, one for each pass
    assert len(drawn) >= steps * accumulated * whole, "a second epoch would begin, in another order after a restart"
    taken = drawn[: steps * accumulated * whole]
    assert sorted(set(taken)) == list(range(prepared)), "prompts that nobody asks"


RECIPES = sorted((ROOT / "config" / "grpo").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_says_what_its_loss_is_and_it_is_what_it_was(path, tmp_path):
    """TRL's defaults of these two have moved from version to version."""
    given = yaml.safe_load(path.read_text())
    default = GRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True)
    assert (given["loss_type"], given["scale_rewards"]) == (default.loss_type, default.scale_rewards)


@pytest.mark.parametrize("name", ["paper-qwen", "paper", "paper-mistral"])
def test_vllm_has_room_for_what_a_gpu_owes(name):
    """Of the answers of a step at half their longest, half at once; with 12 billion parameters there was room for 6 to
    8 of 128. While vLLM is awake, the training's weights, gradients and moments are there too."""
    config = read_config(ROOT / "config" / f"{name}.yaml")
    base, recipe = config["base_model"], yaml.safe_load((ROOT / config["recipes"]["grpo"]).read_text())
    gpus, card, shared = config["gpus"]["grpo"], 80 * 2**30, recipe.get("vllm_tensor_parallel_size", 1)
    assert recipe["vllm_enable_sleep_mode"] and gpus % shared == 0 and Path(ROOT, recipe["deepspeed"]).stem == "zero3"
    share = recipe["vllm_gpu_memory_utilization"] * card
    cache = share - 2 * base["parameters"] / shared - 3e9  # graphs, and what a forward pass holds
    of_token = 2 * base["layers"] * 8 * 128 * 2 / shared  # keys and values of 8 heads of 128, as all three have
    owed = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"] * shared
    assert cache / of_token > owed / 2 * (512 + recipe["max_completion_length"] / 2)
    assert share + 16 * base["parameters"] / gpus < 0.95 * card
    assert owed // shared * gpus == 1024


def test_prompts_are_whole_permutations():
    rows = [{"id": i} for i in range(5)]
    order = [row["id"] for row in prompt_order(rows, 12, 1)]
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5)) and order[:5] != order[5:10] and len(order) == 12


@pytest.mark.long
def test_a_checkpoint_between_two_uses_of_rollouts_is_refused(small_model, tmp_path):
    recipe = yaml.safe_load((ROOT / "config" / "grpo" / "smoke.yaml").read_text()) | {"num_iterations": 3}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    write_jsonl(tmp_path / "rl.jsonl", [{"id": "a", "problem": "start 1 ?", "answer": "1"}])
    done = run(
        "python", ROOT / "workflow/scripts/train_rl.py", "--start", small_model, "--problems", tmp_path / "rl.jsonl",
        "--verifier", "exact", "--recipe", tmp_path / "r.yaml", "--seed", 1, "--threads", 1, "--output", tmp_path / "o",
    )  # fmt: skip
    assert done.returncode == 2 and "r.yaml: save_steps: expected a multiple of 3" in done.stderr
    assert not (tmp_path / "o").exists()


def test_some_answers_are_kept_and_never_more_than_a_bound(tmp_path):
    """300 steps of 64 answers, each longer than what is kept of one."""
    rows = [{"id": str(i), "problem": f"p{i}", "answer": "a"} for i in range(2400)]

    def correct(completions, **kwargs) -> list[float]:
        return [float(text.endswith("a")) for text in completions]

    (watched,) = keep_some([correct], tmp_path / "r.jsonl", 300, rows, ends=[2])
    assert watched.__name__ == "correct"
    for step in range(300):
        numbers = [8 * step + i // 8 for i in range(64)]
        texts = [chr(97 + i % 2) * 3 * LONGEST for i in range(64)]
        state = SimpleNamespace(global_step=step)
        got = watched(completions=texts, completion_ids=[[1, 2 + i % 2] for i in range(64)], row=numbers,
                      trainer_state=state, prompts=None)  # fmt: skip
        assert got == [float(i % 2 == 0) for i in range(64)]
    kept = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(kept) <= STEPS * ANSWERS and {row["step"] for row in kept} == set(range(10, 301, 10))
    assert max(len(row["text"]) for row in kept) < LONGEST + 50 and kept[0]["row"] == rows[72]
    settings = {"temperature": 1.0, "top_p": 1.0, "max_completion_length": 9, "seed": 1}
    make_store(kept, tmp_path / "rollouts", "grpo/a/seed-1", settings)
    samples = read_samples(tmp_path / "rollouts").to_pylist()
    assert len(samples) == len(kept) and {row["finish"] for row in samples} == {"stop", "length"}
    grade.run(str(tmp_path / "rollouts"), verifier="exact")
    report.run([str(tmp_path / "rollouts")], str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").stat().st_size > 10_000


@pytest.mark.long
def test_a_training_keeps_what_it_was_trained_on(small_model, tmp_path):
    recipe = yaml.safe_load((ROOT / "config" / "grpo" / "smoke.yaml").read_text()) | {"max_steps": 3}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    write_jsonl(tmp_path / "rl.jsonl", [{"id": f"p{i}", "problem": f"start {i} ?", "answer": "1"} for i in range(9)])
    done = run(
        "python", ROOT / "workflow/scripts/train_rl.py", "--start", small_model, "--problems", tmp_path / "rl.jsonl",
        "--verifier", "exact", "--recipe", tmp_path / "r.yaml", "--seed", 1, "--threads", 1, "--output", tmp_path / "o",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = read_samples(tmp_path / "o" / "rollouts").to_pylist()
    assert len(rows) == 3 * 8 and {row["task"] for row in rows} == {"step-00001", "step-00002", "step-00003"}
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert f"start: `{small_model}`" in (tmp_path / "o" / "model" / "README.md").read_text()
    assert not {"rollouts", "model_card", "largek.store"} & record["recipe"]["code"].keys()
    metrics = [json.loads(line) for line in (tmp_path / "o" / "metrics.jsonl").read_text().splitlines()]
    assert "rewards/correct/mean" in metrics[0]
