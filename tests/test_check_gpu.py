"""`make check-gpu`: what is wrong with a machine is said before a study begins, and what is right by its scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_engines import IN_ONE, VLLM

import check_gpu
from largek.common import write_json, write_jsonl

SCRIPT = "workflow/scripts/check_gpu.py"


def checked(python: object, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([str(python), SCRIPT, *arguments], cwd=ROOT, env=given, capture_output=True, text=True)


@pytest.mark.parametrize("driver, said", [("470.42", "470.42 is older than 580"), ("590.10", "FAKE with 81559 MiB")])
def test_a_machine_that_will_not_do_is_told_why(tmp_path, driver, said):
    """A pretended nvidia-smi beside a torch for CPUs: a line a check, and no training is started."""
    fake = tmp_path / "nvidia-smi"
    fake.write_text(f"#!/bin/sh\necho '{driver}, FAKE, 81559'\n")
    fake.chmod(0o755)
    done = checked(sys.executable, PATH=f"{tmp_path}:{os.environ['PATH']}")
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith(("ok ", "WRONG "))}
    assert done.returncode == 1 and "a study would not run here" in done.stdout
    assert said in lines["driver"] and lines["driver"].startswith("WRONG") == (driver < "580")
    assert "is built for CPUs: make setup-gpu" in lines["toolkit"]
    assert lines["headers"].startswith("ok") and lines["compiler"].startswith("ok") and "push" not in lines


# Two GPUs, of which one is named with --id; or no driver.
TWO = """#!/bin/sh
case "$*" in
    *query-gpu=index*) echo 0; echo 1;;
    *--id=0*) echo "590.10, FIRST, 81559";;
    *) echo "590.10, FIRST, 81559"; echo "590.10, SECOND, 24564";;
esac
"""


@pytest.mark.parametrize(
    "program, said",
    [(TWO, "590.10; FIRST with 81559 MiB ("), ("#!/bin/sh\necho no driver; exit 9\n", "nvidia-smi says 'no driver'")],
)
def test_of_several_gpus_the_first_is_looked_at(tmp_path, program, said):
    """As a lease would give it: a training that sees two spreads its batches over both, and is another one."""
    (tmp_path / "nvidia-smi").write_text(program)
    (tmp_path / "nvidia-smi").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, SCRIPT]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    (line,) = (line for line in done.stdout.splitlines() if line.split()[1] == "driver")
    assert said in line and "SECOND" not in line


def test_a_config_that_the_check_cannot_stand_for_is_refused():
    for config, message in (("config/smoke.yaml", "missing key"), ("config/paper.yaml", "take 8 GPUs")):
        done = checked(sys.executable, "--config", config)
        assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_training_that_diverged_is_not_ok(tmp_path, monkeypatch):
    """It ends with status 0, since other lineages go on without it."""

    def diverged(program: list, output: Path, device: str) -> float:
        write_json(output / "model" / "failed.json", {"reason": "diverged at step 2: loss nan"})
        write_jsonl(output / "metrics.jsonl", [{"step": 1, "loss": 9.5}, {"step": 2, "loss": float("nan")}])
        return 1.0

    monkeypatch.setattr(check_gpu, "watched", diverged)
    with pytest.raises(check_gpu.Wrong, match=r"^train_sft.py: diverged at step 2: loss nan$"):
        check_gpu.train("train_sft.py", {}, tmp_path / "sft", "cpu")


@pytest.mark.long
def test_on_a_cpu_every_line_is_ok():
    """Through vLLM, a push of weights, and the workstation's recipes."""
    if not (VLLM / "python").exists():
        pytest.skip(f"{VLLM.parent} is absent; make .venv-vllm/ready builds it")
    done = checked(VLLM / "python", "--device", "cpu", **IN_ONE)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    said = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("ok ")}
    assert said == {"packages", "headers", "compiler", "kernels", "push", "SFT", "GRPO", "loss", "sampling"}
    assert "all is well" in done.stdout
