"""The registry of purposes that need a consent (P21): what the user is asked, word for word, and what obeys the answer. Pure data.

A purpose without an operation that refuses when the consent is missing does not belong here; ``tests/integration/test_purposes.py`` holds each to it.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from signaling.wire.rest import Purpose, PurposeText


class Entry(Struct, frozen=True):
    """One purpose."""

    texts: Mapping[str, str]
    """What the user is asked, by language (BCP 47); English is always there. A consent refers to the hash of the text that was shown:
    another text is another question, and who said yes to the old one is asked again."""
    promises: tuple[str, ...]
    needs: tuple[str, ...]
    """Ids of the operations (``wire/rest.py``) that are refused with ``consent_required`` without it."""


PURPOSES: Final[dict[Purpose, Entry]] = {
    Purpose.PHONEBOOK: Entry(
        texts={
            "en": (
                "KloudTalk may use my phonebook to show which of my contacts use KloudTalk. Names and numbers are encrypted on my device "
                "before they are uploaded; the server cannot read them. I can withdraw this in the settings at any time, and what was "
                "uploaded is then deleted at once. Without it I can do everything else."
            ),
            "de": (
                "KloudTalk darf mein Telefonbuch verwenden, um mir zu zeigen, wer von meinen Kontakten KloudTalk nutzt. Namen und Nummern "
                "werden auf meinem Gerät verschlüsselt, bevor sie hochgeladen werden; der Server kann sie nicht lesen. Ich kann das in den "
                "Einstellungen jederzeit widerrufen; was hochgeladen wurde, wird dann sofort gelöscht. Ohne diese Erlaubnis kann ich alles "
                "andere tun."
            ),
            "ar": (
                "يجوز لـ KloudTalk أن يستعمل دليل هاتفي ليُظهر لي مَن مِن جهات اتصالي يستعمل KloudTalk. تُشفَّر الأسماء والأرقام على جهازي قبل رفعها، "
                "ولا يستطيع الخادم قراءتها. يمكنني سحب هذه الموافقة من الإعدادات في أي وقت، وعندها يُحذف ما رُفع فورًا. ومن دونها يمكنني فعل كل "
                "ما عدا ذلك."
            ),
        },
        promises=("P05", "P06", "P08"),
        needs=("discovery.evaluate", "contacts.change"),
    ),
    Purpose.DEVICE_DETAILS: Entry(
        texts={
            "en": (
                "KloudTalk may keep what my devices tell about themselves (model, system, browser, version of the app, operator, language, "
                "time zone, battery, signal) and the network and region that they connect from, so that I recognise them in my list of "
                "devices and notice one that is not mine. Only I see it. I can withdraw this in the settings at any time, and it is then "
                "deleted at once. Without it the list shows names only."
            ),
            "de": (
                "KloudTalk darf speichern, was meine Geräte über sich sagen (Modell, System, Browser, Version der App, Netzbetreiber, "
                "Sprache, Zeitzone, Akku, Empfang), und aus welchem Netz und welcher Region sie sich verbinden, damit ich sie in meiner "
                "Geräteliste wiedererkenne und eines bemerke, das nicht meines ist. Nur ich sehe das. Ich kann das in den Einstellungen "
                "jederzeit widerrufen; es wird dann sofort gelöscht. Ohne diese Erlaubnis zeigt die Liste nur Namen."
            ),
            "ar": (
                "يجوز لـ KloudTalk أن يحفظ ما تقوله أجهزتي عن نفسها (الطراز والنظام والمتصفح وإصدار التطبيق والمشغّل واللغة والمنطقة الزمنية "
                "والبطارية والإشارة) والشبكة والمنطقة اللتين تتصل منهما، لكي أتعرّف عليها في قائمة أجهزتي وألاحظ جهازًا ليس لي. لا يرى ذلك أحد "
                "غيري. يمكنني سحب هذه الموافقة من الإعدادات في أي وقت، وعندها يُحذف ذلك فورًا. ومن دونها لا تُظهر القائمة إلا الأسماء."
            ),
        },
        promises=("P18", "P19"),
        needs=("devices.describe",),
    ),
    Purpose.QUALITY: Entry(
        texts={
            "en": (
                "KloudTalk may keep how well each of my calls worked (delay, lost and late packets, the way that the sound took, my browser), "
                "every ten seconds while it goes on and once when it has ended, for 30 days at most, so that those who run this server see "
                "what goes wrong. It never holds what is "
                "said, nor with whom I talk, nor an IP address. I can withdraw this in the settings at any time, and it is then deleted at "
                "once. Without it my calls work just the same."
            ),
            "de": (
                "KloudTalk darf speichern, wie gut jeder meiner Anrufe funktioniert hat (Verzögerung, verlorene und verspätete Pakete, der "
                "Weg, den der Ton nahm, mein Browser), alle zehn Sekunden, während er läuft, und einmal, wenn er zu Ende ist, für höchstens "
                "30 Tage, damit die Betreiber dieses Servers sehen, was nicht gut läuft. Nie gehört dazu, was gesagt wird, mit wem ich spreche oder eine IP-Adresse. Ich kann das in den "
                "Einstellungen jederzeit widerrufen; es wird dann sofort gelöscht. Ohne diese Erlaubnis funktionieren meine Anrufe genauso."
            ),
            "ar": (
                "يجوز لـ KloudTalk أن يحفظ مدى جودة كل مكالمة من مكالماتي (التأخر والحزم الضائعة والمتأخرة والطريق الذي سلكه الصوت ومتصفحي)، كل "
                "عشر ثوانٍ أثناء المكالمة ومرة واحدة عند انتهائها، ولمدة ثلاثين يومًا على الأكثر، لكي يرى مشغّلو هذا الخادم ما الذي لا يعمل جيدًا. ولا يتضمن ذلك أبدًا ما يُقال ولا مع مَن "
                "أتحدث ولا عنوان IP. يمكنني سحب هذه الموافقة من الإعدادات في أي وقت، وعندها يُحذف ذلك فورًا. ومن دونها تعمل مكالماتي كما هي."
            ),
        },
        promises=("P17",),
        needs=("calls.quality", "calls.heard"),
    ),
}
"""Every purpose."""


def purposes() -> list[PurposeText]:
    """Every purpose in every language, with the text's hash; English first."""
    return [
        PurposeText(purpose, text, _sha256(text), language)
        for purpose, entry in PURPOSES.items()
        for language, text in sorted(entry.texts.items(), key=lambda item: item[0] != "en")
    ]


def text_hash(purpose: Purpose, language: str = "en") -> str:
    """Hex SHA-256 of a purpose's text."""
    return _sha256(PURPOSES[purpose].texts[language])


def is_current(purpose: Purpose, sha256: str) -> bool:
    """Whether this is the hash of words that are asked now, in whatever language."""
    return any(_sha256(text) == sha256 for text in PURPOSES[purpose].texts.values())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
