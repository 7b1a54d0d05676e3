"""`largek grade --verifier recorded`: grades by the verdicts that came with imported samples.

recorded.parquet of a store holds what other judges said: a row for a problem, a sample and a judge, with the score and
what the judge read as the answer, null where it does not say. A score is a verdict where it is 1 or 0, or where it is
said from which score on an answer is right: `recorded:JUDGE:FROM`. Answers without a score of that judge are left out.
"""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from largek.checksums import LOG, as_written, read_log
from largek.common import InputError, damaged
from largek.formats import refuse_newer
from largek.grade_file import CARRIED, summary, write_grades
from largek.store import digest_of_problems, read_samples
from largek.verify import Verdict

RECORDED = "recorded.parquet"
SCHEMA = pa.schema(
    [
        ("problem", pa.string()),
        ("sample", pa.int32()),
        ("judge", pa.string()),
        ("score", pa.float64()),
        ("read", pa.string()),
    ]
)


def read_recorded(store: Path) -> pa.Table:
    """What other judges said. Raises InputError where there is nothing of the kind, DamagedStore."""
    path = store / RECORDED
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{store}: has no recorded verdicts; only a store made by `largek import` may") from None
    try:
        if not as_written(read_log(store), RECORDED, content):
            raise OSError(f"not as {LOG} has it")
        about = json.loads((pq.read_schema(pa.BufferReader(content)).metadata or {}).get(b"largek", b"{}"))
        refuse_newer(about, path)
        return pq.read_table(pa.BufferReader(content), schema=SCHEMA, page_checksum_verification=True)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise damaged(path, error, "import the samples again into another --store") from None


def chosen(verifier: str, judges: list[str], where: Path) -> tuple[str, float | None]:
    """The judge that `recorded`, `recorded:JUDGE` or `recorded:JUDGE:FROM` names, and from which score on an answer is
    right. Raises InputError."""
    named = verifier.partition(":")[2]
    every = ", ".join(f"recorded:{judge}" for judge in judges) or "none"
    if not named:
        if len(judges) != 1:
            raise InputError(f"{where}: expected --verifier to name one of its judges: {every}")
        return judges[0], None
    judge, _, threshold = named.rpartition(":")
    if named in judges:
        return named, None
    try:
        if judge in judges and math.isfinite(float(threshold)):
            return judge, float(threshold)
    except ValueError:
        pass
    raise InputError(f"--verifier {verifier}: expected one of {every}, or with :FROM behind it, of {where}")


def run(samples: str, verifier: str, output: str | None = None) -> pa.Table:
    """Grade a store by what it has recorded; write the grades (default: the store's grades.parquet) and return them.

    The columns are those of `largek.grade.run`, without `key`: nothing is to be reused of verdicts that are read. What
    a judge read is what the answer votes for; where it never says, maj@k is unknown. Raises InputError.
    """
    folder = Path(samples)
    recorded = read_recorded(folder)
    judges = recorded["judge"].unique().to_pylist()
    judge, threshold = chosen(verifier, judges, folder)
    table, verdicts = read_samples(samples), {}
    for row in recorded.to_pylist():
        if row["judge"] == judge:
            verdicts[row["problem"], row["sample"]] = outcome(row, threshold, verifier, folder), row["read"]
    found = [verdicts.get(key) for key in zip(table["problem"].to_pylist(), table["sample"].to_pylist())]
    graded = table.select(CARRIED).filter(pa.array([each is not None for each in found]))
    verdicts = [Verdict(each[0], each[1], None, each[1]) for each in found if each is not None]
    about = json.loads(table.schema.metadata[b"largek"])
    voteless = ["vote"] if all(verdict[1] is None for verdict in verdicts) else []
    about["unknown"] = [*about.get("unknown", []), "finish", *voteless]  # a verdict counts, however the answer ended
    about |= {"verifier": {verifier: judge}, "problems": digest_of_problems(folder), "records": len(table)}
    graded = write_grades(Path(output or folder / "grades.parquet"), graded, verdicts, about)
    print(summary(graded), flush=True)
    if left := len(table) - len(graded):
        print(f"{folder}: {left} of {len(table)} answers have no verdict by {judge} and are left out", flush=True)
    return graded


def outcome(row: dict, threshold: float | None, verifier: str, store: Path) -> str:
    """The outcome of a score. Raises InputError where it is neither right nor wrong."""
    score = row["score"]
    if threshold is not None:
        return "correct" if score >= threshold else "wrong"
    if score not in (0.0, 1.0):
        where = f"{store}, problem {row['problem']}, sample {row['sample']}"
        hint = f"say from which score on an answer is right, such as --verifier {verifier}:{score:g}"
        raise InputError(f"{where}: expected a verdict of {row['judge']}, 1 or 0, got {score:g}; {hint}")
    return "correct" if score else "wrong"
