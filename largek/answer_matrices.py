"""Products of letters that stand for matrices, where their order counts: `A^TA` is not `AA^T`.

In comes LaTeX of sums and products of letters, their powers, transposes and inverses; out comes whether two such
expressions, or two equations of them, say the same. None is said of anything else, and where nothing shows that the
letters do not commute: sympy's letters do, and `lw` is `wl`.
"""

import re
from fractions import Fraction

MOST_TERMS, MOST_FACTORS = 64, 12
TOKEN = re.compile(
    r" ?(?:(?P<power>\^ ?(?:\{ ?(?:(?P<transposed>T|\\top|\\intercal)|(?P<exponent>-?\d)) ?\}"
    r"|(?P<mark>T|\\(?:top|intercal)(?![A-Za-z]))|(?P<digit>\d)))"
    r"|(?P<letter>[A-Za-z](?: ?_ ?(?:\w|\{ ?\w ?\}))?)|(?P<number>\d+)|(?P<sign>[-+])|(?P<bracket>[()])"
    r"|(?P<dot>\\cdot))"
)
TRANSPOSED = re.compile(
    r"(?:[A-Zu-z]|\((?=[^()]*[A-Z])[^()\d]*\)) ?\^ ?(?:\{ ?(?:T|\\top|\\intercal) ?\}|T|\\top|\\intercal)"
)
INVERSE = re.compile(r"[A-Z] ?\^ ?\{ ?-1 ?\}")
DIMENSIONS = set("MLTIKNJQ")  # of units: [M L T^{-1}] is a product of quantities
NAMED = re.compile(r"\\[A-Za-z]+|\^ ?\{?T|_ ?\{?\w")
Terms = dict[tuple, Fraction]  # from factors, each (letter, transposed, inverse), to what they are multiplied with


def sums(latex: str) -> Terms | None:
    """The expression multiplied out; None if it is something else, or too long."""
    tokens, place = [], 0
    while place < len(latex.rstrip()):
        found = TOKEN.match(latex, place)
        if not found:
            return None
        tokens.append(found)
        place = found.end()
    total, rest = added(tokens, 0)
    return total if rest == len(tokens) else None


def added(tokens: list[re.Match], place: int) -> tuple[Terms | None, int]:
    """The sum that begins at the place, and where it ends."""
    total: Terms = {}
    sign = 1
    if place < len(tokens) and tokens[place]["sign"]:
        sign, place = -1 if tokens[place]["sign"] == "-" else 1, place + 1
    while True:
        product, place = multiplied(tokens, place)
        if product is None:
            return None, place
        for word, times in product.items():
            total[word] = total.get(word, Fraction(0)) + sign * times
        if place == len(tokens) or not tokens[place]["sign"]:
            return {word: times for word, times in total.items() if times}, place
        sign, place = -1 if tokens[place]["sign"] == "-" else 1, place + 1


def multiplied(tokens: list[re.Match], place: int) -> tuple[Terms | None, int]:
    product, empty = {(): Fraction(1)}, True
    while place < len(tokens) and not tokens[place]["sign"] and tokens[place]["bracket"] != ")":
        token = tokens[place]
        place += 1
        if token["dot"] and not empty:
            continue
        if token["letter"]:
            name = re.sub(r"[ {}]", "", token["letter"])
            factor = {() if name == "I" else ((name, False, False),): Fraction(1)}
        elif token["number"]:
            factor = {(): Fraction(token["number"])}
        elif token["bracket"] == "(":
            factor, place = added(tokens, place)
            if factor is None or place == len(tokens) or not tokens[place]["bracket"]:
                return None, place
            place += 1
        else:
            return None, place
        while factor is not None and place < len(tokens) and tokens[place]["power"]:
            factor = raised(factor, tokens[place])
            place += 1
        product = factor and times_each(product, factor) if factor else factor
        if product is None:
            return None, place
        empty = False
    return (None if empty else product), place


def raised(base: Terms, power: re.Match) -> Terms | None:
    exponent = power["exponent"] or power["digit"]
    if exponent is None:  # transposes of products stand in the other order
        return {
            tuple((name, not transposed, inverse) for name, transposed, inverse in reversed(word)): times
            for word, times in base.items()
        }
    if exponent == "-1":
        if len(base) != 1 or () in base:
            return None
        ((word, times),) = base.items()
        return {tuple((name, turned, not inverse) for name, turned, inverse in reversed(word)): 1 / times}
    found: Terms | None = {(): Fraction(1)}
    for _ in range(int(exponent) if exponent.isdigit() else 0):
        found = found and times_each(found, base)
    return found if exponent.isdigit() else None


def times_each(one: Terms, two: Terms) -> Terms | None:
    """The product; what stands beside its inverse goes."""
    found: Terms = {}
    for first, times in one.items():
        for second, more in two.items():
            word = list(first)
            for name, transposed, inverse in second:
                if word and word[-1] == (name, transposed, not inverse):
                    word.pop()
                else:
                    word.append((name, transposed, inverse))
            if len(word) > MOST_FACTORS or len(found) > MOST_TERMS:
                return None
            found[tuple(word)] = found.get(tuple(word), Fraction(0)) + times * more
    return found


def commuted(terms: Terms) -> Terms:
    """The terms with their factors in one order, as those of numbers are."""
    found: Terms = {}
    for word, times in terms.items():
        found[tuple(sorted(word))] = found.get(tuple(sorted(word)), Fraction(0)) + times
    return {word: times for word, times in found.items() if times}


def shown(*texts: str) -> bool:
    """Whether a transpose, or the inverse of a capital letter in a product, shows that letters are matrices."""
    if any(TRANSPOSED.search(text) for text in texts):
        return True
    return any(
        INVERSE.search(text)
        and not re.search("[a-z]", text)  # a product of quantities, as nRTV^{-1}
        and len(names := set(re.findall("[A-Z]", text))) > 1
        and not names <= DIMENSIONS
        for text in texts
    )


def expressions(gold: str, answer: str) -> bool | None:
    """Whether two products or sums of matrices are the same; None where nothing shows that they are any."""
    if not shown(gold, answer):
        return None
    one, two = sums(gold), sums(answer)
    return None if one is None or two is None else one == two


def equations(gold: list[str], answer: list[str]) -> bool | None:
    """Whether two equations of matrices are one another, turned, moved to one side or times a number. The letters are
    matrices too where the right answer would hold for all numbers, as `AB=BA` does."""
    if len(gold) != 2 or len(answer) != 2 or not re.search("[A-Z]", "".join(gold)):
        return None
    terms = []
    for sides in (gold, answer):
        left, right = (sums(side) if side.strip() != "0" else {} for side in sides)
        if left is None or right is None:
            return None
        for word, times in right.items():
            left[word] = left.get(word, Fraction(0)) - times
        terms.append({word: times for word, times in left.items() if times})
    one, two = terms
    identity = one and not commuted(one) and not re.search("[a-z]", NAMED.sub("", "".join(gold)))
    if not identity and not shown(*gold, *answer):
        return None
    if one.keys() != two.keys() or not one:
        return False if one else None
    return len({one[word] / two[word] for word in one}) == 1
