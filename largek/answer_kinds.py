"""What an answer is: a number, a tuple, an interval, an equation, a quantity with its unit, a word.

`read` decides this once, from the text alone, and `largek.answer_compare` compares what was read. Expressions are not
read any further here: they stay LaTeX, which `largek.symbolic` reads in a worker process.
"""

import re
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from largek.answer_numbers import COUNTED, DECIMAL, GROUPED, Number, in_words, number
from largek.answer_text import tidy
from largek.answer_units import unit, unit_at_end, words_of

DEEPEST = 30  # brackets in brackets


class Expression(NamedTuple):
    """LaTeX without what surrounds it. `opaque` where words stand in it: it is then only compared as text."""

    latex: str
    opaque: bool = False


class Quantity(NamedTuple):
    """A value with what stands after it; `latex` is the whole where the unit might be letters of a formula."""

    value: tuple
    unit: str
    latex: str | None = None


class Several(NamedTuple):
    """Values in order: `(1,2]` and `[1,2)` by their brackets, `{1,2}`, and a list without any ("", "")."""

    items: tuple
    opening: str = ""
    closing: str = ""
    joined: str = ","  # `and`, `or` where such a word stood between the items


class Union(NamedTuple):
    """A union of sets."""

    items: tuple


class Matrix(NamedTuple):
    rows: tuple


class Relation(NamedTuple):
    """`a < b = c`: its sides, and the signs between them."""

    sides: tuple
    signs: tuple


class Clock(NamedTuple):
    """A time of day, or a ratio: `12:30`, `1:2`; `half` is `am`, `pm` or ""."""

    parts: tuple
    half: str


class Marked(NamedTuple):
    """`5'6''`: feet and inches, or minutes and seconds; nothing in it says which."""

    first: Fraction
    second: Fraction


class Counted(NamedTuple):
    """How many things there are, and which: `3 such integers: 1, 2, 4`."""

    count: tuple
    items: tuple


class Based(NamedTuple):
    """Digits in a base that is written with them."""

    digits: str
    base: int
    negative: bool


class Modular(NamedTuple):
    """A residue with its modulus."""

    value: tuple
    modulus: int


class Choice(NamedTuple):
    """A letter that stands for one of the choices given, and what is said beside it."""

    letter: str
    rest: tuple | None = None


class Text(NamedTuple):
    """Words: in small letters, with single spaces."""

    words: str


IN_WORDS = re.compile(r"(?:(\d+) ?)?(?:\\text ?\{ ?)?([A-Za-z -]{3,80}?) ?\}?")
MIXED_IN_WORDS = re.compile(  # two and a half hours
    r"(?:\\text ?\{ ?)?((?:\d+|[A-Za-z -]{3,40}?) ?(?:\\text ?\{ ?)?and [A-Za-z]+ (?:half|thirds?|quarters?|fourths?))"
    r" ((?!of\b)[a-z]+(?: [a-z]+)?) ?\}?"
)
BASE = re.compile(
    r"(-?) ?(?:\\text ?\{ ?([0-9A-Za-z]+) ?\}|\(?((?:[0-9]+[A-Fa-f]|[0-9A-Z])+(?:\.[0-9A-Z]+)?)\)?) ?"
    r"(?:_ ?(?:\{ ?\(?(?:\\text ?\{)?(\d+|[a-z]+)\}?\)? ?\}|(\d))"
    r"|(?:\\text ?\{)? ?\(?(?:in )?base(?:[ -]| ?\} ?)(\d+|[a-z]+)\)? ?\}?)"
)
MODULAR = re.compile(r"(?:.*\\equiv )?([^\\]*|.*\S) ?\(? ?\\(?:pmod|bmod|mod) ?\{? ?(\d+) ?\}? ?\)?", re.DOTALL)
BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
BASES |= {"eleven": 11, "twelve": 12, "sixteen": 16, "hexadecimal": 16, "binary": 2}
TIME = re.compile(
    r"(\d{1,6}) ?: ?(\d{1,6})(?: ?: ?(\d{1,6}))?(?: ?(?:\\text ?\{)? ?([ap])\.? ?m\b\.? ?\}?)?", re.IGNORECASE
)
HOUR = re.compile(r"(\d{1,2}) ?(?:\\text ?\{)? ?([ap])\.? ?m\b\.? ?\}?", re.IGNORECASE)
CHOICE = re.compile(
    r"(?:\\text ?\{ ?)?(?:(?i:option|choice|answer|letter):? )?(?:\\text ?\{)?"
    r"(?:\( ?(?:\\text ?\{)?([A-J])\}? ?\)|([A-J]) ?(?P<after>[.):](?!\d)|\}|$))\}? ?(.*)",
    re.DOTALL,
)
AND = r"(?:,? ?\\text ?\{ ?,? ?(?:and|or|AND|OR)(?: also)? ?\}|,? ?(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))"
SEPARATOR = re.compile(rf"{AND}|\\text ?\{{ ?[,;] ?\}}|[,;]|\\?&")
COLON = re.compile(":")
# Degrees with minutes and seconds, in marks or in words; the marks alone
MARK = r" ?(?:'|\^ ?(?:\{ ?(?:\\prime|') ?\}|\\prime))"
MARKS = rf" ?(?:\"|'' ?|\^ ?\{{ ?\\prime ?\\prime ?\}}|{MARK}{MARK})"
ANGLE = re.compile(
    rf"(-?) ?(\d+) ?(?:\\degree|(?:\\text ?\{{ ?)?deg(?:ree)?s?\}}?)(?: ?\\text ?\{{ ?and ?\}}|,| and)? ?"
    rf"(?:(\d{{1,2}}(?:\.\d+)?) ?(?:{MARK}|(?:\\text ?\{{ ?)?min(?:ute)?s?\}}?)(?: ?\\text ?\{{ ?and ?\}}|,| and)? ?)?"
    rf"(?:(\d{{1,2}}(?:\.\d+)?) ?(?:{MARKS}|(?:\\text ?\{{ ?)?sec(?:ond)?s?\}}?))?"
)
MARKED = re.compile(rf"(\d+) ?{MARK}(?: ?(\d+(?:\.\d+)?) ?{MARKS})?|(\d+(?:\.\d+)?) ?{MARKS}")
COUNTED_LIST = re.compile(r"(\d{1,2}) ?(?:\\text ?\{ ?)?((?:[a-z-]+ ){0,4}[a-z-]+) ?: ?\}? ?([^:]+)")
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
DATE = re.compile(
    rf"(?:\\text ?\{{ ?)?(?:on )?(?P<month>{MONTHS}) {DAY}(?:,? (?P<year>\d{{4}}))?\.? ?\}}?", re.IGNORECASE
)
DAY_FIRST = re.compile(
    rf"(?:\\text ?\{{ ?)?(?:on |the )*{DAY} (?:of )?(?P<month>{MONTHS})(?:,? (?P<year>\d{{4}}))?\.? ?\}}?",
    re.IGNORECASE,
)
TRANSPOSED = re.compile(r"([(\[].*,.*[)\]]) ?\^ ?(?:\{ ?(?:T|\\top|\\intercal) ?\}|T|\\top)", re.DOTALL)
TRANSPOSED_MATRIX = re.compile(
    r"(\\begin ?\{[bp]matrix\}(?:(?!\\begin|\\end).)*\\end ?\{[bp]matrix\}) ?"
    r"\^ ?(?:\{ ?(?:T|\\top|\\intercal) ?\}|T|\\top)",
    re.DOTALL,
)
RELATION = re.compile(r"\\(?:le|ge|ne|in|approx|to|equiv|mid)(?![A-Za-z])|(?<![\\<>!])=|[<>]")
MEMBER = re.compile(r"([A-Za-z]|\\[a-z]+|\([A-Za-z, ]+\)) ?\\in(?![A-Za-z])([^=<>]*\\cup[^=<>]*)")
UNION = re.compile(r"\\cup(?![A-Za-z])")
TEXTS = re.compile(r"\\text ?\{([^{}]*)\}(?: ?\^ ?(?:\{ ?(-?\d) ?\}|(\d)))?")
WORDS = re.compile(r"[A-Za-z][A-Za-z'-]*(?:[ ,]+[A-Za-z0-9][A-Za-z0-9'.,-]*)*")
FUNCTIONS = words_of(
    "sin cos tan cot sec csc log ln exp max min mod gcd lcm arcsin arccos arctan sinh cosh tanh det dim ker arg deg lim"
    " sup inf sqrt"
)
# words that change a number, so that what they stand beside is not that number
CHANGING = words_of(
    "half halves third thirds fourths fifths sixths sevenths eighths ninths tenths hundredths quarter quarters twice"
    " double triple dozen hundred thousand million billion squared cubed root power factorial mod modulo times plus"
    " minus negative over divided less more least most than not no never or and between to from except without of pi"
    " percent point base choose either neither maybe respectively fewer"
    " by above below under within greater smaller larger higher lower bigger exceeds"
    " tens hundreds thousands millions billions dozens thousandths millionths billionths trillion"
    " lakh crore bn mn mil mille millones milliard millionen tausend"
)
# with which a number is not said to be the answer
DENIED = re.compile(
    r"\b(?:is|was|are|be) (?:wrong|incorrect|impossible|invalid|false)\b|\bcannot\b|n['’]t\b"
    r"|^\W*(?:wrong|incorrect|impossible|invalid|false)\W*$"
)
# of what stands beside a counter in Chinese: not, or, to, above, times, powers, parts
CHINESE = re.compile("[不非没或与到至余几折和]|次方|[平立]方$|以[上下内外]|分之|[十百千万萬亿億]")
ENVIRONMENT = re.compile(
    r"\\begin ?\{((?:[bpB]|small)?matrix|array)\}(?: ?\{[lcr| ]*\})?((?:(?!\\begin|\\end).)*)\\end ?\{\1\}", re.DOTALL
)
OPENING = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle"}
CURRENCY = re.compile(
    r"^(-?) ?(?:(?:US|CA?|AU?|NZ|HK|S)? ?\\?\$|€|£|¥|₹|(?:USD|EUR|GBP|Rs\.?)(?= ?\d)) ?(?=[-\d.\\])"
    r"|(?<=[\d}]) ?(?:\\\$|\$|€|£|¥|₹)$"
)
MONEY = {"$": "dollar", "€": "euro", "£": "gbp", "¥": "yen", "₹": "rupee"}
BUILDER = re.compile(r"([a-z])(?: ?\\in ?\\mathbb ?\{ ?R ?\})? ?(?:\\mid|\||:)(?![a-z])(.*)", re.DOTALL)
POINT = re.compile(r"([A-Z]'?) ?(\(.*,.*\))", re.DOTALL)  # with its name
CASES = re.compile(
    r"(?:\\\{ ?)?\\begin ?\{(d?cases|array)\}(?: ?\{[lcr| ]*\})?((?:(?!\\begin|\\end).)*)\\end ?\{\1\}", re.DOTALL
)
CONDITION = re.compile(r"^(?:\\text ?\{ ?(?:if|for|when|where)\b|(?:if|for|when)\b) ?([^{}]*)\}?(?=[^{}]|$)")
WITHOUT = re.compile(
    r"(\\mathbb ?\{R\}|[(\[][^()\[\]]*[)\]]) ?(?:\\setminus|\\backslash|-|\\) ?\\\{(.*)\\\}", re.DOTALL
)
EXCEPT = re.compile(
    r"(?:\\text ?\{ ?)?(?:all )?reals?(?: numbers)?(?: x)? (?:except|other than|but)(?: for)? ?(?:\} ?|\$)?"
    r"(?:x ?= ?)?([-\d][^{}$]*|\\frac.*)\}?",
    re.IGNORECASE,
)
FRENCH = re.compile(r"(\])([^\[\](),;]+)[,;]([^\[\](),;]+)([\[\]])|(\[)([^\[\](),;]+)[,;]([^\[\](),;]+)(\[)")  # ]1,2[
FLAT = re.compile(r"[\[\](][^\[\](){},;]+[,;][^\[\](){},;]+[\[\])]|\\\{[^{}]*\\\}")  # a set without brackets in it
TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
TOKEN = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL)
INFINITE, MINUS_INFINITE = Expression(r"\infty"), Expression(r"-\infty")
REALS = Several((MINUS_INFINITE, INFINITE), "(", ")")
SETS = {
    r"\mathbb{R}": REALS,
    r"\mathbb{R}+": Several((Number(Fraction(0)), INFINITE), "(", ")"),
    "all real numbers": REALS,
    "all reals": REALS,
    "all real": REALS,
    "real numbers": REALS,
    **dict.fromkeys(("empty set", "no solution", "no solutions"), Expression(r"\emptyset")),
    **dict.fromkeys(("infinitely many", "infinitely many solutions", "infinite solutions", "infinite"), INFINITE),
}


@lru_cache(maxsize=20_000)
def read(answer: str) -> tuple:
    """What the answer is."""
    text = tidy(answer)
    return kind(text) if nesting(text) <= DEEPEST else Expression(text, opaque=True)


def nesting(text: str) -> int:
    """How deep brackets of any kind stand in one another."""
    depth = deepest = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    return deepest


def kind(text: str) -> tuple:
    """What a tidied text is."""
    while (found := re.fullmatch(r"\\text ?\{([^{}]*)\}", text)) and not found[1].strip().isalpha():
        text = tidy(found[1])  # words inside which are a number, a unit, a list
    text = text.replace("\\thousands ", "")
    if (value := number(text)) is not None:
        return value
    if not text:
        return Text("")
    if (found := IN_WORDS.fullmatch(text)) and (worth := in_words(f"{found[1] or ''} {found[2].lower()}")) is not None:
        return Number(worth)
    if (
        "and" in text
        and (found := MIXED_IN_WORDS.fullmatch(text))
        and (worth := in_words(re.sub(r"\\text ?\{", " ", found[1]).lower()))
    ):
        return Quantity(Number(worth), found[2])
    if text.startswith(r"\mathbb{R}") and (name := re.sub(r"[ ^_{]*(\+|> ?0) ?\}?$", "+", text)) in SETS:
        return SETS[name]
    if found := CHOICE.fullmatch(text):
        return choice(found)
    if (found := DATE.fullmatch(text)) or (found := DAY_FIRST.fullmatch(text)):
        return Text(" ".join(part.lower() for part in (found["month"], found["day"], found["year"]) if part))
    if text[0] in "([" and (found := TRANSPOSED.fullmatch(text)) and isinstance(inner := brackets(found[1]), Several):
        return inner
    if text.startswith("\\begin") and (found := TRANSPOSED_MATRIX.fullmatch(text)):
        inner = kind(found[1])
        return Matrix(tuple(zip(*inner.rows))) if isinstance(inner, Matrix) and even(inner) else Expression(text)
    if found := TIME.fullmatch(text):
        return Clock(
            tuple(int(part) for part in found.groups()[:3] if part), f"{found[4]}m".lower() if found[4] else ""
        )
    if found := HOUR.fullmatch(text):
        return Clock((int(found[1]), 0), f"{found[2]}m".lower())
    if found := ANGLE.fullmatch(text) if "deg" in text else None:
        minutes, seconds = (Fraction(part or 0) for part in (found[3], found[4]))
        if (found[3] or found[4]) and minutes < 60 and seconds < 60:
            value = int(found[2]) + minutes / 60 + seconds / 3600
            return Quantity(Number(-value if found[1] else value), "degree")
    if ("'" in text or '"' in text or "prime" in text) and (found := MARKED.fullmatch(text)):
        return Marked(Fraction(found[1] or 0), Fraction(found[2] or found[3] or 0))
    if ":" in text and (found := COUNTED_LIST.fullmatch(text)):
        items = kind(tidy(found[3]))
        if int(found[1]) == (len(items.items) if isinstance(items, Several) and not items.opening else 1):
            return Counted(Number(Fraction(found[1])), items)
    if found := BASE.fullmatch(re.sub(r"(?<=\d)\\text ?\{ ?([A-Z]+) ?\}|(?<=\d),(?=\d{3}[,_])", r"\1", text)):
        digits, base = found[2] or found[3], found[4] or found[5] or found[6]
        if (base := BASES.get(base) or (int(base) if base.isdigit() else 0)) > 1 and found[0] != digits:
            return Based(digits.upper().lstrip("0") or "0", base, bool(found[1]))
    if "mod" in text and ("\\equiv" in text or "\\pmod" in text) and (found := MODULAR.fullmatch(text)):
        return Modular(kind(tidy(found[1].strip(" ("))), int(found[2]))
    if found := POINT.fullmatch(text):
        inner = brackets(found[2])
        if isinstance(inner, Several):
            return Relation((Expression(found[1]), inner), ("=",))
    if ("cases" in text or text.startswith("\\{")) and (found := CASES.fullmatch(text)):
        return cases(found[2])
    if "real" in text and (found := EXCEPT.fullmatch(text)):
        points = [kind(tidy(part)) for part in split(found[1], SEPARATOR)[0]]
        if whole := punctured(REALS, points):
            return whole
    if found := WITHOUT.fullmatch(text):
        whole, points = kind(found[1]), [kind(tidy(part)) for part in split(found[2], SEPARATOR)[0]]
        if isinstance(whole, Several) and len(whole.items) == 2 and whole.opening in ("(", "["):
            return punctured(whole, points) or Expression(text)
    if (found := MEMBER.fullmatch(text)) and not split(found[2], SEPARATOR)[1]:
        return Relation((kind(tidy(found[1])), kind(tidy(found[2]))), ("\\in",))
    if "\\cup" in text and all(map(FLAT.fullmatch, parts := [part.strip() for part in UNION.split(text)])):
        return Union(tuple(map(kind, parts)))  # brackets of ]1,2[ do not tell where one ends
    parts, between = split(text, UNION)
    if len(parts) > 1:
        return Union(tuple(map(kind, parts)))
    if found := FRENCH.fullmatch(text):
        low, high = found[2] or found[6], found[3] or found[7]
        return Several((kind(tidy(low)), kind(tidy(high))), "(["[text[0] == "["], ")]"[text[-1] == "]"])
    parts, between = split(without_groups(text, "", ""), SEPARATOR)
    if len(parts) > 1:
        return several(parts, between)
    if "," in text and not re.search(r"[()\[\]{}]", text):
        text = parts[0] if parts[0] else text
    parts, between = split(text, RELATION)
    if len(parts) > 1 or (parts and between):
        return relation(parts, between)
    parts, between = split(text, COLON)
    if 1 < len(parts) < 6 and all(parts):
        items = tuple(kind(tidy(part)) for part in parts)
        if all(isinstance(item, Number | Expression | Choice) for item in items):
            return Several(items, ":", ":")
    if not text.startswith("\\{") and text.count("\\pm") == 1 and "\\mp" not in text:
        return Several(tuple(both_signs(text)))
    if bracketed := brackets(text):
        return bracketed
    if found := ENVIRONMENT.fullmatch(text):
        rows = [row for row in re.split(r"\\\\(?: ?\[[^\]]*\])?", found[2].replace(r"\hline", "")) if row.strip()]
        return Matrix(tuple(tuple(kind(tidy(cell)) for cell in row.split("&")) for row in rows))
    if found := quantity(text):
        return found
    return words_or_expression(text)


def even(matrix: Matrix) -> bool:
    """Whether all rows are of one length."""
    return len({len(row) for row in matrix.rows}) == 1


def cases(text: str) -> tuple:
    """Equations that hold together, or values each with its condition."""
    rows = [[cell.strip(" ,;.") for cell in row.split("&")] for row in re.split(r"\\\\(?: ?\[[^\]]*\])?", text)]
    rows = [row for row in rows if any(row)]
    if all(
        RELATION.search(row[0]) or len([cell for cell in row if cell]) < 2 or RELATION.match(row[1]) for row in rows
    ):
        return several(["".join(row) for row in rows], [","] * (len(rows) - 1)) if rows else Text("")
    pairs = [Several(tuple(kind(tidy(CONDITION.sub(r"\1", cell))) for cell in row if cell), "(", ")") for row in rows]
    return Several(tuple(pairs), "\\{", "\\}")


def choice(found: re.Match) -> Choice | tuple:
    letter, rest = found[1] or found[2], found[4].lstrip(" .}").rstrip(" .")
    if rest.count("}") > rest.count("{"):
        rest = rest.removesuffix("}").rstrip(" .")
    if not rest:
        return Choice(letter)
    another = re.search(r"(?:,|\bor\b|\band\b)[ }]*\(?[A-J](?:[).:]|$)", rest)
    if (
        another or SEPARATOR.match(rest) or rest.startswith("(") or not (found[1] or found.group("after"))
    ):  # `(A), (B)`, `(A)(B)`
        parts, between = split(found.string, SEPARATOR)
        return several(parts, between) if len(parts) > 1 else words_or_expression(found.string)
    if found[1] and re.match(r"[-+*/^=<>_'!]|\\(?:cdot|times|frac|sqrt|le|ge|cup|cap)", rest):
        parts, between = split(found.string, RELATION)
        return relation(parts, between) if len(parts) > 1 else words_or_expression(found.string)
    return Choice(letter, kind(tidy(rest)))


def without_groups(text: str, opening: str, closing: str) -> str:
    """Numbers without the commas between their thousands. In brackets a comma separates, unless other commas there are
    followed by spaces."""
    if opening and not re.search(r", ", text):
        return text
    return GROUPED.sub(lambda found: found[1].replace(",", ""), text)


def split(text: str, pattern: re.Pattern) -> tuple[list[str], list[str]]:
    """The parts between what the pattern finds outside of all brackets, and what was found."""
    if not pattern.search(text):
        return [text], []
    outside, depth = [False] * len(text), 0
    for found in TOKEN.finditer(text):
        token = found[0]
        if token in ("(", "[", "{", "\\{", "\\langle", "\\begin", "\\lfloor", "\\lceil"):
            depth += 1
        outside[found.start()] = depth <= 0
        if token in (")", "]", "}", "\\}", "\\rangle", "\\end", "\\rfloor", "\\rceil"):
            depth -= 1
    parts, between, place = [], [], 0
    for found in pattern.finditer(text):
        if outside[found.start()]:
            parts.append(text[place : found.start()].strip())
            between.append(found[0])
            place = found.end()
    return [*parts, text[place:].strip()], between


def several(parts: list[str], between: list[str], opening: str = "", closing: str = "") -> tuple:
    """A list or what stands in brackets. `1 \\pm 2` is both; a part that is missing makes it no list."""
    joined = next((word for word in ("or", "and") if any(word in sign.lower() for sign in between)), ",")
    signs = [sign for sign, part in zip(between, parts) if part]
    parts = [part for part in parts if part]
    if not signs and not opening:
        return kind(parts[0]) if parts else Text("")
    items: list = []
    for part in parts:
        items += both_signs(part) if not opening or opening == "\\{" else [kind(tidy(part))]
    if all(isinstance(item, Quantity) for item in items) and not opening and (whole := total(items)):
        return whole
    return Several(tuple(items), opening, closing, joined)


def both_signs(text: str) -> list[tuple]:
    """Two values for one with `\\pm`."""
    if text.count("\\pm") == 1 and "\\mp" not in text:
        return [kind(tidy(text.replace("\\pm", sign))) for sign in ("+", "-")]
    return [kind(tidy(text))]


def total(items: list) -> Quantity | None:
    """7 hours and 20 minutes are one quantity."""
    units = [unit(item.unit) for item in items]
    if any(each is None or not isinstance(item.value, Number) for each, item in zip(units, items)):
        return None
    if len({each[0] for each in units}) > 1 or len({each[1] for each in units}) < len(units):
        return None
    value = sum(item.value.value * each[1] for item, each in zip(items, units)) / units[-1][1]
    return Quantity(Number(value), items[-1].unit)


def punctured(whole: Several, points: list[tuple]) -> Union | None:
    """An interval without some numbers in it."""
    ends = [whole.items[0], *sorted(points, key=lambda point: getattr(point, "value", 0)), whole.items[1]]
    known = [end.value for end in ends if isinstance(end, Number)]
    if not all(isinstance(point, Number) for point in points) or known != sorted(set(known)):
        return None
    if any(not isinstance(end, Number) and end not in (MINUS_INFINITE, INFINITE) for end in whole.items):
        return None
    parts = [Several(pair, "(", ")") for pair in pairwise(ends)]
    parts[0] = parts[0]._replace(opening=whole.opening)
    parts[-1] = parts[-1]._replace(closing=whole.closing)
    return Union(tuple(parts))


def relation(parts: list[str], signs: list[str]) -> tuple:
    if not parts[0] and len(parts) == 2 and signs[0] in ("=", "\\approx"):
        return kind(tidy(parts[1]))
    if signs[0] == "\\mid" or not all(parts):
        return Expression(" ".join(part + sign for part, sign in zip(parts, [*signs, ""])), opaque=True)
    if "\\to" in signs or "\\equiv" in signs:
        return Expression(" ".join(part + sign for part, sign in zip(parts, [*signs, ""])), opaque=True)
    sides = [kind(tidy(part)) for part in parts]
    return Relation(tuple(sides), tuple(signs))


def brackets(text: str) -> tuple | None:
    """What stands in one pair of brackets: a set, a tuple or an interval, or the thing itself."""
    tokens = [found for found in TOKEN.finditer(text)]
    if not tokens or tokens[0][0] not in OPENING or tokens[-1][0] not in OPENING.values():
        return None
    depth = 0
    for found in tokens:
        depth += (found[0] in OPENING or found[0] == "{") - (found[0] in OPENING.values() or found[0] == "}")
        if depth == 0 and found is not tokens[-1]:
            return None
    if depth:
        return None
    opening, closing = tokens[0][0], tokens[-1][0]
    inner = text[tokens[0].end() : tokens[-1].start()].strip()
    parts, between = split(without_groups(inner, opening, closing), SEPARATOR)
    if opening == "\\{" and closing == "\\}":
        if found := BUILDER.fullmatch(inner):  # the x for which a condition holds
            condition = kind(tidy(found[2]))
            about = isinstance(condition, Relation) and Expression(found[1]) in condition.sides
            return condition if about else Expression(text, opaque=True)
        if re.search(r"\\mid(?![A-Za-z])|\||:", inner):
            return Expression(text, opaque=True)
        return several(parts, between, opening, closing) if inner else Several((), opening, closing)
    if len(parts) > 1 and opening != "\\{" and closing != "\\}":
        return several(parts, between, opening, closing) if all(parts) else None
    return kind(tidy(inner)) if opening in "([" and closing in ")]" and inner else None


def quantity(text: str) -> tuple | None:
    """A number or an expression with what is counted or measured after it; several where more than one follows."""
    if found := CURRENCY.search(text):
        amount = EACH.sub("", text[: found.start()] + (found[1] or "") + text[found.end() :])
        sign = next((name for mark, name in MONEY.items() if mark in found[0]), "dollar")
        if (large := LARGE.fullmatch(amount)) and (inner := number(large[1])):  # $3.5K
            return Quantity(Number(inner.value * MAGNITUDES[large[2].lower()]), sign)
        inner = kind(tidy(amount))
        if isinstance(inner, Number | Expression):
            return Quantity(inner, sign)
        return inner
    if text.endswith("\\degree") and text != "\\degree" and not TRIGONOMETRIC.search(text):
        return measured(text.removesuffix("\\degree"), "degree")
    if found := re.fullmatch(
        r"(.*[\d})]) ?(?:\\text ?\{ ?)?\\degree ?(?:\\text ?\{ ?)?([CF])(?:elsius|ahrenheit)? ?\}?", text
    ):
        return measured(found[1], f"degree {found[2]}")
    if (found := RESISTANCE.fullmatch(text)) and (inner := measured(found[1], found[2])):
        return inner._replace(latex=text)
    if "\u3040" <= text[-1] <= "\ud7af":  # a counter, as in 5 with \u4e2a after it
        found = re.match("([^\u3040-\ud7af]*[百千万萬亿億]*)(.+)", text, re.DOTALL)
        return None if not found or CHINESE.search(found[2]) else measured(found[1], found[2])
    if "\\text" in text and (found := TEXTS.search(text)):
        return worded(text)
    if (found := re.fullmatch(r"(.*\d) \(([A-Za-z ]{3,})\)", text)) and not CHANGING & words_of(found[2].lower()):
        return measured(found[1], found[2])
    pairs = re.findall(rf"({DECIMAL}) ?([a-z]+)", text)
    if (
        len(pairs) > 1
        and all(unit(name) or len(name) > 3 for _, name in pairs)
        and "".join(value + name for value, name in pairs) == text.replace(" ", "")
    ):
        if pairs[0][1] in HOURS and pairs[1][1] == "m":
            pairs[1] = (pairs[1][0], "min")
        items = [measured(*pair) for pair in pairs]
        return total(items) or Several(tuple(items))
    if (found := unit_at_end(text)) and (inner := measured(*found)):
        return inner._replace(latex=text)
    if found := BARE.fullmatch(text):
        words = found[2].split()
        plain = not DENIED.search(found[2]) and not CHANGING & set(words) and not FUNCTIONS & set(words)
        word = words[0] if len(words) == 1 else max(words, key=len)
        counts = len(words[0]) > 2 and len(word) > 3 and re.search("[aeiou]", word)
        if plain and (counts or (words[0] in ("per", "a", "each") and len(words) > 1)) and number(found[1]):
            return measured(found[1], found[2])
    return None


def measured(value: str, name: str) -> Quantity | None:
    inner = kind(tidy(value))
    if isinstance(inner, Expression) and inner.latex.isalpha() and unit(name) is None:
        return None  # something is said of n
    return Quantity(inner, name.strip()) if isinstance(inner, Number | Expression) else None


def worded(text: str) -> tuple | None:
    """Values with `\\text{...}` after each. Prose in which formulas stand is compared as a whole."""
    parts, names, place = [], [], 0
    text = PER.sub(lambda found: "/" + found[1].replace("\\cdot", "/"), text)
    for found in TEXTS.finditer(text):
        power = found[2] or found[3]
        parts.append(text[place : found.start()].strip())
        names.append(found[1].strip() + (f"^{power}" if power else ""))
        place = found.end()
    tail = text[place:].strip()
    if tail:
        joined = tail.startswith("/") and unit(tail[1:])
        if len(parts) == 1 and joined:
            names[-1] += tail
        else:
            return None
    merged: list[tuple[str, str]] = []
    for value, name in zip(parts, names):
        if value in ("/", "\\cdot") and merged:
            merged[-1] = (merged[-1][0], f"{merged[-1][1]}{'/' if value == '/' else ' '}{name}")
        elif not value and merged:
            merged[-1] = (merged[-1][0], f"{merged[-1][1]} {name}")
        else:
            merged.append((value, name))
    merged = [
        (value.removesuffix("\\mu").rstrip(), f"\\mu {name}") if value.endswith("\\mu") else (value, name)
        for value, name in merged
    ]
    merged[:-1] = [(value, re.sub(r",? and$|,$", "", name)) for value, name in merged[:-1]]
    if not all(value for value, _ in merged):
        return None
    if any(changes(name) for _, name in merged):
        counted = len(merged) == 1 and number(f"{merged[0][0]} {merged[0][1]}")
        return counted or None
    if len(merged) == 1:
        return measured(*merged[0])
    items = [measured(*pair) for pair in merged]
    if not all(items):
        return None
    return total(items) or Several(tuple(items))


SCALES = "|".join(COUNTED)
PRODUCTS = re.compile("[A-Z]{2,3} ?- ?[A-Z]{2,3}")  # AB-BA
BARE = re.compile(
    rf"(.*?[\d}})](?: (?:{SCALES})(?![a-z]))?) (?:more )?((?:[a-z][a-z-]+|a(?= ))(?: [a-z-]+){{0,3}})", re.DOTALL
)
MAGNITUDES = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}
LARGE = re.compile(r"(.*\d) ?(?:\\text ?\{ ?)?([kK]|M|B|mn|bn) ?\}?")
RESISTANCE = re.compile(r"(.*[\d})]) ?((?:\\mu|[kM])? ?\\Omega)")
HOURS = words_of("h hr hrs hour hours")
EACH = re.compile(r" ?/ ?(?:\\text ?\{ ?[a-z ]+\}|[a-z ]{3,})$")  # \$4/hour
PER = re.compile(r"/ ?\( ?(\\text ?\{[^{}]*\}(?: ?(?:\\cdot)? ?\\text ?\{[^{}]*\})*) ?\)")
GROUND = re.compile(r"\babove (?:the )?(?:ground|floor|water|sea level|horizontal)\b")
REMARK = re.compile(r"\((?:[A-Za-z ,]*)\)")
LINKS = words_of("to of from by in under within")  # in `ways to arrange them` they change nothing


def changes(name: str) -> bool:
    """Whether the words after a number make it another number or a bound."""
    if DENIED.search(name.lower()) or name.strip() == "k":
        return True
    name = GROUND.sub("", name)
    words = re.findall("[a-z]+", name.lower())
    size = len(words)
    words += [word.removesuffix("s") for word in words if word.removesuffix("s") in COUNTED]  # in thousands
    if REMARK.fullmatch(name) or (size > 1 and words[0] not in CHANGING and not re.search(r"\d|\b[b-z]\b", name)):
        return bool((CHANGING - LINKS) & set(words))
    if size > 2 and words[0] == "of" and not re.search(r"\d|\b[b-z]\b", name):  # of the class
        return bool((CHANGING - LINKS) & set(words))
    return bool(CHANGING & set(words))


def words_or_expression(text: str) -> tuple:
    if PRODUCTS.fullmatch(text):
        return Expression(text)
    plain = re.sub(r"\\text ?\{([^{}]*)\}", r" \1 ", text)
    if re.search("[\u3040-\ud7af]", text):
        return Text(plain.strip(" ."))
    if "\\text" in text or WORDS.fullmatch(text):
        words = " ".join(re.sub(r"[;!?()'\"]|[.,:](?!\d)|(?<!\d)[.,:]", " ", plain).split()).lower()
        if (found := words.rpartition(" ")) and unit(found[2]) and (worth := in_words(found[0])) is not None:
            return Quantity(Number(worth), found[2])
        if (
            WORDS.fullmatch(words)
            and ("\\" not in plain)
            and (len(text) > 3 or "\\text" in text or text.lower() in ("yes", "no"))
        ):
            words = re.sub(
                r"^(?:(?:an?|the|it is|there (?:is|are)|on) )+(?=.)", "", re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", words)
            )
            return SETS.get(words) or Text(words.removesuffix("s") if words.startswith("no ") else words)
        if "\\text" in text:
            named = re.fullmatch(r"\\text ?\{ ?([A-Za-z]{1,2}) ?\}", text)
            return Expression(named[1]) if named else Expression(text, opaque=bool(re.search("[A-Za-z]{2}", plain)))
    prose = [word for word in re.findall(r"(?<![A-Za-z\\{])[A-Za-z]{3,}", text) if word.lower() not in FUNCTIONS]
    return Expression(text, opaque=any(re.search("[aeiou]", word) for word in prose) and " " in text)
