"""Exit codes of every command."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of commands, for a shell, an init container or a CI job."""

    DONE = 0  # or nothing to do
    UNEXPECTED = 1
    USAGE = 2
    INVALID_INPUT = 3  # a file, a setting, a variable
    NOT_AUTHORISED = 4
    NOT_FOUND = 5  # model, version, run, artifacts, MLmodel
    PRECONDITION = 6  # version of another run, not READY, denied, drift, a digest that is not the recorded one
    PARTIAL = 7  # done in part; the message names the rest
    UNAVAILABLE = 8  # MLflow, Domino or the cluster does not answer, or the deadline has passed
    PUT_BACK = 9  # failed, and every change was undone
    CHANGES = 10  # a plan has changes (--detailed-exitcode)
    NO_SPACE = 11  # --max-bytes, or the disk
    DAMAGED = 12  # a fetched file of another size than listed, after all tries; a file that is not as its manifest says
