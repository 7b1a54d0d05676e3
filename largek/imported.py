"""`largek import`: a store of the samples that another tool has made, and of what that tool itself said of them.

The formats stand in `largek.foreign`. The store is like one of `largek sample`; its settings.json has, beside what the
files say of how the answers were sampled,

    format     of the files
    files      name and SHA-256 of each
    unknown    columns of the records that the format leaves empty for some answers: other commands say what follows
    judges     whose verdicts stand in recorded.parquet, for `largek grade --verifier recorded`
"""

import json
import math
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from largek.checksums import listed_file
from largek.common import InputError, Progress, derive_seed, digest, quiet, readable
from largek.foreign import FORMATS, Found, Sample, recognised
from largek.formats import made_by
from largek.problems import Problem, as_stored, prompt_of
from largek.recorded import RECORDED, SCHEMA
from largek.store import open_store
from largek.tasks import read_tasks

CHUNK = 10_000  # answers in a file of the store
UNKNOWN = {"entropy": "entropies", "finish": "how they ended", "logprob": "log-probabilities", "tokens": "token counts"}


def run(
    files: list[str],
    store: str,
    format: str | None = None,
    name: str | None = None,
    tasks: list[str] | None = None,
    tasks_file: str | None = None,
    as_json: bool = False,
) -> dict:
    """Make the store `store` of samples in `files`, which are of one model; return what is printed with `as_json`.

    `format` is one of `largek.foreign.FORMATS` (default: recognised from each file), `name` what the records call the
    model (default: what the files call it, else the store's name). `tasks` (see `largek.tasks.read_tasks`) are the
    problems by largek's own names: ids, right answers and verifiers are taken from them, by the text of the problem.
    A store that is there is refused: all files of a model are given at once. Raises InputError; nothing is made then.
    """
    folder = Path(store)
    if format is not None and format not in FORMATS:
        raise InputError(f"--format {format}: expected one of {', '.join(FORMATS)}")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: is there already; take another --store, and give all files of a model at once")
    with quiet(as_json):
        rows = read_tasks(tasks, tasks_file) if tasks else None
        kind, found = read_all(files, format)
        name = name or model_of(found) or folder.resolve().name
        problems, records, scores = numbered(found, name, rows and finder(rows, tasks))
        settings = about(kind, files, name, found, records, scores)
        write(folder, settings, problems, records, scores)
        result = summary(folder, settings, problems, records, scores, found)
    print(json.dumps(result) if as_json else show(result))
    return result


def read_all(files: list[str], format: str | None) -> tuple[str, dict[str, Found]]:
    """The format of the files, and what is in each. Raises InputError, also on a file that is given twice."""
    found: dict[str, Found] = {}
    formats, contents = {}, {}
    progress = Progress("import", len(files), "files", every=10)
    for done, file in enumerate(files, 1):
        path = Path(file)
        if path.is_dir():
            raise InputError(f"{file}: expected files of samples, this is a folder")
        if not path.exists():
            raise InputError(f"{file}: no such file")
        content = digest(path)
        if twin := next((other for other, own in contents.items() if own == content or other == file), None):
            raise InputError(f"{file}: holds the same as {twin}; give each file of samples once")
        contents[file] = content
        formats[file] = format or recognised(path)
        if len(set(formats.values())) > 1:
            raise InputError(f"{file}: expected {formats[files[0]]} as in {files[0]}, found {formats[file]}")
        found[file] = FORMATS[formats[file]](path)
        if not found[file].samples:
            raise InputError(f"{file}: expected samples, found none")
        progress.update(done)
    steps = {own.settings.get("step"): file for file, own in found.items()}
    if len(steps) > 1:
        (one, first), (two, second), *_ = steps.items()
        raise InputError(f"{second}: of step {two}, and {first} of step {one}: two models, give each its own --store")
    return formats[files[0]], found


def model_of(found: dict[str, Found]) -> str | None:
    """What the files call the model. Raises InputError if they name several."""
    named = {own.model: file for file, own in found.items() if own.model}
    if len(named) > 1:
        (one, first), (two, second), *_ = named.items()
        raise InputError(f"{second}: samples of {two!r}, and {first} of {one!r}: give each model its own --store")
    return next(iter(named), None)


def words(text: str) -> str:
    return " ".join(text.split())


def finder(rows: list[Problem], tasks: list[str]) -> Callable[[Sample, str], dict]:
    """The row of the problem that a sample answers, by the text of the problem or of the prompt."""
    known: dict[str, dict] = {}
    for row in rows:
        for text in {words(row["problem"]), words(prompt_of(row))}:
            if known.setdefault(text, row)["id"] != row["id"]:
                raise InputError(f"--tasks {' '.join(tasks)}: {known[text]['id']} and {row['id']} have the same text")

    def find(sample: Sample, file: str) -> dict:
        for text in (sample.problem, sample.prompt):
            if text and (row := known.get(words(text))):
                return row
        raise InputError(f"{file}: no problem of --tasks {' '.join(tasks)} has the text {sample.problem!r:.120}")

    return find


def numbered(found: dict[str, Found], name: str, find: Callable | None) -> tuple[list[Problem], list[dict], list[dict]]:
    """Problems, records, and recorded scores. A problem is known by the tool's id, else by its text and right answer;
    answers to it are numbered as they come."""
    rows: dict[tuple, dict] = {}
    count: dict[tuple, int] = {}
    records, scores = [], []

    def row_of(sample: Sample, file: str) -> tuple:
        key = (sample.task, sample.id) if sample.id else (sample.task, None, sample.problem, sample.answer)
        if key not in rows:
            id = sample.id or f"{derive_seed(sample.problem, sample.answer):016x}"
            id = id if id.startswith(f"{sample.task}/") else f"{sample.task}/{id}"
            row = {"id": id, "task": sample.task, "split": "all"}
            row |= {"problem": sample.problem, "answer": sample.answer}
            if find:
                row = dict(find(sample, file))
            if sample.prompt and sample.prompt != row["problem"]:
                row["prompt"] = sample.prompt
            rows[key], count[key] = row | {"told": sample.problem, "samples": 0}, 0
        elif words(rows[key]["told"]) != words(sample.problem):
            other = rows[key]["told"]
            raise InputError(
                f"{file}: the problem {sample.id} of {sample.task} is {sample.problem!r:.60}, was {other!r:.60}"
            )
        return key

    for file, own in found.items():
        for sample in own.samples:
            key = row_of(sample, file)
            row, index = rows[key], count[key]
            where = {"model": name, "task": row["task"], "split": row["split"], "problem": row["id"], "sample": index}
            records.append(
                where | {"text": sample.text, "tokens": sample.tokens, "finish": sample.finish}
                | {"entropy": None, "logprob": None, "seed": None}
            )  # fmt: skip
            for judge, score in sample.scores.items():
                verdict = {"score": score.value, "read": score.read and readable(score.read)}
                scores.append({"problem": row["id"], "sample": index, "judge": readable(judge)} | verdict)
            count[key] += 1
            row["samples"] += 1
        for sample in own.missing:
            rows[row_of(sample, file)]["samples"] += 1
    problems = [{key: value for key, value in row.items() if key != "told"} for row in rows.values()]
    problems = [as_stored(row, f"{', '.join(found)}, problem {row['id']}") for row in problems]
    if len({row["id"] for row in problems}) < len(problems):
        seen: dict[str, dict] = {}
        two = next((seen[row["id"]], row) for row in problems if seen.setdefault(row["id"], row) is not row)
        texts = " and ".join(f"{row['problem']!r:.60}" for row in two)
        raise InputError(f"{', '.join(found)}: two problems are called {two[0]['id']!r}: {texts}")
    return problems, records, scores


def about(kind: str, files: list[str], name: str, found: dict[str, Found], records: list[dict], scores: list) -> dict:
    """The settings of the store. Where files differ in how they were sampled, it is unknown."""
    settings = {"name": name, "engine": "imported", "format": kind, "model": model_of(found)}
    for key in ("temperature", "top_p", "max_tokens", "seed", "step"):
        values = {json.dumps(own.settings.get(key)): own.settings.get(key) for own in found.values()}
        value = next(iter(values.values())) if len(values) == 1 else None
        settings[key] = value if type(value) in (int, float) and math.isfinite(value) else None
    settings["files"] = [[Path(file).name, digest(Path(file))] for file in files]
    settings["unknown"] = [key for key in UNKNOWN if any(record[key] is None for record in records)]
    return settings | {"judges": list(dict.fromkeys(score["judge"] for score in scores))}


def write(folder: Path, settings: dict, problems: list[dict], records: list[dict], scores: list[dict]) -> None:
    """The store, whole or absent: it is made beside and takes its name at the end."""
    made = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        with open_store(made, settings, problems) as opened:
            progress = Progress(str(folder), len(records), "answers", every=10)
            for start in range(0, len(records), CHUNK):
                opened.append(records[start : start + CHUNK])
                progress.update(min(start + CHUNK, len(records)))
        with listed_file(made, RECORDED) as temporary:
            about = {"largek": json.dumps(made_by(), sort_keys=True)}
            table = pa.Table.from_pylist(scores, SCHEMA).replace_schema_metadata(about)
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        if folder.is_dir():
            folder.rmdir()  # it is empty
        os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def summary(folder: Path, settings: dict, problems: list[dict], records: list[dict], scores: list, found: dict) -> dict:
    """What there is now, for machines. `recorded` has for each judge the mean over problems of what the tool itself
    gave them, which is what it prints, and how many answers have a score of their own."""
    result = {"store": str(folder), "format": settings["format"], "model": settings["name"], "problems": len(problems)}
    result |= {"answers": len(records), "asked": sum(row["samples"] for row in problems)}
    result |= {"unknown": settings["unknown"], "without_right_answer": sum(row["answer"] is None for row in problems)}
    of_problems: dict[str, list[float]] = {}
    for own in found.values():
        for judge, values in own.of_problems.items():
            of_problems.setdefault(judge, []).extend(values)
    of_answers: dict[str, dict[str, list[float]]] = {}
    for row in scores:
        of_answers.setdefault(row["judge"], {}).setdefault(row["problem"], []).append(row["score"])
    recorded = {judge: list(map(mean, own.values())) for judge, own in of_answers.items()} | of_problems
    result["recorded"] = {
        judge: {
            "mean": mean(values),
            "problems": len(values),
            "answers": sum(map(len, of_answers.get(judge, {}).values())),
        }
        for judge, values in recorded.items()
    }
    return result | {"notes": list(dict.fromkeys(note for own in found.values() for note in own.notes))}


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def show(made: dict) -> str:
    """The summary for reading, with the command that comes next."""
    missing = f", of {made['asked']} asked for" if made["asked"] > made["answers"] else ""
    lines = [f"{made['store']}: {made['answers']} answers{missing} to {made['problems']} problems by {made['model']}"]
    tool, unknown = made["format"], [UNKNOWN[key] for key in made["unknown"]]
    if unknown:
        lines.append(f"{tool} does not say of every answer: {', '.join(unknown)}")
    for judge, own in made["recorded"].items():
        of = f"a verdict on {own['answers']} answers" if own["answers"] else "no verdict on single answers"
        lines.append(f"{judge} of {tool}: {own['mean']:.4f} over {own['problems']} problems, {of}")
    lines += made["notes"]
    if made["without_right_answer"]:
        lines.append(f"{made['without_right_answer']} problems have no right answer here: give --tasks to grade by it")
    verifiers = ["--verifier math"] if made["without_right_answer"] < made["problems"] else []
    judges = [judge for judge, own in made["recorded"].items() if own["answers"]]
    if judges:
        which = "recorded" if len(judges) == 1 else shlex.quote(f"recorded:{judges[0]}")
        verifiers.append(f"--verifier {which}")
    if verifiers:
        lines.append(f"next: largek grade {shlex.quote(made['store'])} {', or '.join(verifiers)}")
    return "\n".join(lines)
