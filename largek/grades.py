"""Grades: read from a file or a store, counted by problem, scored under a smaller cap; how many answers are missing."""

import json
import os
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from largek.checksums import LOG, as_written, read_log
from largek.common import InputError, damaged, first_line
from largek.formats import refuse_newer
from largek.store import asked, digest_of_problems, number_of_records, read_problems
from largek.verify import OUTCOMES

COUNT_COLUMNS = ["model", "task", "split", "problem"]
Asked = dict[tuple[str, str, str], int]  # answers asked for, by model, task and split


def read_grades(path: str, columns: list[str] | None = None, max_tokens: int | None = None) -> pd.DataFrame:
    """The grades of a parquet file or of a store, with `max_tokens` as under that cap (see `cap`).

    Old grades have no `vote`; the extracted answer stands in. Raises InputError if the file is missing, not parquet or
    not made by `largek grade`, and on a cap above the one that the answers were sampled under: that is the longest
    truncated answer where an old file does not say.
    """
    try:
        table = pq.read_table(source(path), columns=columns, page_checksum_verification=True)
        about_grades(table.schema, path)
        frame = table.to_pandas()
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        raise unreadable(path, error) from None
    found = table["outcome"].unique().to_pylist() if "outcome" in frame else []
    if strange := set(found) - {*OUTCOMES}:  # would count as wrong
        raise unreadable(path, ValueError(f"the outcome {min(map(str, strange))!r}"))
    missing = [name for name in ([] if columns else [*COUNT_COLUMNS, "sample", "outcome"]) if name not in frame]
    if missing:
        raise InputError(f"{path}: expected the column {missing[0]!r}, found {', '.join(frame.columns)}")
    if columns is None and "vote" not in frame and "extracted" in frame:
        frame["vote"] = frame["extracted"]
    if max_tokens is None:
        return frame
    capped = cap(frame, max_tokens)
    sampled = read_settings(path).get("max_tokens") or frame.loc[frame["outcome"] == "truncated", "tokens"].max()
    if max_tokens > sampled:
        raise InputError(f"{path}: --max-tokens {max_tokens} is above the {sampled} the answers were sampled under")
    return capped


def unreadable(path: str, error: Exception) -> InputError:
    """What to do about a file of grades that cannot be read."""
    why = first_line(error)[:200]
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: no such file")
    if getattr(error, "errno", None):  # of the disk or of rights: the file may be whole
        return InputError(f"{getattr(error, 'filename', None) or path}: {getattr(error, 'strerror', None) or why}")
    if not Path(path).is_dir():
        return InputError(f"{path}: expected grades in parquet ({why})")
    return damaged(grades_file(path), why, f"run: largek grade {path}")


def source(path: str) -> Path | pyarrow.BufferReader:
    """What to read grades from: a file, or what is in that of a store. Raises OSError if that is not as it was written,
    InputError if there is none."""
    file = grades_file(path)
    if not Path(path).is_dir():
        return file
    content = file.read_bytes()
    if not as_written(read_log(Path(path)), file.name, content):
        raise OSError(f"not as {LOG} has it")
    return pyarrow.BufferReader(content)


def grades_file(path: str) -> Path:
    """The file of grades that `path` is, or that the store `path` holds. Raises InputError if it holds none."""
    file = Path(path) / "grades.parquet"
    if not Path(path).is_dir():
        return Path(path)
    if not file.exists():
        raise InputError(f"{path}: not graded yet, run: largek grade {path}")
    return file


def read_settings(path: str) -> dict:
    """What a file of grades says of its making: `max_tokens`, `asked` and more; nothing in old files. A store may have
    grown since it was graded, so what was asked for is read from its problems."""
    try:
        about = about_grades(pq.read_schema(source(path)), path)
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        raise unreadable(path, error) from None
    if Path(path).is_dir():
        about["asked"] = asked(read_problems(Path(path)))
    return about


def about_grades(schema: pyarrow.Schema, path: str) -> dict:
    """The same from a schema. Raises ValueError where it is damaged, InputError where a newer largek has made it."""
    about = json.loads((schema.metadata or {}).get(b"largek", b"{}"))
    if not isinstance(about, dict):
        raise ValueError("its metadata are no JSON object")
    refuse_newer(about, grades_file(path))
    return about


def stale(path: str) -> list[str]:
    """A line for each way in which a store has changed since it was graded; nothing for a file, or for old grades."""
    if not Path(path).is_dir():
        return []
    about, lines = read_settings(path), []
    if "problems" in about and about["problems"] != digest_of_problems(Path(path)):
        lines.append(f"{path}: graded before the problems changed, run: largek grade {path}")
    elif "records" in about and about["records"] != (there := number_of_records(Path(path))):
        held = f"{about['records']} answers, now it holds {there}"
        lines.append(f"{path}: graded when it held {held}, run: largek grade {path}")
    return lines


UNKNOWN = {
    "finish": "how answers ended, so that none counts as truncated and `finished` is empty",
    "tokens": "token counts, so that there are no lengths and no --max-tokens",
    "vote": "what was read as answers, so that there is no maj@k",
}


def unknown(path: str) -> list[str]:
    """What nobody knows of imported answers, as far as something follows from it: keys of UNKNOWN."""
    there = read_settings(path).get("unknown", [])
    return [name for name in UNKNOWN if name in there]


def lacking(path: str) -> list[str]:
    """A line that says what cannot be said of imported answers; nothing where all is known."""
    names = unknown(path)
    return [f"{path}: graded without {'; '.join(UNKNOWN[name] for name in names)}"] if names else []


def count(grades: pd.DataFrame) -> pd.DataFrame:
    """One row a problem from one row an answer: n, correct, truncated."""
    marked = grades.assign(
        correct=(grades["outcome"] == "correct").astype(int),
        truncated=(grades["outcome"] == "truncated").astype(int),
        n=1,
    )
    return marked.groupby(COUNT_COLUMNS, as_index=False, sort=True)[["n", "correct", "truncated"]].sum()


def cap(grades: pd.DataFrame, max_tokens: int) -> pd.DataFrame:
    """The grades as if every answer had been cut at `max_tokens` tokens: longer ones become truncated.

    Nothing is known of a truncated answer but its outcome and its length. Raises InputError where token counts are
    missing. Whether the answers were sampled under at least this cap is for the caller to know (see `read_grades`).
    """
    if "tokens" not in grades:
        raise InputError(f"--max-tokens {max_tokens} needs the column 'tokens', found {', '.join(grades.columns)}")
    unknown = grades.loc[grades["tokens"].isna(), "model"]
    if len(unknown):
        who = unknown.iloc[0]
        raise InputError(
            f"--max-tokens {max_tokens}: the engine of {who} reported no token counts ({len(unknown)} answers)"
        )
    cut = grades["tokens"] > max_tokens
    capped = grades.copy()
    capped.loc[cut, "outcome"], capped.loc[cut, "tokens"] = "truncated", max_tokens
    for name in ("vote", "extracted", "sound", "entropy"):
        if name in grades:
            capped[name] = grades[name].mask(cut)
    return capped


def asked_for(counts: pd.DataFrame, known: Asked | None = None) -> Asked:
    """`known`, filled in: of each problem that is there, as many as of any of its task and split.

    Never less than there are, so coverage is never above 1.
    """
    groups = counts.groupby(["model", "task", "split"])["n"].agg(["size", "max", "sum"])
    known, default = known or {}, (groups["size"] * groups["max"]).to_dict()
    return known | {key: max(there, known.get(key, default[key])) for key, there in groups["sum"].items()}


def read_all(paths: list[str], max_tokens: int | None = None) -> tuple[pd.DataFrame, Asked | None]:
    """The grades of several files or stores, and how many answers were asked for. Raises InputError on a store that is
    given twice, and on an answer that is there twice, as when two models have one name."""
    for place, path in enumerate(paths):
        if any(same(path, other) for other in paths[:place]):
            raise InputError(f"{path}: given twice")
    for line in chain.from_iterable([*stale(path), *lacking(path)] for path in paths):
        print(line, flush=True)
    frames = [read_grades(path, max_tokens=max_tokens) for path in paths]
    grades = pd.concat(frames, ignore_index=True)
    repeated = grades[grades.duplicated([*COUNT_COLUMNS, "sample"])]
    if len(repeated):
        row = repeated.iloc[0]
        within = [path for path, frame in zip(paths, frames) if frame.duplicated([*COUNT_COLUMNS, "sample"]).any()]
        advice = f"in {within[0]}" if within else "sample with --name to give models names of their own"
        raise InputError(
            f"{', '.join(paths)}: sample {row['sample']} of problem {row['problem']!r} is there twice for "
            f"{row['model']!r}; {advice}"
        )
    return grades, read_asked(paths, frames)


def same(one: str, two: str) -> bool:
    """Whether two paths lead to one file or folder."""
    return os.path.realpath(one) == os.path.realpath(two)


def read_asked(paths: list[str], grades: list[pd.DataFrame]) -> Asked | None:
    """Answers asked for, summed over files with their grades; None if a file does not say."""
    total: Asked = {}
    for path, frame in zip(paths, grades):
        settings = read_settings(path)
        if "asked" not in settings:
            return None
        for model in frame["model"].unique():
            for task, split, answers in settings["asked"]:
                total[model, task, split] = total.get((model, task, split), 0) + answers
    return total


def missing(counts: pd.DataFrame, known: Asked | None) -> list[str]:
    """A line for each model and split that says how many of the answers asked for are not there."""
    lines, wanted = [], asked_for(counts, known)
    for model, split in sorted({(model, split) for model, _, split in wanted}):
        total = sum(answers for (m, _, s), answers in wanted.items() if (m, s) == (model, split))
        n = counts.loc[(counts["model"] == model) & (counts["split"] == split), "n"]
        if n.sum() < total:
            there = f"{n.min()} to {n.max()} for each of {len(n)} problems" if len(n) else "of no problem"
            lines.append(f"{model}, {split}: {n.sum()} of {total} answers are there, {there}")
    return lines
