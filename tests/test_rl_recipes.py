"""Recipes of RL beside the study's own: Dr.GRPO, DAPO and RLOO as docs/own.md writes them."""

import pytest
import torch
import yaml
from conftest import ROOT
from datasets import Dataset
from own_page import recipes
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from largek.common import InputError
from largek.models import load
from quagmires.check_start import check_recipes
from quagmires.cost_formulas import estimate
from quagmires.recipe import read_rl_recipe
from quagmires.rl_trainers import CONFIGS, TRAINERS
from quagmires.study import StudyError

# Rollouts, log-probabilities, answers left out: Dr.GRPO divides by the number of answers, so that all have to be there.
SHORTCUTS = {"dr": (True, True, False), "dapo": (True, True, True)}


def trainer_of(name: str, small_model, tmp_path, rewards, **fixed):
    """The trainer of a recipe of the page, with 16 prompts and two rewards."""
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipes()[name]))
    fixed |= {"output_dir": str(tmp_path), "use_cpu": True, "report_to": "none", "seed": 1, "shuffle_dataset": False}
    algorithm, recipe = read_rl_recipe(path, CONFIGS, reward_weights=[1.0, 0.5], disable_tqdm=True, **fixed)
    model, tokenizer = load(str(small_model))
    data = Dataset.from_list([{"prompt": f"start {i} 2 3 then sort ?"} for i in range(16)])
    return TRAINERS[algorithm](model, rewards, args=recipe, train_dataset=data, processing_class=tokenizer)


def rewards() -> list:
    def odd(completion_ids, **kwargs) -> list[float]:
        return [float(len(ids) % 2) for ids in completion_ids]

    def short(completion_ids, **kwargs) -> list[float]:
        return [-len(ids) / 24 for ids in completion_ids]

    return [odd, short]


@pytest.mark.parametrize("name", SHORTCUTS)
def test_the_faster_way_stays_where_it_computes_the_loss_and_gradients_are_trls(small_model, tmp_path, name):
    trainer = trainer_of(name, small_model, tmp_path, rewards())
    assert (trainer.decodes, trainer.scores, trainer.skips) == SHORTCUTS[name]
    torch.manual_seed(3)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1  # as Trainer.train sets it
    batch = trainer._generate_and_score_completions([row for row in trainer.train_dataset for _ in range(8)])
    found = []
    for way in (True, False):
        if not way:
            trainer.skips = trainer.scores = False
        trainer.model.zero_grad()
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
        found.append((loss.item(), [weight.grad.clone() for weight in trainer.model.parameters()]))
    (ours, mine), (theirs, stock) = found
    largest = max(gradient.abs().max().item() for gradient in stock)
    assert ours == pytest.approx(theirs, abs=1e-5) and largest > 1e-5
    assert all((one - other).abs().max().item() < 1e-4 * largest for one, other in zip(mine, stock))


def test_recipes_of_the_page_are_what_it_says():
    found = recipes()
    assert found["dr"]["loss_type"] == "dr_grpo" and found["dr"]["scale_rewards"] == "none"
    assert found["dapo"]["epsilon_high"] == 0.28 and found["dapo"]["loss_type"] == "dapo"
    assert found["rloo"]["trainer"] == "RLOO" and not {"loss_type", "scale_rewards"} & found["rloo"].keys()


def test_rloo_is_trls(small_model, tmp_path):
    trainer = trainer_of("rloo", small_model, tmp_path, rewards(), save_strategy="no")
    assert isinstance(trainer, RLOOTrainer) and not isinstance(trainer, GRPOTrainer)
    overridden = {name for kind in type(trainer).__mro__[:2] for name in vars(kind) if not name.startswith("__")}
    assert overridden == set() and trainer.ref_model is None
    trainer.train()
    weights = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    model, tokenizer = load(str(small_model))
    stock = RLOOTrainer(
        model, rewards(), args=trainer.args, train_dataset=trainer.train_dataset, processing_class=tokenizer
    )
    stock.train()
    assert all(torch.equal(weights[name], weight) for name, weight in stock.model.named_parameters())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"trainer": "PPO"}, "trainer: expected one of GRPO, RLOO, not 'PPO'"),
        ({"trainer": "RLOO", "loss_type": "dapo"}, "'loss_type' is not a field of RLOOConfig"),
        ({"dynamic_sampling": True}, "'dynamic_sampling' is not a field of GRPOConfig"),
        ({"reward_weights": [1.0]}, "'reward_weights' is set by the study, remove it here"),
        ({"trainer": "RLOO", "vllm_importance_sampling_correction": True}, "is not a field of RLOOConfig"),
    ],
)
def test_what_trl_cannot_do_is_refused(tmp_path, change, message):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"bf16": False} | change))
    with pytest.raises(InputError) as caught:
        read_rl_recipe(tmp_path / "r.yaml", CONFIGS, output_dir=str(tmp_path), reward_weights=[1.0])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_algorithm_that_is_not_there_stops_the_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    config["recipes"]["grpo"] = str(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text("trainer: PPO\nmax_steps: 3\n")
    with pytest.raises(StudyError, match=r"r\.yaml: trainer: expected one of GRPO, RLOO, not 'PPO'"):
        check_recipes(config, "x.yaml")
    (tmp_path / "r.yaml").write_text("trainer: RLOO\nmax_steps: 3\nper_device_train_batch_size: 6\n")
    check_recipes(config, "x.yaml")  # groups of two, TRL's default of RLOO


def test_an_estimate_counts_what_rloo_computes(tmp_path, monkeypatch):
    """A forward pass for the ratio, with or without vLLM's correction; one more and a second model for the KL term."""
    monkeypatch.chdir(ROOT)
    rates = yaml.safe_load((ROOT / "config" / "throughputs.yaml").read_text())
    config = yaml.safe_load((ROOT / "config" / "workstation.yaml").read_text())
    recipe = yaml.safe_load((ROOT / config["recipes"]["grpo"]).read_text())
    fields = RLOOConfig.__dataclass_fields__.keys() | {"trainer"}
    jobs = {}
    for name, change in (
        ("GRPO", {}),
        ("GRPO with KL", {"beta": 0.1}),
        ("RLOO", {"trainer": "RLOO", "beta": 0.0}),
        ("RLOO as it is", {"trainer": "RLOO", "beta": None}),
    ):
        wanted = fields if "trainer" in change else recipe.keys() | change.keys()
        values = {key: (recipe | change)[key] for key in wanted if (recipe | change).get(key) is not None}
        (tmp_path / "r.yaml").write_text(yaml.safe_dump(values))
        config["recipes"]["grpo"] = str(tmp_path / "r.yaml")
        (jobs[name],) = (job for job in estimate(config, rates, 0.5) if job.kind == "train_rl")
    assert jobs["RLOO"] == jobs["GRPO"] and jobs["RLOO as it is"] == jobs["GRPO with KL"]
    assert jobs["GRPO with KL"].memory == pytest.approx(jobs["GRPO"].memory + 4 * 0.6)
    assert jobs["GRPO with KL"].hours > jobs["GRPO"].hours
    assert GRPOConfig.__dataclass_fields__["beta"].default == 0.0 and RLOOConfig.beta == 0.05
