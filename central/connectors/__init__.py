"""The systems that the centre can be connected to, by name. A new connector is a folder here and a line below.

`formats` is none: it is how files are read and written, whoever's they are.
"""

from __future__ import annotations

from central.connectors.base import Connector
from central.connectors.drop_folder.connector import DropFolder
from central.connectors.files.connector import FilesConnector
from central.connectors.tryton.connector import TrytonConnector

CONNECTORS: dict[str, type[Connector]] = {
    "drop_folder": DropFolder,
    "files": FilesConnector,
    "tryton": TrytonConnector,
}
