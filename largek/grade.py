"""`largek grade`: a verdict on every answer of a file of samples. Touches no sample and needs no model."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from largek.common import InputError, Progress, whole_file
from largek.sample import read_problems
from largek.verify import Verdict, judge, load_verifier

# what is carried over from the samples, so that tables are made from grades alone
CARRIED = ["model", "task", "split", "problem", "sample", "tokens", "entropy"]


def run(samples: str, problems: list[str], output: str, verifier: str) -> None:
    """Grade the samples of one parquet file. Raises InputError on a problem that is not in `problems`."""
    sys.path.insert(0, "")  # module:function may name a file of the working directory
    verify = load_verifier(verifier)
    by_id = {row["id"]: row for row in read_problems(problems)}
    try:
        table = pq.read_table(samples)
    except FileNotFoundError:
        raise InputError(f"{samples}: no such file") from None
    except pa.ArrowInvalid as error:
        raise InputError(f"{samples}: expected samples in parquet ({error})") from None

    missing = [name for name in (*CARRIED, "text", "finish") if name not in table.column_names]
    if missing:
        raise InputError(f"{samples}: expected the column {missing[0]!r}, found {', '.join(table.column_names)}")
    answers = list(zip(table["problem"].to_pylist(), table["text"].to_pylist(), table["finish"].to_pylist()))
    strange = set(table["problem"].unique().to_pylist()) - by_id.keys()
    if strange:
        raise InputError(f"{samples}: the problem {min(strange)!r} is not in {', '.join(problems)}")
    different, memo = list(dict.fromkeys(answers)), {}
    progress = Progress(Path(output).stem, len(different), "different answers")

    def verdict(answer: tuple[str, str, str]) -> Verdict:
        problem, text, finish = answer
        return judge(verify, text, by_id[problem], finish == "length")

    # Threads, since a verifier may wait for a worker process; they keep the order.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for done, (answer, found) in enumerate(zip(different, threads.map(verdict, different)), 1):
            memo[answer] = found
            progress.update(done)
    verdicts = [memo[answer] for answer in answers]

    graded = table.select(CARRIED)
    graded = graded.append_column("outcome", pa.array([v.outcome for v in verdicts], pa.string()))
    graded = graded.append_column("extracted", pa.array([v.extracted for v in verdicts], pa.string()))
    graded = graded.append_column("sound", pa.array([v.sound for v in verdicts], pa.bool_()))
    with whole_file(output) as temporary:
        pq.write_table(graded, temporary, compression="zstd")
