"""REST operations of accounts: registration, devices, links, the user's own account."""

from msgspec import Struct

from signaling.accounts.contact_change import ContactChangeService
from signaling.accounts.device_details import DeviceDetailsService
from signaling.accounts.devices import DeviceService
from signaling.accounts.links import LinkService
from signaling.accounts.profile import ProfileService
from signaling.accounts.public_profile import PublicProfileService
from signaling.accounts.registration import RegistrationService
from signaling.accounts.services import EchoAccountService
from signaling.gateway.request import Handlers, RestRequest


def profile_handlers(
    *, account: ProfileService, profiles: PublicProfileService, changes: ContactChangeService, details: DeviceDetailsService
) -> Handlers:
    """Handlers of what users say of themselves, by endpoint id."""

    async def change(r: RestRequest) -> Struct:
        await profiles.change(r.session, r.body)
        return await account.get(r.session)

    async def acknowledge(r: RestRequest) -> Struct:
        return await account.acknowledge_policy(r.session, r.body.version)

    async def set_picture(r: RestRequest) -> Struct:
        await profiles.set_picture(r.session, r.body)
        return await account.get(r.session)

    async def remove_picture(r: RestRequest) -> None:
        await profiles.remove_picture(r.session)

    async def list_profiles(r: RestRequest) -> Struct:
        return await profiles.profiles(r.session, r.body.accounts)

    async def picture(r: RestRequest) -> Struct:
        return await profiles.picture(r.session, r.path["account"])

    async def start_change(r: RestRequest) -> Struct:
        return await changes.start(r.session, r.body, r.address)

    async def finish_change(r: RestRequest) -> Struct:
        await changes.finish(r.session, r.body)
        return await account.get(r.session)

    async def describe(r: RestRequest) -> None:
        await details.describe(r.session, r.body, r.address)

    return {
        "profile.change": change,
        "policy.acknowledge": acknowledge,
        "profile.set_picture": set_picture,
        "profile.remove_picture": remove_picture,
        "profile.list": list_profiles,
        "profile.picture": picture,
        "account.start_change": start_change,
        "account.finish_change": finish_change,
        "devices.describe": describe,
    }


def echo_handlers(echo: EchoAccountService) -> Handlers:
    """Handlers of the account that answers test calls, by endpoint id."""

    async def get(_r: RestRequest) -> Struct:
        return await echo.get()

    async def enrol(r: RestRequest) -> Struct:
        return await echo.enrol(r.bearer, r.body.certificate)

    return {"echo.get": get, "echo.enrol": enrol}


def handlers(*, registration: RegistrationService, profile: ProfileService, devices: DeviceService, links: LinkService) -> Handlers:
    """Handlers by endpoint id."""

    async def start(r: RestRequest) -> Struct:
        return await registration.start(r.body, r.address)

    async def send_code(r: RestRequest) -> Struct:
        return await registration.send_code(r.bearer, r.body.channel, r.address)

    async def verify(r: RestRequest) -> Struct:
        return await registration.verify(r.bearer, r.body.channel, r.body.code)

    async def finish(r: RestRequest) -> Struct:
        return await registration.finish(r.bearer, r.body)

    async def get(r: RestRequest) -> Struct:
        return await profile.get(r.session)

    async def change_settings(r: RestRequest) -> Struct:
        return await profile.change_settings(r.session, r.body)

    async def list_devices(r: RestRequest) -> Struct:
        return await devices.list(r.session)

    async def revoke(r: RestRequest) -> None:
        await devices.revoke(r.session, r.path["device"])

    async def sign_out(r: RestRequest) -> None:
        await devices.sign_out(r.session, keep_current=r.body.keep_current)

    async def of_account(r: RestRequest) -> Struct:
        return await devices.of_account(r.session, r.path["account"])

    async def open_link(r: RestRequest) -> Struct:
        return await links.open(r.session)

    async def claim(r: RestRequest) -> Struct:
        return await links.claim(r.body)

    async def outcome(r: RestRequest) -> Struct:
        return await links.outcome(r.bearer)

    async def status(r: RestRequest) -> Struct:
        return await links.status(r.session, r.path["link"])

    async def approve(r: RestRequest) -> Struct:
        return await links.approve(r.session, r.path["link"], r.body)

    async def refuse(r: RestRequest) -> None:
        await links.refuse(r.session, r.path["link"])

    return {
        "registration.start": start,
        "registration.send_code": send_code,
        "registration.verify": verify,
        "registration.finish": finish,
        "account.get": get,
        "settings.change": change_settings,
        "devices.list": list_devices,
        "devices.revoke": revoke,
        "devices.sign_out": sign_out,
        "devices.of_account": of_account,
        "links.open": open_link,
        "links.claim": claim,
        "links.outcome": outcome,
        "links.status": status,
        "links.approve": approve,
        "links.refuse": refuse,
    }
