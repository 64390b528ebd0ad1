"""The systems that the centre can be connected to, by name. A new connector is a folder here and a line below."""

from __future__ import annotations

from central.connectors.base import Connector
from central.connectors.drop_folder.connector import DropFolder
from central.connectors.tryton.connector import TrytonConnector

CONNECTORS: dict[str, type[Connector]] = {
    "drop_folder": DropFolder,
    "tryton": TrytonConnector,
}
