"""Readers of other projects' Whisper files: each turns its names into those of our checkpoint."""
