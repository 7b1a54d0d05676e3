"""Tokens a second of sampling 256 answers a problem from a lab model, in one run: `largek.decode` against transformers'
`generate` and against vLLM for CPUs.

    python benchmarks/sampling.py --model results/laptop/models/base/model \\
        --problems results/laptop/problems/predict.jsonl --vllm .venv-vllm/bin/python --threads 1

All sample the same problems, in turns, the best turn counts, and `generate` has several batch sizes. vLLM runs in its
own environment, gets all answers as one call, and its start-up does not count.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time

N = 256
BATCHES = (64, 128, 256, 512)
TOGETHER = 1024  # answers in one call of the decoder


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


def by_decoder(network, prompts: list[list[int]], max_tokens: int) -> int:
    """The same, as `largek sample` does it with a batch size of TOGETHER."""
    from largek.decode import Decoder

    decoder, tokens, ends = Decoder(network), 0, network.generation_config.eos_token_id
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
    llm = LLM(work["model"], dtype="float32", max_model_len=most, max_num_seqs=N, enable_prefix_caching=True)
    how = SamplingParams(n=N, temperature=1.0, max_tokens=work["max_tokens"], stop_token_ids=work["ends"],
                         detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY)  # fmt: skip
    prompts = [{"prompt_token_ids": ids} for ids in work["prompts"]]
    for _ in sys.stdin:
        start = time.perf_counter()
        found = llm.generate(prompts, how, use_tqdm=False)
        tokens = sum(len(answer.token_ids) for request in found for answer in request.outputs)
        print("\nFOUND", json.dumps([tokens, time.perf_counter() - start]), flush=True)


class VLLM:
    """vLLM in a process of its own, started once."""

    def __init__(self, python: str, threads: int, work: dict):
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "VLLM_LOGGING_LEVEL": "ERROR"}
        environment |= {"VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}"}
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
    ways["decode"] = lambda: by_decoder(network, prompts, args.max_tokens)
    if args.vllm:
        work = {"model": args.model, "prompts": prompts, "max_tokens": args.max_tokens, "ends": ends}
        server = VLLM(args.vllm, args.threads, work)
        server.sample()  # compiles
        ways["vLLM"] = server.sample
    gc.freeze()
    best = dict.fromkeys(ways, 0.0)
    for _ in range(args.turns):
        for name, sample in ways.items():
            start = time.perf_counter()
            found = sample()
            tokens, seconds = found if isinstance(found, tuple) else (found, time.perf_counter() - start)
            best[name] = max(best[name], tokens / seconds)
    for name, rate in best.items():
        print(f"{name:20} {rate:10,.0f} tokens/s")
    stock = max(rate for name, rate in best.items() if name.startswith("generate"))
    print(f"{args.threads} threads, n = {N}: ratio to the best batch size of generate {best['decode'] / stock:.2f}")
    if args.vllm:
        print(f"{args.threads} threads, n = {N}: ratio to vLLM {best['decode'] / best['vLLM']:.2f}")


if __name__ == "__main__":
    main()
