"""Verdicts: what is said of one answer, and by which function.

A verifier is a function `verify(text, problem) -> Verdict`: `text` is what the model wrote, `problem` the row of the
problem with at least `answer`. Named here are those that come with largek; `module:function` names one of your own.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import NamedTuple

from largek.common import InputError

OUTCOMES = ("correct", "wrong", "no_answer", "truncated", "gave_up")
# Words of engines and endpoints for an answer that the model has ended itself, in small letters. All others, among them
# length, max_tokens, content_filter, abort and error, and none at all, are of answers that may have been broken off.
FINISHED = ("stop", "stop_sequence", "eos", "eos_token", "end_turn", "complete", "completed", "finished")


class Verdict(NamedTuple):
    """An answer's outcome, what was read from the text as the answer, and whether the working is sound if known.

    Answers to one problem with equal `vote` say the same, and count together in majority voting; None casts no vote.
    """

    outcome: str
    extracted: str | None = None
    sound: bool | None = None
    vote: str | None = None


Verifier = Callable[[str, dict], Verdict]


def exact(text: str, problem: dict) -> Verdict:
    """Correct if the whole text equals the answer, white space at the ends and runs of it aside."""
    extracted = " ".join(text.split())
    if not extracted:
        return Verdict("no_answer")
    return Verdict("correct" if extracted == " ".join(str(problem["answer"]).split()) else "wrong", extracted)


NAMED = {
    "exact": "largek.verify:exact",
    "math": "largek.math_answers:math",
    "reasoning-gym": "largek.gym_answers:gym",
}


def load_verifier(name: str) -> Verifier:
    """The verifier of that name, or the function of `module:function`. Raises InputError."""
    module, colon, function = NAMED.get(name, name).partition(":")
    if not colon:
        raise InputError(f"--verifier {name}: expected one of {', '.join(NAMED)} or module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")  # it may be a file of the working directory
    try:
        verify = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--verifier {name}: {error}") from None
    except Exception as error:  # of a module that is not ours
        raise InputError(f"--verifier {name}: {type(error).__name__}: {' '.join(str(error).split())}") from None
    if not callable(verify):
        raise InputError(f"--verifier {name}: expected a function, found {type(verify).__name__}")
    return verify


def is_finished(finish: str | None) -> bool:
    """Whether an answer is known to be one that its model has ended; `finish` is the word that came with it."""
    return finish is not None and finish.lower() in FINISHED


def judge(verify: Verifier, text: str, problem: dict, truncated: bool) -> Verdict:
    """The verdict on one answer. This is the one function behind both `largek grade` and the GRPO reward.

    A truncated text has not finished its answer, so what can be read from it is not held to be one. Where a verifier
    does not say what an answer votes for, it votes for what was read from it.
    """
    if truncated:
        return Verdict("truncated")
    try:
        verdict = verify(text, problem)
    except InputError:
        raise
    except Exception as error:  # of a verifier of somebody's own: an answer must not end in a traceback
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"problem {problem.get('id')!r}: the verifier failed ({reason})") from error
    if not isinstance(verdict, Verdict) or verdict.outcome not in OUTCOMES:
        raise InputError(f"problem {problem.get('id')!r}: expected a largek.verify.Verdict, got {verdict!r:.80}")
    for field, kind in (("extracted", str), ("vote", str), ("sound", bool)):
        if not isinstance(value := getattr(verdict, field), kind | None):
            expected = f"expected {kind.__name__} or None as {field} of a Verdict"
            raise InputError(f"problem {problem.get('id')!r}: {expected}, got {value!r:.80}")
    if verdict.vote is None and verdict.outcome in ("correct", "wrong"):
        return verdict._replace(vote=verdict.extracted)
    return verdict


def version(name: str) -> str:
    """A digest of what decides a verifier's verdicts: the content of its `sources` and the versions of the installed
    packages that these import. 16 hexadecimal digits."""
    files, packages = sources(name)
    total = hashlib.sha256(repr(sorted(packages.items())).encode())
    for module in sorted(files):
        total.update(f"\n{module}\n".encode() + hashlib.sha256(files[module].read_bytes()).digest())
    return total.hexdigest()[:16]


def sources(name: str) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """The files of a verifier's module and of those that it imports, its own first (but largek.common, which decides no
    verdict), and the installed packages that these import, each with the versions of its distributions. Nothing is
    imported but the packages that the modules are in. Without files if there is no such module."""
    files, packages = {}, {}
    waiting = [NAMED.get(name, name).partition(":")[0]]
    while waiting:
        module = waiting.pop()
        top = module.partition(".")[0]
        if module in files or module == "largek.common" or top in packages or top in sys.stdlib_module_names:
            continue
        origin = _origin(top)
        if origin and {"site-packages", "dist-packages"} & set(origin.parts):
            packages[top] = _distributions(top)
        elif origin := _origin(module):
            files[module] = origin
            if origin.suffix == ".py":
                package = module if origin.name == "__init__.py" else module.rpartition(".")[0]
                waiting += imports(ast.parse(origin.read_bytes()), package)
    return files, packages


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """The modules that a source imports anywhere in it. `from a import b` may mean the module a.b: both are named."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield source
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _origin(module: str) -> Path | None:
    """The file of a module; None if there is no such module or it has no file."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.has_location else None


@cache
def _distributions(package: str) -> list[str]:
    """Names and versions of the distributions that a package comes from, such as math-verify 0.9.0."""
    try:  # by its name, as for most: to look through all that is installed takes half a second
        named = distribution(package)
        if any(path.parts[0] == package for path in named.files or ()):
            return [f"{named.name} {named.version}"]
    except PackageNotFoundError:
        pass
    found = []
    for name in sorted(set(packages_distributions().get(package, ()))):
        try:
            found.append(f"{name} {installed_version(name)}")
        except PackageNotFoundError:
            continue
    return found
