"""`largek export --inspect`: a store as a log of inspect_ai, for its viewer and its functions.

A sample of the log is an answer: its id is the problem's, its epoch the answer's index from 1. A grade is a score by
the verifier's name: C (correct), I (incorrect) or N (no answer), as inspect_ai has them, with largek's outcome in its
metadata. The log's accuracy is what inspect_ai would make of these scores, the mean over problems of the share of right
answers; largek's own pass@1 is the mean over tasks of that. What is not known stays out.
"""

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from largek.common import InputError, Progress, quiet, whole_file
from largek.grades import lacking, read_settings, source, stale
from largek.problems import prompt_of
from largek.store import SETTINGS, joined, read_problems
from largek.store import read_settings as store_settings
from largek.verify import is_finished

VERSION = 2  # of inspect_ai's format
LETTERS = {"correct": "C", "no_answer": "N"}  # of largek's outcomes; I for all others
VALUES = {"C": 1.0, "I": 0.0, "N": 0.0}
CUT = ("length", "max_tokens")
HOW = ("temperature", "top_p", "max_tokens", "seed")


def run(store: str, output: str, as_json: bool = False) -> dict:
    """Write a store, graded or not, as a log: .eval, inspect_ai's usual form, or .json, by the name of `output`.

    Returns what is printed with `as_json`. Raises InputError where `store` is no store or `output` has another name.
    """
    folder, target = Path(store), Path(output)
    if target.suffix not in (".eval", ".json"):
        raise InputError(f"--output {output}: expected a name that ends in .eval or .json")
    if not (folder / SETTINGS).exists():
        raise InputError(f"{store}: expected a store made by `largek sample --store` or `largek import`")
    with quiet(as_json):
        settings, table = store_settings(folder), joined(folder)
        problems = {row["id"]: row for row in read_problems(folder)}
        if not len(table):
            raise InputError(f"{store}: expected at least one answer")
        scorer, scores = scores_of(store)
        samples = made(table.to_pylist(), problems, settings["name"], scorer, scores)
        header = header_of(folder, settings, problems, scorer, table.num_rows, scores)
        progress = Progress(str(target), table.num_rows, "answers", every=10)
        with whole_file(target) as temporary:
            (write_zip if target.suffix == ".eval" else write_json)(temporary, header, samples, progress)
    summary = {"store": store, "output": output, "problems": len(problems), "answers": len(table), "scorer": scorer}
    summary["accuracy"] = accuracy(scores) if scores else None
    scored = f"accuracy by {scorer} {summary['accuracy']:.4f}" if scores else "not graded, so without scores"
    print(json.dumps(summary) if as_json else f"{output}: {len(table)} answers to {len(problems)} problems, {scored}")
    return summary


def scores_of(store: str) -> tuple[str | None, dict[tuple[str, int], dict]]:
    """The verifier's name, and a score for each answer by problem and index; nothing where nothing is graded."""
    if not Path(store, "grades.parquet").exists():
        return None, {}
    for line in [*stale(store), *lacking(store)]:
        print(line, flush=True)
    grades = pq.read_table(source(store), page_checksum_verification=True).to_pylist()
    found = {}
    for row in grades:
        about = {"outcome": row["outcome"]} | ({} if row.get("sound") is None else {"sound": row["sound"]})
        score = {"value": LETTERS.get(row["outcome"], "I"), "answer": row.get("extracted"), "metadata": about}
        found[row["problem"], row["sample"]] = score
    names = sorted(read_settings(store).get("verifier", {})) or ["largek"]
    return " and ".join(names), found


def accuracy(scores: dict[tuple[str, int], dict]) -> float:
    """The mean over problems of the mean over their answers."""
    of_problem: dict[str, list[float]] = {}
    for (problem, _), score in scores.items():
        of_problem.setdefault(problem, []).append(VALUES[score["value"]])
    return sum(sum(own) / len(own) for own in of_problem.values()) / len(of_problem)


def made(rows: list[dict], problems: dict, model: str, scorer: str | None, scores: dict) -> Iterator[dict]:
    """The samples of the log."""
    for row in rows:
        problem, tokens, finish = problems[row["problem"]], row["tokens"], row["finish"]
        reason = "stop" if is_finished(finish) else "max_tokens" if finish in CUT else "unknown"
        message = {"role": "assistant", "content": row["text"] or "", "source": "generate", "model": model}
        output = {"model": model, "choices": [{"message": message, "stop_reason": reason}], "completion": row["text"]}
        if tokens is not None:  # what went in is not known, and inspect_ai wants a number
            output["usage"] = {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
        asked = prompt_of(problem)
        answer = problem["answer"]
        score = scores.get((row["problem"], row["sample"]))
        yield {
            "id": row["problem"],
            "epoch": row["sample"] + 1,
            "input": asked,
            "target": "" if answer is None else str(answer),
            "messages": [{"role": "user", "content": asked, "source": "input"}, message],
            "output": output,
            "scores": {scorer: score} if score else {},
            "metadata": {"task": row["task"], "split": row["split"]},
        }


def header_of(folder: Path, settings: dict, problems: dict, scorer: str | None, answers: int, scores: dict) -> dict:
    """The log without its samples."""
    tasks = list(dict.fromkeys(row["task"] for row in problems.values()))
    created = datetime.fromtimestamp((folder / SETTINGS).stat().st_mtime, UTC).isoformat(timespec="seconds")
    how = {key: settings[key] for key in HOW if settings.get(key) is not None}
    about = {"task": tasks[0] if len(tasks) == 1 else folder.resolve().name, "model": settings["name"]}
    dataset = {"name": ", ".join(tasks), "samples": len(problems), "sample_ids": list(problems), "shuffled": False}
    about |= {"created": created, "dataset": dataset, "model_generate_config": how}
    about |= {"config": {"epochs": max(row["samples"] for row in problems.values()), "epochs_reducer": ["mean"]}}
    about |= {"metadata": {"largek": {key: value for key, value in settings.items() if key != "info"}}}
    results: dict = {"total_samples": answers, "completed_samples": answers, "scores": []}
    if scores:
        metric = {"accuracy": {"name": "accuracy", "value": accuracy(scores)}}
        scored = {"name": scorer, "scorer": scorer, "reducer": "mean", "scored_samples": len(scores), "metrics": metric}
        results["scores"] = [scored]
    plan = {"name": "plan", "steps": [], "config": how}
    return {"version": VERSION, "status": "success", "eval": about, "plan": plan, "results": results, "stats": {}}


def write_json(path: Path, header: dict, samples: Iterator[dict], progress: Progress) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(header)[:-1] + ', "samples": [')
        for number, sample in enumerate(samples):
            file.write((", " if number else "") + json.dumps(sample))
            progress.update(number + 1)
        file.write("]}\n")


def write_zip(path: Path, header: dict, samples: Iterator[dict], progress: Progress) -> None:
    """A sample a file, and beside them what the viewer lists."""
    listed = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        start = {"version": header["version"], "eval": header["eval"], "plan": header["plan"]}
        add(file, "_journal/start.json", start)
        for number, sample in enumerate(samples):
            add(file, f"samples/{sample['id']}_epoch_{sample['epoch']}.json", sample)
            kept = {key: sample[key] for key in ("id", "epoch", "input", "target", "metadata", "scores")}
            listed.append(kept | {"completed": True, "message_count": len(sample["messages"])})
            progress.update(number + 1)
        add(file, "summaries.json", listed)
        add(file, "header.json", header)


def add(file: zipfile.ZipFile, name: str, value: object) -> None:
    """Without the time, so that the same store gives the same bytes."""
    file.writestr(zipfile.ZipInfo(name), json.dumps(value), zipfile.ZIP_DEFLATED)
