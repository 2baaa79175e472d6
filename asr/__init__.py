"""Heed: attention-based speech recognition. Each subpackage is imported by name; this file imports nothing."""
