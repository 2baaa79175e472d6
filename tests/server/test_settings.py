import pytest

from server.settings import ServerSettings, unknown


@pytest.fixture
def model(tmp_path):
    return ["--model", str(tmp_path)]


@pytest.mark.parametrize("flag", ["--max_streams=3", "--max-streams=3"])
def test_both_spellings_are_one_option(model, flag):
    assert ServerSettings.read([*model, flag]).max_streams == 3


def test_a_value_keeps_its_hyphens(tmp_path):
    folder = tmp_path / "my--own-model"
    folder.mkdir()
    assert ServerSettings.read([f"--model={folder}"]).model == [folder]


def test_the_environment_says_what_flags_can(monkeypatch, tmp_path):
    monkeypatch.setenv("ASR_MODEL", str(tmp_path))
    monkeypatch.setenv("ASR_MAX_RECORDING_S", "60")
    settings = ServerSettings.read([])
    assert (settings.model, settings.max_recording_s) == ([tmp_path], 60)


def test_a_flag_beats_the_environment(monkeypatch, model):
    monkeypatch.setenv("ASR_PORT", "7000")
    assert ServerSettings.read([*model, "--port", "8000"]).port == 8000


def test_several_models_keep_their_order(monkeypatch, tmp_path):
    folders = [tmp_path / name for name in "ba"]
    for folder in folders:
        folder.mkdir()
    assert ServerSettings.read([word for folder in folders for word in ("--model", str(folder))]).model == folders
    monkeypatch.setenv("ASR_MODEL", ",".join(map(str, folders)))
    assert ServerSettings.read([]).model == folders


def test_by_default_only_this_machine_is_let_in(model):
    assert ServerSettings.read(model).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "99999"], "--port (or ASR_PORT)"),
        (["--port", "x"], "(not 'x')"),
        (["--workers", "0"], "--workers"),
        (["--max-streams", "-1"], "--max_streams"),
        (["--max_recording_s", "inf"], "--max_recording_s"),
        (["--grace_s", "-1"], "--grace_s"),
        (["--log_level", "loud"], "'debug', 'info'"),
        (["--model", "/nowhere/at/all"], "/nowhere/at/all is not a folder"),
    ],
)
def test_nonsense_ends_in_one_line_and_status_2(model, capsys, flags, said):
    with pytest.raises(SystemExit) as stop:
        ServerSettings.read([*([] if "--model" in flags else model), *flags])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("asr-server: error: ")
    assert said in complaint
    assert complaint.count("\n") == 1


def test_an_unknown_flag_ends_in_status_2(model, capsys):
    with pytest.raises(SystemExit) as stop:
        ServerSettings.read([*model, "--prot", "1"])
    assert stop.value.code == 2
    assert "--prot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("ASR_MAX_STREEMS", "ASR_MAX_STREAMS"),
        ("ASR_MAXSTREAMS", "ASR_MAX_STREAMS"),
        ("ASR_TOKEN", "ASR_TOKENS"),
        ("ASR_TLS_CERT", "ASR_TLS_CERTIFICATE"),
        ("asr_loglevel", "ASR_LOG_LEVEL"),
    ],
)
def test_a_mistyped_variable_is_told_with_the_one_that_was_meant(mistyped, meant):
    assert unknown([mistyped]) == [f"{mistyped} is no option and changes nothing: {meant} is one"]


def test_variables_of_other_programs_are_told_once_with_all_options():
    (told,) = unknown(["ASR_SERVICE_HOST", "PATH", "ASR_PORT_50051_TCP", "HEED_TOKEN"])
    assert "nothing: ASR_PORT_50051_TCP, ASR_SERVICE_HOST;" in told
    assert all(f"ASR_{name.upper()}" in told for name in ServerSettings.model_fields)


def test_options_and_what_is_none_of_ours_are_not_told_of():
    options = [f"ASR_{name.upper()}" for name in ServerSettings.model_fields]
    assert unknown([*options, "asr_port", "PATH", "MY_ASR_PROT"]) == []


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        ServerSettings.read(["--help"])
    assert stop.value.code == 0
    explained = capsys.readouterr().out
    for name, option in ServerSettings.model_fields.items():
        assert f"--{name}" in explained
        assert option.description


def test_help_speaks_to_people(capsys):
    with pytest.raises(SystemExit) as ended:
        ServerSettings.read(["--help"])
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    for said in ("--model DIR", "(default: shipped model)", "(default: all cores)", "--tls_key FILE", "--port N"):
        assert said in told
    for unsaid in ("factory", "null", "Path", "list["):
        assert unsaid not in told
