"""Pages under axe-core: no violation, light and dark, on a phone and on a desk."""

import pytest
from adaptbench.harness.outputs import FOLDER, FigureRequest, ReportRequest
from adaptbench.leaderboards.comparing import comparison
from adaptbench.leaderboards.figures.pareto import pareto
from adaptbench.leaderboards.history import history
from adaptbench.leaderboards.leaderboard import leaderboard
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(new_shared_run, make, module_plugins, tmp_path_factory):
    """A page of each kind, by name."""
    run, folder = new_shared_run("swept"), tmp_path_factory.mktemp("pages")
    for step, budget in enumerate((0.5, 1.0)):
        for seed, model in enumerate(("vit", "vit+layers(keep=3)")):
            scores = make.scores(0.5 + 0.1 * step, noise=0.05, seed=seed)
            run.cell(model, scores, budget=budget, flops=make.flops(1_000_000 * (1 + step + seed)))
    run.cell("random", make.scores(0.2, noise=0.3, seed=5), model_card=make.baseline_card())
    run.unfinished("slow", task="toy|hard")
    asked = {"runs": (run.directory,), "plugins": module_plugins}
    found = {
        "board": leaderboard(ReportRequest(**asked, form=".html")),
        "comparison": comparison(ReportRequest(**asked, form=".html"), baseline="vit", candidate="vit+layers(keep=3)"),
        "history": history(ReportRequest(**asked, form=".html")),
        "figure": pareto(FigureRequest(**asked, form=".html")),
    }
    for name, content in found.items():
        (folder / f"{name}.html").write_text(content, "utf-8")
    for path, content in leaderboard(ReportRequest(**asked, form=FOLDER)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return {path.stem: path for path in folder.glob("*.html")}


def violations(page):
    """Each rule that is broken, with the first element that breaks it."""
    page.evaluate("document.querySelectorAll('details').forEach((fold) => (fold.open = true))")
    page.wait_for_function("document.querySelectorAll('figure[id]:not(.ready)').length === 0 || scrollBy(0, 600)")
    found = Axe().run(page).response["violations"]
    return [(rule["id"], rule["nodes"][0]["html"]) for rule in found]


@pytest.mark.parametrize("name", ["board", "comparison", "history", "figure", "index", "toy"])
def test_axe_finds_nothing(pages, chromium, name):
    for width, theme in ((390, "light"), (1280, "dark")):  # contrasts do not depend on the width
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True, reduced_motion="reduce"
        )
        page = context.new_page()
        page.goto(pages[name].as_uri())
        assert violations(page) == [], (width, theme)
        context.close()
