"""What would end a study after its first downloads is one line while it is planned."""

import os
import sys
from pathlib import Path

import pytest
import yaml
from conftest import PRETEND, ROOT, run, wrong

from quagmires.check_start import check_recipes, check_start
from quagmires.configs import read_config
from quagmires.study import StudyError, validate_study


def pretend(folder: Path, mebibytes: int) -> str:
    """A PATH whose nvidia-smi lists no device and says how much memory those have that are asked for."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ncase $* in *memory.total*) echo {mebibytes};; esac\n")
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def workstation(monkeypatch, tmp_path) -> dict:
    """Its config, on a machine with two pretend GPUs of 80 GB and a pretend vLLM, and nobody's token."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("PATH", pretend(tmp_path, 81559))
    monkeypatch.syspath_prepend(PRETEND)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    return yaml.safe_load(Path("config/workstation.yaml").read_text())


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("data/benchmarks", ["gsm8kk"], "data/benchmarks: the task 'gsm8kk' is neither in config/tasks.yaml nor one"),
        ("data/rl", ["none.jsonl"], "data/rl: the task 'none.jsonl': no such file: none.jsonl"),
        ("data/rl", ["made-file"], "data/rl: the task 'made-file': no such file: data/made.jsonl"),
        ("data/sft", ["made-hub"], "data/sft: the task 'made-hub' has no revision, the commit of someone/data to take"),
        ("data/sft", ["gsm8k"], "data/sft: the task 'gsm8k' names no field with a solution"),
        ("data/tasks_file", "none.yaml", "none.yaml: no such file"),
        ("base_model", {"name": "some/model"}, "base_model: no folder some/model; for a model on the hub give its rev"),
        ("base_model/gated", True, "base_model: Qwen/Qwen3-0.6B-Base is behind a licence: accept it on the model's"),
        ("gpus/grpo", 8, "gpus/grpo: a job wants 8, and this machine has 2 to give"),
        ("gpus/grpo", 2, "gpus/grpo: a job wants 2: run with --resources gpu=2"),
        ("recipes/grpo", "none.yaml", "x.yaml: recipes/grpo: no such file: none.yaml"),
        ("gpu_gigabytes", 24, "x.yaml: train_rl: 25 GB are more than the 24 of a GPU (12 GB of weights and Adam's"),
    ],
)
def test_a_study_that_cannot_finish_does_not_start(workstation, tmp_path, path, value, message):
    entries = yaml.safe_load(Path("config/tasks.yaml").read_text())
    entries |= {"made-file": {"file": "data/made.jsonl"}, "made-hub": {"hub": "someone/data", "solution": "s"}}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump(entries))
    changed = wrong(workstation, path, value)
    if "made" in str(value):
        changed["data"]["tasks_file"] = str(tmp_path / "tasks.yaml")
    check_start(workstation, "x.yaml", 1)
    with pytest.raises(StudyError) as caught:
        check_start(changed, "x.yaml", 1)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_driver_that_is_not_loaded_is_told_while_planning(workstation, tmp_path, monkeypatch):
    """nvidia-smi is there on machines without a driver too, and ends with a status of its own."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    with pytest.raises(StudyError, match=r"has 0 to give \(no GPU: nvidia-smi says 'NVIDIA-SMI has failed'\)"):
        check_start(workstation, "x.yaml", 1)


def test_a_study_on_other_machines_is_not_held_to_the_gpus_of_this_one(workstation):
    check_start(wrong(workstation, "gpus/grpo", 8), "x.yaml", None)


def with_recipe(config: dict, folder: Path, stage: str, **fields) -> dict:
    """The study with more fields in a recipe."""
    recipe = yaml.safe_load(Path(config["recipes"][stage]).read_text()) | fields
    (folder / f"{stage}.yaml").write_text(yaml.safe_dump(recipe))
    return wrong(config, f"recipes/{stage}", str(folder / f"{stage}.yaml"))


FLASH = {"model_init_kwargs": {"attn_implementation": "flash_attention_2"}}
KERNELS = {"model_init_kwargs": {"use_kernels": True}}


@pytest.mark.parametrize(
    "package, fields, asking",
    [
        ("vllm", {}, "x.yaml: sampling/engine: vllm"),
        ("liger_kernel", {"use_liger_kernel": True}, "sft.yaml: use_liger_kernel"),
        ("deepspeed", {"deepspeed": "config/deepspeed/zero2.json"}, "sft.yaml: deepspeed"),
        ("flash_attn", FLASH, "sft.yaml: attn_implementation: flash_attention_2"),
        ("kernels", KERNELS, "sft.yaml: use_kernels"),
    ],
)
def test_a_package_that_a_recipe_asks_for_is_there_or_named(
    workstation, tmp_path, monkeypatch, package, fields, asking
):
    """Pretended there, and hidden where it is."""
    changed = with_recipe(workstation, tmp_path, "sft", **fields)
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    with monkeypatch.context() as there:
        there.syspath_prepend(tmp_path)
        check_start(changed, "x.yaml", 1)
    for name in (package, "kernels"):  # which stands in for FlashAttention too
        monkeypatch.setitem(sys.modules, name, None)
    line = f"{asking} needs the package {package.replace('_', '-')}, which is not installed"
    with pytest.raises(StudyError, match=line):
        check_start(changed, "x.yaml", 1)
    check_start(changed, "x.yaml", 1, image=True)  # where other packages are installed


def test_a_lora_recipe_and_a_tracker_need_their_packages(workstation, monkeypatch):
    for name in ("peft", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    plain = wrong(workstation, "grpo_steps", [])
    for path, value, name in (("recipes/lora", "config/lora/r64.yaml", "peft"), ("report_to", "wandb", "wandb")):
        with pytest.raises(StudyError, match=rf"x\.yaml: {path}.* needs the package {name}"):
            check_start(wrong(plain, path, value), "x.yaml", 1)


@pytest.mark.parametrize(
    "fields, gpus, message",
    [
        ({"per_device_train_batch_size": 3, "gradient_accumulation_steps": 1}, 2, "6 answers at a time are no whole"),
        ({"generation_batch_size": 20}, 1, "20 answers at a time are no whole groups of 8"),
        ({"steps_per_generation": 2, "num_generations": 24}, 1, "32 answers at a time are no whole groups of 24"),
        ({"max_steps": -1}, 1, "expected 'max_steps' above 0"),
    ],
)
def test_rl_that_would_end_at_its_first_step_is_known_before_sft(workstation, tmp_path, fields, gpus, message):
    changed = wrong(with_recipe(workstation, tmp_path, "grpo", **fields), "gpus/grpo", gpus)
    with pytest.raises(StudyError, match=rf"grpo\.yaml: .*{message}"):
        check_start(changed, "x.yaml", 2)


def test_steps_of_rl_are_not_kept_of_adapters(workstation):
    """train_rl refuses it, but after all of SFT."""
    changed = wrong(workstation, "recipes/lora", "config/lora/r64.yaml")
    with pytest.raises(StudyError, match=r"x\.yaml: grpo_steps: adapters are merged at the end alone"):
        check_start(changed, "x.yaml", 1, image=True)
    check_start(wrong(changed, "grpo_steps", []), "x.yaml", 1, image=True)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_of_every_study_can_begin(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = read_config(path.relative_to(ROOT))
    if "recipes" in config:
        check_recipes(config, path.name)


def test_a_file_that_a_recipe_names_is_there_and_what_it_should_be(workstation, tmp_path):
    for text, message in ((None, "sft.yaml: no such file: "), ("[1", "expected settings of DeepSpeed")):
        if text:
            (tmp_path / "zero.json").write_text(text)
        changed = with_recipe(workstation, tmp_path, "sft", deepspeed=str(tmp_path / "zero.json"))
        with pytest.raises(StudyError, match=message):
            check_start(changed, "x.yaml", 1, image=True)
    (tmp_path / "grpo.yaml").write_text("a: [")
    with pytest.raises(StudyError, match=r"grpo\.yaml: not YAML"):
        validate_study(wrong(workstation, "recipes/grpo", str(tmp_path / "grpo.yaml")), "x.yaml")


def test_memory_is_that_of_the_gpus_that_jobs_get(workstation, tmp_path, monkeypatch):
    """Of this machine's by nvidia-smi, unless the config says it; of others' by the config or what is stated."""
    monkeypatch.setenv("PATH", pretend(tmp_path, 24564))
    with pytest.raises(StudyError, match=r"train_rl: 2\d GB are more than the 25.8 of a GPU"):
        check_start(workstation, "x.yaml", 1)
    check_start(workstation | {"gpu_gigabytes": 48}, "x.yaml", 1)
    check_start(workstation, "x.yaml", None)
    with pytest.raises(StudyError, match=r"vLLM will not start: 0\.35 of a GPU of 8 GB leaves 0\.0 GB"):
        check_start(workstation | {"gpu_gigabytes": 8}, "x.yaml", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a")  # whose memory nvidia-smi does not say by its name
    check_start(workstation, "x.yaml", 1)


def test_problems_in_a_file_of_ones_own_are_planned_with(workstation, tmp_path):
    (tmp_path / "mine.jsonl").touch()
    changed = wrong(workstation, "data/sft", [str(tmp_path / "mine.jsonl")])
    check_start(changed, "x.yaml", 1)


@pytest.mark.parametrize(
    "study, gpus, message",
    [
        ("workstation", "", "config/workstation.yaml: gpus/sft: a job wants 1, and this machine has 0 to give"),
        ("workstation", "0", "train_rl: vLLM will not start: 0.35 of a GPU of 8.6 GB leaves 0.0 GB"),
        ("paper-qwen", "0", "data/sft: the task 'acereason' has no revision, the commit of nvidia/AceReason-1.1-SFT"),
    ],
)
def test_snakemake_refuses_what_cannot_finish_before_anything_is_fetched(study, gpus, message, tmp_path):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpus, "PATH": pretend(tmp_path, 8192)}
    environment["PYTHONPATH"] = os.pathsep.join([str(PRETEND), os.environ.get("PYTHONPATH", "")])
    done = run("snakemake", "-n", "--configfile", f"config/{study}.yaml", env=environment)
    assert done.returncode != 0 and message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
