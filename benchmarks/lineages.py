"""Lineages per core-hour: the present commit against 6163978, the last one before the study of long RL.

    python benchmarks/lineages.py --base results/laptop/models/base/model --problems results/laptop/problems

A lineage is one SFT run with all that the study asks of it: held-out losses, answers to the predict and the outcome
problems, 320 steps of GRPO, and scores after 20, 40, 80, 160 and 320 of them. Both commits do this work by their own
commands on one core, from the same base model. The older one keeps no model on the way, so it trains once for each
number of steps; the ratio to one training of it and its score is printed beside.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
BEFORE = "6163978"
STEPS = [20, 40, 80, 160, 320]
SAMPLING = "--temperature 1 --top-p 1 --max-tokens 50 --batch-size 384 --seed 1"


class Lineage:
    """One commit's commands, run in its own checkout; `seconds` sums what each kind took."""

    def __init__(self, code: Path, base: Path, problems: Path, folder: Path):
        self.code, self.base, self.problems, self.folder = code, base.resolve(), problems.resolve(), folder
        self.seconds: dict[str, float] = {}
        folder.mkdir(parents=True)

    def run(self, kind: str, command: str) -> None:
        environment = os.environ | {"PYTHONPATH": f"{self.code}:{self.code}/workflow/scripts", "OMP_NUM_THREADS": "1"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        start = time.monotonic()
        done = subprocess.run(
            ["taskset", "--cpu-list", "0", "bash", "-c", command],
            cwd=self.code,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        self.seconds[kind] = self.seconds.get(kind, 0) + time.monotonic() - start

    def recipe(self, steps: int) -> Path:
        """The study's recipe of GRPO, with another number of steps."""
        values = yaml.safe_load((ROOT / "config/grpo/lab-320.yaml").read_text()) | {"max_steps": steps}
        path = self.folder / f"grpo-{steps}.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    def sft(self) -> None:
        f, p = self.folder, self.problems
        self.run(
            "SFT",
            f"python workflow/scripts/select_mix.py --pool {p}/sft.jsonl --validation {p}/validation.jsonl --mix random"
            f" --budget-tokens 42000 --seed 1 --held-out 200 --family forward --output {f}/mix && "
            f"python workflow/scripts/train_sft.py --base {self.base} --mix {f}/mix/examples.jsonl --recipe"
            f" {ROOT}/config/sft/lab.yaml --epochs 4 --seed 1 --threads 1 --output {f}/sft",
        )

    def before_rl(self, split: str, samples: int) -> None:
        f, p = self.folder, self.problems
        self.run(
            "before RL",
            f"largek sample --model {f}/sft/model --tasks {p}/{split}.jsonl --samples {samples} {SAMPLING}"
            f" --output {f}/{split}.parquet && largek grade {f}/{split}.parquet --tasks {p}/{split}.jsonl"
            f" --verifier lab.checker:verify --output {f}/{split}-grades.parquet",
        )

    def loss(self) -> None:
        f, p = self.folder, self.problems
        examples = f"{f}/mix/own_held_out.jsonl {p}/common_held_out.jsonl"
        self.run("loss", f"largek loss --model {f}/sft/model --examples {examples} --output {f}/loss.json")

    def grpo(self, steps: int, output: Path, more: str = "") -> None:
        name = "train_rl" if (self.code / "workflow/scripts/train_rl.py").exists() else "train_grpo"  # as it was called
        self.run(
            "GRPO",
            f"python workflow/scripts/{name}.py --start {self.folder}/sft/model --problems {self.problems}/rl.jsonl"
            f" --verifier lab.checker:verify --recipe {self.recipe(steps)} --seed 1 --threads 1 {more}"
            f" --output {output}",
        )

    def after_rl(self, models: list[Path], together: bool) -> None:
        p = f"{self.problems}/outcome.jsonl"
        for group in [models] if together else [[model] for model in models]:
            names, outputs, grades = (
                " ".join(f"{model}{end}" for model in group) for end in ("/model", "/s.parquet", "/g.parquet")
            )
            self.run(
                "after RL",
                f"largek sample --model {names} --tasks {p} --samples 32 {SAMPLING} --output {outputs} && "
                f"largek grade {outputs} --tasks {p} --verifier lab.checker:verify --output {grades}",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="model folder")
    parser.add_argument("--problems", type=Path, required=True, help="folder of the lab's problems")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder, "code")
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, old], check=True)
        subprocess.run(["git", "checkout", "--quiet", BEFORE], cwd=old, check=True)
        before, now = (
            Lineage(code, args.base, args.problems, Path(folder, name))
            for code, name in ((old, "before"), (ROOT, "now"))
        )
        for each in (before, now):
            each.sft()
            each.loss()
            each.before_rl("predict", 128)
            each.before_rl("outcome", 32)
        keep = "--keep " + " ".join(map(str, STEPS[:-1]))
        now.grpo(STEPS[-1], now.folder / "rl", keep)
        now.after_rl([now.folder / "rl", *(now.folder / f"rl/steps-{steps}" for steps in STEPS[:-1])], together=True)
        print_times("now", now)
        alone = {}
        for steps in reversed(STEPS):
            before.grpo(steps, before.folder / f"rl-{steps}")
            before.after_rl([before.folder / f"rl-{steps}"], together=False)
            alone = alone or dict(before.seconds)
        print_times(BEFORE, before)
        one, all_five = (sum(each.values()) / sum(now.seconds.values()) for each in (alone, before.seconds))
    print(f"lineages per core-hour, scored after {len(STEPS)} numbers of steps: {all_five:.2f} x those of {BEFORE}")
    print(f"against its lineages that are scored after {STEPS[-1]} steps alone: {one:.2f} x")


def print_times(name: str, lineage: Lineage) -> None:
    parts = ", ".join(f"{kind} {seconds:.0f}" for kind, seconds in lineage.seconds.items())
    total = sum(lineage.seconds.values())
    print(f"{name:8} {total:5.0f} s a lineage ({parts}): {3600 / total:.1f} lineages per core-hour", flush=True)


if __name__ == "__main__":
    main()
