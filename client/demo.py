"""python -m client.demo: a bundled recording through a server of our own, with its word error rate and its picture.

Needs what the extras client, serve and picture bring, and no network.
"""

import sys
from pathlib import Path

from client.alignments import aligned
from client.diff import edit_pairs
from client.errors import ClientError
from client.interruption import interruptible
from client.local import local_server, server_command
from client.outputs import page_path, write_atomically
from client.results import Level, Options
from client.sdk import Client
from client.writers import png

RECORDING = Path(__file__).parent.parent / "tests" / "data" / "librivox-0870.wav"
REFERENCE = RECORDING.with_suffix(".txt")
PICTURE = Path("demo", "alignment.png")


def main() -> int:
    try:
        show(server_command(None))
    except (ClientError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def show(server: list[str]) -> None:
    """Print transcript, reference, word error rate and where the picture lies, as they become known."""
    reference = " ".join(REFERENCE.read_text(encoding="utf-8").split())
    with local_server(server) as target, Client(target) as client:
        options = Options(words=True, alignment=Level.MEAN_U8)
        transcript = interruptible(lambda: client.recognize_file(RECORDING, options), cancel=client.close)
    print(f"transcript: {transcript.text}")
    print(f"reference: {reference}")
    print(f"WER: {word_error_rate(reference, transcript.text):.1f} %")
    PICTURE.parent.mkdir(exist_ok=True)
    pictures = png(RECORDING, transcript.duration_s, aligned(transcript.segments))
    for page, content in enumerate(pictures, start=1):
        write_atomically(page_path(PICTURE, page), content)
    print(f"picture: {PICTURE.as_posix()}")


def word_error_rate(reference: str, transcript: str) -> float:
    """Per cent of the reference's words that are wrong, left out or put in, whatever their case and punctuation."""
    expected, got = _words(reference), _words(transcript)
    wrong = sum(a is None or b is None or expected[a] != got[b] for a, b in edit_pairs(expected, got))
    return 100 * wrong / max(1, len(expected))


def _words(text: str) -> list[str]:
    kept = (c if c.isalnum() or c.isspace() else "" if c in "'\N{RIGHT SINGLE QUOTATION MARK}" else " " for c in text)
    return "".join(kept).lower().split()


if __name__ == "__main__":
    sys.exit(main())
