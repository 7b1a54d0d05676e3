"""n answers to every problem by largek, lm-evaluation-harness and lighteval in one run: the same model, problems,
prompts, n and settings, each tool by its own command, from the start of its process to its end.

    python benchmarks/peers.py --model data/smollm2-135m-instruct --problems data/gsm8k_test.jsonl \\
        --envs .bench --vllm .venv-vllm/bin/python

Every tool samples and grades: largek by `largek sample` and `largek grade`, lm-evaluation-harness by a YAML task with
`repeats`, lighteval by a task with a metric over n samples. Their transformers backends run with several batch sizes,
the best counts; vLLM has as many answers in flight everywhere (lighteval has none here: it wants transformers 4, and
vLLM transformers 5). Answers are read from what each tool has saved, and
their tokens are counted with the model's tokenizer. Nothing is cached between runs, and everything is float32.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ASK = "\n\nReason briefly and end with the answer in \\boxed{}."  # after the problem, if the model has a chat template
IN_FLIGHT = 256  # answers in vLLM; largek's default
CONTEXT = 1024  # positions that vLLM provides for

LM_EVAL_TASK = {
    "task": "peers",
    "dataset_path": "json",
    "test_split": "train",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
LIGHTEVAL_TASK = """
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def prompt(line, task_name):
    return Doc(task_name=task_name, query=line["question"], choices=[line["answer"]], gold_index=0)


TASKS_TABLE = [
    LightevalTaskConfig(
        name="peers", prompt_function=prompt, hf_repo={folder!r}, hf_subset="default", hf_avail_splits=["train"],
        evaluation_splits=["train"], generation_size={max_tokens},
        metrics=[Metrics.avg_at_n_math(sample_params={{"n": {n}}})],
    )
]
"""


class Job:
    """What is to be sampled, and the folder that holds the model, the problems and what the tools make."""

    def __init__(self, args: argparse.Namespace, folder: Path):
        from largek.models import load_tokenizer

        self.args, self.folder = args, folder
        self.tokenizer = load_tokenizer(args.model)
        self.chat = bool(self.tokenizer.chat_template)
        # lighteval samples only if the model's own settings say so; they say it to all
        self.model = folder / "model"
        shutil.copytree(args.model, self.model)
        settings = json.loads((self.model / "generation_config.json").read_text())
        settings |= {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        (self.model / "generation_config.json").write_text(json.dumps(settings))
        named = self.model / "tokenizer_config.json"  # of transformers 5; lighteval's transformers 4 knows another name
        named.write_text(named.read_text().replace('"TokenizersBackend"', '"PreTrainedTokenizerFast"'))
        rows = [json.loads(line) for line in Path(args.problems).read_text().splitlines()]
        rows = rows[:: max(1, len(rows) // args.number)][: args.number] if not self.chat else rows[: args.number]
        asked = [row.get("question") or row["problem"] for row in rows]
        right = [str(row["answer"]).rpartition("####")[2].strip() for row in rows]
        self.problems = [
            {"id": str(i), "question": text + ASK * self.chat, "answer": answer}
            for i, (text, answer) in enumerate(zip(asked, right))
        ]
        (folder / "problems").mkdir()
        lines = [json.dumps(row | {"problem": row["question"]}) + "\n" for row in self.problems]
        (folder / "problems/problems.jsonl").write_text("".join(lines))

    def largek(self, python: str, engine: str, output: Path) -> list[list]:
        tasks, store = self.folder / "problems/problems.jsonl", output / "store"
        sample = [python, "-m", "largek", "sample", "--model", self.model, "--tasks", tasks, "--store", store]
        sample += ["--samples", self.args.n, "--max-tokens", self.args.max_tokens, "--engine", engine]
        sample += ["--batch-size", IN_FLIGHT] + ["--chat-template", "yes"] * self.chat
        return [sample, [python, "-m", "largek", "grade", store, "--verifier", "math"]]

    def lm_eval(self, python: str, backend: str, batch_size: int, output: Path) -> list[list]:
        import yaml

        # top_k: without it transformers takes the 50 likeliest tokens
        how = {"do_sample": True, "temperature": 1.0, "top_k": 0, "max_gen_toks": self.args.max_tokens, "until": []}
        data = {"data_files": {"train": str(self.folder / "problems/problems.jsonl")}}
        task = LM_EVAL_TASK | {"dataset_kwargs": data, "generation_kwargs": how, "repeats": self.args.n}
        (output / "peers.yaml").write_text(yaml.safe_dump(task))
        model = f"pretrained={self.model},dtype=float32"
        if backend == "vllm":
            model += f",max_model_len={CONTEXT},max_num_seqs={IN_FLIGHT},gpu_memory_utilization=0.4"
        command = [python, "-m", "lm_eval", "run", "--model", backend, "--model_args", model, "--tasks", "peers"]
        command += ["--include_path", output, "--output_path", output, "--log_samples", "--batch_size", batch_size]
        return [command + ["--device", "cpu"] * (backend == "hf") + ["--apply_chat_template"] * self.chat]

    def lighteval(self, python: str, problems: int, output: Path) -> list[list]:
        import yaml

        # Whatever task is asked for, lighteval fetches a pickle for another, unless a file is there.
        (tasks,) = Path(python).parents[1].glob("lib/python*/site-packages/lighteval/tasks/tasks")
        (tasks / "tinyBenchmarks.pkl").touch()
        code = LIGHTEVAL_TASK.format(
            folder=str(self.folder / "problems"), max_tokens=self.args.max_tokens, n=self.args.n
        )
        (output / "peers_task.py").write_text(code)
        how = {"temperature": 1.0, "max_new_tokens": self.args.max_tokens}
        model = {"model_name": str(self.model), "dtype": "float32", "generation_parameters": how}
        model |= {"override_chat_template": self.chat, "cache_dir": str(output / "cache")}
        model |= {"batch_size": problems, "device": "cpu"}
        (output / "model.yaml").write_text(yaml.safe_dump({"model_parameters": model}))
        command = [python, "-m", "lighteval", "accelerate", output / "model.yaml", "peers|0", "--custom-tasks"]
        return [command + [output / "peers_task.py", "--output-dir", output, "--save-details"]]


def answers_of(output: Path) -> list[list[str]]:
    """The answers to each problem that a tool has saved."""
    import pyarrow.parquet as pq

    if (output / "store").exists():
        from largek.store import read_samples

        found: dict[str, list] = {}
        for row in read_samples(output / "store").to_pylist():
            found.setdefault(row["problem"], []).append(row["text"])
        return list(found.values())
    if samples := list(output.rglob("samples_*.jsonl")):
        return [json.loads(line)["resps"][0] for line in samples[0].read_text().splitlines()]
    (details,) = output.rglob("details_*.parquet")
    return [response["text"] for response in pq.read_table(details)["model_response"].to_pylist()]


def measured(name: str, commands: list[list], output: Path, job: Job) -> dict | None:
    """Seconds of the whole, samples, distinct samples and tokens; None if the tool failed, with its last lines."""
    threads = job.args.threads
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    environment |= {"VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}", "HF_DATASETS_CACHE": str(output / "datasets")}
    start = time.perf_counter()
    with (output / "log.txt").open("w") as log:
        for command in commands:
            done = subprocess.run(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, env=environment)
            if done.returncode:
                print(f"{name}: stopped with status {done.returncode}", file=sys.stderr)
                print(*(output / "log.txt").read_text().splitlines()[-12:], sep="\n    ", file=sys.stderr)
                return None
    seconds = time.perf_counter() - start
    answers = answers_of(output)
    texts = [text for own in answers for text in own]
    tokens = sum(len(job.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    distinct = sum(len(set(own)) for own in answers)
    print(f"{name}: {seconds:.1f} s, {len(texts)} samples", file=sys.stderr)
    return {"seconds": seconds, "samples": len(texts), "distinct": distinct, "tokens": tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--problems", required=True, help="JSONL with question or problem, and answer")
    parser.add_argument("--envs", type=Path, required=True, help="folder of lm-eval-vllm and lighteval-sampling")
    parser.add_argument("--vllm", help="the python of an environment with vLLM; without, vLLM is left out")
    parser.add_argument("--number", type=int, default=4, help="problems")
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 2], help="of the peers' transformers, in n answers"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="tools whose name has this in it")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        job = Job(args, Path(folder))
        lm_eval, lighteval = (str(args.envs / name / "bin/python") for name in ("lm-eval-vllm", "lighteval-sampling"))
        sides = {"largek transformers": lambda output: job.largek(sys.executable, "transformers", output)}
        for k in args.batches:
            size = k * args.n
            sides[f"lm-eval hf {size}"] = lambda output, size=size: job.lm_eval(lm_eval, "hf", size, output)
            sides[f"lighteval accelerate {size}"] = lambda output, k=k: job.lighteval(lighteval, k, output)
        if args.vllm:
            sides["largek vllm"] = lambda output: job.largek(args.vllm, "vllm", output)
            sides["lm-eval vllm"] = lambda output: job.lm_eval(lm_eval, "vllm", "auto", output)
        found = {}
        for name, commands in sides.items():
            if args.only in name:
                output = job.folder / name.replace(" ", "-")
                output.mkdir()
                found[name] = measured(name, commands(output), output, job)

    print(f"{args.number} problems, n = {args.n}, at most {args.max_tokens} tokens, {args.threads} threads")
    columns = ("seconds", "samples", "distinct", "samples/s", "tokens/s")
    print(f"{'':26}" + "".join(f"{column:>11}" for column in columns))
    speed = {name: row["samples"] / row["seconds"] for name, row in found.items() if row}
    for name, row in found.items():
        if row:
            line = f"{name:26}{row['seconds']:11.1f}{row['samples']:11}{row['distinct']:11}"
            print(f"{line}{speed[name]:11.2f}{row['tokens'] / row['seconds']:11.0f}")
        else:
            print(f"{name:26}  does not run")
    pairs = [("transformers", "lm-eval hf"), ("transformers", "lighteval accelerate")]
    for own, kind in [*pairs, ("vllm", "lm-eval vllm")]:
        theirs = [rate for name, rate in speed.items() if name.startswith(kind)]
        if theirs and f"largek {own}" in speed:
            ratio = speed[f"largek {own}"] / max(theirs)
            print(f"samples a second, largek {own} against {kind} at its best setting: {ratio:.2f}")


if __name__ == "__main__":
    main()
