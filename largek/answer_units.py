"""Units that stand after a number: which words are units, and what they are worth in each other.

A unit that is known here has a dimension and a factor, so that 500 cm is 5 m and 5 cm^2 is not 5 cm. Any other word
after a number (`ways`, `apples`) only names what is counted.
"""

import re
from fractions import Fraction
from functools import lru_cache


def words_of(text: str) -> set[str]:
    return set(text.split())


# dimension: names with their worth in the first one
WORTH = {
    "length": "m meter metre=1 in inch inche=127/5000 ft foot feet=381/1250 yd yard=1143/1250 mi mile=201168/125"
    " Å angstrom ångström=1/10000000000 micron=1/1000000 AU=149597870700 ly lightyear light-year=9460730472580800"
    " pc parsec=30856775814913673",
    "mass": "g gram gm gramme=1/1000 kilo=1 tonne=1000 lb pound=45359237/100000000 oz ounce=45359237/1600000000",
    "ton": "ton=1",
    "time": "s sec second=1 min minute=60 h hr hour=3600 day=86400 week wk=604800",
    "year": "yr year=1 month=1/12 decade=10 century centurie=100",
    "money": "dollar usd USD buck=1 cent=1/100",
    "euro": "euro eur EUR=1",
    "pounds": "gbp GBP sterling=1",
    "rupee": "rupee rs inr=1",
    "yuan": "yuan rmb=1",
    "yen": "yen=1",
    "angle": "degree deg=1",
    "radian": "radian rad=1",
    "electronvolt": "eV electronvolt=1",
    "current": "A amp ampere=1",
    "temperature": "K kelvin=1",
    "celsius": "celsius=1",
    "fahrenheit": "fahrenheit=1",
    "substance": "mol mole=1",
    "data": "bit=1 B byte=8",
    "level": "dB decibel=1",
    "rotation": "rpm=1",
    "share": "ppm=1 ppb=1/1000",
}
# names with their worth in units that are named before
DERIVED = {
    "Hz hertz": (1, "s^-1"), "N newton": (1, "kg m/s^2"), "Pa pascal": (1, "N/m^2"), "atm": (101325, "Pa"),
    "bar": (100000, "Pa"), "J joule": (1, "N m"), "cal calorie": ("523/125", "J"), "W watt": (1, "J/s"),
    "Wh": (3600, "J"), "C coulomb": (1, "A s"), "V volt": (1, "W/A"), "ohm Ω": (1, "V/A"), "F farad": (1, "C/V"),
    "T tesla": (1, "V s/m^2"), "G gauss": ("1/10000", "T"), "H henry": (1, "V s/A"), "L l liter litre": (1, "dm^3"),
    "cc": (1, "cm^3"), "gal gallon": ("3.785411784", "L"), "quart": ("1/4", "gal"), "pint": ("1/8", "gal"),
    "cup": ("1/16", "gal"), "acre": ("4046.8564224", "m^2"), "hectare": (10000, "m^2"),
}  # fmt: skip
PREFIXES = {"k": 3, "M": 6, "G": 9, "T": 12, "h": 2, "d": -1, "c": -2, "m": -3, "µ": -6, "u": -6, "n": -9, "p": -12}
PREFIXES |= {"f": -15, "kilo": 3, "mega": 6, "giga": 9, "centi": -2, "milli": -3, "micro": -6, "nano": -9, "pico": -12}
PREFIXED = words_of("m g s L l J N W V A Hz Pa eV Wh F C T H Ω mol cal bit B pc K bar")
PREFIXED |= words_of("meter metre gram second liter litre joule newton watt volt amp hertz byte ohm calorie")
SPEEDS = {"mph": "mile/hour", "kmh": "km/hour", "kph": "km/hour", "kmph": "km/hour", "mps": "m/s"}
# a letter alone is mostly a variable; these are units where a space comes before them
LETTERS = set("mgsLJNWVKÅ")
# symbols that are a unit without a space before them, and those that need it: other letters may be a product
CLOSE = words_of("in ft yd mi lb oz hr wk yr Hz Pa eV cc km cm mm nm kg mg mL ml ms kJ MJ kN kW MW mV kV mA")
CLOSE |= words_of("kHz MHz GHz kPa keV MeV GeV")
SPACED = words_of("ly pc kpc Mpc AU dB GB MB TB ns ps pF nF mF mT nT dm dL mN Wh kWh MWh kcal mmol rad mol")

KNOWN: dict[str, tuple[tuple, Fraction]] = {}
for _dimension, _names in WORTH.items():
    for _group in re.findall(r"([^=]+)=(\S+)", _names):
        for _name in _group[0].split():
            KNOWN[_name] = ((_dimension, 1),), Fraction(_group[1])
ALONE = re.compile(r" ?(?:$|/|per\b|\\cdot)")
POWERS = re.compile(r"(?: [A-Za-z]+ ?\^ ?(?:\{ ?-?\d ?\}|\d))* [A-Za-z]+ ?\^ ?\{ ?-\d ?\}")  # of m s^{-1}
UNITS = re.compile(r"(?:(?:sq(?:uare)?|cu(?:bic)?)\.? )?units?\.?")
START = re.compile(r"(?<=[\d})!]) ?(?=[A-Za-zÅ])|(?<=[\d})]) (?=\\mu ?[A-Za-z])|(?<=\\pi) (?=[a-z]{2})")
FIRST = re.compile(r"(?:(?:sq(?:uare)?|cu(?:bic)?)\.? )?(?:(\\mu) ?)?([A-Za-zÅ]+)\.?(?: ?\^ ?(?:\{ ?-?\d ?\}|-?\d))?")


def unit_at_end(text: str) -> tuple[str, str] | None:
    """The value and the unit of `18 km/h`, in which nothing shows that the letters are a unit."""
    for found in START.finditer(text):
        name, space = text[found.end() :], bool(found[0])
        if UNITS.fullmatch(name):
            return text[: found.start()], name
        first = FIRST.match(name)
        if not first or not unit(name):
            continue
        (prefix, symbol), alone = first.groups(), ALONE.match(name, first.end())
        if not alone and not re.search(r"\^|/", name):
            continue
        if len(symbol) > 2 and any(form in KNOWN or form in SPEEDS for form in forms(symbol)):
            shown = True
        elif len(symbol) > 1:
            shown = symbol in CLOSE or (space and (prefix or symbol in SPACED))
        else:
            shown = space and (prefix or (symbol in LETTERS and (alone or POWERS.fullmatch(name, first.end()))))
        if shown:
            return text[: found.start()], name
    return None


@lru_cache(maxsize=10_000)
def unit(text: str) -> tuple[tuple, Fraction] | None:
    """(dimension, worth) of a unit as it is written, as (("length", 2),) and 1/10000 for `cm^2`; None if unknown."""
    text = re.sub(r"\\mu\s*(?:\\text\s*\{\s*)?", "µ", text.replace("\\Omega", "Ω"))
    text = re.sub(r"\\text\s*|[{}.()]|\\cdot", " ", text).replace("\\degree", "degree").strip()
    text = re.sub(r"\s*\^\s*", "^", text)
    if text in ("degree C", "degrees Celsius", "°C", "degree F", "degrees Fahrenheit"):
        text = {"C": "celsius", "F": "fahrenheit"}[text.split()[1][0]]
    if text.lower() in SPEEDS:
        text = SPEEDS[text.lower()]
    text = re.sub(r"\s+per\s+|\s*/\s*", " / ", text)
    dimensions: dict[str, int] = {}
    worth, sign, scale = Fraction(1), 1, 1
    if not text:
        return None
    for word in text.split():
        if word == "/":
            sign = -1
            continue
        if word.lower() in ("sq", "square", "cu", "cubic"):
            scale = 2 if word.lower() in ("sq", "square") else 3
            continue
        name, _, power = word.partition("^")
        known = known_as(name)
        if known is None or not re.fullmatch(r"-?\d?", power) or power == "-":
            return None
        exponent = sign * scale * int(power or 1)
        for dimension, times in known[0]:
            dimensions[dimension] = dimensions.get(dimension, 0) + times * exponent
        worth *= known[1] ** exponent
        scale = 1
    if scale != 1 or not dimensions:
        return None
    return tuple(sorted((name, power) for name, power in dimensions.items() if power)), worth


def forms(name: str) -> list[str]:
    """How a unit's name may stand in the table: as it is, in small letters, in the singular."""
    small = name.lower()
    found = [name, name.removesuffix("s")] if len(name) > 2 else [name]
    return found + ([small, small.removesuffix("s"), small.removesuffix("es")] if len(name) > 2 else [])


def known_as(name: str) -> tuple[tuple, Fraction] | None:
    """What one name is worth, with a prefix or without."""
    for form in forms(name):
        if form in KNOWN:
            return KNOWN[form]
    for form in forms(name):
        for size in range(min(5, len(form) - 1), 0, -1):
            if form[:size] in PREFIXES and form[size:] in PREFIXED and (size < 3) == (len(form) - size < 4):
                dimensions, worth = KNOWN[form[size:]]
                return dimensions, worth * Fraction(10) ** PREFIXES[form[:size]]
    return None


for _names, (_times, _of) in DERIVED.items():
    _dimensions, _worth = unit(_of)
    KNOWN |= dict.fromkeys(_names.split(), (_dimensions, Fraction(_times) * _worth))
unit.cache_clear()
