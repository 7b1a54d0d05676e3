"""One job with two threads, or two jobs with one thread each? Measured for the three kinds of long jobs.

    python benchmarks/threads.py --results results/laptop

Prints, for each kind, the wall time of two jobs run one after the other with two threads and side by side with one.
Start-up is part of it, as in the study.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = 40


def commands(results: Path, folder: Path) -> dict[str, list]:
    """A command of each kind; {threads} and {output} are filled in."""
    recipe = folder / "grpo.yaml"
    text = (ROOT / "config/grpo/lab.yaml").read_text().splitlines()
    recipe.write_text("\n".join(line for line in text if not line.startswith("max_steps")) + f"\nmax_steps: {STEPS}\n")
    base, scripts, problems = results / "models/base/model", "workflow/scripts", results / "problems"
    shared = ["--seed", 1, "--threads", "{threads}", "--output", "{output}"]
    return {
        "GRPO": [sys.executable, f"{scripts}/train_grpo.py", "--start", base, "--problems", problems / "rl.jsonl",
                 "--verifier", "lab.checker:verify", "--recipe", recipe, *shared],
        "SFT": [sys.executable, f"{scripts}/train_sft.py", "--base", base, "--mix", problems / "sft.jsonl",
                "--recipe", "config/sft/lab.yaml", "--epochs", 1, *shared],
        "sample": [Path(sys.executable).with_name("largek"), "sample", "--model", base, "--samples", "0:256",
                   "--tasks", problems / "predict.jsonl", problems / "outcome.jsonl", "--max-tokens", 50,
                   "--batch-size", 1024, "--output", "{output}"],
    }  # fmt: skip


def start(command: list, threads: int, output: Path) -> subprocess.Popen:
    filled = [str(part).replace("{threads}", str(threads)).replace("{output}", str(output)) for part in command]
    log, environment = output.with_suffix(".log").open("w"), os.environ | {"OMP_NUM_THREADS": str(threads)}
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


if __name__ == "__main__":
    main()
