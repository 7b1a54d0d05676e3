"""What the files of a model folder say of its chat template, before libraries are loaded that take seconds.

Only what is certain from the files is said here, in the words in which it would be said later.
"""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

from largek.asking import check_keywords
from largek.models import decide_chat_template, read_json


def check(model: str, chat_template: bool | None, keywords: Iterable[str] = ()) -> None:
    """Raises InputError if the folder `model` has a chat template and nobody said whether to use it, or if it is to be
    used with keywords that stand nowhere in it. Of a name on the hub nothing is said."""
    source = template_of(Path(model))
    if not source:
        return
    decide_chat_template(SimpleNamespace(chat_template=source), model, chat_template)
    if chat_template:
        check_keywords(keywords, source, model)


def template_of(folder: Path) -> str:
    """All chat templates that the files of a folder hold, one after another: a tokenizer takes one or more of them."""
    paths = [folder / "chat_template.jinja", *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    found = [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]
    for path in (folder / "chat_template.json", folder / "tokenizer_config.json"):
        if path.is_file():
            listed = read_json(path).get("chat_template")
            listed = listed if isinstance(listed, list) else [{"template": listed}]  # by name, or one
            found += [each["template"] for each in listed if isinstance(each, dict) and each.get("template")]
    return "\n".join(text for text in found if isinstance(text, str))
