"""Settings: the document is what the code says, and what ``serve`` hands to its children gives the same settings again."""

from pathlib import Path

import pytest

from signaling.privacy.api import policies, policy_text
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
        turn_secret="a secret of 32 characters, with a comma",
        smtp_port=25,
        data_dir=Path("/tmp/some where"),
    )
    assert load_settings(to_environment(settings)) == settings


def test_the_defaults_need_no_environment():
    assert to_environment(Settings()) == {}
    assert load_settings({}) == Settings()


def test_the_policy_in_the_package_is_that_of_the_default_version():
    assert policy_text(Settings().policy_version, None).startswith("# Privacy policy")


def test_a_policy_of_another_version_is_refused(tmp_path):
    file = tmp_path / "policy.md"
    file.write_text("# Ours\n\nVersion 2026-10\n\nIt replaces Version 2026-1.\n")
    assert policy_text("2026-10", file).startswith("# Ours")
    for version, where in (("2026-1", file), ("2026-10", None), ("", file)):
        with pytest.raises(ValueError, match="belong together"):
            policy_text(version, where)


def test_the_policy_is_there_in_every_language_of_the_page_and_says_the_same_in_each():
    found = policies(Settings().policy_version, None)
    assert found.keys() == {"", "de", "ar"}
    assert found[""].language == "en"
    assert len({text.text.count("\n## ") for text in found.values()}) == 1
    assert len({policy.text for policy in found.values()}) == 3


def test_a_translation_of_another_version_is_refused(tmp_path: Path):
    (tmp_path / "ours.md").write_text("# Ours\n\nVersion 7\n")
    (tmp_path / "ours.fr.md").write_text("# La nôtre\n\nVersion 7\n")
    assert policies("7", tmp_path / "ours.md").keys() == {"", "fr"}
    (tmp_path / "ours.fr.md").write_text("# La nôtre\n\nVersion 6\n")
    with pytest.raises(ValueError, match=r"ours\.fr\.md"):
        policies("7", tmp_path / "ours.md")
