"""Reading a model folder without transformers: the same tokens and texts, or transformers where that is not sure."""

import json
import shutil

import pytest

from largek.models import PlainTokenizer, load_tokenizer, read_tokenizer

TEXTS = [
    "start 3 1 4 then sort ?",
    "",
    "  answer 1   2 <eos>",
    "<pad> sort unheard <unk> <eos> add",
    "sort\nsort\u2028 ä",
]


@pytest.mark.parametrize("saved", ["as it was made", "after it was loaded, as by a training"])
def test_a_plain_tokenizer_is_that_of_transformers(small_model, tmp_path, saved):
    if saved != "as it was made":
        small_model = shutil.copytree(small_model, tmp_path / "model")
        load_tokenizer(str(small_model)).save_pretrained(small_model)
    plain, theirs = read_tokenizer(str(small_model)), load_tokenizer(str(small_model))
    assert isinstance(plain, PlainTokenizer)
    for special in (True, False):
        rows = [plain(text, add_special_tokens=special)["input_ids"] for text in TEXTS]
        assert rows == [theirs(text, add_special_tokens=special)["input_ids"] for text in TEXTS]
        decoded = plain.batch_decode(rows, skip_special_tokens=special)
        assert decoded == theirs.batch_decode(rows, skip_special_tokens=special)
    assert plain.chat_template is theirs.chat_template is None
    for name in ("bos_token", "eos_token", "pad_token"):
        assert getattr(plain, name) == getattr(theirs, name)
        assert getattr(plain, f"{name}_id") == getattr(theirs, f"{name}_id")


@pytest.mark.parametrize(
    "file, change",
    [
        ("tokenizer_config.json", {"chat_template": "{{ messages }}"}),
        ("tokenizer_config.json", {"add_bos_token": True, "bos_token": "<eos>"}),
        ("tokenizer_config.json", {"clean_up_tokenization_spaces": True}),
        ("tokenizer_config.json", {"eos_token": "sort"}),
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}),
        ("tokenizer.json", {"padding": {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None,
                                        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}}),
        ("chat_template.jinja", {}),
    ],
)  # fmt: skip
def test_what_only_transformers_understands_is_left_to_it(small_model, tmp_path, file, change):
    folder = shutil.copytree(small_model, tmp_path / "model")
    content = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(content | change))
    assert not isinstance(read_tokenizer(str(folder)), PlainTokenizer)
