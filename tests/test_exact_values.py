"""The suites' own ground: each product really holds, and its client really hands back, the values to be copied."""

import pytest
from databases import PRODUCTS, Databases
from exact_values import KINDS, Kind
from product_values import PRODUCT_KINDS


@pytest.mark.parametrize(
    ("product", "kind"),
    [pytest.param(p, k, id=f"{p}-{k.name}") for p in PRODUCTS for k in [*KINDS, *PRODUCT_KINDS] if p in k.types],
)
def test_a_source_holds_what_was_put_into_it(databases: Databases, product: str, kind: Kind) -> None:
    source = databases(product)
    if product == "mariadb":
        source.execute("SET SESSION sql_mode = ''")  # else the server refuses zero dates
    expected = kind.fill(source, "t")
    assert kind.content(source, "t") == expected
