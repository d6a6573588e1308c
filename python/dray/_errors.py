"""The base of every exception that dray raises itself."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._copy import CopyReport


class Error(Exception):
    """Base of dray's own exceptions.

    Attributes:
        code: a stable name such as `outputs.not_json`, the same in the log and in outputs.json.
        exit_code: what `dray run` exits with if the script lets the exception pass.
    """

    code: str = "dray.error"
    exit_code: int = 1


class ActivityError(Error):
    """What ADF handed over cannot be read, or lacks what was asked for."""

    code = "activity.invalid"
    exit_code = 112


class OutputsError(Error, ValueError):
    """A value that outputs.json cannot hold."""

    code = "outputs.not_json"
    exit_code = 115


class ParametersError(Error, TypeError):
    """The parameters do not fit the signature of the function that is the entrypoint."""

    code = "parameters.invalid"
    exit_code = 110


class UnresolvedSecretError(Error):
    """The secret behind a Key Vault reference cannot be had.

    ``code`` tells why: ``azure.no_identity``, ``azure.several_identities``, ``azure.forbidden``, ``azure.not_found``,
    ``activity.vault_not_referenced`` (with ``exit_code`` 112) and others.
    """

    code = "azure.failed"
    exit_code = 118


class DatabaseError(Error):
    """A database or its driver did not do what it was asked.

    Attributes:
        code: Stable name of the error, such as ``odbc.call_failed``.
        sqlstate: Five letters from the driver, or None.
        native: The product's own error number, or None.
        hint: What may help, or None.
        exit_code: What ``dray run`` ends with if nobody catches the exception.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        code: str = "database.other",
        sqlstate: str | None = None,
        native: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.sqlstate = sqlstate
        self.native = native
        self.hint = hint


class ConnectError(DatabaseError):
    """A connection could not be made; ``exit_code`` is 114."""

    exit_code = 114


class DriverNotFoundError(ConnectError):
    """The ODBC driver is not on this node, or lacks a library; the message lists the drivers that are there."""


class CopyError(DatabaseError):
    """One table or more could not be copied; each of them is as it was before.

    Attributes:
        table: The first failed source table, or None if nothing was begun.
        target: The table that it was to go into.
        column: The column at fault, or None.
        row: The row at fault, counted from 1 in the order of reading, or None.
        key: That row's primary key, such as ``l_orderkey=7, l_linenumber=2``, or None; without columns of text.
        phase: ``connect``, ``plan``, ``prepare``, ``read``, ``convert``, ``write`` or ``commit``.
        side: ``source`` or ``target``.
        report: What was copied all the same, or None if nothing was begun.
    """

    table: str | None = None
    target: str | None = None
    column: str | None = None
    row: int | None = None
    key: str | None = None
    phase: str | None = None
    side: str | None = None
    report: CopyReport | None = None
