"""`adaptbench cost`, `report --table efficiency` and `doctor --cost` as a user types them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from adaptbench.harness.cli import doctor


def test_a_table_for_a_person(cli):
    done = cli(
        "cost", "llava-1.5-7b", "--text-tokens", "69", "--preset", "llm-viewer", "--hardware", "V100", "--no-count"
    )
    assert (done.status, done.err) == (0, "")
    lines = {line.split("  ")[1]: line.split() for line in done.out.splitlines()[2:]}
    assert lines["prefill"][-2:] == ["8.576", "T"]
    assert lines["prefill on V100, predicted"][-2:] == ["81.5", "ms"]
    assert lines["tokens"][1:] == ["645", "(576", "visual)"]


def test_memory_is_told_in_a_unit_that_shows_it(cli):
    told = {
        name: next(line.split()[-2:] for line in cli("cost", name, "--no-count").out.splitlines() if "memory" in line)
        for name in ("llama-2-7b", "roberta-large")
    }
    assert (told["llama-2-7b"][1], told["roberta-large"][1]) == ("GiB", "MiB")
    assert 12 < float(told["llama-2-7b"][0]) < 14
    assert 600 < float(told["roberta-large"][0]) < 800


def test_json_for_a_program_with_the_counters_beside(cli):
    done = cli("cost", "llama-2-7b", "--text-tokens", "647", "--preset", "counted", "--json")
    (cost,) = json.loads(done.out)
    assert cost["flops"] == cost["counted_flops"]
    assert cost["flops"]["prefill"] == pytest.approx(8.5994e12, rel=1e-5)


def test_budgets_and_parts(cli):
    budgets = ("--budget", "1", "--budget", "0.5")
    done = cli("cost", "llava-1.5-7b+adallava-l", *budgets, "--no-count", "--json", "--by", "module")
    whole, half = json.loads(done.out)
    for share in ("share_of_base", "share_of_all_on"):
        assert (whole[share], half[share]) == (pytest.approx(646 / 645, abs=1e-3), pytest.approx(0.5, abs=0.01))
    assert sum(whole["parts"].values()) == sum(whole["flops"].values())
    assert any("layers.31" in name for name in whole["parts"])
    assert not any("layers.16" in name and "prefill" in name for name in half["parts"])


def test_costs_at_a_size_that_is_asked(cli):
    models = ("llava-1.5-7b", "llava-1.5-7b+fastv", "llava-1.5-7b+divprune")
    done = cli("cost", *models, "--average-tokens", 128, "--no-count")
    assert done.out.splitlines()[1].split() == [
        "llava-1.5-7b", "llava-1.5-7b+fastv(keep=98)", "llava-1.5-7b+divprune(keep=128)",
    ]  # fmt: skip
    assert "note: llava-1.5-7b+fastv(keep=98): 127.9 visual tokens on average over blocks (128 asked)" in done.out
    refused = cli("cost", "llava-1.5-7b", "--flops", 0.3, "--no-count")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith(
        "error: flops 0.3: no model here has a method that can be told how many visual tokens to leave; "
    )


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("model", "{}", "hf:{}"),
        ("my model", "{}", 'hf:"{}"'),
        ("my model", '"{}"', 'hf:"{}"'),
        ("my model", "{}+layers(keep=1)", 'hf:"{}"+layers(keep=1)'),
    ],
)
def test_a_local_folder(cli, tmp_path, name, given, told):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}))
    counted = given == "{}"
    (cost,) = json.loads(cli("cost", given.format(folder), "--json", *([] if counted else ["--no-count"])).out)
    assert cost["spec"] == told.format(folder)
    assert not counted or cost["counted_flops"]["prefill"] > 0


@pytest.mark.parametrize("name", ["a+b", "a(1)", "a@0.5", "a+b(c=1)@2 d"])
@pytest.mark.parametrize("form", ["{}", "hf:{}", "{}/config.json", "{}+layers(keep=1)"])
def test_any_signs_in_a_path(cli, tmp_path, name, form):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2}))
    (cost,) = json.loads(cli("cost", form.format(folder), "--no-count", "--json").out)
    path, more = (f"{folder}/config.json", "") if "json" in form else (folder, "+layers(keep=1)" * ("keep" in form))
    assert cost["spec"] == f'hf:"{path}"{more}'


def test_config_files_and_names_in_one_table_and_one_chart(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {"model_type": "opt", "hidden_size": 64, "num_attention_heads": 4}
    Path("plain.json").write_text(json.dumps(config))
    Path("ours.json").write_text(json.dumps({"source": "somewhere", "config": config}))
    specs = ("plain.json", "ours.json", "llava-1.5-7b+fastv", "vit-b-16")
    done = cli("cost", *specs, "--hardware", "A100-80G", "--no-count", "--out", "chart.svg")
    assert (done.status, done.err) == (0, "")
    head, *rows = (re.split(r"  +", line.strip()) for line in done.out.splitlines()[1:] if "  " in line)
    assert head == ["hf:plain.json", "hf:ours.json", "llava-1.5-7b+fastv", "vit-b-16"]
    rows = {row[0]: row[1:] for row in rows}
    assert rows["vision"][:2] == rows["projector"][:2] == ["-", "-"]
    assert rows["prefill"][0] == rows["prefill"][1] != rows["prefill"][2]
    assert rows["prefill"][3] == rows["decode, a token"][3] == rows["a token on A100-80G, predicted"][3] == "-"
    chart = Path("chart.svg").read_text()
    assert all(chart.count(f">{spec}<") == 2 for spec in head)


def test_sizes_and_numbers_of_images(cli):
    def flops(*arguments):
        (cost,) = json.loads(cli("cost", *arguments, "--no-count", "--json", "--preset", "counted").out)
        return cost["visual_tokens"], cost["images"], cost["flops"]

    one, three, none = (flops("llava-1.5-7b", "--images", str(count))[2] for count in (1, 3, 0))
    assert three["vision"] == 3 * one["vision"]
    assert three["projector"] == 3 * one["projector"]
    assert set(none) == {"prefill", "head"}
    assert flops("llava-1.5-7b", "--images", "3")[:2] == (3 * 576, 3)
    assert flops("llava-1.5-7b", "--image-size", "224")[0] == 256
    assert flops("llava-1.5-7b+random-tokens(keep=144)", "--images", "2")[0] == 288


def test_several_cards_and_a_chip_that_is_too_small(cli):
    def cost(*arguments):
        done = cli("cost", "llama-2-70b", "--hardware", "H100-SXM", "--precision", "bf16", "--no-count", *arguments)
        assert (done.status, done.err) == (0, "")
        return done.out

    one, eight = cost(), cost("--tensor-parallel", "4", "--pipeline-parallel", "2")
    assert "note: it does not fit into the 80 GB of H100-SXM" in one
    assert "note" not in eight
    assert "memory of a card, bf16" in eight
    (row,) = json.loads(cost("--tensor-parallel", "8", "--json"))
    assert (row["tensor_parallel"], row["pipeline_parallel"]) == (8, 1)


def test_a_preset_takes_the_numbers_of_its_tool(cli):
    def seconds(*arguments):
        (row,) = json.loads(cli("cost", "llama-2-7b", "--hardware", "H100-SXM", "--no-count", "--json", *arguments).out)
        return row["predicted_seconds"]["H100-SXM"]["token"]

    by_tool, by_maker = seconds("--preset", "llm-viewer"), seconds("--preset", "counted")
    assert by_tool / by_maker == pytest.approx(3350 / 3072, rel=0.01)


def test_the_size_that_a_processor_makes(cli, tmp_path):
    config = {"model_type": "dinov2", "hidden_size": 64, "num_attention_heads": 4, "image_size": 56}
    (tmp_path / "config.json").write_text(json.dumps(config))
    crops = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}, "do_center_crop": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(crops))
    told, asked = (
        json.loads(cli("cost", str(tmp_path), "--json", *arguments).out)[0]
        for arguments in ((), ("--image-size", "28"))
    )
    assert "its processor makes 28 x 28 of them: --image-size 28" in told["assumed"][0]
    assert not asked["assumed"]
    assert asked["counted_flops"]["vision"] < told["counted_flops"]["vision"] / 2


@pytest.mark.parametrize(
    ("ending", "starts"), [("svg", b"<svg"), ("PDF", b"%PDF"), ("png", b"\x89PNG"), ("html", b"<!doctype")]
)
def test_a_chart_file(cli, tmp_path, ending, starts):
    out = tmp_path / f"chart.{ending}"
    arguments = ("--budget", "1", "--budget", "0.6", "--hardware", "V100", "--out", str(out))
    done = cli("cost", "llava-1.5-7b+adallava-l", *arguments)
    assert (done.status, done.err, done.out.splitlines()[-1]) == (0, "", str(out))
    assert out.read_bytes().startswith(starts)


def test_attention_as_one_kernel_or_as_three(cli):
    def seconds(*arguments):
        (cost,) = json.loads(
            cli("cost", "llama-2-7b", "--hardware", "V100", "--text-tokens", "900", "--json", *arguments).out
        )
        return cost["attention"], cost["predicted_seconds"]["V100"]["prefill"]

    assert seconds() == seconds("--attention", "fused")
    assert seconds()[1] < seconds("--attention", "eager")[1]
    assert seconds("--preset", "llm-viewer") == seconds("--preset", "llm-viewer", "--attention", "eager")


def test_a_known_architecture_is_costed_without_torch():
    code = """
import sys
from pathlib import Path
from adaptbench.harness.cli import main
sys.argv = ["adaptbench", "cost", "llama-2-70b", "--text-tokens", "640"]
try:
    main()
except SystemExit as done:
    status = done.code or 0
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]  # not the parent's, as rusage has it
print(status, int(peak) < 2**20, {"torch", "transformers"} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "prefill, counted  88.691 T" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 True set()"


@pytest.mark.parametrize(
    "arguments",
    [
        ("no/such-model",),
        ("llava-1.5-7b+adallava-l", "--budget", "0"),
        ("llava-1.5-7b+adallava-l", "--budget", "1.2"),
        ("llava-1.5-7b", "--text-tokens", "-1"),
        ("llava-1.5-7b", "--hardware", "V1000"),
        ("llava-1.5-7b", "--preset", "llm-viewr"),
        ("llava-1.5-7b", "--by", "layer"),
        ("llava-1.5-7b", "--precision", "fp61"),
        ("llava-1.5-7b", "--attention", "flash"),
        ("llava-1.5-7b", "--out", "chart.bmp"),
        ("llava-1.5-7b", "--out", "chart"),
        ("llava-1.5-7b", "--visual-tokens", "-1"),
        ("llava-1.5-7b", "--batch", "0"),
        ("llava-1.5-7b", "--images", "-1"),
        ("llava-1.5-7b", "--precision", "bf16", "--hardware", "V100"),
        ("llava-1.5-7b", "--tensor-parallel", "3"),
        ("llava-1.5-7b", "--pipeline-parallel", "0"),
        ("llava-1.5-7b", "--image-size", "0"),
        ("llava-1.5-7b", "--image-size", "5"),
        ("llama-2-7b", "--image-size", "224"),
        ("llama-2-7b", "no-such.json"),
        ("llava-1.5-7b+layers(keep=many)",),
        ("llava-1.5-7b+fastv(keep=-200)",),
        ("llava-1.5-7b+adallava-l@0.3",),
        ("tiny-llava+fastv(k=11)",),
        ("pixels",),
    ],
)
def test_bad_input_is_one_line_and_status_2(cli, arguments):
    done = cli("cost", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_a_model_without_a_closed_form_is_priced_from_its_modules(cli, tmp_path):
    config = {"model_type": "mamba", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 50, "state_size": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = cli("cost", str(tmp_path), "--json")
    assert (done.status, done.err) == (0, "")
    (row,) = json.loads(done.out)
    assert row["flops"] == row["counted_flops"]
    assert row["decode_flops"] > 0
    assert "no closed form" in row["assumed"][0]


def test_a_model_type_that_transformers_does_not_know(cli, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mystery", "hidden_size": 64}))
    done = cli("cost", str(tmp_path))
    assert (done.status, done.out) == (2, "")
    assert "mystery" in done.err
    assert done.err.count("\n") == 1


def test_the_published_table_beside_ours(cli):
    done = cli("report", "--table", "efficiency")
    assert (done.status, done.err) == (0, "")
    assert sum(line.startswith("| ") for line in done.out.splitlines()) == 2 + 35
    assert json.loads(cli("report", "--table", "efficiency", "--json").out)[0]["TFLOPs"] == 8.6
    assert "did you mean 'efficiency'" in cli("report", "--table", "eficiency").err


def test_the_cost_engine_checks_itself(cli, monkeypatch):
    """Two architectures here; `test_recorded_counts` traces them all."""
    monkeypatch.setattr(doctor, "_CHECKED", ("mistral-7b", "roberta-large"))
    done = cli("doctor", "--cost")
    assert done.status == 0, done.out
    assert all(line.startswith("  ok") for line in done.out.splitlines())
    assert "Mistral" in done.out


def test_a_measured_prefill(cli, tmp_path):
    config = {
        "model_type": "llama",
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 99,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    measured = ("--text-tokens", "128", "--measure", "--no-count", "--json")
    (cost,) = json.loads(cli("cost", str(tmp_path), *measured).out)
    first, following = cost["measured"]
    assert (first["what"], following["what"]) == ("prefill of 128 tokens", "token after 128")
    assert 0 < following["q1"] <= following["median"] <= following["p95"]
    assert first["median"] > following["median"]
    refused = cli("cost", "llava-1.5-7b+fastv", "--measure", "--no-count")
    assert (refused.status, refused.err.count("whole layers")) == (2, 1)
    blind = cli("cost", "vit-b-16", "--measure", "--no-count")
    assert (blind.status, blind.err.count("--measure times language models, and vit-b-16 has none")) == (2, 1)
    large = cli("cost", "llama-2-70b", "--measure", "--no-count")
    assert (large.status, large.err.count("GiB are free")) == (2, 1)
