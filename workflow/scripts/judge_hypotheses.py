"""Do SFT scores mislead, and what predicts better? A verdict on each hypothesis of the plan, decided over base models.

Reads tables/models.csv and writes tables/verdicts.csv: one row a hypothesis. Each has a statistic of one base model.
`effect` is its mean over base models, `lo` and `hi` the 95 % t interval, `p` the two-sided t test over base models, and
`p_holm` Holm's correction of it over the primary hypotheses. `p_permutation` decides nothing: the exact test that flips
the signs of base models, which cannot be below 2 / 2^n for n of them. `runs` are the recipes of all base models that
entered, `power` is what the plan promised. Scores are pass@1 in points, before RL on the predict problems, after RL on
the outcome problems; see estimate_over_promise.py for the over-promise.

    hypothesis           statistic of a base model                                                      claim
    simple               mean over-promise of simple one-epoch recipes after the longest RL             < 0
    repeated             the same of one random set at 8 or more epochs                                 < 0
    homogeneous          the same of homogeneous one-epoch recipes                                      < 0
    large_k              Spearman with the score after the longest RL, of pass@64 minus of pass@1       > 0
    loss                 the same, of minus the common loss minus of pass@1                             > 0
    best_k_grows         slope, per doubling of RL steps, of log2 of the best k: 6 times the share of      > 0
                         pass@64 in the weights of pass@1 and pass@64 as they rank the scores together
    over_promise_grows   slope, per doubling of RL steps, of the mean over-promise of the recipes of    < 0
                         simple and repeated together
  secondary, not in Holm's correction and judged by p:
    large_k_adds         partial rank correlation of pass@64 with the score after the longest RL,       > 0
                         given pass@1. p_permutation: recipes permuted within base models (Freedman
                         and Lane, J. Bus. Econ. Stat. 1:292, 1983), which is too small if kinds of
                         data, and not recipes one by one, are what differs from base to base
    argmax_k_grows       as best_k_grows, of the k whose pass@k alone has the highest Spearman (of ks   > 0
                         that tie, the mean of their log2)

The best k: ranks of the scores are regressed on those of pass@1 and pass@64, standardised. With weights b and B the
best k is 64 ** (B / (|b| + |B|)): 1 if only pass@1 counts, 64 if only pass@64 does. RL that levels all scores shrinks
both weights and moves no share, which cannot be said of a difference between correlations; and a share moves smoothly,
which the k of the highest correlation does not. If the study has no k = 64, the largest below stands for it.

The verdict is the first line that is true:

    premise absent    for simple, repeated, homogeneous and over_promise_grows: the treated recipes did not look good
                      before RL; their mean lead over the base model without SFT is more than noise (1.96 standard
                      errors, of seeds) in no more than half of the base models. For the others: there was little to
                      rank; less than half of the variance of scores after the longest RL is more than noise of seeds
    undetermined      fewer than four base models have the statistic: one tells nothing of others, and with two or three
                      a t test takes it on trust that they vary normally
    reproduced        p_holm is at most 5 % and the effect has the claimed sign
    inverted          p_holm is at most 5 % and the effect has the other sign
    not reproduced    the 95 % interval excludes an effect of `margin` or more in the claimed direction
    undetermined      else; `reason` says which power was promised

The premise is a lead over the base model, not over other data of like budget: the claim is that a score before RL says
too much, and any score above the base model's says something. (The paper's shortest data trail its longest data at
equal examples, and end below its random curve all the same.) Candidates that lead and then trail: inversions.csv.

SFT seeds of one recipe are averaged, and GRPO seeds of one run before them: seeds are never counted as recipes. Recipes
without all their scores, or outside the curve, are left out of their base model; `reason` counts them.

    python workflow/scripts/judge_hypotheses.py --models results/smoke/tables/models.csv --noise 1.62 1.64 \\
        --hypotheses '{"simple": {"margin": 1, "power": 0.9}}' --output results/smoke/tables/verdicts.csv
"""

import argparse
import json

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtr, stdtrit

from largek.common import InputError, exit_on_bad_input, write_csv
from quagmires.bases import FEWEST_BASES
from quagmires.hypotheses import CLAIMS, LARGE, SECONDARY, TREATED, Scores, partial, read_scores, statistics
from quagmires.lineages import with_ties

COLUMNS = ["hypothesis", "verdict", "reason", "effect", "lo", "hi", "p", "p_holm", "base_models", "runs", "power"]
COLUMNS += ["margin", "p_permutation"]
LEVEL, Z = 0.05, ndtri(0.975)
DRAWS = 1999


def t_test_over_bases(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, 95 % t interval and two-sided p of the t test over the base models, the last axis."""
    n, values = values.shape[-1], with_ties(values)
    mean, se = values.mean(-1), values.std(-1, ddof=1) / n**0.5
    se = np.where(np.ptp(values, axis=-1) > 0, se, np.nan)  # all alike: of this, a t test knows nothing
    half = stdtrit(n - 1, 0.975) * se
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stdtr(n - 1, -np.abs(mean) / se)
    return mean, mean - half, mean + half, p


def signflip(values: np.ndarray) -> np.ndarray:
    """Exact two-sided p of a mean of 0 when the sign of each base model's value is a coin's; the last axis."""
    n = values.shape[-1]
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    flipped = np.abs(with_ties(values @ signs.T / n))
    return (flipped >= np.abs(with_ties(values.mean(-1)))[..., None]).mean(-1)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6:65, 1979) along the last axis."""
    order = np.argsort(p, -1)
    steps = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    out = np.empty_like(p)
    np.put_along_axis(out, order, np.minimum(np.maximum.accumulate(steps, -1), 1), -1)
    return out


def judge(
    name: str, values: np.ndarray, premise: str, p_holm: float, margin: float, power: float | None
) -> tuple[str, str]:
    """The verdict from the base models' values, what is wrong with the premise (or "") and the corrected p; and why."""
    if premise:
        return "premise absent", premise
    if len(values) < FEWEST_BASES:
        few = f"{len(values)} base models are too few, expected {FEWEST_BASES}"
        return "undetermined", ("no base model has what it needs", "one base model cannot tell", few, few)[len(values)]
    mean, lo, hi, _ = t_test_over_bases(values)
    if np.isnan(lo):
        return "undetermined", "all base models have the same value, so that nothing is known about others"
    claimed = mean * CLAIMS[name] > 0
    if p_holm <= LEVEL:
        return ("reproduced", "as claimed") if claimed else ("inverted", "the opposite of what is claimed")
    if max(lo * CLAIMS[name], hi * CLAIMS[name]) < margin:
        return "not reproduced", f"an effect of {margin:g} or more, as claimed, is excluded"
    promised = "no power was promised" if power is None else f"the power promised was {power:.0%}"
    return "undetermined", f"too uncertain; {promised}"


def premise_of(name: str, bases: list[Scores], found: list[dict], noise: float) -> str:
    """What is wrong with the premise of a hypothesis, or ""; from the base models that have its statistic."""
    if name not in TREATED:
        share = np.mean([values["share"] for values in found])
        why = f"little to rank: {max(share, 0):.0%} of the variance after RL is more than the noise of seeds"
        return "" if share >= 0.5 else why
    holds = []
    for scores, values in zip(bases, found):
        kept = scores.kind(name) & np.isfinite(scores.over_promise()[-1])
        error = noise * (1 / scores.runs["seeds"][kept]).sum() ** 0.5 / kept.sum()
        holds.append(values[f"lead:{name}"] > Z * error)
    lead = np.mean([values[f"lead:{name}"] for values in found])
    why = f"the treated recipes lead the base model before RL in {sum(holds)} of {len(holds)} base models"
    return "" if sum(holds) > len(holds) / 2 else f"{why}, by {lead:.1f} points on average"


def judge_all(
    bases: dict[str, Scores], left_out: int, hypotheses: dict[str, dict], noise: tuple[float, float]
) -> pd.DataFrame:
    """verdicts.csv, one row a hypothesis."""
    found = {base: statistics(scores, noise[1]) for base, scores in bases.items()}
    having = {name: [base for base in found if np.isfinite(found[base][name])] for name in hypotheses}
    values = {name: np.array([found[base][name] for base in having[name]], float) for name in hypotheses}
    tests = {name: t_test_over_bases(values[name]) for name in hypotheses if len(values[name]) > 1}
    primary = [name for name, test in tests.items() if name not in SECONDARY and np.isfinite(test[3])]
    corrected = dict(zip(primary, holm(np.array([tests[name][3] for name in primary]))))
    table = []
    for name, given in hypotheses.items():
        row = {"hypothesis": name, "base_models": len(having[name]), "runs": 0, **given}
        premise = ""
        if having[name]:
            counts = [found[base].get(f"runs:{name}", len(bases[base].runs)) for base in having[name]]
            row |= {"effect": values[name].mean(), "runs": int(sum(counts))}
            premise = premise_of(
                name, [bases[base] for base in having[name]], [found[base] for base in having[name]], noise[0]
            )
        if name in tests:
            row |= dict(zip(("lo", "hi", "p"), tests[name][1:])) | {"p_holm": corrected.get(name)}
            row["p_permutation"] = float(signflip(values[name]))
        if name == "large_k_adds" and having[name]:
            row["p_permutation"] = freedman_lane([bases[base] for base in having[name]])
        p = row.get("p" if name in SECONDARY else "p_holm", np.nan)
        row["verdict"], row["reason"] = judge(name, values[name], premise, p, given["margin"], given.get("power"))
        if not having[name] and all(len(scores.steps) == 1 for scores in bases.values()) and name.endswith("grows"):
            row["reason"] = "scores after one number of RL steps only"
        treated = [base for base in bases if name in TREATED]
        lost = left_out + sum(int(bases[base].kind(name).sum() - found[base][f"runs:{name}"]) for base in treated)
        if lost:
            row["reason"] += f"; {lost} recipe{'s' * (lost > 1)} without a value left out"
        table.append(row)
    return pd.DataFrame(table, columns=COLUMNS)


def freedman_lane(bases: list[Scores]) -> float:
    """Two-sided p of the mean partial rank correlation over base models when recipes are permuted within them."""
    drawn = []
    for number, scores in enumerate(bases):
        large = max(k for k in scores.passk if k <= LARGE)
        found, null = partial(scores.passk[large], with_ties(scores.after)[-1], scores.passk[1], DRAWS, number)
        drawn.append(np.concatenate([[found], null]))
    total = np.abs(with_ties(np.mean(drawn, axis=0)))
    return float((total >= total[0]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--noise", required=True, nargs=2, type=float, metavar=("BEFORE", "AFTER"), help="sd in points")
    parser.add_argument("--hypotheses", required=True, type=json.loads, help="margin and power of each, as JSON")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    with exit_on_bad_input("judge_hypotheses"):
        strange = [name for name in args.hypotheses if name not in CLAIMS]
        if strange:
            raise InputError(f"--hypotheses: unknown {strange[0]!r}, expected some of {', '.join(CLAIMS)}")
        bases, left_out = read_scores(args.models)
        verdicts = judge_all(bases, left_out, args.hypotheses, tuple(args.noise))
        write_csv(args.output, verdicts)
        for row in verdicts.itertuples():
            print(f"{row.hypothesis}: {row.verdict} ({row.reason})")


if __name__ == "__main__":
    main()
