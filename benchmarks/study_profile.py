"""Where the wall time of a finished study went: by rule, and inside the four rules that use a model.

    python benchmarks/study_profile.py --results results/laptop --output results/benchmarks

By rule from Snakemake's own records of when each job began and ended, and from what the jobs say of their loops
(training, sampling, loss). Inside a rule by running one such job again, with a clock around each part. Achieved
FLOP/s count 2 operations a weight and token forward and 6 in training, of prompts and answers without padding, against
the rate of large matrix products measured in the same process. They count as if nothing were shared, so that GRPO,
whose answers share prompts and beginnings, can exceed that rate. Writes profile.csv, inside.csv and profile.png.
"""

import argparse
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow/scripts"
BASE = "models/base/model"
LOOPS = {"pretrain_base": "models", "train_sft": "models", "train_grpo": "models", "sample": "samples",
         "measure_loss": "losses"}  # fmt: skip
# What is timed inside a job: functions by the part of the work that they are. Time in a part inside a part counts once.
TRAINING = {
    "load": ["largek.models.load"],
    "data": ["trl.SFTTrainer.__init__", "trl.GRPOTrainer.__init__", "datasets.Dataset.from_list"],
    "rollout": ["quagmires.lean_grpo.LeanGRPOTrainer._generate_single_turn"],
    "reward": ["trl.GRPOTrainer._calculate_rewards"],
    "forward": ["quagmires.cpu_llama.score"],
    "backward": ["torch.Tensor.backward"],
    "optimiser": ["torch.optim.AdamW.step", "accelerate.Accelerator.clip_grad_norm_"],
    "save": [
        "quagmires.training.Training.finish",
        "quagmires.training.Training.publish",
        "transformers.Trainer._save_checkpoint",
    ],
}
SAMPLING = {
    "load": ["largek.engine_transformers.Transformers.__init__", "largek.engine_transformers.Transformers.sampler"],
    "rollout": ["largek.decode.Decoder.sample"],
    "save": ["largek.store.Store.append", "largek.sample.joined"],
}
LOSS = {"load": ["largek.loss.load"], "forward": ["largek.loss.losses_by_decoder"]}
PARTS = {"train_sft": TRAINING, "train_grpo": TRAINING, "sample": SAMPLING, "measure_loss": LOSS}
IMPORTED = {
    "train_sft": "quagmires.lean_sft datasets quagmires.training largek.models",
    "train_grpo": "quagmires.lean_grpo datasets quagmires.training largek.models",
    "sample": "largek.engine_transformers",
    "measure_loss": "largek.loss largek.models torch",
}


def jobs_by_rule(snakemake: Path) -> dict[str, dict[Path, tuple[float, float]]]:
    """Begin and end of every finished job by its log, by rule; variants of a rule count as the rule."""
    found: dict[str, dict[Path, tuple[float, float]]] = defaultdict(dict)
    for path in (snakemake / "metadata").rglob("*"):
        record = json.loads(path.read_text()) if path.is_file() else {}
        if record.get("starttime") and record["endtime"] > record["starttime"]:
            rule = next((name for name in LOOPS if record["rule"].startswith(name)), record["rule"])
            found[rule][Path(record["log"][0])] = record["starttime"], record["endtime"]
    return found


def loop_seconds(results: Path) -> tuple[dict[str, float], dict[str, int]]:
    """Core-seconds inside training, sampling and loss loops, and threads of a job, by rule, as the jobs recorded them.

    A loop counts all threads that its job was given, busy or not, as nothing else may use them."""
    import pyarrow.parquet as pq

    total: dict[str, float] = defaultdict(float)
    threads: dict[str, int] = defaultdict(lambda: 1)
    for path in (results / "models").rglob("run.json"):
        record = json.loads(path.read_text())
        stage = path.relative_to(results / "models").parts[0]
        rule = {"base": "pretrain_base", "sft": "train_sft", "grpo": "train_grpo"}[stage]
        threads[rule] = record["recipe"]["threads"]
        total[rule] += record.get("seconds", 0) * threads[rule]
    for path in (results / "samples").rglob("*.parquet"):
        total["sample"] += float((pq.read_schema(path).metadata or {}).get(b"seconds", 0))
    for path in (results / "losses").rglob("*.json"):
        if "benchmark" not in path.name:
            total["measure_loss"] += json.loads(path.read_text()).get("seconds", 0)
    return total, threads


def by_rule(results: Path, cores: int):
    """A table of core-seconds of all rules, in all and in loops, the study's wall time in seconds, and the overhead
    share: (wall x cores - core-seconds in loops) / (wall x cores)."""
    import pandas as pd

    jobs = jobs_by_rule(results.resolve().parents[1] / ".snakemake")
    loops, threads = loop_seconds(results)
    here = {
        rule: [span for log, span in spans.items() if Path(results.parent.name, results.name) in log.parents]
        for rule, spans in jobs.items()
    }
    rows = [
        (rule, len(spans), threads[rule] * sum(end - start for start, end in spans), loops[rule])
        for rule, spans in here.items()
        if spans
    ]
    spans = [span for each in here.values() for span in each]
    wall = max(end for _, end in spans) - min(start for start, _ in spans)
    table = pd.DataFrame(rows, columns=["rule", "jobs", "all", "loop"]).sort_values("all", ascending=False)
    return table, wall, (wall * cores - sum(loops.values())) / (wall * cores)


def commands(results: Path, folder: Path) -> dict[str, list]:
    """One job of each kind, as the study runs it."""
    run = sorted(path.name for path in (results / "mixes").iterdir())[-1]
    recipe = folder / "grpo.yaml"
    recipe.write_text((ROOT / "config/grpo/lab.yaml").read_text().replace("max_steps: 80", "max_steps: 20"))
    problems, shared = results / "problems", ["--seed", 1, "--threads", 1, "--output"]
    return {
        "train_sft": ["--base", results / BASE, "--mix", results / f"mixes/{run}/examples.jsonl", "--recipe",
                      "config/sft/lab.yaml", "--epochs", 1, *shared, folder / "sft"],
        "train_grpo": ["--start", results / BASE, "--problems", problems / "rl.jsonl", "--verifier",
                       "lab.checker:verify", "--recipe", recipe, *shared, folder / "grpo"],
        "sample": ["sample", "--model", results / BASE, "--tasks", problems / "predict.jsonl", "--samples", "0:32",
                   "--max-tokens", 50, "--batch-size", 384, "--output", folder / "a.parquet"],
        "measure_loss": ["loss", "--model", results / BASE, "--examples", problems / "common_held_out.jsonl",
                         "--output", folder / "loss.json"],
    }  # fmt: skip


def inside(kind: str, arguments: list[str]) -> None:
    """Run one job in this process with clocks around its parts; prints seconds by part, as JSON, at the end."""
    import psutil

    begin = psutil.Process().create_time()
    sys.path.insert(0, str(ROOT))
    sys.path.append(str(SCRIPTS))
    from largek.quick import quick_imports, without_pandas

    if kind == "sample":
        without_pandas()
    with quick_imports():
        for name in IMPORTED[kind].split():
            importlib.import_module(name)
    seconds, running = defaultdict(float, start=time.time() - begin), []

    def clocked(part: str, function):
        def call(*args, **kwargs):
            if running:
                return function(*args, **kwargs)
            running.append(part)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[part] += time.perf_counter() - start
                running.pop()

        return call

    for part, names in PARTS[kind].items():
        for name in names:
            module, _, rest = name.rpartition(".")
            if module not in sys.modules and "." in module and module.rpartition(".")[2][0].isupper():
                module, rest = module.rpartition(".")[0], f"{module.rpartition('.')[2]}.{rest}"
            if module not in sys.modules:
                continue  # a part that this kind of job does not have
            *owners, last = rest.split(".")
            owner = sys.modules[module]
            for each in owners:
                owner = getattr(owner, each)
            setattr(owner, last, clocked(part, getattr(owner, last)))
            if name == "quagmires.cpu_llama.score":  # imported by name
                for user in ("quagmires.lean_sft", "quagmires.lean_grpo"):
                    if user in sys.modules:
                        sys.modules[user].score = owner.score
    sys.argv = [kind, *arguments]
    if kind.startswith("train"):
        runpy.run_path(str(SCRIPTS / f"{kind}.py"), run_name="__main__")
    else:
        from largek.cli import main as command

        try:
            command()
        except SystemExit as done:
            assert not done.code, done.code
    seconds["other"] = time.time() - begin - sum(seconds.values())
    print(json.dumps(seconds | {"matmul": matmul_rate()}))


def matmul_rate() -> float:
    """FLOP/s of large float32 matrix products on one thread, the best of ten."""
    import torch

    torch.set_num_threads(1)
    a, best = torch.randn(1024, 1024), 0.0
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        best = max(best, 2 * 1024**3 / (time.perf_counter() - start))
    return best


def operations(kind: str, folder: Path, results: Path) -> float:
    """Useful operations of the job that has just run."""
    import pyarrow.parquet as pq
    from safetensors import safe_open

    with safe_open(results / BASE / "model.safetensors", "pt") as weights:
        size = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118 (not a dict)
    if kind == "sample":
        return 2 * size * sum(pq.read_table(folder / "a.parquet")["tokens"].to_pylist())
    if kind == "measure_loss":
        return 2 * size * json.loads((folder / "loss.json").read_text())["losses"]["common_held_out"]["tokens"]
    tokens = json.loads((folder / kind.removeprefix("train_") / "run.json").read_text())["tokens"]
    return (6 if kind == "train_sft" else 8) * size * tokens


def by_part(results: Path):
    """A table of seconds by part of one job of each kind, and its share of the machine's rate."""
    import pandas as pd

    rows = []
    with tempfile.TemporaryDirectory() as name:
        for kind, arguments in commands(results.resolve(), Path(name)).items():
            command = [sys.executable, __file__, "--inside", kind, "--", *arguments]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                list(map(str, command)), cwd=ROOT, env=environment, check=True, capture_output=True, text=True
            )
            seconds = json.loads(done.stdout.splitlines()[-1])
            rate = seconds.pop("matmul")
            busy = sum(seconds.get(part, 0) for part in ("rollout", "forward", "backward", "optimiser"))
            achieved = operations(kind, Path(name), results) / busy
            rows.append({"rule": kind, **seconds, "GFLOP/s": achieved / 1e9, "matmul GFLOP/s": rate / 1e9})
    parts = ["start", "load", "data", "rollout", "reward", "forward", "backward", "optimiser", "save", "other"]
    return pd.DataFrame(rows).set_index("rule").reindex(columns=[*parts, "GFLOP/s", "matmul GFLOP/s"]).fillna(0)


def draw(rules, wall: float, share: float, cores: int, parts, output: Path) -> None:
    """Two panels: core-seconds by rule, in and outside loops; seconds by part of one job."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    rules = rules[rules["all"] > 0.01 * rules["all"].sum()].iloc[::-1]
    names = [f"{row.rule} ({row.jobs})" for row in rules.itertuples()]
    left.barh(names, rules["loop"], label="training, sampling and loss loops")
    left.barh(names, rules["all"] - rules["loop"], left=rules["loop"], label="outside: start-up, files, tables")
    left.set(
        xlabel="core-seconds of all jobs of a rule",
        title=f"{wall / 60:.1f} minutes on {cores} cores, {share:.1%} outside loops",
    )
    left.legend()
    edges = parts.iloc[:, 0] * 0
    for number, part in enumerate(parts.columns[:-2]):
        right.barh(parts.index, parts[part], left=edges, label=part, color=plt.get_cmap("tab20")(number))
        edges = edges + parts[part]
    for place in range(len(parts)):
        text = f" {parts['GFLOP/s'].iloc[place]:.0f} of {parts['matmul GFLOP/s'].iloc[place]:.0f} GFLOP/s"
        right.text(edges.iloc[place], place, text, va="center")
    title = "Inside a job (FLOP/s as if answers shared nothing)"
    right.set(xlabel="seconds of one job, one thread", title=title, xlim=(0, edges.max() * 1.5))
    right.legend(ncols=2, fontsize=8, loc="upper right")
    figure.savefig(output, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, help="a finished study, below the folder that Snakemake ran in")
    parser.add_argument("--output", type=Path, help="folder for the tables and the figure")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--inside", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.inside, args.rest)
        return
    args.output.mkdir(parents=True, exist_ok=True)
    rules, wall, share = by_rule(args.results, args.cores)
    print(rules.to_string(index=False, float_format="{:.1f}".format))
    print(f"{wall / 60:.1f} minutes on {args.cores} cores; outside training, sampling and loss loops: {share:.1%}\n")
    parts = by_part(args.results)
    print(parts.to_string(float_format="{:.1f}".format))
    rules.to_csv(args.output / "profile.csv", index=False)
    parts.to_csv(args.output / "inside.csv")
    draw(rules, wall, share, args.cores, parts, args.output / "profile.png")
    print(f"\n{args.output / 'profile.png'}")


if __name__ == "__main__":
    main()
