"""docs/outputs.md says what the code does."""

import re
from pathlib import Path

from client import subtitles
from client.arguments import ALL, _parser
from client.inputs import EXTENSIONS
from client.writers import WRITERS

DOC = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text(encoding="utf-8")


def test_every_format_is_told() -> None:
    assert re.findall(r"^\| `(\w+)` \|", DOC, re.M) == [*WRITERS, ALL]


def test_every_flag_told_exists() -> None:
    assert set(re.findall(r"--[a-z_]{2,}", DOC)) <= set(_parser()._option_string_actions)


def test_figures_and_extensions_are_those_of_the_code() -> None:
    assert f"by their extensions (`{' '.join(end[1:] for end in EXTENSIONS)}`)" in DOC
    for told in (
        f"two lines of {subtitles.LINE_WIDTH} characters, and {subtitles.LONGEST_MS // 1000} s of speech",
        f"a pause of {subtitles.PAUSE_MS / 1000:g} s always ends one",
        f"more than {subtitles.READ_PER_S} characters a second",
        f"for up to {subtitles.LINGER_MS / 1000:g} s after its last word",
    ):
        assert told in DOC
    assert (subtitles.LINES, subtitles.SHORTEST_MS, subtitles.PAUSE_MS / 3) == (2, 1000, 500)
