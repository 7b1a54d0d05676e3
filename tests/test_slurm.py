"""The smoke study through a real Slurm (see .ci/slurm): jobs are requeued, killed and cancelled, and its tables are the
local run's."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from conftest import BIN, SMOKE, copy_of_the_project

pytestmark = pytest.mark.long
COMMAND = [str(BIN / "snakemake"), "--workflow-profile", "profiles/slurm", *SMOKE]
COMMAND += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
COMMAND += ["--seconds-between-status-checks", "1", "--latency-wait", "10"]
# A Slurm job starts two Snakemakes, 6 s of CPU time, and is seen by the third when it looks. So what needs no GPU and
# takes a second goes together.
TOGETHER = {"mixes": ("select_mix",), "grading": ("grade", "grade_after_rl")}
TOGETHER["tables"] = ("collect", "tabulate_scores", "analyze", "plot_predictors")
COMMAND += ["--groups", *(f"{rule}={group}" for group, rules in TOGETHER.items() for rule in rules)]
COMMAND += ["--group-components", "mixes=2", "grading=9"]
# A table and a figure: as jobs the others are no different.
MADE = [f"results/smoke/{path}" for path in ("tables/predictors.csv", "figures/predictors.png")]
MINUTES = 60
# The step after the one that is saved; three are left.
STEP = 5


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def slurm_is_there() -> bool:
    return bool(shutil.which("sinfo")) and subprocess.run(["sinfo"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def cluster():
    if not slurm_is_there():
        pytest.skip("no Slurm here: `.ci/slurm`, as root on Debian, starts one")


def gpu_jobs(project: Path) -> list[tuple[str, psutil.Process, str]]:
    """(device, process, its words) of every training and sampling of this project that was given a GPU; others of this
    machine have nothing to do with it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            program = any(word.endswith("train_rl.py") for word in words[:2]) or words[2:4] == ["largek", "sample"]
            if program and Path(words[0]).name.startswith("python") and process.cwd() == str(project.resolve()):
                found.append((process.environ()["CUDA_VISIBLE_DEVICES"], process, " ".join(words)))
        except (psutil.Error, KeyError):
            continue
    # On a busy machine a look takes long enough for a job to end and the next to begin on its device.
    return [(device, process, words) for device, process, words in found if process.is_running()]


def disturb(run: str, process: psutil.Process) -> None:
    """Each of the three lineages meets something else in the middle of GRPO."""
    job = process.environ()["SLURM_JOB_ID"]
    if run == "random-64":
        ask("scontrol", "requeue", job)  # as after preemption
    elif run == "longest-tokens":
        process.kill()
    else:
        ask("scancel", job)


@pytest.fixture(scope="module")
def study(cluster, tmp_path_factory):
    """The finished study, and what was seen while it ran: devices in use at once, memory asked for by job."""
    project = copy_of_the_project(tmp_path_factory.mktemp("slurm") / "project")
    config = project / "config" / "smoke.yaml"
    without = "gpus: {sft: 0, grpo: 0, sample: 0}"
    assert without in config.read_text()
    config.write_text(config.read_text().replace(without, "gpus: {sft: 0, grpo: 1, sample: 1}"))
    models = project / "results" / "smoke" / "models" / "grpo"
    left, devices, memory = {"base", "random-64", "longest-tokens"}, [], {}
    log = (project / "output.txt").open("w")
    environment = {**os.environ, "SBATCH_PARTITION": "gpus", "LARGEK_DEVICE": "cpu"}  # whose GPUs are files
    process = subprocess.Popen([*COMMAND, "--", *MADE], cwd=project, env=environment, stdout=log, stderr=log)
    trainings = {}

    def look() -> None:
        while process.poll() is None:
            found = gpu_jobs(project)
            devices.append(sorted(device for device, _, _ in found))
            trainings.update({run: each for _, each, words in found for run in tuple(left) if f"{run}/seed-1" in words})
            for line in ask("squeue", "--noheader", "--format", "%m %k").splitlines():
                size, _, job = line.partition(" ")
                memory.setdefault(job, set()).add(size)
            time.sleep(0.5)

    # Beside other work that takes longer than the last steps of a training, which is to be met before them.
    threading.Thread(target=look, daemon=True).start()
    deadline = time.monotonic() + MINUTES * 60
    while process.poll() is None and time.monotonic() < deadline:
        for run in sorted(left):
            metrics = models / run / "seed-1" / "checkpoints" / "metrics.jsonl"
            if metrics.exists() and metrics.read_bytes().count(b"\n") >= STEP:
                trainings[run].suspend()  # it must not get ready before it is disturbed
                disturb(run, trainings[run])
                left.remove(run)
        time.sleep(0.01)
    if process.poll() is None:
        process.terminate()
    assert process.wait() == 0, (project / "output.txt").read_text()[-5000:]
    assert not left
    return project, devices, memory


def test_the_tables_are_those_of_the_local_run(study, smoke):
    """Both were made from nothing."""
    tables = [folder / "results" / "smoke" / "tables" for folder in (study[0], smoke)]
    names = {path.name for path in tables[0].glob("*.[cp]*")}
    assert {"counts.parquet", "models.csv", "predictors.csv"} <= names
    for name in names - {"records.parquet"}:  # which hold the clock's seconds
        assert (tables[0] / name).read_bytes() == (tables[1] / name).read_bytes(), name
    assert all((study[0] / path).read_bytes() == (smoke / path).read_bytes() for path in MADE)


def test_disturbed_trainings_went_on_from_their_checkpoints(study):
    for run in ("base", "random-64", "longest-tokens"):
        folder = study[0] / "results" / "smoke" / "models" / "grpo" / run / "seed-1"
        assert f"grpo/{run}/seed-1: going on from step 4" in (folder / "train.log").read_text()


def test_a_gpu_has_one_job_at_a_time(study):
    devices = study[1]
    assert max(map(len, devices)) == 2
    assert all(len(set(found)) == len(found) and set(found) <= {"0", "1"} for found in devices)


def test_a_failed_job_asks_for_more_at_its_next_attempt_and_a_requeued_one_does_not(study):
    memory = study[2]
    output = (study[0] / "output.txt").read_text()
    assert output.count("Trying to restart job") == 2
    assert memory["rule_train_rl_wildcards_random-64_1"] == {"48000M"}  # requeued
    assert memory["rule_train_rl_wildcards_longest-tokens_1"] == {"48000M", "96000M"}
    assert memory["rule_train_rl_from_base_wildcards_base_1"] == {"48000M", "96000M"}
