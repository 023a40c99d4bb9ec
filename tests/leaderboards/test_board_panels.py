"""Figures of plugins on the page: where they stand, and what a broken one costs."""

import re
import types

import altair
import pytest
from adaptbench import hookimpl
from adaptbench.leaderboards import page
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.figures import Panel

EVIL = "</script><script>alert(1)</script>"


def bars(title="Bars", **fields):
    data = altair.Data(values=[{"name": "a", "n": 1}, {"name": "b", "n": 2}])
    draw = lambda palette: altair.Chart(data).mark_bar(color=palette.accent).encode(x="n:Q", y="name:N")  # noqa: E731
    return Panel(title, draw, "How many.", **fields)


@pytest.fixture
def html(example, plugins):
    """The page, with figures of a plugin: name -> (what makes its panels, section)."""

    def rendered(**figures):
        def register(registry):
            for name, (panels, section) in figures.items():
                registry.figure(name, str, summary=f"what {name} shows", panels=panels, section=section)

        plugin = types.ModuleType("mine")
        plugin.register = hookimpl(register)
        assert plugins.add("mine", "a test", lambda: plugin).error == ""
        return page.render(make_board([example.directory], plugins), plugins.registry)

    return rendered


def headings(html):
    """Of sections and panels, in order, from where figures stand."""
    found = re.findall("<h[23]>(.*?)</h[23]>", html[: html.index("<h2>Overview")])
    return found[found.index("Extras") :] if "Extras" in found else []


def test_sections_stand_by_their_headings_and_figures_by_their_names(html):
    found = html(
        zebra=(lambda board: [bars("z 1"), bars("z 2")], "Extras"),
        apple=(lambda board: [bars(section.title) for section in board.sections], "Extras"),
        first=(lambda board: [bars("f")], "Zoo"),
        nothing=(lambda board: [], "Empty"),
    )
    assert headings(found) == ["Extras", "toy", "toy|hard", "z 1", "z 2", "Zoo", "f"]
    assert found.count("what apple shows") == 1
    assert "<h2>Empty<" not in found
    assert 'href="#figures-1">Extras<' in found
    assert {f"figure-zebra-{n}" for n in (1, 2)} <= set(re.findall(r'<figure id="([\w-]+)"', found))


def test_a_fold_holds_its_panels(html):
    found = html(mine=(lambda board: [bars("in sight"), bars("one", fold=EVIL), bars("two", fold=EVIL)], "Extras"))
    folded = found[found.index("<summary>&lt;/script&gt;") :].partition("</details>")[0]
    assert re.findall("<h3>(.*?)</h3>", folded) == ["one", "two"]
    assert EVIL not in found


def fails(board):
    raise ValueError(f"no {EVIL}")


def draws_nonsense(board):
    return [bars("drawn"), Panel("wrong", lambda palette: 1 / 0)]


@pytest.mark.parametrize(
    ("panels", "why"),
    [(fails, "ValueError: no &lt;/script&gt;"), (draws_nonsense, "ZeroDivisionError"), ("nowhere:f", "nowhere")],
)
def test_a_broken_figure_costs_its_own_place_only(html, panels, why):
    found = html(broken=(panels, "Extras"), good=(lambda board: [bars("good")], "Extras"))
    assert headings(found) == ["Extras", "good"]
    (note,) = re.findall('<p class="note">(.*?)</p>', found)
    assert "figure &#39;broken&#39;" in note
    assert "plugin &#39;mine&#39;" in note
    assert why in note
    assert "figure-broken" not in found
    assert EVIL not in found
