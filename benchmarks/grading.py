"""`largek grade --verifier math` against Math-Verify as it is mostly used: one answer after another in one process.

    python benchmarks/grading.py --problems math500_test.jsonl

Answers are made from the published problems of MATH-500, 64 to each:
  repeated   as a model samples them: every problem has a chance of its own to be solved, the right answer comes in a
             few forms (\\dfrac for \\frac, \\left( for (, spaces, x = 3 for 3), wrong ones are eight golds of other
             problems, the first of them much more often. 90 % end in a box, 5 % in words without a box, 5 % are cut
             off, which their record says. Every text is the worked solution with some of its sentences left out
             and differs from all others
  different  no two answers alike, so that nothing is gained by keeping verdicts: the gold of a random problem with
             other numbers in it, right for none. All end in a box; a quarter as many
largek's time is that of the whole command, its start included, on all cores, and then on one. Math-Verify parses each
gold once and each text, and verifies, with its defaults; imports do not count. It gets a random part of the answers,
and its time is scaled to all. Verdicts are compared on that part, and with what is right by the way answers are made.
"""

import argparse
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from largek.common import Progress, read_jsonl, write_jsonl
from largek.store import SCHEMA

LARGEK = str(Path(sys.executable).with_name("largek"))
SHOWN = 3  # examples of a class of disagreements


def forms(gold: str) -> list[str]:
    """The right answer in some of the ways in which models write it, as it is published first."""
    found = [gold, gold.replace("\\frac", "\\dfrac"), f" {gold} "]
    if gold.startswith("(") and gold.endswith(")"):
        found.append(f"\\left{gold[:-1]}\\right)")
    if re.fullmatch(r"-?\d+|-?\\frac\{\d+\}\{\d+\}", gold):
        found.append(f"x = {gold}")
    return found


def repeated(rows: list[dict], n: int) -> list[dict]:
    rng, answers = random.Random(1), []
    for row in rows:
        chance, right = rng.random(), forms(row["answer"])
        wrong = [gold for gold in rng.sample([other["answer"] for other in rows], 12) if gold != row["answer"]][:8]
        for _ in range(n):
            good = rng.random() < chance
            answer = rng.choices(right, [4] + [1] * (len(right) - 1))[0]
            if not good:
                answer = rng.choices(wrong, [2.0**-i for i in range(len(wrong))])[0]
            kind = rng.choices(["box", "words", "cut off"], [90, 5, 5])[0]
            answers.append({"row": row, "answer": answer, "right": good and kind != "cut off", "kind": kind})
    return answers


def different(rows: list[dict], n: int) -> list[dict]:
    rng, answers, seen = random.Random(2), [], {row["answer"] for row in rows}
    for row in rows:
        for _ in range(n // 4):
            while (answer := renumbered(rng, rng.choice(rows)["answer"])) in seen:
                pass
            seen.add(answer)
            answers.append({"row": row, "answer": answer, "right": False, "kind": "box"})
    return answers


def renumbered(rng: random.Random, gold: str) -> str:
    """Another number for every number, but for powers, which would make another kind of problem of it."""
    return re.sub(r"(?<![\d^])(?<!\^\{)\d+", lambda _: str(rng.randrange(2, 1_000_000)), gold)


def write_texts(answers: list[dict]) -> None:
    rng, seen = random.Random(3), set()
    for answer in answers:
        sentences = re.split(r"(?<=\.)\s+", re.sub(r"\\boxed", "", answer["row"]["solution"]))
        last = {"box": "Therefore, the answer is $\\boxed{%s}$.", "words": "So the answer is $%s$.", "cut off": ""}
        last = last[answer["kind"]].replace("%s", answer["answer"])
        while True:
            kept = [sentence for sentence in sentences if rng.random() < 0.8]
            text = " ".join([f"Attempt {rng.randrange(10**6)}.", *kept])
            text = text[: rng.randrange(len(text) // 2, len(text))] if not last else f"{text} {last}"
            if text not in seen:
                break
        seen.add(text)
        answer["text"] = text


def grade(folder: Path, answers: list[dict], cores: set[int]) -> tuple[float, list[str]]:
    """(seconds of the command, the outcomes)."""
    rows = {row["id"]: row for row in (answer["row"] for answer in answers)}
    write_jsonl(folder / "problems.jsonl", rows.values())
    samples = [
        {"model": "made", "task": "math", "split": "test", "problem": answer["row"]["id"], "sample": i,
         "text": answer["text"], "tokens": len(answer["text"].split()), "seed": 0,
         "finish": "length" if answer["kind"] == "cut off" else "stop"}
        for i, answer in enumerate(answers)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(samples, SCHEMA), folder / "samples.parquet")
    output = folder / f"grades-{len(cores)}.parquet"
    command = [LARGEK, "grade", folder / "samples.parquet", "--tasks", folder / "problems.jsonl"]
    command += ["--verifier", "math", "--output", output]
    start = time.perf_counter()
    subprocess.run(
        list(map(str, command)),
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return time.perf_counter() - start, pq.read_table(output)["outcome"].to_pylist()


def serial(answers: list[dict]) -> tuple[float, list[bool]]:
    """(seconds, verdicts) of Math-Verify."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)  # it prints a trace for what it cannot read
    golds, verdicts, progress = {}, [], Progress("Math-Verify", len(answers), "answers")
    start = time.perf_counter()
    for answer in answers:
        gold = answer["row"]["answer"]
        if gold not in golds:
            golds[gold] = parse(f"${gold}$")
        verdicts.append(verify(golds[gold], parse(answer["text"])))
        progress.update(len(verdicts))
    return time.perf_counter() - start, verdicts


def show_disagreements(answers: list[dict], outcomes: list[str], verdicts: list[bool]) -> None:
    classes: dict[tuple, list[dict]] = {}
    for answer, outcome, verdict in zip(answers, outcomes, verdicts):
        if (outcome == "correct") != verdict:
            name = answer["kind"], outcome, "correct" if verdict else "wrong", "right" if answer["right"] else "wrong"
            classes.setdefault(name, []).append(answer)
    for (kind, outcome, verdict, truth), found in sorted(classes.items(), key=lambda item: -len(item[1])):
        print(f"  {len(found):5} {kind}: largek {outcome}, Math-Verify {verdict}, made {truth}")
        pairs = Counter((answer["row"]["answer"], answer["answer"]) for answer in found)
        for (gold, written), times in pairs.most_common(SHOWN) if kind != "cut off" else ():
            print(f"        {times} x gold {gold!r:.60}, written {written!r:.60}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", required=True, help="MATH-500: JSONL of {problem, solution, answer}")
    parser.add_argument("--number", type=int, default=500, help="problems, the first of the file")
    parser.add_argument("--samples", type=int, default=64, help="answers a problem")
    parser.add_argument("--part", type=int, default=8000, help="answers that Math-Verify gets")
    args = parser.parse_args()
    rows = read_jsonl(args.problems, ("problem", "solution", "answer"))[: args.number]
    rows = [row | {"id": f"p{i}", "task": "math", "split": "test"} for i, row in enumerate(rows)]
    every, found = os.sched_getaffinity(0), []
    for name, make in (("repeated", repeated), ("different", different)):
        answers = make(rows, args.samples)
        write_texts(answers)
        with tempfile.TemporaryDirectory() as folder:
            both, outcomes = grade(Path(folder), answers, every)
            one, _ = grade(Path(folder), answers, {min(every)})
        part = sorted(random.Random(4).sample(range(len(answers)), min(args.part, len(answers))))
        took, verdicts = serial([answers[i] for i in part])
        theirs = took / len(part) * len(answers)
        pairs = len({(answer["row"]["id"], answer["answer"]) for answer in answers})
        agree = sum((outcomes[i] == "correct") == verdict for i, verdict in zip(part, verdicts))
        found.append((name, len(answers), pairs, both, one, theirs))
        print(f"{name}: {agree} of {len(part)} verdicts agree, {len(part) - agree} do not", flush=True)
        show_disagreements([answers[i] for i in part], [outcomes[i] for i in part], verdicts)
        for who, right in (("largek", [outcomes[i] == "correct" for i in part]), ("Math-Verify", verdicts)):
            wrongly = Counter(is_right for i, is_right in zip(part, right) if is_right != answers[i]["right"])
            print(f"  {who}: {wrongly[True]} wrong answers held right, {wrongly[False]} right ones held wrong")
    print(f"\nMath-Verify timed on {len(part)} of the answers, scaled to all; largek on {len(every)} cores, and on one")
    heads = ("number", "different", "largek", "on one", "serial", "ratio", "on one")
    print(f"{'answers':10}" + "".join(f"{head:>10}" for head in heads))
    for name, number, pairs, both, one, theirs in found:
        cells = (
            f"{number:10}{pairs:10}{both:8.1f} s{one:8.1f} s{theirs:8.1f} s{theirs / both:10.1f}{theirs / one:10.1f}"
        )
        print(f"{name:10}{cells}")


if __name__ == "__main__":
    main()
