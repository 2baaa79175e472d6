"""Bytes of recordings and packets to 16 kHz mono samples. Knows numpy, soundfile and soxr; no model, no wire."""
