"""Every purpose is obeyed: what needs the consent is refused without it, and after it was withdrawn (P02, P21)."""

import pytest

from signaling.client.client import Client
from signaling.client.rest import ClientError
from signaling.privacy.purposes import PURPOSES
from signaling.wire.errors import ErrorCode
from signaling.wire.rest import ENDPOINTS, ChangeContacts, DeviceInfo, Evaluate, Purpose
from tests.integration.hub_fixture import register
from tests.integration.test_client_calls import ALICE

BODIES = {
    "discovery.evaluate": Evaluate(["4mLppGcOFlyUTyrzTXHK0x6KtDEVTEvK5sM4mJQMLQ4"[:43]]),
    "contacts.change": ChangeContacts(),
    "devices.describe": DeviceInfo(os="Debian"),
}
"""A valid body for each operation that needs a consent."""


@pytest.fixture
async def alice(hub):
    client = await register(hub, ALICE)
    yield client
    await client.close()


async def refused(client: Client, operation: str) -> bool:
    """Whether an operation is refused for want of a consent."""
    try:
        await client._ask(operation, BODIES[operation], session=True)
    except ClientError as error:
        return error.code is ErrorCode.CONSENT_REQUIRED
    return False


def test_every_purpose_is_in_the_registry_and_names_operations_that_say_so():
    assert PURPOSES.keys() == set(Purpose)
    by_id = {endpoint.id: endpoint for endpoint in ENDPOINTS}
    for entry in PURPOSES.values():
        assert entry.needs
        assert all(ErrorCode.CONSENT_REQUIRED in by_id[operation].errors for operation in entry.needs)
    said = {endpoint.id for endpoint in ENDPOINTS if ErrorCode.CONSENT_REQUIRED in endpoint.errors}
    assert said == {operation for entry in PURPOSES.values() for operation in entry.needs} == BODIES.keys()


@pytest.mark.parametrize("purpose", list(Purpose))
async def test_a_purpose_is_obeyed_from_the_first_to_the_last(alice, purpose):
    needs = PURPOSES[purpose].needs
    for operation in needs:
        assert await refused(alice, operation), "silence is no consent"
    await alice.allow(purpose)
    for operation in needs:
        assert not await refused(alice, operation)
    others = [other for other in Purpose if other is not purpose]
    for operation in (operation for other in others for operation in PURPOSES[other].needs):
        assert await refused(alice, operation), "a yes to one purpose is none to another"
    await alice.allow(purpose, granted=False)
    for operation in needs:
        assert await refused(alice, operation), "a withdrawal holds at once"
