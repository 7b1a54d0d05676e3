"""One spelling for what is written in many ways, so that an answer's kind can be read from its text.

`tidy` takes an answer as a model or a data set writes it and gives LaTeX in which signs, fractions, spaces, brackets
and fonts have one form each: `−½` becomes `-\\frac{1}{2}`, `\\left( 3,\\! 4 \\right)` becomes `( 3, 4 )`. It changes
no meaning, and what it does not know it leaves alone. Separators inside numbers are decided in `answer_kinds`.
"""

import re
import unicodedata
from functools import cache, lru_cache

# Signs that are written as one character, in LaTeX.
SIGNS = {
    "−–—‒―﹣‐‑": "-", "×✕": r"\times ", "·⋅∙•": r"\cdot ", "÷": "/", "⁄∕": "/", "≤⩽": r"\le ", "≥⩾": r"\ge ",
    "≠": r"\ne ", "≈≅": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "°º˚": r"\degree ", "∅": r"\emptyset ", "∖": r"\setminus ", "≡": r"\equiv ", "∠": r"\angle ",
    "ℝ": r"\mathbb{R}", "、，": ",", "；": ";", "。": ".", "′’‘": "'", "⟨": r"\langle ", "⟩": r"\rangle ",
    "¢": r"\cent ", "∶": ":", "⋯": r"\dots ", "→": r"\to ", "⇒": r"\Rightarrow ", "∴": r"\therefore ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∧": r"\wedge ", "∨": r"\vee ",
    "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "∑": r"\sum ", "∫": r"\int ",
    "Ω\u2126": r"\Omega ", "Δ": r"\Delta ", "Γ": r"\Gamma ", "Φ": r"\Phi ", "ψ": r"\psi ", "η": r"\eta ",
    "ξ": r"\xi ", "ζ": r"\zeta ", "κ": r"\kappa ", "ν": r"\nu ", "χ": r"\chi ", "µ": r"\mu ",
    "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "λ": r"\lambda ",
    "μ": r"\mu ", "φϕ": r"\phi ", "ω": r"\omega ", "σ": r"\sigma ", "ρ": r"\rho ", "ε": r"\epsilon ", "τ": r"\tau ",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f": "", "\u00a0\u2002\u2003\u2009\u200a\u202f\u3000": " ",
}  # fmt: skip
TABLE = str.maketrans({sign: latex for signs, latex in SIGNS.items() for sign in signs})
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿˣʸᵏᵐᵗ⁽⁾", "0123456789+-nxykmt()"))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙₖₘᵢⱼₓ", "0123456789+-nkmijx"))
RAISED, LOWERED = re.compile(f"[{''.join(SUPERSCRIPTS)}]+"), re.compile(f"[{''.join(SUBSCRIPTS)}]+")
SQUARED = re.compile(r"(?<=\d)\s?([ckdm]?m)([²³])")  # no power of a variable: those are set as formulas
EMOJI = re.compile("[\u2600-\u27bf\u2b00-\u2bff\ufe0f\U0001f000-\U0001faff]")
DEGREES_OF_ROOTS = re.compile(f"([{''.join(SUPERSCRIPTS)}]+)√")
SLANTED = re.compile(f"([{''.join(SUPERSCRIPTS)}]+)[⁄∕/]([{''.join(SUBSCRIPTS)}]+)")  # ⁵⁄₁₂
ROOTS = {"√": "", "∛": "[3]", "∜": "[4]"}
ROOT = re.compile(r"([√∛∜])(?:\[(\w+)\])?\s*(\d+(?:\.\d+)?|[A-Za-z]|\\[a-z]+|\([^()]*\)|\{[^{}]*\})")

FONTS = (
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|sc)?|[mh]box|math(?:rm|bf|it|sf|tt|normal)|operatorname\*?|boldsymbol|bm"
    r"|emph|underline|textup)(?![A-Za-z])\s*"
)
BOLD = re.compile(r"\\(?:mathbf|boldsymbol|bm|pmb|underline)\s*(?=\{)")
MATHEMATICS = re.compile(r"\\(?:[dtc]?frac|sqrt|pi|begin|left|cdot|times)(?![A-Za-z])")
ALIGNED = re.compile(r"\\begin\{(aligned|align\*?|gathered|split|equation\*?)\}((?:[^\\]|\\(?!begin|end))*)\\end\{\1\}")
MODULUS = r"\\text\s*\{\s*\(?\s*mod\s+(\d+)\s*\)?\s*\}|\(\s*(?:\\text\s*\{\s*)?mod\s*\}?\s*(\d+)\s*\)"
ORDINAL = "(?:st|nd|rd|th)"
# Functions that are no words or units, so that they are functions in a font for words too, and the others.
FUNCTION = "sin|cos|tan|cot|csc|arcsin|arccos|arctan|sinh|cosh|tanh|coth|log|ln|lg|exp|gcd|lcm|det"
OPERATOR = f"{FUNCTION}|sec|max|min|sup|inf|lim|dim|ker|deg|arg"
REPLACED = [
    (r"\\(?:tiny|scriptsize|footnotesize|small|normalsize|[lL]arge|LARGE|[hH]uge)(?![A-Za-z])", " "),
    (r"\\(?:noindent|nonumber|notag|centering|hfill?|null|mathstrut|strut|ensuremath)(?![A-Za-z])", ""),
    (r"\\(?:text)?color\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}|\\(?:[hv]?phantom|tag\*?|label|vspace\*?)\s*\{[^{}]*\}", ""),
    (r"\\text\s*\{\s*\\textdollar\s*\}|\\textdollar(?![A-Za-z])", r"\\$"),
    (r"\\text\s*\{\s*(\\?[$€£¥₹])\s*\}", r"\1"),
    (r"\\(?:left|right|mleft|mright|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?", ""),
    (
        r",\s*\\!\s*|(?:(?<!\\text)(?<!\\mathrm)\{\s*,\s*\}|\\,?\{,\})(?=\d{3}(?!\d)|\d\d\{,\})|(?<=\d)\\text\{,\}(?=\d{3}(?!\d))|(?<=\d)'(?=\d{3}(?!\d))",
        r"\\thousands ",
    ),  # these commas are never those of a list
    (r"(?<=\d)\{\s*,\s*\}(?=\d)", ","),  # 3{,}5
    (r"\\!", ""),
    (r"(?<!\\)\\[,;:>/ ]|~|\\q?quad(?![A-Za-z])|\\(?:thin|med|thick|en)space(?![A-Za-z])", " "),
    (r"\\hspace\*?\{[^{}]*\}", " "),
    (r"\\(?:display|text|script|scriptscript)style(?![A-Za-z])|\\limits(?![A-Za-z])", " "),
    (r"\\cr(?![A-Za-z])", r"\\\\ "),
    (r"(?<=\d)\s*''(?!')", '"'),  # inches
    (r"\\var(phi|epsilon|theta|kappa|sigma|pi)(?![A-Za-z])", r"\\\1"),
    (r"\\(?:d|t|c|nice|s)frac(?![A-Za-z])", r"\\frac"),
    (r"\{\s*\{", "{{"),
    # no product of numbers
    (r"(?<=\})\s*\\times(?=\s*\\(?:mathbf|boldsymbol|bm|vec)\s*\{\s*[A-Za-z]\s*\})", r" \\otimes "),
    (r"\\(?:mathbf|mathit|boldsymbol|bm)\s*\{\s*([A-Za-z])\s*\}", r" \1 "),  # vectors, which no unit is set like
    (r"\\mathrm\s*\{\s*([ei])\s*\}(?!\s*[-+]?\d)", r" \1 "),
    (rf"\\operatorname\*?\s*\{{\s*({OPERATOR})\s*\}}", r"\\\1 "),
    (rf"\\(?:mathrm|text(?:rm)?)\s*\{{\s*({FUNCTION})\s*\}}(?=\s*(?:\\?[({{|_^]|\\[a-z]|\w))", r"\\\1 "),
    (FONTS + r"\{", r"\\text{"),
    (r"\\text\{([^{}]*)\\text\{([^{}]*)\}\s*\}", r"\\text{\1\2}"),
    (r"(\\text\{[^{}]*)\^\{(-?\d)\}(?=[^{}]*\})", r"\1^\2"),  # units
    (
        r"\\frac\s*\{\s*\\text\{([^{}]*)\}\s*\}\s*\{\s*\\text\{([^{}]*)\}\s*(?:(\^)\s*\{?(\d)\}?)?\s*\}",
        r"\\text{ \1/\2\3\4}",
    ),
    (r"\\(?:ldots|cdots|dotsc)(?![A-Za-z])|\.\.\.|…", r"\\dots "),
    (r"\\text\s*\{\s*(?:negative|minus)\s*\}\s*(?=[\d.\\])", "-"),
    (r"\{\s*([^{}]*?)\s*\\choose(?![A-Za-z])\s*([^{}]*?)\s*\}", r"\\binom{\1}{\2}"),
    (r"\{\s*\\(?:bf|rm|it)\s+", r"\\text{"),
    (r"\\(?:rm|bf|it)\s*\{", r"\\text{"),
    (r"\\(?:rm|bf|it|bfseries)(?![A-Za-z])", " "),
    (r"(?<=[\d)}])\s*\\text\s*\{\s*i\s*\}", " i "),
    (MODULUS, r"\\pmod{\1\2}"),
    (r"\\lg(?![A-Za-z])", r"\\log_{10} "),
    (r"\\log\s*_\s*(?:e|\{\s*e\s*\})", r"\\ln "),
    (r"\\big(cup|cap)(?![A-Za-z])(?!\s*[_^])", r"\\\1 "),
    (r"\\colon(?![A-Za-z])", ":"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (
        r"\\binom\s*(?:\{\s*([^{}]*)\s*\}|(?<![A-Za-z])(\w)|(?<=\s)(\w))\s*(?:\{\s*([^{}]*)\s*\}|(\w))",
        r"\\binom{\1\2\3}{\4\5}",
    ),
    (r"_\s*(\\text\s*\{[^{}]*\})", r"_{\1}"),
    (r"(?:\{\s*\})?\s*[\^_]\s*\{?(\d+)\}?\s*C\s*_\s*\{?(\d+)\}?", r"\\binom{\1}{\2}"),
    (r"(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "),
    (r"(?<=\d)\s*\\text\s*\{\s*to\s*\}\s*(?=\d)", ":"),
    (
        rf"(?<=\d)\s*\^?\s*(?:\{{\s*\\text\s*\{{\s*{ORDINAL}\s*\}}\s*\}}|\{{\s*{ORDINAL}\s*\}}|\\text\s*\{{\s*{ORDINAL}\s*\}}|{ORDINAL})\s*$",
        "",
    ),
    (r"\\text\s*\{\s*\}", " "),
    (r"\\text\s*\{\s*([-+.:]|[-+]?[\d.,]*\d)\s*\}", r"\1"),
    (r"(?<!\\)\{\s*([-+:.=<>])\s*\}", r"\1"),
    (r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![A-Za-z]))|\\degree(?![A-Za-z])", r"\\degree "),
    (r"\\lbrace(?![A-Za-z])", r"\\{"),
    (r"\\rbrace(?![A-Za-z])", r"\\}"),
    (r"\\(max|min|gcd|lcm)\s*\\\{((?:[^{}\\]|\\[A-Za-z]+|\{[^{}]*\})*)\\\}", r"\\\1(\2)"),
    (r"\\lbrack(?![A-Za-z])", "["),
    (r"\\rbrack(?![A-Za-z])", "]"),
    (r"\\[lr]vert(?![A-Za-z])", "|"),
    (r"\\(?:leq|leqslant|leqq)(?![A-Za-z])|<=|=<", r"\\le "),
    (r"\\(?:geq|geqslant|geqq)(?![A-Za-z])|>=", r"\\ge "),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\neq(?![A-Za-z])|\\not\s*=|!=", r"\\ne "),
    (r":=|==", "="),
    (r"\\(?:approxeq|simeq|doteq)(?![A-Za-z])", r"\\approx "),
    (r"\\(?:wedge|land)(?![A-Za-z])(?=.*(?:[<>=]|\\(?:le|ge|ne|in)(?![A-Za-z])))", r"\\text{ and }"),
    (r"\\(?:vee|lor)(?![A-Za-z])(?=.*(?:[<>=]|\\(?:le|ge|ne|in)(?![A-Za-z])))", r"\\text{ or }"),
    (r"\\land(?![A-Za-z])", r"\\wedge "),
    (r"\\lor(?![A-Za-z])", r"\\vee "),
    (r"\\varnothing(?![A-Za-z])", r"\\emptyset "),
    (r"\\(?:R|reals)(?![A-Za-z])", r"\\mathbb{R}"),
    (r"\\mathbb\s+([A-Z])", r"\\mathbb{\1}"),
    (r"\\div(?![A-Za-z])", "/"),
    (r"\\cent(?![A-Za-z])", r"\\text{ cents}"),
    (r"\\%|\\text\{\s*\\?%\s*\}|\\text\{\s*(?:per\s?cent|percentage|pct)\.?\s*\}", "%"),
    (r"(?<![A-Za-z\\])(?:per\s?cent|percentage|pct)(?![A-Za-z])\.?", "%"),
    (r"(?<![A-Za-z\\])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![A-Za-z\\])sqrt\s*(?=\d|\{|\[)", r"\\sqrt "),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\\sqrt\s+(?=\d)", r"\\sqrt"),
    (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
    (r"(?<![A-Za-z\\])(?:[iI]nfinity|infty|oo)(?![A-Za-z])", r"\\infty "),
    (r"\+\s*\\infty", r"\\infty"),
    (r"\*\*", "^"),
    (r"\*", r"\\cdot "),
    (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times "),
    (r"\^\s*\(\s*([-+]?\s*[\w.]+(?:\s*/\s*\w+)?)\s*\)", r"^{\1}"),
    (r"(?<![A-Za-z\\])(?:negative|minus)\s+(?=[\d.\\])", "-"),
    (r"(?<=\})\s*\\over(?![A-Za-z])\s*(?=\{)", "/"),
    (r"\{\s*([^{}]*?)\s*\\over(?![A-Za-z])\s*([^{}]*?)\s*\}", r"\\frac{\1}{\2}"),
    (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
    (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
    (r"\\frac\s*\{([^{}]*)\}\s*(\d|[a-zA-Z])", r"\\frac{\1}{\2}"),
    (r"\\sqrt(\d)", r"\\sqrt{\1}"),
    (r"\+\s*(?:\\text\s*\{\s*const(?:ant)?\.?\s*\}|const(?:ant)?\.?)\s*$", "+ C"),
]
# Removed from both ends, as often as they are there.
ENDS = re.compile(
    r"^(?:\s|\\\\|\*\*|__|`|=>|\\(?:therefore|because|Rightarrow|implies|sim)(?![A-Za-z])|(?:~|\\sim)(?=\s*\d))+"
    r"|(?:\s|\\\\(?!\w)|(?<!\\)[,;:]|(?<!\.)\.(?!\.)|\*\*|__|`|\\text\s*\{\s*[.,;]\s*\}"
    r"|\\(?:(?:black)?square|Box|checkmark|qed|qedsymbol)(?![A-Za-z])|(?<!\\)\\)+$"
)
# For which numbers an answer holds, where that is for all, or for all integers.
INTEGERS = r"[a-zA-Z]\s*\\in\s*\\mathbb\s*\{\s*Z\s*\}"
FOR_ALL = re.compile(
    r"[,;]?\s*(?:\\text\s*\{[\s,(]*(?:for|where|with)\s+(?:all|any|every|each|arbitrary)(?:\s+(?:real|integers?|numbers?))*"
    r"\s*[a-zA-Z]?\s*\}\s*(?:[a-zA-Z](?:\s*\\in\s*\\mathbb\s*\{\s*[RZ]\s*\})?)?"
    r"|\\text\s*\{[\s,(]*(?:for|where|with)\s+(?:some\s+|an?\s+)?integers?\s*(?:[a-zA-Z]\s*)?\}\s*[a-zA-Z]?"
    r"|\\text\s*\{[\s,(]*(?:for|where)(?:\s+integers?)?\s*\}\s*[a-zA-Z]\s*\\text\s*\{\s*(?:is an(?:y)?\s+)?integer\s*\}"
    rf"|(?:(?<=[,;])|\(|\\text\s*\{{[\s,(]*(?:for|where|with)\s*\}})\s*{INTEGERS}\s*\)?)\s*$"
)
# What a constant of integration is.
CONSTANT = re.compile(
    r"[,;]?\s*\(?\s*(?:\\text\s*\{[\s,(]*where\s*\}|where)\s*[CcKk](?:\s*_\s*\{?\d\}?)?\s*(?:\\text\s*\{)?\s*"
    r"is (?:the |an? |any |some )?(?:arbitrary |real )*constant(?: of integration)?\s*\}?\s*\)?\s*$"
)
# Words that only lead to the answer.
LEAD = re.compile(
    r"\s*(?:(?:that|it|there|is|are|was|were|will|be|the|approximately|about|roughly|around|equal|equals|to|therefore|thus"
    r"|hence|so|then|simply|just|exactly|only|final|answer|a total of|we|have|has|get|he|she|they|you"
    r"|point|(?:ordered )?pair|interval|set|vector|line|function"
    r"|(?:sum|value|number|result|solution|total)(?: of \w+)?(?=\s+(?:is|are|was)\b|\s*[:=]))"
    r"(?:\s*[:=,]\s*|\s+|(?=\s*\})))+",
    re.IGNORECASE,
)
MATH = re.compile(r"(?<!\\)\$\$?((?:[^$\\]|\\.)+)\$\$?|\\\(((?:[^\\]|\\[^()])*)\\\)|\\\[((?:[^\\]|\\[^\[\]])*)\\\]")
MONEY = re.compile(r"\\\$|\$")
STARS = re.compile(r"\*\*(.*)|(?!\*)(.*)\*\*|\*(.*)\*", re.DOTALL)
QUOTES = ("'", '"', "\u201d")
QUOTED = re.compile(r"[\"'`“”]{1,2}([^\"'`“”]+)[\"'“”]{1,2}")
ROWS = re.compile(r"\s*,?\s*(?:\\\\|\\newline|\\q?quad)(?![A-Za-z]{2})\s*")  # what separates equations, but for \\frac
EQUATION = re.compile(r"[A-Za-z](?:_\{?\w\}?)?\s*=[^=<>]+")
PLAIN = re.compile(r"-?\d+(?:\.\d*)?|[A-Za-z]", re.ASCII)  # nothing to do
BOX = re.compile(r"\\f?box(?:ed)?\s*\{")


def unicode_to_latex(text: str) -> str:
    """The text in ASCII where there is LaTeX for it: minus signs, fractions, powers, roots, digits of any script."""
    text = SQUARED.sub(r"\\text{ \1}\2", EMOJI.sub("", text))
    text = DEGREES_OF_ROOTS.sub(lambda found: f"√[{''.join(SUPERSCRIPTS[sign] for sign in found[1])}]", text)
    text = SLANTED.sub(
        lambda found: (
            rf"\frac{{{''.join(SUPERSCRIPTS[sign] for sign in found[1])}}}"
            rf"{{{''.join(SUBSCRIPTS[sign] for sign in found[2])}}}"
        ),
        text,
    )
    text = RAISED.sub(lambda found: "^{" + "".join(SUPERSCRIPTS[sign] for sign in found[0]) + "}", text)
    text = LOWERED.sub(lambda found: "_{" + "".join(SUBSCRIPTS[sign] for sign in found[0]) + "}", text)
    text = text.translate(TABLE)
    if text.isascii():
        return text
    text = ROOT.sub(root, text)
    letters = []
    for letter in text:
        if letter.isascii():
            letters.append(letter)
        elif 0xFF01 <= ord(letter) <= 0xFF5E:  # full width
            letters.append(chr(ord(letter) - 0xFEE0))
        elif (digit := unicodedata.decimal(letter, None)) is not None:
            letters.append(str(digit))
        elif 0x1D400 <= ord(letter) <= 0x1D7FF:  # letters of formulas, in their fonts
            letters.append(unicodedata.normalize("NFKC", letter).translate(TABLE))
        elif unicodedata.decomposition(letter).startswith("<fraction>"):
            top, _, bottom = unicodedata.normalize("NFKC", letter).partition("⁄")
            letters.append(rf"\frac{{{top}}}{{{bottom}}}")
        else:
            letters.append(letter)
    return "".join(letters)


def root(found: re.Match) -> str:
    degree = f"[{found[2]}]" if found[2] else ROOTS[found[1]]
    return rf"\sqrt{degree}{{{found[3].strip('(){}')}}}"


def without_math_signs(text: str) -> str:
    """Formulas without their `$` or `\\(`; prose around them as `\\text`, so that it is not taken for letters."""
    if "$" not in text and "\\(" not in text and "\\[" not in text:
        return text
    parts, place = [], 0
    for found in MATH.finditer(text):
        if words := text[place : found.start()]:
            parts.append(words)
        parts.append(found)
        place = found.end()
    if place < len(text):
        parts.append(text[place:])
    formulas = [part for part in parts if not isinstance(part, str)]
    prose = any(isinstance(part, str) and re.search(r"[A-Za-z]{2}", part) and "\\" not in part for part in parts)
    whole = []
    for part in parts:
        if not isinstance(part, str):
            whole.append(part[1] or part[2] or part[3] or "")
        elif formulas and prose and re.search("[A-Za-z]", part) and "\\" not in part and "{" not in part:
            whole.append(rf"\text{{{part}}}")
        else:
            whole.append(part)
    return "".join(whole)


@cache
def replacements() -> list[tuple[re.Pattern, str]]:
    """`REPLACED`, compiled when the first answer comes and not when the module is imported."""
    return [(re.compile(pattern), new) for pattern, new in REPLACED]


@lru_cache(maxsize=20_000)
def tidy(text: str) -> str:
    """The answer in one spelling; see above."""
    if not text.isascii():
        text = unicode_to_latex(text)
    if found := BOX.match(text.strip()):
        inner, rest = inside(text.strip()[found.end() - 1 :])
        text = inner if inner is not None and not rest.strip(" .$") else text
    text = without_math_signs(text).strip()
    while "*" in text and (found := STARS.fullmatch(text)):
        text = (found[1] or found[2] or found[3] or "").strip()
    if text[-1:] in QUOTES and (found := QUOTED.fullmatch(text)):
        text = found[1]
    if PLAIN.fullmatch(text):
        return text.rstrip(".")
    text = without_bold(text)
    text = ALIGNED.sub(lambda found: re.sub(r"\\\\(?!\w)", ", ", found[2].replace("&", "")), text)
    if len(rows := ROWS.split(text)) > 1 and all(map(EQUATION.fullmatch, rows)):
        text = ", ".join(rows)
    for pattern, new in replacements():
        text = pattern.sub(new, text)
    if "\\equiv" in text and "mod" not in text:
        text = text.replace("\\equiv", "=")
    text = CONSTANT.sub("", FOR_ALL.sub("", text))
    text = led(text)
    before = None
    while before != text:
        before = text
        text = ENDS.sub("", text)
        if text.startswith("{") and (found := inside(text))[0] is not None and not found[1].strip():
            text = found[0]
    return " ".join(text.split())


def without_bold(text: str) -> str:
    """Formulas without the command that sets them bold: what is left of it would be taken for words."""
    for found in reversed(list(BOLD.finditer(text))):
        inner, rest = inside(text[found.end() :])
        if inner is not None and MATHEMATICS.search(inner):
            text = f"{text[: found.start()]}{{{inner}}}{rest}"
    return text


def led(text: str) -> str:
    """The answer without the words that lead to it: `\\text{There are 12 ways}`, `\\text{the answer is }12`."""
    found = re.match(r"\s*\\text\s*\{", text)
    lead = found and LEAD.match(text, found.end())
    if not lead:
        return text
    inner, rest = inside(text[found.end() - 1 :])
    if inner is None:
        return text
    after = text[lead.end() : len(text) - len(rest) - 1]
    if not after.strip(" .:"):
        return rest if rest.strip(" .") else text
    return rf"\text{{{after}}}{rest}" if not rest.strip(" .") and re.match(r"[-+]?[\d.$]", after) else text


def inside(text: str) -> tuple[str | None, str]:
    """What stands in the braces that open at the beginning, and what comes after; (None, text) if they do not close."""
    depth, place = 0, 0
    while place < len(text):
        letter = text[place]
        if letter == "\\":
            place += 2
            continue
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return text[1:place], text[place + 1 :]
        place += 1
    return None, text
