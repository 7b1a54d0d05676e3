"""`largek sample`: answers from a model, as one parquet file a range of sample indices.

Samples are made in chunks of a few problems times all the indices asked for. A chunk has a seed of its own, derived
from what it holds, and lands as a file of its own in `<output>.partial/`, so that a run that was killed goes on with
the chunks that are missing and ends with the same records. The finished file takes its name in one step. Chunks of
another model, other problems or other settings are not used.
"""

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from largek.common import InputError, Progress, derive_seed, digest, read_jsonl, whole_file, write_json

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("split", pa.string()),
        ("problem", pa.string()),
        ("sample", pa.int32()),
        ("text", pa.string()),
        ("tokens", pa.int32()),  # sampled tokens, the end-of-sequence token included
        ("finish", pa.string()),  # "stop" or "length"
        ("entropy", pa.float64()),  # nats a sampled token at temperature 1, mean over the answer
        ("seed", pa.int64()),
    ]
)


def read_problems(paths: list[str]) -> list[dict]:
    """Rows with id, task, split, problem, answer. Raises InputError on a missing field or an id that is there twice."""
    rows = [row for path in paths for row in read_jsonl(path, ("id", "task", "split", "problem", "answer"))]
    seen: set[str] = set()
    for row in rows:
        if row["id"] in seen:
            raise InputError(f"{', '.join(paths)}: the id {row['id']!r} is there twice")
        seen.add(row["id"])
    return rows


def chunks(problems: list[dict], indices: range, batch_size: int) -> list[list[dict]]:
    """Groups of problems whose answers fill about one batch; like lengths together, so that little is padded."""
    ordered = sorted(problems, key=lambda row: (len(row["problem"].split()), len(row["problem"]), row["id"]))
    size = max(1, batch_size // len(indices))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def generate(network, tokenizer, group: list[dict], settings: dict, seed: int) -> list[dict]:
    """The records of one chunk through transformers' `generate`."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList

    class Entropy(LogitsProcessor):
        """Keeps each step's entropy. Runs before temperature and top-p, so it sees the model's own distribution."""

        def __init__(self):
            self.steps = []

        def __call__(self, input_ids, scores):
            logp = scores.float().log_softmax(-1)
            self.steps.append(torch.special.entr(logp.exp()).sum(-1))
            return scores

    torch.manual_seed(seed)
    indices, entropy, records = settings["indices"], Entropy(), []
    prompts = tokenizer([row["problem"] for row in group for _ in indices], return_tensors="pt", padding=True)
    prompts = prompts.to(network.device)
    with torch.inference_mode():
        out = network.generate(
            input_ids=prompts["input_ids"],
            attention_mask=prompts["attention_mask"],
            do_sample=True,
            temperature=settings["temperature"],
            top_p=settings["top_p"],
            top_k=0,
            max_new_tokens=settings["max_tokens"],
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([entropy]),
        )[:, prompts["input_ids"].shape[1] :]
    ends = torch.as_tensor(network.generation_config.eos_token_id, device=out.device).reshape(-1)
    stopped = torch.isin(out, ends)
    lengths = torch.where(stopped.any(1), stopped.int().argmax(1) + 1, out.shape[1]).tolist()
    finished = stopped.any(1).tolist()
    surprise = torch.stack(entropy.steps, 1)
    for position, ids in enumerate(out.tolist()):
        row, length = group[position // len(indices)], lengths[position]
        records.append(
            {
                "model": settings["name"],
                "task": row["task"],
                "split": row["split"],
                "problem": row["id"],
                "sample": indices[position % len(indices)],
                "text": tokenizer.decode(ids[:length], skip_special_tokens=True),
                "tokens": length,
                "finish": "stop" if finished[position] else "length",
                "entropy": float(surprise[position, :length].mean()),
                "seed": seed,
            }
        )
    return records


def run(
    model: str,
    problems: list[str],
    output: str,
    indices: range,
    *,
    name: str,
    engine: str,
    temperature: float,
    top_p: float,
    max_tokens: int,
    batch_size: int,
    seed: int,
) -> None:
    """The command `largek sample`. Raises InputError; what is already in the partial store is kept and used."""
    settings = {"name": name, "model": str(model), "engine": engine, "temperature": temperature, "top_p": top_p}
    settings |= {"max_tokens": max_tokens, "batch_size": batch_size, "seed": seed, "indices": list(indices)}
    groups = chunks(read_problems(problems), indices, batch_size)
    settings["problems_sha256"] = digest(*map(Path, problems))
    settings["model_sha256"] = digest(Path(model)) if Path(model).is_dir() else None
    if (Path(model) / "failed.json").exists():  # a lineage that has no weights: an empty file says so downstream
        groups = []
    else:
        network, tokenizer = load_for(engine, model)

    partial, lock = open_partial(output, settings)
    if is_finished(output, settings):  # by the process that held the lock before
        shutil.rmtree(partial)
        lock.close()
        return
    missing = [number for number in range(len(groups)) if not (partial / f"{number:06}.parquet").exists()]
    progress, tokens, start = Progress(name, len(groups), "chunks"), 0, time.monotonic()
    for done, number in enumerate(missing, len(groups) - len(missing)):
        group = groups[number]
        chunk_seed = derive_seed(seed, name, indices.start, indices.stop, *(row["id"] for row in group))
        records = generate(network, tokenizer, group, settings, chunk_seed)
        with whole_file(partial / f"{number:06}.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(records, SCHEMA), temporary)
        tokens += sum(record["tokens"] for record in records)
        progress.update(done + 1, f"{tokens / (time.monotonic() - start):,.0f} tokens/s")

    tables = [pq.read_table(partial / f"{number:06}.parquet") for number in range(len(groups))]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    about = {"largek": json.dumps({**settings, "versions": versions()}, sort_keys=True)}
    with whole_file(output) as temporary:
        pq.write_table(table.replace_schema_metadata(about), temporary, compression="zstd")
    shutil.rmtree(partial)
    lock.close()


def load_for(engine: str, model: str):
    if engine != "transformers":
        raise InputError(f"--engine {engine}: expected transformers")
    from largek.models import load

    return load(model)


def open_partial(output: str, settings: dict) -> tuple[Path, IO]:
    """The folder of finished chunks and its lock. Chunks that were made with other settings are removed.

    Another process that is still sampling into the folder, such as one left by a killed Snakemake, is waited for.
    """
    folder = Path(f"{output}.partial")
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            print(f"{output}: waiting for process {lock.read().strip()}, which is still sampling it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "lock").exists() and os.path.samestat(os.fstat(lock.fileno()), (folder / "lock").stat()):
            break
        lock.close()  # the other process has finished and removed the folder
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    about = folder / "settings.json"
    if not about.exists() or json.loads(about.read_text()) != settings:
        for stale in folder.glob("*.parquet"):
            stale.unlink()
        write_json(about, settings)
    return folder, lock


def is_finished(output: str, settings: dict) -> bool:
    """Whether the finished file is there and was made with these settings."""
    if not Path(output).exists():
        return False
    about = json.loads((pq.read_schema(output).metadata or {}).get(b"largek", b"{}"))
    return all(about.get(key) == value for key, value in settings.items())


def versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in ("largek", "torch", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
