"""The rules as they are written, and what a dry run plans of them: nothing here trains or samples."""

import os
import re
import shlex
import sys
from importlib.metadata import packages_distributions
from inspect import signature
from pathlib import Path

import pytest
import yaml
from conftest import PRETEND, ROOT, SMOKE, copy_of_the_project, run
from snakemake.scheduling.job_scheduler import JobScheduler

RULES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
SCRIPTS = ROOT / "workflow" / "scripts"


def dry_run(cwd: Path, *options: object) -> str:
    """What `snakemake -n -p` prints on a machine with eight pretend GPUs and a pretend vLLM."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}
    environment["PYTHONPATH"] = os.pathsep.join([str(PRETEND), os.environ.get("PYTHONPATH", "")])
    done = run("snakemake", "-n", "-p", "--resources", "gpu=8", *options, cwd=cwd, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def commands(output: str, program: str) -> list[list[str]]:
    """The words of the commands of that program in a dry run, as a shell reads them."""
    found = re.findall(rf"^ *(?:\S+ )*\S*{re.escape(program)} (?:.*\\\n)*.*$", output, re.M)
    return [shlex.split(text.replace("\\\n", " ")) for text in found]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_what_a_rule_puts_into_its_command_is_quoted(path):
    """Names of families, verifiers, models and folders are people's own, with blanks and quotes in them."""
    blocks = re.findall(r'shell:\n\s+r?"""(.*?)"""', path.read_text(), re.S)
    assert blocks or path.stem in ("common", "config")
    found = [name for block in blocks for name in re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", block)]
    assert [name for name in found if name != "threads" and not name.endswith(":q")] == []


def test_no_script_has_the_name_of_a_package():
    """A process with that folder on its path would import it in place of the package."""
    scripts = {path.stem for path in SCRIPTS.iterdir() if path.suffix in ("", ".py")}
    assert scripts & {*packages_distributions(), *sys.stdlib_module_names} == set()


def test_a_family_of_several_words_is_one_argument():
    family = """Number Theory & Gauss' $HOME"""
    mixes = ("--configfile", "config/workstation.yaml", "--config", f"homogeneous_family={family}")
    output = dry_run(ROOT, *mixes, "--", "results/workstation/mixes/random-200k/examples.jsonl")
    (words,) = commands(output, "workflow/scripts/select_mix.py")
    assert words[words.index("--family") + 1] == family
    assert "--budget-tokens=200000" in words


def test_a_verifier_of_ones_own_is_an_input_with_all_that_it_imports(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    scripts = project / "workflow" / "scripts"
    (scripts / "mine").mkdir()
    (scripts / "mine" / "__init__.py").write_text("")
    (scripts / "mine" / "words.py").write_text("RIGHT = 'correct'\n")
    source = "from largek.verify import Verdict\nfrom mine.words import RIGHT\n\ndef verify(text, problem):\n    ...\n"
    (scripts / "mine" / "checker.py").write_text(source)
    config = project / "config" / "smoke.yaml"
    config.write_text(config.read_text().replace("lab.checker:verify", "mine.checker:verify"))
    output = dry_run(project, *SMOKE)
    of_rules = dict(re.findall(r"^(?:local)?rule (\w+):\n +input: (.*)$", output, re.M))
    mine = {f"workflow/scripts/mine/{name}.py" for name in ("checker", "words")}
    for rule in ("grade", "grade_after_rl", "train_rl", "train_rl_from_base"):
        assert mine <= set(of_rules[rule].split(", ")), rule
    assert not mine & set(of_rules["train_sft"].split(", "))


def test_a_reward_of_ones_own_is_an_input_of_rl_alone_with_all_that_it_imports(tmp_path):
    project = copy_of_the_project(tmp_path / "project")
    scripts = project / "workflow" / "scripts"
    (scripts / "words_of_mine.py").write_text("FEW = 3\n")
    (scripts / "mine.py").write_text("from words_of_mine import FEW\n\ndef short(completions, **kwargs):\n    ...\n")
    config = project / "config" / "smoke.yaml"
    config.write_text(f"{config.read_text()}\nreward: {{verifier: 1.0, mine:short: 0.2}}\ncoin_runs: [base]\n")
    output = dry_run(project, *SMOKE)
    of_rules = dict(re.findall(r"^(?:local)?rule (\w+):\n +input: (.*)$", output, re.M))
    mine = {f"workflow/scripts/{name}.py" for name in ("mine", "words_of_mine")}
    assert {"train_rl_by_coin", "grade"} < of_rules.keys()
    for rule, files in of_rules.items():
        assert mine & set(files.split(", ")) == (mine if rule in ("train_rl", "train_rl_from_base") else set()), rule
    rewards = [" ".join(words) for words in commands(output, "workflow/scripts/train_rl.py")]
    assert sum("--reward verifier=1.0 mine:short=0.2 --threads" in words for words in rewards) == len(rewards) - 1
    assert sum("--reward coin --threads" in words for words in rewards) == 1


def test_the_scheduler_is_mended_in_the_version_that_is_pinned():
    """With another one look again whether Snakemake still needs it, and what its method is."""
    source = (ROOT / "workflow" / "rules" / "common.smk").read_text()
    (guard,) = re.findall(r'__version__.startswith\("([\d.]+)"\)', source)
    for pins in ("cpu", "gpu"):
        assert f"\nsnakemake=={guard}" in (ROOT / "envs" / f"{pins}.txt").read_text()
    assert list(signature(JobScheduler._schedule_reevalutation).parameters) == ["self", "delay"]


def test_jobs_of_slurm_ask_for_one_node_memory_and_cpus_for_each_gpu():
    profile = ("--workflow-profile", "profiles/slurm", "--configfile", "config/workstation.yaml", "--cores", 16)
    targets = [f"results/workstation/{name}" for name in ("losses/sft/random-200k.json", "losses/base.json")]
    targets += ["results/workstation/grades/grpo/random-200k/seed-1/block-0.parquet"]
    asked = {}
    for rule, text in re.findall(r"^rule (\w+):\n((?: .*\n)+)", dry_run(ROOT, *profile, "--", *targets), re.M):
        (found,) = re.findall(r"^ +resources: (.*)$", text, re.M)
        threads = re.search(r"^ +threads: (\d+)$", text, re.M)
        words = dict(word.split("=", 1) for word in found.split(", "))
        asked[rule] = {name: int(value) for name, value in words.items() if value.isdigit()}
        asked[rule]["threads"] = int(threads[1]) if threads else 1
    assert {"train_sft", "train_rl", "sample_after_rl", "measure_loss", "measure_loss_of_base"} <= asked.keys()
    for rule, words in asked.items():
        assert words["nodes"] == 1 and words["runtime"] >= 60, rule
        assert words["cpus_per_gpu"] == words["threads"], rule
        if "gpu" in words:
            assert words["mem_mb"] >= 32000 and words["threads"] == 4, rule


@pytest.mark.parametrize("rule", ["import_base", "prepare_data"])
def test_what_needs_the_network_runs_where_snakemake_was_started(rule):
    text = "\n".join(path.read_text() for path in RULES)
    (body,) = re.findall(rf"^ *rule {rule}:\n(.*?)^ *shell:", text, re.M | re.S)
    assert "localrule: True" in body


def test_jobs_ask_for_their_gpus_and_engine_in_words_of_their_own(tmp_path):
    config = yaml.safe_load((ROOT / "config" / "workstation.yaml").read_text())
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(config | {"gpus": {"sft": 2, "grpo": 1, "sample": 1}}))
    target = "results/workstation/grades/grpo/random-200k/seed-1/block-0.parquet"
    output = dry_run(ROOT, "--configfile", tmp_path / "two.yaml", "--", target)
    lease = ["python", "workflow/scripts/lease_gpus.py", "--gpus"]
    (sft,) = commands(output, "workflow/scripts/train_sft.py")
    assert sft[:9] == [*lease, "2", "--", "torchrun", "--standalone", "--nproc-per-node", "2"]
    (grpo,) = commands(output, "workflow/scripts/train_rl.py")
    assert grpo[:6] == [*lease, "1", "--", "python"]
    (sample,) = commands(output, "largek sample")
    assert sample[:9] == [*lease, "1", "--", "python", "-m", "largek", "sample"]
    assert " ".join(sample).count("--engine vllm --gpu-memory 0.9 --tensor-parallel 1 ") == 1
    (grade,) = commands(output, "largek grade")
    assert grade[grade.index("--workers") + 1].isdigit()
