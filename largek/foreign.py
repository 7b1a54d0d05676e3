"""Samples of other tools: one function a format, each reads a file and gives the same thing.

    lm-eval      samples_TASK_TIME.jsonl of lm-evaluation-harness, `--log_samples`
    inspect      .eval and .json logs of inspect_ai
    lighteval    details_TASK_TIME.parquet, `--save-details`
    nemo-skills  output-rs*.jsonl, output.jsonl and chunks of them, of NeMo-Skills
    verl         STEP.jsonl of verl, `trainer.validation_data_dir` or `trainer.rollout_data_dir`
    trl          completions_STEP.parquet of TRL's GRPOTrainer and RLOOTrainer, `log_completions`

What a format does not say is None and stays so. A file that is not as its tool writes it is an InputError that names
the file, the line or the sample, the key, and what was expected there.
"""

import contextlib
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from largek.common import InputError, read_jsonl, readable

GENERATED = "largek reads what a model writes, not the likelihoods of given answers"


class Score(NamedTuple):
    """What a tool's own judge said of an answer: 1 is right and 0 is wrong where it knows no more, and what it read."""

    value: float
    read: str | None = None


@dataclass
class Sample:
    """One answer. `id` is what the tool calls the problem within its task; None: it is known by its text alone."""

    task: str
    problem: str
    answer: str | None
    text: str
    id: str | None = None
    prompt: str | None = None  # what the model was asked, where that is more than the problem
    tokens: int | None = None
    finish: str | None = None
    scores: dict[str, Score] = field(default_factory=dict)  # by the name of the judge

    def __post_init__(self):
        for name in ("task", "problem", "answer", "text", "id", "prompt", "finish"):
            if (value := getattr(self, name)) is not None:
                setattr(self, name, readable(value))


@dataclass
class Found:
    """What is in a file: answers in their order, and what it says of how they were made."""

    samples: list[Sample]
    model: str | None = None
    settings: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what is in the file and is not taken over
    missing: list[Sample] = field(default_factory=list)  # asked for and not there
    # scores by judge, one a problem: what the tool prints is their mean
    of_problems: dict[str, list[float]] = field(default_factory=dict)


def given(row: dict, key: str, kind: type | tuple, where: str, expected: str):
    """row[key], which must be of that kind. Raises InputError naming where it is."""
    if key not in row:
        raise InputError(f"{where}: expected the key {key!r} ({expected}), found {', '.join(map(str, row))[:200]}")
    value = row[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind in (int, float, (int, float))):
        raise InputError(f"{where}, {key}: expected {expected}, got {value!r:.80}")
    return value


def texts(value: object, where: str) -> list[str]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f"{where}: expected a list of texts, got {value!r:.80}")
    return value


def number(value: object, where: str) -> float:
    """A score: a number, or true or false."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}: expected a number, true or false, got {value!r:.80}")
    return float(value)


def integer(value: object, where: str) -> int | None:
    """A number of tokens; None stays unknown."""
    if value is not None and (type(value) is not int or not 0 <= value < 2**31):
        raise InputError(f"{where}: expected a number of tokens, got {value!r:.80}")
    return value


def conversation(value: object, where: str) -> str:
    """What a message or a list of messages says, without the roles; of a text, itself."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return content(value.get("content"), where)
    if isinstance(value, list):
        if not all(isinstance(part, dict) for part in value):
            raise InputError(f"{where}: expected messages, got {value!r:.80}")
        return "\n\n".join(content(part.get("content"), where) for part in value)
    raise InputError(f"{where}: expected a text or messages, got {value!r:.80}")


def question(value: object, where: str) -> tuple[str, str]:
    """What the user says last, which is the problem, and all that the model was asked; of a text, itself twice."""
    asked = conversation(value, where)
    users = [turn for turn in value if turn.get("role") == "user"] if isinstance(value, list) else []
    problem = conversation(users[-1], where) if users else asked
    if not problem.strip():
        raise InputError(f"{where}: expected a text or messages, got {value!r:.80}")
    return problem, asked


def content(value: object, where: str) -> str:
    """The text of a message, which may come in parts; a thought among them is put into tags."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list):
        raise InputError(f"{where}: expected the content of a message, got {value!r:.80}")
    parts = []
    for part in value:
        text = part if isinstance(part, str) else isinstance(part, dict) and (part.get("text") or part.get("reasoning"))
        if isinstance(text, str):
            thought = isinstance(part, dict) and part.get("type") == "reasoning"
            parts.append(f"<think>{text}</think>" if thought else text)
    return "".join(parts)


def right_answer(target: object) -> str | None:
    """The right answer in what a tool calls the target: what follows the last ####, or stands in the last box, of a
    worked solution; else all of it. None where there is none, or several."""
    if isinstance(target, list) and len(target) == 1:
        target = target[0]
    if isinstance(target, float) and target.is_integer():
        target = int(target)
    if type(target) in (int, float):
        return str(target)
    if not isinstance(target, str) or not target.strip():
        return None
    if "####" in target:
        return target.rpartition("####")[2].strip() or None
    if "\\boxed" in target:
        from largek.final_answer import boxed

        return boxed(target) or target.strip()
    return target.strip()


# --- lm-evaluation-harness


def lm_eval(path: Path) -> Found:
    """A line is a document under one filter: `resps` holds all answers, and the metrics are of what the filter left.

    Of several answers a filter that ends in `take_first` judges the first, one that votes judges none of them. Which it
    is stands in results_TIME.json beside the file; where that is missing only the filter "none" is known to take the
    first.
    """
    task, _, time = path.stem.removeprefix("samples_").rpartition("_")
    about = beside(path.with_name(f"results_{time}.json"))
    config = about.get("configs", {}).get(task) if isinstance(about.get("configs"), dict) else None
    config = config if isinstance(config, dict) else {}
    samples: dict[str, list[Sample]] = {}
    notes, settings, of_problems, order = [], None, {}, []
    for line, row in enumerate(read_jsonl(path), 1):
        where = f"{path}, row {line}"
        id = str(given(row, "doc_id", int, where, "the number of a document"))
        answers = given(row, "resps", list, where, "a list with a list of answers")
        if len(answers) != 1 or not isinstance(answers[0], list):
            raise InputError(f"{where}, resps: expected the answers to one request, got {len(answers)}; {GENERATED}")
        answers = texts(answers[0], f"{where}, resps: {GENERATED}")
        filtered = given(row, "filtered_resps", list, where, "what the filter has left")
        name = given(row, "filter", str, where, "the name of a filter")
        request = given(row, "arguments", dict, where, "what the model was asked").get("gen_args_0")
        if not isinstance(request, dict):
            raise InputError(f"{where}, arguments: expected the key 'gen_args_0', found {', '.join(row['arguments'])}")
        asked, how = request.get("arg_0"), request.get("arg_1")
        if not isinstance(how, dict):
            raise InputError(f"{where}, arguments, gen_args_0, arg_1: expected how to generate; {GENERATED}")
        settings = settings or {
            "temperature": how.get("temperature"), "top_p": how.get("top_p"), "max_tokens": how.get("max_gen_toks"),
        }  # fmt: skip
        asked, prompt = asked_of(asked, f"{where}, arguments, gen_args_0, arg_0")
        doc = given(row, "doc", dict, where, "the document")
        problem = next((doc[key] for key in ("problem", "question") if filled(doc.get(key))), asked)
        target = right_answer(row.get("target"))
        if id not in samples:
            order.append(id)
            samples[id] = [Sample(task or path.stem, problem, target, text, id, prompt) for text in answers]
        elif [sample.text for sample in samples[id]] != answers:
            raise InputError(f"{where}: the document {id} is there twice with other answers")
        steps = steps_of(config, name)
        for metric in texts(given(row, "metrics", list, where, "names of metrics"), f"{where}, metrics"):
            if isinstance(row.get(metric), bool | int | float):
                value = number(row[metric], f"{where}, {metric}")
                of_problems.setdefault(f"{metric},{name}", []).append(value)
                if len(answers) == 1 or takes_first(steps, name):
                    read = filtered[0] if filtered and isinstance(filtered[0], str) else None
                    samples[id][0].scores[f"{metric},{name}"] = Score(value, None if read == "[invalid]" else read)
    found = [sample for id in order for sample in samples[id]]
    if not all(sample.scores for sample in found) and any(len(own) > 1 for own in samples.values()):
        notes.append("lm-eval judges at most the first of several answers to a problem")
    model = about.get("model_name")
    return Found(found, model if filled(model) else None, settings or {}, notes, of_problems=of_problems)


def beside(path: Path) -> dict:
    """A JSON object in a file beside; nothing where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def filled(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def asked_of(value: object, where: str) -> tuple[str, str]:
    """`question` of a text, or of messages, which may be written as JSON in a text or in a list with one."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if isinstance(value, str) and value.startswith("[{"):
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(value)
            if all(isinstance(turn, dict) and "role" in turn for turn in found):
                value = found
    return question(value, where)


def steps_of(config: dict, name: str) -> list[str] | None:
    """The functions of a filter, by the task's configuration; None where it does not say."""
    for entry in config.get("filter_list") or []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get("filter"), list):
            return [str(step.get("function")) for step in entry["filter"] if isinstance(step, dict)]
    return None


def takes_first(steps: list[str] | None, name: str) -> bool:
    if steps is None:
        return name == "none"
    return steps[-1:] == ["take_first"] and not {"majority_vote", "take_first_k"} & set(steps)


# --- inspect_ai

LETTERS = {"C": 1.0, "I": 0.0, "N": 0.0}  # correct, incorrect, no answer; P, partly right, is no verdict
ZSTD = 93  # of a zip file's member
DAMAGED = (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, zlib.error, OSError)


def inspect(path: Path) -> Found:
    """A log: its header, and a sample for each problem and epoch. Samples that ended in an error hold no answer."""
    header, logged = read_log(path)
    about = given(header, "eval", dict, str(path), "what was evaluated")
    task = given(about, "task", str, f"{path}, eval", "the name of a task").rpartition("/")[2]
    how = header.get("plan", {}).get("config") if isinstance(header.get("plan"), dict) else None
    own = about.get("model_generate_config")
    how = (how if isinstance(how, dict) else {}) | (own if isinstance(own, dict) else {})
    settings = {key: how.get(key) for key in ("temperature", "top_p", "max_tokens", "seed")}
    for where, row in logged:
        given(row, "id", (str, int), where, "the name of a sample")
        given(row, "epoch", int, where, "the number of an epoch")
    dataset = about.get("dataset")
    ids = dataset.get("sample_ids") if isinstance(dataset, dict) else None
    place = {str(id): number for number, id in enumerate(ids if isinstance(ids, list) else [])}
    logged.sort(key=lambda each: (place.get(str(each[1]["id"]), len(place)), each[1]["epoch"]))
    samples, missing = [], []
    for where, row in logged:
        id = row["id"]
        asked = given(row, "input", (str, list), where, "what the model was asked")
        problem, prompt = question(whole_text(asked, row), f"{where}, input")
        output = given(row, "output", dict, where, "the model's output")
        choices = output.get("choices")
        answer = right_answer(row.get("target"))
        made = Sample(task, problem, answer, "", str(id), prompt)
        if row.get("error") or not choices:
            missing.append(made)
            continue
        if not isinstance(choices, list) or not isinstance(choices[0], dict):
            raise InputError(f"{where}, output, choices: expected answers, got {choices!r:.80}")
        message = given(choices[0], "message", dict, f"{where}, output, choices", "an answer")
        text = content(whole_text(message.get("content"), row), f"{where}, output, choices, content")
        finish = choices[0].get("stop_reason")
        if not isinstance(finish, str | None):
            raise InputError(f"{where}, output, stop_reason: expected a word, got {finish!r:.80}")
        usage = output.get("usage")
        tokens = integer((usage if isinstance(usage, dict) else {}).get("output_tokens"), f"{where}, output, usage")
        scores = row.get("scores") or {}
        if not isinstance(scores, dict) or not all(isinstance(score, dict) for score in scores.values()):
            raise InputError(f"{where}, scores: expected scores by their scorers, got {scores!r:.80}")
        for name, score in scores.items():
            value, read = score.get("value"), score.get("answer")
            value = LETTERS.get(value, value) if isinstance(value, str) else value
            if isinstance(value, int | float) and math.isfinite(value):
                made.scores[name] = Score(float(value), read if isinstance(read, str) else None)
        samples.append(replace(made, text=text, tokens=tokens, finish=None if finish == "unknown" else finish))
    model = about.get("model")
    return Found(samples, model if filled(model) else None, settings, missing=missing)


def whole_text(value: object, row: dict) -> object:
    """The value with what the log keeps aside put back: long texts are `attachment://` and a key."""
    kept = row.get("attachments")
    if isinstance(value, str) and value.startswith("attachment://") and isinstance(kept, dict):
        return kept.get(value.removeprefix("attachment://"), value)
    if isinstance(value, list):
        return [whole_text(part, row) for part in value]
    if isinstance(value, dict):
        return {key: whole_text(part, row) for key, part in value.items()}
    return value


def read_log(path: Path) -> tuple[dict, list[tuple[str, dict]]]:
    """The header of a log, and each sample with where it is."""
    if path.suffix != ".eval":
        log = read_object(path.read_bytes(), str(path))
        rows = given(log, "samples", list, str(path), "a list of samples")
        found = [(f"{path}, sample {number}", row) for number, row in enumerate(rows, 1)]
        if strange := [where for where, row in found if not isinstance(row, dict)]:
            raise InputError(f"{strange[0]}: expected a JSON object")
        return log, found
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            top = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
            if top is None:
                raise InputError(f"{path}: expected header.json in it, found {', '.join(names)[:200]}")
            inside = [name for name in names if name.startswith("samples/") and name.endswith(".json")]
            parts = [(f"{path}, {name}", read_object(member(file, name), f"{path}, {name}")) for name in (top, *inside)]
    except DAMAGED as error:
        raise InputError(f"{path}: expected a log of inspect_ai, whole and unchanged ({error or 'cut off'})") from None
    return parts[0][1], parts[1:]


def read_object(content: bytes, where: str) -> dict:
    """A JSON object."""
    try:
        found = json.loads(readable(content.decode()))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({str(error).splitlines()[0]:.200})") from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected a JSON object, got {found!r:.80}")
    return found


def member(file: zipfile.ZipFile, name: str) -> bytes:
    """What a member of a zip file holds. Python reads zstd only from 3.14 on; pyarrow does before."""
    info = file.getinfo(name)
    if info.compress_type != ZSTD:
        return file.read(info)
    file.fp.seek(info.header_offset)
    head = file.fp.read(30)
    behind = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")  # its name, and more
    file.fp.seek(behind, 1)
    packed = pa.BufferReader(file.fp.read(info.compress_size))
    found = pa.CompressedInputStream(packed, "zstd").read(info.file_size)
    if len(found) != info.file_size or zlib.crc32(found) != info.CRC:
        raise zipfile.BadZipFile(f"{name} is not as it was written")
    return found


# --- lighteval


def lighteval(path: Path) -> Found:
    """A row is a document with all answers to it, and its metrics, which are of one answer only where there is one."""
    task, _, _ = path.stem.removeprefix("details_").rpartition("_")
    samples, notes, of_problems = [], [], {}
    for line, row in enumerate(read_table(path, ("doc", "metric", "model_response")), 1):
        where = f"{path}, row {line}"
        doc = given(row, "doc", dict, where, "a document")
        response = given(row, "model_response", dict, where, "what the model said")
        query = given(doc, "query", str, f"{where}, doc", "what the model was asked")
        answers = texts(response.get("text"), f"{where}, model_response, text")
        if not answers:
            raise InputError(f"{where}, model_response, text: expected answers, found none; {GENERATED}")
        counted, thoughts = response.get("output_tokens") or [], response.get("reasonings") or []
        metrics = {
            name: number(value, f"{where}, metric, {name}")
            for name, value in given(row, "metric", dict, where, "scores by metric").items()
            if isinstance(value, bool | int | float) and math.isfinite(value)
        }
        for name, value in metrics.items():
            of_problems.setdefault(name, []).append(value)
        asked = response.get("input")
        prompt = asked_of(asked, f"{where}, model_response, input")[1] if asked else None
        name, id = doc.get("task_name"), doc.get("id")
        for place, text in enumerate(answers):
            thought = thoughts[place] if place < len(thoughts) else None
            own = counted[place] if place < len(counted) else None
            scores = {name: Score(value) for name, value in metrics.items()} if len(answers) == 1 else {}
            samples.append(
                Sample(
                    task or (name if filled(name) else path.stem), query, gold(doc, where),
                    f"<think>{thought}</think>{text}" if filled(thought) else text, id if filled(id) else None, prompt,
                    len(own) if isinstance(own, list) and own else None, scores=scores,
                )
            )  # fmt: skip
        if len(answers) > 1 and metrics:
            notes = ["lighteval has one score for all answers to a problem: which of them are right is unknown"]
    return Found(samples, notes=notes, of_problems=of_problems)


def gold(doc: dict, where: str) -> str | None:
    choices, index = doc.get("choices"), doc.get("gold_index")
    index = index[0] if isinstance(index, list) and len(index) == 1 else index
    if not isinstance(choices, list) or type(index) is not int or not 0 <= index < len(choices):
        return None
    return right_answer(choices[index])


@contextlib.contextmanager
def whole_parquet(path: Path) -> Iterator[None]:
    """Where a parquet file is read: one that is cut, or with a text that is no UTF-8 (ValueError), is an InputError."""
    try:
        yield
    except (OSError, pa.ArrowException, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise InputError(f"{path}: expected a parquet file, whole and unchanged ({reason:.200})") from None


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict]:
    """The rows of a parquet file that has these columns."""
    with whole_parquet(path):
        table = pq.read_table(path)
        there, rows = table.column_names, table.to_pylist()
    if lacking := [name for name in columns if name not in there]:
        raise InputError(f"{path}: expected the column {lacking[0]!r}, found {', '.join(there)[:200]}")
    return rows


# --- NeMo-Skills

JUDGED = re.compile(r"judgement\*{0,2}\s*:\s*(yes|no)?", re.IGNORECASE)  # what is neither counts as no there
VERDICTS = ("symbolic_correct", "is_correct")  # of its own graders; the second of older versions and other benchmarks


def nemo_skills(path: Path) -> Found:
    """A line is one answer to a problem; each file holds one answer to every problem, or to those of a chunk."""
    merged = path.with_name(re.sub(r"_chunk_\d+(?=\.jsonl$)", "", path.name))
    if merged != path and merged.exists():
        raise InputError(f"{path}: its answers are in {merged} too; give that file, as NeMo-Skills itself reads it")
    samples: list[Sample] = []
    for line, row in enumerate(read_jsonl(path, ("generation",)), 1):
        where = f"{path}, row {line}"
        problem, prompt = asked_in(row, where)
        read = row.get("predicted_answer")
        read = None if read is None else str(read)
        verdicts = [key for key in VERDICTS if row.get(key) is not None]
        scores = {key: Score(number(row[key], f"{where}, {key}"), read) for key in verdicts}
        if isinstance(row.get("judgement"), str):
            match = JUDGED.search(row["judgement"])
            scores["judge_correct"] = Score(float(match is not None and (match[1] or "").lower() == "yes"), read)
        own = of_the_answer(row)
        finish, id = own.get("finish_reason"), row.get("id", row.get("problem_id"))
        samples.append(
            Sample(
                path.absolute().parent.name, problem, right_answer(row.get("expected_answer")),
                said_in(row, own.get("reasoning_content"), where), str(id) if type(id) in (str, int) else None, prompt,
                integer(own.get("num_generated_tokens"), f"{where}, num_generated_tokens"),
                finish if isinstance(finish, str) else None, scores,
            )
        )  # fmt: skip
    named = {(sample.id, sample.problem) for sample in samples if sample.id}
    if len({id for id, _ in named}) < len(named):  # numbers within a part of the benchmark name no problem
        samples = [replace(sample, id=None) for sample in samples]
    repeated = len(samples) - len({(sample.id, sample.problem, sample.answer) for sample in samples})
    note = f"{path.name}: {repeated} rows repeat a problem: further answers here, to NeMo-Skills problems of their own"
    return Found(samples, notes=[note] if repeated else [])


def asked_in(row: dict, where: str) -> tuple[str, str | None]:
    """The problem, and what else the model was asked where that stands in the row: messages, given as they are."""
    problem = next((row[key] for key in ("problem", "question") if filled(row.get(key))), None)
    if problem is not None:
        return problem, None
    if "messages" not in row:
        raise InputError(f"{where}: expected the key 'problem', 'question' or 'messages', found {', '.join(row)[:200]}")
    return question(row["messages"], f"{where}, messages")


def of_the_answer(row: dict) -> dict:
    """The keys that are the answer's. A model that judges leaves its own finish_reason, reasoning_content and so on in
    the place of the answer's, before its judgement; what is not its own comes behind."""
    keys = list(row)
    return {key: row[key] for key in keys[keys.index("judgement") + 1 :]} if "judgement" in row else row


def said_in(row: dict, thought: object, where: str) -> str:
    """All that the model said. A thought that is cut off has no end and no answer behind it."""
    text = given(row, "generation", str, where, "what the model said")
    if filled(row.get("_full_generation")):
        return row["_full_generation"]
    return f"<think>{thought}" + (f"</think>{text}" if text else "") if filled(thought) else text


# --- verl and TRL: tables of a step of training, in which a problem is known by its text


def verl(path: Path) -> Found:
    """A line is one answer. Every number beside it is of a judge: `score`, `reward`, `acc` and what a reward adds."""
    samples, steps = [], []
    for line, row in enumerate(read_jsonl(path, ("input", "output", "score")), 1):
        where = f"{path}, row {line}"
        asked, text = (given(row, key, str, where, "a text") for key in ("input", "output"))
        read = row.get("pred")
        scores = {
            key: Score(float(value), read if isinstance(read, str) else None)
            for key, value in row.items()
            if key != "step" and isinstance(value, bool | int | float) and math.isfinite(value)
        }
        steps.append(row.get("step"))
        samples.append(Sample("verl", asked, right_answer(row.get("gts")), text, scores=scores))
    return Found(samples, settings={"step": one_step(steps, path)})


def trl(path: Path) -> Found:
    """A row is one answer; columns of numbers are judges, and `solution` the right answer where a reward logs it."""
    samples, steps = [], []
    for line, row in enumerate(read_table(path, ("prompt", "completion", "advantage")), 1):
        where = f"{path}, row {line}"
        problem, prompt = question(row["prompt"], f"{where}, prompt")
        read = row.get("extracted_prediction")
        scores = {
            key: Score(float(value), read if isinstance(read, str) else None)
            for key, value in row.items()
            if key not in ("step", "advantage") and isinstance(value, bool | int | float) and math.isfinite(value)
        }
        steps.append(row.get("step"))
        answer = right_answer(row.get("solution", row.get("answer")))
        text = conversation(row["completion"], f"{where}, completion")
        samples.append(Sample("trl", problem, answer, text, prompt=prompt, scores=scores))
    return Found(samples, settings={"step": one_step(steps, path)})


def one_step(steps: list, path: Path) -> int | None:
    """The step of training that all answers are of."""
    for row, step in enumerate(steps, 1):
        if not isinstance(step, int | None) or step != steps[0]:
            wanted = f"{steps[0]} as before: a store is of one model" if isinstance(step, int | None) else "a number"
            raise InputError(f"{path}, row {row}, step: expected {wanted}, got {step!r:.80}")
    return steps[0] if steps else None


FORMATS: dict[str, Callable[[Path], Found]] = {
    "lm-eval": lm_eval,
    "inspect": inspect,
    "lighteval": lighteval,
    "nemo-skills": nemo_skills,
    "verl": verl,
    "trl": trl,
}
MARKS = {"lm-eval": {"doc_id", "resps"}, "verl": {"input", "output", "score"}, "nemo-skills": {"generation"}}
TABLES = {"lighteval": {"doc", "metric", "model_response"}, "trl": {"prompt", "completion", "advantage"}}


def recognised(path: Path) -> str:
    """The format of a file. Raises InputError where it is none that is known."""
    if path.suffix in (".eval", ".json"):
        return "inspect"
    if path.suffix == ".parquet":
        with whole_parquet(path):
            there, marks = set(pq.read_schema(path).names), TABLES
    else:
        with path.open("rb") as file:
            first = next((line for line in file if line.strip()), b"")
        there, marks = set(read_object(first, f"{path}, line 1")), MARKS
    for name, mark in marks.items():
        if mark <= there:
            return name
    known = "; ".join(f"{name} has {', '.join(sorted(mark))}" for name, mark in marks.items())
    raise InputError(f"{path}: expected samples of a known tool ({known}), found {', '.join(sorted(there))[:200]}")
