"""What apart.py and decoder.py say to each other: a kind, a length, and so many bytes."""

import socket
import struct

HEADER = b"H"  # JSON of a Header
SAMPLES = b"S"  # float32, little-endian
ERROR = b"E"  # a class of asr.errors, a line break, its message
FAULT = b"F"  # a traceback: the error is ours
END = b"."

OPENING = struct.Struct("<?Q")  # whether channels are wanted each by itself; the length of the file that follows
FRAME = struct.Struct("<cI")
MAX_FRAME_BYTES = 2**20  # a block of half a second takes 32 kB for each channel


def send_frame(peer: socket.socket, kind: bytes, content: bytes) -> None:
    peer.sendall(FRAME.pack(kind, len(content)) + content)


def receive_frame(peer: socket.socket) -> tuple[bytes, bytes]:
    """A kind and its content. EOFError where the other side ended instead, or says what no decoder says."""
    kind, size = FRAME.unpack(receive_exactly(peer, FRAME.size))
    if kind not in (HEADER, SAMPLES, ERROR, FAULT, END) or size > MAX_FRAME_BYTES:
        raise EOFError
    return kind, receive_exactly(peer, size)


def receive_exactly(peer: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    view = memoryview(content)
    received = 0
    while received < size:
        if not (count := peer.recv_into(view[received:])):
            raise EOFError
        received += count
    return bytes(content)
