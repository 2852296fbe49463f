"""The ways to wake devices that the settings name."""

import json

from signaling.push.sender import Sender
from signaling.push.vapid import Vapid
from signaling.push.web import WebPush
from signaling.settings import Settings
from signaling.wire.rest import PushKind


def make_senders(settings: Settings, vapid: Vapid) -> dict[PushKind, Sender]:
    """The ways to wake devices that the settings name. Raises ``ValueError`` for settings that do not go together."""
    if settings.push_allow_private and "*" in settings.push_hosts:
        raise ValueError("push_allow_private: name your own push service in push_hosts; with * anybody could reach your network")
    senders: dict[PushKind, Sender] = {PushKind.WEB: WebPush(vapid, allow_private=settings.push_allow_private)}
    if settings.apns_key_file is None and settings.fcm_credentials_file is None:
        return senders
    try:
        # only who has apps needs the libraries
        from signaling.push.apns import PRODUCTION, SANDBOX, AppleNotifications
        from signaling.push.fcm import FirebaseMessaging
    except ModuleNotFoundError as error:
        raise ValueError(f"apns_key_file, fcm_credentials_file: need `kloudtalk[mobile]` ({error.name} is missing)") from None
    if settings.apns_key_file is not None:
        key_id, team_id, topic = settings.apns_key_id, settings.apns_team_id, settings.apns_topic
        if key_id is None or team_id is None or topic is None:
            raise ValueError("apns_key_file: apns_key_id, apns_team_id and apns_topic are needed")
        key = settings.apns_key_file.read_text()
        senders[PushKind.APNS] = AppleNotifications(
            key=key, key_id=key_id, team_id=team_id, topic=topic, url=SANDBOX if settings.apns_sandbox else PRODUCTION
        )
    if settings.fcm_credentials_file is not None:
        senders[PushKind.FCM] = FirebaseMessaging(json.loads(settings.fcm_credentials_file.read_text()))
    return senders
