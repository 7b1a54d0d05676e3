"""One job with two threads, or two jobs with one thread each? Measured for the three kinds of long jobs. And what two
threads of the base model's training are worth beside other work.

    python benchmarks/threads.py --results results/laptop

Prints, for each kind, the wall time of two jobs run one after the other with two threads and side by side with one.
Start-up is part of it, as in the study. Then the seconds a step of the base model's training with one thread and with
two, alone and beside two processes that never rest, with threads that sleep while they wait for each other, as in the
study, and with threads that turn. For a quiet machine of two cores: what else runs is a competitor too.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
STEPS = 40
BUSY = "while True: pass"


def commands(results: Path, folder: Path) -> dict[str, list]:
    """A command of each kind; {threads} and {output} are filled in."""
    recipe = folder / "grpo.yaml"
    text = (ROOT / "config/grpo/lab.yaml").read_text().splitlines()
    recipe.write_text("\n".join(line for line in text if not line.startswith("max_steps")) + f"\nmax_steps: {STEPS}\n")
    base, scripts, problems = results / "models/base/model", "workflow/scripts", results / "problems"
    shared = ["--seed", 1, "--threads", "{threads}", "--output", "{output}"]
    return {
        "GRPO": [sys.executable, f"{scripts}/train_rl.py", "--start", base, "--problems", problems / "rl.jsonl",
                 "--verifier", "lab.checker:verify", "--recipe", recipe, *shared],
        "SFT": [sys.executable, f"{scripts}/train_sft.py", "--base", base, "--mix", problems / "sft.jsonl",
                "--recipe", "config/sft/lab.yaml", "--epochs", 1, *shared],
        "sample": [Path(sys.executable).with_name("largek"), "sample", "--model", base, "--samples", "0:256",
                   "--tasks", problems / "predict.jsonl", problems / "outcome.jsonl", "--max-tokens", 50,
                   "--batch-size", 1024, "--output", "{output}"],
    }  # fmt: skip


def base(results: Path, folder: Path) -> list:
    """The command of the base model's training, cut to STEPS steps."""
    recipe = yaml.safe_load((ROOT / "config/sft/lab-base.yaml").read_text())
    architecture = yaml.safe_load((ROOT / "config/config.yaml").read_text())["architecture"]
    few = folder / "examples.jsonl"
    batch = recipe["per_device_train_batch_size"] * recipe.get("gradient_accumulation_steps", 1)
    with (results / "problems/base.jsonl").open() as file:
        few.write_text("".join(line for line, _ in zip(file, range(STEPS * batch))))
    del recipe["lr_scheduler_kwargs"]
    recipe |= {"num_train_epochs": 1, "lr_scheduler_type": "constant", "warmup_steps": 0}
    (folder / "base.yaml").write_text(yaml.safe_dump(recipe))
    return [sys.executable, "workflow/scripts/pretrain_base.py", "--examples", few, "--recipe", folder / "base.yaml",
            "--architecture", json.dumps(architecture), "--seed", 1, "--threads", "{threads}",
            "--output", "{output}"]  # fmt: skip


@contextlib.contextmanager
def beside(number: int) -> Iterator[None]:
    """So many processes that never rest, for the length of the block."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def start(command: list, threads: int, output: Path, sleep: bool = True) -> subprocess.Popen:
    filled = [str(part).replace("{threads}", str(threads)).replace("{output}", str(output)) for part in command]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    if not sleep:
        del environment["OMP_WAIT_POLICY"]
    log = output.with_suffix(".log").open("w")
    return subprocess.Popen(filled, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen) -> None:
    if process.wait():
        sys.exit(f"failed: {process.args}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, type=Path, help="results of the laptop study")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for kind, command in commands(args.results, Path(name)).items():
            begin = time.monotonic()
            for number in range(2):
                finish(start(command, 2, Path(name, f"{kind}-wide-{number}")))
            wide, begin = time.monotonic() - begin, time.monotonic()
            for process in [start(command, 1, Path(name, f"{kind}-narrow-{number}")) for number in range(2)]:
                finish(process)
            narrow = time.monotonic() - begin
            print(
                f"{kind:7} two jobs: {wide:5.1f} s one after the other with two threads, {narrow:5.1f} s side by side "
                f"with one thread each, ratio {wide / narrow:.2f}",
                flush=True,
            )
        command = base(args.results, Path(name))
        for threads, kind in ((1, "one thread"), (2, "two that sleep"), (2, "two that turn")):
            seconds = []
            for others in (0, 2):
                output = Path(name, f"base-{kind[-5:]}-{others}")
                with beside(others):
                    finish(start(command, threads, output, kind != "two that turn"))
                rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
                seconds.append(statistics.median(row["seconds"] for row in rows))
            print(
                f"base    {kind:14} {seconds[0]:.3f} s a step, {seconds[1]:.3f} beside two busy "
                f"processes, {seconds[1] / seconds[0]:.1f} times as long",
                flush=True,
            )


if __name__ == "__main__":
    main()
