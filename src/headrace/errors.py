"""What a user did wrong, in one line: file, column or key, and the mend.

The tree of errors, with the exit code of the command line::

    HeadraceError                  1
    ├── InputError                 2   something given is wrong
    │   ├── WorkflowError          2   a key of a YAML file
    │   ├── DataError              2   a file, row group or column of a dataset
    │   └── MissingExtraError      2   an optional dependency is not installed
    ├── RunError                   1   a run began and could not end well
    │   ├── ChecksFailedError      1   an expectation about the data does not hold
    │   ├── RowsLostError          1   a pass did not see every row exactly once
    │   └── SchedulerLostError     1   the scheduler of a run has ended or is out of reach
    ├── StorageError               1   reading or writing a URL failed
    │   └── UnansweredError        1   a store does not answer; later it may
    ├── PackageError               1   a model package is damaged or not trusted
    └── RefusedError               1   a guard of the registry refuses what was asked for
"""

from __future__ import annotations


class HeadraceError(Exception):
    """An error that is told to the user in one line, without a traceback.

    Parameters
    ----------
    what : str
        What is wrong, naming the value that was given.
    where : str, optional
        The file, row group, column or key that it is about.
    mend : str, optional
        What the user can do about it.
    """

    exit_code = 1
    passes = False
    """Whether the same may well succeed later, with nothing changed by anyone."""

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what, where, mend)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        """One line: ``where: what; mend``."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.mend:
            text = f"{text}; {self.mend}"
        return " ".join(text.split())

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.mend))


def _rebuild(kind: type[HeadraceError], what: str, where: str, mend: str) -> HeadraceError:
    return kind(what, where=where, mend=mend)


class InputError(HeadraceError):
    """Something that the user gave is wrong."""

    exit_code = 2


class WorkflowError(InputError):
    """A key or value of a YAML file is wrong."""


class DataError(InputError):
    """A file, row group or column of a dataset cannot be used."""


class MissingExtraError(InputError):
    """An optional dependency is needed and not installed."""

    @classmethod
    def for_extra(cls, package: str, extra: str) -> MissingExtraError:
        """Name the extra that brings `package`."""
        return cls(f"needs the package {package}", mend=f"pip install 'headrace[{extra}]'")


class RunError(HeadraceError):
    """A run began and could not end well."""


class ChecksFailedError(RunError):
    """An expectation about the data does not hold."""


class RowsLostError(RunError):
    """A pass did not see every row exactly once."""


class SchedulerLostError(RunError):
    """The scheduler of a run has ended or is out of reach."""

    passes = True


class StorageError(HeadraceError):
    """Reading from or writing to a URL failed."""


class UnansweredError(StorageError):
    """A store did not answer for so long that it was given up; later it may."""

    passes = True


class PackageError(HeadraceError):
    """A model package is damaged, or holds something that is not trusted."""


class RefusedError(HeadraceError):
    """A guard of the registry refuses what was asked for."""
