"""Sampled tokens a second of `largek sample` against the bare engine in one run: the same model, problems, number of
answers and settings, from transformers' `generate` at its best batch size and from vLLM's `LLM.generate`.

    python benchmarks/engine.py --model data/smollm2-135m-instruct --problems data/gsm8k_test.jsonl \\
        --vllm .venv-vllm/bin/python

Every measurement is a process of its own, and they take turns. Tokens a second "sampling" begin when the engine has
been started and end when all is done: for the bare engine when the call returns, for largek when the file with texts,
finish reasons and log-probabilities is on disk. "Whole" is the process from start to end. The median turn counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROMPT = "{problem}\n\nReason briefly and end with the answer in \\boxed{}."
BATCHES = (32, 64, 128)  # of `generate`


def prompts_of(model: str, tasks: str) -> tuple[list[list[int]], list[int]]:
    """Tokens of the prompts that largek puts to the model, like lengths together, and the tokens that end an answer."""
    from largek.models import end_ids, load_tokenizer, prompt_ids
    from largek.store import prompt_of
    from largek.tasks import read_tasks

    tokenizer = load_tokenizer(model)
    rows = read_tasks([tasks], prompt=PROMPT)
    return sorted((prompt_ids(tokenizer, prompt_of(row), True) for row in rows), key=len), end_ids(model, tokenizer)


def by_largek(work: dict, engine: str) -> tuple[int, float]:
    """(tokens, seconds since the engine was started) of `largek sample`."""
    import pyarrow.parquet as pq

    from largek import sample

    started, kept = [], []

    def timed(start):
        def starts(*args, **options):
            made = start(*args, **options)
            started.append(time.perf_counter())
            kept.append(made)  # stopping vLLM takes seconds, which do not count on the other side either
            return made

        return starts

    if engine == "vllm":
        import vllm

        vllm.LLM = timed(vllm.LLM)
    else:
        from largek.engine_transformers import Transformers

        Transformers.sampler = timed(Transformers.sampler)
    with tempfile.TemporaryDirectory() as folder:
        output = f"{folder}/samples.parquet"
        sample.run(
            work["model"], [work["tasks"]], range(work["n"]), output=output, prompt=PROMPT, chat_template=True,
            engine=engine, max_tokens=work["max_tokens"], batch_size=work["batch_size"],
        )  # fmt: skip
        seconds = time.perf_counter() - started[0]
        return sum(pq.read_table(output, columns=["tokens"])["tokens"].to_pylist()), seconds


def by_generate(work: dict, batch_size: int) -> tuple[int, float]:
    """The same by transformers' `generate`, in batches of `batch_size` answers."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    prompts, ends = prompts_of(work["model"], work["tasks"])
    network = AutoModelForCausalLM.from_pretrained(work["model"], dtype="float32").eval()
    network.generation_config = GenerationConfig(
        do_sample=True, top_k=0, max_new_tokens=work["max_tokens"], eos_token_id=ends, pad_token_id=ends[0]
    )
    rows, tokens, start = [ids for ids in prompts for _ in range(work["n"])], 0, time.perf_counter()
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        width = max(map(len, batch))
        ids = torch.tensor([[ends[0]] * (width - len(row)) + row for row in batch])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
        with torch.inference_mode():
            out = network.generate(input_ids=ids, attention_mask=mask)[:, width:]
        stopped = torch.isin(out, torch.tensor(ends))
        tokens += int(torch.where(stopped.any(1), stopped.int().argmax(1) + 1, out.shape[1]).sum())
    return tokens, time.perf_counter() - start


def by_vllm(work: dict, alike: bool) -> tuple[int, float]:
    """The same by vLLM, all prompts in one call: as one would write it, or `alike`, with the options that largek sets
    on a CPU and with what its requests ask for, a seed of each answer's own and its log-probability."""
    import psutil
    from vllm import LLM, SamplingParams

    prompts, ends = prompts_of(work["model"], work["tasks"])
    memory = psutil.virtual_memory()
    options = {"enable_chunked_prefill": False, "block_size": 32} if alike else {}
    llm = LLM(
        work["model"], dtype="float32", gpu_memory_utilization=0.5 * memory.available / memory.total,
        max_model_len=max(map(len, prompts)) + work["max_tokens"], max_num_seqs=work["batch_size"],
        generation_config="vllm", disable_log_stats=True, **options,
    )  # fmt: skip
    more = {"seed": 1, "logprobs": 0, "flat_logprobs": True} if alike else {}
    how = SamplingParams(n=work["n"], temperature=1.0, max_tokens=work["max_tokens"], stop_token_ids=ends, **more)
    start = time.perf_counter()
    found = llm.generate([{"prompt_token_ids": ids} for ids in prompts], how, use_tqdm=False)
    tokens = sum(len(answer.token_ids) for request in found for answer in request.outputs)
    return tokens, time.perf_counter() - start


def measured(python: str, side: str, work: dict) -> tuple[float, float]:
    """Tokens a second of sampling and of the whole process."""
    threads = {"OMP_NUM_THREADS": str(work["threads"]), "VLLM_CPU_OMP_THREADS_BIND": f"0-{work['threads'] - 1}"}
    environment = os.environ | threads | {"VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    command = [python, __file__, "--side", side, "--work", json.dumps(work)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    whole = time.perf_counter() - start
    found = [line.removeprefix("FOUND") for line in done.stdout.splitlines() if line.startswith("FOUND")]
    if done.returncode or not found:
        sys.exit(f"{side} stopped with status {done.returncode}")
    tokens, seconds = json.loads(found[0])
    print(f"{side}: {tokens:,} tokens in {seconds:.1f} s, whole {whole:.1f} s", file=sys.stderr)
    return tokens / seconds, tokens / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--problems", help="GSM8K as JSONL")
    parser.add_argument("--vllm", help="the python of an environment with vLLM; without, vLLM is left out")
    parser.add_argument("--number", type=int, default=4, help="problems, the first ones of the file")
    parser.add_argument("--n", type=int, default=64, help="answers to each")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=256, help="of largek, and in flight in vLLM on both sides")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        kind, _, name = args.side.partition(" ")
        if kind == "largek":
            found = by_largek(args.work, name)
        else:
            found = by_vllm(args.work, name == "alike") if kind == "vllm" else by_generate(args.work, int(name))
        print("\nFOUND", json.dumps(found), flush=True)
        return

    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder) / "gsm8k.jsonl"
        rows = [json.loads(line) for line in Path(args.problems).read_text().splitlines()[: args.number]]
        problems = [{"id": str(i), "problem": row["question"], "answer": row["answer"]} for i, row in enumerate(rows)]
        tasks.write_text("".join(json.dumps(row) + "\n" for row in problems))
        work = {"model": args.model, "tasks": str(tasks), "n": args.n, "max_tokens": args.max_tokens}
        work |= {"batch_size": args.batch_size, "threads": args.threads}
        sides = {"largek transformers": sys.executable} | {f"generate {size}": sys.executable for size in BATCHES}
        if args.vllm:
            sides |= {"largek vllm": args.vllm, "vllm bare": args.vllm, "vllm alike": args.vllm}
        rates: dict[str, list] = {side: [] for side in sides}
        for _ in range(args.turns):
            for side, python in sides.items():
                rates[side].append(measured(python, side, work))

    middle = {side: [statistics.median(column) for column in zip(*turns)] for side, turns in rates.items()}
    print(f"{args.number} problems, n = {args.n}, at most {args.max_tokens} tokens, {args.threads} threads")
    print(f"{'tokens a second':22}{'sampling':>10}{'whole':>10}")
    for side, (sampling, whole) in middle.items():
        print(f"{side:22}{sampling:10,.0f}{whole:10,.0f}")
    for engine, bare in (("transformers", "generate"), ("vllm", "vllm bare"), ("vllm", "vllm alike")):
        theirs = [rate for side, rate in middle.items() if side.startswith(bare)]
        if theirs:
            best = [max(column) for column in zip(*theirs)]
            own = middle[f"largek {engine}"]
            print(f"largek with {engine} against {bare}: sampling {own[0] / best[0]:.2f}, whole {own[1] / best[1]:.2f}")


if __name__ == "__main__":
    main()
