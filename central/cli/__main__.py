"""`python -m central.cli`, where no console script is installed."""

from __future__ import annotations

from central.cli import main

main()
