"""What can the study tell? Whole studies, simulated at the level of models.csv and judged by judge_hypotheses.py.

    python benchmarks/power.py --studies 1000 --bases 6 8 10 12

Prints for each hypothesis the mean of its statistic over base models and their sd, how often it is found at 5 % without
(`p`) and with Holm's correction (`holm`) and at the first step of Holm (`first`, a lower bound on what Holm gives), how
often the 95 % interval covers the truth, and the smallest effect that is found with a power of 80 % at the first step
(`told`; of the secondary hypotheses at 5 %). Without any effect `p` should be 0.05. The truth is what was put in, or of
statistics that cannot be put in, their mean over all studies.

The simulated study has the recipes of the plan, or those of the sheet: it names tokens of another language, so its
smallest random budget stands for the plan's. Its numbers are from two pilots and from the variance components of the
published reference study. A SFT seed's luck before RL is not kept by RL, so that matching on scores before RL regresses
to the mean as far as it can.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import nct, norm
from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))
from judge_hypotheses import holm, t_test_over_bases
from quagmires.hypotheses import Scores, statistics

# mix, epochs, tokens seen, pass@1 and pass@64 before RL in percent: the means of two pilots, or read between them
RECIPES = [
    ("base", 0, 0, 29.2, 72),
    ("random", 1, 10_500, 17.4, 76),
    ("random", 1, 21_000, 32.0, 83),
    ("random", 1, 42_000, 46.5, 91),
    ("random", 1, 84_000, 53.5, 94),
    ("random", 1, 168_000, 59.8, 96.5),
    ("random", 1, 336_000, 66.5, 97),
    ("simple", 1, 42_000, 29.5, 64),
    ("simple", 1, 84_000, 35.0, 64),
    ("simple", 1, 168_000, 47.5, 67.5),
    ("simple", 1, 336_000, 54.0, 70),
    ("longest", 1, 42_000, 30.0, 82),
    ("longest", 1, 84_000, 33.0, 84),
    ("longest", 1, 168_000, 34.5, 87.5),
    ("longest", 1, 336_000, 45.0, 92),
    ("homogeneous", 1, 42_000, 38.0, 68),
    ("homogeneous", 1, 84_000, 43.0, 70),
    ("homogeneous", 1, 168_000, 47.2, 71.5),
    ("homogeneous", 1, 336_000, 52.0, 73),
    ("mixed", 1, 42_000, 30.0, 82),
    ("mixed", 1, 168_000, 35.5, 86),
    ("random", 8, 42_000, 42.0, 80),
    ("random", 32, 168_000, 56.5, 78.5),
    ("random", 64, 336_000, 56.0, 75),
    ("random", 2, 42_000, 40.0, 85),
    ("random", 8, 168_000, 58.8, 89.5),
    ("random", 16, 336_000, 58.5, 85),
    ("simple", 4, 168_000, 40.0, 64),
]
COLUMNS = ["mix", "epochs", "tokens", "p1", "p64"]
KINDS = ("simple", "repeated", "homogeneous", "longest", "mixed")
STEPS = [20, 40, 80, 160, 320]
KS = [1, 2, 4, 8, 16, 32, 64, 128]
CURVE = ([0, 17, 29, 46.5, 60, 67, 100], [60, 62, 62.3, 69, 75, 79, 100])  # score before RL to score after the longest
RISEN = {20: 0.45, 40: 0.6, 80: 0.8, 160: 0.9, 320: 1.0}  # share of the way from the score before to the curve
GROWN = {20: 0.1, 40: 0.25, 80: 0.42, 160: 0.7, 320: 1.0}  # share of an effect that shows after these steps
EFFECTS = {  # over-promise at the longest RL budget, points
    "none": {},
    "80": {
        "simple": -3.9,
        "repeated": -3.4,
        "homogeneous": 2.6,
        "longest": 1.5,
        "mixed": 1.2,
    },  # seen after 80 steps, two base models
    "320": {
        "simple": -10.2,
        "repeated": -5.8,
        "homogeneous": 2.6,
        "longest": 4.4,
        "mixed": 3.0,
    },  # after 320, one base model
}
PRIMARY = ["simple", "repeated", "homogeneous", "large_k", "loss", "best_k_grows", "over_promise_grows"]
SECONDARY = ["large_k_adds", "argmax_k_grows"]
SD = dict(
    base=2.0,  # of base models' scores before RL
    recipe=4.2,  # of a recipe's true score before RL from base to base, which RL keeps
    recipe64=3.7,  # the same of pass@64
    luck=1.62,  # of a SFT seed's score before RL, which RL does not keep
    run=1.64,  # of a score after RL over SFT and GRPO seeds
    effect=1.5,  # of an effect from base to base
    problems=1.0,  # of all models' scores together
    own=(0.92, 1.2, 0.78),  # of one model's beside: pass@1, pass@64, score after RL; 384 problems
    samples=(0.2, 0.35),  # n = 128 before RL, 32 after
)


def logit(points: np.ndarray) -> np.ndarray:
    share = np.clip(points, 0.5, 99.5) / 100
    return np.log(share / (1 - share))


def recipes_of(sheet: Path) -> list[tuple]:
    """Those of RECIPES that a sheet of runs has, and the base model; the others are named and left out."""
    rows = pd.read_csv(sheet, sep="\t", comment="#").query("mix == mix")
    rows["tokens"] = rows["budget_tokens"] * rows["epochs"]
    unit = rows.query("mix == 'random' and epochs == 1")["tokens"].min() / RECIPES[1][2]
    out = [RECIPES[0]]
    for row in rows.itertuples():
        like = [r for r in RECIPES if r[:2] == (row.mix, row.epochs) and abs(r[2] * unit / row.tokens - 1) < 0.1]
        if not like:
            print(f"{row.run}: not simulated")
        out += like[:1]
    return out


def simulate(
    rng: np.random.Generator, studies: int, bases: int, effects: dict[str, float], recipes=RECIPES, **changed: float
) -> Scores:
    """Studies with the given effects: Scores with axes (studies, bases) in front."""
    sd = SD | changed
    runs = pd.DataFrame(recipes, columns=COLUMNS).assign(seeds=1)
    shape = (studies, bases, len(runs))

    def noise(scale: float, *axes: int) -> np.ndarray:
        return rng.normal(0, scale, axes or shape) if scale else np.zeros(axes or shape)

    common = (studies, bases, 1)
    kept = runs["p1"].to_numpy() + noise(sd["base"], *common) + noise(sd["recipe"])
    before = kept + noise(sd["luck"]) + noise(sd["problems"], *common) + noise(np.hypot(sd["own"][0], sd["samples"][0]))
    p64 = runs["p64"].to_numpy() + noise(sd["base"], *common) + noise(sd["recipe64"]) + noise(sd["own"][1])
    scores = Scores(runs, STEPS, before, np.empty(0), {}, np.empty(0))
    effect = np.zeros(shape)
    for name in KINDS:
        size = effects.get(name, 0.0) + noise(sd["effect"], *common)
        effect = effect + scores.kind(name) * size
    lasting = noise(sd["run"] * 0.6**0.5) + noise(sd["problems"], *common) + noise(sd["own"][2])
    after = []
    for steps in STEPS:
        reached = (1 - RISEN[steps]) * kept + RISEN[steps] * np.interp(kept, *CURVE)
        after.append(
            reached + GROWN[steps] * effect + lasting + noise(np.hypot(sd["run"] * 0.4**0.5, sd["samples"][1]))
        )
    scores.after = np.stack(after, -2)
    ends = logit(before), logit(p64)
    for k in KS:
        share = np.log2(k) / 6
        scores.passk[k] = (1 - share) * ends[0] + share * ends[1] + (noise(0.02) if k > 1 else 0)
    z = [(x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) for x in ends]
    scores.loss = -(0.5 * z[0] + 0.5 * z[1] + noise(0.5))
    return scores


def alike(rng: np.random.Generator, studies: int, bases: int) -> Scores:
    """Studies in which pass@1, pass@64 and the loss rank equally well, after any number of steps."""
    scores = simulate(rng, studies, bases, {})
    skill = rng.normal(0, 1, scores.before.shape)
    one, large, scores.loss = (sign * skill + rng.normal(0, 0.5, skill.shape) for sign in (1, 1, -1))
    scores.passk = {k: (1 - np.log2(k) / 6) * one + np.log2(k) / 6 * large for k in KS}
    scores.after = np.stack([skill + rng.normal(0, 0.5, skill.shape) for _ in STEPS], -2)
    return scores


def told(sd: float, bases: int, level: float, power: float = 0.8) -> float:
    """The smallest effect that the t test over base models finds with this power at this level."""
    edge = student.ppf(1 - level / 2, bases - 1)
    return sd * brentq(lambda d: nct.sf(edge, bases - 1, d * bases**0.5) - power, 0, 20)


def judged(found: dict[str, np.ndarray], truth: dict[str, float] | None = None) -> pd.DataFrame:
    """One row a hypothesis: mean and sd over base models, found at 5 % with and without Holm, covered, told."""
    tests = {name: t_test_over_bases(found[name]) for name in [*PRIMARY, *SECONDARY]}
    corrected = dict(zip(PRIMARY, np.moveaxis(holm(np.stack([tests[name][3] for name in PRIMARY], -1)), -1, 0)))
    rows = {}
    for name, (mean, lo, hi, p) in tests.items():
        bases, sd = found[name].shape[-1], np.sqrt(found[name].var(-1, ddof=1).mean())
        true = (truth or {}).get(name, mean.mean())
        level = 0.05 / len(PRIMARY) if name in PRIMARY else 0.05
        rows[name] = {
            "mean": mean.mean(),
            "sd": sd,
            "p": (p <= 0.05).mean(),
            "covers": ((lo <= true) & (true <= hi)).mean(),
            "holm": (corrected[name] <= 0.05).mean() if name in PRIMARY else np.nan,
            "first": (p <= level).mean(),
            "told": told(sd, bases, level),
        }
    return pd.DataFrame(rows).T


def few(recipes: list[tuple], studies: int, bases: int, **changed: float) -> pd.DataFrame:
    """What so few base models tell of the over-promise of each kind."""
    names = [name for name in KINDS[:3] if (name != "homogeneous" or any(row[0] == name for row in recipes))]
    alone = statistics(simulate(np.random.default_rng(1), studies, 1, {}, recipes, **changed, effect=0.0))
    general = statistics(simulate(np.random.default_rng(2), studies, max(2, bases), {}, recipes, **changed))
    rows = {}
    for name in names:
        noise = np.nanstd(alone[name]) / bases**0.5
        over = np.sqrt(np.nanvar(general[name], -1, ddof=1).mean())
        row = {"noise": noise, "told, these": (norm.ppf(0.975) + norm.ppf(0.8)) * noise}
        row["told, general"] = told(over, bases, 0.05) if bases > 1 else np.nan
        for steps, effects in list(EFFECTS.items())[1:]:
            size = abs(effects[name])
            edge = student.ppf(0.975, bases - 1) if bases > 1 else np.nan
            row[f"{steps}: effect"] = effects[name]
            row[f"{steps}: these"] = norm.sf(norm.ppf(0.975) - size / noise)
            row[f"{steps}: general"] = nct.sf(edge, bases - 1, size / over * bases**0.5) if bases > 1 else np.nan
        rows[name] = row
    return pd.DataFrame(rows).T


def truth_of(effects: dict[str, float]) -> dict[str, float]:
    """The over-promises that were put in."""
    doublings = np.log2(STEPS)
    growth = np.polyfit(doublings, [GROWN[steps] for steps in STEPS], 1)[0]
    runs = pd.DataFrame(RECIPES, columns=COLUMNS)
    numbers = {name: Scores(runs, STEPS, *[np.empty(0)] * 2, {}, np.empty(0)).kind(name).sum() for name in KINDS[:2]}
    grown = sum(effects.get(name, 0) * number for name, number in numbers.items()) / sum(numbers.values())
    return {name: effects.get(name, 0.0) for name in KINDS[:3]} | {"over_promise_grows": growth * grown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--bases", type=int, nargs="+", default=[6, 8, 10, 12], help="numbers of base models")
    parser.add_argument("--sd", action="append", default=[], metavar="NAME=VALUE", help="another standard deviation")
    parser.add_argument("--runs", type=Path, help="a sheet of runs, with budgets of tokens")
    args = parser.parse_args()
    changed = {name: float(value) for name, value in (pair.split("=") for pair in args.sd)}
    if args.runs:
        recipes = recipes_of(args.runs)
        for bases in args.bases:
            print(f"\n{bases} base models, {args.runs}")
            print(few(recipes, args.studies, bases, **changed).round(2).to_string())
        return
    for bases in args.bases:
        worlds = {
            f"effects as in pilots after {steps} steps" if effects else "no effect": (
                simulate(np.random.default_rng(bases), args.studies, bases, effects, **changed),
                truth_of(effects),
            )
            for steps, effects in EFFECTS.items()
        }
        worlds["pass@1, pass@64 and loss rank alike"] = alike(np.random.default_rng(bases), args.studies, bases), {}
        for title, (scores, truth) in worlds.items():
            print(f"\n{bases} base models, {title}")
            print(judged(statistics(scores), truth).round(3).to_string())


if __name__ == "__main__":
    main()
