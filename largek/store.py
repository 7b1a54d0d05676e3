"""The store of samples: a folder that only grows.

    settings.json      model and sampling settings, the same for every record in it
    problems.jsonl     the problems, each with `samples`, how many were asked for
    samples/*.parquet  records, one file a chunk, each whole or absent
    grades.parquet     made by `largek grade`
    lock               held by the one process that samples into it

A record is known by its problem and sample index; the settings say of which model and how. A process that is killed
leaves whole chunks, and the next one samples what is missing.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from largek.common import InputError, read_jsonl, whole_file, write_json, write_jsonl

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("problem", pa.string()),
        ("sample", pa.int32()),
        ("text", pa.large_string()),  # more than 2 GiB of it in one table
        ("tokens", pa.int32()),  # sampled tokens, the end-of-sequence token included; null if an endpoint does not say
        ("finish", pa.string()),  # "stop" or "length"; an endpoint may have words of its own
        ("entropy", pa.float64()),  # nats a sampled token at temperature 1, mean over the answer; null where unknown
        ("logprob", pa.float64()),  # of the answer at temperature 1, summed over its tokens; null where unknown
        ("seed", pa.int64()),
    ]
)


class Store:
    """An open store: what is in it, and the way to add to it. Made by `open_store`, which holds the lock."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.chunks = folder / "samples"
        names = [int(path.stem) for path in self.chunks.glob("*.parquet")]
        self.next = max(names, default=-1) + 1

    def present(self) -> set[tuple[str, int]]:
        """(problem, sample index) of every record."""
        table = read_chunks(self.folder, ["problem", "sample"])
        return set(zip(table["problem"].to_pylist(), table["sample"].to_pylist()))

    def append(self, records: list[dict]) -> None:
        """Add records in one step: after a crash at any moment all of them are there, or none."""
        with whole_file(self.chunks / f"{self.next:06}.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(records, SCHEMA), temporary, compression="zstd")
        self.next += 1


@contextlib.contextmanager
def open_store(
    folder: str | Path, settings: dict, problems: list[dict], *, wait: bool = False, discard: bool = False
) -> Iterator[Store]:
    """Open a store for sampling, or make it, and lock it until the block ends.

    `settings` must be JSON and equal those the store was made with, and a problem that is already there must be put in
    the same words; else InputError shows the difference, or, with `discard`, the store is emptied. Another process that
    samples into it is an InputError with its process id, or, with `wait`, waited for.
    """
    folder = Path(folder)
    lock = _lock(folder, wait)
    try:
        difference = _difference(folder, settings, problems)
        if difference and (discard or not any(folder.glob("samples/*.parquet"))):
            shutil.rmtree(folder / "samples", ignore_errors=True)
            for name in ("problems.jsonl", "settings.json", "grades.parquet"):
                (folder / name).unlink(missing_ok=True)
        elif difference:
            raise InputError(f"{folder}: made with other settings ({difference}); take another --store")
        (folder / "samples").mkdir(exist_ok=True)
        for left in (folder / "samples").glob(".*"):  # half-written when a process was killed
            left.unlink()
        if not (folder / "settings.json").exists():
            write_json(folder / "settings.json", settings)
        _add_problems(folder / "problems.jsonl", problems)
        yield Store(folder)
    finally:
        lock.close()


def _lock(folder: Path, wait: bool):
    """The open lock file. The folder may vanish while another process that finishes it is waited for."""
    while True:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: expected a folder")
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "a process that has just begun"  # and has not written its name yet
            if not wait:
                lock.close()
                raise InputError(f"{folder}: {owner} is sampling into it; a store has one writer at a time") from None
            print(f"{folder}: waiting for {owner}, which is still sampling into it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat()):
                break
        lock.close()  # the other process has finished and removed the folder
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}")
    lock.flush()
    return lock


def _difference(folder: Path, settings: dict, problems: list[dict]) -> str:
    """How the store was made differently, or nothing. Samples without settings are of unknown origin."""
    try:
        stored = json.loads((folder / "settings.json").read_text())
    except FileNotFoundError:
        return "its settings.json is missing" if any(folder.glob("samples/*.parquet")) else ""
    differing = [key for key in settings | stored if settings.get(key) != stored.get(key)]
    if differing:
        return ", ".join(f"{key}: {stored.get(key)!r} there, {settings.get(key)!r} now" for key in differing)
    words = {row["id"]: prompt_of(row) for row in problems}
    for row in read_jsonl(folder / "problems.jsonl") if (folder / "problems.jsonl").exists() else []:
        if row["id"] in words and words[row["id"]] != prompt_of(row):
            return f"problem {row['id']}: {prompt_of(row)[:60]!r} there, {words[row['id']][:60]!r} now"
    return ""


def prompt_of(row: dict) -> str:
    """What the model is asked."""
    return row.get("prompt", row["problem"])


def _add_problems(path: Path, problems: list[dict]) -> None:
    """Add problems, or renew what is known of them; `samples`, the number asked for, only grows."""
    known = {row["id"]: row for row in read_jsonl(path)} if path.exists() else {}
    for row in problems:
        asked = max(row["samples"], known.get(row["id"], row)["samples"])
        known[row["id"]] = row | {"samples": asked}
    write_jsonl(path, known.values())


def read_chunks(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """Records of a store in the order in which they were added."""
    files = sorted(str(path) for path in (folder / "samples").glob("*.parquet"))
    return (
        ds.dataset(files, schema=SCHEMA).to_table(columns)
        if files
        else SCHEMA.empty_table().select(columns or SCHEMA.names)
    )


def read_samples(path: str | Path) -> pa.Table:
    """The records of a store, or of one parquet file, with what is known of them in the schema's metadata.

    Records of a store come in the order of its problems, then of sample indices, whatever the order in which they were
    sampled. The metadata's key `largek` holds JSON with the settings and `asked`: [task, split,
    answers asked for]. Raises InputError where there are no samples.
    """
    path = Path(path)
    if not path.is_dir():
        try:
            return pq.read_table(path)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except pa.ArrowInvalid as error:
            raise InputError(f"{path}: expected samples in parquet ({error})") from None
    if not (path / "settings.json").exists():
        raise InputError(f"{path}: expected a store made by `largek sample --store` (it has no settings.json)")
    return joined(path)


def joined(folder: Path) -> pa.Table:
    """All records of a store in their final order, with its settings in the metadata."""
    problems = read_jsonl(folder / "problems.jsonl")
    place = {row["id"]: number for number, row in enumerate(problems)}
    table = read_chunks(folder)
    order = pa.array([place[problem] for problem in table["problem"].to_pylist()], pa.int32())
    table = table.append_column("place", order).sort_by([("place", "ascending"), ("sample", "ascending")])
    about = json.loads((folder / "settings.json").read_text()) | {"asked": asked(problems)}
    return table.drop_columns("place").replace_schema_metadata({"largek": json.dumps(about, sort_keys=True)})


def asked(problems: list[dict]) -> list[list]:
    """[task, split, answers asked for] of each task and split, in the order of the problems."""
    total: dict[tuple, int] = {}
    for row in problems:
        group = row["task"], row["split"]
        total[group] = total.get(group, 0) + row["samples"]
    return [[*group, answers] for group, answers in total.items()]
