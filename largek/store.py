"""The store of samples: a folder that only grows.

    settings.json      model and sampling settings, the same for every record in it; `info`, which is not compared: what
                       took part in the sampling, and what an endpoint said of itself
    problems.jsonl     the problems, each with `samples`, how many were asked for
    samples/*.parquet  records, one file a chunk, each whole or absent, with checksums
    arrived.log        records that came one by one and are in no such file yet: a line each, its checksum first
    checksums.log      of all other files, see `largek.checksums`
    grades.parquet     made by `largek grade`
    lock               held by the one process that samples into it

A record is known by its problem and sample index; the settings say of which model and how. A process that is killed
leaves whole chunks and whole lines, and the next one samples what is missing. A file that is not as it was written is a
DamagedStore that names it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from largek.checksums import LOG, Known, as_written, listed_file, pardon, read_log, sealed, unsealed
from largek.common import DamagedStore, InputError, damaged, read_jsonl, readable, to_json
from largek.problems import Problem, as_stored, prompt_of

FILED = 256  # answers that came one by one, after which a file is made of them,
WAIT = 30.0  # or after so many seconds
SETTINGS, PROBLEMS, ARRIVED = "settings.json", "problems.jsonl", "arrived.log"
CHANGED = "not as largek has written it; if you have changed it, say so"
KEY = ["problem", "sample"]
LATER = {"endpoint", "dtype"}  # settings that older stores lack; they are taken to have had those of now
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
        self.next = max((int(path.stem) for path in chunk_files(folder)), default=-1) + 1
        self.arrived: list[dict] = []
        self.log, self.since = None, 0.0
        self.append(read_arrived(folder))  # of a process that was killed
        (folder / ARRIVED).unlink(missing_ok=True)

    def present(self) -> set[tuple[str, int]]:
        """(problem, sample index) of every record. Raises DamagedStore if one is there twice, or of another model."""
        table = read_chunks(self.folder, ["model", *KEY])
        refuse_other_models(self.folder, table)
        found = keys_of(table)
        if len(found) < len(table):
            raise DamagedStore(which_is_there_twice(self.folder))
        return found

    def append(self, records: list[dict], number: int | None = None) -> None:
        """Add records in one step: after a crash at any moment all of them are there, or none. The file has this
        number, which no other has, or the next one."""
        if not records:
            return
        number = self.next if number is None else number
        with listed_file(self.folder, f"samples/{number:06}.parquet") as temporary:
            table = pa.Table.from_pylist([record | {"text": readable(record["text"])} for record in records], SCHEMA)
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        self.next = max(self.next, number + 1)

    def add(self, record: dict) -> None:
        """Add a record that came by itself. It is kept at once, and put into a file together with others."""
        line = json.dumps(record).encode()
        if self.log is None:
            self.log, self.since = (self.folder / ARRIVED).open("ab"), time.monotonic()
        self.log.write(sealed(line))
        self.log.flush()
        self.arrived.append(record)
        if len(self.arrived) >= FILED or time.monotonic() - self.since > WAIT:
            self.file()

    def file(self) -> None:
        """Put into a file what has arrived."""
        if self.log is not None:
            self.append(self.arrived)
            self.log.close()
            self.log, self.arrived = None, []
            (self.folder / ARRIVED).unlink()

    def note(self, **info: list) -> None:
        """Keep in settings.json what is worth knowing of how samples were made and decides nothing: lists that grow."""
        settings = read_settings(self.folder)
        known = settings.get("info", {})
        grown = {
            key: [*known.get(key, []), *(each for each in new if each not in known.get(key, []))]
            for key, new in info.items()
        }
        if known | grown != known:
            write_settings(self.folder, settings | {"info": known | grown})


@contextlib.contextmanager
def open_store(
    folder: str | Path, settings: dict, problems: list[Problem], *, wait: bool = False, discard: bool = False
) -> Iterator[Store]:
    """Open a store for sampling, or make it, and lock it until the block ends.

    `settings` must be JSON and equal those the store was made with, and a problem that is already there must be put in
    the same words; else InputError shows the difference, or, with `discard`, the store is emptied. Another process that
    samples into it is an InputError with its process id, or, with `wait`, waited for.
    """
    folder = Path(folder)
    lock = _lock(folder, wait)
    try:
        try:
            difference = _difference(folder, settings, problems)
        except DamagedStore as damage:
            if not discard:
                raise
            difference = str(damage)
        if difference and (discard or not _has_samples(folder)):
            shutil.rmtree(folder / "samples", ignore_errors=True)
            for name in (PROBLEMS, SETTINGS, ARRIVED, "grades.parquet", LOG):
                (folder / name).unlink(missing_ok=True)
        elif difference:
            raise InputError(f"{folder}: made with other settings ({difference}); take another --store")
        (folder / "samples").mkdir(exist_ok=True)
        for left in (folder / "samples").glob(".*"):  # half-written when a process was killed
            left.unlink()
        known = read_settings(folder) if (folder / SETTINGS).exists() else {}
        if known | settings != known or SETTINGS not in read_log(folder):
            write_settings(folder, known | settings)
        store = Store(folder)
        _add_problems(folder, problems)
        try:
            yield store
        finally:
            store.file()  # whatever ended the block, these answers are there
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


def _has_samples(folder: Path) -> bool:
    return any(folder.glob("samples/*.parquet")) or (folder / ARRIVED).exists()


def _difference(folder: Path, settings: dict, problems: list[Problem]) -> str:
    """How the store was made differently, or nothing. Samples without settings are of unknown origin."""
    if not (folder / SETTINGS).exists():
        return "its settings.json is missing" if _has_samples(folder) else ""
    stored = read_settings(folder)
    stored.pop("info", None)
    if str(settings.get("model")).startswith(f"{stored.get('model')}@"):  # of before commits were kept
        stored["model"] = settings["model"]
    known = settings.keys() - (LATER - stored.keys())
    differing = [
        key for key in settings | stored if key in known | stored.keys() and settings.get(key) != stored.get(key)
    ]
    if differing:
        moved = f"; if the same model answers there, write it into settings.json, then: {pardon(folder / SETTINGS)}"
        hint = moved if differing == ["endpoint"] else ""
        return ", ".join(f"{key}: {stored.get(key)!r} there, {settings.get(key)!r} now" for key in differing) + hint
    now = {row["id"]: row for row in problems}
    for row in read_problems(folder):
        if row["id"] not in now:
            continue
        told, asks = ((prompt_of(each), each["task"], each["split"]) for each in (row, now[row["id"]]))
        for what, there, wanted in zip(("", "task ", "split "), told, asks):
            if there != wanted:
                return f"problem {row['id']}: {what}{there[:60]!r} there, {wanted[:60]!r} now"
    return ""


def _add_problems(folder: Path, problems: list[Problem]) -> None:
    """Add problems, or renew what is known of them; `samples`, the number asked for, only grows."""
    before = {row["id"]: row for row in read_problems(folder)}
    known = dict(before)
    for row in problems:
        asked = max(row["samples"], known.get(row["id"], row)["samples"])
        known[row["id"]] = row | {"samples": asked}
    if known == before and PROBLEMS in read_log(folder):
        return
    with listed_file(folder, PROBLEMS) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(to_json(row) + "\n" for row in known.values())


def write_settings(folder: Path, settings: dict) -> None:
    with listed_file(folder, SETTINGS) as temporary:
        temporary.write_text(to_json(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict:
    """The settings of a store. Raises DamagedStore."""
    path = folder / SETTINGS
    content = path.read_bytes()
    try:
        settings = json.loads(content)
    except (ValueError, RecursionError) as error:
        settings = error
    remedy = "a store made by the same command with another --store has the same: copy it"
    if not isinstance(settings, dict) or not isinstance(settings.get("info", {}), dict):
        why = settings if isinstance(settings, Exception) else "no JSON object"
        raise damaged(path, why, remedy)
    if not as_written(read_log(folder), SETTINGS, content):
        raise DamagedStore(f"{path}: {CHANGED}: {pardon(path)}; if not, {remedy}")
    return settings


def read_problems(folder: Path) -> list[Problem]:
    """The problems of a store; none if there is no such file. Raises DamagedStore."""
    path = folder / PROBLEMS
    if not path.exists():
        return []
    remedy = "remove the file, and the same `largek sample` command writes it anew"
    try:
        rows = [as_stored(row, f"{path}, line {number}") for number, row in enumerate(read_jsonl(path), 1)]
        if len({row["id"] for row in rows}) < len(rows):
            raise InputError(f"{path}: a problem is there twice")
    except InputError as error:
        raise DamagedStore(f"{error}; {remedy}") from None
    if not as_written(read_log(folder), PROBLEMS, path.read_bytes()):
        raise DamagedStore(f"{path}: {CHANGED}: {pardon(path)}; if not, {remedy}")
    return rows


def digest_of_problems(folder: Path) -> str:
    """A digest of what decides verdicts: the problems without the numbers of samples asked for."""
    path = folder / PROBLEMS
    if not path.exists():
        raise DamagedStore(f"{path}: no such file; the same `largek sample` command adds it")
    rows = re.sub(rb', "samples": [0-9]+\}\n', b"}\n", path.read_bytes())
    return hashlib.sha256(rows).hexdigest()


def number_of_records(folder: Path) -> int:
    """How many records there are, without reading them. Raises DamagedStore."""
    number = len(read_arrived(folder))
    for path in chunk_files(folder):
        try:
            number += pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowException):
            number += len(read_file(path, KEY, read_log(folder)))
    return number


def each_chunk(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    """The records of one file after the other, then those in none. Raises DamagedStore."""
    arrived, files = read_arrived(folder), chunk_files(folder)
    known = read_log(folder)
    for path in files:
        yield read_file(path, columns, known)
    if arrived:
        yield pa.Table.from_pylist(arrived, SCHEMA).select(columns)


def chunk_files(folder: Path) -> list[Path]:
    """The files of records, in the order in which they were made. Raises DamagedStore on one of somebody else's."""
    files = sorted((folder / "samples").glob("*.parquet"))
    for path in files:
        if not re.fullmatch(r"[0-9]{6,}", path.stem):
            raise DamagedStore(f"{path}: not a file of this store; move it to another folder")
    return files


def is_whole(path: Path, known: Known) -> bool:
    """Whether a file of records is as it was written."""
    name = f"samples/{path.name}"
    return name not in known or as_written(known, name, path.read_bytes())


def read_file(path: Path, columns: list[str] | None, known: Known) -> pa.Table:
    """The records of one file of a store with the checksums `known`. Raises DamagedStore."""
    try:
        if not is_whole(path, known):
            raise OSError(f"not as {LOG} has it")
        table = _read([str(path)], columns)
    except (OSError, pa.ArrowException) as error:
        if getattr(error, "errno", None):  # of the disk or of rights: the file may be whole
            raise
        why = error
    else:
        if not any(table[name].null_count for name in KEY if name in table.column_names):
            return table
        why = "records without a problem or an index"
    raise damaged(path, why, "remove it and sample again: the answers in it are lost")


def _read(files: list[str], columns: list[str] | None) -> pa.Table:
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    checked = ds.ParquetFileFormat(default_fragment_scan_options=options)
    return ds.dataset(files, schema=SCHEMA, format=checked).to_table(columns)


def read_files(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """Records of a store's files in the order in which they were added. Raises DamagedStore."""
    files = chunk_files(folder)
    if not files:
        return SCHEMA.empty_table().select(columns or SCHEMA.names)
    known, table = read_log(folder), None
    with contextlib.suppress(OSError, pa.ArrowException):
        if all(is_whole(path, known) for path in files):
            table = _read(list(map(str, files)), columns)
    if table is None or any(table[name].null_count for name in KEY if name in table.column_names):
        for path in files:
            read_file(path, columns, known)  # names the one that is damaged
        raise DamagedStore(f"{folder}/samples: could not be read")
    return table


def read_arrived(folder: Path) -> list[dict]:
    """Records that came one by one and are in no file yet. A last line that a kill cut off is none of them."""
    path = folder / ARRIVED
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(record_in(line))
        except ValueError as error:
            raise damaged(path, f"line {number}: {error}", "remove that line: its answer is lost") from None
    for line in (last, last[:-1]):  # whole but for its end, which was cut off or is another character
        with contextlib.suppress(ValueError):
            found.append(record_in(line))
    filed = keys_of(read_files(folder, KEY)) if found else set()  # killed after they were, and before this was emptied
    return [record for record in found if (record["problem"], record["sample"]) not in filed]


def record_in(line: bytes) -> dict:
    """The record in a line of the log. Raises ValueError if it is not as it was written."""
    row = json.loads(unsealed(line))
    texts = ("model", "task", "split", "problem", "text")
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in texts):
        raise ValueError("no record")
    if type(row.get("sample")) is not int or not 0 <= row["sample"] < 2**31:
        raise ValueError("no record")
    return row


def keys_of(table: pa.Table) -> set[tuple[str, int]]:
    return set(zip(*(table[name].to_pylist() for name in KEY)))


def read_chunks(folder: Path, columns: list[str] | None = None) -> pa.Table:
    """Records of a store in the order in which they were added. Raises DamagedStore."""
    arrived = read_arrived(folder)
    table = read_files(folder, columns)
    if arrived:
        unfiled = pa.Table.from_pylist(arrived, SCHEMA)
        table = pa.concat_tables([table, unfiled.select(table.column_names)])
    return table


def refuse_other_models(folder: Path, table: pa.Table) -> None:
    """Raises DamagedStore if records are not of the store's model, as when a file comes from another store."""
    name = read_settings(folder).get("name")
    if not isinstance(name, str) or set(table["model"].unique().to_pylist()) <= {name}:
        return
    for path in chunk_files(folder):
        others = set(read_file(path, ["model"], {})["model"].to_pylist()) - {name}
        if others:
            what = f"holds answers of {min(map(str, others))!r}, and this is a store of {name!r}"
            raise DamagedStore(f"{path}: {what}; move it to another folder")


def which_is_there_twice(folder: Path) -> str:
    """What is wrong with a store that has an answer twice, and what to do."""
    first: dict[tuple, Path] = {}
    for path in chunk_files(folder):
        table = read_file(path, KEY, {})
        keys = keys_of(table)
        if twice := keys & first.keys():
            other = first[min(twice)]
            what = f"{len(twice)} of its {len(table)} answers are in {other.name} too"
            return f"{path}: {what}; remove it and sample again: what only it holds is lost"
        if len(keys) < len(table):
            return f"{path}: holds an answer twice; remove it and sample again: the answers in it are lost"
        first |= dict.fromkeys(keys, path)
    return f"{folder / ARRIVED}: holds an answer twice; remove one of its lines"


def read_samples(path: str | Path) -> pa.Table:
    """The records of a store, or of one parquet file, with what is known of them in the schema's metadata.

    Records of a store come in the order of its problems, then of sample indices, whatever the order in which they were
    sampled. The metadata's key `largek` holds JSON with the settings and `asked`: [task, split,
    answers asked for]. Raises InputError where there are no samples, DamagedStore where a file is not as it was.
    """
    path = Path(path)
    if not path.is_dir():
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            table.validate(full=True)  # a text that is no UTF-8
            return table
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: expected samples in parquet ({str(error).splitlines()[0]})") from None
    if not (path / SETTINGS).exists():
        raise InputError(f"{path}: expected a store made by `largek sample --store` (it has no settings.json)")
    return joined(path)


def joined(folder: Path) -> pa.Table:
    """All records of a store in their final order, with its settings in the metadata."""
    table, problems = read_chunks(folder), read_problems(folder)
    refuse_other_models(folder, table)
    place = pa.array([row["id"] for row in problems], pa.string())
    order = pc.index_in(table["problem"], place)
    if order.null_count:
        strange = table["problem"].filter(order.is_null())[0].as_py()
        what = f"{folder / PROBLEMS}: lacks the problem {strange!r}, to which there are answers"
        raise DamagedStore(f"{what}; the same `largek sample` command adds it")
    table = table.append_column("place", order).sort_by([("place", "ascending"), ("sample", "ascending")])
    number = pc.add(pc.multiply(table["place"].cast(pa.int64()), 2**31), table["sample"]).to_numpy()
    if (number[1:] == number[:-1]).any():
        raise DamagedStore(which_is_there_twice(folder))
    about = read_settings(folder) | {"asked": asked(problems)}
    about.pop("info", None)
    return table.drop_columns("place").replace_schema_metadata({"largek": json.dumps(about, sort_keys=True)})


def asked(problems: list[Problem]) -> list[list]:
    """[task, split, answers asked for] of each task and split, in the order of the problems."""
    total: dict[tuple, int] = {}
    for row in problems:
        group = row["task"], row["split"]
        total[group] = total.get(group, 0) + row["samples"]
    return [[*group, answers] for group, answers in total.items()]
