"""How long `largek report` takes for 128,000 samples, and the browser to open, filter and search the page.

    python benchmarks/report.py

The samples are made, not sampled: words and sums of 200 to 2000 characters, graded by the verifier `math`. Times in the
browser are its own clock's, from the start of the navigation, or from the input, to the next paint after the table of
samples was drawn. Needs a Chromium.
"""

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from largek import grade, report
from largek.store import open_store

WORDS = (
    "so then we have the number of apples that each child gets times total price hours left first second add both "
    "sides divide by half rest remaining therefore because if let be equal to sum product minus plus which means per "
    "day week miles check again wait actually other group boxes red blue twice more than less fewer cost spends sells"
)

# when the table of samples was first on screen
WATCH = """
window.opened = new Promise((resolve) =>
  new MutationObserver((_, observer) => {
    if (!document.querySelector("#list tbody tr")) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() / 1000)));
  }).observe(document, {childList: true, subtree: true}));
"""
# from an input to the next paint
ACT = """
([id, value]) => new Promise((resolve) => {
  const start = performance.now();
  const field = document.getElementById(id);
  field.value = value;
  field.dispatchEvent(new Event("input", {bubbles: true}));
  requestAnimationFrame(() => setTimeout(() => resolve((performance.now() - start) / 1000)));
})
"""


def make_store(folder: Path, name: str, problems: int = 500, samples: int = 256) -> str:
    """A graded store. The name decides the answers; problems are the same for all, and of all degrees of hardness."""
    rng, words = random.Random(name), WORDS.split()
    rows = [
        {"id": f"p{i:03}", "task": f"t{i % 4}", "split": "all", "answer": str(3 * i), "verifier": "math",
         "problem": f"What is 3 times {i}? " + " ".join(random.Random(i).choices(words, k=30))}
        for i in range(problems)
    ]  # fmt: skip
    how = {"name": name, "engine": "none", "temperature": 1.0, "top_p": 1.0, "max_tokens": 440, "seed": 0}
    with open_store(folder, how, [row | {"samples": samples} for row in rows]) as store:
        for row in rows:
            chance = rng.betavariate(0.5, 1.0)
            where = {"model": name, "task": row["task"], "split": "all", "problem": row["id"], "entropy": 0.5}
            records = []
            for index in range(samples):
                length = int(rng.triangular(200, 2000, 500))
                text = " ".join(rng.choices(words, k=length // 5))[: length - 30]
                answer = row["answer"] if rng.random() < chance else rng.randrange(1000)
                finish = "length" if length >= 1760 else "stop"
                text += f" {rng.randrange(100)} so the answer is \\boxed{{{answer}}}."
                record = {
                    "sample": index,
                    "text": text,
                    "tokens": min(length // 4, 440),
                    "finish": finish,
                    "seed": index,
                }
                records.append(where | record | {"logprob": -5.0})
            store.append(records)
    grade.run(str(folder))
    return str(folder)


def browser_times(browser: Browser, page_file: Path, cpu: bool = False) -> dict[str, float]:
    """Seconds to open the page and, once all its texts are unpacked, for a filter and for searches; `cpu`: CPU time of
    the page's own thread, which other work on the machine does not lengthen."""
    context = browser.new_context(offline=True)
    context.set_default_timeout(0)
    page = context.new_page()
    page.add_init_script(WATCH)
    tools = context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def on_cpu() -> float:
        return {each["name"]: each["value"] for each in tools.send("Performance.getMetrics")["metrics"]}["TaskDuration"]

    page.goto(page_file.as_uri())
    opened = page.evaluate("window.opened")
    times = {"open": on_cpu() if cpu else opened}
    page.wait_for_selector("script.texts", state="detached")
    times["texts unpacked"] = page.evaluate("performance.now() / 1000")
    for what, field, value in (
        ("filter by outcome", "outcome", "1"), ("filter by problem", "problem", "p07"), ("clear", "problem", ""),
        ("search a frequent word", "search", "apples"), ("search a rare one", "search", "apples children 7 so"),
    ):  # fmt: skip
        before = on_cpu()
        took = page.evaluate(ACT, [field, value])
        times[what] = on_cpu() - before if cpu else took
    context.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=256)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store, output = (
            make_store(Path(folder, "made"), "made", args.problems, args.samples),
            Path(folder, "report.html"),
        )
        start = time.monotonic()
        report.run([store], str(output))
        print(f"built in {time.monotonic() - start:.1f} s, {output.stat().st_size / 1e6:.1f} MB")
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=program)
        for what, seconds in browser_times(browser, output).items():
            print(f"{what:24} {seconds:6.3f} s")
        browser.close()


if __name__ == "__main__":
    main()
