"""Mixes: what each selects, held-out examples by the same rule, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from largek.common import InputError
from quagmires.mixes import MIXES, length
from select_mix import draw, hold_out, select, statistics

FAMILIES = ("forward", "nested", "shuffled", "backward")


def pool(size: int, prefix: str = "p") -> list[dict]:
    """Examples of lengths 2 to 41, families in turn."""
    return [
        {
            "id": f"{prefix}{i}",
            "family": FAMILIES[i % 4],
            "problem": "w " * (i % 40 + 1),
            "solution": f"s{prefix}{i}",
        }
        for i in range(size)
    ]


def chosen(mix: str, unique: int | None = 100, budget: int | None = None, seed: int = 1) -> list[dict]:
    return select(pool(1000), mix, unique, budget, "forward", seed)


@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_has_as_many_different_examples_as_asked(mix):
    rows = chosen(mix)
    assert len(rows) == len({row["id"] for row in rows}) == 100
    assert statistics(rows)["duplicates"] == 0


def test_simple_and_longest_are_the_ends_and_mixed_is_half_of_each():
    lengths = sorted(map(length, pool(1000)))
    assert sorted(map(length, chosen("simple"))) == lengths[:100]
    assert sorted(map(length, chosen("longest"))) == lengths[-100:]
    assert sorted(map(length, chosen("mixed"))) == lengths[:50] + lengths[-50:]


def test_homogeneous_is_one_family_and_random_is_all():
    assert {row["family"] for row in chosen("homogeneous")} == {"forward"}
    assert {row["family"] for row in chosen("random")} == set(FAMILIES)


@settings(deadline=None)  # beside other work an example may take long
@given(st.sampled_from(list(MIXES)), st.integers(50, 4000))
def test_a_token_budget_is_filled_and_not_passed(mix, budget):
    rows = chosen(mix, None, budget)
    total = sum(map(length, rows))
    assert total <= budget < total + 42  # one more example would not fit


def test_seeds_see_their_own_parts_of_the_pool_and_the_ends_of_these():
    parts = [draw(pool(1000), 0.5, seed) for seed in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2] and [len(part) for part in parts] == [500] * 3
    ends = [{row["id"] for row in select(part, "simple", 100, None, "forward", 1)} for part in parts]
    assert len(ends[0] & ends[2]) < 100
    assert draw(pool(10), 1.0, 1) == pool(10)


@pytest.mark.parametrize("mix", MIXES)
def test_the_seed_decides(mix):
    ids = [{row["id"] for row in chosen(mix, 90, seed=seed)} for seed in (1, 1, 2)]  # cuts through a tie
    assert ids[0] == ids[1] != ids[2]


def test_more_than_there_are_is_refused():
    with pytest.raises(InputError, match="--unique 251: the pool has only 250 examples for the mix homogeneous"):
        chosen("homogeneous", 251)
    with pytest.raises(InputError, match="--budget-tokens 99999999: the mix random has only"):
        chosen("random", None, 99_999_999)
    with pytest.raises(InputError, match="--mix shortest: expected one of random, simple"):
        chosen("shortest")


def test_held_out_examples_follow_the_same_rule():
    validation = pool(600, "v")
    for mix in MIXES:
        share = 0.1
        rows = hold_out(validation, mix, share, 50, "forward", seed=1)
        assert 40 <= len(rows) <= 60
        lengths = [length(row) for row in rows]
        if mix == "simple":
            assert max(lengths) <= 8
        if mix == "longest":
            assert min(lengths) >= 35
        if mix == "homogeneous":
            assert {row["family"] for row in rows} == {"forward"}


def test_statistics():
    rows = pool(4)
    found = statistics([*rows, rows[0]])
    assert found["examples"] == 5 and found["duplicates"] == 1 and found["tokens"] == 2 + 3 + 4 + 5 + 2
    assert found["length_quantiles"] == {"min": 2, "q25": 2, "median": 3, "q75": 4, "max": 5}
    assert found["family_shares"]["forward"] == 0.4
