# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The errors a user can cause and correct. Everything else is a defect and keeps its traceback."""

LONGEST = 1500


class UserError(Exception):
    """One sentence that names the file, parameter or topic, the value, and what was expected.

    What it names may be anything: as text the sentence is one line, as `one_line` makes it.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class WriteError(UserError):
    """A file that cannot be written: no permission, a full disk."""


class OutOfMemory(UserError):
    """The memory does not hold a batch; a smaller one may fit."""


class TaskError(UserError):
    """A task that fails, or returns what is no number or not of its own shape."""


class Interrupted(TaskError):
    """A task whose simulator does not answer: the episode is discarded; a reset may begin one."""


class PolicyFileError(UserError):
    """A policy file that is missing, damaged or not a policy file."""


class ObservationError(UserError, ValueError):
    """An observation of the wrong length, or with a NaN or an infinity in it."""


def one_line(text: str) -> str:
    """Text for a terminal or a log: escapes for what cannot be printed, the middle left out."""
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f'{text[:half]} ... {text[-half:]}'
    return ''.join(
        each if each.isprintable() else each.encode('unicode_escape').decode() for each in text
    )
