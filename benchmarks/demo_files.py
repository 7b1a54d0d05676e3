"""The files of lm-evaluation-harness that `largek demo --lm-eval` puts down: made by the tool itself.

    python benchmarks/demo_files.py --python .bench/lm-eval/bin/python     # a minute

The tool asks each of the demo's three models for SAMPLES answers to each of its problems and judges the first, as it
does with repeats. The models answer with what they have said before (largek/demo_data/samples.parquet): a small server
on loopback hands it out, one answer after another.
"""

import argparse
import json
import shutil
import tempfile
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq
import yaml
from imports import call

from largek.common import read_jsonl, whole_file
from largek.demo import DATA, LM_EVAL, MODELS, SETTINGS

SAMPLES = 16
TASK = {
    "task": "programs",
    "dataset_path": "json",
    "test_split": "train",
    "output_type": "generate_until",
    "doc_to_text": "{{problem}}",
    "doc_to_target": "{{answer}}",
    "repeats": SAMPLES,
    "generation_kwargs": {"do_sample": True, "temperature": SETTINGS["temperature"], "until": ["\n\n"]}
    | {"max_gen_toks": SETTINGS["max_tokens"]},
    "filter_list": [
        {
            "name": "answer",
            "filter": [{"function": "regex", "regex_pattern": "answer (.*)"}, {"function": "take_first"}],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    said: ClassVar[dict[tuple[str, str], list[dict]]] = {}  # by model and problem's text
    asked: ClassVar[Counter] = Counter()

    def log_message(self, *_) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompts = [body["prompt"]] if isinstance(body["prompt"], str) else body["prompt"]
        choices = []
        for index, prompt in enumerate(prompts):
            key = body["model"], prompt
            answer = self.said[key][self.asked[key]]
            self.asked[key] += 1
            choices.append({"index": index, "text": answer["text"], "finish_reason": answer["finish"]})
        reply = {"id": "x", "object": "text_completion", "created": 1, "model": body["model"], "choices": choices}
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, type=Path, help="of an environment with lm-evaluation-harness")
    args = parser.parse_args()
    texts = {row["id"]: row["problem"] for row in read_jsonl(DATA / "problems.jsonl")}
    for row in pq.read_table(DATA / "samples.parquet").to_pylist():
        Model.said.setdefault((row["model"], texts[row["problem"]]), []).append(row)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/completions"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(DATA / "problems.jsonl", folder)
        data = {"dataset_kwargs": {"data_files": {"train": "problems.jsonl"}}}  # a path of this machine would be kept
        (folder / "programs.yaml").write_text(yaml.safe_dump(TASK | data))
        for model in MODELS:
            about = f"model={model},base_url={url},num_concurrent=1,tokenized_requests=False,tokenizer_backend=None"
            command = [args.python.absolute(), "-m", "lm_eval", "run", "--model", "local-completions"]
            command += ["--model_args", about, "--tasks", "programs", "--include_path", ".", "--log_samples"]
            print(call(folder, *command, "--output_path", "lm-eval", OPENAI_API_KEY="none"), flush=True)
        files = sorted(path for path in (folder / "lm-eval").rglob("*") if path.is_file())
        with whole_file(LM_EVAL) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder))
                print(path.relative_to(folder), flush=True)
    print(f"{LM_EVAL}: {LM_EVAL.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
