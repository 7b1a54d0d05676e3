"""Problems of a language model study from public sets, no text in two of them.

Reads entries of a tasks file (see largek/tasks.py) and writes into --output
    outcome.jsonl          problems the post-RL scores are measured on: a part of each benchmark
    predict.jsonl          problems the predictors are measured on: another part
    rl.jsonl               problems for GRPO
    common_held_out.jsonl  worked examples drawn like the pool, the same for every model
    validation.jsonl       the pool held-out examples are selected from
    sft.jsonl              the pool the mixes are selected from

What a problem is asked as stands in its field `prompt`, the same words in SFT, RL and evaluation. Worked examples have
`tokens`, the length of prompt and solution; those of more than `max_tokens` are left out.

    python workflow/scripts/prepare_data.py --tokenizer results/smollm/models/base/model --seed 1 --output problems \\
        --data "$(python -c 'import json, yaml; print(json.dumps(yaml.safe_load(open("config/smollm.yaml"))["data"]))')"
"""

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from largek.common import InputError, derive_seed, exit_on_bad_input, write_jsonl
from largek.models import load_tokenizer
from largek.tasks import fill, read_tasks

BATCH = 1000  # worked examples whose tokens are counted at once


def same(problem: str) -> str:
    """Problems that agree in this are one problem: their words, whatever case and marks between them."""
    return " ".join("".join(c if c.isalnum() else " " for c in problem.lower()).split())


def shuffled(rows: list[dict], *seed) -> list[dict]:
    return random.Random(derive_seed(*seed)).sample(rows, len(rows))


def short_enough(rows: list[dict], tokenizer, most: int) -> Iterator[dict]:
    """The worked examples of at most so many tokens, in order, with `tokens` set; no more are counted than are asked
    for. Raises InputError for one without a solution."""
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        for row in batch:
            if not row.get("solution"):
                raise InputError(f"data: {row['id']} has no solution; the entry of {row['task']} must name its field")
        for name in ("prompt", "solution"):
            for row, ids in zip(batch, tokenizer([row[name] for row in batch])["input_ids"]):
                row["tokens"] = row.get("tokens", 0) + len(ids)
        yield from (row for row in batch if row["tokens"] <= most)


def draw(data: dict, seed: int, tokenizer) -> dict[str, list[dict]]:
    """The six sets. What is measured on is drawn first, so that a larger pool does not change it."""
    taken: set[str] = set()

    def read(name: str) -> list[dict]:
        rows = read_tasks([name], data["tasks_file"])
        return [row | {"prompt": fill(data["prompt"], row["problem"])} for row in shuffled(rows, seed, "data", name)]

    def free(rows: Iterable[dict]) -> Iterator[dict]:
        return (row for row in rows if same(row["problem"]) not in taken)

    def take(rows: Iterable[dict], wanted: int, key: str) -> list[dict]:
        chosen = list(islice(free(rows), wanted))
        if len(chosen) < wanted:
            raise InputError(f"data: {key}: expected {wanted} rows that no other set has, found {len(chosen)}")
        taken.update(same(row["problem"]) for row in chosen)
        return chosen

    sets = {"outcome": [], "predict": []}
    for name in data["benchmarks"]:
        rows = read(name)
        half = min(data["problems_per_task"], sum(1 for _ in free(rows)) // 2)
        for split, chosen in sets.items():
            chosen += [row | {"split": split} for row in take(rows, half, name)]
    problems = [row for name in data["rl"] for row in read(name)]
    sets["rl"] = take(shuffled(problems, seed, "data", "rl"), data["rl_problems"], "rl_problems")
    examples = [{"family": name} | row for name in data["sft"] for row in read(name)]
    # One after another from the same examples, so that tokens are counted only until the pool is full.
    short = short_enough(shuffled(examples, seed, "data", "sft"), tokenizer, data["max_tokens"])
    for name, key in (("common_held_out", "held_out"), ("validation", "validation"), ("sft", "pool")):
        sets[name] = take(short, data[key], key)
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=json.loads, help="the data section of a config, as JSON")
    parser.add_argument("--tokenizer", required=True, help="model folder or hub name")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("prepare_data"):
        for name, rows in draw(args.data, args.seed, load_tokenizer(args.tokenizer)).items():
            write_jsonl(args.output / f"{name}.jsonl", rows)


if __name__ == "__main__":
    main()
