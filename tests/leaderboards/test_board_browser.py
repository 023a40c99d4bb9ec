"""The page in a real browser: it draws, sorts, filters, explains, prints, and makes no requests."""

import re
import types
from dataclasses import replace
from pathlib import Path

import adaptbench
import altair
import pytest
from adaptbench.harness.costing import Costing, CostRequest
from adaptbench.harness.outputs import FigureRequest
from adaptbench.harness.plugins import Plugins, load_plugins
from adaptbench.leaderboards import long_tables
from adaptbench.leaderboards import page as board_page
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.figures import Panel
from adaptbench.leaderboards.figures.costs import costs
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


@pytest.fixture
def visit(chromium, watched, tmp_path):
    """Open the board of a run, or a board that is written already; in the end it must have kept quiet."""
    opened = []

    def open_page(what, notes=(), **options):
        path = what if isinstance(what, Path) else write(what, tmp_path / "board.html", notes)
        context = chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        page = context.new_page()
        opened.append((context, watched(page), path.as_uri()))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context, seen, address in opened:
        context.close()
        assert seen.console == []
        assert seen.dialogs == []
        assert set(seen.requests) == {address}


@pytest.fixture(scope="module")
def example(shared_example, tmp_path_factory):
    """The board of the example, written once."""
    return write(shared_example, tmp_path_factory.mktemp("board") / "board.html")


def write(run, path, notes=(), plugins=None):
    plugins = plugins or Plugins()
    board = make_board([run.directory], plugins)
    path.write_text(board_page.render(replace(board, notes=tuple(notes)), plugins.registry), "utf-8")
    return path


def models(page, section="#overview"):
    return page.locator(f"{section} table.sortable").first.locator("tbody tr:visible th").all_inner_texts()


def heading(page, text):
    return page.locator("#task-1 table.sortable thead th", has_text=text)


def first_model(page):
    """The table's first row, to be waited for: a table is sorted some milliseconds after the click."""
    return page.locator("#task-1 tbody th").first


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def live_marks(page, figure):
    page.locator(f"#{figure}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{figure}.ready .live svg .mark-symbol path")
    return page.locator(f"#{figure} .live .mark-symbol path")


def test_tables_and_charts_are_there(example, visit):
    page = visit(example)
    assert models(page) == ["large", "uncounted", "wasteful", "small", "random", "hasty"]
    assert live_marks(page, "task-1-flops").count() == 3
    assert live_marks(page, "task-1-time").count() == 5
    assert page.locator("figure .still:visible").count() == page.locator("figure[id]:not(.ready)").count()


def test_a_click_sorts_and_a_second_one_turns_the_order(example, visit):
    page = visit(example)
    time = heading(page, "time per input")
    time.click()
    expect(first_model(page)).to_have_text("random")
    assert time.get_attribute("aria-sort") == "ascending"
    time.click()
    expect(first_model(page)).to_have_text("wasteful")
    assert time.get_attribute("aria-sort") == "descending"


def test_a_missing_figure_stays_last_in_either_order(example, visit):
    page = visit(example)
    flops = heading(page, "FLOPs per input")
    uncounted = {"uncounted", "random", "hasty"}
    for first in ("small", "wasteful"):
        flops.click()
        expect(first_model(page)).to_have_text(first)
        assert set(models(page, "#task-1")[3:]) == uncounted


def test_the_keyboard_sorts_too(example, visit):
    page = visit(example)
    before = models(page, "#task-1")
    heading(page, "model").locator("[tabindex='0']").focus()
    page.keyboard.press("Enter")
    expect(heading(page, "model")).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#task-1 table.sortable tbody th")).to_have_text(sorted(before))


def test_the_keyboard_reaches_the_skip_link_first_and_sees_where_it_is(example, visit):
    page = visit(example)
    page.keyboard.press("Tab")
    focused = page.evaluate("[document.activeElement.className, getComputedStyle(document.activeElement).outlineStyle]")
    assert focused == ["skip", "solid"]
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"


def test_the_filter_narrows_every_table(example, visit):
    page = visit(example)
    page.get_by_role("searchbox", name="Filter models").fill("larg")
    assert models(page) == ["large"]
    assert models(page, "#task-1") == ["large"]
    assert models(page, "#task-2") == ["large"]
    assert page.locator("#matches").inner_text() == "1 of 6"
    page.get_by_role("searchbox").fill("nothing like it")
    assert "No model matches" in page.locator("#overview tbody").first.inner_text()
    page.get_by_role("searchbox").fill("")
    assert len(models(page)) == 6


def test_a_long_table_is_shown_by_pages_and_filtered_and_sorted_as_a_whole(new_run, make, visit, monkeypatch):
    monkeypatch.setattr(long_tables, "LONG", 40)
    run = new_run()
    for number in range(41):
        scores = [float(place < number % 40) for place in range(40)]
        run.cell(f"m{number:03}+x(k=1)", scores, flops=make.flops(1000 + number), timing=None)
    page = visit(run)
    assert page.locator("#overview tbody tr").count() == page.locator("#task-1 table.sortable tbody tr").count() == 25
    time = heading(page, "FLOPs per input")
    time.scroll_into_view_if_needed()
    expect(time).to_have_class(re.compile("dt-orderable"))
    time.click()
    expect(first_model(page)).to_have_text("m000+x(k=1)")
    time.click()
    expect(first_model(page)).to_have_text("m040+x(k=1)")
    hint = page.locator("#task-1 tbody td[data-order='1040']").get_attribute("title")
    assert hint == "vision, fvcore, attention eager"
    page.get_by_role("searchbox").fill("M03")
    expect(page.locator("#overview tbody tr")).to_have_count(10)
    expect(page.locator("#task-1 table.sortable tbody tr")).to_have_count(10)
    assert page.locator("#matches").inner_text() == "10 of 41"


def test_a_point_explains_itself_when_the_mouse_rests_on_it(example, visit):
    page = visit(example)
    live_marks(page, "task-1-flops").nth(0).hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    text = page.locator("#vg-tooltip-element").inner_text()
    for part in (
        "small",
        "accuracy 60.00 [57.28, 62.66] %",
        "2.00 MFLOP per input",
        "on the Pareto frontier",
        "200 questions",
    ):
        assert part in text


def test_hostile_text_is_shown_and_not_obeyed(new_run, make, visit):
    card = make.task_card.model_copy(update={"summary": EVIL, "rule": EVIL})
    run = new_run("evil").begin(EVIL)
    fields = {"task": EVIL, "card": card, "outputs": [EVIL] * 20, "flops": make.flops(10)}
    run.cell(EVIL, make.scores(0.5, n=20), timing=run.timing(note=EVIL, what=EVIL, machine=EVIL), **fields)
    run.unfinished(EVIL)
    page = visit(run, notes=[EVIL])
    live_marks(page, "task-1-flops").nth(0).hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert EVIL in page.locator("#vg-tooltip-element").inner_text()
    page.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
    assert page.locator("body").inner_text().count(EVIL) >= 15
    page.get_by_role("searchbox").fill(EVIL)
    heading(page, "model").click()
    assert models(page) == [EVIL]
    assert page.locator("img").count() == 0
    page.wait_for_timeout(200)


def test_a_chart_of_costs_is_a_page_of_the_same_kind(visit, tmp_path):
    costing = Costing(load_plugins().registry, "llama-2-7b")
    cost = replace(costing.cost(CostRequest(8)), spec=EVIL)
    request = FigureRequest(runs=(), plugins=Plugins(), form=".html", costs=(cost,), title=EVIL)
    (tmp_path / "cost.html").write_text(costs(request), "utf-8")
    page = visit(tmp_path / "cost.html")
    page.locator("figure .live .mark-rect path").first.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert EVIL in page.locator("#vg-tooltip-element").inner_text()
    assert page.locator("h1").inner_text() == EVIL
    assert page.locator("img").count() == 0


def test_a_plugins_figure_is_drawn_and_a_broken_one_says_so(shared_example, visit, tmp_path):
    def register(registry):
        data = altair.Data(values=[{"name": EVIL, "n": 2}])
        draw = lambda palette: altair.Chart(data).mark_point(size=200).encode(x="n:Q", tooltip="name:N")  # noqa: E731
        registry.figure("mine", str, summary=EVIL, panels=lambda board: [Panel("Points", draw, EVIL)], section=EVIL)
        registry.figure("wrong", str, panels=lambda board: 1 / 0, section=EVIL)

    plugins, plugin = Plugins(), types.ModuleType("mine")
    plugin.register = adaptbench.hookimpl(register)
    assert plugins.add("mine", "a test", lambda: plugin).error == ""
    page = visit(write(shared_example, tmp_path / "board.html", plugins=plugins))
    marks = live_marks(page, "figure-mine-1")
    assert marks.count() == 1
    marks.first.hover()
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert EVIL in page.locator("#vg-tooltip-element").inner_text()
    page.get_by_role("link", name=EVIL).click()
    assert page.locator("#figures-1 h2").inner_text() == EVIL
    assert (
        "figure 'wrong' of plugin 'mine': what makes its panels failed with ZeroDivisionError"
        in page.locator("#figures-1").inner_text()
    )


def test_without_javascript_nothing_is_missing(example, visit):
    page = visit(example, java_script_enabled=False)
    assert page.locator("#overview tbody tr").count() == 8
    assert page.locator("#task-1 .sample").count() == 3
    assert page.locator("figure .still svg").count() == 4
    assert all(page.locator("figure .still svg").nth(i).is_visible() for i in range(4))
    assert not page.locator(".tools").is_visible()
    page.locator("#cards summary").first.click()
    assert page.locator("#cards dl").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_window_makes_the_page_wider_than_itself(example, visit, scheme):
    page = visit(example, color_scheme=scheme)
    for width in (1920, 1220, 768, 380):
        page.set_viewport_size({"width": width, "height": 800})
        live_marks(page, "task-2-time")
        assert overflow(page) <= 0
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(channel) for channel in re.findall(r"\d+", background)]
    assert max(channels) < 64 if scheme == "dark" else min(channels) > 192


def test_the_first_screen_says_who_wins_at_what_cost_and_how_sure_that_is(example, visit):
    page = visit(example, viewport={"width": 1220, "height": 900})
    first = page.locator(".family").first
    row = first.locator("tbody tr").first
    said = f"{first.locator('.verdict').inner_text()} {row.inner_text()}"
    for part in ("large is significantly better than every other model", "winner", "80.00 ± 2.78", "90.0 M", "1.00 ms"):
        assert part in said
    assert "+55.00 [" in said
    last = row.locator("td").last.bounding_box()
    assert last["x"] + last["width"] <= 1220
    assert last["y"] + last["height"] <= 900


def test_the_model_stays_in_sight_and_its_name_breaks_at_its_parts(new_run, make, visit):
    name = "llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l"
    run = new_run().cell(name, make.scores(0.5), flops=make.flops(10))
    page = visit(run, viewport={"width": 390, "height": 844})
    cell = page.locator("#task-1 tbody th").first
    page.locator("#task-1 .scroll").first.evaluate("e => e.scrollLeft = 400")
    assert 0 <= cell.bounding_box()["x"] < 60
    lines = cell.locator(".spec").evaluate(
        "e => { const r = document.createRange(), found = {};"
        "for (const n of e.childNodes) for (let i = 0; i < (n.length || 0); i++) {"
        "r.setStart(n, i); r.setEnd(n, i + 1); const y = Math.round(r.getBoundingClientRect().y);"
        "found[y] = (found[y] || '') + n.data[i]; } return Object.values(found); }"
    )
    assert len(lines) > 1
    assert all(line[-1] in "+(,@:=_/.-" for line in lines[:-1])


def test_charts_name_their_points_on_a_phone(example, visit):
    page = visit(example, viewport={"width": 390, "height": 844})
    live_marks(page, "task-2-flops")
    shown = "all => all.filter(e => +getComputedStyle(e).opacity > 0).map(e => e.textContent)"
    assert {"small", "large"} <= set(page.locator("#task-2-flops .live .mark-text text").evaluate_all(shown))


def test_samples_are_filtered_and_paged(shared_example, visit, tmp_path):
    page = visit(write(shared_example, tmp_path / "board.html"))
    page.locator("#task-1-samples > summary").click()
    box = page.locator("#task-1-samples")
    expect(box.locator(".sample")).to_have_count(10)
    assert box.locator(".sample").first.locator("tbody tr").count() == 5
    assert box.locator("output").inner_text() == "1 to 10 of 200"
    box.get_by_role("button", name="Next").click()
    assert box.locator("h4").first.inner_text() == "q10"
    box.get_by_label("Show").select_option("not scored")
    assert box.locator("h4").all_inner_texts() == ["q0", "q1", "q2", "q3"]
    box.get_by_label("of").select_option(label="small")
    assert box.locator("output").inner_text() == "none"
    box.get_by_label("Show").select_option("models disagree")
    assert box.locator("output").inner_text() == "none"


def test_names_without_a_blank_break_in_a_narrow_window(new_run, make, visit):
    run = new_run().cell("m" * 300, make.scores(0.5), flops=make.flops(10), task="t" * 300)
    page = visit(run, viewport={"width": 380, "height": 800})
    live_marks(page, "task-1-flops")
    assert overflow(page) <= 0


def test_the_button_changes_the_theme_and_charts_follow(example, visit):
    page = visit(example, color_scheme="light")
    marks = live_marks(page, "task-1-flops")
    colour = "e => getComputedStyle(e).fill"
    light = marks.nth(0).evaluate(colour)
    page.get_by_role("button", name="Use the dark theme").click()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    assert marks.nth(0).evaluate(colour) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_it_prints_on_white_with_the_still_images(example, visit):
    page = visit(example, color_scheme="dark")
    live_marks(page, "task-1-flops")
    page.emulate_media(media="print")
    assert page.locator("#task-1-flops .still svg").is_visible()
    assert not page.locator("#task-1-flops .live").is_visible()
    assert not page.locator(".bar").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#cards dl").first.is_visible()
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 20_000
