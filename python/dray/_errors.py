"""The base of every exception that dray raises itself."""

from __future__ import annotations


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
    """The value of a Key Vault reference was asked for, and this version of dray does not fetch it."""

    code = "secret.unresolved"
    exit_code = 112
