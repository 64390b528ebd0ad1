"""The yardstick, where it lies beside the checkout (../shared/yardstick), and the words of our own generators."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

YARDSTICK = Path(__file__).resolve().parents[3] / "shared" / "yardstick" / "yardstick.py"
FIRST_MS = 1_760_000_000_000
NAMES = (
    "Café moulu",
    "Lait demi-écrémé",
    "Pain complet",
    "Eau gazeuse",
    "Riz basmati",
    "Savon doux",
    "Thé vert",
)
GROUPS = ("GROC-DRY", "GROC-FRESH", "DRINKS", "HOME", "HYGIENE", "BAKERY", "PRODUCE", "MEAT")
UNITS = ("pcs", "kg", "l", "pack")
RATES_BP = (0, 550, 1000, 2000)


@functools.cache
def yardstick() -> Any:
    """Its module, None where it is absent: then each generator makes its own of the same shape."""
    if not YARDSTICK.exists():
        return None
    spec = importlib.util.spec_from_file_location("yardstick", YARDSTICK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
