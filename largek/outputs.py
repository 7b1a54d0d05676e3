"""Refuses files to be made that would destroy something, before the work and not after it."""

import argparse
import os
from collections.abc import Iterator

from largek.common import InputError

MADE = ("output", "problems", "random")  # options that name files to be made
READ = ("tasks", "tasks_file", "files", "samples", "grades", "examples", "few_shot", "training", "stores", "store")
STORE = {"settings.json", "problems.jsonl", "arrived.log", "checksums.log", "grades.parquet", "lock"}


def refuse_outputs(args: argparse.Namespace) -> None:
    """Raises InputError on an output that is no file, is read by the same command, belongs to a store, or is named
    twice. `largek grade` may be told to write where it writes anyway."""
    known: dict[str, str] = {}
    for name, path in given(args, MADE):
        option = f"--{name}"
        refuse_output(path, option)
        for _, read in given(args, READ):
            if os.path.exists(path) and os.path.isfile(read) and os.path.samefile(path, read):
                raise InputError(f"{option} {path}: is read by the same command; expected another file")
        folder = os.path.dirname(os.path.realpath(path))
        theirs = STORE - {"grades.parquet"} if args.command == "grade" else STORE
        if is_store(folder) and os.path.basename(path) in theirs:
            raise InputError(f"{option} {path}: is a file of the store {folder}; expected another file")
        if os.path.basename(folder) == "samples" and is_store(os.path.dirname(folder)):
            raise InputError(f"{option} {path}: {folder} holds a store's answers; expected another folder")
        other = known.setdefault(os.path.realpath(path), option)
        if other != option:
            raise InputError(f"{option} {path}: expected another file than {other}")


def given(args: argparse.Namespace, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The paths among these arguments, each with its argument's name."""
    for name in names:
        value = getattr(args, name, None)
        yield from ((name, each) for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))


def is_store(folder: str) -> bool:
    return all(os.path.exists(os.path.join(folder, name)) for name in ("settings.json", "problems.jsonl"))


def refuse_output(path: str, option: str) -> None:
    """Raises InputError where no file is to be made. A folder that is not there is more often a typing error than a
    wish."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise InputError(f"{option} {path}: expected a file, this is a folder")
    if os.path.exists(path) and not os.path.isfile(path):  # it would be replaced by a file
        raise InputError(f"{option} {path}: expected a file, this is a device or a pipe")
    if not os.path.isdir(folder):
        raise InputError(f"{option} {path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{option} {path}: nothing can be written in the folder {folder}")
