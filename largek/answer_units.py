"""Units that stand after a number: which words are units, and what they are worth in each other.

A unit that is known here has a dimension and a factor, so that 500 cm is 5 m and 5 cm^2 is not 5 cm. Any other word
after a number (`ways`, `apples`) only names what is counted.
"""

import re
from fractions import Fraction
from functools import lru_cache

# dimension: names with their worth in the first one
WORTH = {
    "length": "m meter metre=1 km kilometer kilometre=1000 cm centimeter centimetre=1/100 mm millimeter millimetre"
    "=1/1000 nm nanometer nanometre=1/1000000000 in inch inche=127/5000 ft foot feet=381/1250 yd yard=1143/1250"
    " mi mile=201168/125",
    "mass": "kg kilogram kilo=1 g gram gm gramme=1/1000 mg milligram=1/1000000 tonne=1000 lb pound=45359237/100000000"
    " oz ounce=45359237/1600000000",
    "time": "s sec second=1 ms millisecond=1/1000 min minute=60 h hr hour=3600 day=86400 week wk=604800",
    "year": "yr year=1 month=1/12",
    "volume": "L l liter litre=1 mL ml milliliter millilitre=1/1000 cc=1/1000 gal gallon=1 quart=1/4 pint=1/8 cup=1/16",
    "money": "dollar usd USD buck=1 cent=1/100",
    "euro": "euro eur EUR=1",
    "pounds": "gbp GBP sterling=1",
    "rupee": "rupee rs inr=1",
    "yuan": "yuan rmb=1",
    "yen": "yen=1",
    "angle": "degree deg=1",
    "radian": "radian rad=1",
    "energy": "J joule=1 kJ kilojoule=1000 MJ=1000000 cal calorie=523/125",
    "electronvolt": "eV=1 keV=1000 MeV=1000000 GeV=1000000000",
    "force": "N newton=1 kN=1000",
    "power": "W watt=1 kW kilowatt=1000 MW=1000000",
    "voltage": "V volt=1 mV=1/1000 kV=1000",
    "current": "A amp ampere=1 mA=1/1000",
    "resistance": "ohm=1",
    "frequency": "Hz hertz=1 kHz=1000 MHz=1000000 GHz=1000000000",
    "pressure": "Pa pascal=1 kPa=1000 atm=101325 bar=100000",
    "temperature": "K kelvin=1",
    "celsius": "celsius=1",
    "fahrenheit": "fahrenheit=1",
    "substance": "mol mole=1",
}
SPEEDS = {"mph": "mile/hour", "kmh": "km/hour", "kph": "km/hour", "kmph": "km/hour", "mps": "m/s"}
# a letter alone is mostly a variable; these are units where a space comes before them
LETTERS = set("mgsLJNWVK")

KNOWN: dict[str, tuple[str, Fraction]] = {}
for _dimension, _names in WORTH.items():
    for _group in re.findall(r"([^=]+)=(\S+)", _names):
        for _name in _group[0].split():
            KNOWN[_name] = _dimension, Fraction(_group[1])
FIRST = re.compile(r"(?:(?:sq(?:uare)?|cu(?:bic)?)\.? )?([A-Za-z]+)\.?(?: ?\^ ?(?:\{ ?-?\d ?\}|-?\d))?")


def unit_at_end(text: str) -> tuple[str, str] | None:
    """The value and the unit of `18 km/h`, in which nothing shows that the letters are a unit."""
    for found in re.finditer(r"(?<=[\d})!]) ?(?=[A-Za-z])|(?<=\\pi) (?=[a-z]{2})", text):
        name = text[found.end() :]
        first = FIRST.fullmatch(re.split(r" ?(?:/|\bper\b|\\cdot) ?", name)[0])
        if first and unit(name) and (len(first[1]) > 1 or (first[1] in LETTERS and found[0])):
            return text[: found.start()], name
    return None


@lru_cache(maxsize=10_000)
def unit(text: str) -> tuple[tuple, Fraction] | None:
    """(dimension, worth) of a unit as it is written, as (("length", 2),) and 1/10000 for `cm^2`; None if unknown."""
    text = re.sub(r"\\text\s*|[{}.]|\\cdot", " ", text).replace("\\degree", "degree").strip()
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
        known = next((KNOWN[form] for form in forms(name) if form in KNOWN), None)
        if known is None or not re.fullmatch(r"-?\d?", power) or power == "-":
            return None
        exponent = sign * scale * int(power or 1)
        dimensions[known[0]] = dimensions.get(known[0], 0) + exponent
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
