"""Wall time and memory of grade, passk and the tables as samples a problem and problems grow.

    python benchmarks/scaling.py --examples results/laptop/problems/base.jsonl

Answers are made, not sampled: half of them right, half the solution of one of 100 problems, so that as many answers
repeat another (which is judged once) with many problems as with few. Each command runs as the study
runs it, in a process of its own, whose start counts. A time or a peak of memory grows no worse than linearly if it
grows by no more than the number of answers. At the smallest size most is start, so growth from the size before the
largest to the largest is shown too.
"""

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from largek.common import read_jsonl, write_json, write_jsonl
from largek.store import SCHEMA

ROOT = Path(__file__).parents[1]
LARGEK = str(Path(sys.executable).with_name("largek"))
TASKS = 8
SAMPLES, PROBLEMS = (64, 256, 1024, 4096), (100, 1000, 10_000)


def make_answers(folder: Path, examples: list[dict], problems: int, n: int) -> None:
    """Problems, samples and what else `collect` reads, as a study of one model leaves them."""
    rng, rows = random.Random(1), examples[:problems]
    tasks = [
        {"id": f"p{i}", "task": f"t{i % TASKS}", "split": "predict", "problem": row["problem"],
         "answer": row["solution"].rpartition("answer ")[2]}
        for i, row in enumerate(rows)
    ]  # fmt: skip
    write_jsonl(folder / "problems.jsonl", tasks)
    columns: dict[str, list] = {name: [] for name in SCHEMA.names}
    for number, (task, row) in enumerate(zip(tasks, rows)):
        others = rows[number // PROBLEMS[0] * PROBLEMS[0] :][: PROBLEMS[0]]
        texts = [row["solution"] if rng.random() < 0.5 else rng.choice(others)["solution"] for _ in range(n)]
        values = {
            "model": ["base"] * n, "task": [task["task"]] * n, "split": ["predict"] * n, "problem": [task["id"]] * n,
            "sample": range(n), "text": texts, "tokens": [len(text.split()) for text in texts], "finish": ["stop"] * n,
            "entropy": [0.5] * n, "logprob": [-5.0] * n, "seed": [1] * n,
        }  # fmt: skip
        for name, column in columns.items():
            column.extend(values[name])
    asked = [[f"t{i}", "predict", n * len(range(i, len(rows), TASKS))] for i in range(min(TASKS, len(rows)))]
    table = pa.table(columns, SCHEMA).replace_schema_metadata({"largek": json.dumps({"asked": asked})})
    pq.write_table(table, folder / "samples.parquet")
    write_json(folder / "models/base/run.json", {"status": "ok"})
    write_json(folder / "losses/base.json", {"losses": {}})


def cost(command: list, **environment: str) -> tuple[float, float]:
    """(wall seconds, peak memory in MB) of a command."""
    start = time.monotonic()
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, cwd=ROOT, env=os.environ | environment
    )
    peak = 0.0  # what the kernel tells at the end holds this process's own peak, from before the command replaced it
    while process.poll() is None:
        with contextlib.suppress(OSError, AttributeError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024)
        time.sleep(0.005)
    if process.returncode:
        sys.exit(f"failed: {command}")
    return time.monotonic() - start, peak


def costs(examples: list[dict], problems: int, n: int) -> dict[str, tuple[float, float]]:
    """What each command costs for so many answers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_answers(folder, examples, problems, n)
        grades = folder / "grades/block-0.parquet"
        for made in ("grades", "passk"):
            (folder / made).mkdir()
        grade = [LARGEK, "grade", folder / "samples.parquet", "--tasks", folder / "problems.jsonl"]
        collect = [sys.executable, "workflow/scripts/collect.py", "--results", folder, "--models", "base"]
        return {
            "grade": cost(
                [*grade, "--verifier", "lab.checker:verify", "--output", grades], PYTHONPATH="workflow/scripts"
            ),
            "passk": cost([LARGEK, "passk", grades, "--output", folder / "passk/base.csv"]),
            "tables": cost([*collect, "--grades", grades, "--gain-block", 1]),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", required=True, type=Path, help="worked examples of the lab, 10,000 or more")
    args = parser.parse_args()
    examples = read_jsonl(args.examples, ("problem", "solution"))
    print("                          " + "".join(f"{name:>22}" for name in ("grade", "passk", "tables")))
    for axis, sizes in (
        ("samples", [(PROBLEMS[0], n) for n in SAMPLES]),
        ("problems", [(p, SAMPLES[0]) for p in PROBLEMS]),
    ):
        found = {}
        for problems, n in sizes:
            found[problems * n] = costs(examples, problems, n)
            cells = "".join(f"{seconds:11.2f} s {memory:6.0f} MB" for seconds, memory in found[problems * n].values())
            print(f"{problems:6} problems x {n:4}:  {cells}", flush=True)
        *_, before, most = found
        for few in (min(found), before):
            for place, what in enumerate(("time", "memory")):
                growth = {name: cost[place] / found[few][name][place] for name, cost in found[most].items()}
                said = ", ".join(f"{name} {ratio:.1f}" for name, ratio in growth.items())
                print(f"{most // few:3} times the {axis}, growth of {what:6}: {said}")


if __name__ == "__main__":
    main()
