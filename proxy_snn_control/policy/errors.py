"""The errors a user can cause and mend. Everything else is a defect and keeps its traceback."""


class UserError(Exception):
    """One sentence that names the file, parameter or topic, the value, and what was expected."""


class WriteError(UserError):
    """A file that cannot be written: no permission, a full disk."""


class TaskError(UserError):
    """A task that fails, or says what is no number or not of its own shape."""


class PolicyFileError(UserError):
    """A policy file that is missing, damaged or not a policy file."""


class ObservationError(UserError, ValueError):
    """An observation of the wrong length, or with a NaN or an infinity in it."""
