"""CITATION.cff says who wrote the paper, and CI runs what a newcomer runs."""

import yaml
from conftest import ROOT


def test_the_papers_authors_are_named():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = citation["references"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Kang", "Kuchnik", "Padthe", "Vlastelica", "Jia", "Wu", "Ardalani"]


def test_the_workflow_of_ci_calls_make_test():
    (job,) = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"].values()
    assert [step["run"].split()[:2] for step in job["steps"] if "run" in step] == [["make", "test"]]
