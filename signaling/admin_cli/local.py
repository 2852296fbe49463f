"""What only who administers the machine may do: the first operator, and ways back in. It opens the hub's stores, not the API."""

import argparse
import sys

from signaling.admin_cli.client import AdminError
from signaling.admin_cli.prompts import confirm_authenticator, new_password
from signaling.operators.audit import Action
from signaling.operators.operator import OperatorError
from signaling.settings import Settings
from signaling.supervisor import embedded_stores
from signaling.wire.admin.access import FinishEnrolment, Invitation
from signaling.wire.admin.frame import Role
from signaling.wire.errors import Refused


async def run(settings: Settings, options: argparse.Namespace) -> None:
    """Run one command. Raises ``AdminError``, and the stores' errors."""
    from signaling.app import make_hub  # with everything behind it: not for who asks for help

    hub = make_hub(embedded_stores(settings))
    parts = hub.operators
    try:
        if options.action == "unlock":
            await parts.limits.unlock(options.name)
            await parts.audit.note(None, Action.OPERATOR_UNLOCKED, options.name)
            print(f"wrong tries for {options.name} are forgotten")
        elif options.action == "reset":
            _show_invitation(await parts.operators.invite(None, options.name), settings.admin_url)
        elif options.invite:
            _show_invitation(await parts.operators.add(None, options.name, Role(options.role)), settings.admin_url)
        else:
            password = new_password(options.name)  # before anything is done: a weak one changes nothing
            invitation = await parts.operators.add(None, options.name, Role(options.role))
            enrolment = await parts.sign_ins.enrol(options.name, invitation.code, "local")
            code = confirm_authenticator(enrolment.totp_secret, enrolment.totp_uri)
            body = FinishEnrolment(options.name, invitation.code, password, code)
            await parts.sign_ins.finish_enrolment(body, "local", "kloudtalk admin create")
            await parts.operators.end_sessions(None, options.name)
            print(
                f"{options.name} ({options.role}) can sign in now: at /operator/, or by `kloudtalk admin login`.", file=sys.stderr
            )
    except OperatorError as error:
        raise AdminError(str(error)) from None
    except Refused as refused:
        raise AdminError(f"{refused.message} Invite {options.name} again with `kloudtalk admin reset {options.name}`.") from None
    finally:
        await hub.close_stores()


def _show_invitation(invitation: Invitation, url: str | None) -> None:
    print(invitation.code)
    where = f"{url or 'http(s)://THE-SERVICE'}/operator/#enrol"
    print(
        f"This code is shown once and good for three days. {invitation.operator} enrols with it at {where}, "
        f"or by `kloudtalk admin enrol {invitation.operator}`.",
        file=sys.stderr,
    )
