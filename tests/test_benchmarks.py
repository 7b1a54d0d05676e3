"""The benchmarks that compare verdicts and numbers with other tools, at a small size: what they compare agrees.
And that of the intervals: its tables are within their bounds."""

import re
from math import comb

import numpy as np
import pytest
from conftest import ROOT, run

from benchmarks.grading import different, grade, repeated, serial, write_texts
from benchmarks.passk import draw
from largek.passk import passk

PEER = ROOT / ".bench" / "passk-inference"
PROBLEMS = [
    ("Half of a cake is cut in three. How much is a piece?", r"A piece is $\frac{1}{2} \div 3 = \boxed{\frac{1}{6}}$."),
    ("Ann has 4 boxes of 12 eggs. How many eggs?", r"There are 12 in each. So $4 \cdot 12 = \boxed{48}$."),
    ("Which point is 3 to the right of $(0, 2)$?", r"The first coordinate grows by 3. It is $\boxed{(3,2)}$."),
    ("Expand $(x+1)(x-1)$.", r"The products cancel. What stays is $\boxed{x^2 - 1}$."),
    ("How long is the diagonal of a square of side 3?", r"By Pythagoras it is $\boxed{3\sqrt{2}}$."),
]


def rows() -> list[dict]:
    """The problems as the benchmark reads them, five times each, so that there are other golds enough."""
    return [
        {"id": f"p{i}", "task": "math", "split": "test", "problem": problem, "solution": solution,
         "answer": solution.rpartition("\\boxed{")[2].rpartition("}")[0]}
        for i, (problem, solution) in enumerate(PROBLEMS * 5)
    ]  # fmt: skip


@pytest.mark.parametrize("make", [repeated, different])
def test_largek_and_math_verify_give_the_same_verdicts(make, tmp_path):
    answers = make(rows(), 8)
    write_texts(answers)
    assert len({answer["text"] for answer in answers}) == len(answers)
    _, outcomes = grade(tmp_path, answers, {0})
    _, verdicts = serial(answers)
    cut = [answer["kind"] == "cut off" for answer in answers]
    assert [outcome == "truncated" for outcome in outcomes] == cut
    found = [(answer, outcome, verdict) for answer, outcome, verdict in zip(answers, outcomes, verdicts)]
    assert not [each for each in found if each[1] != "truncated" and (each[1] == "correct") != each[2]]
    assert not [each for each in found if (each[1] == "correct") != each[0]["right"]]
    assert any(verdicts) == (make is repeated)


def test_the_peer_gives_the_same_pass_at_k():
    if not (PEER / "passk_inference").exists():
        pytest.skip(f"{PEER} is absent; make .bench/passk-inference/ready builds it")
    said = run("python", "benchmarks/passk.py", "--peer", PEER, "--problems", 200, "--n", 20)
    assert said.returncode == 0, said.stderr
    assert "pass@k, every k to 20, 200 problems, 21 different counts" in said.stdout


def test_the_counts_of_the_benchmark_against_binomial_coefficients():
    correct, ks = draw(200, 20), np.arange(1, 21)
    exact = [[1 - comb(20 - c, k) / comb(20, k) for k in ks.tolist()] for c in correct.tolist()]
    np.testing.assert_allclose(passk(np.full(200, 20), correct, ks), exact, rtol=0, atol=1e-12)


def cells(page: str, part: str) -> list[tuple[float, float]]:
    """Coverage and length of every interval in a table of benchmarks/coverage.py."""
    (block,) = re.findall(rf"<!-- begin {part} -->(.*?)<!-- end {part} -->", page, re.S)
    return [(float(held), float(length)) for held, length in re.findall(r"\| (\d+\.\d)[↑↓]? \(([\d.]+)\)", block)]


def test_the_coverage_of_intervals_is_within_its_bounds():
    found = cells((ROOT / "docs" / "largek" / "intervals.md").read_text(), "passk")
    assert len(found) == 4 * 5 * 4 + 2 * 5 + 4
    assert min(held for held, _ in found) >= 93
    assert max(length for _, length in found) <= 1.25


def test_the_coverage_of_intervals_of_differences_is_within_its_bounds():
    found = cells((ROOT / "docs" / "largek" / "intervals.md").read_text(), "compare")
    assert len(found) == (4 * 6 + 2 * 5) * 4 * 4
    assert min(held for held, _ in found) > 91.4  # 93 less two standard errors
    assert max(length for _, length in found) <= 1.25


@pytest.mark.parametrize("part, candidates", [("passk", "means"), ("compare", "paired")])
def test_the_simulation_of_intervals_fills_its_page(part, candidates, tmp_path):
    page = tmp_path / "page.md"
    blocks = (f"<!-- begin {name} -->\nstale\n<!-- end {name} -->\n" for name in (part, f"{part}-bounds", candidates))
    page.write_text(f"Before.\n{''.join(blocks)}After.\n")
    said = run("python", "benchmarks/coverage.py", "--quick", "--part", part, "--page", page)
    assert said.returncode == 0, said.stderr
    text = page.read_text()
    assert text.startswith("Before.\n") and text.endswith("\nAfter.\n") and "stale" not in text
    assert min(held for held, _ in cells(text, part)) > 91  # 300 studies
    failed = dict(re.findall(r"\| ([^|]+) \| (\d+\.\d) \(", text[text.index(f"begin {candidates}") :]))
    assert "Student's t" in failed and "Bonett and Price 2012" not in failed and "Gaffke 2005" not in failed
    assert max(float(held) for held in failed.values()) < 91
    assert f"Of {len(cells(text, part))} cells " in text and text.count(f"begin {part}-bounds") == 1
