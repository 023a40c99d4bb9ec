"""A verdict: its exit code, its table, its JUnit XML - whatever the texts in it."""

from xml.etree import ElementTree as ET

import pytest
from adaptbench.harness.gate.junit import junit
from adaptbench.harness.gate.summary import markdown, text
from adaptbench.harness.gate.verdict import Finding, Verdict

EVIL = "a|b`c` <script>\x00\x07\ud800\u202e\n| --- |\n=1+1"


def finding(kind="exact", status="pass", code="same", cell="pixels on digits", **told):
    return Finding(kind=kind, cell=cell, status=status, code=code, **told)


FAILED = {
    "exact": finding("exact", "fail", "flops-changed"),
    "accuracy": finding("accuracy", "fail", "accuracy-lost"),
    "time": finding("time", "fail", "slower"),
    "refused": finding("time", "refused", "too-noisy"),
}


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ((), 0),
        (("exact",), 10),
        (("accuracy",), 11),
        (("time",), 12),
        (("refused",), 13),
        (("time", "accuracy"), 11),
        (("refused", "time"), 12),
    ],
)
def test_the_exit_code_is_that_of_the_first_kind_that_failed(names, code):
    verdict = Verdict(suite="s", findings=(finding(), *(FAILED[name] for name in names)))
    assert verdict.exit_code == code


def test_the_table_begins_with_what_does_not_pass():
    verdict = Verdict(suite="s", findings=(finding(), FAILED["refused"], FAILED["time"]))
    lines = text(verdict).splitlines()
    assert lines[0] == "s: 1 failed, 1 cannot be judged of 3 checks"
    assert [word for line in lines[2:] for word in ("slower", "too-noisy", "same") if word in line] == [
        "slower", "too-noisy", "same",
    ]  # fmt: skip


def test_markdown_keeps_its_columns_whatever_the_texts():
    verdict = Verdict(suite=EVIL, findings=(finding(cell=EVIL, detail=EVIL, base=EVIL),), notes=(EVIL,))
    rows = [line for line in markdown(verdict).splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert {row.replace(r"\|", "").count("|") for row in rows} == {7}
    assert "<script>" not in markdown(verdict)


def test_a_summary_fits_into_what_github_keeps():
    many = tuple(finding(cell=f"model-{i}", detail="x" * 1000) for i in range(2000))
    page = markdown(Verdict(suite="s", findings=(*many, FAILED["time"])))
    assert len(page.encode()) < 2**20
    assert "slower" in page
    assert " more rows are left out" in page


def test_junit_is_xml_whatever_the_texts():
    verdict = Verdict(suite=EVIL, findings=(finding(cell=EVIL, detail=EVIL), *FAILED.values()), notes=(EVIL,))
    root = ET.fromstring(junit(verdict))
    assert root.attrib == {"tests": "5", "failures": "3", "errors": "1"}
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == ["exact", "exact", "accuracy", "time", "time"]
    assert [f.get("type") for f in root.iter("failure")] == ["flops-changed", "accuracy-lost", "slower"]
    assert [f.get("type") for f in root.iter("error")] == ["too-noisy"]


def test_a_verdict_can_be_read_again():
    verdict = Verdict(suite="s", findings=tuple(FAILED.values()), notes=("n",))
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
