"""The relay of last resort: carries DTLS, SRTP and SRTCP between the two devices of a call and has no keys. Never imports ``signaling``."""
