"""Select one SFT mix from the pool, and held-out examples by the same rule.

Mixes are those of mixes.py: `random`, a random draw; `simple` and `longest`, the shortest and the longest examples by
their tokens, problem and solution together; `mixed`, half of each; `homogeneous`, a random draw within one family.

Each seed sees its own random share of the pool, so that a mix that takes the ends of the pool is a new draw too.

Reads the pool and the validation pool (JSONL of {id, family, problem, solution}) and writes into --output
    examples.jsonl    the mix, in a random order
    own_held_out.jsonl  validation examples selected by the same rule at the same share of the pool
    statistics.json   examples, tokens, duplicates, length quantiles, family shares

    python workflow/scripts/select_mix.py --mix simple --unique 1000 --seed 1 --held-out 200 --family forward \\
        --pool problems/sft.jsonl --validation problems/validation.jsonl --output mixes/simple-1000
"""

import argparse
import random
from collections import Counter
from pathlib import Path

import numpy as np

from largek.common import InputError, derive_seed, exit_on_bad_input, read_jsonl, write_json, write_jsonl
from quagmires.mixes import MIXES, length


def ranked(pool: list[dict], mix: str, family: str, rng: random.Random) -> list[dict]:
    """The pool in the order in which the mix takes from it; ties are in random order."""
    if mix not in MIXES:
        raise InputError(f"--mix {mix}: expected one of {', '.join(MIXES)}")
    return MIXES[mix](rng.sample(pool, len(pool)), family)


def select(pool: list[dict], mix: str, unique: int | None, budget_tokens: int | None, family: str, seed: int):
    """The mix: `unique` examples, or as many as fit into `budget_tokens`. Raises InputError if there are too few."""
    rows = ranked(pool, mix, family, random.Random(derive_seed(seed, mix, "select")))
    if unique is not None:
        if unique > len(rows):
            raise InputError(f"--unique {unique}: the pool has only {len(rows)} examples for the mix {mix}")
        return rows[:unique]
    total = np.cumsum([length(row) for row in rows])
    if budget_tokens > total[-1]:
        raise InputError(f"--budget-tokens {budget_tokens}: the mix {mix} has only {total[-1]} tokens in the pool")
    return rows[: int(np.searchsorted(total, budget_tokens, side="right"))]


def draw(pool: list[dict], share: float, seed: int) -> list[dict]:
    """The part of the pool that a seed sees, whatever the mix; all of it in its own order where the share is 1."""
    if share == 1:
        return pool
    return random.Random(derive_seed(seed, "pool")).sample(pool, round(share * len(pool)))


def hold_out(validation: list[dict], mix: str, share: float, size: int, family: str, seed: int) -> list[dict]:
    """About `size` validation examples chosen as the mix was: the same rule takes the same share of a random subset."""
    rng = random.Random(derive_seed(seed, mix, "held-out"))
    subset = rng.sample(validation, min(len(validation), round(size / share)))
    rows = ranked(subset, mix, family, rng)
    return rows[: max(1, min(len(rows), round(len(subset) * share)))]


def statistics(rows: list[dict]) -> dict:
    """What a mix is made of."""
    lengths = [length(row) for row in rows]
    texts = Counter((row["problem"], row["solution"]) for row in rows)
    families = Counter(row["family"] for row in rows)
    quantiles = np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1]).tolist()
    return {
        "examples": len(rows),
        "tokens": sum(lengths),
        "duplicates": len(rows) - len(texts),
        "length_quantiles": dict(zip(("min", "q25", "median", "q75", "max"), quantiles)),
        "family_shares": {family: count / len(rows) for family, count in sorted(families.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", required=True, type=Path)
    parser.add_argument("--validation", required=True, type=Path)
    parser.add_argument("--pool-share", type=float, default=1.0, help="share of the pool that a seed sees")
    parser.add_argument("--mix", required=True)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--unique", type=int, help="number of unique examples")
    size.add_argument("--budget-tokens", type=int, help="as many examples as fit into this many tokens")
    parser.add_argument("--family", required=True, help="the family of the homogeneous mix")
    parser.add_argument("--held-out", required=True, type=int, help="number of held-out examples to aim at")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("select_mix"):
        fields = ("id", "family", "problem", "solution")
        pool, validation = read_jsonl(args.pool, fields), read_jsonl(args.validation, fields)
        pool = draw(pool, args.pool_share, args.seed)
        rows = select(pool, args.mix, args.unique, args.budget_tokens, args.family, args.seed)
        share = len(rows) / len(pool)
        held_out = hold_out(validation, args.mix, share, args.held_out, args.family, args.seed)
        random.Random(derive_seed(args.seed, "order")).shuffle(rows)
        write_jsonl(args.output / "examples.jsonl", rows)
        write_jsonl(args.output / "own_held_out.jsonl", held_out)
        write_json(args.output / "statistics.json", statistics(rows))


if __name__ == "__main__":
    main()
