"""Tasks: where problems come from.

A task is named by a JSONL file of {id, problem, answer}, or by an entry of `largek/tasks.yaml` or of a YAML file of
your own, which says where the problems are (`file`, `hub` or `reasoning_gym`), which fields hold what, how the problem
is put to the model, and which verifier reads the answer. The keys of an entry are those of `ENTRY`.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from largek.common import InputError, extra, first_line, stream_jsonl
from largek.problems import Problem, as_problem, need_answer

ENTRY = {
    "file": "JSONL file, relative to the working directory",
    "hub": "data set on the Hugging Face hub, or a folder that `datasets` can load",
    "revision": "commit of the hub data set; needed with `hub` unless it is a folder",
    "config": "configuration of the hub data set",
    "split": "split of the hub data set (default: test)",
    "reasoning_gym": "name of a reasoning-gym data set",
    "parameters": "of the reasoning-gym data set, such as size and seed",
    "rows": "how many rows the data set must have",
    "id": "field that holds the id (default: id where there is one; null: rows are numbered)",
    "problem": "field that holds the problem (default: problem)",
    "answer": "field that holds the right answer (default: answer; null: there is none, the solutions matter)",
    "answer_after": "the answer is what follows the last of these in its field",
    "answer_boxed": "true if the answer is what stands in the last box (LaTeX) of its field",
    "solution": "field that holds a worked solution: text, or a chat whose last message it is",
    "family": "field that says what kind of problem it is",
    "take": "only the first so many rows of a hub data set, streamed",
    "prompt": "what the model is asked; {problem} stands for the problem (default: the problem alone)",
    "verifier": "exact, math, reasoning-gym or module:function",
}
SOURCES = ("file", "hub", "reasoning_gym")
TYPES = {"rows": (int, "a number"), "take": (int, "a number"), "answer_boxed": (bool, "true or false")}
TYPES |= {"parameters": (dict, "names with values")}  # of all other keys: text
BATCH = 1000  # rows of a data set that are in memory at once
NULL = ("id", "answer", "config", "parameters", "verifier")  # may be null


def read_tasks(names: list[str], tasks_file: str | None = None, prompt: str | None = None) -> list[Problem]:
    """The problems of tasks, in order.

    `names` are JSONL files or names of entries; `tasks_file` is a YAML file of more entries; `prompt` replaces the
    prompts of all tasks. Ids are unique over all tasks. Raises InputError.
    """
    if prompt is not None and "{problem}" not in prompt:
        raise InputError(f"--prompt: expected {{problem}} in it, got {prompt!r}")
    rows = list(stream_tasks(names, tasks_file))
    return rows if prompt is None else [row | {"prompt": fill(prompt, row["problem"])} for row in rows]


def stream_tasks(names: list[str], tasks_file: str | None = None) -> Iterator[Problem]:
    """The same one after another: of what was read nothing but the ids is kept."""
    entries = read_entries(tasks_file) if tasks_file or any(not is_file(name) for name in names) else {}
    seen: set[str] = set()
    for name in names:
        if not is_file(name) and name not in entries:
            raise InputError(f"--tasks {name}: expected a JSONL file or one of {', '.join(entries)}")
        before = len(seen)
        for row in from_file(name) if is_file(name) else from_entry(name, entries[name]):
            if row["id"] in seen:
                raise InputError(f"{', '.join(names)}: the id {row['id']!r} is there twice")
            seen.add(row["id"])
            yield row
        if len(seen) == before:
            raise InputError(f"--tasks {name}: expected at least one problem")


def is_file(name: str) -> bool:
    return name.endswith(".jsonl") or Path(name).is_file()


def from_file(path: str) -> Iterator[Problem]:
    """Rows of a JSONL file as they are; `task` (the file's name) and `split` ("all") are filled in where missing, and
    rows are numbered from 0 if none has an `id`."""
    first: dict = {}
    for number, row in enumerate(own_rows(path)):
        where, first = f"{path}, row {number}", first or row
        if "id" not in first:
            where, row = (f"{path}, row 0", first) if "id" in row else (where, {"id": str(number)} | row)
        if "id" not in row:
            raise InputError(f"{where}: expected the field 'id', as in other rows; found {', '.join(row)}")
        if type(row["id"]) not in (str, int, float) or row["id"] in ("", math.inf, -math.inf) or row["id"] != row["id"]:
            raise InputError(f"{where}, id: expected text or a number, got {row['id']!r:.80}")
        row = {"task": Path(path).stem, "split": "all"} | row | {"id": str(row["id"])}
        if isinstance(row["answer"], list) and len(row["answer"]) == 1:
            row["answer"] = row["answer"][0]
        yield as_problem(row, where)


def own_rows(path: str) -> Iterator[dict]:
    """The rows of a person's own file, or what to do about fields of other names."""
    try:
        yield from stream_jsonl(path, ("problem", "answer"))
    except InputError as error:
        hint = "; fields of other names are for --tasks-file" if "expected the field" in str(error) else ""
        raise InputError(f"{error}{hint}") from None


def read_entries(tasks_file: str | None) -> dict[str, dict]:
    """largek's own entries and those of `tasks_file`, which win. Raises InputError on a key that is not in ENTRY."""
    import yaml

    entries = {}
    for path in (Path(__file__).with_name("tasks.yaml"), *([Path(tasks_file)] if tasks_file else [])):
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except OSError:
            raise
        except Exception as error:  # of any kind, where a tag or a date is none, and of brackets in brackets
            raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
        if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
            raise InputError(f"{path}: expected names of tasks, each with its keys")
        for name, entry in found.items():
            unknown = sorted(map(str, entry.keys() - ENTRY.keys()))
            if unknown:
                raise InputError(f"{path}, {name}: unknown key {unknown[0]!r}; known are {', '.join(ENTRY)}")
            if len([key for key in SOURCES if key in entry]) != 1:
                raise InputError(f"{path}, {name}: expected exactly one of {', '.join(SOURCES)}")
            for key, value in entry.items():
                kind, expected = TYPES.get(key, (str, "text"))
                if (type(value) is not kind and not (value is None and key in NULL)) or "\0" in str(value):
                    raise InputError(f"{path}, {name}, {key}: expected {expected}, got {value!r:.80}")
            if "{problem}" not in entry.get("prompt", "{problem}"):
                raise InputError(f"{path}, {name}: expected {{problem}} in prompt, got {entry['prompt']!r}")
        entries |= {str(name): entry for name, entry in found.items()}
    return entries


def from_entry(name: str, entry: dict) -> Iterator[Problem]:
    """The rows of an entry of a tasks file. Their ids are `task/id`, so that tasks may number their problems alike.

    Rows without an answer where one is expected are left out, as public data sets have a few; a line says how many.
    """
    if "reasoning_gym" in entry:
        source: Iterable[dict] = from_reasoning_gym(name, entry)
    elif "hub" in entry:
        source = from_hub(name, entry)
    else:
        source = stream_jsonl(entry["file"])
    problem_field, answer_field = entry.get("problem", "problem"), entry.get("answer", "answer")
    texts = {name: entry[name] for name in ("solution", "family") if name in entry}
    read = left_out = 0
    id_field = entry.get("id")
    for number, row in enumerate(source):
        read += 1
        if number == 0 and "id" not in entry:
            id_field = "id" if "id" in row else None
        for field in filter(None, (problem_field, answer_field, id_field, *texts.values())):
            if field not in row:
                raise InputError(f"task {name}, row {number}: expected the field {field!r}, found {', '.join(row)}")
        if answer_field and row[answer_field] in (None, ""):
            left_out += 1
            continue
        problem = text_of(row[problem_field], "user")
        answer = plain_answer(row[answer_field], f"task {name}, row {number}") if answer_field else ""
        if (mark := entry.get("answer_after")) is not None:
            if mark not in answer:
                raise InputError(f"task {name}, row {number}: expected {mark!r} in the answer, got {answer[-80:]!r}")
            answer = answer.rpartition(mark)[2]
        if entry.get("answer_boxed"):
            from largek.math_answers import boxed

            if (found := boxed(answer)) is None:
                raise InputError(f"task {name}, row {number}: expected a box in the field {answer_field!r}")
            answer = found
        made = {"task": name, "split": "all"}
        if "file" in entry:
            made |= row  # a verifier of your own may need more than the answer
        made |= {"id": f"{name}/{number if id_field is None else row[id_field]}"}
        made |= {"problem": problem, "answer": answer.strip()}
        made |= {name: text_of(row[field], "assistant") for name, field in texts.items()}
        if "prompt" in entry:
            made["prompt"] = fill(entry["prompt"], problem)
        if "reasoning_gym" in row:
            made |= {"reasoning_gym": row["reasoning_gym"], "verifier": "reasoning-gym"}
        if "verifier" in entry:
            made["verifier"] = entry["verifier"]
        yield as_problem(made, f"task {name}, row {number}")
    if read != entry.get("rows", read):
        raise InputError(f"task {name}: expected {entry['rows']} rows, found {read}")
    if left_out:
        print(f"task {name}: {left_out} of {read} rows have no answer and are left out", flush=True)


def text_of(value: object, role: str) -> str:
    """A text; of a chat (a list of messages), what `role` says last."""
    if isinstance(value, list) and value and all(isinstance(message, dict) for message in value):
        contents = [message["content"] for message in value if message.get("role") == role]
        value = contents[-1] if contents else ""
    return str(value)


def plain_answer(value: object, where: str) -> str:
    """An answer as text: lists of one are unwrapped, and whole numbers that a data set holds as 142.0 are 142."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    need_answer(value, where)
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def fill(prompt: str, problem: str) -> str:
    """The prompt with the problem in it. Not `str.format`: problems and prompts are full of braces."""
    return prompt.replace("{problem}", problem)


def from_hub(name: str, entry: dict) -> Iterator[dict]:
    """Rows of a data set on the hub at a pinned revision, or of a local folder. Remote code is never run. A whole data
    set is a file that lies in the hub's cache, of which `datasets` reads what is asked for."""
    try:
        from datasets import disable_progress_bars, load_dataset
    except ImportError as error:
        raise InputError(f"task {name}: {error}; {extra('tasks')}") from None
    disable_progress_bars()
    local = Path(entry["hub"]).is_dir()
    if not local and "revision" not in entry:
        raise InputError(f"task {name}: expected the key 'revision', the commit of {entry['hub']} to take")
    options = {} if local else {"revision": entry["revision"]}
    options |= {"split": entry.get("split", "test"), "streaming": "take" in entry}
    try:
        rows = load_dataset(entry["hub"], entry.get("config"), **options)
        rows = rows.select_columns(wanted_columns(entry, rows.column_names)) if rows.column_names else rows
        if "take" in entry:
            yield from rows.take(entry["take"])
        else:
            for start in range(0, len(rows), BATCH):
                yield from rows.select(range(start, min(start + BATCH, len(rows)))).to_list()
    except Exception as error:  # of the network, the hub, the file's format: one line each
        reason = first_line(error)
        raise InputError(f"task {name}: {entry['hub']} could not be loaded ({reason})") from None


def wanted_columns(entry: dict, columns: list[str]) -> list[str]:
    """The columns of a data set that an entry reads: others may hold ten times as much. All of them where one is not
    there, so that it can be said what is."""
    fields = [entry.get(field, field) for field in ("problem", "answer")]
    fields += [entry[field] for field in ("solution", "family", "id") if field in entry]
    if set(filter(None, fields)) - set(columns):
        return columns
    return [name for name in columns if name in [*fields, "id"]]


def from_reasoning_gym(name: str, entry: dict) -> list[dict]:
    """Problems made by reasoning-gym; the verifier makes the same data set again to score an answer."""
    try:
        from largek.gym_answers import problems
    except ImportError as error:
        raise InputError(f"task {name}: {error}; {extra('tasks')}") from None
    parameters = {"size": 100, "seed": 0} | (entry.get("parameters") or {})
    origin = {"name": entry["reasoning_gym"], "config": parameters}
    try:
        made = problems(entry["reasoning_gym"], parameters)
    except InputError as error:
        raise InputError(f"task {name}: {error}") from None
    return [
        {"problem": question, "answer": answer, "reasoning_gym": origin | {"index": index}}
        for index, (question, answer) in enumerate(made)
    ]
