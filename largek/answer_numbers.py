"""Numbers as they are written (integers, decimals, fractions, mixed numbers, powers of ten, percentages), and whether
two of them say the same."""

import re
from fractions import Fraction
from typing import NamedTuple

DOUBLE = 15  # significant digits that a double holds; the 16th to 18th that are printed may be wrong
ROUNDED = 6  # significant digits from which on a decimal may stand for a value that it only approaches
LARGEST_POWER = 5000  # of ten, in numbers that are written out
MOST_DIGITS = 400


class Number(NamedTuple):
    """An exact number. `digits` is the count of significant digits where it is written as a decimal, else 0, and
    `places` those after the point; a percentage keeps the number before the sign."""

    value: Fraction
    digits: int = 0
    places: int = 0
    percent: bool = False


DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
GROUPED = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+)(?![\d,]\d|\d)")
SPACED_GROUPS = re.compile(r"(?<![\d.,/^_{] )(?<![\d.,/^_{])([1-9]\d{0,2}(?: \d{3})+)(?! ?\d(?!\d*/)|/)")
PLAIN = re.compile(rf"([-+]?) ?({DECIMAL})")
SCIENTIFIC = re.compile(
    rf"([-+]?) ?(?:({DECIMAL}) ?(?:[eE] ?([-+]?\d+)|\\text ?\{{[eE]\}} ?([-+]?\d+))"
    rf"|(?:({DECIMAL}) ?(?:\\times|\\cdot) ?)?10 ?\^ ?(?:\{{ ?([-+]? ?\d+) ?\}}|([-+]?\d)))"
)
SIMPLE = rf"\{{? ?([-+]?) ?({DECIMAL}) ?\}}?"
FRACTION = re.compile(
    rf"([-+]?) ?(?:\\frac ?\{{ ?([-+]?) ?({DECIMAL}) ?\}} ?\{{ ?([-+]?) ?({DECIMAL}) ?\}}|{SIMPLE} ?/ ?{SIMPLE})"
)
MIXED = re.compile(r"([-+]?) ?(\d+)(?: ?\\frac ?\{ ?(\d+) ?\} ?\{ ?(\d+) ?\}| (\d+) ?/ ?(\d+))")
REPEATING = re.compile(r"(-?) ?(\d*)\.(\d*) ?\\(?:overline|bar|dot) ?\{ ?(\d+) ?\}|(-?) ?(0?)\.()\((\d+)\)")
UNENDING = re.compile(r"(-?) ?(\d*)\.(\d+) ?\\dots")
PERIOD = re.compile(r"(\d*?)(?:(\d)\2\2+|(\d{2,6})\3+)")
COUNTED = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
COUNTED |= {"lakh": 10**5, "crore": 10**7}
IN_CHINESE = {"百": 2, "千": 3, "万": 4, "萬": 4, "亿": 8, "億": 8}  # powers of ten
COUNT = re.compile(rf"(.*\S)\s+(?:\\text ?\{{ ?)?({'|'.join(COUNTED)}) ?\}}?")


def number(text: str) -> Number | None:
    """The number: an integer, a decimal, with an exponent, a fraction, mixed, of millions, percent."""
    text = GROUPED.sub(lambda found: found[1].replace(",", ""), text)
    if (not text[:1].isdigit() and text[:1] not in ("-", "+", ".", "\\", "{")) or len(text) > MOST_DIGITS:
        return None
    text = SPACED_GROUPS.sub(lambda found: found[1].replace(" ", ""), text)
    if text.endswith("%"):
        inner = number(text[:-1].rstrip())
        return inner._replace(percent=True) if inner and not inner.percent else None
    if found := PLAIN.fullmatch(text):
        return decimal(found[2], found[1])
    if found := FRACTION.fullmatch(text):
        signs, values = [found[place] for place in (1, 2, 4, 6, 8)], [found[place] for place in (3, 5, 7, 9)]
        top, bottom = (Fraction(value) for value in values if value)
        minus = sum(sign == "-" for sign in signs) % 2
        return Number((-top if minus else top) / bottom) if bottom else None
    if found := REPEATING.fullmatch(text):  # 0.1666... with a line over the 6, or brackets around it
        sign, first, before, again = (part or "" for part in found.groups()[4 if found[4] is None else 0 :][:4])
        whole = int(f"{first or 0}{before}{again}") - int(f"{first or 0}{before}")
        value = Fraction(whole, 10 ** len(before) * (10 ** len(again) - 1))
        return Number(-value if sign else value)
    if found := UNENDING.fullmatch(text):  # 0.1666... says by itself how it goes on, or is cut off
        if period := PERIOD.fullmatch(found[3]):
            return number(rf"{found[1]}{found[2]}.{period[1]}\overline{{{period[2] or period[3]}}}")
        cut = decimal(f"{found[2]}.{found[3]}", found[1])
        return cut if cut.digits >= ROUNDED else None
    if found := MIXED.fullmatch(text):
        whole, top, bottom = int(found[2]), int(found[3] or found[5]), int(found[4] or found[6])
        value = Fraction(whole * bottom + top, bottom) if top < bottom else None
        return value if value is None else Number(-value if found[1] == "-" else value)
    if found := SCIENTIFIC.fullmatch(text):
        power = int((found[3] or found[4] or found[6] or found[7]).replace(" ", ""))
        if abs(power) > LARGEST_POWER:
            return None
        factor = found[2] or found[5]
        base = decimal(factor, found[1]) if factor else Number(Fraction(-1 if found[1] == "-" else 1))
        return Number(base.value * Fraction(10) ** power)
    scale = text.lstrip("-+0123456789. ")
    if scale and all(letter in IN_CHINESE for letter in scale) and (inner := number(text[: -len(scale)].rstrip())):
        return Number(inner.value * 10 ** sum(IN_CHINESE[letter] for letter in scale))
    if (found := COUNT.fullmatch(text)) and (inner := number(found[1])) and not inner.percent:
        return Number(inner.value * COUNTED[found[2]])
    return None


SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
UNITS = {word: value for value, word in enumerate(SMALL)}
ROUND = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
TENS = {word: 10 * value for value, word in enumerate(ROUND, 2)}
PARTS = dict(half=2, halve=2, third=3, quarter=4, fourth=4, fifth=5, sixth=6, seventh=7, eighth=8, ninth=9, tenth=10)


def in_words(words: str) -> Fraction | None:
    """The number that is written in words: `twenty-five`, `two hundred and six`, `three fourths`, `minus five`,
    `ten and a half`, of which the whole may be in digits."""
    parts = words.replace("-", " ").split()
    if parts and parts[0] in ("minus", "negative"):
        found = in_words(" ".join(parts[1:]))
        return -found if found else None
    if len(parts) == 2 and (bottom := PARTS.get(parts[1].removesuffix("s"))):
        top = 1 if parts[0] == "a" else UNITS.get(parts[0])
        return Fraction(top, bottom) if top and (top > 1) == parts[1].endswith("s") else None
    if parts[-3:-2] == ["and"] and (part := in_words(" ".join(parts[-2:]))) and 0 < part < 1:
        whole = Fraction(parts[0]) if len(parts) == 4 and parts[0].isdigit() else in_words(" ".join(parts[:-3]))
        return whole + part if whole and whole.denominator == 1 and whole > 0 else None
    total = group = 0
    before = ""  # the kind of the word before, so that `twenty thirty` and `five six` are no numbers
    for part in parts:
        if part in UNITS and (before in ("", "scale") or (before == "tens" and 1 <= UNITS[part] <= 9)):
            group, before = group + UNITS[part], "unit"
        elif part in TENS and before not in ("unit", "tens"):
            group, before = group + TENS[part], "tens"
        elif part == "hundred" and before == "unit" and 0 < group < 20:
            group, before = group * 100, "scale"
        elif part in COUNTED and COUNTED[part] >= 1000 and group and (not total or total % (COUNTED[part] * 1000) == 0):
            total, group, before = total + group * COUNTED[part], 0, "scale"
        elif part != "and" or before != "scale":
            return None
    return Fraction(total + group) if before else None


def decimal(text: str, sign: str) -> Number:
    value = Fraction(text.rstrip(".") if text.endswith(".") else text)
    places = len(text.partition(".")[2])
    digits = len(text.replace(".", "").lstrip("0")) if places else 0
    return Number(-value if sign == "-" else value, digits, places)


def numbers(gold: Number, answer: Number) -> bool:
    """Equal, exactly; or equal up to a percent sign; or a decimal that is the other to its last digit."""
    if gold.percent == answer.percent:
        return gold.value == answer.value or rounded(gold, answer)
    percent, other = (gold, answer) if gold.percent else (answer, gold)
    if percent.value / 100 == other.value:
        return True
    return percent.value == other.value and (gold.percent or abs(other.value) > 1 or other.value == 0)


def rounded(one: Number, two: Number) -> bool:
    """Whether one is written as a decimal of `ROUNDED` digits or more that the other, a fraction, rounds to."""
    if bool(one.places) == bool(two.places):
        return False
    decimal, exact = (one, two) if one.places else (two, one)
    return close(decimal, exact.value)


def close(decimal: Number, exact: Fraction) -> bool:
    """Whether the decimal is the value rounded, or cut off, at its last digit."""
    if decimal.digits < ROUNDED:
        return False
    sure = decimal.places - (decimal.digits - DOUBLE if DOUBLE < decimal.digits <= DOUBLE + 3 else 0)
    difference, last = abs(decimal.value - exact), Fraction(10) ** -sure
    return difference <= last / 2 or (difference < last and abs(decimal.value) < abs(exact))
