"""SIGKILL of Snakemake in the middle of SFT and of GRPO: the study goes on and ends with the same weights."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import BIN, run
from test_workflow import SMOKE, copy_of_the_project

pytestmark = pytest.mark.long
RUN = "random-64"
MODELS = {"sft": f"sft/{RUN}", "grpo": f"grpo/{RUN}/seed-1"}
COMMAND = [str(BIN / "snakemake"), "--cores", "2", *SMOKE, "--", f"results/smoke/models/{MODELS['grpo']}/model"]


def folder_of(project: Path, stage: str) -> Path:
    return project / "results" / "smoke" / "models" / MODELS[stage]


def weights(project: Path, stage: str) -> bytes:
    return (folder_of(project, stage) / "model" / "model.safetensors").read_bytes()


def steps(project: Path, stage: str) -> list[dict]:
    """The metrics without what depends on the clock."""
    rows = [yaml.safe_load(line) for line in (folder_of(project, stage) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in ("seconds", "step_time")} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A project whose trainings take long enough to be killed, with a base model and a lineage nobody disturbed."""
    project = copy_of_the_project(tmp_path_factory.mktemp("faults") / "project")
    sheet = project / "config" / "runs" / "smoke.tsv"
    sheet.write_text(sheet.read_text().replace(f"{RUN}\trandom\t64\t1\t", f"{RUN}\trandom\t64\t100\t"))  # 400 steps
    recipe = project / "config" / "grpo" / "smoke.yaml"
    recipe.write_text(recipe.read_text().replace("max_steps: 8", "max_steps: 60"))
    recipe = project / "config" / "sft" / "smoke.yaml"
    recipe.write_text(recipe.read_text().replace("save_steps: 4", "save_steps: 20"))
    study = project / "config" / "smoke.yaml"  # whose base model may know little here
    study.write_text(study.read_text().replace("examples: 20000", "examples: 2000"))
    done = subprocess.run(COMMAND, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return project


def copy_without(undisturbed: Path, folder: Path, *stages: str) -> Path:
    """The same project before these stages of the lineage were trained."""
    project = Path(shutil.copytree(undisturbed, folder))
    for stage in stages:
        shutil.rmtree(project / "results" / "smoke" / "models" / stage)
    return project


class Study:
    """Snakemake at work on the lineage."""

    def __init__(self, project: Path):
        self.project, self.log = project, project / f"output-{len(list(project.glob('output-*')))}.txt"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(COMMAND, cwd=project, stdout=log, stderr=log)

    def wait_for(self, what: Callable[[], bool]) -> None:
        while not what():
            assert self.process.poll() is None or what(), self.log.read_text()[-3000:]
            time.sleep(0.01)

    def wait_to_say(self, words: str) -> None:
        self.wait_for(lambda: words in self.log.read_text())

    def kill_at(self, stage: str, step: int) -> psutil.Process:
        """SIGKILL Snakemake alone once `stage` has made `step` steps, and return the orphaned training."""
        metrics = folder_of(self.project, stage) / "checkpoints" / "metrics.jsonl"
        self.wait_for(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= step)
        running = psutil.Process(self.process.pid).children(recursive=True)
        pythons = [process for process in running if process.name().startswith("python")]
        (job,) = (process for process in pythons if "workflow/scripts/train_" in " ".join(process.cmdline()))
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return job

    def finish(self) -> str:
        """What it printed."""
        assert self.process.wait() == 0, self.log.read_text()[-3000:]
        return self.log.read_text()


def begun_again(project: Path) -> Study:
    """What Snakemake asks for after a hard kill, and the same command again."""
    assert run("snakemake", *SMOKE, "--unlock", cwd=project).returncode == 0
    return Study(project)


def killed(job: psutil.Process) -> None:
    job.kill()
    psutil.wait_procs([job])


def check_equal(project: Path, undisturbed: Path) -> None:
    for each in MODELS:
        assert weights(project, each) == weights(undisturbed, each), each
        assert steps(project, each) == steps(undisturbed, each), each
    assert not list(project.glob("results/smoke/models/*/*/checkpoints"))


def test_a_lineage_killed_six_times_has_the_weights_of_an_undisturbed_one(undisturbed, tmp_path):
    """Snakemake and the training it runs, in the middle of either stage and near both of its ends."""
    project = copy_without(undisturbed, tmp_path / "project", "sft", "grpo")
    study = Study(project)
    for stage, step in (("sft", 2), ("sft", 150), ("sft", 390), ("grpo", 2), ("grpo", 31), ("grpo", 59)):
        killed(study.kill_at(stage, step))
        study = begun_again(project)
        if step > 20:
            study.wait_to_say(f"{MODELS[stage]}: going on from step")
    study.finish()
    check_equal(project, undisturbed)


def test_a_lineage_whose_trainings_outlive_their_study_has_the_weights_of_an_undisturbed_one(undisturbed, tmp_path):
    """The orphan is held until it is waited for, since it might be done before the command has come that far."""
    project = copy_without(undisturbed, tmp_path / "project", "sft", "grpo")
    study = Study(project)
    for stage, step in (("sft", 100), ("grpo", 10)):
        job = study.kill_at(stage, step)
        job.suspend()
        study = begun_again(project)
        study.wait_to_say(f"{MODELS[stage]}: waiting for process {job.pid}")
        job.resume()
    study.finish()
    check_equal(project, undisturbed)


def test_a_training_that_outlives_its_study_is_not_trained_again(undisturbed, tmp_path):
    """The orphan finishes before the study is started again: what it made is taken over."""
    project = copy_without(undisturbed, tmp_path / "project", "grpo")
    psutil.wait_procs([Study(project).kill_at("grpo", 10)])
    assert "steps, reward" not in begun_again(project).finish()
    assert weights(project, "grpo") == weights(undisturbed, "grpo")


def test_a_checkpoint_of_another_recipe_is_not_resumed(undisturbed, tmp_path):
    project = copy_without(undisturbed, tmp_path / "project", "grpo")
    killed(Study(project).kill_at("grpo", 10))
    recipe = project / "config" / "grpo" / "smoke.yaml"
    recipe.write_text(recipe.read_text().replace("3.0e-4", "1.0e-4"))
    assert "going on from step" not in begun_again(project).finish()


def test_a_killed_sampling_goes_on(undisturbed, tmp_path):
    """`largek sample` killed between chunks ends with the file it would have made."""
    problems = undisturbed / "results" / "smoke" / "problems" / "rl.jsonl"
    rows = [yaml.safe_load(line) | {"task": "t", "split": "s"} for line in problems.read_text().splitlines()]
    (tmp_path / "problems.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = [str(BIN / "largek"), "sample", "--model", str(folder_of(undisturbed, "sft") / "model")]
    command += ["--tasks", str(tmp_path / "problems.jsonl"), "--samples", "0:32", "--name", "m"]
    command += ["--max-tokens", "24", "--batch-size", "64", "--output"]
    assert subprocess.run([*command, str(tmp_path / "whole.parquet")], capture_output=True).returncode == 0
    partial = tmp_path / "cut.parquet.partial" / "samples"
    for chunks in (3, 40):
        job = subprocess.Popen([*command, str(tmp_path / "cut.parquet")], stdout=subprocess.DEVNULL)
        while len(list(partial.glob("0*.parquet"))) < chunks:
            assert job.poll() is None
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
        job.wait()
        assert not (tmp_path / "cut.parquet").exists()
    assert subprocess.run([*command, str(tmp_path / "cut.parquet")], capture_output=True).returncode == 0
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "cut.parquet").equals(pq.read_table(tmp_path / "whole.parquet"))
