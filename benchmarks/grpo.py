"""Steps a second of GRPO in the lab: this project's trainer against TRL's with plain `generate`, in one run.

    python benchmarks/grpo.py --start results/laptop/models/base/model --problems results/laptop/problems/rl.jsonl \\
        --recipe config/grpo/lab.yaml --threads 1

Both train the same model on the same prompts with the same recipe, in turns; the first steps of a turn do not count.
"""

import argparse
import statistics

from trainers import add_arguments, be_quiet, train  # first: it puts workflow/scripts on the path
from trl import GRPOTrainer

from quagmires.lean_grpo import LeanGRPOTrainer

WARM_UP = 3


def step_times(kind: type, args: argparse.Namespace) -> list[float]:
    """Seconds of each step of a short training from the start."""
    trainer, _ = train(kind, args, args.steps, seed=1)
    return [row["step_time"] for row in trainer.state.log_history if "step_time" in row][WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    be_quiet(args.threads)
    seconds: dict[type, list[float]] = {GRPOTrainer: [], LeanGRPOTrainer: []}
    for turn in range(args.turns):
        for kind, taken in seconds.items():
            taken += step_times(kind, args)
            print(f"turn {turn + 1}: {kind.__name__} {statistics.median(taken):.3f} s a step", flush=True)
    stock, ours = (statistics.median(taken) for taken in seconds.values())
    print(
        f"GRPO steps a second, {args.threads} threads: {1 / ours:.2f} against {1 / stock:.2f}, ratio {stock / ours:.2f}"
    )


if __name__ == "__main__":
    main()
