"""pass@k for every k of 10,000 problems with 256 answers each: largek.passk against the package passk-inference.

    python benchmarks/passk.py --peer .bench/passk-inference

Counts of right answers are drawn from a beta-binomial law, hard problems more often than easy ones, with some that are
never and some that are always solved. Both run in this process on the same counts: largek in one call, the package in
one call a k, as its own `compare` does it. The median of several turns counts for largek, one turn for the package,
which takes some ten seconds. largek computes problems with equal counts once, and with equal n there are at most n + 1
different counts. The run fails unless all numbers agree to 1e-12.
"""

import argparse
import sys
import time

import numpy as np

from largek.passk import passk

TOLERANCE = 1e-12
TURNS = 20  # of largek


def draw(problems: int, n: int) -> np.ndarray:
    """How many of n answers are right, for each problem."""
    rng = np.random.default_rng(1)
    counts = rng.binomial(n, rng.beta(0.5, 1.0, problems))
    counts[: problems // 10] = 0
    counts[-problems // 20 :] = n
    return rng.permutation(counts)


def seconds(compute) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    found = compute()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, metavar="FOLDER", help="where passk-inference is installed")
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--n", type=int, default=256, help="answers a problem")
    args = parser.parse_args()
    sys.path.append(args.peer)  # last: numpy is the same for both
    import passk_inference

    correct, ks = draw(args.problems, args.n), np.arange(1, args.n + 1)
    n = np.full(args.problems, args.n)
    ours = passk(n, correct, ks)
    times = sorted(seconds(lambda: passk(n, correct, ks))[0] for _ in range(TURNS))
    took, theirs = seconds(lambda: np.column_stack([passk_inference.pass_at_k(correct, n, int(k)) for k in ks]))
    difference = np.abs(ours - theirs).max()
    print(f"pass@k, every k to {args.n}, {args.problems:,} problems, {len(np.unique(correct))} different counts")
    ours_took = times[TURNS // 2]
    spread = f"fastest {times[0] * 1e3:,.1f}, slowest {times[-1] * 1e3:,.1f}"
    print(f"largek            {ours_took * 1e3:10,.1f} ms   ({spread})")
    print(f"passk-inference   {took * 1e3:10,.1f} ms   {took / ours_took:,.0f} times as long")
    print(f"largest difference {difference:.1e}, allowed {TOLERANCE:.0e}")
    if not difference <= TOLERANCE:
        sys.exit("the numbers differ")


if __name__ == "__main__":
    main()
