"""`largek report`: its numbers are those of the other commands, texts stay texts, and it is quick with many samples."""

import base64
import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import LONG, run
from hypothesis import example, given
from hypothesis import strategies as st
from playwright.sync_api import Page

from benchmarks.report import browser_times, make_store
from largek import grade, passk, report
from largek.checksums import listed_file
from largek.coverage import coverage
from largek.grades import count, read_all
from largek.store import open_store
from largek.verify import OUTCOMES

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script><!--",
    "<!--<script>",
    "]]></textarea></title></style><img src=x onerror='window.hacked = 1'>",
    '"><svg onload="window.hacked = 1"><a href="javascript:window.hacked = 1">here</a>',
    "<iframe srcdoc='<script>parent.hacked = 1</script>'></iframe><link rel=stylesheet href=http://127.0.0.1:9/x>",
    "{{script}} {{data}} ${window.hacked = 1} {{constructor.constructor('window.hacked = 1')()}} %s \\1 \\g<0>",
    "\u202eright to left\u202c \u2066isolate\u2069 zero\u200bwidth\u200d \ufeff \u2028 \u2029 \x85",
    "null \0 byte, bell \a, escape \x1b[31m, \uffff \U0001f600 e\u0301",
    "__proto__",
]


def embedded(page: str) -> tuple[dict, list]:
    """The summary and all texts of a page, read as a browser would, by the elements of the parsed HTML."""

    class Scripts(HTMLParser):
        kind, found = None, []

        def handle_starttag(self, tag, attributes):
            self.kind = dict(attributes).get("type", "") if tag == "script" else None
            self.found = [*self.found, (self.kind, "")] if tag == "script" else self.found

        def handle_data(self, text):
            if self.kind is not None:
                self.found[-1] = (self.kind, self.found[-1][1] + text)

        def handle_endtag(self, tag):
            self.kind = None

    parser = Scripts()
    parser.feed(page)
    parser.close()
    *data, own = parser.found
    assert own == ("", Path(report.__file__).with_name("report.js").read_text())
    assert {kind for kind, _ in data} == {"application/json"}
    summary, *shards = [json.loads(gzip.decompress(base64.b64decode(json.loads(text)))) for _, text in data]
    return summary, [text for shard in shards for text in shard]


def made(folder: Path, name: str, rows: list[dict], texts: dict[str, list[str]], **settings) -> str:
    """A graded store of one model with these answers to problems by their ids. A text that ends in … was cut."""
    rows = [{"task": "t", "split": "all", "verifier": "math", "samples": 1} | row for row in rows]
    with open_store(folder, {"name": name, "max_tokens": 50, **settings}, rows) as store:
        for row in rows:
            where = {"model": name, "task": row["task"], "split": row["split"], "problem": row["id"], "seed": 0}
            answers = enumerate(texts.get(row["id"], []))
            store.append(
                [
                    where
                    | {"sample": i, "text": text, "tokens": len(text) % 50 + 1}
                    | {"finish": "length" if text.endswith("…") else "stop", "entropy": None, "logprob": None}
                    for i, text in answers
                ]
            )
    grade.run(str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[str]:
    """Two models' answers to 40 problems of four tasks, 24 samples each."""
    folder = tmp_path_factory.mktemp("stores")
    return [make_store(folder / name, name, 40, 24) for name in ("small", "large")]


@pytest.fixture(scope="module")
def page_file(stores) -> Path:
    output = Path(stores[0]).parent / "report.html"
    report.run(stores, str(output))
    return output


@pytest.fixture
def opened(browser):
    """A way to open a page; it must ask for nothing but its file, and end without errors and violations."""
    contexts, said = [], []

    def opening(path: Path, **options) -> Page:
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(1000 * LONG)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.wait_for_selector("script.texts", state="detached")
        return page

    yield opening
    for context in contexts:
        context.close()
    assert not said


# The data.


def test_counts_are_of_all_samples_and_curves_are_those_of_passk(stores, page_file):
    summary, _ = embedded(page_file.read_text())
    grades, _ = read_all(stores)
    counts, problems = count(grades), summary["problems"]
    place = {name: number for number, name in enumerate(problems["id"])}
    models = summary["models"]
    assert models == ["small", "large"] and len(place) == 40
    for row in counts.itertuples():
        where = models.index(row.model), place[row.problem]
        assert problems["correct"][where[0]][where[1]] == row.correct
        assert problems["n"][where[0]][where[1]] == row.n

    tables = [counts[counts["model"] == model] for model in models]
    table, _ = coverage(*tables, sweeps=report.SWEEPS)
    assert [row["k"] for row in summary["coverage"]] == table["k"].tolist()
    for row, own in zip(summary["coverage"], table.itertuples()):
        assert (row["model"], row["task"], row["split"]) == (1, own.task, own.split)
        assert (row["lost"], row["gained"]) == pytest.approx((own.lost, own.gained), abs=1e-5)

    table = passk.run(stores).set_index(["model", "task", "k"]).sort_index()
    assert len(summary["curves"]) == 2 * (4 + 1)
    for curve in summary["curves"]:
        rows = table.loc[models[curve["model"]], curve["task"]].loc[curve["k"]]
        assert {1, 2, 4, 8, 16, 24} <= set(curve["k"])
        for name in ("estimate", "lo", "hi", "maj", "maj_lo", "maj_hi"):
            assert curve[name] == pytest.approx(rows[name].tolist(), abs=1e-5)

    for group in summary["groups"]:
        rows = grades[(grades["model"] == models[group["model"]]) & (grades["task"] == group["task"])]
        assert group["outcomes"] == [(rows["outcome"] == outcome).sum() for outcome in OUTCOMES]
        assert group["tokens"] == rows["tokens"].sum() and group["known"] == len(rows)
        for outcome, bins in zip(OUTCOMES, group["lengths"]):
            tokens = rows.loc[rows["outcome"] == outcome, "tokens"]
            assert bins == np.histogram(tokens, np.arange(len(bins) + 1) * summary["bin"])[0].tolist()


def test_the_texts_are_those_of_their_samples(stores, page_file):
    summary, texts = embedded(page_file.read_text())
    table, problems, models = summary["samples"], summary["problems"]["id"], summary["models"]
    shown = pd.DataFrame({key: table[key] for key in ("sample", "tokens", "finish", "extracted")}).assign(
        model=[models[i] for i in table["model"]],
        problem=[problems[i] for i in table["problem"]],
        outcome=[OUTCOMES[i] for i in table["outcome"]],
        text=texts,
    )
    assert len(shown) == summary["held"]["all"] == summary["held"]["texts"] == 2 * 40 * 24
    keys = ["model", "problem", "sample"]
    stored = pd.concat(pd.read_parquet(f"{store}/samples")[[*keys, "text", "finish"]] for store in stores)
    graded = read_all(stores)[0][[*keys, "outcome", "extracted", "tokens"]]
    expected = stored.merge(graded, on=keys).sort_values(keys, ignore_index=True)
    shown = shown.sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(shown[expected.columns], expected, check_dtype=False)


def test_how_a_store_was_asked_is_said_and_which_thoughts_have_no_end(tmp_path):
    rows, texts = [{"id": "a", "problem": "2+2?", "answer": "4"}], {"a": ["<think>4", "<think>5</think>4"]}
    store = made(tmp_path / "s", "m", rows, texts, top_k=20, stop=["é:"])
    report.run([store], str(tmp_path / "r.html"))
    summary, _ = embedded((tmp_path / "r.html").read_text())
    assert summary["stores"][0]["others"] == 'top_k 20, stop ["é:"]'
    assert summary["thoughts"] == ["m, t: 1 answer has no end of thinking"]


def test_the_same_stores_give_the_same_bytes(stores, page_file, tmp_path):
    done = run("largek", "report", *stores, "--output", tmp_path / "again.html")
    assert done.returncode == 0, done.stderr
    assert "models: 2, problems: 40, samples: 1,920, of them with text: 1,920" in done.stdout
    assert (tmp_path / "again.html").read_bytes() == page_file.read_bytes()


@pytest.mark.parametrize("most", [1, 30, 100, 500])
def test_no_model_problem_or_outcome_is_favoured_among_the_texts(stores, most):
    grades, _ = read_all(stores)
    kinds = ["model", "problem", "outcome"]
    problems = dict.fromkeys(grades[["task", "split", "problem"]].itertuples(index=False, name=None))
    chosen = report.choose(grades, problems, {"small": 0, "large": 1}, most)
    assert len(chosen) == most
    sizes, all_sizes = chosen.groupby(kinds).size(), grades.groupby(kinds).size()
    rounds = sizes.max()
    for kind, size in all_sizes.items():
        assert min(size, rounds - 1) <= sizes.get(kind, 0) <= min(size, rounds)
    firsts = grades.sort_values("sample").groupby(kinds)["sample"].apply(list)
    for kind, rows in chosen.groupby(kinds):
        assert sorted(rows["sample"]) == firsts[kind][: len(rows)]
    assert chosen.equals(report.choose(grades.sample(frac=1, random_state=0), problems, {"small": 0, "large": 1}, most))


def test_what_is_left_out_is_counted(stores, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "LONGEST", 300)
    monkeypatch.setattr(report, "MOST", 200)
    report.run(stores, str(tmp_path / "r.html"))
    summary, texts = embedded((tmp_path / "r.html").read_text())
    held = summary["held"]
    assert held["texts"] == len(texts) == 200 and held["all"] == 1920
    cut = [text for text in texts if isinstance(text, list)]
    assert held["clipped"] == len(cut) > 100
    assert all(len(start) == len(end) == 150 and left > 0 for start, left, end in cut)


def test_stores_of_different_problems_leave_gaps(tmp_path):
    rows = [{"id": str(i), "problem": f"{i}?", "answer": str(i)} for i in range(4)]
    one = made(tmp_path / "a", "one", rows[:3], {row["id"]: ["it is 1", "it is 2"] for row in rows})
    two = made(tmp_path / "b", "two", rows[2:], {row["id"]: ["it is 3"] for row in rows})
    report.run([one, two], str(tmp_path / "r.html"))
    summary, _ = embedded((tmp_path / "r.html").read_text())
    assert summary["problems"]["n"] == [[2, 2, 2, None], [None, None, 1, 1]]
    assert summary["problems"]["correct"] == [[0, 1, 1, None], [None, None, 0, 1]]


def test_a_model_may_have_several_stores(tmp_path):
    rows = [{"id": str(i), "problem": f"{i}?", "answer": str(i), "task": f"t{i}"} for i in range(2)]
    stores = [made(tmp_path / row["id"], "one", [row], {row["id"]: ["it is 1"]}) for row in rows]
    report.run(stores, str(tmp_path / "r.html"))
    summary, _ = embedded((tmp_path / "r.html").read_text())
    assert summary["models"] == ["one"] and summary["problems"]["correct"] == [[0, 1]]


def test_missing_answers_are_said(tmp_path):
    rows = [{"id": str(i), "problem": f"{i}?", "answer": str(i), "samples": 2} for i in range(2)]
    store = made(tmp_path / "a", "one", rows, {"0": ["0"], "1": ["1"]})
    report.run([store], str(tmp_path / "r.html"))
    summary, _ = embedded((tmp_path / "r.html").read_text())
    assert summary["notes"] == ["one, all: 2 of 4 answers are there, 1 to 1 for each of 2 problems"]
    assert {curve["coverage"] for curve in summary["curves"]} == {0.5}


def test_wrong_input_is_one_line_and_status_2(stores, tmp_path):
    row = {"id": "p", "problem": "1?", "answer": "1"}
    shutil.copytree(stores[0], tmp_path / "ungraded", ignore=shutil.ignore_patterns("grades.parquet"))
    shutil.copytree(stores[0], tmp_path / "twice")
    shutil.copytree(stores[0], tmp_path / "lost")
    next((tmp_path / "lost" / "samples").glob("*.parquet")).unlink()
    shutil.copytree(stores[0], tmp_path / "shorter")
    lines = (tmp_path / "shorter" / "problems.jsonl").read_text().splitlines(keepends=True)
    with listed_file(tmp_path / "shorter", "problems.jsonl") as changed:
        changed.write_text("".join(lines[1:]))
    made(tmp_path / "one", "one", [row], {"p": ["1"]})
    made(tmp_path / "two", "two", [row | {"answer": "2"}], {"p": ["1"]})
    made(tmp_path / "empty", "empty", [], {})
    for arguments, message in {
        ("ungraded",): "ungraded: not graded yet, run: largek grade ungraded",
        ("none",): "none: expected a store made by `largek sample --store`",
        (stores[0], "twice"): "sample with --name to give models names of their own",
        ("one", "two"): "two: the problem 'p' has another text or answer than in one",
        ("lost",): "is graded but not there, run: largek grade lost",
        ("shorter",): "shorter: the problem 'p000' is graded but not there, run: largek grade shorter",
        ("empty",): "empty: expected at least one answer",
    }.items():
        done = run("largek", "report", *arguments, "--output", "out.html", cwd=tmp_path)
        assert done.returncode == 2 and message in done.stderr, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1 and not list(tmp_path.glob("*.html*"))


def test_it_needs_neither_torch_nor_vllm():
    code = "import sys, largek.report; print({'torch', 'vllm', 'transformers'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def with_examples(test):
    for text in [*HOSTILE, "\ud800", "\udc00\ud800 \udfff"]:
        test = example(text)(test)
    return test


@given(st.text(st.characters(categories=None)))
@with_examples
def test_any_text_comes_back_from_the_page_and_none_breaks_out(text):
    html = report.page({"text": text, text: 1}, [[text], [text, ["", 3, text]]])
    summary, texts = embedded(html)
    assert summary == {"text": text, text: 1} and texts == [text, text, ["", 3, text]]
    plain = report.page({}, [[], []])
    data = re.compile(r'"[A-Za-z0-9+/=]*"(?=</script>)')
    assert data.sub("", html) == data.sub("", plain) and len(data.findall(html)) == 3


# In a browser.


def test_hostile_texts_are_shown_as_they_are_and_do_nothing(opened, tmp_path):
    names = [text.replace("\0", "") for text in HOSTILE]  # with which a name is refused
    rows = [
        {"id": f"{i} {name}", "problem": text, "answer": text, "task": name[:40], "verifier": "exact"}
        for i, (text, name) in enumerate(zip(HOSTILE, names))
    ]
    texts = {row["id"]: [*HOSTILE, "<b>cut</b>…"] for row in rows}
    name = "<img src=x onerror='window.hacked = 1'>"
    store = made(tmp_path / "<b>store", name, rows, texts)
    report.run([store], str(tmp_path / "r.html"))
    page = opened(tmp_path / "r.html")
    for i, row in enumerate(rows):
        page.fill("#problem", row["id"])
        assert page.locator("#list tbody tr").count() == len(HOSTILE) + 1
        for sample in range(len(HOSTILE) + 1):
            page.locator("#list tbody tr button").nth(sample).click()
            gold, _, problem, answer = page.locator("#sample .box").all()
            assert answer.evaluate("box => box.textContent") == texts[row["id"]][sample]
            for box in (gold, problem):
                assert box.evaluate("box => box.textContent") == HOSTILE[i]
            assert (
                page.evaluate("document.querySelector('#sample img, #sample iframe, #sample script, #sample a')")
                is None
            )
    for text in HOSTILE:
        page.fill("#problem", "")
        page.fill("#search", text)
    assert page.evaluate("window.hacked") is None
    assert name in page.locator("#legend").text_content()


@pytest.mark.parametrize("policy", [True, False])
def test_the_policy_forbids_other_scripts_and_any_network(browser, page_file, tmp_path, policy):
    """If a text did break out, it could do nothing: here one is put into the page; without policy it does."""
    html = page_file.read_text()
    if not policy:
        html = re.sub("<meta http-equiv=.*>", "", html)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        hurt = f"<script>window.hacked = 1</script><img src={address}><p onclick='window.clicked = 1'>press</p>"
        (tmp_path / "r.html").write_text(html.replace("<main hidden>", f"{hurt}<main hidden>"))
        page = browser.new_page()
        page.set_default_timeout(1000 * LONG)
        page.goto((tmp_path / "r.html").as_uri(), wait_until="commit")
        page.wait_for_selector("#list tbody tr")
        page.get_by_text("press", exact=True).click()
        assert page.evaluate("[window.hacked, window.clicked]") == ([None, None] if policy else [1, 1])
        try:
            server.accept()[0].close()
            asked = True
        except TimeoutError:
            asked = False
        assert asked != policy
        page.close()


def listed(page: Page) -> list[tuple[str, int]]:
    """(model and problem, sample) of all rows of the table of samples, page by page."""
    rows = []
    while True:
        cells = "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        for problem, sample, _, model, *_ in page.locator("#list tbody tr").evaluate_all(cells):
            rows.append((model, problem, int(sample)))
        following = page.locator("#list-pager button").last
        if following.is_disabled():
            return rows
        following.click()


def expected_rows(stores: list[str], keep) -> set[tuple]:
    keys = ["model", "problem", "sample"]
    stored = pd.concat(pd.read_parquet(f"{store}/samples")[[*keys, "text"]] for store in stores)
    grades = read_all(stores)[0].merge(stored, on=keys)
    return set(grades[keep(grades)][keys].itertuples(index=False, name=None))


def test_filters_and_search_show_the_right_samples(opened, stores, page_file):
    page = opened(page_file)
    page.select_option("#outcome", label="truncated")
    rows = listed(page)
    assert len(rows) == len(set(rows)) and set(rows) == expected_rows(stores, lambda g: g["outcome"] == "truncated")
    page.get_by_role("button", name="Clear").click()
    page.select_option("#model", label="large")
    page.select_option("#task", label="t1")
    page.fill("#search", "ApPleS cHild")
    rows = listed(page)
    assert rows and set(rows) == expected_rows(
        stores, lambda g: (g["model"] == "large") & (g["task"] == "t1") & g["text"].str.contains("apples child")
    )
    page.get_by_role("button", name="Clear").click()
    page.fill("#problem", "p00")
    assert {problem for _, problem, _ in listed(page)} == {f"p00{i}" for i in range(10)}
    page.fill("#problem", "p007")
    assert {problem for _, problem, _ in listed(page)} == {"p007"}
    page.fill("#search", "no sample says this")
    assert listed(page) == [] and "No sample is like this" in page.locator("#sample").text_content()


def test_a_verdict_is_explained_beside_text_gold_and_extracted_answer(opened, tmp_path):
    row = {"id": "sum", "problem": "What is 3 + 4?", "answer": "7"}
    texts = ["3 + 4 = 8, the answer is 8", "It is 7", "Hm.", "It is 7 and so…", "12" * 6000 + " the answer is 7"]
    report.run([made(tmp_path / "a", "one", [row], {"sum": texts})], str(tmp_path / "r.html"))
    page = opened(tmp_path / "r.html")
    for number, (outcome, read, said) in enumerate(
        [
            ("wrong", "8", "What was read as its answer is not what the gold answer says"),
            ("correct", "7", "says the same as the gold answer"),
            ("no answer", "none", "No answer could be read"),
            ("truncated", "none", f"It was cut after {len(texts[3]) % 50 + 1} tokens"),
            ("correct", "7", "says the same as the gold answer"),
        ]
    ):
        article = page.locator("#sample")
        assert article.locator(".badge").text_content() == outcome
        gold, extracted, problem, answer = (box.text_content() for box in article.locator(".box").all())
        assert (gold, extracted, problem) == ("7", read, "What is 3 + 4?") and said in article.text_content()
        if number < 4:
            assert answer == texts[number]
        else:
            assert answer.startswith("1212") and "4016 characters are left out" in answer.replace(",", "")
        if outcome in ("wrong", "correct"):
            assert article.locator("mark.read").text_content() == read
        if number < 4:
            article.get_by_role("button", name="Next").click()
    assert article.get_by_role("button", name="Next").is_disabled()


def test_the_problems_are_sorted_and_lead_to_their_samples(opened, stores, page_file):
    counts = count(read_all(stores)[0])
    share = (counts["correct"] / counts["n"]).groupby(counts["problem"]).mean()
    page = opened(page_file)
    shown = [float(text.split()[0]) for text in page.locator("#matrix tbody td:last-child").all_text_contents()]
    assert shown == sorted(shown) and shown == pytest.approx((100 * share.sort_values()[:25]).tolist(), abs=0.051)
    page.locator("#matrix").get_by_role("button", name="large").click()
    page.locator("#matrix").get_by_role("button", name="large").click()
    assert page.locator("#matrix th[aria-sort=descending]").text_content() == "large"
    best = counts[counts["model"] == "large"].set_index("problem")["correct"]
    cells = page.locator("#matrix tbody tr:first-child > *").all_text_contents()
    assert best[cells[0]] == best.max() and f"{best.max()}/24" in cells
    page.locator("#matrix tbody tr:first-child td button").last.click()
    assert page.locator("#list tbody button").first.evaluate("button => button === document.activeElement")
    assert {(model, problem) for model, problem, _ in listed(page)} == {("large", cells[0])}
    page.select_option("#scope", label="t2")
    assert page.locator("#matrix-pager").text_content() == "Previous1–10 of 10Next"


def test_the_table_beside_the_curves_follows_the_slider(opened, stores, page_file):
    page = opened(page_file)
    table = passk.run(stores).set_index(["model", "task", "k"])
    ks = embedded(page_file.read_text())[0]["curves"][0]["k"]
    for steps in (0, 1, len(ks) - 2):
        k = ks[-1 - steps]
        page.locator("#k").press("End")
        for _ in range(steps):
            page.locator("#k").press("ArrowLeft")
        for model, row in zip(("small", "large"), page.locator("#legend tbody tr").all_text_contents()):
            expected = table.loc[model, "mean", k]
            assert f"{expected['estimate']:.3f}[{expected['lo']:.3f}, {expected['hi']:.3f}]" in row
    assert page.locator("#curves svg polyline").count() == 2
    page.check("#maj")
    assert page.locator("#curves svg polyline").count() == 4


def test_what_was_lost_and_gained_is_drawn(opened, page_file):
    page = opened(page_file)
    rows = [row for row in embedded(page_file.read_text())[0]["coverage"] if row["task"] == "mean"]
    row = max((row for row in rows if row["k"] <= 16), key=lambda row: row["k"])
    (text,) = page.locator("#changes-table tbody tr").all_text_contents()
    assert f"{row['lost']:.3f}[{row['lost_lo']:.3f}, {row['lost_hi']:.3f}]" in text
    lost, gained = (page.locator("#changes-table .bar span").nth(place).bounding_box()["width"] for place in (1, 2))
    assert lost / max(gained, 1e-9) == pytest.approx(row["lost"] / row["gained"], rel=0.1)


def test_it_is_of_use_with_the_keyboard_alone(opened, page_file):
    page = opened(page_file)
    page.locator("#list tbody tr button").first.focus()
    for _ in range(26):
        page.keyboard.press("ArrowDown")
    assert page.locator("#list-pager").text_content().startswith("Previous26–50")
    assert page.locator("#list .current button").evaluate("button => button === document.activeElement")
    assert page.locator("#sample .head").nth(1).text_content().count("sample 2") == 1
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.locator("#list-pager").text_content().startswith("Previous1–25")


@pytest.mark.parametrize("width", [1280, 380])
def test_the_page_is_as_wide_as_its_window_and_small(opened, page_file, width):
    page = opened(page_file, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    for image in page.locator("svg[role=img], div[role=img]").all():
        assert image.get_attribute("aria-label")


@pytest.mark.long
def test_128_000_samples_open_in_3_seconds_and_are_searched_in_a_third(browser, tmp_path):
    store = make_store(tmp_path / "big", "big", problems=500, samples=256)
    report.run([store], str(tmp_path / "r.html"))
    times = browser_times(browser, tmp_path / "r.html", cpu=True)
    print(times)
    assert 0 < times.pop("open") < 3
    times.pop("texts unpacked")
    assert 0 < max(times.values()) < 0.3, times


def of_training(path: Path) -> str:
    """A file as largek.callback writes it, of which step 20 is the best by its rule."""
    rows = [{"settings": {"ks": [1, 8], "keep": "pass@8_lo"}}]
    for step, lo in ((0, 0.1), (20, 0.4), (40, 0.3)):
        row = {"step": step, "entropy": 1.5, "truncated": 0.0, "mixed": 0.5, "mixed_lo": 0.4, "mixed_hi": 0.6}
        row |= {f"pass@{k}{end}": lo + more for k in (1, 8) for end, more in (("", 0.05), ("_lo", 0), ("_hi", 0.1))}
        rows.append(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_training_is_drawn_over_steps_without_a_store(tmp_path, browser):
    done = run("largek", "report", "--training", of_training(tmp_path / "t.jsonl"), "--output", tmp_path / "r.html")
    assert done.returncode == 0 and done.stdout.strip().endswith((tmp_path / "r.html").as_uri()), done.stderr
    page = browser.new_page()
    page.set_default_timeout(1000 * LONG)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((tmp_path / "r.html").as_uri())
    page.wait_for_selector("#trainings svg")
    assert page.locator("#trainings polyline.curve").count() == 2
    assert page.locator("#training-table tbody tr").nth(1).inner_text().split("\t")[1] == "20 (kept)"
    assert page.locator("#scores").count() == 0 and not wrong
    for words in ([], ["--training", tmp_path / "none.jsonl"], ["--training", tmp_path / "r.html"]):
        done = run("largek", "report", *words)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
