"""What shares a chart, what is on the frontier, and how it is drawn."""

import xml.etree.ElementTree as ET

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.leaderboards import axes, charts, labels
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.frame import HEIGHT, NARROW, WIDTH, frame, names
from adaptbench.leaderboards.leaderboard import leaderboard
from adaptbench.leaderboards.wording import shown
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def section(plugins):
    return lambda run: make_board([run.directory], plugins).sections[0]


@pytest.fixture
def priced(new_run, make, section):
    """Make a section of models with a FLOP count and a mean."""

    def priced_section(**models):
        run = new_run()
        for seed, (name, (cost, mean)) in enumerate(models.items(), 1):
            run.cell(
                name, make.scores(mean, noise=0.1, seed=seed), flops=make.flops(cost), timing=run.timing(cost * 1e-6)
            )
        return section(run)

    return priced_section


def kinds(plot):
    return {point.standing.name: point.kind for point in plot.points}


def test_points_are_on_the_frontier_dominated_or_left_open(priced):
    plot = axes.flops_plot(priced(cheap=(10, 0.5), good=(20, 0.8), worse=(30, 0.6), close=(40, 0.799)))
    assert kinds(plot) == {"cheap": "frontier", "good": "frontier", "worse": "dominated", "close": "open"}


def test_a_model_is_not_dominated_by_a_better_one_that_costs_more(priced):
    plot = axes.flops_plot(priced(a=(10, 0.6), b=(20, 0.599), c=(30, 0.9)))
    assert kinds(plot) == {"a": "frontier", "b": "open", "c": "frontier"}


def test_baselines_stand_in_the_chart_and_not_on_its_frontier(new_run, make, section):
    run = new_run().cell("random", make.scores(0.9), flops=make.flops(1), model_card=make.baseline_card())
    run.cell("a", make.scores(0.5), flops=make.flops(10))
    assert kinds(axes.flops_plot(section(run))) == {"random": "baseline", "a": "frontier"}


def test_only_one_flop_convention_is_drawn_and_the_others_are_named(new_run, make, section):
    run = new_run().cell("a", make.scores(0.5), flops=make.flops(10)).cell("b", make.scores(0.6), flops=make.flops(20))
    run.cell("c", make.scores(0.7), flops=make.flops(5, counter="closed form")).cell("d", make.scores(0.8))
    run.cell("e", make.scores(0.8), partial="--sample 200", flops=make.flops(1))
    plot = axes.flops_plot(section(run))
    assert kinds(plot) == {"a": "frontier", "b": "frontier"}
    assert plot.left_out == {
        "FLOPs counted under another convention: FLOP, vision, closed form": ["c"],
        "FLOPs not counted: the model is not a torch module": ["d"],
        "partial: --sample 200": ["e"],
    }


def test_only_times_of_one_machine_and_batch_size_are_drawn(new_run, make, section):
    run = new_run().cell("a", make.scores(0.5)).cell("b", make.scores(0.6))
    run.cell("gpu", make.scores(0.7), timing=run.timing(machine="Other CPU", device="cuda"))
    run.cell("single", make.scores(0.7), timing=run.timing(inputs=1)).cell("quick", make.scores(0.7), timing=None)
    plot = axes.time_plot(section(run))
    assert set(kinds(plot)) == {"a", "b"}
    assert plot.left_out == {
        "timed otherwise: forward, Other CPU, cuda, 64 inputs at once": ["gpu"],
        "timed otherwise: forward, Test CPU, 2 cores, cpu, 1 inputs at once": ["single"],
        "not timed": ["quick"],
    }
    assert plot.points[0].cost.value == pytest.approx(0.001)


def test_times_of_different_calls_share_no_chart(new_run, make, section):
    run = new_run().cell("a", make.scores(0.5)).cell("b", make.scores(0.5))
    run.cell("c", make.scores(0.6), timing=run.timing(what="embed() of 64 images"))
    plot = axes.time_plot(section(run))
    assert set(kinds(plot)) == {"a", "b"}
    assert plot.left_out == {"timed otherwise: embed(), Test CPU, 2 cores, cpu, 64 inputs at once": ["c"]}
    assert [plot.name for plot in axes.plots(section(run))] == ["flops", "time"]


def test_all_are_timed_end_to_end_and_modules_have_a_chart_of_their_own(new_run, make, section):
    run = new_run()
    whole = {"what": "embed() of 64 images"}
    run.cell("module", make.scores(0.5), timing=run.timing(0.032), end_to_end=run.timing(0.064, **whole))
    run.cell("plain", make.scores(0.6), timing=run.timing(0.128, **whole))
    found = section(run)
    time, alone = axes.plots(found)[1:]
    assert {point.standing.name: point.cost.value for point in time.points} == {"module": 0.001, "plain": 0.002}
    assert {point.standing.name: point.cost.value for point in alone.points} == {"module": 0.0005}
    assert alone.left_out == {"no module of its own was timed": ["plain"]}
    assert "embed()" in time.axis
    assert "forward" in alone.axis


def test_a_limited_run_is_drawn_and_not_ranked(new_run, make, section):
    run = new_run()
    for name, mean, cost in (("a", 0.5, 10), ("b", 0.6, 20)):
        run.cell(name, make.scores(mean)[:12], flops=make.flops(cost), partial="--limit 12", samples_digest="1b" * 32)
    found = section(run)
    assert found.partial == "partial: --limit 12"
    assert kinds(axes.flops_plot(found)) == {"a": "frontier", "b": "frontier"}
    assert {standing.rank for standing in found.standings} == {"–"}
    run.cell("whole", make.scores(0.7), flops=make.flops(5))
    assert kinds(axes.flops_plot(section(run))) == {"whole": "frontier"}


def test_the_axis_of_a_share_ends_where_shares_end(new_run, make, section):
    run = new_run().cell("a", [1.0] * 190 + [0.0] * 10, flops=make.flops(10))
    run.cell("b", [0.0] * 190 + [1.0] * 10, flops=make.flops(20))
    shape = frame(axes.flops_plot(section(run)))
    assert (shape.bottom, shape.top) == (0, 100)


def test_names_are_placed_for_a_narrow_window_too(priced):
    plot = axes.flops_plot(priced(a=(10, 0.5), b=(500, 0.9)))
    assert all(names(plot, frame(plot), NARROW).values())
    values = charts.page_spec(plot)["data"]["values"]
    assert {value["narrow"]["text"] for value in values} == {"a", "b"}


@pytest.mark.parametrize(("costs", "log"), [((10, 40), False), ((10, 100), True), ((0, 100), False)])
def test_the_axis_is_logarithmic_where_the_spread_wants_it(priced, costs, log):
    plot = axes.flops_plot(priced(a=(costs[0], 0.5), b=(costs[1], 0.6)))
    spec = charts.page_spec(plot)
    scale = next(layer["encoding"]["x"]["scale"] for layer in spec["layer"] if "x" in layer["encoding"])
    assert scale["type"] == ("log" if log else "linear")
    assert scale["domain"][0] <= costs[0] < costs[1] <= scale["domain"][1]


def test_points_stay_inside_the_frame_and_up_is_better(priced, new_run, make, section):
    plot = axes.flops_plot(priced(a=(10, 0.5), b=(500, 0.6), c=(70, 0.1)))
    shape = frame(plot)
    where = {p.standing.name: (shape.x(p.cost.value), shape.y(p.score)) for p in plot.points}
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in where.values())
    assert where["b"][1] < where["a"][1] < where["c"][1]
    card = make.task_card.model_copy(update={"metrics": (make.metric(name="loss", unit="", better="lower"),)})
    run = new_run("lower").cell("a", make.scores(0.5), card=card, flops=make.flops(1))
    plot = axes.flops_plot(section(run.cell("b", make.scores(0.7), card=card, flops=make.flops(2))))
    shape = frame(plot)
    assert shape.y(plot.points[0].score) < shape.y(plot.points[1].score)
    assert kinds(plot) == {"a": "frontier", "b": "dominated"}


def test_a_chart_of_one_point_has_a_frame(priced, new_run, make, section):
    run = new_run("flat").cell("a", [0.5] * 20, flops=make.flops(0))
    svg = charts.svg(charts.page_spec(axes.flops_plot(section(run))))
    assert "NaN" not in svg
    assert ">a<" in svg


def test_where_no_answer_is_right_the_axis_goes_up_from_zero(new_run, make, section):
    run = new_run().cell("a", [0.0] * 20, flops=make.flops(5))
    plot = axes.flops_plot(section(run))
    shape = frame(plot)
    assert -2 < shape.bottom < 0 == plot.points[0].score < plot.points[0].high < shape.top


def test_the_budgets_of_a_model_are_joined(new_run, make, section):
    run = new_run().cell("one", make.scores(0.5), flops=make.flops(5))
    for budget in (0.5, 0.7, 1.0):
        run.cell("many", make.scores(budget / 2), budget=budget, flops=make.flops(int(10 * budget)))
    curve = charts.page_spec(axes.flops_plot(section(run)))["layer"][0]
    assert {value["name"] for value in curve["data"]["values"]} == {"many@0.5", "many@0.7", "many"}
    assert curve["mark"]["type"] == "line"


def test_the_values_of_an_option_are_joined(new_run, make, section):
    run = new_run().cell("one", make.scores(0.9), flops=make.flops(12))
    for r in (0.25, 0.5, 0.75):
        run.cell(f"one+fastv(r={r})", make.scores(1 - r), flops=make.flops(int(12 - 8 * r)))
    curve = charts.page_spec(axes.flops_plot(section(run)))["layer"][0]
    assert [(value["line"], value["cost"]) for value in curve["data"]["values"]] == [
        ("one+fastv(r=...)", cost) for cost in (6, 8, 10)
    ]


def test_long_names_are_cut_and_kept_whole_for_the_tooltip(new_run, make, section):
    name = "llava-1.5-7b+fastv(k=2,r=0.5)+adallava-l"
    plot = axes.flops_plot(section(new_run().cell(name, make.scores(0.5), flops=make.flops(5))))
    svg = charts.svg(charts.page_spec(plot))
    assert ">llava-1.5-7b…5)+adallava-l<" in svg
    values = charts.page_spec(plot)["data"]["values"]
    assert values[0]["name"] == name


@given(
    st.lists(st.tuples(st.floats(0, 440), st.floats(0, 250), st.text("abc", min_size=1, max_size=26)), max_size=12),
    st.lists(st.tuples(st.floats(0, 400), st.floats(0, 250), st.floats(0, 400)), max_size=5),
)
def test_names_cover_nothing(spots, lines):
    points = [labels.Spot(*spot) for spot in spots]
    drawn = [labels.Box(left, y, left + length, y) for left, y, length in lines]
    chosen = labels.place(points, drawn, 440, 250)
    boxes = [labels.box(point, side) for point, side in zip(points, chosen, strict=True) if side]
    for number, box in enumerate(boxes):
        assert min(box.left, box.top, 440 - box.right, 250 - box.bottom) >= 0
        assert not any(box.meets(other) for other in boxes[:number])
        assert not any(box.left < point.x < box.right and box.top < point.y < box.bottom for point in points)
        assert not any(box.meets(line) for line in drawn)


def test_a_lone_point_is_named_beside_it(priced):
    plot = axes.flops_plot(priced(a=(10, 0.5)))
    assert names(plot, frame(plot))["a"] is not None


def test_hostile_names_are_text_in_the_image(new_run, make, section):
    name = "<script>alert(1)</script>&\"'"
    plot = axes.flops_plot(section(new_run().cell(name, make.scores(0.5), flops=make.flops(5))))
    image = ET.fromstring(charts.svg(charts.page_spec(plot)))
    tags = {element.tag.partition("}")[2] for element in image.iter()}
    assert tags <= {"svg", "g", "path", "line", "text", "rect", "clipPath", "defs", "tspan"}
    assert shown(name, 26) in "".join(image.itertext())


def test_files_hold_the_charts_of_every_task(example, write, tmp_path):
    text = "".join(ET.parse(write(leaderboard, tmp_path / "board.svg", example)).getroot().itertext())
    assert all(word in text for word in ("toy|hard", "on the Pareto frontier", "FLOPs per input", "time per input"))
    assert write(leaderboard, tmp_path / "board.pdf", example).read_bytes().startswith(b"%PDF-")


def test_without_any_cost_there_is_nothing_to_draw(new_run, make, write, tmp_path):
    run = new_run().cell("a", make.scores(0.5), timing=None)
    with pytest.raises(UserError, match=r"nothing to draw"):
        write(leaderboard, tmp_path / "board.svg", run)
    assert not (tmp_path / "board.svg").exists()
