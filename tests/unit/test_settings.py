"""Settings: the document is what the code says, and what ``serve`` hands to its children gives the same settings again."""

from pathlib import Path

from signaling.settings import Settings
from signaling.settings_loader import load_settings, table, to_environment

ROOT = Path(__file__).parent.parent.parent


def test_the_document_is_generated():
    assert (ROOT / "docs/settings.md").read_text() == table()


def test_every_setting_survives_the_way_to_a_child():
    settings = Settings(
        server_name="Élan",
        port=1234,
        origins=("https://a.example", "https://b.example:444"),
        turn_urls=("turn:t.example:3478?transport=udp",),
        turn_secret="s, with a comma",
        smtp_port=25,
        data_dir=Path("/tmp/some where"),
    )
    assert load_settings(to_environment(settings)) == settings


def test_the_defaults_need_no_environment():
    assert to_environment(Settings()) == {}
    assert load_settings({}) == Settings()
