"""Secrets: strings that do not show themselves by accident."""

from __future__ import annotations

from typing import Any, Optional

MASK = "***"


class Secret(str):
    """A string whose `repr` is masked; its value is what `str`, an f-string and a driver's call see.

    Values of type SecureString in what ADF handed over arrive as this. dray masks every known secret in what it writes
    itself (its log, its errors, outputs.json), and in what the script prints unless it prints to a terminal.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (str(self),)


class KeyVaultSecret:
    """A reference to a secret in Azure Key Vault, which is fetched when its value is first used.

    `value`, `str(...)` and an f-string give the value. Processes of a run that use the same secret fetch it once.

    Attributes:
        store: name of the linked service of the vault.
        secret_name: name of the secret in it.
        secret_version: its version, None for the newest.
    """

    def __init__(self, store: Optional[str], secret_name: Optional[str], secret_version: Optional[str]) -> None:
        self.store = store
        self.secret_name = secret_name
        self.secret_version = secret_version
        self._value: Optional[Secret] = None

    @property
    def value(self) -> Secret:
        """The secret. Waits for the network the first time.

        Raises:
            UnresolvedSecretError: it cannot be had; its `code` tells why.
        """
        if self._value is None:
            from . import _native, _run

            fetched = _native.fetch_secret(_run.task_folder(), self.store, self.secret_name, self.secret_version)
            self._value = Secret(fetched)
        return self._value

    def __repr__(self) -> str:
        return f"KeyVaultSecret(store={self.store!r}, secret_name={self.secret_name!r})"

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, format_spec: str) -> str:
        return format(str(self.value), format_spec)

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the value: whoever unpickles it is of the run and gets it from there, or has to ask for itself.
        return KeyVaultSecret, (self.store, self.secret_name, self.secret_version)
