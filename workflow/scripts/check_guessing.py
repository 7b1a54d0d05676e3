"""Can answers be guessed? Every answer is graded against the answers of all other problems of its task.

A pair is a problem and another problem of its task; it is matched if any of the n answers to the first equals the
answer of the second. The share of matched pairs is pass@n against a swapped answer, averaged over all ways to swap.
pass@k is concave in k, so pass@256 is at most 256 / n times that, which needs no 256 samples.

Reads grades and problems; writes CSV: model, task, n, pairs, matched, pass@256_bound.

    python workflow/scripts/check_guessing.py --grades results/smoke/grades/base/*.parquet \\
        --problems results/smoke/problems/outcome.jsonl --output results/smoke/tables/guessing.csv
"""

import argparse
from collections import Counter

import pandas as pd

from largek.common import exit_on_bad_input, read_jsonl, write_csv
from largek.grades import read_grades

K = 256


def swapped(extracted: dict[str, set[str]], answers: dict[str, str]) -> tuple[int, int]:
    """(pairs, matched): each problem's extracted answers against the right answers of all other problems.

    `extracted` has the different answers that were read from the model's texts, by problem.
    """
    gold = Counter(answers.values())
    matched = sum(gold[text] - (text == answers[problem]) for problem, found in extracted.items() for text in found)
    return len(extracted) * (len(answers) - 1), matched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grades", required=True, nargs="+")
    parser.add_argument("--problems", required=True, nargs="+")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("check_guessing"):
        problems = pd.DataFrame([row for path in args.problems for row in read_jsonl(path, ("id", "task", "answer"))])
        gold = {task: rows.set_index("id")["answer"].to_dict() for task, rows in problems.groupby("task")}
        columns, rows = ["model", "task", "problem", "extracted"], []
        grades = pd.concat([read_grades(path, columns) for path in args.grades])
        for (model, task), answers in grades.groupby(["model", "task"]):
            found = answers.groupby("problem")["extracted"]
            pairs, matched = swapped(found.agg(lambda texts: set(texts.dropna().unique())).to_dict(), gold[task])
            n = int(found.size().min())
            row = {"model": model, "task": task, "n": n, "pairs": pairs, "matched": matched}
            rows.append(row | {"pass@256_bound": max(1, K / n) * matched / pairs})
        write_csv(args.output, pd.DataFrame(rows))


if __name__ == "__main__":
    main()
