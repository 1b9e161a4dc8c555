"""The one error that a user can repair."""

__all__ = ["UserError"]


class UserError(Exception):
    """A mistake in what the user gave: ``str()`` of it is one sentence that says what to do.

    The command line prints the sentence and exits with code 2; everything else that is raised is a bug of ours.
    """
