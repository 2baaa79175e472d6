import json
import logging
import sys

from server.logs import JsonFormatter


def formatted(message, exc_info=None, **extra):
    record = logging.LogRecord("asr.server", logging.INFO, "file", 1, message, (), exc_info)
    record.__dict__.update(extra)
    return JsonFormatter().format(record)


def test_an_entry_is_one_line_of_json_with_its_fields():
    line = formatted("call", fields={"method": "Recognize", "error": 'two\nlines "quoted"'})
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["level"], entry["message"], entry["method"]) == ("info", "call", "Recognize")
    assert entry["error"] == 'two\nlines "quoted"'


def test_a_traceback_stays_in_its_line():
    try:
        raise ValueError("broken")
    except ValueError:
        line = formatted("a call failed", sys.exc_info())
    assert "\n" not in line
    assert "ValueError: broken" in json.loads(line)["traceback"]
