"""REST operations of privacy: the policy, the purposes, consents, rights."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import UNSET, Struct

import signaling
from signaling.gateway.request import Handlers, RestRequest, Session
from signaling.privacy.consents import ConsentService
from signaling.privacy.objections import ObjectionService
from signaling.privacy.purposes import purposes
from signaling.privacy.rights import Rights
from signaling.wire.messages import SUBPROTOCOL
from signaling.wire.rest import Account, Interest, Policy, Purpose, ServerInfo


def policy_text(version: str, file: Path | None) -> str:
    """The policy in force (Markdown). Raises ``OSError`` when it cannot be read, ``ValueError`` when it is not that version: people
    acknowledge a version, and must get the very text of it (P04).
    """
    text = (file or Path(__file__).parent / "policy.md").read_text(encoding="utf-8")
    stated = re.search(r"^Version (\S+)$", text, re.MULTILINE)
    if stated is None or stated[1] != version:
        where = f"{file.name} (policy_file)" if file else "the policy in the package"
        raise ValueError(
            f"{where} does not say `Version {version}` in a line of its own: policy_version and the policy's text belong together"
        )
    return text


def policies(version: str, file: Path | None) -> dict[str, Policy]:
    """The policy by language (BCP 47); under the empty string as ``policy_text`` has it, for every other language.

    Translations stand beside the text: ``policy.de.md`` beside ``policy.md``. Each must say the same version. Raises as ``policy_text``.
    """
    base = file or Path(__file__).parent / "policy.md"
    found = {"": Policy(version=version, text=policy_text(version, file), language=UNSET if file else "en")}
    for path in sorted(base.parent.glob(f"{base.stem}.*{base.suffix}")):
        language = path.name.removeprefix(f"{base.stem}.").removesuffix(base.suffix)
        if re.fullmatch(r"[a-z]{2,3}", language):
            found[language] = Policy(version=version, text=policy_text(version, path), language=language)
    return found


def rights_handlers(rights: Rights, objections: ObjectionService, account: Callable[[Session], Awaitable[Account]]) -> Handlers:
    """Handlers of rights, by endpoint id. ``account`` reads the user's own account."""

    async def export(r: RestRequest) -> Struct:
        return await rights.export(r.session, r.body)

    async def delete(r: RestRequest) -> None:
        await rights.delete(r.session, r.body)

    async def restrict(r: RestRequest) -> Struct:
        await rights.restrict(r.session, r.body)
        return await account(r.session)

    async def list_objections(r: RestRequest) -> Struct:
        return await objections.list(r.session.account)

    async def object_to(r: RestRequest) -> Struct:
        return await objections.change(r.session.account, Interest(r.path["interest"]), r.body)

    return {
        "account.export": export,
        "account.delete": delete,
        "account.restrict": restrict,
        "objections.list": list_objections,
        "objections.change": object_to,
    }


def handlers(service: ConsentService, *, server_name: str, policy_version: str, policy_file: Path | None) -> Handlers:
    """Handlers of the policy and of consents, by endpoint id. Raises as ``policy_text``."""
    by_language = policies(policy_version, policy_file)
    info = ServerInfo(
        name=server_name,
        version=signaling.__version__,
        protocol=SUBPROTOCOL,
        policy_version=policy_version,
        purposes=purposes(),
    )

    async def server_info(_r: RestRequest) -> Struct:
        return info

    async def server_policy(r: RestRequest) -> Struct:
        return by_language.get(r.query.get("language", ""), by_language[""])

    async def list_consents(r: RestRequest) -> Struct:
        return await service.list(r.session.account)

    async def change(r: RestRequest) -> Struct:
        return await service.change(r.session.account, Purpose(r.path["purpose"]), r.body)

    return {
        "server.info": server_info,
        "server.policy": server_policy,
        "consents.list": list_consents,
        "consents.change": change,
    }
