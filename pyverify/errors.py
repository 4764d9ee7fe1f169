"""The exceptions that leave the public API. All of them are :class:`PyverifyError`."""

from __future__ import annotations


class PyverifyError(Exception):
    """Root of every exception that this package raises on purpose."""


class UsageError(PyverifyError):
    """The caller asked for something that cannot be: an unknown bank, policy, command argument."""


class EvidenceError(PyverifyError):
    """Evidence that cannot be judged, raised where a single piece of it was asked for.

    Batch functions never raise it: there the same fault is a row with a reason.

    Attributes:
        code: the fault's code of the findings table, such as ``log.truncated``.
        offset: byte in the evidence at which it shows, or None.
        event: number of the event at which it shows, or None.
    """

    def __init__(self, code: str, message: str, *, offset: int | None = None, event: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.offset = offset
        self.event = event


class ArchiveError(PyverifyError):
    """An archive that cannot be read at all: missing, unreadable, of no known kind, or broken as a container."""


class OutputError(PyverifyError):
    """Output that cannot be written, or cannot be continued where it was interrupted. Nothing half written is left."""


class StoreError(PyverifyError):
    """The baseline store cannot be opened, read or written, or is of another version."""


class ReferencesError(PyverifyError):
    """A references snapshot that does not parse or was made by another version."""


class ClusterError(PyverifyError):
    """A cluster did not do its work: it cannot be reached, gave up a task, or came to what cannot be."""
