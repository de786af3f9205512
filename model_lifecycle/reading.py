"""A promotion file from the disk; a command ends here where it cannot be used."""

from pathlib import Path

from model_contract.exit_codes import ExitCode
from model_lifecycle import promotion_file, report
from model_lifecycle.ends import InvalidInputError
from model_lifecycle.promotion_file import PromotionFile, PromotionFileError


def read(file: Path, form: str) -> PromotionFile:
    """Reports every mistake of the file, in the form that was asked for, before it exits with 3."""
    try:
        return promotion_file.parse(file.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror}") from error
    except PromotionFileError as error:
        report.problems(str(file), error.problems, form)
        raise SystemExit(ExitCode.INVALID_INPUT) from error
