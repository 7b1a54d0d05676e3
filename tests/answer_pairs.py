"""Pairs of a right answer and a text: another spelling of it, or a change after which it says another thing."""

import json
import random
import re
from collections.abc import Callable
from fractions import Fraction

from conftest import ROOT

from largek.answer_kinds import Several, Text, read
from largek.answer_numbers import Number
from largek.final_answer import boxed

DATA = ROOT.parent / "shared" / "data"
OWN = r"""
0 | 1 | -3 | 12 | 1000 | 27729 | 0.5 | -0.25 | 3.14159 | 1/3 | -7/4 | \frac{12}{35} | 2\frac{5}{8} | 10 1/3 | 4.5e33
3e8 | 1.6e-19 | 6.02 \times 10^{23} | 1.2\cdot10^{-4} | 10^{-20} | 2^{-80} | \frac{1}{2^{99}} | \frac{1}{20!}
\sqrt{2} \cdot 10^{-16} | 28\% | 12.5\% | 5\text{ cm} | 18\text{ km/h} | 15\mbox{ cm}^2 | 30^\circ | 45\text{ ways}
\$12.50 | 80\text{ cents} | (3,-4) | (1,2] | [0,\infty) | (-\infty,-2)\cup(3,\infty) | \{1,2,5\} | 1,2,5 | 27, 729
-2, \frac{3}{2} | (0, 1, -1) | x^2+2x+1 | 2x-3y | \frac{x+2}{7} | \sqrt{3}+\sqrt{5} | 3\sqrt{13} | \frac{5\pi}{6}
8\pi | 2+3i | e^{2} | \log_2 3 | b+3 | 9t | y=2x+3 | 2x+z-5=0 | x>5 | -2\le x\le 7 | x^2+y^2=25 | g(1)=7
f(x)=x^2-1 | AB=9, CD=4 | \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{pmatrix} -7 \\ 2 \end{pmatrix}
204_5 | 1101_2 | 152A_{11} | 12:30 | 3:5 | \text{Evelyn} | \text{(C)} | \text{two lines} | \text{June 20}
\text{no solution} | 7\text{ hours }20\text{ minutes}
"""


def own_golds() -> list[str]:
    return [gold.strip() for line in OWN.strip().splitlines() for gold in line.split(" | ")]


def published_golds() -> list[str]:
    """Right answers of MATH and GSM8K, each once; empty where the files are not there."""
    found = []
    for name in ("math500_test.jsonl", "math_test_full.jsonl", "gsm8k_test.jsonl"):
        if (DATA / name).exists():
            rows = [json.loads(line) for line in (DATA / name).read_text().splitlines()]
            answers = [row.get("answer") or boxed(row["solution"]) for row in rows]
            found += [answer.rpartition("####")[2].strip() for answer in answers]
    if (DATA / "math_train_part.json").exists():
        found += [row["answer"] for row in json.loads((DATA / "math_train_part.json").read_text())]
    return list(dict.fromkeys(filter(None, found)))


Change = Callable[[str, random.Random], str | None]


def value(gold: str) -> Fraction | None:
    """The gold as a bare number."""
    found = read(gold)
    bare = re.fullmatch(r"[-\d.,/ {}\\a-z]*", gold) and not re.search(r"text|mbox|\d\s+\d|\\[^dtf]", gold)
    return found.value if bare and isinstance(found, Number) and not found.percent else None


# Spellings that keep the meaning; None where one does not apply.


def replaced(*pairs: tuple[str, str]) -> Change:
    def change(gold: str, rng: random.Random) -> str | None:
        text = gold
        for pattern, new in pairs:
            text = re.sub(pattern, new, text)
        return text if text != gold else None

    return change


def around(before: str, behind: str) -> Change:
    return lambda gold, rng: before + gold + behind


def spaced(gold: str, rng: random.Random) -> str | None:
    if "\\text" in gold or "\\mbox" in gold or "\\begin" in gold:
        return None
    space = rng.choice([" ", r"\,", r"\ ", "~", "\u00a0", "\u2009"])
    return re.sub(r"(?<=[\w)}\]])([+=])(?=[\w\\(])", lambda found: f"{space}{found[1]}{space}", gold)


def larger_brackets(gold: str, rng: random.Random) -> str | None:
    if "\\left" in gold or "\\text" in gold:
        return None
    return re.sub(r"(?<!\\)([\[(])", r"\\left\1", re.sub(r"(?<!\\)([\])])", r"\\right\1", gold))


def other_number(gold: str, rng: random.Random) -> str | None:
    """The same number in another form."""
    exact = value(gold)
    if exact is None:
        return None
    top, bottom, minus = abs(exact.numerator), exact.denominator, "-" * (exact < 0)
    forms = [rf"\frac{{{exact.numerator}}}{{{bottom}}}", rf"{minus}\dfrac{{{2 * top}}}{{{2 * bottom}}}", f"{exact}"]
    if bottom == 1:
        forms += [f"{minus}{top:,}", f"{exact}.0", f"{exact}.", f"{minus}{top:,}".replace(",", "{,}"), f"{exact}/1"]
        forms += [f"{minus}{top:,}".replace(",", r",\!"), f"{minus}{top:,}".replace(",", r"\,")]
        forms += [f"{exact}e0", rf"{exact}\times 10^0", rf"{exact}0\cdot10^{{-1}}", f"{exact}E+0"]
    elif top > bottom:
        forms += [
            f"{minus}{top // bottom} {top % bottom}/{bottom}",
            rf"{minus}{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}",
        ]
    if 10**9 % bottom == 0:
        scale = 10**9 // bottom
        whole, rest = divmod(top * scale, 10**9)
        digits = f"{rest:09}".rstrip("0")
        forms += [f"{minus}{whole}.{digits or 0}", f"{minus}{whole}.{digits}00"]
        forms += [f"{minus}.{digits}"] if whole == 0 and digits else []
    return rng.choice(forms)


def with_unit(gold: str, rng: random.Random) -> str | None:
    if value(gold) is None:
        return None
    return gold + rng.choice(
        [
            " cm",
            r"\text{ cm}",
            r"\ \mathrm{cm}",
            r"\,\text{m}^2",
            " km/h",
            "^\\circ",
            "°",
            r"\text{ ways}",
            " apples",
            " dollars",
        ]
    )


def in_unicode(gold: str, rng: random.Random) -> str | None:
    pairs = [("-", rng.choice("−–")), (r"\\pi(?![a-z])", "π"), (r"\\infty", "∞"), (r"\\cup", "∪"), (r"\^\\circ", "°")]
    pairs += [
        (r"\\sqrt\{(\d+)\}", r"√\1"),
        (r"\^2(?!\d)", "²"),
        (r"\^(?:3(?!\d)|\{3\})", "³"),
        (r"\\frac\{1\}\{2\}", "½"),
    ]
    pairs += [
        (r"\\cdot", "·"),
        (r"\\times", "×"),
        (r"\\le(?![a-z])", "≤"),
        (r"\\ge(?![a-z])", "≥"),
        (",", "，"),
        (r"\(", "（"),
    ]
    return None if "\\begin" in gold or re.search(r"\d,\d{3}", gold) else replaced(*pairs)(gold, rng)


def named(gold: str, rng: random.Random) -> str | None:
    if re.search(
        r"[=<>]|\\(?:leq?|geq?|lt|gt|neq?|in|text|mbox|approx)(?![a-z])|[^\d()\[\\{].*,|^[-\d.]*,", gold
    ) or re.fullmatch("[A-Z]", gold):
        return None
    return rng.choice(["x = ", "A=", "f(2)=", r"\angle ABC = ", r"\text{Area} = "]) + gold


def in_other_order(gold: str, rng: random.Random) -> str | None:
    found = read(gold)
    if not isinstance(found, Several) or found.opening not in ("", "\\{") or re.search(r"\\pm|\\text|\band\b|=", gold):
        return None
    inner = gold.strip()[2:-2] if found.opening else gold
    parts = inner.split(",")
    if len(parts) != len(found.items):
        return None
    rng.shuffle(parts)
    joined = rng.choice([", ", ",\\ ", "; "]).join(part.strip() for part in parts)
    return rf"\{{{joined}\}}" if found.opening or rng.random() < 0.5 else joined


SAME: dict[str, Change] = {
    "as it is": around("", ""),
    "spaces": spaced,
    "spaces at the ends": around(" ", "  "),
    "a point at the end": lambda gold, rng: None if gold.endswith(".") else f"{gold}.",
    "dollars": around("$", "$"),
    "brackets of a formula": around(r"\( ", r" \)"),
    "bold": around("**", "**"),
    "display style": around(r"\displaystyle ", ""),
    "braces": around("{", "}"),
    "zero width": around("", "\u200b"),
    "larger brackets": larger_brackets,
    "fractions in display style": replaced((r"\\[dt]?frac", r"\\dfrac")),
    "fractions in text style": replaced((r"\\[dt]?frac", r"\\tfrac")),
    "words in another font": replaced((r"\\(?:text|mbox)\{", r"\\mathrm{")),
    "number": other_number,
    "unit": with_unit,
    "unicode": in_unicode,
    "name": named,
    "order": in_other_order,
}

# Changes after which it says another thing.


def another_digit(gold: str, rng: random.Random) -> str | None:
    places = [
        found.start()
        for found in re.finditer(r"\d", re.sub(r"\\text\{[^{}]*\}", lambda found: "#" * len(found[0]), gold))
    ]
    if not places:
        return None
    place = rng.choice(places)
    old = gold[place]
    new = rng.choice([digit for digit in "123456789" if digit != old])
    changed = gold[:place] + new + gold[place + 1 :]
    return changed


def other_sign(gold: str, rng: random.Random) -> str | None:
    if value(gold) in (0, None):
        return None
    return gold[1:] if gold.startswith("-") else f"-{gold}"


def a_digit_more(gold: str, rng: random.Random) -> str | None:
    exact = value(gold)
    return f"{rng.choice('123456789')}{gold}" if exact is not None and re.match(r"\d", gold) else None


def times_ten(gold: str, rng: random.Random) -> str | None:
    exact = value(gold)
    return (
        rng.choice([f"{exact}\\cdot 10", f"{exact}e1", rf"{exact} \times 10^{{1}}"])
        if exact and exact.denominator == 1
        else None
    )


def another_term(gold: str, rng: random.Random) -> str | None:
    if re.search(r"[,=<>:]|text|mbox|\\(?:le|ge|in|cup|begin|circ|%)|_|%|\$", gold) or re.fullmatch("[A-Z]+", gold):
        return None
    return gold + rng.choice(["+1", "-1", "+c", "-k", "+x^2"])


def another_factor(gold: str, rng: random.Random) -> str | None:
    exact = value(gold)
    return (
        None
        if not exact
        else gold
        + rng.choice(
            [
                "x",
                "y",
                "t",
                "\\pi",
                "\\sqrt{2}",
                "!" if exact > 2 else "i",
                "^2" if abs(exact) != 1 else "k",
                "\\%" if abs(exact) <= 1 else "z",
            ]
        )
    )


def swapped(gold: str, rng: random.Random) -> str | None:
    found = read(gold)
    if not isinstance(found, Several) or found.opening not in ("(", "[") or len(found.items) != 2:
        return None
    inner = re.fullmatch(r"\s*(?:\\left\s*)?([\[(])([^,]*),([^,]*?)(?:\\right\s*)?([\])])\s*", gold)
    return f"{inner[1]}{inner[3]},{inner[2]}{inner[4]}" if inner and found.items[0] != found.items[1] else None


def other_bracket(gold: str, rng: random.Random) -> str | None:
    if not isinstance(read(gold), Several) or not re.fullmatch(r"[(\[][^,]*,[^,]*[)\]]", gold.strip()):
        return None
    text = gold.strip()
    return "[("[text[0] == "["] + text[1:] if rng.random() < 0.5 else text[:-1] + "])"[text[-1] == "]"]


def an_item_less(gold: str, rng: random.Random) -> str | None:
    found = read(gold)
    if not isinstance(found, Several) or found.opening or gold.count(",") != len(found.items) - 1:
        return None
    parts = gold.split(",")
    parts.pop(rng.randrange(len(parts)))
    return ",".join(parts)


def an_item_more(gold: str, rng: random.Random) -> str | None:
    found = read(gold)
    if isinstance(found, Text) or re.search(r"[\[({=<>:]|text|mbox", gold):
        return None
    return f"{gold}, 7919"


def other_operator(gold: str, rng: random.Random) -> str | None:
    places = [found.start() for found in re.finditer(r"(?<=[\w})\s])[+](?=[\s\w\\(])", gold)]
    if not places or "text" in gold:
        return None
    place = rng.choice(places)
    return gold[:place] + "-" + gold[place + 1 :]


def other_comparison(gold: str, rng: random.Random) -> str | None:
    return replaced(
        ("<", "#"), (">", "<"), ("#", ">"), (r"\\le(?![a-z])", "#"), (r"\\ge(?![a-z])", r"\\le"), ("#", r"\\ge ")
    )(gold, rng)


def other_base(gold: str, rng: random.Random) -> str | None:
    found = re.fullmatch(r"(-?[\dA-E]+)_\{?(\d+)\}?", gold)
    return rf"{found[1]}_{{{int(found[2]) + rng.choice([1, 2, 3])}}}" if found and found[1] != "1" else None


def other_word(gold: str, rng: random.Random) -> str | None:
    found = read(gold)
    return rng.choice(["\\text{none}", "\\text{Quentin}", "7919", "x"]) if isinstance(found, Text) else None


OTHER: dict[str, Change] = {
    "another digit": another_digit,
    "the other sign": other_sign,
    "a digit more": a_digit_more,
    "times ten": times_ten,
    "another term": another_term,
    "another factor": another_factor,
    "swapped": swapped,
    "the other bracket": other_bracket,
    "an item less": an_item_less,
    "an item more": an_item_more,
    "the other operator": other_operator,
    "the other comparison": other_comparison,
    "another base": other_base,
    "another word": other_word,
}


def pairs(golds: list[str], changes: dict[str, Change], number: int, seed: int) -> list[tuple[str, str, str]]:
    """(name of the change, gold, changed text), in all `number` or as many as there are; each change as often."""
    rng = random.Random(seed)
    found: dict[tuple[str, str], str] = {}
    for _ in range(20):
        for gold in rng.sample(golds, len(golds)):
            name = rng.choice(list(changes))
            text = changes[name](gold, rng)
            if text is not None and (gold, text) not in found:
                found[gold, text] = name
                if len(found) == number:
                    break
        if len(found) == number:
            break
    return [(name, gold, text) for (gold, text), name in found.items()]
