"""Every operation of the operators' API: the tables of all subjects together."""

from typing import Final

from signaling.wire.admin.access import ACCESS_ENDPOINTS
from signaling.wire.admin.frame import AdminEndpoint, AdminEvents
from signaling.wire.admin.operations import OPERATIONS_ENDPOINTS, OPERATIONS_EVENTS
from signaling.wire.admin.people import PEOPLE_ENDPOINTS

ADMIN_ENDPOINTS: Final[tuple[AdminEndpoint, ...]] = (*ACCESS_ENDPOINTS, *PEOPLE_ENDPOINTS, *OPERATIONS_ENDPOINTS)
"""In the order of the document. Paths without parameters stand before those with one in the same place."""

ADMIN_EVENTS: Final[tuple[AdminEvents, ...]] = (OPERATIONS_EVENTS,)
"""Live updates, which are no endpoints: they do not end by themselves."""
