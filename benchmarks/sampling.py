"""Tokens a second of sampling 256 answers a problem from a lab model, in one run: `largek.decode` against transformers'
`generate` and against vLLM for CPUs.

    python benchmarks/sampling.py --model results/laptop/models/base/model \\
        --problems results/laptop/problems/predict.jsonl --vllm .venv-vllm/bin/python --threads 1

All sample the same problems, in turns, the best turn counts, and `generate` has several batch sizes. vLLM runs in its
own environment, gets all answers as one call, has several numbers of answers in flight, and its start-up does not
count. Its attention for CPUs has no kernel for the lab model's 4 heads of size 24 (it starts, and fails at the first
token), so it is compared on a model that differs in that alone: 3 heads of 32, trained here like the lab's base model
on the study's own examples, once. Everything computes in float32.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
N = 256
BATCHES = (64, 128, 256, 512)  # of `generate`
FLIGHTS = (256, 1024, 4096)  # answers that vLLM has in flight
TOGETHER = 1024  # answers in one call of the decoder
HEADS = 3  # of size 32, which vLLM computes


def by_generate(network, prompts: list[list[int]], batch_size: int) -> int:
    """Sampled tokens of N answers to every prompt, in batches of one prompt or more."""
    import torch

    rows, tokens = [ids for ids in prompts for _ in range(N)], 0
    ends = torch.tensor(network.generation_config.eos_token_id)
    for first in range(0, len(rows), batch_size):
        batch = rows[first : first + batch_size]
        width = max(map(len, batch))
        pad = network.generation_config.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in batch])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
        with torch.inference_mode():
            out = network.generate(input_ids=ids, attention_mask=mask)[:, width:]
        stopped = torch.isin(out, ends)
        tokens += int(torch.where(stopped.any(1), stopped.int().argmax(1) + 1, out.shape[1]).sum())
    return tokens


def by_decoder(network, prompts: list[list[int]], max_tokens: int, ends: list[int]) -> int:
    """The same, as `largek sample` does it with a batch size of TOGETHER."""
    from largek.decode import Decoder

    decoder, tokens = Decoder(network), 0
    for first in range(0, len(prompts), TOGETHER // N):
        some = prompts[first : first + TOGETHER // N]
        answers = decoder.sample(some, [N] * len(some), max_tokens=max_tokens, ends=ends)
        tokens += sum(len(answer.ids) for answer in answers)
    return tokens


def vllm_server() -> None:
    """Runs in vLLM's environment: for each line on standard input, samples once and prints tokens and seconds."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import RequestOutputKind

    work = json.loads(sys.stdin.readline())
    most = max(map(len, work["prompts"])) + work["max_tokens"]
    llm = LLM(work["model"], dtype="float32", max_model_len=most, enable_prefix_caching=True,
              max_num_seqs=work["flight"], max_num_batched_tokens=max(4096, work["flight"]))  # fmt: skip
    how = SamplingParams(n=N, temperature=1.0, max_tokens=work["max_tokens"], stop_token_ids=work["ends"],
                         detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY)  # fmt: skip
    prompts = [{"prompt_token_ids": ids} for ids in work["prompts"]]
    for _ in sys.stdin:
        start = time.perf_counter()
        found = llm.generate(prompts, how, use_tqdm=False)
        tokens = sum(len(answer.token_ids) for request in found for answer in request.outputs)
        print("\nFOUND", json.dumps([tokens, time.perf_counter() - start]), flush=True)


def model_for_vllm(args: argparse.Namespace) -> str:
    """The folder of the model with HEADS heads, which is trained as rule pretrain_base does it unless it is there."""
    import yaml

    if not (Path(args.vllm_model) / "model").exists():
        study = yaml.safe_load((ROOT / "config/config.yaml").read_text())
        architecture = study["architecture"] | {"num_attention_heads": HEADS}
        command = [sys.executable, ROOT / "workflow/scripts/pretrain_base.py", "--recipe", study["recipes"]["base"]]
        command += ["--examples", Path(args.problems).with_name("base.jsonl"), "--output", args.vllm_model]
        command += ["--architecture", json.dumps(architecture), "--seed", study["seed"], "--threads", args.threads]
        subprocess.run(list(map(str, command)), check=True)
    return str(Path(args.vllm_model) / "model")


class VLLM:
    """vLLM in a process of its own, started once."""

    def __init__(self, python: str, threads: int, work: dict):
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "VLLM_LOGGING_LEVEL": "ERROR"}
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}", "VLLM_CPU_KVCACHE_SPACE": "1"}  # GiB; enough
        openmp = Path(python).parents[1] / "lib/libiomp5.so"  # vLLM says that it is faster with it
        if openmp.exists():
            environment |= {"LD_PRELOAD": str(openmp.absolute())}
        command, pipe = [python, __file__, "--vllm-server"], subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.process.stdin.write(json.dumps(work) + "\n")

    def sample(self) -> tuple[int, float]:
        """(tokens, seconds) of all answers."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("FOUND"):
                return tuple(json.loads(line.removeprefix("FOUND")))
        sys.exit("vLLM stopped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--problems")
    parser.add_argument("--number", type=int, default=16, help="problems, evenly from the file")
    parser.add_argument("--max-tokens", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--vllm", help="the python of an environment with vLLM; without, vLLM is left out")
    parser.add_argument("--vllm-model", default="results/benchmarks/three-heads", help="folder of that model")
    parser.add_argument("--vllm-server", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.vllm_server:
        vllm_server()
        return
    import torch
    from transformers import GenerationConfig

    from largek.models import end_ids, load, prompt_ids
    from largek.tasks import read_tasks

    torch.set_num_threads(args.threads)
    network, tokenizer = load(args.model)
    ends = end_ids(args.model, tokenizer)
    network.generation_config = GenerationConfig(
        do_sample=True, top_k=0, max_new_tokens=args.max_tokens, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
    )
    rows = read_tasks([args.problems])
    prompts = [prompt_ids(tokenizer, row["problem"], False) for row in rows[:: len(rows) // args.number]][: args.number]
    ways = {f"generate, batch {size}": lambda size=size: by_generate(network, prompts, size) for size in BATCHES}
    ways["decode"] = lambda: by_decoder(network, prompts, args.max_tokens, ends)
    if args.vllm:
        model = model_for_vllm(args)
        other, _ = load(model)
        ways[f"decode, {HEADS} heads"] = lambda: by_decoder(other, prompts, args.max_tokens, ends)
        work = {"model": model, "prompts": prompts, "max_tokens": args.max_tokens, "ends": ends}
        for flight in FLIGHTS:
            server = VLLM(args.vllm, args.threads, work | {"flight": flight})
            server.sample()  # compiles
            ways[f"vLLM, {HEADS} heads, {flight} in flight"] = server.sample
    gc.freeze()
    best = dict.fromkeys(ways, 0.0)
    for _ in range(args.turns):
        for name, sample in ways.items():
            start = time.perf_counter()
            found = sample()
            tokens, seconds = found if isinstance(found, tuple) else (found, time.perf_counter() - start)
            best[name] = max(best[name], tokens / seconds)
    for name, rate in best.items():
        print(f"{name:30} {rate:10,.0f} tokens/s")
    for own, theirs in (("decode", "generate"), (f"decode, {HEADS} heads", "vLLM")):
        rates = [rate for name, rate in best.items() if name.startswith(theirs)]
        if rates:
            ratio = best[own] / max(rates)
            print(f"{args.threads} threads, n = {N}: {own} against {theirs} at its best setting: {ratio:.2f}")


if __name__ == "__main__":
    main()
