"""What studies on GPUs cost by estimate: time, memory and caps, by hand and by count."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run

import prepare_data
from largek.common import InputError
from quagmires import cost_formulas
from quagmires.configs import read_config
from quagmires.cost_formulas import bytes_of_a_token, engine, estimate, memory_of_training
from quagmires.cost_totals import by_kind, chain

RATES = yaml.safe_load((ROOT / "config" / "throughputs.yaml").read_text())
ON_GPUS = ["workstation", "workstation-1.7b", "paper", "paper-mistral", "paper-qwen"]
PEAK = RATES["peak"] * RATES["training_share"] * 3600  # operations an hour


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def study(name: str) -> dict:
    return read_config(Path(f"config/{name}.yaml"))


def totals(config: dict) -> dict:
    return {total.kind: total for total in by_kind(estimate(config, RATES, 0.5))}


def changed_recipe(config: dict, folder: Path, stage: str, **change) -> dict:
    """The study with other fields in a recipe."""
    recipe = yaml.safe_load(Path(config["recipes"][stage]).read_text()) | change
    path = folder / f"{stage}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return copy.deepcopy(config) | {"recipes": config["recipes"] | {stage: str(path)}}


@pytest.mark.parametrize("name", ["workstation", "workstation-1.7b"])
def test_a_workstation_is_busy_for_at_most_sixty_hours(name):
    found = totals(study(name))
    assert 20 < sum(total.gpu_hours for total in found.values()) <= 60
    assert all(total.memory < RATES["memory"] for total in found.values())


@pytest.mark.parametrize("name", ["workstation", "workstation-1.7b"])
def test_no_cap_decides_between_kinds_of_data(name):
    """An answer twice as long as the longest worked example is not cut, in RL as in scores."""
    config = study(name)
    sft, grpo = (yaml.safe_load(Path(config["recipes"][stage]).read_text()) for stage in ("sft", "grpo"))
    taught = config["data"]["max_tokens"]
    assert grpo["max_completion_length"] == config["sampling"]["max_tokens"] >= 2 * taught
    assert grpo["vllm_max_model_length"] >= grpo["max_completion_length"] + taught
    assert sft["max_length"] >= taught + 1


def test_a_workstation_has_the_design_of_the_plan():
    """The same kinds of data by epochs and budgets, these in one proportion, and the same steps of RL."""
    sheets = []
    for name in ("mislead", "workstation"):
        rows = [line.split("\t") for line in Path(f"config/runs/{name}.tsv").read_text().splitlines()[2:]]
        rows = [row for row in rows if row[1]]
        smallest = min(int(row[4]) for row in rows)
        sheets.append([(row[1], row[3], round(int(row[4]) / smallest)) for row in rows])
    assert sheets[0] == sheets[1] and len(sheets[1]) == 27
    steps = [
        yaml.safe_load(Path(study(name)["recipes"]["grpo"]).read_text())["max_steps"]
        for name in ("mislead", "workstation")
    ]
    assert steps == [320, 320]
    assert set(study("workstation")["analysis"]["hypotheses"]) == set(study("mislead")["analysis"]["hypotheses"])


@pytest.mark.parametrize("name", ON_GPUS)
def test_recipes_name_their_loss(name):
    """What TRL's defaults are today is not what they were, nor what they will be."""
    recipe = yaml.safe_load(Path(study(name)["recipes"]["grpo"]).read_text())
    assert {"loss_type", "scale_rewards"} <= recipe.keys()


def test_padding_and_the_correction_of_rollouts_are_counted(tmp_path):
    """By hand: 256 answers a step, as wide as the longest and its prompt, at 8 operations and 2 for the correction."""
    config = study("workstation")
    with_correction = totals(config)["train_grpo"].longest
    config = changed_recipe(config, tmp_path, "grpo", vllm_importance_sampling_correction=False)
    without = totals(config)["train_grpo"].longest
    operations = 320 * 256 * (1024 + 256) * 6e8
    assert with_correction - without == pytest.approx(2 * operations / PEAK)
    assert without > 8 * operations / PEAK


def test_padding_of_sft_goes_with_the_batch(tmp_path):
    """Four texts spread evenly have their longest at 4/5 of the cap, their mean at a half: 1.6 times; packed, none."""
    config = study("workstation")
    longest = {
        packing: totals(changed_recipe(config, tmp_path, "sft", packing=packing))["train_sft"].longest
        for packing in (0, 1)
    }
    start = min(longest.values()) - 8 * 6e8 * 6.4e6 / PEAK
    assert longest[0] - start == pytest.approx(1.6 * (longest[1] - start))


def test_the_cache_is_what_weights_leave_of_a_share():
    """Llama-3-8B: 131,072 bytes a token; 0.35 of a GPU holds the weights and a few dozen answers."""
    base = study("paper")["base_model"]
    assert bytes_of_a_token(base) == 131072
    made = engine(base, 0.35, 1, 128, 2304, 6144, RATES)
    assert made.cache == pytest.approx(0.35 * 85.5 - 16 - 2.5)
    assert made.answers == int(made.cache * 1e9 / 131072 / 2304) and 30 < made.answers < 45
    assert engine(base, 0.9, 1, 16, 2304, 6144, RATES).answers == 16


def test_few_answers_at_a_time_are_slow():
    """Each step reads all weights: with 12 billion and eight answers no more than 8 x 3.35e12 / 24e9 tokens/s."""
    base = study("paper-mistral")["base_model"]
    made = engine(base, 0.35, 1, 8, 2304, 6144, RATES)
    assert made.rate == pytest.approx(8 * RATES["bandwidth"] / (2 * base["parameters"])) and made.rate < 1500


def test_vllm_that_will_not_start_is_refused(tmp_path):
    config = changed_recipe(study("paper"), tmp_path, "grpo", vllm_gpu_memory_utilization=0.2)
    with pytest.raises(InputError, match=r"train_grpo: vLLM will not start: 0\.2 of a GPU of 85\.5 GB leaves 0\.0 GB"):
        estimate(config, RATES, 0.5)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(config))
    done = run("python", ROOT / "workflow" / "scripts" / "estimate_cost.py", tmp_path / "s.yaml")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "vLLM will not start" in done.stderr


def test_what_does_not_fit_ends_with_a_line_after_the_table(tmp_path):
    config = changed_recipe(study("workstation-1.7b"), tmp_path, "grpo", vllm_gpu_memory_utilization=0.9)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(config))
    done = run("python", ROOT / "workflow" / "scripts" / "estimate_cost.py", tmp_path / "s.yaml")
    assert done.returncode == 2 and "train_grpo: " in done.stderr and "more than the 85.5 of a GPU" in done.stderr
    assert "measure_loss" in done.stdout


def test_a_batch_of_prepare_data_is_the_one_that_is_counted():
    assert cost_formulas.BATCH == prepare_data.BATCH


def test_kept_steps_import_data_and_grades_are_counted():
    config = study("workstation")
    found, fewer = totals(config), totals(config | {"grpo_steps": []})
    assert found["sample_after_rl"].longest == pytest.approx(4 * fewer["sample_after_rl"].longest)
    assert found["import_base"].gpus == found["prepare_data"].gpus == found["grade"].gpus == 0
    held = 160_000 * 300 + 60_000 * 256 * 4 + 1000 * 512 * 150  # rows' places, the pool's problems, tokens of a batch
    assert found["prepare_data"].memory == pytest.approx(1 + held / 1e9)
    # 28 models before RL: 400 problems of each split, greedy too; after it four models of each of 28 trainings
    answers = 28 * (400 * 128 + 400 * 32 + 800) + 28 * 4 * 400 * 32
    assert f"{answers:,} answers" in found["grade"].rests


@pytest.mark.parametrize("name", ON_GPUS)
def test_every_study_fits(name):
    """And its loss easily: batches are bounded in tokens, so it takes the weights and a few GB, whatever the texts."""
    config, found = study(name), totals(study(name))
    assert all(total.memory < RATES["memory"] for total in found.values() if total.gpus)
    weights = 2 * config["base_model"]["parameters"] / 1e9
    assert weights < found["measure_loss"].memory < weights + 8
    assert found["prepare_data"].memory < 4  # of a laptop, whatever is read


def test_the_longest_chain_is_the_longest():
    """Of paper-qwen a block of samples takes longer than GRPO and what is sampled after it."""
    hours = {total.kind: total.longest for total in totals(study("paper-qwen")).values()}
    assert hours["sample"] > hours["train_grpo"] + hours["sample_after_rl"]
    kinds = ("import_base", "prepare_data", "train_sft", "sample", "grade")
    assert chain(totals(study("paper-qwen")).values()) == pytest.approx(sum(hours[kind] for kind in kinds))
    hours = {total.kind: total.longest for total in totals(study("workstation")).values()}
    kinds = ("import_base", "prepare_data", "train_sft", "train_grpo", "sample_after_rl", "grade")
    assert chain(totals(study("workstation")).values()) == pytest.approx(sum(hours[kind] for kind in kinds))


@pytest.mark.parametrize("name", ON_GPUS[2:])
def test_rollouts_of_large_models_find_room(name):
    """Most of the answers that a step asks for are written at the same time."""
    found = re.search(r"(\d+) of (\d+) answers at a time", totals(study(name))["train_grpo"].rests)
    assert int(found[1]) > 0.5 * int(found[2])


def test_activations_by_count():
    """What autograd really keeps of a small Qwen3 with gradient checkpointing, beside its weights, is below the formula
    and not far below it."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 192, "vocab_size": 32, "head_dim": 16}
    sizes |= {"num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = Qwen3ForCausalLM(Qwen3Config(**sizes)).train()
    model.gradient_checkpointing_enable()
    own, kept = {weight.data_ptr() for weight in model.parameters()}, {}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    rows, width = 4, 128
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(torch.zeros((rows, width), dtype=torch.long))
    base = {"parameters": 0, "hidden_size": 64, "layers": 8}
    _, more = memory_of_training(base, {}, rows * width, 0, False, 1)
    assert 0.3 * (more - 1) < sum(kept.values()) / 1e9 < more - 1


def test_the_power_of_a_workstation_is_printed():
    done = run(
        "python",
        ROOT / "benchmarks" / "power.py",
        "--runs",
        "config/runs/workstation.tsv",
        "--studies",
        50,
        "--bases",
        1,
    )
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert 0.8 < float(rows["simple"][1]) < 2.5 and {"repeated", "homogeneous"} <= rows.keys()
