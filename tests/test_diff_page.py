"""``ganbench diff --html``: two runs side by side on a page, as they are in the table."""

import base64
import re
import xml.etree.ElementTree as ET

import pytest

import ganbench
from ganbench.report.difference import readable


def test_two_runs_stand_side_by_side_on_a_page(craft, ganbench_cli, tmp_path):
    a = craft(tmp_path, {"torch": 2.0, "<b>": 1.0})
    b = craft(tmp_path, {"torch": 3.0, "<b>": 1.0}, versions={"torch": "<i>new"})
    path = tmp_path / "page.html"
    code, out, err = ganbench_cli("diff", a, b, "--html", path)
    assert (code, out) == (0, ""), err
    text = path.read_text()
    page = ET.fromstring(re.sub(r"<!doctype html>|<(meta|link|source|img)[^>]*>", "", text))
    for name in ("<b>", "<i>"):
        assert name not in text

    def lines(number):
        rows = page.findall(f".//table[@id='{number}']//tr")
        return [["".join(cell.itertext()) for cell in row if cell.tag in ("th", "td")] for row in rows]

    shown = readable(ganbench.diff(a, b))
    assert lines("difference") == [list(shown), *shown.to_numpy().tolist()]
    facts = {name: (one, other) for name, one, other in lines("conditions")[1:]}
    assert facts["measured"] == ("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")
    assert facts["torch"][1].startswith("<i>new")
    bold = [
        row.find("th").text
        for row in page.findall(".//table[@id='conditions']//tr")
        if row.find(".//strong") is not None
    ]
    assert bold == [name for name, (one, other) in facts.items() if one != other]
    pictures = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text)
    assert len(pictures) == 2
    for picture in pictures:
        words = [one.text for one in ET.fromstring(base64.b64decode(picture)).iter() if one.tag.endswith("text")]
        assert "Speed in B relative to A" in words
        assert {"torch", "<b>", "matmul"} <= set(words), sorted(map(str, words))
        assert "1.50" in words
    assert not re.search(r"https?:|<script", re.sub(r"data:[^\"]*", "", text))


@pytest.mark.parametrize(("arguments", "said"), [(("--html", "none/x.html"), "the folder none does not exist")])
def test_a_page_that_cannot_be_is_refused(craft, ganbench_cli, tmp_path, arguments, said):
    code, _, err = ganbench_cli("diff", craft(tmp_path), craft(tmp_path), *arguments)
    assert code == 2
    assert said in err
