"""Connections for a script's own statements."""

from __future__ import annotations


def connection_string(name_or_string: str) -> str:
    """The ODBC connection string of a linked service; a text with ``=`` in it is one already."""
    if "=" in name_or_string:
        return str(name_or_string)
    from . import _handover

    return _handover.connection_string(name_or_string)
