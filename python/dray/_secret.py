"""Secrets: strings that do not show themselves by accident."""

from __future__ import annotations

from typing import Any, NoReturn, Optional

from ._errors import UnresolvedSecretError

MASK = "***"


class Secret(str):
    """A string whose `repr` is masked; its value is what `str`, an f-string and a driver's call see.

    Values of type SecureString in what ADF handed over arrive as this. dray masks every known secret in what it writes
    itself: its log, its errors, outputs.json. `print(secret)` shows it, as for any string.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (str(self),)


class KeyVaultSecret:
    """A reference to a secret in Azure Key Vault, not resolved.

    Attributes:
        store: name of the linked service of the vault.
        secret_name: name of the secret in it.
        secret_version: its version, None for the newest.
    """

    def __init__(self, store: Optional[str], secret_name: Optional[str], secret_version: Optional[str]) -> None:
        self.store = store
        self.secret_name = secret_name
        self.secret_version = secret_version

    @property
    def value(self) -> str:
        """Raises `UnresolvedSecretError`: fetching from the vault is not there yet."""
        self._refuse()

    def __repr__(self) -> str:
        return f"KeyVaultSecret(store={self.store!r}, secret_name={self.secret_name!r})"

    def __str__(self) -> str:
        self._refuse()

    def __format__(self, format_spec: str) -> str:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise UnresolvedSecretError(
            f"secret `{self.secret_name}` of key vault `{self.store}` is not resolved: ADF hands over the reference, "
            "not the value; pass the value as a SecureString in the activity's extended properties"
        )
