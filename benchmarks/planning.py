"""Planning of 5,000 jobs: `snakemake -n` of this workflow against stub rules with the same jobs and files, in one run.

    python benchmarks/planning.py

The stub has the same rules, wildcards and numbers of input, output, log and benchmark files a job, but nothing else: no
config, no sheet, no params, no resources. It leaves out what does not grow with the runs: the rules of imported
checkpoints, and the dozen jobs behind `tabulate_scores`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")


def sheet(runs: int) -> str:
    """A sheet of that many SFT runs."""
    header = "run\tmix\tunique\tepochs\tbudget_tokens\tsft_seed\tseries\tcheckpoint\n"
    return header + "".join(f"random-{seed}\trandom\t1000\t1\t\t{seed}\tunique\t\n" for seed in range(1, runs + 1))


def plan(*options: str) -> tuple[float, int]:
    """Seconds that planning takes, and the number of jobs that are planned."""
    start = time.monotonic()
    command = [SNAKEMAKE, "--dry-run", "--quiet", "rules", "--cores", "2", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return seconds, int(re.search(r"^total\s+(\d+)", done.stdout + done.stderr, re.M).group(1))


def stub(runs: int) -> str:
    """A Snakefile with the files of the same jobs. Constants are paths that exist, as the real rules' scripts do."""
    code = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("largek/*.py"))]

    def rule(name: str, inputs: list[str], outputs: list[str], own: int, where: str = "", many: str = "") -> str:
        """`own` of the inputs stand for code and recipes; `where` constrains wildcards; `many` expands to inputs."""
        kept = repr(code[:own] + inputs) + many
        first = outputs[0].replace("directory(", "").strip(")'\"")
        return (
            f"rule {name}:\n    input: {kept}\n    output: {', '.join(outputs)}\n    log: '{first}.log'\n"
            f"    benchmark: '{first}.jsonl'\n{where}    shell: 'touch {{output}}'\n\n"
        )

    split = "    wildcard_constraints: model='base|sft/.+'\n"
    after = "    wildcard_constraints: model='grpo/.+'\n"
    s, problems = "S", [f"S/problems/{name}.jsonl" for name in ("predict", "outcome")]
    model = ["directory('S/models/{0}/model')", "'S/models/{0}/run.json'", "'S/models/{0}/metrics.jsonl'"]

    def trained(name: str) -> list[str]:
        return [each.format(name) for each in model]

    def expanded(pattern: str, **lists: str) -> str:
        return f", expand({pattern!r}, {', '.join(f'{key}={value}' for key, value in lists.items())})"

    grades = expanded(f"{s}/grades/{{model}}/block-{{block}}.parquet", model="MODELS", block="range(3)")
    measured = (
        expanded(f"{s}/models/{{model}}/run.json", model="MODELS")
        + expanded(f"{s}/losses/{{model}}.json", model="['base', *SFT]")
        + expanded(f"{s}/passk/{{model}}.csv", model="MODELS")
    )
    metrics = expanded(f"{s}/models/grpo/{{run}}/seed-1/metrics.jsonl", run="['base', *RUNS]")
    tables = [f"'S/tables/{name}'" for name in ("counts.parquet", "models.csv", "passk.csv")]
    names = ["base", "sft", "validation", "rl", "predict", "outcome", "common_held_out"]
    return (
        f"RUNS = [f'random-{{i}}' for i in range(1, {runs + 1})]\nSFT = [f'sft/{{run}}' for run in RUNS]\n"
        "MODELS = ['base', *SFT, *(f'grpo/{run}/seed-1' for run in ['base', *RUNS])]\n"
        "wildcard_constraints:\n    run='[a-z0-9][a-z0-9.-]*', seed='[0-9]+', block='[0-9]+'\n\n"
        "rule all:\n    input: 'S/tables/counts.parquet', 'S/tables/guessing.csv', 'S/figures/training.png'\n\n"
        + rule("make_problems", [], [f"'S/problems/{name}.jsonl'" for name in names], 3)
        + rule("select_mix", ["S/problems/sft.jsonl", "S/problems/validation.jsonl"],
               [f"'S/mixes/{{run}}/{name}'" for name in ("examples.jsonl", "own_held_out.jsonl", "statistics.json")], 2)
        + rule("pretrain_base", ["S/problems/base.jsonl"], trained("base"), 8)
        + rule("train_sft", ["S/models/base/model", "S/mixes/{run}/examples.jsonl"], trained("sft/{run}"), 8)
        + rule("train_rl", ["S/models/sft/{run}/model", "S/problems/rl.jsonl"], trained("grpo/{run}/seed-{seed}"), 11,
               "    wildcard_constraints: run='(?!base/).+'\n")
        + rule("train_rl_from_base", ["S/models/base/model", "S/problems/rl.jsonl"],
               trained("grpo/{run}/seed-{seed}"), 11, "    wildcard_constraints: run='base'\n")
        + rule("measure_loss", ["S/models/sft/{run}/model", "S/mixes/{run}/own_held_out.jsonl", problems[0]],
               ["'S/losses/sft/{run}.json'"], 4)
        + rule("measure_loss_of_base", ["S/models/base/model", problems[0]], ["'S/losses/base.json'"], 4)
        + rule("sample", ["S/models/{model}/model", *problems], ["'S/samples/{model}/block-{block}.parquet'"], 7, split)
        + rule("sample_after_rl", ["S/models/{model}/model", problems[1]],
               ["'S/samples/{model}/block-{block}.parquet'"], 7, after)
        + rule("grade", ["S/samples/{model}/block-{block}.parquet", *problems],
               ["'S/grades/{model}/block-{block}.parquet'"], 7)
        + rule("estimate_passk", [f"S/grades/{{model}}/block-{block}.parquet" for block in range(3)],
               ["'S/passk/{model}.csv'"], 3)
        + rule("tabulate_scores", [], tables, 5, many=measured + grades)
        + rule("check_guessing", problems, ["'S/tables/guessing.csv'"], 3, many=grades)
        + rule("plot_training", [], ["'S/figures/training.png'"], 4, many=metrics)
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=278, help="SFT runs; 18 jobs each")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, snakefile, config = (Path(folder) / name for name in ("runs.tsv", "Snakefile", "config.yaml"))
        rows.write_text(sheet(args.runs))
        snakefile.write_text(stub(args.runs))
        study = yaml.safe_load((ROOT / "config/config.yaml").read_text())
        study |= {"study": "planning", "runs": str(rows), "grpo_seeds": [1]}
        study["sampling"] |= {"blocks": 3, "blocks_after_rl": 3}
        config.write_text(yaml.safe_dump(study))
        ours, stubs = [], []
        for turn in range(args.turns):
            ours.append(plan("--configfile", str(config)))
            stubs.append(plan("--snakefile", str(snakefile)))
            print(
                f"turn {turn + 1}: this workflow {ours[-1][0]:.1f} s for {ours[-1][1]} jobs, "
                f"stub rules {stubs[-1][0]:.1f} s for {stubs[-1][1]} jobs",
                flush=True,
            )
    print(f"planning, best of {args.turns} turns: ratio {min(ours)[0] / min(stubs)[0]:.2f}")


if __name__ == "__main__":
    main()
