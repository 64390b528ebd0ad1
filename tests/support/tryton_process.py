"""Tryton in processes of its own: its configuration is its process's, and so is the SQLite that it runs on.

    python -m tests.support.tryton_process make <folder>            make <folder>/erp.sqlite
    python -m tests.support.tryton_process serve <folder> <port>    serve it until ended
    python -m tests.support.tryton_process admin <args>             trytond-admin

`make` leaves one company, its chart of accounts, a tax of 20 %, a sale point, three ways to pay, a price list and the
users that the tests sign in as. What a test changes afterwards goes through the connector or JSON-RPC.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import shared.sqlite  # Tryton's searches overflow the parser stack of SQLite before 3.45  # noqa: F401

MODULES = ("sale_point", "sale", "sale_price_list", "stock", "account_invoice")
DATABASE = "erp"
CONFIG = "trytond.conf"
PASSWORD = "a long pass phrase of the tests"
GROUPS = (
    ("sale_point", "group_sale_point"),
    ("sale_point", "group_sale_point_posting"),
    ("sale", "group_sale"),
    ("stock", "group_stock"),
    ("product", "group_product_admin"),
    ("party", "group_party_admin"),
    ("account", "group_account"),
)
"""What the exchange's user needs; the user "nobody" has none of them, "clerk" may sell but not post."""


def write_config(folder: Path, port: int = 0) -> Path:
    """Write the server's settings; `trytond` serves every database in *folder*."""
    path = folder / CONFIG
    path.write_text(
        f"[database]\nuri = sqlite://\npath = {folder}\n"
        f"[web]\nlisten = 127.0.0.1:{port}\n"
        "[session]\nauthentications = password\nmax_attempt = 1000\n"
        "[password]\npasslib = \n",
        encoding="utf-8",
    )
    return path


def make(folder: Path) -> None:
    """Make the database; about 25 s, nearly all of it Tryton's own installation of its modules."""
    config = write_config(folder)
    (folder / f"{DATABASE}.sqlite").touch()
    password = folder / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    argv = [sys.executable, "-m", "tests.support.tryton_process", "admin", "-c", str(config), "-d", DATABASE]
    argv += ["--email", "erp@example.org", "--activate-dependencies", "-u", *MODULES]
    subprocess.run(argv, check=True, env={**os.environ, "TRYTONPASSFILE": str(password)})
    _fill(config)


def _fill(config_file: Path) -> None:
    from trytond import config

    config.update_etc([str(config_file)])
    from trytond.pool import Pool
    from trytond.transaction import Transaction

    Pool.start()
    pool = Pool(DATABASE)
    with Transaction().start(DATABASE, 0, readonly=True):
        pool.init()
    with Transaction().start(DATABASE, 1) as transaction:
        company = _company(pool)
        user = pool.get("res.user")(1)
        user.companies = [company]
        user.company = company
        user.save()
        transaction.commit()
    # Tryton asks for a lock on its one-row tables at the very beginning of a transaction.
    locks = ["account_configuration"]
    with Transaction().start(DATABASE, 1, context={"company": company.id}, _lock_tables=locks) as transaction:
        for part in (_chart, _year, _categories, _sale_point, _price_list, _users):
            part(pool, company)
        transaction.commit()


def _company(pool: Any) -> Any:
    currency = pool.get("currency.currency")(
        name="Euro", symbol="€", code="EUR", numeric_code="978", rounding=Decimal("0.01"), digits=2
    )
    currency.save()
    pool.get("currency.currency.rate").create(
        [{"currency": currency.id, "rate": Decimal(1), "date": dt.date(2020, 1, 1)}]
    )
    party = pool.get("party.party")(name="Corner Shops Ltd", addresses=[pool.get("party.address")()])
    party.save()
    company = pool.get("company.company")(party=party, currency=currency)
    company.save()
    return company


def _chart(pool: Any, company: Any) -> None:
    wizard_class = pool.get("account.create_chart", type="wizard")
    accounts = pool.get("account.account")
    root = pool.get("ir.model.data").get_id("account", "account_template_root_en")
    session, _, _ = wizard_class.create()
    wizard = wizard_class(session)
    wizard.account.account_template = pool.get("account.account.template")(root)
    wizard.account.company = company
    wizard.transition_create_account()
    wizard.properties.company = company
    for name, kind in (("account_receivable", "receivable"), ("account_payable", "payable")):
        found = accounts.search([(f"type.{kind}", "=", True), ("party_required", "=", True)], limit=1)
        setattr(wizard.properties, name, found[0])
    for name in ("category_account_expense", "category_account_revenue"):
        kind = name.rpartition("_")[2]
        setattr(wizard.properties, name, _open_account(pool, kind))
    wizard.transition_create_properties()


def _sequence(pool: Any, company: Any, name: str, kind: str, *, strict: bool = True) -> Any:
    data = pool.get("ir.model.data")
    sequence = pool.get("ir.sequence.strict" if strict else "ir.sequence")(
        name=name, company=company, sequence_type=data.get_id(*kind.split("."))
    )
    sequence.save()
    return sequence


def _year(pool: Any, company: Any) -> None:
    """One fiscal year for all the dates that a test may need."""
    start, end = dt.date(2020, 1, 1), dt.date(2039, 12, 31)
    moves = _sequence(pool, company, "Moves", "account.sequence_type_account_move")
    invoices = _sequence(pool, company, "Invoices", "account_invoice.sequence_type_account_invoice")
    year_class = pool.get("account.fiscalyear")
    year = year_class(name="2020-2039", company=company, start_date=start, end_date=end, move_sequence=moves)
    year.invoice_sequences = [
        pool.get("account.fiscalyear.invoice_sequence")(
            company=company,
            in_invoice_sequence=invoices,
            in_credit_note_sequence=invoices,
            out_invoice_sequence=invoices,
            out_credit_note_sequence=invoices,
        )
    ]
    year.save()
    period = pool.get("account.period")(
        name="2020-2039", fiscalyear=year, start_date=start, end_date=end, type="standard"
    )
    period.save()


def _open_account(pool: Any, kind: str) -> Any:
    """The first account of a kind that may be booked on."""
    return pool.get("account.account").search([(f"type.{kind}", "=", True), ("closed", "!=", True)], limit=1)[
        0
    ]


def _account(pool: Any, code: str) -> Any:
    return pool.get("account.account").search([("code", "=", code)], limit=1)[0]


def _categories(pool: Any, company: Any) -> None:
    tax = pool.get("account.tax")(
        name="VAT 20 %",
        description="VAT 20 %",
        type="percentage",
        rate=Decimal("0.2"),
        company=company,
        invoice_account=_account(pool, "6.3.6"),
        credit_note_account=_account(pool, "6.3.6"),
    )
    tax.save()
    category = pool.get("product.category")(
        name="Goods with VAT",
        accounting=True,
        account_revenue=_open_account(pool, "revenue"),
        account_expense=_open_account(pool, "expense"),
        customer_taxes=[tax],
    )
    category.save()


def _sale_point(pool: Any, company: Any) -> None:
    location = pool.get("stock.location")
    journal = pool.get("account.journal").search([("type", "=", "revenue")], limit=1)[0]
    storage = location.search([("code", "=", "STO")], limit=1)[0]
    pool.get("sale.point")(
        name="S1",
        company=company,
        tax_included=True,
        sequence=_sequence(pool, company, "Sale point", "sale_point.sequence_type_sale"),
        storage_location=storage,
        return_location=storage,
        customer_location=location.search([("code", "=", "CUS")], limit=1)[0],
        journal=journal,
    ).save()
    cash = _account(pool, "1.1.1")
    method = pool.get("sale.point.payment.method")
    method(name="Cash", company=company, account=cash, cash=True).save()
    method(name="Card", company=company, account=cash).save()
    method(name="Rounding", company=company, account=cash).save()


def _price_list(pool: Any, company: Any) -> None:
    line = pool.get("product.price_list.line")(formula="list_price * 0.9")
    pool.get("product.price_list")(
        name="Members", company=company, unit="product_default", price="list_price", lines=[line]
    ).save()


def _users(pool: Any, company: Any) -> None:
    data = pool.get("ir.model.data")
    groups = {name: data.get_id(module, name) for module, name in GROUPS}
    posting = groups["group_sale_point_posting"]
    user = pool.get("res.user")
    for login, its_groups in (
        ("exchange", list(groups.values())),
        ("clerk", [number for number in groups.values() if number != posting]),
        ("nobody", []),
    ):
        user(
            name=login.title(),
            login=login,
            password=PASSWORD,
            groups=its_groups,
            companies=[company.id],
            company=company.id,
        ).save()


def main(command: str, *args: str) -> None:
    if command == "make":
        folder = Path(args[0]).resolve()  # Tryton takes its configuration's paths from a folder of its own
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
    elif command == "serve":
        from trytond import security
        from trytond.cli import main as serve

        # Each sign-in would wait for up to a second, so that nobody learns from its time; tests sign in all the time.
        security.random = SimpleNamespace(random=lambda: 0.0)
        config = write_config(Path(args[0]).resolve(), int(args[1]))
        sys.argv[1:] = ["-c", str(config), "-d", DATABASE]
        serve()
    else:
        from trytond.cli.admin import main as admin
        from trytond.model import ModelStorage

        # Tryton would check each of its own records, in half of the time that this takes.
        ModelStorage._validate = classmethod(lambda *_args, **_named: None)
        sys.argv[1:] = args
        admin()


if __name__ == "__main__":
    main(*sys.argv[1:])
