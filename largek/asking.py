"""How a problem is put to a model: alone, or behind a system prompt and worked examples, as turns of a chat or as text.

In come the options of `largek sample`, out come messages or a text for every problem, and what of it a store keeps
among its settings.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from largek.common import InputError, read_jsonl
from largek.models import prompt_ids, tokenized
from largek.problems import Problem, prompt_of
from largek.tasks import fill, is_file, read_entries
from largek.thoughts import opening

# what largek itself hands to a chat template
OWN = ("messages", "add_generation_prompt", "continue_final_message", "tokenize", "conversation", "chat_template")

QUESTION = "1 + 1"  # with which a chat template is tried


class Asking(NamedTuple):
    """`examples` are rows of problem, answer and, where they have one, prompt; `prompts` is what the problems of a task
    are asked with; `template` are keywords of the chat template."""

    system: str | None = None
    template: dict = {}  # noqa: RUF012  never changed
    examples: Sequence[dict] = ()
    prompts: dict[str, str] = {}  # noqa: RUF012

    def shots(self, row: Problem) -> list[tuple[str, str]]:
        """What is asked in each example, in the words of the problem's task, and its answer."""
        prompt = self.prompts.get(row["task"], "{problem}")
        return [(shot.get("prompt") or fill(prompt, shot["problem"]), shot["answer"]) for shot in self.examples]

    def messages(self, row: Problem) -> list[dict[str, str]]:
        """The turns of a chat."""
        turns = [("system", self.system)] if self.system else []
        for asked, answer in self.shots(row):
            turns += [("user", asked), ("assistant", answer)]
        return [{"role": role, "content": text} for role, text in [*turns, ("user", prompt_of(row))]]

    def text(self, row: Problem) -> str:
        """The same where there is no template: each example's answer behind what is asked, and an empty line."""
        shots = [f"{asked}{'' if asked[-1:].isspace() else ' '}{answer}\n\n" for asked, answer in self.shots(row)]
        return "".join([*shots, prompt_of(row)])

    def ids(self, tokenizer, row: Problem, chat_template: bool) -> list[int]:
        """The same as tokens. Raises InputError if there are none."""
        asked = self.messages(row) if chat_template else self.text(row)
        with tokenized(f"problem {row['id']}"):
            ids = prompt_ids(tokenizer, asked, chat_template, **self.template)
        if not ids:
            what = "the chat template" if chat_template else "the tokenizer"
            raise InputError(f"problem {row['id']}: {what} leaves nothing of it to ask")
        return ids

    def settings(self) -> dict:
        """What a store keeps of it: nothing of what is as it always was."""
        found = {"system": self.system} if self.system else {}
        found |= {"template": self.template} if self.template else {}
        if self.examples:
            digest = hashlib.sha256(json.dumps(self.examples, sort_keys=True).encode()).hexdigest()[:16]
            found["few_shot"] = f"{len(self.examples)} examples, sha256:{digest}"
        return found

    def check(self, tokenizer, model: str, chat_template: bool) -> str:
        """The tag of a thought that the chat template begins for the model, or "". Raises InputError if the model
        cannot be asked so."""
        self.need_template(chat_template)
        return opening(self.rendered(tokenizer, model)) if chat_template else ""

    def need_template(self, chat_template: bool) -> None:
        """Raises InputError if something needs a chat template and there is none, or it is not to be used."""
        for option, given in (("--system", self.system), ("--template", self.template)):
            if given and not chat_template:
                raise InputError(f"{option} needs a chat template: say --chat-template yes, if the model has one")

    def rendered(self, tokenizer, model: str) -> str:
        """A chat through the tokenizer's own template. Raises InputError if the template refuses a part of it, or
        leaves one out without a word."""
        source = tokenizer.chat_template
        source = "\n".join(map(str, source.values())) if isinstance(source, dict) else str(source)
        check_keywords(self.template, source, model)
        messages = self.messages({"task": "", "problem": QUESTION})
        try:
            how = {"add_generation_prompt": True, "tokenize": False}
            text = tokenizer.apply_chat_template(messages, **how, **self.template)
        except Exception as error:  # raised by the template, which is a program of its own
            parts = [name for name, given in (("--system", self.system), ("--few-shot", self.examples)) if given]
            parts += ["--template"] if self.template else []
            what = f"what is asked with {' and '.join(parts)}" if parts else "a question"
            raise InputError(f"{model}: its chat template refuses {what} ({' '.join(str(error).split())})") from None
        if self.system and self.system.strip() not in text:
            raise InputError(f"{model}: its chat template leaves out the system prompt; put it into --prompt")
        if QUESTION not in text:
            raise InputError(f"{model}: its chat template leaves out the question")
        return text


def check_keywords(keywords: Iterable[str], source: str, model: str) -> None:
    """Raises InputError if a keyword stands nowhere in the text of a chat template."""
    for key in keywords:
        if not re.search(rf"\b{re.escape(key)}\b", source):
            raise InputError(f"--template {key}: the chat template of {model} has no such keyword")


def read_asking(
    rows: list[Problem],
    tasks: list[str],
    tasks_file: str | None = None,
    prompt: str | None = None,
    system: str | None = None,
    few_shot: Sequence[str | int] | None = None,
    template: dict | None = None,
) -> Asking:
    """How the problems `rows` of `tasks` are asked; see `largek.sample.run`. Raises InputError."""
    if system is not None and not (isinstance(system, str) and system.strip()):
        raise InputError(f"--system: expected text, got {system!r:.80}")
    for key in template or {}:
        if key in OWN:
            raise InputError(f"--template {key}: is what largek itself says to a chat template")
    if not few_shot:
        return Asking(system, dict(template or {}))
    examples, names = read_examples(*few_shot), dict.fromkeys(row["task"] for row in rows)
    asked = {row["problem"].strip() for row in rows}
    for number, shot in enumerate(examples):
        if shot["problem"].strip() in asked:
            raise InputError(f"--few-shot {few_shot[0]}, row {number}: is one of the problems to be sampled")
    if prompt is not None:
        examples = [{key: shot[key] for key in ("problem", "answer")} for shot in examples]
        return Asking(system, dict(template or {}), examples, dict.fromkeys(names, prompt))
    entries = {} if all(map(is_file, tasks)) else read_entries(tasks_file)
    prompts = {name: entries[name]["prompt"] for name in names if name in tasks and "prompt" in entries.get(name, {})}
    return Asking(system, dict(template or {}), examples, prompts)


def read_examples(path: str, number: str | int | None = None, *more: object) -> list[dict]:
    """The first `number` examples of a JSONL file, all if it is not given: problem, answer (the worked solution where a
    row has one) and prompt. Raises InputError."""
    if more or not (number is None or re.fullmatch("[0-9]*[1-9][0-9]*", str(number))):
        got = " ".join(map(str, (number, *more)))
        raise InputError(f"--few-shot {path}: expected a file and perhaps a whole number above 0, got {got}")
    rows, found = read_jsonl(path, ("problem",)), []
    if not rows or len(rows) < int(number or 1):
        raise InputError(f"--few-shot {path}: expected {number or 1} examples, found {len(rows)}")
    for place, row in enumerate(rows[: number and int(number)]):
        field = next((name for name in ("solution", "answer") if name in row), None)
        if field is None:
            raise InputError(f"--few-shot {path}, row {place}: expected the field 'solution' or 'answer'")
        answer = str(row[field]) if type(row[field]) in (int, float) else row[field]
        made = {"problem": row["problem"], "answer": answer} | ({"prompt": row["prompt"]} if "prompt" in row else {})
        for name, text in made.items():
            if not (isinstance(text, str) and text.strip()):
                shown = field if name == "answer" else name
                raise InputError(f"--few-shot {path}, row {place}, {shown}: expected text, got {text!r:.80}")
        found.append(made)
    return found
