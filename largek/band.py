"""`largek band`: problems for reinforcement learning, chosen by pass rate, with a random set of equal size beside.

A group of g answers that are all right or all wrong teaches nothing: its rewards have no variance. Kept are problems

    of whose groups of g more than a share `mixed` are expected to be mixed, by the unbiased estimate
        1 - C(c, g) / C(n, g) - C(n - c, g) / C(n, g)
    from c correct of n answers, which is 0 where all or none are right, and
    whose rate lies between two numbers with a chance of at least `sure`.

Rates are estimates, and what is chosen by them regresses: of problems taken since they seem to be in the middle, fewer
are. So chances and the expected share of mixed groups of the sets are from the posterior of each rate, under weights on
a grid of rates that are fitted to all problems (empirical Bayes; the grid is that of largek/coverage.py).

A row of the output is the problem as the task has it, with `prompt` (what the model was asked) and `band`:
    correct, n     answers
    mixed          the unbiased estimate above; null where g > n
    expected       the posterior expectation of the same
    inside         the posterior chance that the rate lies in the band
"""

import math
import random
from pathlib import Path

import numpy as np
import pandas as pd

from largek.common import InputError, derive_seed, quiet, to_json, write_jsonl
from largek.coverage import BASE_PRIOR, grid_for, likelihood
from largek.grades import count, missing, read_all
from largek.passk import passk_where_enough
from largek.problems import prompt_of
from largek.store import read_problems
from largek.tasks import read_tasks

ROUNDS = 300  # of the fit of the weights


def posteriors(n: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grid of rates, (points,), and the posterior of each problem on it, (problems, points)."""
    rates = grid_for(int(n.max()))
    (pairs, place, sizes) = np.unique(np.stack([n, correct], 1), axis=0, return_inverse=True, return_counts=True)
    fits = likelihood(pairs[:, 0], pairs[:, 1], rates)
    weights = np.full(len(rates), 1 / len(rates))
    for _ in range(ROUNDS):
        shares = fits * weights
        shares /= shares.sum(1, keepdims=True)
        weights = BASE_PRIOR / len(rates) + sizes @ shares
        weights /= weights.sum()
    shares = fits * weights
    return rates, (shares / shares.sum(1, keepdims=True))[place.ravel()]


def measure(counts: pd.DataFrame, group: int, rate: tuple[float, float]) -> pd.DataFrame:
    """`counts` (n, correct) with mixed, expected and inside of a row's `band`; both ends are in the band."""
    n, correct = (counts[name].to_numpy() for name in ("n", "correct"))
    some, every = (passk_where_enough(n, right, np.array([group]))[:, 0] for right in (correct, n - correct))
    rates, chances = posteriors(n, correct)
    inside = (rates >= rate[0] - 1e-12) & (rates <= rate[1] + 1e-12)
    expected = chances @ (1 - rates**group - (1 - rates) ** group)
    mixed = np.maximum(some + every - 1, 0)
    return counts.assign(mixed=mixed, expected=expected, inside=np.minimum(chances @ inside, 1.0))


def choose(measured: pd.DataFrame, mixed: float, sure: float) -> pd.DataFrame:
    """A column `why` for what is left out, empty for what is kept: all wrong, all right, few mixed, outside."""
    uneven = measured["mixed"].fillna(measured["expected"]) <= mixed + 1e-12
    conditions = [measured["correct"] == 0, measured["correct"] == measured["n"], uneven, measured["inside"] < sure]
    return measured.assign(why=np.select(conditions, ["all wrong", "all right", "few mixed", "outside"], ""))


def run(
    grades: str,
    output: str,
    group: int = 8,
    rate: tuple[float, float] = (0.0, 1.0),
    mixed: float = 0.0,
    sure: float = 0.5,
    tasks: list[str] | None = None,
    tasks_file: str | None = None,
    model: str | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
    random_set: str | None = None,
    as_json: bool = False,
) -> pd.DataFrame:
    """The command `largek band`: grades in, a JSONL file of the problems to keep out, and of as many random ones.

    `grades` are a graded store or a file; of a file, `tasks` say what the problems are. The random set is drawn from
    all problems, kept or not, and follows from `seed`. Returns the table of all problems (task, split, problem, n,
    correct, mixed, expected, inside, why); prints how many were kept and why not the others, or with `as_json` one
    JSON object. Raises InputError, also where nothing is kept; nothing is written then.
    """
    if group < 2:
        raise InputError(f"--group {group}: expected 2 answers or more, one alone is never mixed")
    if random_set and Path(random_set).resolve() == Path(output).resolve():
        raise InputError(f"--random {random_set}: expected another file than --output")
    with quiet(as_json):
        frame, asked = read_all([grades], max_tokens)
        models = frame["model"].unique().tolist()
        if model is None and len(models) != 1:
            raise InputError(f"{grades}: expected answers of one model, found {', '.join(models)}; give --model")
        if model is not None and model not in models:
            raise InputError(f"--model {model}: {grades} has answers of {', '.join(models)}")
        counts = count(frame[frame["model"] == (model or models[0])])
        for line in missing(counts, asked):
            print(line)
        rows = problems_of(grades, tasks, tasks_file, counts)
        table = choose(measure(counts, group, rate), mixed, sure)
        kept = table[table["why"] == ""]
        if kept.empty:
            reasons = ", ".join(f"{size} {why}" for why, size in table["why"].value_counts().items())
            raise InputError(f"{grades}: no problem of {len(table)} is kept ({reasons}); widen --rate or lower --sure")
        drawn = random.Random(derive_seed("band", seed)).sample(range(len(table)), len(kept))
        other = table.iloc[sorted(drawn)]
        write_jsonl(output, made(kept, rows))
        if random_set:
            write_jsonl(random_set, made(other, rows))
    summary = {"problems": len(table), "kept": len(kept), "group": group, "rate": list(rate)}
    summary |= {"left_out": table.loc[table["why"] != "", "why"].value_counts().to_dict()}
    sets = {"kept": kept, "random": other, "all": table}
    summary |= {"expected_mixed": {name: float(part["expected"].mean()) for name, part in sets.items()}}
    summary |= {"inside": {name: float(part["inside"].mean()) for name, part in sets.items()}}
    print(to_json(summary) if as_json else show(summary, output, random_set))
    return table


def problems_of(grades: str, tasks: list[str] | None, tasks_file: str | None, counts: pd.DataFrame) -> dict:
    """Rows of problems by task, split and id. Raises InputError on a graded problem that is not among them."""
    if tasks is None and not Path(grades).is_dir():
        raise InputError(f"{grades}: a file of grades does not hold the problems, give --tasks")
    found = read_tasks(tasks, tasks_file) if tasks else read_problems(Path(grades))
    rows = {(row["task"], row["split"], row["id"]): row for row in found}
    wanted = counts[["task", "split", "problem"]].itertuples(index=False, name=None)
    if strange := [key for key in wanted if key not in rows]:
        where = f"--tasks {' '.join(tasks)}" if tasks else grades
        raise InputError(f"{where}: {len(strange)} graded problems are not there, such as {strange[0][-1]!r}")
    return rows


def made(part: pd.DataFrame, rows: dict) -> list[dict]:
    """Rows of the output."""
    out = []
    for own in part.itertuples():
        row = {key: value for key, value in rows[own.task, own.split, own.problem].items() if key != "samples"}
        about = {"correct": int(own.correct), "n": int(own.n), "mixed": None if math.isnan(own.mixed) else own.mixed}
        about |= {"expected": own.expected, "inside": own.inside}
        out.append(row | {"prompt": prompt_of(row), "band": about})
    return out


def show(found: dict, output: str, random_set: str | None) -> str:
    reasons = ", ".join(f"{size} {why}" for why, size in found["left_out"].items()) or "none"
    lines = [f"{output}: {found['kept']} of {found['problems']} problems; left out: {reasons}"]
    if random_set:
        lines.append(f"{random_set}: {found['kept']} random problems")
    shares = found["expected_mixed"]
    lines.append(
        f"Mixed groups of {found['group']}, expected: {shares['kept']:.1%} of these problems, {shares['random']:.1%} "
        f"of the random ones, {shares['all']:.1%} of all."
    )
    low, high = found["rate"]
    if (low, high) != (0, 1):
        lines.append(f"Rates from {low:g} to {high:g}: {found['inside']['kept']:.1%} of these problems, expected.")
    return "\n".join(lines)
