"""The README's Python runs as it stands, against a server with the shipped model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-m", "server.main", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as server:
        yield server.stdout.readline().split()[2]
        server.terminate()


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_python_examples_print_words(example, address):
    code = example.replace("localhost:50051", address)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search("Dashwood|Go forward", done.stdout)


def test_there_are_examples():
    assert len(EXAMPLES) >= 2


def test_every_command_of_ours_in_the_readme_exists():
    scripts = (ROOT / "pyproject.toml").read_text()
    for command in set(re.findall(r"\.venv/bin/(asr-[\w-]+)", README)):
        assert f"\n{command} = " in scripts


def test_every_make_target_in_the_readme_exists():
    environment = {**os.environ, "MAKEFLAGS": ""}
    listed = subprocess.run(
        ["make", "help"], capture_output=True, text=True, cwd=ROOT, check=True, env=environment
    ).stdout
    for target in set(re.findall(r"^ +make (\w+)", README, re.M)):
        assert re.search(rf"^{target}\b", listed, re.M), target
