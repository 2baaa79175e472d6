"""Commands whose packages are missing say what to install."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from asr import commands

ROOT = Path(__file__).parents[1]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
BEHIND = {name: place for name, place in SCRIPTS.items() if place.startswith("asr.commands:")}
WITHOUT = "import sys; sys.modules.update(torch=None, jiwer=None, onnx=None, safetensors=None)"  # None: cannot be found


@pytest.mark.parametrize("name", BEHIND)
def test_without_its_packages_a_command_names_the_extra(name):
    place = BEHIND[name].partition(":")[2]
    code = f"{WITHOUT}; from asr import commands; sys.exit(commands.{place}())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == commands.USAGE
    assert re.fullmatch(rf"{name}: needs the package \w+, .* make setup, or .*'heed\[[\w,]+\]'\n", done.stderr)


def test_a_module_of_ours_that_is_missing_is_no_matter_of_packages():
    with pytest.raises(ModuleNotFoundError, match=r"asr\.nothing"):
        commands.run("asr-nothing", "asr.nothing", "train")


@pytest.mark.parametrize("place", SCRIPTS.values())
def test_every_command_leads_to_a_function(place):
    pytest.importorskip("torch")
    module, _, function = place.partition(":")
    assert callable(getattr(import_module(module), function))


def test_a_command_runs_what_is_behind_it(monkeypatch, capsys):
    pytest.importorskip("torch")
    monkeypatch.setattr(sys, "argv", ["asr-train", "--help"])
    with pytest.raises(SystemExit) as ended:
        commands.train()
    assert ended.value.code == 0
    assert "RECIPE" in capsys.readouterr().out
