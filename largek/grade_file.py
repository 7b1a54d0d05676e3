"""Files of grades as they are written, by `largek grade` and from recorded verdicts: a row an answer with the columns
CARRIED, then a `Verdict`. The metadata `largek` hold JSON with what the samples say of themselves, `verifier` (name and
version of each), what made the file (see `largek.formats`), and either `tasks` (names, and digests of those that are
files) or, of a store, `problems` and `records`, by which it is noticed that the store has changed since.
"""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from largek.checksums import listed_file
from largek.common import whole_file
from largek.formats import made_by
from largek.store import PROBLEMS, SETTINGS
from largek.verify import OUTCOMES, Verdict

# what is carried over from the samples, so that tables are made from grades alone
CARRIED = ["model", "task", "split", "problem", "sample", "tokens", "entropy"]
TYPES = dict(zip(Verdict._fields, (pa.string(), pa.string(), pa.bool_(), pa.string())))


def write_grades(path: Path, graded: pa.Table, verdicts: list[Verdict], about: dict, keys: list[str] | None = None):
    """Write, and return, the table of the rows `graded` with their verdicts, and where there are some their `keys`."""
    graded = with_verdicts(graded, verdicts)
    if keys is not None:
        graded = graded.append_column("key", pa.array(keys, pa.string()))
    graded = graded.replace_schema_metadata({"largek": json.dumps(about | made_by(), sort_keys=True)})
    write_table(path, graded)
    return graded


def with_verdicts(table: pa.Table, verdicts: list[Verdict]) -> pa.Table:
    for place, (name, column_type) in enumerate(TYPES.items()):
        table = table.append_column(name, pa.array([verdict[place] for verdict in verdicts], column_type))
    return table


def write_table(path: Path, table: pa.Table) -> None:
    with made_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def made_file(path: Path):
    """`whole_file`, with a checksum where it lies in a store."""
    in_store = (path.parent / SETTINGS).exists() and (path.parent / PROBLEMS).exists()
    return listed_file(path.parent, path.name) if in_store else whole_file(path)


def summary(graded: pa.Table, reused: int = 0) -> str:
    """A line a model: how many answers, and how many of each outcome. `reused` verdicts are said to be from before."""
    count, lines = Counter(zip(graded["model"].to_pylist(), graded["outcome"].to_pylist())), []
    for model in graded["model"].unique().to_pylist():
        parts = ", ".join(f"{count[model, outcome]} {outcome.replace('_', ' ')}" for outcome in OUTCOMES)
        lines.append(f"{model}: {sum(count[model, outcome] for outcome in OUTCOMES)} answers: {parts}")
    if reused:
        lines[-1] += f" ({reused} graded before)"
    return "\n".join(lines) or "0 answers"


def endless(about: dict) -> list[str]:
    """A line for each model and task of a file of grades with thoughts that have no end, from what the file says of its
    making."""
    lines = []
    for model, task, number in about.get("unfinished", []):
        lines.append(f"{model}, {task}: {number} {'answers have' if number > 1 else 'answer has'} no end of thinking")
    return lines
