"""The admin API: everything that HQ's command line, console and scripts do goes through these operations."""

from __future__ import annotations

from central.api.admin.access import AccessApi
from central.api.admin.crossref import CrossrefApi
from central.api.admin.deliveries import DeliveriesApi
from central.api.admin.desk import DeskApi
from central.api.admin.documents import DocumentsApi
from central.api.admin.groups import DocumentGroupsApi
from central.api.admin.integrations import IntegrationsApi
from central.api.admin.oversight import OversightApi
from central.api.admin.parties import PartiesApi
from central.api.admin.registry import RegistryApi
from central.api.admin.sources import SourcesApi
from central.api.admin.stations import StationsApi
from central.api.admin.stuck import StuckApi
from central.api.admin.templates import TemplatesApi


class AdminApi(
    RegistryApi,
    StationsApi,
    DocumentsApi,
    StuckApi,
    IntegrationsApi,
    DeliveriesApi,
    DeskApi,
    DocumentGroupsApi,
    OversightApi,
    AccessApi,
    CrossrefApi,
    SourcesApi,
    PartiesApi,
    TemplatesApi,
):
    """All of `/v1/admin`, one part per chapter."""
