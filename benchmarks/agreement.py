"""The same stored answers to GSM8K graded by largek and by the graders of lm-evaluation-harness and lighteval.

    python benchmarks/agreement.py --model data/smollm2-135m-instruct --gsm8k data/gsm8k_test.jsonl \\
        --labelled data/gsm8k_labelled_solutions.jsonl --peers .bench --output results/benchmarks

Three sets of answers:
  sampled     8 answers of a model to each of the first problems, by `largek sample`, into a store that is kept
  as-written  labelled solutions by four models that come with GSM8K, to its first 150 problems; they end in `A: 18`
  labelled    all of these solutions, ending in `#### 18`, as in GSM8K itself and as lm-evaluation-harness asks for

Every peer runs in an environment of its own, by its own code and the settings of its own task:
  strict-match, flexible-extract   filters and metric of lm-evaluation-harness's gsm8k
  minerva_math                     its two metrics; exact_match reads "Final Answer: The final answer is ..."
  hendrycks_math                   reads what stands between the first and the last dollar sign
  lighteval                        the metric of its gsm8k
Every disagreement is a row of agreement-SET.tsv; the first ones of a class are printed.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

PROMPT = '{problem}\n\nReason step by step. End with a line that holds "#### " and the final number alone.'
SAMPLES, MAX_TOKENS, TEMPERATURE = 8, 256, 0.6  # at temperature 1 so small a model loses its thread
WRITTEN = 150  # problems whose solutions are graded as they are written
SHOWN, TAIL = 3, 100  # examples of a class; characters of the text
SETS = ("sampled", "as-written", "labelled")
NONE = "(none)"
COLUMNS = ("grader", "class", "problem", "sample", "gold")
COLUMNS += ("largek", "read by largek", "other", "read by other", "last characters")


def lm_eval_graders() -> dict:
    """Of lm-evaluation-harness: a function (gold, text) -> (right, what it read) for each grader. Runs there."""
    import lm_eval
    import yaml
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter
    from lm_eval.tasks.hendrycks_math import utils as hendrycks
    from lm_eval.tasks.minerva_math import utils as minerva

    task = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text())
    metric = {key: value for key, value in task["metric_list"][0].items() if key.startswith(("ignore", "regexes"))}

    def by_filter(steps: list[dict]):
        options = {key: value for key, value in steps[0].items() if key != "function"}

        def grade(gold: str, text: str):
            read = RegexFilter(**options).apply([[text]], [{}])[0][0]
            return bool(exact_match_hf_evaluate([read], [f"#### {gold}"], **metric)["exact_match"]), read

        return grade

    @cache
    def minerva_results(gold: str, text: str) -> dict:
        return minerva.process_results({"solution": f"\\boxed{{{gold}}}", "answer": gold}, [text])

    def by_minerva(name: str, read):
        return lambda gold, text: (bool(minerva_results(gold, text)[name]), read(text))

    def by_hendrycks(gold: str, text: str):
        dollars = [place for place, letter in enumerate(text) if letter == "$"]
        read = text if len(dollars) < 2 else text[dollars[0] + 1 : dollars[-1]]
        return bool(hendrycks.process_results({"solution": f"\\boxed{{{gold}}}"}, [text])["exact_match"]), read

    graders = {steps["name"]: by_filter(steps["filter"]) for steps in task["filter_list"]}
    graders["minerva exact_match"] = by_minerva("exact_match", minerva.get_unnormalized_answer)
    graders["minerva math_verify"] = by_minerva("math_verify", lambda text: str(minerva.parse(text)))
    graders["hendrycks_math"] = by_hendrycks
    return graders


def lighteval_graders() -> dict:
    """Of lighteval, likewise."""
    from lighteval.metrics.metrics import Metrics
    from lighteval.models.model_output import ModelResponse
    from lighteval.tasks.requests import Doc

    metric = Metrics.expr_gold_metric.value.sample_level_fn

    def grade(gold: str, text: str):
        doc = Doc(query="", choices=[f" #### {gold}"], gold_index=0)
        right = bool(metric.compute(doc=doc, model_response=ModelResponse(text=[text])))
        return right, str(doc.specific["extracted_predictions"])

    return {"lighteval": grade}


GRADERS = {"lm-eval": lm_eval_graders, "lighteval": lighteval_graders}


def serve(peer: str) -> None:
    """Runs in a peer's environment: answers from standard input, one JSON line of verdicts for each."""
    import logging

    logging.disable(logging.CRITICAL)
    graders = GRADERS[peer]()
    for line in sys.stdin:
        row = json.loads(line)
        found = {name: grade(row["gold"], row["text"]) for name, grade in graders.items()}
        print("\nFOUND", json.dumps(found), flush=True)


def by_peer(peer: str, folder: str, answers: list[dict]) -> list[dict]:
    """{grader: [right, read]} of each answer."""
    from largek.common import Progress

    command, pipe = [str(Path(folder, peer, "bin/python")), __file__, "--serve", peer], subprocess.PIPE
    process, found = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True), []
    progress = Progress(peer, len(answers), "answers")
    for row in answers:
        process.stdin.write(json.dumps({"gold": row["gold"], "text": row["text"]}) + "\n")
        process.stdin.flush()
        while (line := process.stdout.readline()) and not line.startswith("FOUND"):
            pass
        if not line:
            sys.exit(f"{peer} stopped")
        found.append(json.loads(line.removeprefix("FOUND")))
        progress.update(len(found))
    process.stdin.close()
    process.wait()
    return found


def sampled(model: str, gsm8k: str, number: int, folder: Path) -> list[dict]:
    """Answers of the model, from the store, which is made here unless it is there."""
    from largek.common import read_jsonl, write_jsonl
    from largek.sample import run
    from largek.store import read_samples

    rows = read_jsonl(gsm8k, ("question", "answer"))[:number]
    problems = [
        {"id": f"gsm8k-{i}", "problem": row["question"], "answer": row["answer"].rpartition("####")[2].strip()}
        for i, row in enumerate(rows)
    ]
    write_jsonl(folder / "gsm8k.jsonl", problems)
    gold = {row["id"]: row["answer"] for row in problems}
    run(model, [str(folder / "gsm8k.jsonl")], range(SAMPLES), store=str(folder / "store"), prompt=PROMPT,
        chat_template=True, max_tokens=MAX_TOKENS, temperature=TEMPERATURE, batch_size=64)  # fmt: skip
    rows = read_samples(folder / "store").to_pylist()
    return [row | {"gold": gold[row["problem"]]} for row in rows if row["problem"] in gold]


def labelled(path: str, number: int | None, mark: str) -> list[dict]:
    """The solutions to the first problems; `mark` stands before the final number."""
    from largek.common import read_jsonl

    answers = []
    for i, row in enumerate(read_jsonl(path, ("question", "ground_truth"))[:number]):
        for name in sorted(row.keys() - {"question", "ground_truth"}):
            text, gold = row[name]["solution"].replace("\nA: ", f"\n{mark} "), row["ground_truth"].rpartition("A: ")[2]
            about = {"problem": f"gsm8k-{i}", "sample": name, "finish": "stop", "label": row[name]["is_correct"]}
            answers.append(about | {"gold": gold, "text": text})
    return answers


def class_of(row: dict, verdict, read: str) -> str:
    """Why a grader and largek may differ on an answer."""
    if row["finish"] == "length":
        return "cut off at the cap: largek counts it as truncated, the other reads what is there"
    if read in ("[invalid]", "[invalidanswer]", "[]"):
        return "the other finds no answer in the form that it asks for"
    if "$" in read or len(read) > 60:
        return "the other reads a whole passage"
    return "another answer read" if read != verdict.extracted else "the same answer read and compared differently"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--gsm8k", help="test problems of GSM8K")
    parser.add_argument("--number", type=int, default=10, help="how many of them the model gets")
    parser.add_argument("--labelled", help="the labelled solutions that come with GSM8K")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--peers", help="folder with the environments lm-eval and lighteval")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--serve", choices=GRADERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    from largek.math_answers import math
    from largek.verify import judge

    args.output.mkdir(parents=True, exist_ok=True)
    sets = {
        "sampled": lambda: sampled(args.model, args.gsm8k, args.number, args.output),
        "as-written": lambda: labelled(args.labelled, WRITTEN, "A:"),
        "labelled": lambda: labelled(args.labelled, None, "####"),
    }
    for name in args.sets:
        answers, lines = sets[name](), ["\t".join(COLUMNS)]
        verdicts = [judge(math, row["text"], {"answer": row["gold"]}, row["finish"] == "length") for row in answers]
        others = [by_peer(peer, args.peers, answers) for peer in GRADERS]
        found = [dict(pair for part in parts for pair in part.items()) for parts in zip(*others)]
        ours = [verdict.outcome == "correct" for verdict in verdicts]
        print(f"\n{name}: {len(answers)} answers, {Counter(verdict.outcome for verdict in verdicts)}")
        print(f"{'grader':22}{'pass@1':>8}{'differ from largek':>20}{'only largek':>13}{'only other':>12}")
        print(f"{'largek math':22}{sum(ours) / len(ours):8.4f}")
        columns = {grader: [(bool(row[grader][0]), row[grader][1]) for row in found] for grader in found[0]}
        if "label" in answers[0]:
            columns["label"] = [(row["label"], "label") for row in answers]
        classes = defaultdict(list)
        for grader, column in columns.items():
            only = [(ours[i] and not right, right and not ours[i]) for i, (right, _) in enumerate(column)]
            largek, other = (sum(pair) for pair in zip(*only))
            share = sum(right for right, _ in column) / len(column)
            print(f"{grader:22}{share:8.4f}{largek + other:20}{largek:13}{other:12}")
            for row, verdict, (right, read) in zip(answers, verdicts, column):
                if right != (verdict.outcome == "correct"):
                    kind = class_of(row, verdict, read)
                    cells = (row["problem"], row["sample"], row["gold"], verdict.outcome, verdict.extracted or NONE,
                             "correct" if right else "wrong", read[-TAIL:], row["text"][-TAIL:])  # fmt: skip
                    classes[grader, kind, verdict.outcome].append(cells)
                    lines.append("\t".join([grader, kind, *(json.dumps(cell).strip('"') for cell in cells)]))
        for (grader, kind, outcome), rows in classes.items():
            print(f"\n{len(rows)} x {grader} {rows[0][5]}, largek {outcome}: {kind}")
            for cells in rows[:SHOWN]:
                print("   ", *(json.dumps(cell) for cell in cells))
        (args.output / f"agreement-{name}.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
