"""Draw the lab's problems, each set disjoint from all others as programs.

Reads a description of the lab (the `lab` section of a study's config, as JSON) and writes into --output
    base.jsonl        worked examples for the base model, with its bad habits
    sft.jsonl         the pool the mixes are selected from
    validation.jsonl  the pool held-out examples are selected from
    rl.jsonl          problems for GRPO
    predict.jsonl     problems the predictors are measured on
    common_held_out.jsonl  worked examples drawn like the pool, the same for every model
    outcome.jsonl     problems the post-RL scores are measured on

    python workflow/scripts/make_problems.py --seed 1 --output problems \\
        --lab "$(python -c 'import json, yaml; print(json.dumps(yaml.safe_load(open("config/smoke.yaml"))["lab"]))')"
"""

import argparse
import json
import random
from pathlib import Path

from lab.problems import Kind, Program, draw_problems, solution
from largek.common import InputError, Progress, derive_seed, exit_on_bad_input, write_jsonl


def with_habits(row: dict, habits: dict, rng: random.Random) -> dict:
    """A worked example as the base model sees it: now and then without its working, or with one step left out."""
    luck = rng.random()
    if luck < habits["no_working"]:
        return row | {"solution": f"answer {row['answer']}"}
    if luck < habits["no_working"] + habits["dropped_step"] and row["depth"] > 1:
        return row | {"solution": solution(row["program"], dropped=rng.randrange(row["depth"] - 1))}
    return row


def draw(lab: dict, seed: int) -> dict[str, list[dict]]:
    """All sets of problems. The small ones are drawn first, so that a larger base corpus changes none of them."""
    families, digits, equal = lab["families"], lab["digits"], dict.fromkeys
    operations = equal(lab["operations"], 1)
    seen: set[Program] = set()
    sets: dict[str, list[dict]] = {}

    for split in ("outcome", "predict"):
        sets[split] = []
        for family in families:
            for band, depths in lab["bands"].items():
                kind = Kind({family: 1}, equal(depths, 1), operations, digits)
                task = f"{family}-{band}"
                rows = draw_problems(f"{seed}/{split}/{task}", lab["problems_per_task"], kind, seen)
                sets[split] += [row | {"task": task, "split": split} for row in rows]

    depths = equal((depth for band in lab["bands"].values() for depth in band), 1)
    rl = Kind(equal(families, 1), depths, operations, digits)
    pool = Kind(equal(families, 1), equal(lab["pool"]["depths"], 1), operations, digits)
    base_depths = {int(depth): weight for depth, weight in lab["base"]["depths"].items()}
    base = Kind(lab["base"]["families"], base_depths, lab["base"]["operations"], digits)
    sizes = {"rl": (rl, lab["rl_problems"]), "validation": (pool, lab["pool"]["validation"])}
    sizes |= {"common_held_out": (pool, lab["held_out"])}
    sizes |= {"sft": (pool, lab["pool"]["examples"]), "base": (base, lab["base"]["examples"])}
    for name, (kind, count) in sizes.items():
        sets[name] = list(draw_problems(f"{seed}/{name}", count, kind, seen))

    rng = random.Random(derive_seed(seed, "habits"))
    sets["base"] = [with_habits(row, lab["base"], rng) for row in sets["base"]]
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", required=True, type=json.loads, help="the lab section of a config, as JSON")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, type=Path, help="folder for the six JSONL files")
    args = parser.parse_args()
    with exit_on_bad_input("make_problems"):
        try:
            sets = draw(args.lab, args.seed)
        except ValueError as error:
            raise InputError(f"lab: {error}") from None
        progress = Progress("make_problems", len(sets), "sets")
        for done, (name, rows) in enumerate(sets.items(), 1):
            named = (row | {"id": f"{name}-{number:06}"} for number, row in enumerate(rows))
            clean = ({key: value for key, value in row.items() if key != "program"} for row in named)
            write_jsonl(args.output / f"{name}.jsonl", clean)
            progress.update(done)


if __name__ == "__main__":
    main()
