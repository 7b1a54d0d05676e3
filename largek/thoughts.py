"""Thoughts of reasoning models, told apart from their answers by the tags of the common families.

A thought goes from its tag to the tag that ends it; one whose tag stood in the prompt begins with the text. What comes
behind the last thought is the answer, and an unfinished thought is none.
"""

import re

WORDS = ("think", "thinking", "thought", "reasoning", "seed:think")  # DeepSeek, Qwen and GLM, Claude, prompts, Seed-OSS
PAIRS = {f"<{word}>": f"</{word}>" for word in WORDS}
PAIRS |= {"[THINK]": "[/THINK]", "◁think▷": "◁/think▷"}  # Magistral, Kimi
PAIRS |= {"<|begin_of_thought|>": "<|end_of_thought|>", "<|START_THINKING|>": "<|END_THINKING|>"}  # Sky-T1, Command A
CLOSING = set(PAIRS.values())
# The channels of gpt-oss: what is not said in the one called final is not said to anybody.
ANALYSIS, FINAL = "<|channel|>analysis", "<|channel|>final"
CHANNEL = r"<\|channel\|>\s*(\w+)(?:[^<]{0,100}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>)?"
TAG = re.compile("|".join(map(re.escape, [*PAIRS, *sorted(CLOSING)])) + f"|{CHANNEL}")
PAIRS |= {ANALYSIS: FINAL}
CLOSING |= {FINAL}
STRUCTURE = {"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>"}  # special tokens of these channels
# The same where all special tokens were left out, as many a tool does: no other text begins so.
BARE, BARE_FINAL = re.compile(r"\s*analysis(?=[A-Z])"), "assistantfinal"


def name_of(tag: re.Match) -> str:
    """The tag as it stands in PAIRS or CLOSING."""
    if tag[1] is None:
        return tag[0]
    return FINAL if tag[1] == "final" else ANALYSIS


def answer_in(text: str) -> str | None:
    """What stands behind the last thought of a text, the whole text if there is none; None if a thought has no end."""
    awaited, start, channel = None, 0, False  # the tag that ends the thought we are in
    for tag in TAG.finditer(text):
        name = name_of(tag)
        if name == awaited or (awaited is None and name in CLOSING):
            awaited, start, channel = None, tag.end(), name == FINAL
        elif awaited is None:
            awaited = PAIRS[name]
    if awaited:
        return None
    if channel:
        return text[start:].rstrip().removesuffix("<|return|>").removesuffix("<|end|>")
    if not start and (BARE.match(text) or (text.lstrip().startswith("analysis") and BARE_FINAL in text)):
        return text.rpartition(BARE_FINAL)[2] if BARE_FINAL in text else None
    return text[start:]


def opening(prompt: str) -> str:
    """The tag, and the white space behind it, with which a prompt begins a thought that the model goes on with; "" if
    it begins none."""
    last = None
    for tag in TAG.finditer(prompt, max(0, len(prompt) - 200)):
        last = tag
    begins = last is not None and name_of(last) in PAIRS and not prompt[last.end() :].strip()
    return prompt[last.start() :] if begins else ""


def tags_among(tokens: dict[int, str]) -> dict[int, str]:
    """Of special tokens, those that are tags of thoughts, or parts of such tags."""
    parts = STRUCTURE if "<|channel|>" in tokens.values() else set()
    return {number: token for number, token in tokens.items() if token in parts or TAG.fullmatch(token)}
