"""Every error that a caller of Heed can meet, in one tree.

HeedError
├── InputError        what the caller sent can be mended by the caller
│   ├── AudioError    audio that cannot be read as what it claims to be
│   ├── OptionError   an option unknown, out of range, or in conflict with another
│   └── TooLongError  longer than a stated limit
├── NotFoundError     a model (or a language of it) that is not there
├── NotSupportedError in the contract, but not in this version or this model
├── FormatError       a model folder, checkpoint or weights file that is damaged or of another kind
└── ExportError       exported graphs that do not agree with the model they came from

Messages say what was wrong, what was expected, and what to do. The server maps
classes to gRPC statuses in one place (server/calls.py).
"""


class HeedError(Exception):
    """The root: `except HeedError` catches whatever Heed raises on purpose."""


class InputError(HeedError):
    """What the caller sent is wrong, and the caller can mend it."""


class AudioError(InputError):
    """Audio that cannot be read as what it claims to be."""


class OptionError(InputError):
    """An option that is unknown, out of range, or in conflict with another."""


class TooLongError(InputError):
    """Longer than a stated limit."""


class NotFoundError(HeedError):
    """A model, or a language of it, that is not there."""


class NotSupportedError(HeedError):
    """Named by the contract, but not in this version or not in this model."""


class FormatError(HeedError):
    """A model folder, checkpoint or weights file that is damaged or of another kind."""


class ExportError(HeedError):
    """Exported graphs that do not agree with the model they came from."""
