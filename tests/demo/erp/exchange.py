"""The integration that the demo states over the admin API: products and prices in, sales and what comes back out."""

from __future__ import annotations

from typing import Any

from tests.support.chain import PRICE_LIST
from tests.support.tryton_process import DATABASE, PASSWORD

NAME = "tryton"
KINDS = ("sale", "sale_cancellation", "return")
PRODUCTS = {
    "code": "{{code}}",
    "name": "{{name}}",
    "unit": "{{unit}}",
    "barcodes": "{{barcodes}}",
    "active": "{{active}}",
}
PRICES = {
    "price_list": PRICE_LIST,
    "product": "{{product}}",
    "amount_minor": "{{amount | minor('ILS')}}",
    "currency": "{{currency}}",
}
BATCH_DOCUMENTS = 20
"""Tryton needs a third of a second to book a sale; so it has a batch within its time on a busy machine too."""
OVERLAP = "10s"
"""Longer than a transaction of the office, and shorter than a day of the demo: a pull reads what changed, not all."""
SALES = {
    "point": "{{store}}",
    "date": "{{business_date}}",
    "currency": "{{payload.currency}}",
    "lines": {
        "each": "payload.lines",
        "fields": {
            "product": "{{product}}",
            "quantity": "{{quantity}}",
            "amount": "{{amount_minor | amount('ILS')}}",
            "tax": "{{sum(taxes[].amount_minor) | amount('ILS')}}",
        },
    },
    "payments": {
        "each": "payload.payments",
        "fields": {
            "method": {"value": "{{type}}", "map": "payments"},
            "amount": "{{amount_minor | amount('ILS')}}",
        },
    },
}


def definition(url: str, **settings: Any) -> dict[str, Any]:
    """The integration with the Tryton at *url*; *settings* go before those of the demo."""
    return {
        "name": NAME,
        "title": "Tryton: goods and prices in, sales out",
        "connector": "tryton",
        "settings": {
            "url": url,
            "database": DATABASE,
            "user": "exchange",
            "password": PASSWORD,
            "batch_documents": BATCH_DOCUMENTS,
            **settings,
        },
        "maps": {"payments": {"CASH": "Cash", "CARD": "Card"}},
        "pull": [
            {
                "name": "products",
                "source": "products",
                "entity": "product",
                "scope": "base",
                "overlap": OVERLAP,
                "fields": PRODUCTS,
            },
            {
                "name": "prices",
                "source": "prices",
                "entity": "price",
                "scope": f"pricelist/{PRICE_LIST}",
                "overlap": OVERLAP,
                "fields": PRICES,
            },
        ],
        "deliver": [{"name": "sale", "kinds": list(KINDS), "target": "sale", "fields": SALES}],
    }
