"""`largek report`: one HTML page about graded stores, to be opened in a browser without a network.

The page is report.html with report.css and report.js in it, and the data, which the script draws:

    summary   counts of all samples, the curves of `largek.passk`, the problems, and a table of the samples with texts
              with `training`, what `largek.callback` measured while models trained
    texts     what the models wrote, in shards: of MOST samples at most, each of LONGEST characters at most

Texts are data. They are embedded as JSON, compressed, in base64, so there is no letter in them that HTML could read;
the script shows them as text nodes; and the page's Content-Security-Policy allows its own script and style by their
hashes and nothing else, no network either. The same stores give the same bytes.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from largek.common import InputError, Progress, derive_seed, read_jsonl, records, whole_file
from largek.coverage import KEYS, coverage
from largek.formats import refuse_newer
from largek.grade_file import endless
from largek.grades import COUNT_COLUMNS, count, lacking, missing, read_all, read_grades, read_settings, stale, unknown
from largek.passk import estimate, majority, without_unknown
from largek.problems import Problem
from largek.store import each_chunk
from largek.store import read_problems as store_problems
from largek.store import read_settings as store_settings
from largek.verify import OUTCOMES

MOST = 12_000  # samples whose texts are in the page: it opens in a second or two, and is searched in a tenth of one
LONGEST = 8_000  # characters of a text that are in the page: half of them from its beginning, half from its end
SHORT = 300  # the same, of what was read as an answer
SHARD = 2_000_000  # characters that the browser unpacks at a time
CURVE = 60  # ks of a curve, about
BINS = 40  # of the histograms
SWEEPS = 500  # of `largek coverage`, which takes more

# of a store's settings, how its samples were made
SETTINGS = ("engine", "temperature", "top_p", "max_tokens", "seed", "chat_template")
# and what stores have only where it is not as it always was
OTHERS = ("top_k", "min_p", "repetition_penalty", "stop", "system", "few_shot", "template", "extra_body")
SAMPLE = [*COUNT_COLUMNS, "sample"]


def run(stores: list[str], output: str = "report.html", training: list[str] | None = None) -> None:
    """The command `largek report`: graded stores in, one HTML page out; `training` are files of `largek.callback`,
    drawn over steps, with stores or without.

    A model may have several stores, of different problems, and stores may hold different problems: the table of
    problems has gaps then. Raises InputError where a folder is no store or not graded, an answer is there twice, as
    when two models have one name, or problems with the same task, split and id are not the same.
    """
    trainings = [read_training(path) for path in training or []]
    if not stores:
        if not trainings:
            raise InputError("expected a graded store, or --training and a file of largek.callback")
        write_page(output, {"models": [], "training": trainings}, [])
        print(f"{output}: trainings: {len(trainings)}; {address(output)}", flush=True)
        return
    for store in stores:
        if not Path(store, "settings.json").exists():
            raise InputError(f"{store}: expected a store made by `largek sample --store` (it has no settings.json)")
    grades, asked = read_all(stores)
    if grades.empty:
        raise InputError(f"{', '.join(stores)}: expected at least one answer")
    models = {name: place for place, name in enumerate(grades["model"].unique())}
    counts, problems = count(grades), read_problems(stores, grades)
    chosen = choose(grades, problems, models, MOST)
    texts, finish = read_texts(stores, chosen)
    longest = int(grades["tokens"].fillna(0).max())
    width = longest // BINS + 1
    edges = np.arange(longest // width + 2) * width
    held = {"all": len(grades), "texts": len(chosen), "most": MOST, "rounds": int(chosen["round"].max()) + 1}
    held |= {"longest": LONGEST, "short": SHORT, "clipped": sum(isinstance(text, list) for text in texts)}
    summary = {
        "models": list(models),
        "training": trainings,
        "outcomes": OUTCOMES,
        "stores": [about(store) for store in stores],
        "notes": [*chain.from_iterable(map(stale, stores)), *missing(counts, asked)],
        "thoughts": list(chain.from_iterable(endless(read_settings(store)) for store in stores)),
        "lacking": [*chain.from_iterable(map(lacking, stores))],
        "held": held,
        "bin": width,
        "curves": list(curves(grades, counts, asked, models, stores)),
        "groups": list(groups(grades, models, edges)),
        "coverage": lost_and_gained(counts, models),
        "problems": table_of_problems(problems, counts, models),
        "samples": table_of_samples(chosen) | {"finish": finish},
    }
    size = write_page(output, summary, shards(texts)) / 1e6
    counted = f"models: {len(models)}, problems: {len(problems):,}, samples: {len(grades):,}"
    print(f"{output}: {counted}, of them with text: {len(chosen):,}; {size:.1f} MB; {address(output)}", flush=True)


def write_page(output: str, summary: dict, texts: Iterable[list]) -> int:
    """Returns the size of the page in bytes."""
    with whole_file(output) as temporary:
        temporary.write_text(page(summary, texts), encoding="utf-8", newline="\n")
        return temporary.stat().st_size


def address(output: str) -> str:
    """What a browser opens, and a terminal makes a link of."""
    return Path(output).absolute().as_uri()


def read_training(path: str) -> dict:
    """A file of `largek.callback` for the page: its name, ks, rows, and the step that was kept. Raises InputError."""
    first, *rows = read_jsonl(path) or [{}]
    settings = first.get("settings")
    refuse_newer(first, path)
    try:
        ks, keep = settings["ks"], settings["keep"]
        needed = ["step", "entropy", "truncated", *(f"pass@{k}{end}" for k in ks for end in ("", "_lo", "_hi"))]
        mixed = ("mixed", "mixed_lo", "mixed_hi")  # not there with one answer to a problem
        rows = [{name: row[name] for name in needed} | {name: row.get(name) for name in mixed} for row in rows]
        kept = max(rows, key=lambda row: (row[keep], -row["step"]))["step"] if keep and rows else None
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{path}: expected a file that largek.callback has written") from None
    return {"name": path, "ks": ks, "rows": rows, "best": kept}


def read_problems(stores: list[str], grades: pd.DataFrame) -> dict[tuple[str, str, str], Problem]:
    """The problems that have answers, by task, split and id, in the order of the stores."""
    found: dict[tuple[str, str, str], tuple[str, Problem]] = {}
    for store in stores:
        for row in store_problems(Path(store)):
            first, known = found.setdefault((row["task"], row["split"], row["id"]), (store, row))
            if any(known[field] != row[field] for field in ("problem", "answer")):
                raise InputError(f"{store}: the problem {row['id']!r} has another text or answer than in {first}")
    answered = set(grades[["task", "split", "problem"]].itertuples(index=False, name=None))
    if strange := answered - found.keys():
        raise InputError(regrade(stores, f"the problem {min(strange)[-1]!r}"))
    return {key: row for key, (_, row) in found.items() if key in answered}


def regrade(stores: list[str], what: str) -> str:
    return f"{', '.join(stores)}: {what} is graded but not there, run: largek grade {' or '.join(stores)}"


def about(store: str) -> dict:
    """How a store was made, for the page's table of stores."""
    settings = store_settings(Path(store))
    verifiers = sorted(read_settings(store).get("verifier", {}))
    models = read_grades(store, ["model"])["model"].unique().tolist()
    made = {"store": store, "models": models, "verifiers": verifiers, "unknown": unknown(store)}
    others = [f"{key} {json.dumps(settings[key], ensure_ascii=False)}" for key in OTHERS if key in settings]
    return made | {key: settings.get(key) for key in SETTINGS} | {"others": ", ".join(others)}


def choose(grades: pd.DataFrame, problems: dict, models: dict[str, int], most: int) -> pd.DataFrame:
    """The samples whose texts are in the page, with `round`: of every model, problem and outcome the first by index is
    of round 0, the second of round 1 and so on. Rounds are taken until there are `most` samples; of a last round that
    does not fit whole, those with the smallest seeds, so that no problem is favoured. In the order of the problems,
    then of models and indices.
    """
    ordered = grades.sort_values("sample", kind="stable")
    ordered["round"] = ordered.groupby([*COUNT_COLUMNS, "outcome"]).cumcount()
    sizes = ordered["round"].value_counts().sort_index().cumsum()
    complete = ordered[ordered["round"] < (sizes <= most).sum()]
    last = ordered[ordered["round"] == (sizes <= most).sum()]
    seeds = [derive_seed("report", *row) for row in last[SAMPLE].itertuples(index=False)]
    last = last.iloc[np.argsort(seeds, kind="stable")[: most - len(complete)]]
    chosen = pd.concat([complete, last])
    place = {key: number for number, key in enumerate(problems)}
    keys = chosen[["task", "split", "problem"]].itertuples(index=False, name=None)
    chosen = chosen.assign(problem_place=[place[key] for key in keys], model_place=chosen["model"].map(models))
    return chosen.sort_values(["problem_place", "model_place", "sample"], ignore_index=True)


def curves(grades: pd.DataFrame, counts: pd.DataFrame, asked, models: dict[str, int], stores) -> Iterator[dict]:
    """The rows of `largek passk` by model, split and task, at about CURVE ks that lie evenly on a logarithmic scale."""
    progress = Progress("pass@k", len(models), "models")
    for done, (model, place) in enumerate(models.items(), 1):
        rows = grades[grades["model"] == model]
        known = asked and {key: answers for key, answers in asked.items() if key[0] == model}
        table = estimate(counts[counts["model"] == model], majority=majority(rows), asked=known)
        table = without_unknown(table, stores)
        for (split, task), curve in table.groupby(["split", "task"], sort=False):
            n = int(curve["n"].iloc[0])
            powers = 2 ** np.arange(n.bit_length())
            curve = curve[curve["k"].isin(np.union1d(np.geomspace(1, n, CURVE).round(), powers))]
            numbers = {name: rounded(curve[name]) for name in ("estimate", "lo", "hi", "maj", "maj_lo", "maj_hi")}
            coverage = rounded(curve["coverage"])[0]
            key = {"model": place, "split": split, "task": task, "n": n, "coverage": coverage}
            yield key | {"k": curve["k"].tolist()} | numbers
        progress.update(done)


def lost_and_gained(counts: pd.DataFrame, models: dict[str, int]) -> list[dict]:
    """Rows of `largek coverage` against the first model, of the models that have the same problems as it. A bound that
    is not there is null."""
    of_model = {model: counts[counts["model"] == model] for model in models}
    (_, base), *others = of_model.items()
    problems, rows = set(base[KEYS].itertuples(index=False, name=None)), []
    for model, own in others:
        if problems == set(own[KEYS].itertuples(index=False, name=None)):
            table, _ = coverage(base, own, sweeps=SWEEPS)
            rows += records(table.drop(columns="reference").assign(model=models[model]).round(5))
    return rows


def groups(grades: pd.DataFrame, models: dict[str, int], edges: np.ndarray) -> Iterator[dict]:
    """By model, split and task: how many answers of each outcome, their tokens, and a histogram of lengths for each
    outcome, whose bin i counts answers of edges[i] to edges[i + 1] - 1 tokens."""
    for (model, split, task), rows in grades.groupby(["model", "split", "task"], sort=False):
        of_outcome = [rows.loc[rows["outcome"] == outcome, "tokens"].dropna() for outcome in OUTCOMES]
        known = rows["tokens"].dropna()
        lengths = [np.histogram(tokens, edges)[0].tolist() for tokens in of_outcome]
        key = {"model": models[model], "split": split, "task": task, "problems": rows["problem"].nunique()}
        counted = {"outcomes": [int((rows["outcome"] == outcome).sum()) for outcome in OUTCOMES]}
        yield key | counted | {"tokens": int(known.sum()), "known": len(known), "lengths": lengths}


def table_of_problems(problems: dict, counts: pd.DataFrame, models: dict[str, int]) -> dict:
    """Columns of the problems; `correct` and `n` have a list a model, with null where it has no answer to a problem."""
    place = {key: number for number, key in enumerate(problems)}
    correct, n = ([[None] * len(problems) for _ in models] for _ in range(2))
    for row in counts.itertuples():
        model, problem = models[row.model], place[row.task, row.split, row.problem]
        correct[model][problem], n[model][problem] = int(row.correct), int(row.n)
    tasks, splits, ids = zip(*problems)
    texts = [clipped(row["problem"], LONGEST) for row in problems.values()]
    answers = [clipped(str(row["answer"]), LONGEST) for row in problems.values()]
    table = {"id": ids, "task": tasks, "split": splits, "text": texts, "answer": answers}
    return table | {"correct": correct, "n": n}


def table_of_samples(chosen: pd.DataFrame) -> dict:
    """Columns of the samples whose texts are in the page."""
    frame = chosen.reindex(columns=["tokens", "extracted", "sound"]).astype(object)
    frame = frame.where(frame.notna(), None)
    table = {"model": chosen["model_place"].tolist(), "problem": chosen["problem_place"].tolist()}
    table |= {"sample": chosen["sample"].tolist(), "outcome": [OUTCOMES.index(name) for name in chosen["outcome"]]}
    table |= {"tokens": [None if tokens is None else int(tokens) for tokens in frame["tokens"]]}
    table |= {"extracted": [None if text is None else clipped(text, SHORT) for text in frame["extracted"]]}
    return table | {"sound": frame["sound"].tolist()}


def read_texts(stores: list[str], chosen: pd.DataFrame) -> tuple[list[str | list], list[str]]:
    """Texts, clipped, and finish of the chosen samples. A chunk of a store at a time: no more is in memory."""
    place = {key: number for number, key in enumerate(chosen[SAMPLE].itertuples(index=False, name=None))}
    texts: list = [None] * len(place)
    finish: list = [None] * len(place)
    progress, done = Progress("texts", len(chosen), "texts"), 0
    for chunk in chain.from_iterable(each_chunk(Path(store), [*SAMPLE, "text", "finish"]) for store in stores):
        for row, key in enumerate(zip(*(chunk[name].to_pylist() for name in SAMPLE))):
            if (number := place.get(key)) is not None:
                texts[number] = clipped(chunk["text"][row].as_py() or "", LONGEST)
                finish[number] = chunk["finish"][row].as_py()
                done += 1
        progress.update(done)
    if None in texts:
        row = chosen.iloc[texts.index(None)]
        raise InputError(regrade(stores, f"sample {row['sample']} of problem {row['problem']!r}"))
    return texts, finish


def clipped(text: str, longest: int) -> str | list:
    """The text, or, if it is longer, [its beginning, how many characters are left out, its end]."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return [text[:half], len(text) - 2 * half, text[-half:]]


def shards(texts: list[str | list]) -> Iterator[list]:
    """The texts in lists of some SHARD characters."""
    shard, size = [], 0
    for text in texts:
        shard.append(text)
        size += len(text) if isinstance(text, str) else LONGEST
        if size >= SHARD:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def rounded(column: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else round(float(value), 5) for value in column]


def packed(value: object) -> str:
    """JSON, compressed, in base64, as a JSON string. Escaped to ASCII first, which keeps lone surrogates too; without
    a time stamp in the compressed data, which would make each page another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return json.dumps(base64.b64encode(gzip.compress(text.encode("ascii"), mtime=0)).decode("ascii"))


def page(summary: dict, texts: Iterable[list]) -> str:
    """The whole page. Only its own script and style, known by their hashes, may run, and nothing may be fetched."""
    html, style, script = (
        Path(__file__).with_name(f"report.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    data = [f'<script type="application/json" id="summary">{packed(summary)}</script>']
    data += [f'<script type="application/json" class="texts">{packed(shard)}</script>' for shard in texts]
    parts = {"style": style, "script": script, "data": "\n".join(data)}
    parts |= {"style_hash": hash_of(style), "script_hash": hash_of(script)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], html)


def hash_of(source: str) -> str:
    """As a Content-Security-Policy names an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
