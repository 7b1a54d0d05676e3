"""What a training has sampled, kept in a table of bounded size: reading answers tells what a curve of rewards hides.

At up to STEPS steps, spread evenly, the first answers to one problem are kept, with their rewards. While the training
runs they are lines of checkpoints/rollouts.jsonl; then they are a store, the folder rollouts/ beside the model:

    largek grade models/grpo/random-1000/seed-1/rollouts --verifier math
    largek report models/grpo/random-1000/seed-1/rollouts
"""

import functools
from pathlib import Path

from largek.common import to_json
from largek.store import open_store

STEPS = 32
ANSWERS = 8  # of a step
LONGEST = 8000  # characters of a text, half of them from its beginning, half from its end: 2 MB of English in all


def keep_some(rewards: list, path: Path, max_steps: int, rows: list[dict], ends: list[int]) -> list:
    """The reward functions, of which the last also writes what is to be kept into `path`. `rows` are the problems in
    their order, `ends` the tokens that end an answer."""
    every, last, given = max(1, -(-max_steps // STEPS)), None, {}

    def write(completions, completion_ids, row, step) -> None:
        same = [place for place, number in enumerate(row) if number == row[0]][:ANSWERS]
        with path.open("a", encoding="utf-8") as file:
            for sample, place in enumerate(same):
                text, ids = completions[place], completion_ids[place]
                text = text if isinstance(text, str) else text[-1]["content"]
                about = {"step": step, "row": rows[row[0]], "sample": sample, "text": shortened(text)}
                about |= {"tokens": len(ids), "finish": "stop" if ids[-1] in ends else "length"}
                about["rewards"] = {name: values[place] for name, values in given.items()}
                file.write(to_json(about) + "\n")

    def watch(reward):
        @functools.wraps(reward)  # TRL calls its metrics by this name
        def watched(completions, completion_ids, row, trainer_state, **kwargs) -> list[float | None]:
            nonlocal last
            answers = {"completions": completions, "completion_ids": completion_ids, "row": row}
            given[reward.__name__] = reward(**answers, trainer_state=trainer_state, **kwargs)
            step = trainer_state.global_step + 1
            if reward is rewards[-1] and step % every == 0 and step != last:
                last = step
                write(**answers, step=step)
            return given[reward.__name__]

        return watched

    return [watch(reward) for reward in rewards]


def shortened(text: str) -> str:
    half = LONGEST // 2
    return (
        text if len(text) <= LONGEST else f"{text[:half]}\n[... {len(text) - LONGEST} characters ...]\n{text[-half:]}"
    )


def make_store(rows: list[dict], folder: Path, name: str, settings: dict, engine: str = "grpo") -> None:
    """The rows of rollouts.jsonl as a store. A step is a task; each has a problem of its own."""
    problems = {}
    for row in rows:
        step = f"step-{row['step']:05}"
        about = row["row"] | {"id": f"{step}-{row['row'].get('id', '')}", "task": step, "split": "rl"}
        known = problems.setdefault(about["id"], about | {"samples": 0})
        known["samples"] = max(known["samples"], row["sample"] + 1)
        row |= {"problem": about["id"], "task": step}
    about = {"name": name, "engine": engine, "model": name, "temperature": settings["temperature"]}
    about |= {"top_p": settings["top_p"], "max_tokens": settings["max_completion_length"], "seed": settings["seed"]}
    with open_store(folder, about, list(problems.values())) as store:
        records = {"model": name, "split": "rl", "entropy": None, "logprob": None, "seed": settings["seed"]}
        kept = ("task", "problem", "sample", "text", "tokens", "finish")
        store.append([records | {key: row[key] for key in kept} for row in rows])
    (folder / "lock").unlink()
