import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from client import Word
from client.alignments import AlignedSegment, word_of_token
from client.recording import Recording, pcm
from client.report import report

Writes = Callable[..., Path]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</script><script>document.title='taken'</script><!-- <b>&amp; \"'\u2028 你"


def segment(texts: tuple[str, ...] = (" one", " two"), start_s: float = 0.0) -> AlignedSegment:
    """A word of half a second for each text, of one token that looks at its middle."""
    weights = np.zeros((len(texts), 25 * len(texts)), np.float32)
    for number, row in enumerate(weights):
        row[25 * number + 12 : 25 * number + 14] = (0.8, 0.2)
    return AlignedSegment(
        start_s=start_s,
        frame_hop_s=0.02,
        token_ids=tuple(range(10, 10 + len(texts))),
        pieces=texts,
        weights=weights,
        words=tuple(Word(text, start_s + n / 2, start_s + (n + 1) / 2, 0.75) for n, text in enumerate(texts)),
    )


class Page(HTMLParser):
    """What a browser makes of it, as far as a parser without one can tell."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(content.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self) -> Any:
        return json.loads(self.texts["script"][0])

    @property
    def audio(self) -> tuple[str, bytes]:
        (audio,) = self.attributes("audio")
        kind, content = re.fullmatch(r"data:([a-z/]+);base64,(.*)", audio["src"] or "").groups()
        return kind, base64.b64decode(content, validate=True)


def test_the_page_holds_words_tokens_and_sound(recording: Writes) -> None:
    (got,) = Page(report(recording(seconds=1.0), [segment()])).data["segments"]
    assert got["words"] == [
        {"text": " one", "start": 0.0, "end": 0.5, "probability": 0.75},
        {"text": " two", "start": 0.5, "end": 1.0, "probability": 0.75},
    ]
    assert got["tokens"] == [
        {"label": "one", "word": 0, "offset": 12, "weights": [204, 51]},
        {"label": "two", "word": 1, "offset": 37, "weights": [204, 51]},
    ]
    assert (got["start"], got["end"], got["hop"], got["frames"]) == (0.0, 1.0, 0.02, 50)
    sound = got["sound"]
    levels = np.frombuffer(base64.b64decode(sound["levels"]), np.uint8).reshape(sound["bands"], sound["steps"])
    assert levels.max() > 200
    assert levels.mean(axis=1).argmax() < 15  # a hum of 220 Hz, and the first row is the lowest band
    assert sound["end"] == 1.0


def test_the_page_asks_nothing_of_the_network(recording: Writes) -> None:
    content = report(recording(seconds=1.0), [segment()])
    page = Page(content)
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert tag == "audio" or not {"src", "href", "srcset", "data", "action"} & attributes.keys(), tag
    text = re.sub(r'src="data:[^"]*"', "", content.decode())
    assert not re.search(r"https?:|//\w+\.|\burl\(|\bimport\b|\bfetch\(|XMLHttpRequest|WebSocket", text)
    (policy,) = (meta["content"] for meta in page.attributes("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in str(policy)


def test_text_and_names_are_data_whatever_they_hold(recording: Writes) -> None:
    plain = Page(report(recording(seconds=1.0), [segment()]))
    path = recording("<img src=x onerror=alert(1)>&amp;.wav", seconds=1.0)
    hostile = Page(report(path, [segment((HOSTILE, "<!--AUDIO-->"))]))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    assert hostile.texts["title"] == hostile.texts["h1"] == [path.name]
    assert [word["text"] for word in hostile.data["segments"][0]["words"]] == [HOSTILE, "<!--AUDIO-->"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.wav", "audio/wav"), ("a.flac", "audio/flac"), ("a.ogg", "audio/ogg"), ("a.mp3", "audio/mpeg")],
)
def test_a_recording_that_browsers_play_is_there_byte_for_byte(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    soundfile.write(path, np.sin(np.arange(16000) / 10) / 2, 16000)
    assert Page(report(path, [segment()])).audio == (kind, path.read_bytes())


@pytest.mark.parametrize(("name", "subtype"), [("a.aiff", "PCM_16"), ("a.wav", "ULAW")])
def test_other_recordings_are_written_anew(tmp_path: Path, name: str, subtype: str) -> None:
    path = tmp_path / name
    soundfile.write(path, np.sin(np.arange(24000) / 10) / 2, 16000, subtype=subtype)
    kind, content = Page(report(path, [segment()])).audio
    (tmp_path / "anew.wav").write_bytes(content)
    anew = Recording(tmp_path / "anew.wav")
    assert (kind, anew.sample_rate) == ("audio/wav", 16000)
    assert pcm(anew.between(0, 9)) == pcm(Recording(path).between(0, 9))
    assert len(pcm(anew.between(0, 9))) == 48000


def test_what_is_empty_is_a_page_too(recording: Writes) -> None:
    path = recording(seconds=0.0)
    assert Page(report(path, [])).data == {"segments": []}
    wordless = replace(segment(()), weights=np.zeros((0, 0), np.float32))
    (got,) = Page(report(path, [wordless])).data["segments"]
    assert got["words"] == got["tokens"] == []
    assert got["end"] > got["start"]


@pytest.mark.parametrize(
    ("words", "pieces", "owners"),
    [
        ([" one", " two"], [" one", " two"], [0, 1]),
        ([" one", " two."], [" o", "ne", " tw", "o", "."], [0, 0, 1, 1, 1]),
        ([" café", " you"], [" caf", "", "", " you"], [0, 0, 0, 1]),
        ([" 你好", " a"], ["", "", "好", " a"], [0, 0, 0, 1]),
        ([" one", " two"], ["♪", " one", " two", "♪"], [0, 0, 1, 1]),  # what no word holds goes with its neighbour
        ([], [" one"], [-1]),
    ],
)
def test_each_token_belongs_to_a_word(words: list[str], pieces: list[str], owners: list[int]) -> None:
    assert word_of_token([Word(text, 0.0, 0.0, 1.0) for text in words], pieces) == owners


# What a person does, done by a script; then what the page looks like is written where the test can read it.
PERSON = """
<script>
window.addEventListener("load", async () => {
  const words = [...document.querySelectorAll(".word")];
  const pixels = () => document.querySelector("canvas").toDataURL().length;
  const until = (event) => new Promise((resolve) => audio.addEventListener(event, resolve, { once: true }));
  const found = { words: words.map((word) => word.textContent) };
  segments[0].draw();
  const before = pixels();
  words[1].focus();
  found.told = told.textContent;
  found.shown = words.map((word) => word.classList.contains("shown"));
  found.redrawn = pixels() !== before;
  const tenths = [...segments[0].look(1)].map((weight) => Math.round(10 * weight));
  found.look = tenths.flatMap((weight, at) => weight ? [[at, weight]] : []);
  if (audio.readyState < 1) await until("loadedmetadata");
  found.duration = audio.duration;
  const moved = until("seeked");
  words[1].click();
  await moved;
  audio.pause();
  found.time = audio.currentTime;
  segments.forEach((segment) => segment.follow(0.75));
  found.now = words.map((word) => word.classList.contains("now"));
  const result = document.createElement("output");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
});
</script>
</body>
"""


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_shows_it(recording: Writes, tmp_path: Path) -> None:
    content = report(recording(seconds=1.0), [segment((" one", HOSTILE))]).decode()
    page = tmp_path / "page.html"
    page.write_text(content.replace("</body>\n", PERSON))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [str(BROWSER), *flags, profile, "--virtual-time-budget=20000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(Page(done.stdout.encode()).texts["output"][0])
    assert found["words"] == ["one", HOSTILE]
    assert found["told"].endswith("0:00.50 to 0:01.00, looked most at 0:00.75, probability 75 %")
    assert found["shown"] == found["now"] == [False, True]
    assert found["redrawn"]
    assert found["look"] == [[37, 8], [38, 2]]
    assert found["duration"] == pytest.approx(1.0, abs=0.05)
    assert 0.5 <= found["time"] < 1
