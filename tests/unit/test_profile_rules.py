"""Texts of profiles, coarse networks, countries of numbers, pictures (P03, P15, P18, P19)."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from signaling.accounts.location import Locator, Place
from signaling.accounts.pictures import MAX_PIXELS, PictureInvalid, redraw
from signaling.accounts.profile_rules import clean, country_of, network_of


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  Ann   Lee \n", "Ann Lee"),
        ("tab\there", "tab here"),
        ("evil\u202egnp.exe", "evilgnp.exe"),  # right-to-left override
        ("a\u200bb\x00c", "abc"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("Zoe\u0308", "Zoë"),
        ("\u00a0\u2028", ""),
    ],
)
def test_texts_are_cleaned(text, kept):
    assert clean(text) == kept


@given(st.text(max_size=200))
def test_a_cleaned_text_is_clean_and_of_one_line(text):
    kept = clean(text)
    assert clean(kept) == kept
    assert "\n" not in kept
    assert kept.strip() == kept


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("unknown", ""),
    ],
)
def test_addresses_are_kept_as_networks(address, network):
    assert network_of(address) == network


def test_countries_of_numbers():
    assert [country_of(n) for n in ("+4930901820", "+442079460018", "+12125550123", "+80012345678")] == ["DE", "GB", "US", ""]


def picture(size=(800, 600), kind="JPEG", **options) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size, "red").save(made, kind, **options)
    return made.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_picture_is_drawn_anew_in_one_size(kind):
    with Image.open(io.BytesIO(redraw(picture(kind=kind)))) as kept:
        assert (kept.format, kept.size) == ("WEBP", (512, 512))


def test_nothing_of_the_file_but_the_picture_is_kept():
    exif = Image.Exif()
    exif[0x010E] = "taken at home, secretly"  # ImageDescription
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}  # GPS
    exif[0x0112] = 6  # Orientation: turned
    marked = picture(exif=exif, comment=b"a secret comment") + b"secret trailer"
    assert b"secretly" in marked
    kept = redraw(marked)
    assert b"secret" not in kept
    assert b"EXIF" not in kept.upper()
    assert b"ICCP" not in kept
    with Image.open(io.BytesIO(kept)) as opened:
        assert not opened.getexif()


def test_a_turned_picture_is_put_upright():
    turned = Image.new("RGB", (100, 100), "blue")
    turned.paste("red", (0, 0, 50, 100))  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the left side comes up
    made = io.BytesIO()
    turned.save(made, "PNG", exif=exif)
    with Image.open(io.BytesIO(redraw(made.getvalue()))) as upright:
        top, bottom = upright.getpixel((256, 60)), upright.getpixel((256, 450))
    assert top[0] > 200 > top[2]
    assert bottom[2] > 200 > bottom[0]


def test_bombs_and_rubbish_are_refused():
    wide = picture((60_000, MAX_PIXELS // 60_000 + 1), "PNG")  # a few kilobytes that would be 70 MB
    assert len(wide) < 200_000
    for content in (wide, b"", b"GIF89a", picture()[:200], picture(kind="PNG")[:-60], b"<svg/>", picture(kind="BMP")):
        with pytest.raises(PictureInvalid):
            redraw(content)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(noise):
    for head in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBPVP8 "):
        with contextlib.suppress(PictureInvalid):
            redraw(head + noise)


def test_without_a_database_no_place_is_known():
    assert Locator(None).place("203.0.113.77") == Place()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    file = tmp_path / "geo.mmdb"
    file.write_bytes(b"no database")
    with pytest.raises(ValueError, match="geoip_database"):
        Locator(file)
