"""What GRPO reaches with this project's trainer and with TRL's: mean reward after 100 steps, some seeds each.

    python benchmarks/reward.py --start results/laptop/models/base/model --problems results/laptop/problems/rl.jsonl \\
        --outcome results/laptop/problems/outcome.jsonl --recipe config/grpo/lab.yaml

Every trained model is scored by the same sampler on problems that RL has not seen. One process a core, one thread each.
Prints the difference in percentage points with its 95 % interval over seeds (Welch's t).
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from scipy import stats
from trainers import add_arguments, be_quiet, train  # first: it puts workflow/scripts on the path
from trl import GRPOTrainer

from largek.common import read_jsonl
from largek.decode import Decoder
from largek.verify import judge, load_verifier
from quagmires.lean_grpo import LeanGRPOTrainer

STEPS, SAMPLES = 100, 32


def trained_score(work: tuple[type, int, argparse.Namespace]) -> float:
    """Share of right answers of a model trained with this trainer and seed."""
    kind, seed, args = work
    be_quiet(threads=1)
    trainer, tokenizer = train(kind, args, STEPS, seed)
    verify, rows = load_verifier(args.verifier), read_jsonl(args.outcome, ("problem", "answer"))
    prompts = [tokenizer(row["problem"])["input_ids"] for row in rows]
    ends, longest = [tokenizer.eos_token_id], trainer.args.max_completion_length
    sampler = Decoder(trainer.model)
    answers = sampler.sample(prompts, [SAMPLES] * len(rows), max_tokens=longest, ends=ends, seed=0)
    right = 0
    for number, answer in enumerate(answers):
        text = tokenizer.decode(answer.ids, skip_special_tokens=True)
        right += judge(verify, text, rows[number // SAMPLES], answer.ids[-1] not in ends).outcome == "correct"
    return right / len(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--outcome", required=True, type=Path)
    parser.add_argument("--seeds", type=int, default=20)  # 5 give an interval of five points, whatever the truth
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    scores: dict[type, list[float]] = {GRPOTrainer: [], LeanGRPOTrainer: []}
    work = [(kind, seed, args) for seed in range(101, 101 + args.seeds) for kind in scores]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        for (kind, seed, _), score in zip(work, pool.map(trained_score, work)):
            scores[kind].append(score)
            print(f"{kind.__name__:15} seed {seed}: {score:.1%} after {STEPS} steps", flush=True)
    stock, ours = scores.values()
    found = stats.ttest_ind(ours, stock, equal_var=False)
    low, high = (100 * edge for edge in found.confidence_interval(0.95))
    difference = 100 * (sum(ours) / len(ours) - sum(stock) / len(stock))
    print(f"difference {difference:+.2f} points, 95 % interval [{low:+.2f}, {high:+.2f}], {args.seeds} seeds each")


if __name__ == "__main__":
    main()
