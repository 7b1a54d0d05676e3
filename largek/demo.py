"""`largek demo`: three stores of real samples, and the commands that show what can be learnt from them.

demo_data/ holds 64 answers of each of three models of the lab (0.34 million parameters, `max_tokens` 50) to the same 64
problems: of a base model, of one fine-tuned on the shortest worked solutions (`simple`, 336,000 tokens) and of one
fine-tuned on randomly drawn ones (`random`, 42,000 tokens); and their losses on 400 held-out examples. A problem is a
program over five digits, and the answer is what stands after the word `answer`.

With `--lm-eval` the folder holds no stores but files of lm-evaluation-harness: it has asked the same models the same
problems, 16 answers to each (benchmarks/demo_files.py).
"""

import json
import os
import shlex
import shutil
import zipfile
from pathlib import Path

import pyarrow.parquet as pq

from largek.common import InputError, read_jsonl, write_json
from largek.store import open_store
from largek.verify import Verdict

DATA = Path(__file__).with_name("demo_data")
LM_EVAL = DATA / "lm_eval.zip"  # lm-eval/MODEL/samples_programs_TIME.jsonl and results_TIME.json, as the tool left them
MODELS = {"base": "3f57b667", "simple": "2a9835ec", "random": "cf16b51b"}  # beginnings of the digests of their weights
SETTINGS = {"engine": "transformers", "temperature": 1.0, "top_p": 1.0, "max_tokens": 50, "seed": 14}
SETTINGS |= {"chat_template": False, "dtype": "float32"}
SAMPLES = 64
STEPS = [
    ("a verdict on every answer", "grade {base} {simple} {random}"),
    ("pass@k: simple leads at k = 1, random at k = 64", "passk {base} {simple} {random} --k 1,8,64"),
    ("the same at equal numbers of sampled tokens", "passk {base} {simple} {random} --by-tokens 32,512"),
    ("is the difference more than chance?", "compare {simple} {random} --k 1,8,64"),
    ("what did each training lose and gain against the base?", "coverage {base} {simple} {random} --k 1,8"),
    ("problems worth training on, and as many random ones", "band {random} --output {band} --random {control}"),
    ("all of it on one page, with every answer", "report {base} {simple} {random} --output {page}"),
    ("which checkpoint should go to reinforcement learning?", "rank {base} {simple} {random}"),
]
LM_EVAL_STEPS = [
    ("a store of the samples of each model", "import {files}/base/samples_*.jsonl --store {base}"),
    ("", "import {files}/simple/samples_*.jsonl --store {simple}"),
    ("", "import {files}/random/samples_*.jsonl --store {random}"),
    ("the tool's own verdicts: on the first answer alone", "grade {base} {simple} {random} --verifier recorded"),
    ("what the tool has printed, with intervals", "passk {base} {simple} {random}"),
    ("a verdict on every answer", "grade {base} {simple} {random} --verifier largek.demo:verify"),
    ("pass@k: simple leads at k = 1, random at k = 16", "passk {base} {simple} {random} --k 1,4,16"),
    ("is the difference more than chance?", "compare {simple} {random} --k 1,4,16"),
    ("what did each training lose and gain against the base?", "coverage {base} {simple} {random} --k 1,8"),
    ("which checkpoint should go to reinforcement learning?", "rank {base} {simple} {random}"),
    ("all of it on one page, with every answer", "report {base} {simple} {random} --output {page}"),
]


def verify(text: str, problem: dict) -> Verdict:
    """The verdict on an answer: what stands after the one word `answer`. Its form is that of any verifier."""
    _, *after = f" {text} ".split(" answer ")
    if len(after) != 1 or not after[0].strip():
        return Verdict("no_answer")
    extracted = " ".join(after[0].split())
    return Verdict("correct" if extracted == problem["answer"] else "wrong", extracted)


def run(folder: str = "largek-demo", lm_eval: bool = False) -> list[str]:
    """Put the stores, or with `lm_eval` the files of lm-evaluation-harness, into `folder`, which must be new or empty;
    print and return the commands, to be run in this order.

    The folder is whole or absent. Raises InputError.
    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{folder}: expected a new or an empty folder")
    if not target.absolute().parent.is_dir():
        raise InputError(f"{folder}: there is no folder {target.parent} to make it in")
    building = target.absolute().with_name(f".{target.name}.{os.getpid()}")
    try:
        if lm_eval:
            with zipfile.ZipFile(LM_EVAL) as archive:
                archive.extractall(building)
        else:
            write_stores(building)
        os.replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    names = {name: target / name for name in MODELS} | {"files": target / "lm-eval"}
    names |= {"band": target / "band.jsonl", "control": target / "control.jsonl", "page": target / "report.html"}
    quoted = {name: shlex.quote(str(path)) for name, path in names.items()}
    steps = LM_EVAL_STEPS if lm_eval else STEPS
    commands = [f"largek {command.format(**quoted)}" for _, command in steps]
    if lm_eval:
        what = "What lm-evaluation-harness has left of three models, 16 answers to each of 64 problems"
        print(f"{what}: {quoted['files']}.")
    else:
        stores = ", ".join(quoted[name] for name in MODELS)
        print(f"Real answers of three models, {SAMPLES} to each of 64 problems: {stores}.")
    print("No model is needed for what follows. Run these one after the other:\n")
    for (why, _), command in zip(steps, commands):
        print(f"# {why}\n{command}" if why else command)
    return commands


def write_stores(folder: Path) -> None:
    """A store a model, not graded yet, with its loss beside the samples as `largek rank` keeps it."""
    own = {"split": "all", "samples": SAMPLES, "verifier": "largek.demo:verify"}
    problems = [row | own for row in read_jsonl(DATA / "problems.jsonl")]
    losses = json.loads((DATA / "losses.json").read_text(encoding="utf-8"))
    samples = pq.read_table(DATA / "samples.parquet")
    for name, digest in MODELS.items():
        settings = SETTINGS | {"name": name, "model": f"sha256:{digest}"}
        with open_store(folder / name, settings, problems) as store:
            store.append([row for row in samples.to_pylist() if row["model"] == name])
        write_json(folder / name / "loss.json", {"loss": losses[name]})
