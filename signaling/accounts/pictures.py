"""Profile pictures: whatever is sent is decoded within limits and drawn anew, so nothing but the picture itself is kept (P03)."""

import io
from typing import Final

from PIL import Image, ImageOps

SIDE: Final = 512
"""Pixels of a kept picture's side."""
MEDIA_TYPE: Final = "image/webp"
MAX_PIXELS: Final = 24_000_000
"""Pixels of a picture that is decoded: some 100 MB while it is worked on."""
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")


class PictureInvalid(ValueError):  # noqa: N818 - as certificates' CertificateInvalid
    """Not a picture that can be read within the limits."""


def redraw(content: bytes) -> bytes:
    """A picture of the user as a WebP of 512 pixels square: upright, cropped to the middle, without metadata. Takes up to a second.

    Raises ``PictureInvalid``.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
            width, height = opened.size  # from the header: nothing is decoded yet
            if width * height > MAX_PIXELS or min(width, height) < 1:
                raise PictureInvalid("too many pixels")
            opened.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at a fraction of its size when that is enough
            upright = ImageOps.exif_transpose(opened) or opened
            square = ImageOps.fit(upright.convert("RGBA"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    except PictureInvalid:
        raise
    except Exception:  # a decoder that is fed rubbish raises whatever it likes: OSError, ValueError, SyntaxError, struct.error…
        raise PictureInvalid("cannot be decoded") from None
    flat = Image.new("RGB", (SIDE, SIDE), "white")
    flat.paste(square, mask=square.getchannel("A"))
    kept = io.BytesIO()
    flat.save(kept, "WEBP", quality=82, method=4)
    return kept.getvalue()
