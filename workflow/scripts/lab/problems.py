"""Programs over short digit lists: how they are computed, stated, worked out and drawn.

A *program* is a list of digits and a sequence of operations. A *family* is a way of stating a program, a *depth* its
number of operations. Every text is a row of words, and one word is one token of the lab's models:

    problem    start 3 1 4 1 5 then sort then add 2 ?
    solution   sort 1 1 3 4 5 ; add 2 answer 3 3 5 6 7

The solution names every operation and shows the list after it; the last list is the answer.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Digits = tuple[int, ...]


def running_sum(xs: Digits) -> Digits:
    """Each digit plus all digits before it, modulo 10."""
    total, out = 0, []
    for x in xs:
        total = (total + x) % 10
        out.append(total)
    return tuple(out)


PLAIN: dict[str, Callable[[Digits], Digits]] = {
    "reverse": lambda xs: xs[::-1],
    "sort": lambda xs: tuple(sorted(xs)),
    "rotate": lambda xs: xs[1:] + xs[:1],
    "swap": lambda xs: xs[-1:] + xs[1:-1] + xs[:1],
    "double": lambda xs: tuple(2 * x % 10 for x in xs),
    "sum": running_sum,
}
OPERATIONS = (*PLAIN, "add")  # `add d` is the only one with an operand, 1 to 9
FAMILIES = ("forward", "backward", "nested", "shuffled")
NAMES = tuple("abcdefghjk")  # variables of the shuffled definitions
WORDS = (
    *map(str, range(10)),
    *OPERATIONS,
    *NAMES,
    *["start", "then", "last", "before", "is", "find", "(", ")", "?", ";", "answer"],
)


def apply(operation: str, xs: Digits) -> Digits:
    """The list after one operation, such as `sort` or `add 3`. Raises KeyError for an unknown one."""
    name, _, operand = operation.partition(" ")
    if name == "add":
        return tuple((x + int(operand)) % 10 for x in xs)
    return PLAIN[name](xs)


@dataclass(frozen=True)
class Program:
    """What is to be computed, however it is stated."""

    start: Digits
    operations: tuple[str, ...]

    def steps(self) -> list[Digits]:
        """The list after each operation; the last one is the answer."""
        out, xs = [], self.start
        for operation in self.operations:
            xs = apply(operation, xs)
            out.append(xs)
        return out


def words(xs: Digits) -> str:
    return " ".join(map(str, xs))


def answer(program: Program) -> str:
    return words(program.steps()[-1])


def solution(program: Program, dropped: int | None = None) -> str:
    """The worked solution; `dropped` leaves out that operation and its list (0-based, never the last one)."""
    *working, last = zip(program.operations, map(words, program.steps()))
    shown = [f"{operation} {xs}" for i, (operation, xs) in enumerate(working) if i != dropped]
    return " ; ".join([*shown, f"{last[0]} answer {last[1]}"])


def state(program: Program, family: str, rng: random.Random) -> str:
    """The problem text. Only `shuffled` draws from `rng`: names of variables and the order of definitions."""
    start, operations = words(program.start), program.operations
    if family == "forward":
        return f"start {start} then {' then '.join(operations)} ?"
    if family == "backward":
        return f"start {start} last {' before '.join(reversed(operations))} ?"
    if family == "nested":
        opened = " ".join(f"{operation} (" for operation in reversed(operations))
        return f"{opened} {start} {') ' * len(operations)}?"
    if family == "shuffled":
        names = rng.sample(NAMES, len(operations) + 1)
        definitions = [f"{names[0]} is {start}"]
        definitions += [f"{new} is {op} {old}" for op, old, new in zip(operations, names, names[1:])]
        rng.shuffle(definitions)
        return f"{' ; '.join(definitions)} ; find {names[-1]} ?"
    raise ValueError(f"unknown family {family!r}, expected one of {', '.join(FAMILIES)}")


def parse(problem: str) -> Program:
    """The program a problem text states, whatever its family. Raises ValueError where there is none."""
    tokens = problem.split()
    if tokens[:1] == ["start"]:
        digits = [int(t) for t in tokens if t.isdigit()]
        end = next((i for i, t in enumerate(tokens) if t in ("then", "last")), None)
        if end is None:
            raise ValueError(f"not a problem of the lab: {problem!r}")
        operations = " ".join(tokens[end + 1 : -1]).split(f" {'then' if tokens[end] == 'then' else 'before'} ")
        ordered = operations if tokens[end] == "then" else operations[::-1]
        return Program(tuple(digits[: end - 1]), tuple(ordered))
    if "(" in tokens:
        opened = " ".join(tokens).split(" (")
        start = tuple(int(t) for t in opened[-1].split() if t.isdigit())
        return Program(start, tuple(operation.strip() for operation in reversed(opened[:-1])))
    if "find" in tokens:
        definitions = [d.split(" is ") for d in problem.rsplit(" ; find", 1)[0].split(" ; ")]
        by_name = {name.strip(): body.strip() for name, body in definitions}
        operations, name = [], tokens[tokens.index("find") + 1]
        while not by_name[name].replace(" ", "").isdigit():
            operation, name = by_name[name].rsplit(" ", 1)
            operations.append(operation)
        return Program(tuple(map(int, by_name[name].split())), tuple(reversed(operations)))
    raise ValueError(f"not a problem of the lab: {problem!r}")


def draw_program(rng: random.Random, depth: int, digits: int, weights: dict[str, float]) -> Program:
    """A program of `depth` operations over `digits` digits; operations are drawn by `weights`."""
    names = rng.choices(list(weights), list(weights.values()), k=depth)
    operations = tuple(f"add {rng.randint(1, 9)}" if name == "add" else name for name in names)
    return Program(tuple(rng.randrange(10) for _ in range(digits)), operations)


@dataclass(frozen=True)
class Kind:
    """What one draw of a problem is: its family and depth, or a mixture of them by weight."""

    families: dict[str, float]
    depths: dict[int, float]
    operations: dict[str, float]
    digits: int


def draw_problems(seed: str, count: int, kind: Kind, seen: set[Program]) -> Iterator[dict]:
    """`count` problems that are new as programs; each is added to `seen`. Raises ValueError when it cannot find more.

    Yields rows with `problem`, `solution`, `answer`, `family`, `depth` and the `program` itself.
    """
    rng = random.Random(seed)
    families, depths = kind.families, kind.depths
    for drawn in range(count):
        for _ in range(1000):
            depth = rng.choices(list(depths), list(depths.values()))[0]
            program = draw_program(rng, depth, kind.digits, kind.operations)
            if program not in seen:
                break
        else:
            raise ValueError(f"{seed}: only {drawn} of {count} different problems exist at depths {list(depths)}")
        seen.add(program)
        family = rng.choices(list(families), list(families.values()))[0]
        yield {
            "problem": state(program, family, rng),
            "solution": solution(program),
            "answer": answer(program),
            "family": family,
            "depth": depth,
            "program": program,
        }
