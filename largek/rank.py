"""`largek rank`: from model folders, or stores of their answers, to the checkpoint to take to RL.

The recipe is that of arXiv 2510.01624: drop candidates with low accuracy *and* high held-out loss, rank the rest by
pass@large-k. The paper gives no thresholds; here low accuracy is a pass@1 below the median of all candidates, and high
loss is a loss per token above the median, so nothing is dropped without held-out examples. Both are noisy, so the
recipe is applied to resampled data, and what it picks most often comes first.
"""

import contextlib
import hashlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from largek import grade
from largek.common import InputError, clock, damaged, derive_seed, digest, quiet, records, write_csv, write_json
from largek.formats import made_by, refuse_newer
from largek.grades import count, read_all, read_grades
from largek.intervals import mean_interval, size_of_pairs
from largek.loss import read_examples
from largek.model_files import content
from largek.passk import passk
from largek.settle import SURE, advise, sentence
from largek.store import PROBLEMS, SETTINGS
from largek.tasks import read_tasks
from largek.verify import load_verifier

UNLIKE = 1.1  # times as much training, or as long answers, as another candidate: marked
OPEN = 0.05  # share of draws from which it is open whether a candidate is dropped
RESAMPLES = 2000
EVIDENCE = (
    "Evidence for the recipe: arXiv 2510.01624 reports that held-out loss and pass@large-k predict the score after "
    "GRPO better than pass@1 does, for models of 4 to 12 billion parameters on mathematics. In the study of this "
    "repository (8 base models of 0.34 million parameters, 28 recipes each) the rank correlation with the score is "
    "0.92 for pass@1 and 0.51 for pass@64 after 20 steps of RL; after 320 it is 0.66 for pass@1, 0.73 for pass@64 "
    "(difference 0.06 [-0.18, 0.30]) and 0.77 for minus the held-out loss (difference 0.11 [-0.12, 0.34]). So the "
    "longer RL will be, the larger the k to choose by."
)


def resample_weights(strata: np.ndarray, resamples: int, seed: object) -> np.ndarray:
    """Weights of a bootstrap over problems within tasks: (resamples, problems), each row summing to 1.

    Every task keeps its number of problems and counts the same, so a row applied to per-problem values is one draw of
    the unweighted mean over tasks.
    """
    rng = np.random.default_rng(derive_seed("bootstrap", seed))
    names, task_of = np.unique(strata, return_inverse=True)
    weights = np.zeros((resamples, len(strata)))
    for task in range(len(names)):
        members = np.flatnonzero(task_of == task)
        size = len(members)
        weights[:, members] = rng.multinomial(size, np.full(size, 1 / size), size=resamples) / size / len(names)
    return weights


def draw_scores(values: np.ndarray, strata: np.ndarray, seed: object) -> np.ndarray:
    """Scores of models, (models, RESAMPLES), on drawn sets of problems, from values of (models, problems).

    All models are drawn on the same problems. What a bootstrap of few problems lacks is added, so that the difference
    of two models varies as its interval in intervals.py says: noise for the pseudo-pairs, and Student's t.
    """
    weights = resample_weights(strata, RESAMPLES, seed)
    rng = np.random.default_rng(derive_seed("pseudo-pairs", seed))
    names, sizes = np.unique(strata, return_counts=True)
    noise = np.zeros((len(values), RESAMPLES))
    for name, size in zip(names, sizes):
        part = values[:, strata == name]
        unlike = [[size_of_pairs(one - two) for two in np.delete(part, place, 0)] for place, one in enumerate(part)]
        each = np.mean(unlike, 1)[:, None] / np.sqrt(size * (size + 2)) / len(names)  # exact for two models
        noise += each * rng.standard_normal(noise.shape)
    plain = (1 / sizes / len(sizes))[np.searchsorted(names, strata)]
    score = (values @ plain)[:, None]
    freedom = len(strata) + len(names)
    return score + (values @ weights.T - score + noise) / np.sqrt(rng.chisquare(freedom, RESAMPLES) / freedom)


def rank(counts: pd.DataFrame, k: int, losses: dict[str, dict] | None = None, seed: object = 0) -> pd.DataFrame:
    """The table of candidates, the likeliest first.

    `counts` has one row a model and problem (see `largek.grades.count`); `losses` has per_token and per_token_se in
    nats by model. Scores are unweighted means over tasks with 95 % intervals over problems. The whole recipe is applied
    to each of many resampled sets of problems, the same for all models, with losses drawn from their standard errors:
    `dropped` is the share of draws in which a model is dropped, `best` the share in which it is not and has the highest
    pass@k. Raises InputError unless all models have answers to the same problems, at least k each.
    """
    keys = ["task", "split", "problem"]
    groups = counts.sort_values(keys).groupby("model", sort=False)
    tables = {model: rows.reset_index(drop=True) for model, rows in groups}
    first = next(iter(tables.values()))
    for model, rows in tables.items():
        if not rows[keys].equals(first[keys]):
            raise InputError(f"{model}: expected answers to the same problems as {first['model'].iloc[0]}")
        if rows["n"].min() < k:
            raise InputError(f"{model}: k = {k} is more than the n = {rows['n'].min()} samples there are")
    strata = (first["task"] + "\x1f" + first["split"]).to_numpy()
    if np.unique(strata, return_counts=True)[1].min() < 2:
        raise InputError("expected at least two problems a task: the spread of one is unknown")

    rng, rows = np.random.default_rng(derive_seed("rank losses", seed)), []
    drawn_losses, curves = np.empty((len(tables), RESAMPLES)), []
    for number, (model, table) in enumerate(tables.items()):
        row = {"model": model}
        curves.append(passk(table["n"].to_numpy(), table["correct"].to_numpy(), np.array([1, k])))
        for name, *cells in zip(("pass@1", f"pass@{k}"), *mean_interval(curves[-1], strata)):
            row |= dict(zip((name, f"{name}_lo", f"{name}_hi"), cells))
        loss = (losses or {}).get(model) or {}
        if losses and not loss:
            raise InputError(
                f"{model}: its held-out loss is missing, others have one: measure it or leave the model out"
            )
        if loss and None in (loss.get("per_token"), loss.get("per_token_se")):
            raise InputError(
                f"{model}: expected the loss of two held-out examples or more: the spread of one is unknown"
            )
        if not all(math.isfinite(value) for value in (loss.get("per_token", 0.0), loss.get("per_token_se", 0.0))):
            raise InputError(f"{model}: its loss is {loss['per_token']}: it has diverged in training; leave it out")
        row |= {"loss": loss.get("per_token"), "loss_se": loss.get("per_token_se")}
        drawn_losses[number] = rng.normal(row["loss"] or 0, row["loss_se"] or 0, RESAMPLES)
        rows.append(row | {"truncated": (table["truncated"] / table["n"]).groupby(strata).mean().mean()})
    accuracy, large = (draw_scores(np.array(curves)[:, :, place], strata, ("rank", seed)) for place in (0, 1))
    dropped = (accuracy < np.median(accuracy, 0)) & (drawn_losses > np.median(drawn_losses, 0))
    kept = np.where(dropped, -np.inf, large)
    result = pd.DataFrame(rows).astype({"loss": float, "loss_se": float})
    result["dropped"], result["best"] = dropped.mean(1), (kept == kept.max(0)).mean(1)
    return result.sort_values(["best", f"pass@{k}"], ascending=False, ignore_index=True)


def verdict(table: pd.DataFrame, k: int) -> str:
    """One plain sentence: which candidate to take, or which ones the data cannot tell apart."""
    enough = int((table["best"].cumsum() < SURE - 1e-9).sum()) + 1
    names = table["model"].iloc[:enough].tolist()
    if enough == 1:
        return f"Take {names[0]}: the recipe picks it in {table['best'].iloc[0]:.0%} of resampled sets of problems."
    return (
        f"The data cannot tell {', '.join(names[:-1])} and {names[-1]} apart: only together are they what the recipe "
        f"picks in {SURE:.0%} of resampled sets of problems."
    )


def settle(counts: pd.DataFrame, table: pd.DataFrame, k: int) -> tuple[dict | None, list[str]]:
    """What would tell the two likeliest candidates apart, as numbers and in sentences; None and nothing where one is
    taken."""
    if table["best"].iloc[0] >= SURE - 1e-9:
        return None, []
    names = table["model"].iloc[:2].tolist()
    keys = ["task", "split", "problem"]
    sides = [counts[counts["model"] == name].sort_values(keys, ignore_index=True) for name in names]
    advice = advise(*sides, k)
    sentences = [sentence(advice, *names, k, len(sides[0]), int(min(side["n"].min() for side in sides)))]
    unsure = [name for name, share in zip(names, table["dropped"]) if OPEN < share < 1 - OPEN]
    if unsure:
        who = f"Whether the recipe drops {' or '.join(unsure)} is open too"
        sentences.append(f"{who}: that takes more held-out examples, or more problems.")
    return {"first": names[0], "second": names[1]} | advice._asdict(), sentences


def training_of(model: str) -> tuple[str, int] | None:
    """How long a checkpoint was trained, by the records with it: tokens or else steps of the `trainer_state.json` that
    transformers and TRL leave in a checkpoint, or tokens of `run.json` beside it. None where there are none."""
    state, record = Path(model, "trainer_state.json"), Path(model).parent / "run.json"
    for path, name in ((state, "num_input_tokens_seen"), (state, "global_step"), (record, "tokens")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not there, or not what it seems
            if (size := int(json.loads(path.read_bytes())[name])) > 0:
                return "steps" if name == "global_step" else "tokens", size
    return None


def unlike(models: list[str], lengths: dict[str, float]) -> list[str]:
    """Sentences that mark candidates of unlike budget: how long they were trained, how long their answers are.

    `lengths` are mean tokens of an answer, NaN where the engine reports none; candidates without a record of their
    training are not compared in it.
    """
    known = {model: found for model in models if (found := training_of(model))}
    lines = []
    for unit in ("tokens", "steps"):
        lines += spread({model: size for model, (kind, size) in known.items() if kind == unit}, f"{unit} of training")
    return lines + spread({model: size for model, size in lengths.items() if math.isfinite(size)}, "tokens an answer")


def spread(sizes: dict[str, float], what: str) -> list[str]:
    if not sizes or max(sizes.values()) <= UNLIKE * min(sizes.values()):
        return []
    each = ", ".join(f"{model} {size:,.0f}" for model, size in sorted(sizes.items(), key=lambda pair: pair[1]))
    return [f"Unlike budgets: the best need not be the best at equal cost; {what}: {each}."]


def run(
    models: list[str],
    tasks: list[str] | None = None,
    stores: str | None = None,
    *,
    samples: int | None = None,
    examples: str | None = None,
    verifier: str | None = None,
    k: int | None = None,
    prompt: str | None = None,
    chat_template: bool | None = None,
    tasks_file: str | None = None,
    as_json: bool = False,
    **sampling,
) -> pd.DataFrame:
    """Sample, grade and, with `examples`, measure the loss of every model; print and return the table of `rank`.

    `stores` is a folder that gets a store a model, its loss, and rank.csv. A run that was stopped goes on. Each model
    has a process of its own, which gives its memory back. `samples` is 64 if it is not given, `k` half of `samples`;
    `sampling` is as in `largek.sample.run`. A model folder that holds failed.json is left out.

    In place of models, `models` may be stores whose answers are there (see `of_stores`): nothing is sampled, `tasks`
    and `examples` are not given, `samples` is as many as every problem has, and rank.csv is written if `stores` is
    given. With `as_json` all that is printed on standard output is one JSON object. Raises InputError.
    """
    asked = {"prompt": prompt, "chat_template": chat_template}
    with quiet(as_json):
        table, result = ranked(models, tasks, stores, samples, examples, verifier, k, tasks_file, asked, sampling)
    if as_json:
        print(json.dumps(result))
    return table


def ranked(
    models: list[str],
    tasks: list[str] | None,
    stores: str | None,
    samples: int | None,
    examples: str | None,
    verifier: str | None,
    k: int | None,
    tasks_file: str | None,
    asked: dict,
    sampling: dict,
) -> tuple[pd.DataFrame, dict]:
    """The work of `run`; `asked` are its prompt and chat_template. Returns the table, and what is printed as JSON."""
    failed = [model for model in models if Path(model, "failed.json").exists()]
    models = [model for model in models if model not in failed]
    if len({str(Path(model)) for model in models}) < max(2, len(models)):
        raise InputError("expected two or more different checkpoints with weights")
    start, held = time.monotonic(), [is_store(model) for model in models]
    if any(held):
        if not all(held):
            raise InputError(f"{models[held.index(False)]}: expected a store, as {models[held.index(True)]} is one")
        if tasks or examples:
            raise InputError(f"{models[0]}: of stores the answers are there: leave --tasks and --examples out")
        counts, losses, grades = of_stores(models, samples, verifier)
        samples = samples or int(counts["n"].min())
        k = k or max(1, samples // 2)
    else:
        if not (tasks and stores):
            raise InputError("--tasks and --stores are needed where checkpoints are models and not stores")
        samples = samples or 64
        k = k or max(1, samples // 2)
        if k > samples:
            raise InputError(f"--k {k} is more than --samples {samples}")
        given = (samples, examples, verifier, tasks_file, asked, sampling)
        counts, losses, grades = of_models(models, tasks, stores, *given)
    table = rank(counts, k, losses)
    if stores:
        Path(stores).mkdir(parents=True, exist_ok=True)
        write_csv(Path(stores, "rank.csv"), table, digits=None)
    advice, lines = settle(counts, table, k)
    marks = unlike(models, grades.groupby("model")["tokens"].mean().astype(float).to_dict())
    tokens = grades["tokens"].sum()
    print("\n".join([f"\n{show(table, k)}\n", verdict(table, k), *lines, *marks]))
    if losses:
        print("Dropped are candidates with pass@1 below and loss above the median of all.")
    elif any(held):
        print("Nothing was dropped: that takes a loss.json in every store (largek loss --output STORE/loss.json).")
    else:
        print("Nothing was dropped: that takes held-out examples (--examples).")
    if failed:
        print(f"Left out, since their training failed: {', '.join(failed)}.")
    print(f"Cost: {tokens:,.0f} sampled tokens in all; {clock(time.monotonic() - start)} this time.")
    print(EVIDENCE)
    result = {"candidates": records(table), "k": k, "verdict": verdict(table, k), "settle": advice, "unlike": marks}
    return table, made_by() | result | {"failed": failed, "sampled_tokens": int(tokens)}


def of_models(
    models: list[str],
    tasks: list[str],
    stores: str,
    samples: int,
    examples: str | None,
    verifier: str | None,
    tasks_file: str | None,
    asked: dict,
    sampling: dict,
) -> tuple[pd.DataFrame, dict[str, dict], pd.DataFrame]:
    """Counts, losses and grades of models, sampled and measured as far as that is still to be done."""
    rows = read_tasks(tasks, tasks_file, asked["prompt"])
    for row in rows:
        if not (verifier or row.get("verifier")):
            raise InputError(f"the task {row['task']!r} names no verifier: give --verifier")
    for name in {verifier or row["verifier"] for row in rows}:
        load_verifier(name)
    if examples:
        read_examples(examples)
    counts, losses, grades = [], {}, []
    for model in models:
        store = Path(stores, f"{Path(model).name}-{hashlib.sha256(model.encode()).hexdigest()[:8]}")
        command = ["sample", "--model", model, "--tasks", *tasks, "--samples", samples, "--store", store]
        largek(*command, *options({"tasks_file": tasks_file} | asked | sampling))
        grade.run(str(store), None, None, verifier)
        frame = read_grades(str(store))
        frame = frame[frame["problem"].isin({row["id"] for row in rows}) & (frame["sample"] < samples)]
        counts.append(count(frame))
        grades.append(frame[["model", "tokens"]])
        if examples:
            losses[model] = measure_loss(model, examples, store / "loss.json", asked)
    return pd.concat(counts), losses, pd.concat(grades)


def is_store(path: str) -> bool:
    return Path(path, SETTINGS).exists() and Path(path, PROBLEMS).exists()


def of_stores(
    stores: list[str], samples: int | None, verifier: str | None
) -> tuple[pd.DataFrame, dict[str, dict], pd.DataFrame]:
    """Counts, losses and grades of stores, their first `samples` answers to each problem.

    A store that is not graded is, one that is graded is with another verifier alone. Losses are those of `loss.json` in
    the stores, which `largek loss` writes there for one file of examples; a model's answers may have no loss, or all.
    """
    for store in stores:
        if verifier or not Path(store, "grades.parquet").exists():
            grade.run(store, None, None, verifier)
    frame, _ = read_all(stores)
    if samples:
        frame = frame[frame["sample"] < samples]
    models = [read_grades(store, ["model"])["model"] for store in stores]
    if empty := [store for store, found in zip(stores, models) if found.empty]:
        raise InputError(f"{empty[0]}: expected at least one answer")
    names = [found.iloc[0] for found in models]
    losses = {name: loss for name, store in zip(names, stores) if (loss := stored_loss(Path(store, "loss.json")))}
    return count(frame), losses, frame[["model", "tokens"]]


def stored_loss(path: Path) -> dict | None:
    """The loss in a file that `largek loss` or `largek rank` has written; None if there is no such file."""
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, f"measure it again: largek loss --output {path}") from None
    try:
        refuse_newer(found, path)
        losses = [found["loss"]] if "loss" in found else list(found["losses"].values())
        if len(losses) == 1 and {"per_token", "per_token_se"} <= losses[0].keys():
            return losses[0]
    except (KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"{path}: expected the loss on one file of examples, as `largek loss` writes it")


def measure_loss(model: str, examples: str, output: Path, asked: dict) -> dict:
    """The loss of a model on one file of examples; measured anew only if model, examples or prompt changed."""
    about = {"model": content(model) if Path(model).is_dir() else model, "examples": digest(Path(examples))} | asked
    with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):  # not there, or damaged
        found = json.loads(output.read_bytes())
        if found.get("about") == about:
            return found["loss"]
    largek("loss", "--model", model, "--examples", examples, "--output", output, *options(asked))
    loss = json.loads(output.read_bytes())["losses"][Path(examples).stem]
    write_json(output, {"about": about, "loss": loss} | made_by())
    return loss


def options(values: dict) -> list[str]:
    """Command-line options from keyword arguments; those that are None are left out."""
    words = []
    for key, value in values.items():
        option = f"--{key.replace('_', '-')}"
        if key == "template":
            words += [f"{option}={name}={json.dumps(each)}" for name, each in dict(value or {}).items()]
        elif isinstance(value, dict):
            words.append(f"{option}={json.dumps(value)}")
        elif key == "few_shot" and value:
            words += [option, *map(str, value)]
        elif isinstance(value, list | tuple):  # texts, which may begin with a dash
            words += [f"{option}={each}" for each in value]
        elif value is not None:
            words.append(f"{option}={('no', 'yes')[value] if isinstance(value, bool) else value}")
    return words


def largek(*arguments: object) -> None:
    """Run a command of largek in a process of its own. It has said what is wrong if it fails."""
    where = sys.stderr if sys.stdout is sys.stderr else None  # standard output is a machine's then
    done = subprocess.run([sys.executable, "-m", "largek", *map(str, arguments)], stdout=where)
    if done.returncode:
        named = arguments[arguments.index("--model") + 1]
        raise InputError(
            f"{named}: largek {arguments[0]} failed, see above; mend it or leave it out: what is stored stays"
        )


def show(table: pd.DataFrame, k: int) -> str:
    """The table for reading."""

    def interval(name: str) -> list[str]:
        return [f"{row[name]:.3f} [{row[f'{name}_lo']:.3f}, {row[f'{name}_hi']:.3f}]" for _, row in table.iterrows()]

    columns = {"checkpoint": table["model"], f"pass@{k}": interval(f"pass@{k}"), "pass@1": interval("pass@1")}
    if table["loss"].notna().any():
        columns["loss"] = [f"{row.loss:.4f} ± {1.96 * row.loss_se:.4f}" for row in table.itertuples()]
    columns |= {"truncated": [f"{share:.1%}" for share in table["truncated"]]}
    columns |= {name: [f"{share:.0%}" for share in table[name]] for name in ("dropped", "best")}
    return pd.DataFrame(columns).to_string(index=False)
