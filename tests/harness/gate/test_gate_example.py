"""The example repository, through what its CI runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import adaptbench
import pytest
import yaml

ROOT = Path(adaptbench.__file__).parent
EXAMPLE = ROOT / "ci" / "example-repository"
ACTION = ROOT / "ci" / "gate"
WORKFLOWS = [ROOT / ".github" / "workflows" / "gate.yml", EXAMPLE / ".github" / "workflows" / "gate.yml"]


def git(folder, *arguments):
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The example as a repository with one commit."""
    folder = tmp_path_factory.mktemp("ci") / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Begin")
    return folder


@pytest.fixture
def action(repository, tmp_path):
    """Run the script of the action as GitHub would."""

    def run(**inputs):
        program = tmp_path / "bin" / "adaptbench"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m adaptbench "$@"\n')
        program.chmod(0o755)
        given = {"SUITE": "gate.yaml", "PLUGINS": "brightness.py\n", "JUNIT": str(tmp_path / "gate.xml")}
        github = {"RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
        path = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "ADAPTBENCH_PLUGINS": ""}
        return subprocess.run(
            ["bash", ACTION / "gate.sh"], cwd=repository, env=os.environ | path | github | given | inputs,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run


def test_a_pull_request_that_breaks_the_rule_and_doubles_the_work_is_stopped(action, repository, tmp_path):
    code = (repository / "brightness.py").read_text()
    broken = code.replace("float(parsed == sample.target)", "float(parsed is not None)")
    broken = broken.replace(
        "greys = np.stack", "[image.resize((500, 500)) for image in images]\n        greys = np.stack"
    )
    (repository / "brightness.py").write_text(broken)
    done = action(BASE="main", ARGUMENTS="--pairs 7 --processes 1 --seconds 0.02 --clock processor")
    (repository / "brightness.py").write_text(code)
    assert done.returncode == 10, done.stdout + done.stderr
    summary = (tmp_path / "summary.md").read_text()
    assert re.search(r"\| exact \| replay:answers.jsonl on light-or-dark .* FAILED: scores-changed", summary)
    assert re.search(r"\| time \| mean-brightness on light-or-dark .* (FAILED: slower|too-noisy)", summary)
    assert (tmp_path / "gate.xml").read_text().count("<failure") >= 2
    worktrees = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, text=True, check=True)
    assert len(worktrees.stdout.splitlines()) == 1


QUICKLY = "--pairs 7 --processes 1 --seconds 0.02 --clock processor --slower 1.2"


def test_a_pull_request_that_slows_the_model_is_stopped_with_one_table(action, repository):
    code = (repository / "brightness.py").read_text()
    again = "        [image.resize((600, 600)) for image in images]\n        greys = np.stack"
    (repository / "brightness.py").write_text(code.replace("        greys = np.stack", again))
    done = action(BASE="main", ARGUMENTS=QUICKLY)
    (repository / "brightness.py").write_text(code)
    assert done.returncode == 12, done.stdout + done.stderr
    headline, _, slower, *passed = [line for line in done.stdout.splitlines() if not line.startswith("  note")]
    assert headline == "gate: 1 failed of 5 checks"
    assert re.match(r"  time +mean-brightness on light-or-dark .* FAILED: slower +x", slower)
    assert sorted(line.split()[0] for line in passed) == ["accuracy", "accuracy", "exact", "exact"]


def test_a_pull_request_that_changes_nothing_passes(action, repository):
    done = action(BASE="main", ARGUMENTS=QUICKLY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate: 5 checks passed" in done.stdout


SCHEMAS = {
    "github-actions": [ACTION / "action.yml"],
    "github-workflows": [*WORKFLOWS, ROOT / ".github/workflows/compat.yml"],
}


def has_schema(schema, *paths):
    """Whether files are what GitHub's schema, as it comes with check-jsonschema, says."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("schema", SCHEMAS)
def test_github_reads_them(schema, tmp_path):
    assert has_schema(schema, *SCHEMAS[schema])
    broken = tmp_path / "broken.yml"
    broken.write_text(SCHEMAS[schema][0].read_text().replace("    runs-on:", "    run-on:").replace("using:", "used:"))
    assert not has_schema(schema, broken)


@pytest.mark.parametrize("path", [ACTION / "action.yml", *WORKFLOWS], ids=["action", "workflow", "example"])
def test_what_a_caller_says_is_never_part_of_a_script(path):
    """Inputs reach the shell as variables: a branch's name may be anything."""
    text = path.read_text()
    told = yaml.safe_load(text)
    steps = told["runs"]["steps"] if "runs" in told else next(iter(told["jobs"].values()))["steps"]
    assert steps
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


def test_every_input_that_is_used_is_declared():
    for path, declared in (
        (ACTION / "action.yml", lambda told: told["inputs"]),
        (WORKFLOWS[0], lambda told: told[True]["workflow_call"]["inputs"]),  # YAML 1.1 reads "on" as true
    ):
        text = path.read_text()
        used = set(re.findall(r"inputs\.([\w-]+)", text))
        assert used == set(declared(yaml.safe_load(text)))


def test_the_workflows_hand_the_action_what_it_takes():
    takes = set(yaml.safe_load((ACTION / "action.yml").read_text())["inputs"])
    for path in WORKFLOWS:
        steps = yaml.safe_load(path.read_text())["jobs"]["gate"]["steps"]
        (step,) = [step for step in steps if "ci/gate" in step.get("uses", "")]
        assert set(step["with"]) <= takes
