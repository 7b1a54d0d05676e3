"""What stands for the answer in a worked solution, as it is written there; how it is compared is another question.

Thoughts are left out, see `largek.thoughts`. The last box that holds something counts, and boxes that follow one
another count together. A box that is never closed is no answer, and nothing is read in its place. Without a box, what
is announced last counts (`#### 18`, `A: 18`, `the answer is 18`): the formula after it, over lines too, else the rest
of its sentence. Else it is the last formula or number of the text.

All patterns take time in proportion to the text, whatever it is.
"""

import json
import re
from collections import deque
from itertools import pairwise

from largek.answer_kinds import CHANGING, DENIED, FUNCTIONS
from largek.answer_text import EQUATION
from largek.answer_units import unit
from largek.thoughts import answer_in

BOX = re.compile(r"\\f?box(?:ed)?(?![A-Za-z])")
PLACEHOLDER = re.compile(
    r"[\s.…_?$*]*|\\[lc]?dots|(?:\\text(?:bf)?\{)?\s*(?:your |the |my |final |insert )*(?:final )?"
    r"(?:answer|result|value|solution|number|letter|expression)(?: here)?\s*\}?|\s*\\(?:square|Box|qquad|quad)\s*",
    re.IGNORECASE,
)
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
FACTOR = re.compile(
    r"\s*(?:\\times|\\cdot|\\div|[-+*/])\s*\d+(?:\.\d+)?(?:\s*\^\s*(?:\d|\{\s*-?\w+\s*\}))?(?=\s*(?:\$|\\[)\]]))"
    r"|\s*(?:\\pi(?![A-Za-z])|\\sqrt\s*\{[^{}]*\}|\^\s*(?:\d|\{\s*-?\w+\s*\}))"
)  # outside of a box
SIGN = re.compile(r"(?:\$|=|\\[(\[])\s*-\s*$")
BETWEEN_BOXES = re.compile(
    r"(?:[\s$,;&.]|\\[()\[\],;:! ]|\\q?quad|\\text\{[\s,]*(?:and|or)?[\s,]*\}|\band\b|\bor\b"
    r"|[A-Za-z](?:_\{?\d\}?)?\s*=)*"
)
ANNOUNCED = re.compile(
    r"(?:####|答案\s*(?:是|为|[:：])|^[^\S\n]*A:|\bcorrect (?:option|choice) is\b"
    r"|\banswers?(?:[*_\s]{0,4}:|[^\S\n]+(?:is|are|=)\b(?![^\S\n]+(?:incorrect|wrong)\b)"
    r"|\s{0,2}\*\*\s{0,2}(?=\n))|\bfinal answer\b(?=[*_\s]*\n))",
    re.IGNORECASE | re.MULTILINE,
)
MARKS = " \t*_:>"  # between what announces an answer and the answer
FORMULA = re.compile(
    r"\$\$((?:[^$]|\$(?!\$))+)\$\$|\\\[((?:[^\\]|\\[^\[\]])+)\\\]|\\\(((?:[^\\]|\\[^()])+)\\\)"
    r"|\\begin\{(?:equation|align|gather|displaymath)\*?\}((?:[^\\]|\\(?!begin|end))+)\\end\{"
    r"|(?<![\\$])\$(?!\s*[\d.,]+\s+(?:[a-z]{2}|a\b))(?![\s\d.,]+(?:$|[;:]))((?:[^$\n\\]|\\.)+)\$(?!\d)"
)
TAGS = re.compile(r"<(/)?answer>", re.IGNORECASE)
CALCULATOR = re.compile(r"<<[^<>\n]*>>")  # GSM8K's notes to itself
# words beside a formula with which it is not the answer by itself
OTHERWISE_BEFORE = re.compile(
    r"\b(?:not|least|most|than|negative|minus|between|half|twice|never)(?:\s+of)?\s*$", re.IGNORECASE
)
OTHERWISE_BEHIND = re.compile(
    r"\s*(?:(?:hundred|thousand|million|billion|dozen|times|squared|cubed|or|to|mod|factorial|choose|plus|minus)\b|[-+*/^!]\s*\w)"
)
STATED = re.compile(r"\s+(?:is|are)\s+(?:the|a|an|how|what|our)\b")
REASON = re.compile(
    r"[,;]?\s+\(?(?:because|since|where|when|which|as|so|given|if|for|namely|whereas|although|but|I hope)\b"
    r"|[,;]?\s+\(?(?:i\.e\.|e\.g\.)|,?\s+(?:and|but) not\b|,\s+not\b|\s+\((?:and )?not(?=\s+[-\d$\\])"
    r"|\s+(?:rather than|instead of)\b|\s+or so\b|\s*\(?\bI hope\b"
    r"|[,;]?\s+or (?:about|approximately|roughly|around)\b|,?\s+and (?:so )?we\b",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"(?<![.\d\s])[.!?](?=\s+[A-Z(\\$*]|\s*$)|(?<=\d)\.(?=\s|$)|\.\s*I hope|(?<=[.\d\s])\.\s*$")
LETTER = re.compile(
    r"(?:the\s+)?(?:correct\s+)?(?:option|choice|answer|letter)?\s*[*_]*\(?\s*[*_]*([A-J])[*_]*\s*"
    r"(?:[).:]|$|(?=[,;]\s)|(?=\s+(?:because|since|as|and not|rather than)\b))[*_]*(.*)",
    re.DOTALL,
)
REMARK = re.compile(
    r"(?<=\S)\s+\((?:(?:since|because|as|see|which|where|check)\b[^()]*|([^()]*[A-Za-z]{3}[^()]*))\)\s*$"
)
AGAIN = re.compile(r"(-?[\d.,/]+ ?%?) \((?:or |= ?)?(-?[-+*×÷\d.,/ ]+%?)\)")
# words after which a number is not what is said to be the answer
NOT = re.compile(
    r"(?:n['’]t|\bnot|\bcannot|\bnever|\bthan|\binstead of|\b(?:im|not )possible\b[^.\d\n]{0,30})"
    r"(?:\s+(?:be|equals?|to))*[\s*_$(]*$",
    re.IGNORECASE,
)
# what only comes near to what stands before it, unless that is asked for
ABOUT = re.compile(r",? (?:or|which is) (?:about|approximately|roughly|around)[\s*_$(]*$")
ROUNDED = re.compile(r"\b(?:nearest|round)")
NOT_BEHIND = re.compile(
    r"[\s*_$)]{1,4}(?:is|was) (?:wrong|incorrect|impossible|invalid|too (?:big|large|small)"
    r"|not (?:correct|right|possible|valid|allowed|the (?:right |correct )?answer|a solution))\b",
    re.IGNORECASE,
)
# a variable that is added to the number, or multiplied with it
ADDED_BEFORE = re.compile(r"(?<![A-Za-z.'])(?:\d*[a-z]\s?[-+*/×·−]\s?)+$")
ADDED_BEHIND = re.compile(r"(?:\s?[-+*/×·−]\s?(?!a\s+[A-Za-z])\d*[a-z](?![A-Za-z.']\w))+")
# a variable with which the number is compared
COMPARED = r"\s*(?:[<>]=?|[≤≥]|\\[lg]eq?(?![A-Za-z]))\s*"
BOUND_BEFORE = re.compile(rf"(?<![\w.])(?:-?\d+(?:\.\d+)?{COMPARED})?[A-Za-z]{COMPARED}$")
BOUND_BEHIND = re.compile(rf"{COMPARED}[A-Za-z](?![A-Za-z])")
# words with which a number can be given without another thing being said of it
LEADING = re.compile(
    r"(?:(?:score|price|cost|amount|length|distance|area|volume|profit|average|perimeter|weight|height|speed)"
    r" of(?=\s+[\d$])"
    r"|that|it|there|is|are|was|were|will|be|the|total|sum|value|number|result|approximately|about|roughly|around|equal"
    r"|equals|to|therefore|thus|hence|then|simply|just|exactly|only|final|(?-i:an?)|a(?=\s+total\b)"
    r"|we|have|get|has|he|she|they|you|of|[:=]|,)\s+",
    re.IGNORECASE,
)
DECIMAL = r"(?:\d{1,3}(?: \d{3})+(?![\d,.])|\d+(?:,\d+)*(?:\.\d+)?|\.\d+)"
MINUS = (
    r"(?:(?<![\w)\]}])(?:[-+–—]|−\s?)(?=[\d.])|(?:(?<== )|(?<=\bis )|(?<=equals ))[-–—] (?=[\d.])"
    r"|\b(?:negative|minus)\s+(?=[\d.]))?"
)
ONE = rf"{DECIMAL}(?:[eE][-+]?\d+(?![A-Za-z]))?(?: \d+/\d+)?"
# a sum, product or quotient counts as a whole, so that 4/9 is not read from 11 + 4/9
TERM = rf"{ONE}(?:\s?(?:[-+*/×·÷−]|\\times|\\cdot)\s?{ONE})*"
LAST_NUMBER = re.compile(
    rf"{MINUS}(?<![\d.]){TERM}(?:(?:,| and| or|, and|, or)\s{MINUS}{TERM})*"
    r"(?:\s?(?:\\?%|per\s?cent\b|pct\b)|:\d\d\b)?"
)
# how many there are, and which
LISTED = re.compile(
    r"\b(?:exactly|only|precisely|there are|has|have)[ *_]+\$?(\d{1,2})\$?[*_]*"
    r" ((?:[a-z-]+ ){0,4}[a-z-]+)(?: of \$[A-Za-z]\$)? ?(?::|, namely:?)"
    r"[ *_]*((?:\$[^$\n:]{1,80}\$|[-\d./]|, |,? (?:and|or) |; )+?)[*_]*\.?[*_]*\s*$"
)
KEY = re.compile(
    r"[\"'](?:final_?)?answer[\"']\s*:\s*(?:\"((?:[^\"\\]|\\.){1,400})\"|(-?[\d.]+|true|false)\s*[,}\n])", re.IGNORECASE
)
MARKER = re.compile(r"^[ \t]*(\d{1,2})[.)](?=\s|$)", re.MULTILINE)
ASSENT = re.compile(r"[*_\s]*(Yes|No|True|False)\b[*_]*(?:[,.;:!]|\s*$|\s+(?:because|since)\b)")
# which choice is the right one, or whether what was stated holds, at the end of a text
CHOSEN = re.compile(
    r"(?:\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+[*_]*\(?([A-J])\)?|\(([A-J])\))[*_]*\s+is\s+(?:the\s+)?[*_]*"
    r"(?:correct|right)\b(?:\s+(?:answer|option|choice|one))?[*_]*\s*(?:[.!;,]|$|because\b|since\b|as\b)"
)
CHOSE = re.compile(
    r"\b(?:choose|chose|select|pick|go with|going with|is|be)\s+(?:the\s+)?[*_]*"
    r"(?:(?:option|choice|letter)\s+[*_]*\(?([A-J])\)?|\(([A-J])\)|(?<=choose )([A-E])|(?<=go with )([A-E]))"
    r"[*_]*\s*[.!]?[*_]*\s*$"
)
HOLDS = re.compile(
    r"\b(?:statement|claim|assertion|proposition|conjecture)s?(?:\s+[a-z]+){0,3}\s+is\s+(?:therefore |thus )?[*_\"]*"
    r"([Tt]rue|[Ff]alse|TRUE|FALSE)[*_\"]*\s*[.!]?[*_]*\s*$"
)
STATE = re.compile(r".*\b(?:is|are|has|have|equals)\s+(.{1,60})", re.DOTALL)
BRACKETS = re.compile(r"[\[(](?=[^()\[\]\n]*,)[^()\[\]\n]{1,80}[\])]")
STUCK = re.compile(r"[A-Za-z^_!√π∞²³{\\(]")  # right after a number: it is a part of something else
AT_LEAST = re.compile(r"\bat (?:a )?(?:minimum|maximum)\b|n['’]t\b|\bcannot\b", re.IGNORECASE)
SCALE = re.compile(
    r" (?:hundred|thousand|million|billion|trillion|dozen|squared|cubed|factorial"
    r"|plus|minus|divided by|multiplied by|to the power)\b"
)
BARE_FRACTION = re.compile(r"-?\s?\\[dtc]?frac\s?\{[^{}]*\}\s?\{[^{}]*\}")


def boxed(text: str) -> str | None:
    """The content of the last `\\boxed{...}` or `\\fbox{...}` that is not empty, or of several with nothing but `and`
    or a comma between them, as a list. "" if there are only empty ones, None if there is none or the last never closes.
    `\\boxed 7` gives the next word."""
    found: list[str] = []
    end_of_last = 0
    empty, after = None, len(text)  # where the box that was taken before begins
    for start in reversed(list(BOX.finditer(text))):
        content, end = _content(text, start.end(), after)
        if found and (end is None or not BETWEEN_BOXES.fullmatch(text, end, after)):
            break
        if content is None:
            if end is None:  # never closed
                return None
            continue  # only spoken of, as in "in a \\boxed."
        if PLACEHOLDER.fullmatch(content):
            if found:
                break
            empty = ""
            continue
        end_of_last = end_of_last or end
        if content not in found:
            joined = " or " if found and re.search(r"\bor\b", text[end:after]) else ", "
            found = [content, joined, *found] if found else [content]
        after = start.start()
    if len(found) == 1 and SIGN.search(text, max(0, after - 10), after):
        return f"-({found[0]})" if re.search(r"[-+,]|\\pm", found[0]) else f"-{found[0]}"
    if len(found) == 1 and (tail := FACTOR.match(text, end_of_last)):
        return found[0] + tail[0].rstrip()
    return "".join(found) if found else empty


def _content(text: str, place: int, limit: int) -> tuple[str | None, int | None]:
    """What stands in a box and where it ends, before `limit`; its end is None where the braces never close."""
    ahead = text[place : min(place + 100, limit)]
    place += len(ahead) - len(ahead.lstrip())
    if text[place : place + 1] == "{":
        end = _end(text, place, limit)
        return (None, None) if end is None else (text[place + 1 : end - 1].strip(), end)
    word = ahead.partition("$")[0].split()
    if word and re.fullmatch(r"[-+]?\.?\d\S*|\\\S+|[A-Za-z][.,]?", word[0]):
        return word[0], place + len(word[0])
    return None, place


def _end(text: str, place: int, limit: int) -> int | None:
    """Where the braces that open at the place have closed; None if they never do. `\\{` is no brace that counts."""
    depth = 0
    for found in BRACE.finditer(text, place, limit):
        depth += (found[0] == "{") - (found[0] == "}")
        if depth == 0:
            return found.end()
    return None


def extract(text: str) -> str | None:
    """The final answer as it is written, or None. An unfinished thought has none."""
    said = answer_in(text)
    if said is None:
        return None
    text = TAGS.sub(lambda found: "\n" if found[1] else "\nAnswer: ", CALCULATOR.sub("", said))
    if BOX.search(text):
        if found := boxed(text):
            return found
        if found is None and any(
            text[start.end() : start.end() + 20].lstrip()[:1] == "{" for start in BOX.finditer(text)
        ):
            return None
        text = BOX.sub(" ", text)
    announcements = deque(ANNOUNCED.finditer(text), 20)
    keys = deque(KEY.finditer(text), 1)
    if keys and not (announcements and announcements[-1].start() > keys[0].start()):
        return unescaped(keys[0][1]) if keys[0][1] else keys[0][2]
    for announced in reversed(announcements):
        if (found := after(text[announced.end() : announced.end() + 4000])) and not PLACEHOLDER.fullmatch(found):
            return found
    if (
        len(text) <= 100
        and "\n" not in text.strip()
        and not re.search(
            r"[A-Za-z]{2}|[\u00c0-\u024f\u0400-\u0fff\u3040-\ud7af]", re.sub(r"\\[A-Za-z]+|\band\b|\bor\b", "", text)
        )
    ):
        return text.strip() or None  # nothing but an answer
    if assent := re.match(r"[*_\s]*(Yes|No|True|False)[*_]*\.[*_]*(?=\s+(?!\d))", text):  # and then the proof
        return assent[1]
    end = text[-1000:].rpartition("\n\n")[2]
    for pattern in (CHOSE, CHOSEN, HOLDS):
        if chosen := deque(pattern.finditer(end), 1):
            return next(part for part in chosen[0].groups() if part)
    if re.fullmatch(r"\s*(?:\([A-J]\)|[A-J][.):])\s[^\n]{1,100}", text):  # the choice and what it says
        return text.strip()
    return last(text[-20_000:]) or (None if re.search(r"\d", text) else stated(end))


def unescaped(text: str) -> str:
    """A string of JSON as it is meant, or as it is written where that is none."""
    try:
        return json.loads(f'"{text}"')
    except ValueError:
        return text


def without_markers(text: str) -> str:
    """The text without the numbers of a list's lines, 1. to the last."""
    expected, parts, place = 1, [], 0
    for found in MARKER.finditer(text):
        if int(found[1]) in (1, expected):
            expected = int(found[1]) + 1
            parts.append(text[place : found.start()])
            place = found.end()
    return "".join([*parts, text[place:]])


def stated(text: str) -> str | None:
    """What the last sentence of a text without numbers and formulas says that something is; or Yes, or No."""
    if assent := ASSENT.match(text):
        return assent[1]
    sentence = SENTENCE.split(text.strip().rstrip("*_ .!"))[-1]
    if reason := REASON.search(sentence):
        sentence = sentence[: reason.start()]
    found = STATE.match(sentence)
    return plain(found[1]) if found else None


def after(text: str) -> str | None:
    """What is announced: the formula, choice or number at the beginning of the text."""
    text = re.sub(r"^[\s*_:>]*\n\s*[-•*]\s+", "", text).lstrip(MARKS + "\n")  # without the mark of a list
    if (formula := FORMULA.match(text)) and formula.lastindex < 5:  # displayed: may be over lines
        return clean(formula[formula.lastindex])
    line = text.partition("\n")[0].strip()
    if not line:
        return None
    if found := LISTED.search(line):
        return listed(found)
    if assent := ASSENT.match(line):
        return assent[1]
    if found := LETTER.fullmatch(SENTENCE.split(line)[0].strip().rstrip(".")) or re.fullmatch(
        r"[*_]*\(([A-J])\)[*_]*(.*)", line, re.DOTALL
    ):
        rest = "" if REASON.match(found[2]) else found[2].strip(" .*_")
        return f"({found[1]}) {rest}" if rest else found[1]
    formulas = list(FORMULA.finditer(line))
    if formulas:
        return among(line, formulas)
    return plain(line)


def listed(found: re.Match) -> str:
    """`3 integers: 1, 2, 4`."""
    return f"{found[1]} {found[2]}: {found[3].replace('$', '')}"


def clean(formula: str) -> str:
    """A formula without what only lays it out."""
    formula = formula.strip().strip("&").strip().removesuffix("\\\\").strip()
    last_row = formula.rpartition("\\\\")[2].strip()
    return last_row if re.match(r"& *=", last_row) else formula  # of a calculation over lines


def among(line: str, formulas: list[re.Match]) -> str:
    """The formula that is meant: the last one of the sentence, before any reason for it; all in a list of them."""
    if not line[: formulas[0].start()].strip(" *_") and STATED.match(line, formulas[0].end()):
        return clean(formulas[0][formulas[0].lastindex])  # $12$ is the number of ways, out of $20$
    stop = REASON.search(line, formulas[0].end())
    ends = SENTENCE.finditer(line, formulas[0].end())
    sentence = next((end for end in ends if not inside(end.start(), formulas)), None)
    limit = min(found.start() for found in (stop, sentence) if found) if stop or sentence else len(line)
    formulas = [found for found in formulas if found.start() < limit] or formulas[:1]
    contents = [clean(found[found.lastindex]) for found in formulas]
    chain = chained(line, formulas, r"\s*,?\s*(?:and|or|,|;)\s*")
    if len(chain) > 1:
        return ", ".join(chain)
    rest = line[formulas[-1].end() : limit]
    if re.match(r"\s*(?:is|are|=|equals|be|to)\b", rest) and LAST_NUMBER.search(rest):  # the largest $n$ is 34
        return plain(rest) or contents[-1]
    if OTHERWISE_BEFORE.search(line[: formulas[0].start()]) or OTHERWISE_BEHIND.match(line, formulas[-1].end()):
        return line[:limit].strip()  # at least $5$, $5$ million
    tail = re.match(r"\s*(?:\\?%|percent\b)", line[formulas[-1].end() :])
    return contents[-1] + (r"\%" if tail else "")


CONDITION = re.compile(r"\b(?:since|because|if|when|as|given|for|with|from)(?:\s+that)?\s*$", re.IGNORECASE)


def chained(text: str, formulas: list[re.Match], joint: str) -> list[str]:
    """The last of the formulas, with those before it as far as only the joint stands between them; alone after what it
    follows from, as in `since $a=2$ and $b=3$, $a+b=5$`."""
    first = 0
    chain = [clean(formulas[-1][formulas[-1].lastindex])]
    for one, two in reversed(list(pairwise(formulas))):
        if not re.fullmatch(joint, text[one.end() : two.start()]):
            break
        first = one.start()
        chain.insert(0, clean(one[one.lastindex]))
    if len(chain) > 1 and "," in text[formulas[-2].end() : formulas[-1].start()] and CONDITION.search(text[:first]):
        return chain[-1:]
    return chain


def inside(place: int, formulas: list[re.Match]) -> bool:
    """Whether the place is in one of them."""
    return any(found.start() <= place < found.end() for found in formulas)


def plain(line: str) -> str | None:
    """An announced answer without a formula: the rest of its sentence, without what only leads to it."""
    sentence = re.sub(r"(?<!\w)(?:\*\*|__|`)|(?:\*\*|__|`)(?!\w)", "", line)
    if end := SENTENCE.search(sentence):
        sentence = sentence[: end.start()]
    if (reason := REASON.search(sentence)) and reason.start() > 0:
        sentence = sentence[: reason.start()]
    sentence = sentence.strip(" \t*_`\"'").rstrip(".,;:").strip(" *_`\"'")
    if (remark := REMARK.search(sentence)) and not re.search(r"\d|\bmod\b|\bbase\b|\bnot\b", remark[1] or ""):
        sentence = sentence[: remark.start()]
    whole = sentence
    while found := LEADING.match(sentence):
        sentence = sentence[found.end() :]
    if found := AGAIN.fullmatch(sentence):
        return f"{found[1]} or {found[2]}"  # 0.5 (1/2)
    numbers = [found for found in LAST_NUMBER.finditer(sentence) if found[0].strip()]
    if len(numbers) != 1:
        return sentence or whole or None
    return stripped(sentence, numbers[0])


def stripped(sentence: str, found: re.Match) -> str:
    """The only number of a sentence, where the words around it only say what is counted; else the sentence."""
    before, behind = sentence[: found.start()], sentence[found.end() :]
    if before.strip(" $€£¥*_(\"'") and not re.fullmatch(r"[A-Za-z ,:'$€£¥()*_-]*", before):
        return sentence
    if STUCK.match(behind) or not re.fullmatch(r"[A-Za-z ,:;'\".)$€£¥*_-]*", behind):
        return sentence
    if AT_LEAST.search(before) or DENIED.search(behind):
        return sentence
    words = re.findall("[a-z]+", f"{before} {behind}".lower())
    if set(words) & (CHANGING | FUNCTIONS) or any(len(word) == 1 and word not in "a" for word in words):
        return sentence
    if re.search(r"[-+*/^=]\s*$", before) or re.match(r"\s*[-+*/^=<>](?!\w*-)", behind):
        return sentence
    if not before.strip(" $*_") and len(behind.split()) <= 2 and unit(behind.strip(" .*_")):
        return sentence.strip(" *_.")
    return found[0].strip()


def denied(text: str, found: re.Match) -> bool:
    """Whether it is said that the number or formula is not the answer: `6, not 5`, `more than 5`."""
    place = max(0, found.start() - 50)
    if ABOUT.search(text, place, found.start()):
        return not ROUNDED.search(text, found.end(), found.end() + 60)
    before = NOT.search(text, place, found.start())
    return bool(before or NOT_BEHIND.match(text, found.end()))


# before the value of a variable at which something has the value that stands before it
AT = re.compile(
    r",?\s+(?:(?:which|and|and it|and this) )?(?:is )?"
    r"(?:attained |achieved |reached |obtained |occurring |occurs |taken )?(?:only |exactly )?"
    r"(?:at|when|where|for|if)\s+"
    r"|,?\s+(?:(?:which|and it) )?(?:is )?(?:attained|achieved|reached|obtained) (?:by|with)\s+"
    r"|,?\s+\(?(?:since|because)\s+"
)
AT_NUMBER = re.compile(rf"(?:{AT.pattern})[A-Za-z]\s*=\s*")
# what a number consists of, in brackets behind it
PARTS = re.compile(r"(?<=\d)\s+\((?!\s*(?:mod|base|or|not|and)\b)[^()]{0,200}[A-Za-z]{3}[^()]{0,200}\)[\s.*_]*$")
# what is said of a name
OF_NAME = re.compile(r"\s+(?:is|are)\s+(?:an?\s+)?([A-Za-z][a-z -]{2,40}?)[.!*_\s]*")
MOST_DENIED = 10  # formulas that are said not to be the answer, after which a text is looked through no further


def last(text: str) -> str | None:
    """The last formula or number of a text that announces nothing."""
    text = PARTS.sub("", without_markers(text))
    for _ in range(MOST_DENIED):
        formulas, fractions = deque(FORMULA.finditer(text), 10), deque(BARE_FRACTION.finditer(text), 1)
        found = next((each for each in (*list(formulas)[-1:], *fractions) if denied(text, each)), None)
        if found is None:
            break
        text = text[: found.start()] + text[found.end() :]
    else:
        return None
    if found := LISTED.search(text[-500:]):
        return listed(found)
    formulas = list(formulas)
    while (
        len(formulas) > 1
        and AT.fullmatch(text, formulas[-2].end(), formulas[-1].start())
        and re.search(r"\d|\\(?:pi|infty|sqrt)", formulas[-2][0])
    ):
        formulas.pop()
        text = text[: formulas[-1].end()]
        fractions = []
    formula = formulas[-1] if formulas else None
    for fraction in fractions:
        if formula is None or fraction.start() >= formula.end():
            formula = fraction
    numbers = deque(LAST_NUMBER.finditer(text), 5)
    while len(numbers) > 1 and AT_NUMBER.fullmatch(text, numbers[-2].end(), numbers[-1].start()):
        numbers.pop()
        text = text[: numbers[-1].end()]
    if numbers and denied(text, numbers[-1]):
        return next((found[0] for found in reversed(numbers) if not denied(text, found)), None)
    number = numbers[-1] if numbers else None
    if formula and (number is None or number.start() < formula.end()):
        chain = chained(text, formulas, r",\s*|,?\s+(?:and|or)\s+") if formula.lastindex else []
        ended = len(formulas) > 1 and re.search(r"and|or", text[formulas[-2].end() : formulas[-1].start()])
        if not all(map(EQUATION.fullmatch, chain)) and (not ended or any("=" in one for one in chain)):  # x = 2, y = 3
            chain = chained(text, formulas, r",?\s+(?:and|or)\s+")
        if len(chain) > 1:
            return ", ".join(chain)
        content = clean(formula[formula.lastindex] if formula.lastindex else formula[0])
        name = number is None and re.fullmatch(r"[A-Za-z](?: ?\([a-z]\)|_\{?\w\}?)?", content)
        if name and (said := OF_NAME.fullmatch(text, formula.end())):
            return said[1]
        if re.search(r"\d|\\(?:pi|infty|sqrt|text)", content) or number is None:
            return content or None
    if number is None:
        return None
    for group in BRACKETS.finditer(text, max(0, number.start() - 100)):
        if group.start() < number.start() and number.end() < group.end():
            return group[0]  # a tuple or an interval, not its last number
    start = max(0, number.start() - 50)
    bound = BOUND_BEFORE.search(text[start : number.start()]), BOUND_BEHIND.match(text, number.end())
    if any(bound):  # x > 18
        return "".join(part[0] if part else "" for part in (bound[0], number, bound[1])).strip()
    added = ADDED_BEFORE.search(text[start : number.start()]), ADDED_BEHIND.match(text, number.end())
    if any(added):
        return "".join(part[0] if part else "" for part in (added[0], number, added[1])).strip()
    if scale := SCALE.match(text, number.end()):
        return number[0].strip() + scale[0]
    if STUCK.match(text, number.end()) or text[: number.start()].endswith(("^", "_", "^{", "_{", "√")):
        before = re.search(r"\S{0,100}$", text[: number.start()])[0].lstrip("*_(\"'")
        word = before + re.compile(r"\S{1,100}").match(text, number.start())[0]
        return word.strip("*_.,;:!?)\"'") or number[0].strip()
    return number[0].strip()
