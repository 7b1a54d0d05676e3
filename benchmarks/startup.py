"""What a job costs besides its work: seconds outside its loop, beyond `import torch`, in one run.

    python benchmarks/startup.py --results results/laptop

Each command runs as in the study on next to nothing. Trainings, sampling and loss record the seconds of their loops;
everything else, from the start of the process to its end, is counted, with importing torch measured alone taken off.
Grading, tables and figures should not import torch at all.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
LARGEK = Path(sys.executable).with_name("largek")
TURNS = 3


def wall(command: list, **environment: str) -> tuple[float, bool]:
    """(seconds, whether torch was imported) of a command."""
    watched = os.environ | environment | {"OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    subprocess.run(list(map(str, command)), cwd=ROOT, env=watched, check=True, capture_output=True)
    seconds = time.monotonic() - start
    watched["PYTHONPROFILEIMPORTTIME"] = "1"  # in a second run, since writing the list takes time
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=watched, check=True, capture_output=True, text=True)
    return seconds, any(line.endswith("| torch") for line in done.stderr.splitlines())


def with_torch(results: Path, folder: Path) -> dict[str, tuple[list, object]]:
    """Commands that need torch, and where each says how long its loop took."""
    base, problems, scripts = results / "models/base/model", results / "problems", "workflow/scripts"
    few = folder / "few.jsonl"
    few.write_text("".join((problems / "sft.jsonl").read_text().splitlines(keepends=True)[:64]))
    recipe = folder / "grpo.yaml"
    recipe.write_text((ROOT / "config/grpo/lab.yaml").read_text().replace("max_steps: 80", "max_steps: 1"))
    shared = ["--seed", 1, "--threads", 1, "--output"]

    def recorded(name: str):
        return lambda: json.loads((folder / name).read_text())["seconds"]

    return {
        "train_sft": ([sys.executable, f"{scripts}/train_sft.py", "--base", base, "--mix", few, "--recipe",
                       "config/sft/lab.yaml", "--epochs", 1, *shared, folder / "sft"], recorded("sft/run.json")),
        "train_rl": ([sys.executable, f"{scripts}/train_rl.py", "--start", base, "--problems",
                        problems / "rl.jsonl", "--verifier", "lab.checker:verify", "--recipe", recipe, *shared,
                        folder / "grpo"], recorded("grpo/run.json")),
        "sample": ([LARGEK, "sample", "--model", base, "--tasks", problems / "predict.jsonl", "--samples", "0:1",
                    "--max-tokens", 50, "--output", folder / "a.parquet"],
                   lambda: float(pq.read_schema(folder / "a.parquet").metadata[b"seconds"])),
        "loss": ([LARGEK, "loss", "--model", base, "--examples", few, "--output", folder / "loss.json"],
                 recorded("loss.json")),
    }  # fmt: skip


def without_torch(results: Path, folder: Path) -> dict[str, list]:
    """Commands that read what others have made."""
    block, tables = "base/block-0.parquet", results / "tables"
    problems = [results / f"problems/{name}.jsonl" for name in ("predict", "outcome")]
    for name in ("models", "losses"):  # collect writes beside what it reads
        (folder / name).symlink_to((results / name).resolve())
    collect = [sys.executable, "workflow/scripts/collect.py", "--results", folder, "--models", "base"]
    plot = [sys.executable, "workflow/scripts/plot_sft_vs_rl.py", "--models", tables / "models.csv"]
    plot += ["--over-promise", tables / "over_promise.csv"]
    return {
        "grade": [LARGEK, "grade", results / "samples" / block, "--tasks", *problems, "--verifier",
                  "lab.checker:verify", "--output", folder / "grades.parquet"],
        "passk": [LARGEK, "passk", results / "grades" / block, "--output", folder / "passk.csv"],
        "collect": [*collect, "--grades", results / "grades" / block, "--gain-block", 0],
        "plot": [*plot, "--output", folder / "figure.png"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, type=Path, help="results of the laptop study")
    args = parser.parse_args()
    torch = statistics.median(wall([sys.executable, "-c", "import torch"])[0] for _ in range(TURNS))
    print(f"import torch: {torch:.1f} s")
    beyond: dict[str, list[float]] = {}
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory() as name:
            for kind, (command, loop) in with_torch(args.results, Path(name)).items():
                watched = os.environ | {"OMP_NUM_THREADS": "1"}
                start = time.monotonic()
                subprocess.run(list(map(str, command)), cwd=ROOT, env=watched, check=True, capture_output=True)
                beyond.setdefault(kind, []).append(time.monotonic() - start - loop() - torch)
    for kind, seconds in beyond.items():
        print(f"{kind:11} {statistics.median(seconds):4.1f} s outside its loop, beyond import torch")
    with tempfile.TemporaryDirectory() as name:
        for kind, command in without_torch(args.results, Path(name)).items():
            seconds, torch_there = wall(command, PYTHONPATH="workflow/scripts" if kind == "grade" else "")
            print(f"{kind:11} {seconds:4.1f} s in all, {'IMPORTS TORCH' if torch_there else 'without torch'}")


if __name__ == "__main__":
    main()
