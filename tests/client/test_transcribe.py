import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client import transcribe
from client.alignments import from_json, from_npz
from client.transcribe import main
from client.writers import WRITERS

Writes = Callable[..., Path]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory of the command."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_of_one_file_goes_to_stdout(
    target: str, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(seconds=3.0)
    content = path.read_bytes()
    assert main(["--server", target, str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"64000 {sum(content[:64000])}\n{len(content) - 64000} {sum(content[64000:])}\n"
    assert err == ""
    assert written(folder) == []


def test_json_of_one_file_goes_to_stdout(target: str, recording: Writes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", target, "--output_format", "json", str(recording(seconds=3.0))]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["language"] == "en"
    assert [segment["start"] for segment in whole["segments"]] == [0.0, 2.0]
    assert not any("words" in segment for segment in whole["segments"])


def test_alternatives_are_in_the_json(target: str, recording: Writes, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--output_format", "json", "--max_alternatives", "2", "--alignment", "--alignment_format", "npz"]
    assert main(["--server", target, *flags, str(recording(seconds=1.0))]) == 0
    (segment,) = json.loads(capsys.readouterr().out)["segments"]
    (other,) = segment["alternatives"]
    assert other == {"text": f"{segment['text']} 1", "tokens": [1], "avg_logprob": -0.5, "confidence": 0.375}
    assert segment["confidence"] == 0.75


def test_a_search_is_asked_for(target: str, service: Any, recording: Writes) -> None:
    flags = ["--beam-size", "5", "--phrase", "Heed", "--phrase", "Ann Lee", "--boost", "2.5"]
    assert main(["--server", target, *flags, str(recording(seconds=0.1))]) == 0
    (config,) = service.configs
    assert (config.beam_size, config.max_alternatives) == (5, 1)
    assert [(list(one.phrases), one.boost) for one in config.speech_contexts] == [(["Heed", "Ann Lee"], 2.5)]


def test_words_are_written_when_asked_for(target: str, recording: Writes, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(recording(seconds=3.0))
    assert main(["--server", target, "--output_format", "json", "--word_timestamps", path]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert [word["end"] for word in whole["segments"][0]["words"]] == [1.0, 2.0]


def test_words_that_came_for_the_picture_are_not_written(
    target: str, recording: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--output_format", "json", "--alignment", "--alignment_format", "npz"]
    assert main(["--server", target, *flags, str(recording())]) == 0
    assert "words" not in json.loads(capsys.readouterr().out)["segments"][0]


def test_subtitles_are_made_of_words_that_json_does_not_show(
    target: str, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recording(seconds=1.0)
    assert main(["--server", target, "--output_format", "all", str(path)]) == 0
    assert written(folder) == sorted(f"talk.{name}" for name in WRITERS)
    assert capsys.readouterr() == ("", "")
    content = path.read_bytes()
    end_ms = len(content) // 32
    cue = f"1\n00:00:00,000 --> 00:00:01,{end_ms - 1000:03d}\n{len(content)} {sum(content)}\n\n"
    assert (folder / "talk.srt").read_text() == cue
    assert "words" not in json.loads((folder / "talk.json").read_text())["segments"][0]


def test_subtitles_keep_to_what_was_said_of_lines(
    target: str, recording: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(recording(seconds=1.0))
    flags = ["--server", target, "--output_format", "srt", "--word_timestamps"]
    assert main([*flags, "--max_line_width", "9", "--max_line_count", "2", path]) == 0
    assert capsys.readouterr().out.splitlines()[2:4] == ["32044", str(sum(Path(path).read_bytes()))]
    assert main([*flags, "--max_words_per_line", "1", path]) == 0
    assert capsys.readouterr().out.splitlines()[4] == "2"
    assert main([*flags, "--highlight_words", path]) == 0
    assert "<u>32044</u>" in capsys.readouterr().out


def test_what_has_no_effect_is_told_as_whisper_does(
    target: str, recording: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--server", target, "--output_format", "srt", "--word_timestamps", "--max_line_count", "1"]
    assert main([*flags, str(recording(seconds=0.1))]) == 0
    assert capsys.readouterr().err == "asr-transcribe: --max_line_count has no effect without --max_line_width\n"
    assert main([*flags, "--max_line_width", "9", "--max_words_per_line", "2", str(recording(seconds=0.1))]) == 0
    assert "--max_words_per_line has no effect with --max_line_width" in capsys.readouterr().err


def test_several_files_are_written_here(
    target: str, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [recording(name) for name in ("a.wav", "x/A.wav", "b.flac")]
    assert main(["--server", target, *map(str, paths)]) == 0
    assert written(folder) == ["A-2.txt", "a.txt", "b.txt"]
    assert capsys.readouterr().out == ""


def test_jobs_change_no_output(target: str, recording: Writes, tmp_path: Path) -> None:
    paths = [str(recording(f"{number}/a.wav", seconds=0.1 + number / 10)) for number in range(7)]
    for jobs in ("1", "4"):
        assert main(["--server", target, "--jobs", jobs, "--output_dir", str(tmp_path / f"out{jobs}"), *paths]) == 0
    contents = [{path.name: path.read_text() for path in (tmp_path / f"out{jobs}").iterdir()} for jobs in ("1", "4")]
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(set(contents[0].values())) == 7


def test_resuming_a_folder_does_only_what_is_missing(
    target: str, service: Any, recording: Writes, tmp_path: Path, folder: Path
) -> None:
    for name in ("talks/a.wav", "talks/x/a.wav", "talks/b.wav"):
        recording(name, seconds=0.1)
    command = ["--server", target, "--resume", "--output_format", "all", str(tmp_path / "talks")]
    assert main(command) == 0
    assert len(service.configs) == 3
    assert main(command) == 0
    assert len(service.configs) == 3
    (folder / "a-2.srt").unlink()
    assert main(command) == 0
    assert len(service.configs) == 4
    assert (folder / "a-2.srt").exists()
    recording("talks/b.wav", seconds=0.2)  # another recording of this name
    assert main(command) == 0
    assert len(service.configs) == 5
    assert (folder / "b.txt").read_text().startswith("6444 ")


def test_a_new_recording_does_not_take_what_another_wrote(
    target: str, recording: Writes, tmp_path: Path, folder: Path
) -> None:
    recording("talks/x/a.wav", seconds=0.1)
    command = ["--server", target, "--resume", str(tmp_path / "talks")]
    assert main(command) == 0
    recording("talks/a.wav", seconds=0.2)  # comes before the other, so the name without a number is its own
    assert main(command) == 0
    assert [(folder / name).read_text().split()[0] for name in ("a.txt", "a-2.txt")] == ["6444", "3244"]


@pytest.mark.parametrize("formats", ["txt", "all"])
def test_resuming_does_not_wait_for_a_picture_of_silence(
    target: str, service: Any, recording: Writes, tmp_path: Path, folder: Path, formats: str
) -> None:
    recording("talks/said.wav", seconds=0.1)
    recording("talks/silence.wav", seconds=0.0)
    flags = ["--stream", "--fast", "--resume", "--alignment", "--output_format", formats]
    command = ["--server", target, *flags, str(tmp_path / "talks")]
    assert main(command) == 0
    assert len(service.configs) == 2
    assert [name for name in written(folder) if name.endswith(".png")] == ["said.alignment.png"]
    assert main(command) == 0
    assert len(service.configs) == 2
    (folder / "said.alignment.png").unlink()
    (folder / "silence.txt").unlink()
    assert main(command) == 0
    assert len(service.configs) == 4
    assert main([*command, "--alignment_format", "json"]) == 0, "an alignment of nothing is a file in this format"
    assert len(service.configs) == 6


def test_a_picture_that_cannot_be_is_told_with_its_reason(
    target: str, recording: Writes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(transcribe.ALIGNMENT_WRITERS, "svg", lambda *_: [])  # as where no row has weights
    command = ["--server", target, "--stream", "--fast", "--alignment", "--alignment_format", "svg"]
    assert main([*command, str(recording("silence.wav", seconds=0.0))]) == 0
    assert "silence.wav: nothing was recognised, so there is no alignment" in capsys.readouterr().err
    assert main([*command, str(recording("talk.wav"))]) == 0
    assert "talk.wav: the attention of this model has no weights, so there is no" in capsys.readouterr().err


def test_the_output_folder_is_made(target: str, recording: Writes, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert main(["--server", target, "--output_dir", str(out), str(recording("talk.wav"))]) == 0
    assert written(out) == ["talk.txt"]


def test_flags_may_be_hyphenated(target: str, recording: Writes, tmp_path: Path) -> None:
    out = tmp_path / "my-out"
    assert main(["--server", target, "--output-format=json", f"--output-dir={out}", str(recording("a-b.wav"))]) == 0
    assert written(out) == ["a-b.json"]


def test_what_follows_two_hyphens_is_a_file(target: str, recording: Writes, folder: Path) -> None:
    recording("here/--fast-car.wav")
    assert main(["--server", target, "--output_dir", "out", "--", "--fast-car.wav"]) == 0
    assert written(folder / "out") == ["--fast-car.txt"]


@pytest.mark.parametrize("mode", [[], ["--jobs", "4"], ["--stream", "--fast"], ["--stream", "--fast", "--jobs", "4"]])
def test_bad_files_are_named_and_the_rest_is_done(
    target: str, recording: Writes, tmp_path: Path, folder: Path, mode: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    letter, empty, missing = tmp_path / "letter.wav", tmp_path / "empty.wav", tmp_path / "missing.wav"
    letter.write_text("Dear Sir or Madam")
    empty.touch()
    good = recording("good.wav", seconds=1.0)
    paths = [letter, empty, missing, good]
    assert main(["--server", target, *mode, *map(str, paths)]) == 1
    assert written(folder) == ["good.txt"]
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 3
    said = {complaint.split(": ")[1]: complaint for complaint in complaints}
    assert said.keys() == {str(path) for path in paths[:3]}
    assert "the file is empty" in said[str(empty)]
    assert said[str(missing)].endswith("No such file or directory")


def test_a_recording_of_no_samples_is_an_empty_transcript(
    target: str, recording: Writes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", target, "--stream", "--fast", str(recording(seconds=0.0))]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_be_written_is_a_failure(
    target: str, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.txt").mkdir()
    assert main(["--server", target, str(recording("a.wav")), str(recording("b.wav"))]) == 1
    assert "a.wav: " in capsys.readouterr().err
    assert written(folder) == ["a.txt", "b.txt"]


def test_a_refused_option_fails_every_file(target: str, recording: Writes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", target, "--model", "unknown", str(recording())]) == 1
    assert "there is no model of this name (NOT_FOUND)" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [[], ["--jobs", "3"], ["--stream", "--fast", "--jobs", "3"]])
def test_no_server_is_its_own_status(
    nowhere: str, recording: Writes, folder: Path, mode: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--server", nowhere, *mode, str(recording("a.wav")), str(recording("b.wav"))]) == 3
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert nowhere in err
    assert "asr-server" in err
    assert written(folder) == []


def test_a_server_that_goes_away_is_no_server(target: str, recording: Writes) -> None:
    assert main(["--server", target, "--model", "gone", str(recording())]) == 3


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "FILE"),
        (["--fast", "a.wav"], "--fast means nothing without --stream"),
        (["--packet_ms", "20", "a.wav"], "--packet_ms means nothing without --stream"),
        (["--stream", "--packet_ms", "0", "a.wav"], "from 1 up"),
        (["--alignment_format", "svg", "a.wav"], "--alignment_format means nothing without --alignment"),
        (["--alignment_level", "full", "a.wav"], "--alignment_level means nothing without --alignment"),
        (
            ["--alignment", "--alignment_level", "full", "--alignment_format", "html", "a.wav"],
            "no place for every head",
        ),
        (["--stream", "--sample_rate", "8000", "a.wav"], "--sample_rate means nothing without --stream -"),
        (["--sample_rate", "8000", "-"], "--sample_rate means nothing without --stream -"),
        (["--microphone", "a.wav"], "goes with neither a FILE nor --fast"),
        (["--microphone", "--fast"], "goes with neither a FILE nor --fast"),
        (["--stream", "--show_alignment", "--jobs", "2", "a.wav", "b.wav"], "without --jobs"),
        (["--jobs", "0", "a.wav"], "from 1 up"),
        (["--resume", "a.wav"], "give --output_dir"),
        (["--text", "a.txt", "."], "give one FILE"),
        (["--show_alignment", "a.wav"], "--show_alignment means nothing without --stream"),
        (["--text", "a.txt", "--stream", "a.wav"], "goes with neither --stream"),
        (["--text", "a.txt", "--phrase", "Heed", "a.wav"], "--text is placed, not searched for"),
        (["--boost", "2", "a.wav"], "--boost means nothing without --phrase"),
        (["--phrase", "Heed", "--boost", "21", "a.wav"], "up to 20"),
        (["--beam_size", "0", "a.wav"], "from 1 up"),
        (["--text", "a.txt", "a.wav", "b.wav"], "give one FILE"),
        (["--model_dir", "m", "a.wav"], "--model_dir means nothing without --local"),
        (["--local", "--server", "localhost:1", "a.wav"], "give one of them"),
        (["--server", "localhost", "a.wav"], "HOST:PORT"),
        (["--server", "localhost:65536", "a.wav"], "HOST:PORT"),
        (["--latency", "500", "a.wav"], "--latency"),
        (["--output_format", "lrc", "a.wav"], "--output_format"),
        (
            ["--output_format", "srt", "--highlight_words", "a.wav"],
            "--highlight_words means nothing without --word_timestamps",
        ),
        (
            ["--output_format", "tsv", "--word_timestamps", "--max_line_width", "30", "a.wav"],
            "--max_line_width means nothing without --output_format srt, vtt or all",
        ),
        (["--output_format", "vtt", "--word_timestamps", "--max_words_per_line", "0", "a.wav"], "from 1 up"),
        (["--alignment", "--alignment_format", "pdf", "a.wav"], "--alignment_format"),
        (["--out", "x", "a.wav"], "--out"),
        (["--separate_channels", "--text", "a.txt", "a.wav"], "wants a recording with channels"),
        (["--separate_channels", "--microphone"], "wants a recording with channels"),
        (["--separate_channels", "--stream", "--sample_rate", "8000", "-"], "wants a recording with channels"),
        (["--separate_channels", "--stream", "--show_alignment", "a.wav"], "goes with neither"),
        (["--separate_channels", "--alignment", "--alignment_format", "html", "a.wav"], "goes with neither"),
        (["--tls_key", "a.pem", "a.wav"], "go together"),
        (["--local", "--tls_ca", "a.pem", "a.wav"], "wants neither TLS nor a token"),
        (["--local", "--token_file", "a", "a.wav"], "wants neither TLS nor a token"),
    ],
)
def test_wrong_usage_says_what_is_wrong(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") <= 3  # the usage in a line, and what is wrong


def test_help_names_every_status_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for said in ("STEM.alignment.EXT", "exit status", "3 no server"):
        assert said in text


def test_an_output_folder_that_cannot_be_is_wrong_usage(
    recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").touch()
    assert main(["--output_dir", "file", str(recording())]) == 2
    assert capsys.readouterr().err == "asr-transcribe: cannot write into --output_dir file: File exists\n"


def test_an_output_folder_that_is_not_ours_is_found_out_before_anything_is_sent(
    target: str, service: Any, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # to root every folder is open
    assert main(["--server", target, "--output_dir", "theirs", str(recording())]) == 2
    assert capsys.readouterr().err == "asr-transcribe: cannot write into --output_dir theirs: Permission denied\n"
    assert not service.configs


def test_an_output_that_cannot_be_written_is_named(
    target: str, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out" / "a.txt").mkdir(parents=True)
    path = str(recording("a.wav"))
    assert main(["--server", target, "--output_dir", "out", path]) == 1
    assert capsys.readouterr().err == f"asr-transcribe: {path}: out/a.txt: Is a directory\n"


@pytest.mark.parametrize(
    ("package", "flags"),
    [
        ("soundfile", ["--stream"]),
        ("soundfile", ["--alignment"]),
        ("soundfile", ["--alignment", "--alignment_format", "html"]),
        ("soundfile", ["--text", "said.txt"]),
        ("matplotlib", ["--alignment"]),
        ("matplotlib", ["--alignment", "--alignment_level", "full"]),
        ("rich", ["--stream", "--show_alignment"]),
    ],
)
def test_a_missing_package_is_named_before_anything_is_sent(
    target: str,
    service: Any,
    recording: Writes,
    package: str,
    flags: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(recording())
    needy = ("client.recording", "client.picture", "client.heads", "client.report", "client.looking")
    for module in [name for name in sys.modules if name in needy or name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["--server", target, *flags, path]) == 2
    assert f"needs the package {package}" in capsys.readouterr().err
    assert not service.configs


@pytest.mark.parametrize(("value", "mode"), [("full", "full"), ("1280", "1280ms"), ("640", "640ms"), ("320", "320ms")])
def test_latency_is_the_servers_latency_mode(
    target: str, service: Any, recording: Writes, value: str, mode: str
) -> None:
    assert main(["--server", target, "--latency", value, str(recording(seconds=0.1))]) == 0
    assert service.configs[0].latency_mode == mode


def test_what_is_not_asked_for_is_the_servers_choice(target: str, service: Any, recording: Writes) -> None:
    assert main(["--server", target, "--stream", "--fast", str(recording(seconds=0.1))]) == 0
    (config,) = service.configs
    assert (config.latency_mode, config.language_code, config.model, config.alignment.level) == ("", "", "", 0)
    assert not config.enable_word_time_offsets
    assert not config.rescore_finals
    assert service.interim_results == [False]  # nobody watches


def test_a_second_pass_is_asked_for(target: str, service: Any, recording: Writes) -> None:
    assert main(["--server", target, "--stream", "--fast", "--rescore-finals", str(recording(seconds=0.1))]) == 0
    assert service.configs[0].rescore_finals


def test_language_and_model_are_asked_for(target: str, service: Any, recording: Writes) -> None:
    assert main(["--server", target, "--language", "auto", "--model", "m", str(recording(seconds=0.1))]) == 0
    assert (service.configs[0].language_code, service.configs[0].model) == ("auto", "m")


def test_packets_hold_as_much_audio_as_was_said(target: str, service: Any, recording: Writes) -> None:
    path = str(recording(seconds=0.25, rate=8000, channels=2))
    assert main(["--server", target, "--stream", "--fast", "--packet_ms", "40", path]) == 0
    assert service.packet_bytes == [640] * 6 + [160]
    assert service.configs[0].sample_rate_hertz == 8000


def test_real_time_is_kept_unless_fast(
    target: str, recording: Writes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    monkeypatch.setattr("client.recording.time.sleep", sleep)
    monkeypatch.setattr("client.recording.time.monotonic", lambda: now)
    path = str(recording(seconds=1.0))
    assert main(["--server", target, "--stream", "--fast", path]) == 0
    assert slept == []
    assert main(["--server", target, "--stream", path]) == 0
    assert slept == pytest.approx([0.1] * 10)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packet_ms=st.integers(1, 4000))
def test_packets_change_nothing(
    target: str, recording: Writes, capsys: pytest.CaptureFixture[str], packet_ms: int
) -> None:
    path = str(recording("talk.wav", seconds=3.1, channels=2))
    flags = ["--server", target, "--stream", "--fast", "--output_format", "json", "--word_timestamps"]
    assert main([*flags, path]) == 0
    expected = capsys.readouterr().out
    assert main([*flags, "--packet_ms", str(packet_ms), path]) == 0
    assert capsys.readouterr().out == expected
    assert json.loads(expected)["duration"] == 3.1


@pytest.mark.parametrize("mode", [[], ["--stream", "--fast"]])
@pytest.mark.parametrize(("extension", "read"), [("npz", from_npz), ("json", from_json)])
def test_alignments_are_written_as_data(
    target: str, recording: Writes, folder: Path, mode: list[str], extension: str, read: Callable[[bytes], Any]
) -> None:
    path = str(recording(seconds=4.0))
    assert main(["--server", target, *mode, "--alignment", "--alignment_format", extension, path]) == 0
    segments = read((folder / f"talk.alignment.{extension}").read_bytes())
    assert segments[1].start_s == 2.0
    assert segments[0].token_ids == (50, 51)  # the provisional row is left out
    assert segments[0].weights.argmax(axis=1).tolist() == [1, 2]
    assert [word.end_s for word in segments[0].words] == [1.0, 2.0]


def test_a_known_text_is_placed(
    target: str, service: Any, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "said.txt").write_text("\ufeffsay YES\n", encoding="utf-8")
    path = str(recording(seconds=2.0))
    flags = ["--server", target, "--text", "said.txt", "--alignment", "--alignment_format", "TextGrid"]
    assert main([*flags, path]) == 0
    assert capsys.readouterr().out == "say YES\n"
    assert service.texts == ["say YES"]
    assert '            text = "YES"' in (folder / "talk.alignment.TextGrid").read_text().splitlines()
    assert main([*flags, "--output_format", "json", path]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert (whole["text"], whole["score"]) == ("say YES", 0.5)
    assert whole["duration"] == pytest.approx(2.0, abs=0.01)  # the server's word, which counts the header's bytes here
    assert [word["word"] for word in whole["segments"][0]["words"]] == [" say", " YES"]


@pytest.mark.parametrize(
    ("content", "said"), [(b" \n", "is empty"), (b"\xff\xfe\x00", "is not UTF-8"), (None, "No such file")]
)
def test_a_text_that_cannot_be_is_named(
    target: str,
    service: Any,
    recording: Writes,
    folder: Path,
    content: bytes | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (folder / "said.txt").write_bytes(content)
    assert main(["--server", target, "--text", "said.txt", str(recording())]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "said.txt" in error
    assert not service.configs


def test_every_head_is_written_when_asked_for(target: str, recording: Writes, folder: Path) -> None:
    path = str(recording(seconds=1.0))
    for extension in ("npz", "png"):
        flags = ["--alignment", "--alignment_level", "full", "--alignment_format", extension]
        assert main(["--server", target, *flags, path]) == 0
    (segment,) = from_npz((folder / "talk.alignment.npz").read_bytes())
    assert segment.heads is not None
    assert segment.heads.shape[:3] == (2, 2, 3)
    np.testing.assert_allclose(segment.weights, segment.heads.mean(axis=(1, 2)))
    assert (folder / "talk.alignment.png").read_bytes().startswith(b"\x89PNG")


def test_a_textgrid_covers_the_recording(target: str, recording: Writes, folder: Path) -> None:
    path = str(recording(seconds=3.0))
    assert main(["--server", target, "--alignment", "--alignment_format", "TextGrid", path]) == 0
    lines = (folder / "talk.alignment.TextGrid").read_text().splitlines()
    assert f"xmax = {Path(path).stat().st_size / 32000}" in lines  # as long as the server says the recording is
    assert '            text = "64000"' in lines


@pytest.mark.parametrize(("extension", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_is_made_of_each_segment(
    target: str, recording: Writes, folder: Path, extension: str, magic: bytes
) -> None:
    path = str(recording(seconds=2.5))
    assert main(["--server", target, "--alignment", "--alignment_format", extension, path]) == 0
    assert written(folder) == [f"talk.alignment-2.{extension}", f"talk.alignment.{extension}"]
    for name in written(folder):
        assert (folder / name).read_bytes().startswith(magic)


def test_where_nothing_was_said_there_is_nothing_to_draw(
    target: str, recording: Writes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(recording(seconds=0.0))
    assert main(["--server", target, "--stream", "--fast", "--alignment", path]) == 0
    assert written(folder) == []
    assert "no alignment to draw" in capsys.readouterr().err


def test_a_server_of_our_own_serves_and_ends(
    target: str, recording: Writes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = tmp_path / "ended"
    script = f"""
import signal, sys, time
def end(number, frame):
    open({str(ended)!r}, "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("listening on {target} model echo", flush=True)
time.sleep(60)
"""
    monkeypatch.setattr("client.transcribe.server_command", lambda model_dir: [sys.executable, "-c", script])
    assert main(["--local", str(recording(seconds=0.5))]) == 0
    assert ended.exists()
    out, err = capsys.readouterr()
    assert out.startswith("16044 ")
    assert err == ""


def test_a_server_of_our_own_that_does_not_start_is_no_server(
    recording: Writes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "import sys; sys.exit('the model is damaged')"
    monkeypatch.setattr("client.transcribe.server_command", lambda model_dir: [sys.executable, "-c", script])
    assert main(["--local", str(recording())]) == 3
    assert "the model is damaged" in capsys.readouterr().err


def test_stdout_takes_any_character(target: str, recording: Writes, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setitem(WRITERS, "txt", lambda transcript, layout: "你好, hello\n")
    assert main(["--server", target, str(recording())]) == 0
    assert stdout.buffer.getvalue() == b"??, hello\n"  # type: ignore[attr-defined]
