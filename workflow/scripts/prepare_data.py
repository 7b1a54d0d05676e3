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

Rows lie on disk until they are chosen, so memory goes with what is chosen beside the pool: of a row that is read it has
the id and the place on disk, some two hundred bytes.

    python workflow/scripts/prepare_data.py --tokenizer results/smollm/models/base/model --seed 1 --output problems \\
        --data "$(python -c 'import json, yaml; print(json.dumps(yaml.safe_load(open("config/smollm.yaml"))["data"]))')"
"""

import argparse
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from largek.common import InputError, derive_seed, exit_on_bad_input, to_json, whole_file
from largek.models import load_tokenizer
from largek.tasks import fill, stream_tasks

BATCH = 1000  # worked examples whose tokens are counted at once


class Shelf:
    """Rows on disk, each by its place there, in a file without a name: it goes with this process, however that ends."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  open as long as the shelf is there

    def put(self, row: dict) -> int:
        place = self.file.seek(0, os.SEEK_END)
        self.file.write(json.dumps(row).encode() + b"\n")
        return place

    def get(self, place: int) -> dict:
        self.file.seek(place)
        return json.loads(self.file.readline())


def same(problem: str) -> str:
    """Problems that agree in this are one problem: their words, whatever case and marks between them."""
    return " ".join("".join(c if c.isalnum() else " " for c in problem.lower()).split())


def shuffled(places: list[int], *seed) -> list[int]:
    return random.Random(derive_seed(*seed)).sample(places, len(places))


def short_enough(rows: Iterator[dict], tokenizer: Callable, most: int) -> Iterator[dict]:
    """The worked examples of at most so many tokens, in order, with `tokens` set; no more are counted than are asked
    for. Raises InputError for one without a solution."""
    while batch := list(islice(rows, BATCH)):
        for row in batch:
            if not row.get("solution"):
                raise InputError(f"data: {row['id']} has no solution; the entry of {row['task']} must name its field")
        for name in ("prompt", "solution"):
            for row, ids in zip(batch, tokenizer([row[name] for row in batch])["input_ids"]):
                row["tokens"] = row.get("tokens", 0) + len(ids)
        yield from (row for row in batch if row["tokens"] <= most)


def draw(data: dict, seed: int, tokenizer: Callable, folder: Path) -> Iterator[tuple[str, Iterable[dict]]]:
    """The six sets by name, each to be read to its end before the next. What is measured on is drawn first, so that a
    larger pool does not change it. Rows lie in `folder` meanwhile."""
    taken: set[str] = set()
    shelf = Shelf(folder)

    def read(name: str, **columns: str) -> list[int]:
        rows = stream_tasks([name], data["tasks_file"])
        return shuffled([shelf.put(columns | row) for row in rows], seed, "data", name)

    def asked(places: Iterable[int]) -> Iterator[dict]:
        for row in map(shelf.get, places):
            yield row | {"prompt": fill(data["prompt"], row["problem"])}

    def free(rows: Iterable[dict]) -> Iterator[dict]:
        return (row for row in rows if same(row["problem"]) not in taken)

    def take(rows: Iterable[dict], wanted: int, key: str) -> Iterator[dict]:
        chosen = []
        for row in islice(free(rows), wanted):
            chosen.append(same(row["problem"]))
            yield row
        if len(chosen) < wanted:
            raise InputError(f"data: {key}: expected {wanted} rows that no other set has, found {len(chosen)}")
        taken.update(chosen)

    sets = {"outcome": [], "predict": []}
    for name in data["benchmarks"]:
        places = read(name)
        half = min(data["problems_per_task"], sum(1 for _ in free(asked(places))) // 2)
        for split, chosen in sets.items():
            chosen += [row | {"split": split} for row in take(asked(places), half, name)]
    yield from sets.items()
    problems = [place for name in data["rl"] for place in read(name)]
    yield "rl", take(asked(shuffled(problems, seed, "data", "rl")), data["rl_problems"], "rl_problems")
    examples = [place for name in data["sft"] for place in read(name, family=name)]
    # One after another from the same examples, so that tokens are counted only until the pool is full.
    short = short_enough(asked(shuffled(examples, seed, "data", "sft")), tokenizer, data["max_tokens"])
    for name, key in (("common_held_out", "held_out"), ("validation", "validation"), ("sft", "pool")):
        yield name, take(short, data[key], key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=json.loads, help="the data section of a config, as JSON")
    parser.add_argument("--tokenizer", required=True, help="model folder or hub name")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("prepare_data"), ExitStack() as files:  # which get their names together, or none does
        for name, rows in draw(args.data, args.seed, load_tokenizer(args.tokenizer), args.output):
            path = files.enter_context(whole_file(args.output / f"{name}.jsonl"))
            with path.open("w", encoding="utf-8") as file:
                file.writelines(to_json(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
