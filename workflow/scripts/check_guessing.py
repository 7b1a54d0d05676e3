"""Can answers be guessed? Every answer is graded against the answers of all other problems of its task.

If a share q of a model's answers equals the answer of another problem, then pass@256 against that answer is
1 - (1 - q)^256 on average, which is at most 256 q (Bernoulli's inequality). The bound needs no 256 samples, and all
pairs of problems together make it precise.

Reads grades below --results and the problems; writes CSV: model, task, answers, pairs, matches, pass@256_bound.

    python workflow/scripts/check_guessing.py --results results/smoke --models base \\
        --problems results/smoke/problems/outcome.jsonl --output results/smoke/tables/guessing.csv
"""

import argparse
from collections import Counter
from pathlib import Path

import pandas as pd

from largek.common import exit_on_bad_input, read_jsonl, whole_file
from largek.passk import read_grades

K = 256


def swapped_matches(extracted: dict[str, list[str | None]], answers: dict[str, str]) -> tuple[int, int]:
    """(pairs, matches): each problem's extracted answers against the answers of all other problems.

    `extracted` has the answers read from the model's texts by problem, `answers` the right one of each problem.
    """
    gold, pairs, matches = Counter(answers.values()), 0, 0
    for problem, found in extracted.items():
        own = answers[problem]
        pairs += len(found) * (len(answers) - 1)
        matches += sum(gold[text] - (text == own) for text in found if text is not None)
    return pairs, matches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, type=Path)
    parser.add_argument("--models", required=True, nargs="+")
    parser.add_argument("--problems", required=True, nargs="+")
    parser.add_argument("--output", required=True, type=Path)
    args = parser.parse_args()
    with exit_on_bad_input("check_guessing"):
        problems = pd.DataFrame([row for path in args.problems for row in read_jsonl(path, ("id", "task", "answer"))])
        gold = {task: rows.set_index("id")["answer"].to_dict() for task, rows in problems.groupby("task")}
        rows = []
        for model in args.models:
            blocks = sorted((args.results / "grades" / model).glob("block-*.parquet"))
            grades = pd.concat([read_grades(str(path), ["task", "problem", "extracted"]) for path in blocks])
            for task, answers in grades.groupby("task"):
                found = answers.groupby("problem")["extracted"].agg(list).to_dict()
                pairs, matches = swapped_matches(found, gold[task])
                row = {"model": model, "task": task, "answers": len(answers), "pairs": pairs, "matches": matches}
                rows.append(row | {"pass@256_bound": K * matches / pairs})
        with whole_file(args.output) as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)


if __name__ == "__main__":
    main()
