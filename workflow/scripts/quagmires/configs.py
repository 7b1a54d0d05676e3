"""A study's config from one file, or from two that share most: a file with `extends: OTHER.yaml`, a path from its own
folder, holds only what differs from that complete one.

Sections are merged key by key, however deep, as Snakemake merges several files; `{}` empties a section and `null` takes
a key away. A `base_model` of another name replaces the whole section: commit, licence and sizes are those of one model.
What comes out is complete, as if it stood in one file, and is printed by

    make show-config CONFIG=config/map.yaml
"""

import argparse
import re
import sys
from pathlib import Path

import yaml

from quagmires.study import StudyError, validate_study

EXTENDS = "extends"
Files = dict[str, dict]  # what stands in each file of a study, those that are extended first


def load(path: Path) -> dict:
    """A YAML file of keys as it stands. Raises StudyError."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}") from None
    except Exception as error:  # of any kind, where a tag or a date is none
        raise StudyError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise StudyError(f"{path}: expected keys with values, found {found!r:.60}")
    return found


def merged(base: dict, own: dict) -> dict:
    """`own` over `base`, in the order of `base`."""
    result = dict(base)
    for key, value in own.items():
        below = base.get(key)
        result[key] = merged(below, value) if value and isinstance(value, dict) and isinstance(below, dict) else value
    return {key: value for key, value in result.items() if value is not None}


def complete(config: dict, paths: list[Path]) -> tuple[dict, Files]:
    """The complete config, from that of the files `paths`, which --config may have changed. Raises StudyError."""
    files = {str(path): load(path) for path in paths}
    extending = [path for path in paths if EXTENDS in files[str(path)]]
    if EXTENDS not in config or not extending:
        return config, files
    if len(extending) > 1:
        raise StudyError(f"{extending[1]}: {EXTENDS}: {extending[0]} says it already; give one of the two files")
    path = extending[0]
    if not isinstance(named := config[EXTENDS], str):
        raise StudyError(f"{path}: {EXTENDS}: expected the name of a file, not {named!r:.60}")
    base = path.parent / named
    if not base.is_file():
        raise StudyError(f"{path}: {EXTENDS}: no file {base}")
    below = load(base)
    if EXTENDS in below:
        raise StudyError(f"{path}: {EXTENDS}: expected a complete file, and {base} extends {below[EXTENDS]} itself")
    own = {key: value for key, value in config.items() if key != EXTENDS}
    return merged(without_other_model(below, own), own), {str(base): below} | files


def without_other_model(base: dict, own: dict) -> dict:
    """`base` with nothing of its base model, if `own` names another."""
    before, now = base.get("base_model"), own.get("base_model")
    if isinstance(before, dict) and isinstance(now, dict) and now.get("name", before.get("name")) != before.get("name"):
        return base | {"base_model": {}}
    return base


def read_config(path: Path) -> dict:
    """The complete config of a file. Raises StudyError."""
    return complete(load(path), [path])[0]


def read_study(path: Path) -> dict:
    """The same, valid. Raises StudyError that names the file in which a wrong key stands."""
    config, files = complete(load(path), [path])
    try:
        validate_study(config, str(path))
    except StudyError as error:
        raise StudyError(in_its_file(str(error), str(path), files)) from None
    return config


def in_its_file(message: str, where: str, files: Files) -> str:
    """A complaint about a key, which begins with `where` in place of a file, with the file in which the key stands, or
    as much of its path as stands in one."""
    found = re.match(rf"{re.escape(where)}: (?:unknown key |missing key )?'?([\w./-]+)", message)
    parts = found[1].strip("/").split("/") if found else []
    for length in range(len(parts), 0, -1):
        for name, content in reversed(files.items()):
            if stands_in(content, parts[:length]):
                return name + message.removeprefix(where)
    return message


def as_yaml(config: dict) -> str:
    """A config as its files are written."""
    return yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=120)


def stands_in(content: object, path: list[str]) -> bool:
    """Whether there is something at the end of a path of keys, or of places in a list."""
    for part in path:
        if isinstance(content, list) and part.isdecimal():
            content = dict(enumerate(content))
        keys = {str(key): key for key in content} if isinstance(content, dict) else {}
        if part not in keys:
            return False
        content = content[keys[part]]
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the complete config of a study.")
    parser.add_argument("config", type=Path)
    try:
        config = read_study(parser.parse_args().config)
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(as_yaml(config), end="")


if __name__ == "__main__":
    main()
