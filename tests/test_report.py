"""The smoke study's report as a person sees it: in a browser, without a network, click by click."""

import ast
import base64
import re

import pytest
from conftest import LONG, ROOT
from playwright.sync_api import Locator, Page

RULES = ROOT / "workflow" / "rules"
TEXT = {path.stem: path.read_text() for path in RULES.glob("*.smk")}
TABLES = [
    {"path": f"tables/{name}.csv", "caption": f"../report/{name}.rst", "category": "Tables", "label": label or name}
    for name, label in re.findall(r'\btable\("(\w+)"(?:, "([^"]+)")?\)', TEXT["tables"])
    if name != "map"  # of base models that have seen unlike amounts
]
# What another rule marks for the report, in the form that snakefmt gives it.
MARKED = re.compile(
    r'report\(\s+"<(?:study|results)>/(?P<path>\S+)",\s+caption="(?P<caption>\S+)",\s+category="(?P<category>\w+)",'
    r'\s+labels=\{"\w+": "(?P<label>[^"]+)"\}'
)
TABLES += [match.groupdict() for match in MARKED.finditer(TEXT["evaluate"])]
PLOTS = ast.literal_eval(re.search(r"^PLOTS = (\{.*?^\})", TEXT["figures"], re.M | re.S)[1])
OWN = [path.stem.removesuffix("_figure") for path in (ROOT / "workflow" / "report").glob("*_figure.rst")]
FIGURES = [
    {"path": f"figures/{name}.png", "category": "Figures", "label": f"{number}. {title}"}
    | {"caption": f"../report/{name}{'_figure' * (name in OWN)}.rst"}
    for number, (name, (title, _)) in enumerate(PLOTS.items(), start=1)
    if name != "map"
]


@pytest.fixture
def page(browser, smoke):
    """The report, just opened. It has to get by without a network and without an error of its scripts."""
    context = browser.new_context(offline=True)
    context.set_default_timeout(1000 * LONG)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"not embedded: {request.url[:200]}"))
    page.goto((smoke / "results" / "smoke" / "report.html").as_uri())
    opening = page.locator("#opening")
    assert opening.is_visible()
    image = opening.locator("img")
    image.evaluate("image => image.decode()")
    assert image.bounding_box()["y"] < page.viewport_size["height"] / 2
    assert "steps of RL" in opening.locator("p").inner_text()
    opening.get_by_role("button").click()
    assert not opening.is_visible()
    yield page
    context.close()
    assert not errors


def row_of(page: Page, result: dict[str, str]) -> Locator:
    """The result's line in its category's list, which names it by its label."""
    page.get_by_text(result["category"], exact=True).click()
    return page.get_by_role("row").filter(has=page.get_by_text(result["label"], exact=True))


def check_caption(page: Page, row: Locator, result: dict[str, str]) -> None:
    """Word by word: markup is rendered and lines break elsewhere."""
    row.locator("[iconname=information-circle]").click()
    page.get_by_text("Description", exact=True).wait_for()
    caption, shown = (RULES / result["caption"]).read_text(), page.locator("nav").first.inner_text()
    assert "".join(re.findall(r"\w", caption)) in "".join(re.findall(r"\w", shown))


def content(uri: str) -> bytes:
    return base64.b64decode(uri.partition(";base64,")[2])


def test_no_figure_is_left_out(smoke):
    made = {f"figures/{path.name}" for path in (smoke / "results" / "smoke" / "figures").glob("*.png")}
    assert made == {figure["path"] for figure in FIGURES} and len(TABLES) == 11


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure["path"])
def test_a_figure_is_shown_with_its_label_and_caption(smoke, page, figure):
    row = row_of(page, figure)
    row.locator("[iconname=eye]").click()
    image = page.locator("#app img[src^='data:image/png']")  # the only one: the logo is an SVG
    image.wait_for()
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => image.naturalWidth") > 0
    box = image.bounding_box()
    assert box["width"] > 300 and box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]
    assert content(image.get_attribute("src")) == (smoke / "results" / "smoke" / figure["path"]).read_bytes()
    check_caption(page, row, figure)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table["path"])
def test_a_table_opens_with_its_label_and_caption(smoke, page, table):
    """Snakemake's report hands a CSV file over as a download."""
    row = row_of(page, table)
    with page.expect_download() as download:
        row.locator("[iconname=eye]").click()
    assert download.value.path().read_bytes() == (smoke / "results" / "smoke" / table["path"]).read_bytes()
    check_caption(page, row, table)
