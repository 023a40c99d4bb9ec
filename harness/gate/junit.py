"""The verdict as JUnit XML, which CI systems show as tests: one test per check of a cell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from .verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, even escaped."""


def junit(verdict: Verdict) -> bytes:
    """Return the XML, in UTF-8. What failed is a ``failure``, what cannot be judged an ``error``."""
    counts = {status: sum(f.status == status for f in verdict.findings) for status in ("fail", "refused")}
    attributes = {
        "tests": str(len(verdict.findings)),
        "failures": str(counts["fail"]),
        "errors": str(counts["refused"]),
    }
    root = ET.Element("testsuites", attributes)
    suite = ET.SubElement(root, "testsuite", {"name": _text(f"adaptbench gate {verdict.suite}"), **attributes})
    for finding in verdict.findings:
        case = ET.SubElement(suite, "testcase", {"classname": _text(finding.cell), "name": finding.kind, "time": "0"})
        told = _text(f"{finding.detail}\nbase: {finding.base}\nhead: {finding.head}")
        if finding.status == "pass":
            ET.SubElement(case, "system-out").text = told
        else:
            kind = "failure" if finding.status == "fail" else "error"
            ET.SubElement(case, kind, {"type": finding.code, "message": _text(finding.detail)}).text = told
    ET.SubElement(suite, "system-out").text = _text("\n".join(verdict.notes))
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
