"""`largek grade`: a verdict on every answer of a store or a file of samples. Touches no sample and needs no model."""

import hashlib
import json
import pickle
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from largek.checksums import as_written, read_log
from largek.common import InputError, Progress, digest
from largek.formats import refuse_newer
from largek.grade_file import CARRIED, endless, summary, with_verdicts, write_grades, write_table
from largek.problems import Problem
from largek.store import digest_of_problems, read_problems, read_samples
from largek.tasks import read_tasks
from largek.thoughts import answer_in
from largek.verify import NAMED, Verdict, Verifier, is_finished, judge, load_verifier, version
from largek.workers import PREPARATION, allow, call, limit, most

BATCH = 1000  # answers that are graded between two looks at the clock
SECONDS = 20.0  # CPU time that a verifier of one's own may take for an answer
KEEP = 60.0  # seconds after which the verdicts so far are written down
SLICE = 20  # answers that a thread takes at a time: handing over each by itself takes longer than most verdicts


def run(
    samples: str,
    tasks: list[str] | None = None,
    output: str | None = None,
    verifier: str | None = None,
    tasks_file: str | None = None,
    in_process: bool = False,
    workers: int | None = None,
) -> pa.Table:
    """Grade the samples of a store or of one parquet file; write the grades and return them.

    `tasks` (see `largek.tasks`; default: the store's problems) holds the right answers, `output` (default: the store's
    grades.parquet) is the file to write, `verifier` reads the answers (default: what each problem's row names). One
    row a sample, in the order of the samples: CARRIED, then outcome, extracted, sound and vote (see `Verdict`), and
    `key`, which stands for all that decided the verdict. Verdicts of `output` with the same key are taken over, so a
    store that has grown is graded where it is new; `gave_up` is tried again. The samples' metadata is kept, with the
    version of each `verifier`. A verifier of the user's own runs in worker processes under a limit of time, or
    `in_process`, which is faster. At most `workers` processes run at a time (default: one a core). `recorded` is no
    verifier but the verdicts that an import has brought, see `largek.recorded`. Raises InputError.
    """
    if verifier is not None and verifier.partition(":")[0] == "recorded":
        from largek import recorded  # not at the top: no other verifier needs it

        return recorded.run(samples, verifier, output)
    if workers is not None:
        limit(workers)
    if verifier is not None:
        load_verifier(verifier)  # says what is wrong with it before anything is read
    files = [(task, Path(task)) for task in tasks or []]
    of = {"tasks": [[task, digest(path) if path.is_file() else None] for task, path in files]} if tasks else {}
    if Path(samples).is_dir():
        table, output = read_samples(samples), output or str(Path(samples, "grades.parquet"))
        if not tasks:  # so that it is noticed when the store has changed since
            of = {"problems": digest_of_problems(Path(samples)), "records": len(table)}
        stored = Path(samples, "problems.jsonl")  # empty for a model that has no weights
        rows = {row["id"]: row for row in (read_tasks(tasks, tasks_file) if tasks else read_problems(Path(samples)))}
        tasks = tasks or [str(stored)]
    elif tasks is None or output is None:
        if not Path(samples).exists():
            raise InputError(f"{samples}: no such file or folder")
        raise InputError(f"{samples}: give --tasks and --output, which only a store has of its own")
    else:
        rows = {row["id"]: row for row in read_tasks(tasks, tasks_file)}
        table = read_samples(samples)
    missing = [name for name in (*CARRIED, "text", "finish") if name not in table.column_names]
    if missing:
        raise InputError(f"{samples}: expected the column {missing[0]!r}, found {', '.join(table.column_names)}")
    ids = table["problem"].unique().to_pylist()
    if strange := set(ids) - rows.keys():
        raise InputError(f"{samples}: the problem {min(strange)!r} is not in {', '.join(tasks)}")
    rows = {name: rows[name] for name in ids}
    names = {name: verifier or row.get("verifier") for name, row in rows.items()}
    if nameless := [rows[name]["task"] for name in ids if names[name] is None]:
        raise InputError(f"the task {nameless[0]!r} names no verifier: give --verifier")
    if unknown := [name for name in ids if rows[name]["answer"] is None]:
        what = f"{len(unknown)} problems have no right answer, such as {unknown[0]!r}"
        raise InputError(f"{samples}: {what}; import with --tasks, or grade by --verifier recorded")
    verifiers = {name: load_verifier(name) for name in dict.fromkeys(names.values())}
    own = set() if in_process else {name for name in verifiers if name not in NAMED}
    if "math" in verifiers and not Path(output).exists():
        from largek.math_answers import number, start_workers  # not at the top: other verifiers need none of it

        if any(number(str(rows[name]["answer"])) is None for name in ids if names[name] == "math"):
            start_workers()
    versions = {name: version(name) for name in verifiers}

    about = json.loads((table.schema.metadata or {}).get(b"largek", b"{}"))
    # Imported answers of which nobody knows how they ended are read: what they say is all there is to go by.
    unsaid = "stop" if "finish" in about.get("unknown", ()) else None
    start = {name: _start(names[name], versions[names[name]], row) for name, row in rows.items()}
    partial = Path(f"{output}.partial")
    known, keys = _read_verdicts(str(partial)) | _read_verdicts(output), []
    if known and not len(table):
        raise InputError(f"{samples}: no answers, though {output} holds verdicts on some: are its samples gone?")
    before, kept, progress = set(known), time.monotonic(), Progress(Path(samples).stem, len(table), "answers")
    unfinished: Counter[tuple[str, str]] = Counter()  # thoughts, by model and task
    # Threads, since a verifier may wait for a worker process.
    threads = ThreadPoolExecutor(most())
    try:
        for batch in table.select(["model", "problem", "text", "finish"]).to_batches(max_chunksize=BATCH):
            new = {}
            for model, problem, text, finish in zip(*(column.to_pylist() for column in batch.columns)):
                text, finish = text or "", unsaid if finish is None else finish
                if answer_in(text) is None:
                    unfinished[model, rows[problem]["task"]] += 1
                keys.append(_key(start[problem], finish, text))
                if keys[-1] not in known:
                    by = names[problem] if names[problem] in own else verifiers[names[problem]]
                    new[keys[-1]] = (by, text, rows[problem], not is_finished(finish))
            works = list(new.items())
            parts = -(-len(works) // SLICE)  # neighbours in different ones: what hangs comes in rows
            for verdicts in threads.map(_judge, [works[first::parts] for first in range(parts)]):
                known.update(verdicts)
            progress.update(len(keys))
            if time.monotonic() - kept > KEEP:
                _write_verdicts(partial, known)
                kept = time.monotonic()
    except BaseException:  # Ctrl-C too: the next command goes on with these
        if known.keys() - before:
            _write_verdicts(partial, known)
        raise
    finally:
        threads.shutdown(wait=False, cancel_futures=True)

    about |= {"verifier": versions} | of
    about |= {"unfinished": [[*key, unfinished[key]] for key in sorted(unfinished)]} if unfinished else {}
    verdicts = [known[key] for key in keys]
    graded = write_grades(Path(output), table.select(CARRIED), verdicts, about, keys)
    partial.unlink(missing_ok=True)
    print("\n".join([summary(graded, sum(key in before for key in keys)), *endless(about)]), flush=True)
    return graded


def _judge(works: list[tuple[str, tuple[Verifier | str, str, dict, bool]]]) -> list[tuple[str, Verdict]]:
    """Keys and their verdicts. A verifier of the user's own is given by its name, and runs in a worker process."""
    found = []
    for by, group in groupby(works, key=lambda work: work[1][0]):
        group = list(group)
        if isinstance(by, str):
            verify = replay(in_worker(by, [(text, row) for _, (_, text, row, truncated) in group if not truncated]))
            found += [(key, judge(verify, *rest)) for key, (_, *rest) in group]
        else:
            found += [(key, judge(*work)) for key, work in group]
    return found


def replay(results: list) -> Verifier:
    """A verifier that gives what one in a worker has given, in the same order, errors too."""
    waiting = iter(results)

    def verify(text: str, problem: dict):
        result = next(waiting)
        if isinstance(result, Exception):
            raise result
        return result

    return verify


def in_worker(name: str, works: list[tuple[str, dict]]) -> list:
    """What a verifier of the user's own says of texts: a Verdict, or the exception that it ended in. What takes more
    than SECONDS of CPU time an answer, or ends its process, gives up."""
    if not works:
        return []
    try:
        results = call(apply, name, works, SECONDS, seconds=SECONDS, prepare=get_ready)
    except RuntimeError as error:
        raise InputError(f"--verifier {name}: {error}") from None
    if results is not None:
        return results
    if len(works) == 1:
        return [Verdict("gave_up")]
    return [result for work in works for result in in_worker(name, [work])]


def get_ready(name: str, works: list, seconds: float) -> None:
    """In a worker: import a verifier."""
    allow(10 * PREPARATION)
    load_verifier(name)


def apply(name: str, works: list[tuple[str, dict]], seconds: float) -> list:
    """In a worker: a verdict or an exception for each text."""
    verify, results = load_verifier(name), []
    for text, problem in works:
        allow(seconds)
        try:
            results.append(verify(text, problem))
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            results.append(
                InputError(f"problem {problem.get('id')!r}: the verifier failed ({' '.join(reason.split())})")
            )
    try:
        pickle.dumps(results)
    except Exception:  # something of the user's own in place of a verdict: its text will do to say so
        results = [each if isinstance(each, Verdict | Exception) else repr(each) for each in results]
    return results


def _write_verdicts(path: Path, known: dict[str, Verdict]) -> None:
    """Keep verdicts beside the file to be made, for the next try."""
    write_table(path, with_verdicts(pa.table({"key": list(known)}), list(known.values())))


def _start(name: str, digest: str, row: Problem):
    """The part of a key that all answers to a problem share: the verifier, its version and the problem's row, the right
    answer in it. How the problem is put to the model and how many samples were asked for change no verdict."""
    judged = {field: value for field, value in row.items() if field not in ("prompt", "samples", "verifier")}
    return hashlib.sha256(json.dumps([name, digest, judged], sort_keys=True, default=str).encode())


def _key(start, finish: str | None, text: str) -> str:
    """First 64 bits, as hexadecimal digits, of a SHA-256 over all that decides a verdict."""
    hashed = start.copy()
    hashed.update(f"\0{finish}\0{text}".encode())
    return hashed.hexdigest()[:16]


def _read_verdicts(path: str) -> dict[str, Verdict]:
    """Verdicts of earlier grades by their keys, without those that gave up. None if there are no such grades, or if
    they are damaged. Raises InputError if a newer largek has made them: they would be lost."""
    try:
        content = Path(path).read_bytes()
        if not as_written(read_log(Path(path).parent), Path(path).name, content):
            return {}
        options = {"columns": ["key", *Verdict._fields], "page_checksum_verification": True}
        table = pq.read_table(pa.BufferReader(content), **options)
        about = json.loads((table.schema.metadata or {}).get(b"largek", b"{}"))
    except (OSError, pa.ArrowException, ValueError):
        return {}
    refuse_newer(about if isinstance(about, dict) else {}, path)
    columns = table.to_pydict()
    if columns.keys() != {"key", *Verdict._fields}:  # of an earlier version
        return {}
    found = zip(*(columns[name] for name in Verdict._fields))
    return {key: Verdict(*each) for key, each in zip(columns["key"], found) if each[0] != "gave_up"}
