"""Small files of samples made by the tools that `largek import` reads, and what each printed: for the tests.

    python benchmarks/imports.py --envs .bench --output tests/peers
    python benchmarks/imports.py --envs .bench --output tests/peers --only inspect
    python benchmarks/imports.py --output tests/peers --page docs/largek/commands/import.md   # the table

Every tool runs by its own command in an environment of its own (benchmarks/peers/) on the same problems, NeMo-Skills
also on three of its own. The model is a small server on loopback that speaks OpenAI's protocol and adds: some of its
answers are right, some wrong, some say nothing, some are cut off, and some are put so that graders differ. TRL trains a
random model for two steps instead.
Beside the samples lies what the tool itself has saved or printed as their score.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from glob import glob
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from largek import export, grade, imported, passk
from largek.foreign import read_log

N = 4  # answers to a problem
PROBLEMS = [
    {"id": f"sum-{a}-{b}", "question": f"What is {a} + {b}?", "answer": str(a + b)}
    for a, b in [(12, 30), (7, 8), (250, 4), (19, 23), (1000, 234), (66, 6)]
]


def answer_of(prompt: str, turn: int) -> tuple[str, str]:
    """What the model says when it is asked for the `turn`-th time, and how it ends."""
    a, b = map(int, re.findall(r"(\d+) \+ (\d+)\?", prompt)[-1])
    said = [
        (f"{a} plus {b} makes {a + b}. The answer is {a + b}.", "stop"),
        (f"I count up. The answer is {a + b}", "stop"),
        (f"The answer is {a + b + 1}.", "stop"),
        (f"{a} and {b} make \\boxed{{{a + b}}}", "stop"),
        (f"The answer is {a + b:,}.0", "stop"),
        ("That I do not know.", "stop"),
        (f"The answer is {a + b} if I add {b} to {a}, which I", "length"),
    ]
    picked = hashlib.sha256(f"{a} {b} {turn}".encode()).digest()
    if "\\boxed" in prompt:  # as NeMo-Skills asks for it
        said = boxed_answers(a, b)
    text, finish = said[picked[0] % len(said)]
    if THINK in prompt or APART in prompt:
        if picked[1] % 4 == 0:
            return f"<think>I add {b} to {a} and have \\boxed{{{a + b}}} if", "length"
        text = f"<think>I add {b} to {a}.</think>{text}"
    return text, finish


THINK, APART = "/think", "/apart"  # what a prompt ends in: think, in the text or in a field beside it


def boxed_answers(a: int, b: int) -> list[tuple[str, str]]:
    return [
        (f"{a} plus {b} makes \\boxed{{{a + b}}}.", "stop"),
        (f"$$\\boxed{{{a + b}}}$$", "stop"),
        (f"So it is \\boxed{{{a + b + 1}}}.", "stop"),
        (f"It is $\\boxed{{{a + b}.0}}$", "stop"),
        (f"It is \\boxed{{{f'{a + b:,}'.replace(',', '{,}')}}}", "stop"),
        (f"The answer is {a + b}.", "stop"),
        ("That I do not know.", "stop"),
        (f"It is \\boxed{{{a + b}}} if I add {b} to {a}, which I", "length"),
        (f"It is \\boxed{{{a}", "length"),
    ]


def judgement_of(prompt: str) -> str:
    """What the model says as a judge of two answers: it takes the same digits alone for the same."""
    predicted, expected = re.findall(r"^ *(?:Predicted|Expected) answer: (.+)$", prompt, re.MULTILINE)[-2:]
    return f"I compare them.\n**Judgement**: {'Yes' if predicted.replace('{,}', '') == expected else 'No'}"


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter] = Counter()

    def log_message(self, *_) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body.get("prompt") or body["messages"][-1]["content"]
        if not isinstance(prompt, str):  # in parts, or a list of one
            prompt = prompt[0]["text"] if isinstance(prompt[0], dict) else prompt[0]
        choices = []
        for index in range(body.get("n") or 1):
            judges = "Predicted answer" in prompt
            text, finish = (judgement_of(prompt), "stop") if judges else answer_of(prompt, self.asked[prompt])
            self.asked[prompt] += 1
            message = {"role": "assistant", "content": text}
            if APART in prompt:
                thought, _, said = text.removeprefix("<think>").partition("</think>")
                message = {"role": "assistant", "content": said or None, "reasoning_content": thought}
            choices.append({"index": index, "finish_reason": finish, "message": message, "text": text})
        tokens = sum(len(choice["text"].split()) for choice in choices)
        usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": body["model"], "choices": choices}
        content = json.dumps(reply | {"usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def call(folder: Path, *command: object, **environment: str) -> str:
    """Standard output of a command that runs in `folder`."""
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(folder / "datasets")}
    how = {"cwd": folder, "env": os.environ | offline | environment, "text": True}
    done = subprocess.run(list(map(str, command)), capture_output=True, **how)
    if done.returncode:
        sys.exit(f"{command[0]}: status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


# --- lm-evaluation-harness: its verdict is on the first of several answers

FIRST, VOTE = {"function": "take_first"}, {"function": "majority_vote"}
LM_EVAL_TASK = {
    "task": "sums",
    "dataset_path": "json",
    "test_split": "train",
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"do_sample": True, "temperature": 0.8, "max_gen_toks": 32, "until": ["\n\n"]},
    "filter_list": [
        {"name": "strict", "filter": [{"function": "regex", "regex_pattern": r"answer is (\d+)"}, FIRST]},
        {"name": "last", "filter": [{"function": "regex", "regex_pattern": r"(\d+)", "group_select": -1}, FIRST]},
        {"name": "vote", "filter": [{"function": "regex", "regex_pattern": r"(\d+)", "group_select": -1}, VOTE, FIRST]},
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}  # fmt: skip


def lm_eval(python: str, url: str, folder: Path, problems: Path) -> dict[str, Path]:
    import yaml

    made = {}
    for name, repeats in (("lm-eval", 1), ("lm-eval-repeats", N)):
        output = folder / name
        output.mkdir()
        data = {"data_files": {"train": str(problems)}}
        (output / "sums.yaml").write_text(yaml.safe_dump(LM_EVAL_TASK | {"dataset_kwargs": data, "repeats": repeats}))
        model = f"model=adder,base_url={url}/chat/completions,num_concurrent=1,max_retries=1,tokenized_requests=False"
        command = [python, "-m", "lm_eval", "run", "--model", "local-chat-completions", "--model_args", model]
        command += ["--tasks", "sums", "--include_path", output, "--output_path", output, "--log_samples"]
        call(output, *command, "--apply_chat_template", OPENAI_API_KEY="none")
        for pattern in ("samples_sums_*.jsonl", "results_*.json"):
            (path,) = output.rglob(pattern)
            made[f"{name}/{path.name}"] = path
    return made


# --- inspect_ai

INSPECT_TASK = """
import sys

from inspect_ai import Epochs, Task, eval
from inspect_ai.dataset import FieldSpec, json_dataset
from inspect_ai.log import write_eval_log
from inspect_ai.scorer import answer, match
from inspect_ai.solver import generate

fields = FieldSpec(input="question", target="answer", id="id")
scorers = [match(numeric=True), answer("line")]
task = Task(
    dataset=json_dataset("problems.jsonl", fields), solver=generate(), scorer=scorers, name="sums",
    epochs=Epochs({n}, "mean"),
)
how = {{"temperature": 0.8, "max_tokens": 32, "max_connections": 1, "max_samples": 1}}
(log,) = eval(task, model="openai-api/local/adder", display="none", log_dir="logs", **how)
if log.status != "success":
    sys.exit(str(log.error))
for sample in log.samples:
    sample.events = []  # most of a log, and nothing that is read
write_eval_log(log, "sums.json")
"""
READ = """
import sys

from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

for path in sys.argv[1:]:
    log = read_eval_log(path)
    listed = read_eval_log_sample_summaries(path)
    values = [sample.scores["math"].as_str() for sample in log.samples]
    words = [sample.output.stop_reason for sample in log.samples]
    score = log.results.scores[0]
    print(path, log.status, len(log.samples), len(listed), score.name, score.metrics["accuracy"].value)
    print(values.count("C"), sorted(set(words)), log.samples[0].output.completion, log.samples[0].target)
"""


def inspect(python: str, url: str, folder: Path, problems: Path) -> dict[str, Path]:
    """Also has it read what `largek export` makes of its log."""
    (folder / "sums.py").write_text(INSPECT_TASK.format(n=N))
    call(folder, python, "sums.py", LOCAL_API_KEY="none", LOCAL_BASE_URL=url)
    (path,) = (folder / "logs").glob("*.eval")
    store, logs = str(folder / "store"), [str(folder / f"made.{kind}") for kind in ("eval", "json")]
    imported.run([str(path)], store)
    grade.run(store, verifier="math")
    for log in logs:
        export.run(store, log)
    print(call(folder, python, "-c", READ, *logs))
    return {"inspect/sums.eval": path, "inspect/sums.json": folder / "sums.json"}


# --- lighteval: one score of all answers to a problem

LIGHTEVAL_TASKS = """
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def prompt(line, task_name):
    return Doc(task_name=task_name, query=line["question"], choices=[line["answer"]], gold_index=0, id=line["id"])


def task(name, metric):
    return LightevalTaskConfig(
        name=name, prompt_function=prompt, hf_repo="problems", hf_subset="default", hf_avail_splits=["train"],
        evaluation_splits=["train"], generation_size=32, metrics=[metric],
    )


TASKS_TABLE = [
    task("sums", Metrics.expr_gold_metric),
    task("sums_avg", Metrics.avg_at_n_math(sample_params={{"n": {n}}})),
]
"""
LIGHTEVAL_MODEL = """
import json
from types import SimpleNamespace
from urllib.request import Request, urlopen

from lighteval.models.abstract_model import LightevalModel
from lighteval.models.model_output import ModelResponse


class Adder(LightevalModel):
    tokenizer, add_special_tokens, max_length = None, False, 64

    def __init__(self, config):
        self.config, self._cache = config, SimpleNamespace(_init_registry=lambda registry: None)

    def greedy_until(self, docs):
        return [self.answer(doc) for doc in docs]

    def answer(self, doc):
        body = json.dumps({{"model": "adder", "prompt": doc.query, "n": doc.num_samples}}).encode()
        with urlopen(Request("{url}/completions", body, {{"Content-Type": "application/json"}})) as reply:
            texts = [choice["text"] for choice in json.load(reply)["choices"]]
        tokens = [list(range(len(text.split()))) for text in texts]
        return ModelResponse(input=doc.query, text=texts, output_tokens=tokens)

    def loglikelihood(self, docs):
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood
"""


def lighteval(python: str, url: str, folder: Path, problems: Path) -> dict[str, Path]:
    # Whatever task is asked for, lighteval fetches a pickle for another, unless a file is there.
    (tasks,) = Path(python).parents[1].glob("lib/python*/site-packages/lighteval/tasks/tasks")
    (tasks / "tinyBenchmarks.pkl").touch()
    (folder / "problems").mkdir()
    shutil.copy(problems, folder / "problems")
    (folder / "tasks.py").write_text(LIGHTEVAL_TASKS.format(n=N))
    (folder / "model.py").write_text(LIGHTEVAL_MODEL.format(url=url))
    command = [python, "-m", "lighteval", "custom", "adder", "model.py", "sums|0,sums_avg|0"]
    call(folder, *command, "--custom-tasks", "tasks.py", "--output-dir", "out", "--save-details")
    (results,) = (folder / "out").rglob("results_*.json")
    # a file's name may have no | on every machine
    made = {f"lighteval/{path.name.replace('|', '-')}": path for path in (folder / "out").rglob("details_*.parquet")}
    return made | {f"lighteval/{results.name}": results}


# --- TRL, in this environment

TRL_TRAINING = """
import json
import random
import sys

from datasets import Dataset
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed
from trl import GRPOConfig, GRPOTrainer

words = ["<pad>", "<eos>", *"01234+= "]
tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<pad>"))
tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
set_seed(0)
shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=64, **shape, **ids))


def last_digit(completions, solution, log_extra, **_):
    log_extra("solution", list(solution))
    said = [[letter for letter in text if letter.isdigit()] for text in completions]
    return [float(digits[-1:] == [right]) for digits, right in zip(said, solution)]


def short(completions, **_):
    return [1 - len(text) / 8 for text in completions]


problems = [{"prompt": f"{a} + {b} = ", "solution": str(a + b)} for a in range(3) for b in range(3)]
config = GRPOConfig(
    output_dir="out", per_device_train_batch_size=16, num_generations=8, max_completion_length=4, max_steps=2,
    logging_steps=1, log_completions=True, num_completions_to_print=0, report_to=[], use_cpu=True, save_strategy="no",
    bf16=False, seed=1,
)
trainer = GRPOTrainer(model, [last_digit, short], config, Dataset.from_list(problems), processing_class=tokenizer)
trainer.train()
with open("printed.json", "w") as file:
    keys = ("step", "rewards/last_digit/mean", "rewards/short/mean")
    json.dump([{key: row[key] for key in keys} for row in trainer.state.log_history if keys[1] in row], file, indent=1)
"""


def trl(python: str, url: str, folder: Path, problems: Path) -> dict[str, Path]:
    (folder / "train.py").write_text(TRL_TRAINING)
    call(folder, sys.executable, "train.py")
    made = {f"trl/{path.name}": path for path in (folder / "out/completions").glob("*.parquet")}
    return made | {"trl/printed.json": folder / "printed.json"}


# --- verl, on the path of this environment: its trainer's own validation, which scores, saves and prints. Its rollouts
# want GPUs and Ray: the server's answers stand in for them, and bytes for tokens.

VERL_VALIDATION = """
import json
from urllib.request import Request, urlopen

import numpy as np
import torch
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo.ray_trainer import RayPPOTrainer
from verl.utils.reward_score import default_compute_score

WIDTH = 128
KEPT = "val-core/math_dapo/acc/mean@{n}"


class Bytes:
    eos_token_id = pad_token_id = 0

    def encode(self, texts):
        rows = [list(text.encode()) for text in texts]
        return torch.tensor([row + [0] * (WIDTH - len(row)) for row in rows])

    def decode(self, ids, skip_special_tokens):
        return bytes(id for id in ids.tolist() if id).decode()


class Rollout:
    def generate_sequences(self, batch):
        asked = [turns[-1]["content"] for turns in batch.non_tensor_batch["raw_prompt"]]
        # a reply to each row, since they are repeated already; in the form that verl's reward looks for
        said = [self.answer(text).replace("The answer is ", "Answer: ") for text in asked]
        right = [row["ground_truth"] for row in batch.non_tensor_batch["reward_model"]]
        verdicts = [default_compute_score("math_dapo", text, answer) for text, answer in zip(said, right)]
        scores = torch.zeros(len(said), WIDTH)
        scores[:, -1] = torch.tensor([verdict["score"] for verdict in verdicts])
        tensors = {{"prompts": tokenizer.encode(asked), "responses": tokenizer.encode(said), "rm_scores": scores}}
        others = {{key: np.array([verdict[key] for verdict in verdicts]) for key in verdicts[0]}}
        return DataProto.from_dict(tensors, others, {{"reward_extra_keys": list(others)}})

    def answer(self, prompt):
        body = json.dumps({{"model": "adder", "prompt": prompt}}).encode()
        with urlopen(Request("{url}/completions", body, {{"Content-Type": "application/json"}})) as reply:
            return json.load(reply)["choices"][0]["text"]


class Trainer(RayPPOTrainer):
    def __init__(self):
        self.config = OmegaConf.create({{
            "trainer": {{"validation_data_dir": "out", "log_val_generations": 0}},
            "actor_rollout_ref": {{"rollout": {{
                "val_kwargs": {{"n": {n}, "do_sample": True}}, "agent": {{"num_workers": 1}},
            }}}},
        }})
        self.tokenizer, self.async_rollout_manager = tokenizer, Rollout()
        self.global_steps, self.use_rm = 20, False
        self._init_dump_executor()


tokenizer = Bytes()
rows = [json.loads(line) for line in open("problems.jsonl")]
columns = {{
    "raw_prompt": [[{{"role": "user", "content": row["question"]}}] for row in rows],
    "reward_model": [{{"ground_truth": row["answer"]}} for row in rows],
    "data_source": ["math_dapo"] * len(rows),
}}
test = {{"dummy_tensor": torch.zeros(len(rows), 1)}}
for name, values in columns.items():
    test[name] = np.empty(len(rows), dtype=object)
    test[name][:] = values
trainer = Trainer()
trainer.val_dataloader = [test]
metrics = trainer._validate()
trainer._shutdown_dump_executor()
with open("printed.json", "w") as file:
    json.dump({{KEPT: float(metrics[KEPT])}}, file, indent=1)
"""


def verl(python: str, url: str, folder: Path, problems: Path) -> dict[str, Path]:
    (folder / "validate.py").write_text(VERL_VALIDATION.format(n=N, url=url))
    call(folder, sys.executable, "validate.py", PYTHONPATH=str(Path(python).parents[1]))
    return {"verl/20.jsonl": folder / "out/20.jsonl", "verl/printed.json": folder / "printed.json"}


# --- NeMo-Skills, in no package index: a copy of its repository is put into .bench/nemo-skills/src by hand. Its own
# generation, with its evaluator of mathematics in it, and its own summary, three times: answers by four seeds; thoughts
# in the text, which it takes out, in chunks of the problems; greedy answers with thoughts beside them, which a model
# judges.

SKILLS_PROBLEMS = [{"id": row["id"], "problem": row["question"], "expected_answer": row["answer"]} for row in PROBLEMS]
# as it writes GSM8K: no ids, and numbers as right answers
SKILLS_UNNAMED = [
    {"problem": f"What is {a} + {b}?", "expected_answer": a + b, "reference_solution": f"It is {a + b}."}
    for a, b in [(81, 19), (3, 4000), (5, 55)]
]
SKILLS = {"++prompt_config": "generic/math", "++eval_type": "math", "++inference.tokens_to_generate": 32}
SAMPLED = {"++inference.temperature": 0.7, "++inference.top_k": -1, "++inference.top_p": 0.95}


def nemo_skills(python: str, url: str, folder: Path, problems: Path) -> dict[str, Path]:
    server = {"++server.server_type": "vllm", "++server.model": "adder", "++server.base_url": url}
    problems.write_text("".join(json.dumps(row) + "\n" for row in SKILLS_PROBLEMS + SKILLS_UNNAMED))
    offline = {"PYTHONPATH": str(Path(python).parents[1] / "src"), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def generate(output: str, *settings: dict, script: str = "generate", source: Path = problems) -> None:
        given = {"++skip_filled": True, "++input_file": source, "++output_file": folder / output}
        given |= server | {key: value for each in settings for key, value in each.items()}
        call(
            folder, python, "-m", f"nemo_skills.inference.{script}", *(f"{k}={v}" for k, v in given.items()), **offline
        )

    def summary(name: str) -> Path:
        module = "nemo_skills.pipeline.summarize_results"
        print(call(folder, python, "-m", module, folder / name, "--metric-type", "math", **offline))
        return folder / name / "metrics.json"

    made = {}
    for seed in range(N):
        name = f"nemo-skills/sums/output-rs{seed}.jsonl"
        generate(name, SKILLS, SAMPLED, {"++inference.random_seed": seed})
        made[name] = folder / name
    made["nemo-skills/metrics.json"] = summary("nemo-skills")

    thinks = {"++prompt_suffix": f" {THINK}", "++parse_reasoning": True, "++num_chunks": 2}
    for seed in range(2):
        chunks = [f"nemo-skills-chunks/sums/output-rs{seed}_chunk_{chunk}.jsonl" for chunk in range(2)]
        whole = f"nemo-skills-chunks/sums/output-rs{seed}.jsonl"
        for chunk, name in enumerate(chunks):
            generate(whole, SKILLS, SAMPLED, thinks, {"++inference.random_seed": seed, "++chunk_id": chunk})
            made[name] = folder / name
        # what it makes of chunks when they are all there, and what its summary reads
        (folder / whole).write_bytes(b"".join((folder / name).read_bytes() for name in chunks))
    made["nemo-skills-chunks/metrics.json"] = summary("nemo-skills-chunks")

    answers, judged = "nemo-skills-answers/sums/output.jsonl", "nemo-skills-judged/sums/output.jsonl"
    generate(answers, SKILLS, {"++prompt_suffix": f" {APART}"})
    generate(judged, script="llm_math_judge", source=folder / answers)
    made |= {judged: folder / judged, "nemo-skills-judged/metrics.json": summary("nemo-skills-judged")}
    return made


Make = Callable[[str, str, Path, Path], dict[str, Path]]  # python, address, folder, problems: files by their new names
PEERS: dict[str, Make] = {"lm-eval": lm_eval, "inspect": inspect, "lighteval": lighteval, "trl": trl, "verl": verl}
PEERS["nemo-skills"] = nemo_skills


# --- the table: pass@1 as each tool printed it, under its verdicts in an imported store, and under largek's own


SKILLS_PRINTED = {
    "nemo-skills": [("pass@1[avg-of-4]", "symbolic_correct")],
    "nemo-skills-chunks": [("pass@1[avg-of-2]", "symbolic_correct")],
    "nemo-skills-judged": [("pass@1", "symbolic_correct"), ("pass@1", "judge_correct")],
}  # it prints percentages


def printed(folder: Path) -> dict[str, list[tuple[str, str, float]]]:
    """By a file of samples, or a pattern of several: which score, how `largek grade` calls its verdicts, and what the
    tool made of them."""
    found: dict[str, list[tuple[str, str, float]]] = {}
    for name in ("lm-eval", "lm-eval-repeats"):
        (path,), (results,) = ((folder / name).glob(pattern) for pattern in ("samples_*.jsonl", "results_*.json"))
        scores = json.loads(results.read_text())["results"]["sums"]
        own = [key for key in scores if key.startswith("exact_match,") and (key[12:] != "vote" or name == "lm-eval")]
        found[str(path)] = [(key, f"recorded:{key}", scores[key]) for key in own]
    for name in ("sums.eval", "sums.json"):
        path = folder / "inspect" / name
        scored = read_log(path)[0]["results"]["scores"]
        own = [(score["name"], score["metrics"]["accuracy"]["value"]) for score in scored]
        found[str(path)] = [(f"accuracy, {scorer}", f"recorded:{scorer}", value) for scorer, value in own]
    (results,) = (folder / "lighteval").glob("results_*.json")
    for task in ("sums", "sums_avg"):
        (path,) = (folder / "lighteval").glob(f"details_{task}-0_*.parquet")
        scores = json.loads(results.read_text())["results"][f"{task}|0"]
        own = [(key, f"recorded:{key}", value) for key, value in scores.items() if not key.endswith("_stderr")]
        found[str(path)] = own
    ((key, value),) = json.loads((folder / "verl/printed.json").read_text()).items()
    found[str(folder / "verl/20.jsonl")] = [(key, "recorded:acc", value)]
    for row in json.loads((folder / "trl/printed.json").read_text()):
        key = "rewards/last_digit/mean"
        found[str(folder / f"trl/completions_{row['step']:05}.parquet")] = [(key, "recorded:last_digit", row[key])]
    for name, modes in SKILLS_PRINTED.items():
        scores = json.loads((folder / name / "metrics.json").read_text())["sums"]
        found[str(folder / name / "sums/output*.jsonl")] = [
            (f"{mode}, {judge}", f"recorded:{judge}", scores[mode][judge] / 100) for mode, judge in modes
        ]
    return found


def table(folder: Path) -> str:
    rows = ["| file | score | printed | imported | largek `math` |", "|---|---|---|---|---|"]
    for path, scores in printed(folder).items():
        with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(sys.stderr):
            store = f"{made}/store"
            said = imported.run(sorted(glob(path)), store, name="model")["recorded"]
            # a score that is of no single answer is not graded by: the mean that `largek import` prints
            means = {judge: own["mean"] for judge, own in said.items() if not own["answers"]}
            judges = [verifier.removeprefix("recorded:") for _, verifier, _ in scores]
            passed = [means[judge] if judge in means else pass_at_1(store, f"recorded:{judge}") for judge in judges]
            mine = pass_at_1(store, "math")
        for (name, _, value), recorded in zip(scores, passed):
            file = Path(path).relative_to(folder)
            rows.append(f"| `{file}` | {name} | {value:.14g} | {recorded:.14g} | {mine:.4f} |")
    return "\n".join(rows)


def pass_at_1(store: str, verifier: str) -> float:
    grade.run(store, verifier=verifier)
    table = passk.run([store], [1])
    return table.loc[table["task"] == "mean", "estimate"].item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=Path, help="folder of the tools' environments: makes the files")
    parser.add_argument("--output", type=Path, required=True, help="folder of the files")
    parser.add_argument("--page", type=Path, help="page whose table to write")
    parser.add_argument("--only", nargs="+", default=list(PEERS), choices=PEERS)
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    for name in args.only if args.envs else []:
        Model.asked.clear()
        if name == "nemo-skills" and not (args.envs / name / "src").is_dir():
            print(f"nemo-skills: no copy of its repository in {args.envs / name}/src: its files stay as they are")
            continue
        with tempfile.TemporaryDirectory() as folder:
            problems = Path(folder, "problems.jsonl")
            problems.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
            folder_of = {"lighteval": "lighteval-sampling"}  # the one in which it samples
            python = str((args.envs / folder_of.get(name, name) / "bin/python").absolute())
            made = PEERS[name](python, url, Path(folder), problems)
            for old in {Path(target).parts[0] for target in made}:  # whose names may hold the time
                shutil.rmtree(args.output / old, ignore_errors=True)
            for target, source in made.items():
                (args.output / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, args.output / target)
                print(args.output / target, flush=True)
    if args.page:
        parts = re.split(r"(<!-- (?:begin|end) peers -->\n)", args.page.read_text())
        parts[2] = table(args.output) + "\n"
        args.page.write_text("".join(parts))


if __name__ == "__main__":
    main()
