"""Arithmetic that tells a real number from a row of digits: check digits, encodings, entropy.

Every function takes the value as text and answers yes or no (or a figure); none raises on odd input, none keeps
anything. Where a value sits in its sentence is not looked at here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from importlib import import_module
from typing import Any

import re2  # type: ignore[import-untyped]  # the package ships no types
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, country_code_for_region

_BASE58 = {sign: place for place, sign in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_BECH32 = {sign: place for place, sign in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
_BECH32_STEPS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


def digits(value: str) -> str:
    """The ASCII digits of a value, everything else left out."""
    return "".join(_DIGITS.findall(value))


_DIGITS = re.compile("[0-9]+")


def luhn(value: str) -> bool:
    """Whether the digits end in the right Luhn check digit."""
    number = digits(value)
    return len(number) > 1 and _luhn(number)


def _luhn(number: str) -> bool:
    """The same for what is nothing but digits."""
    signs = number.encode("ascii")[::-1]
    return (sum(signs[::2]) + sum(signs[1::2].translate(_DOUBLED)) - 48 * len(signs)) % 10 == 0


_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
"""Twice a digit, the figures of the result added up."""


@lru_cache(maxsize=1 << 14)
def _card_sizes(issuer: str) -> frozenset[int]:
    """How many digits the cards of an issuer have, by their first four digits; none for no issuer."""
    two, three, four = int(issuer[:2]), int(issuer[:3]), int(issuer)
    if issuer[0] == "4":
        return frozenset((13, 16, 19))
    if 51 <= two <= 55 or 2221 <= four <= 2720 or two == 35:
        return frozenset((16,))
    if two in {34, 37} or four in {1800, 2131}:
        return frozenset((15,))
    if 300 <= three <= 305 or two in {36, 38, 39}:
        return frozenset(range(14, 20))
    if two in {60, 62, 64, 65, 81}:
        return frozenset(range(16, 20))
    return frozenset(range(12, 20) if two in {50, 56, 57, 58, 67} else ())


def card(value: str) -> bool:
    """Whether this is a payment card's number: an issuer's beginning and length, and Luhn. Test cards count."""
    number = value if value.isdecimal() and value.isascii() else digits(value)
    if not 12 <= len(number) <= 19 or len(number) not in _card_sizes(number[:4]):
        return False
    return _luhn(number) and number.strip(number[0]) != ""


def mod97(value: str) -> bool:
    """ISO 7064 mod 97-10 over digits and letters, as IBANs use it (first four signs moved to the end)."""
    moved = value[4:] + value[:4]
    if not moved.isascii() or not moved.isalnum():
        return False
    return int(moved.upper().translate(_NUMBERED)) % 97 == 1


_NUMBERED = {ord(sign): str(int(sign, 36)) for sign in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
"""A for 10, B for 11, up to Z for 35."""


def iban_length(value: str) -> int | None:
    """How many signs an IBAN of this country has; None for no country that has IBANs."""
    return _IBAN_LENGTHS.get(value[:2].upper())


IBANS_OF_FIGURES = (
    "AT", "BE", "CZ", "DE", "DK", "EE", "ES", "FI", "HR", "HU", "IL", "IS", "LT", "ME", "NO", "PL", "PT", "RS", "SE",
    "SI", "SK", "XK",
)  # fmt: skip
"""Countries whose IBANs have no letter behind the first two."""

IBANS_WITH_LETTERS = tuple(sorted(_IBAN_LENGTHS.keys() - set(IBANS_OF_FIGURES)))
"""The others that have IBANs."""


def iban_body(value: str) -> bool:
    """Whether an IBAN without blanks has letters only where its country has some: a cheap question before the sum."""
    return value[:2].upper() not in IBANS_OF_FIGURES or value[2:].isdigit()


def iban(value: str) -> bool:
    """Whether this (blanks allowed) is an IBAN of the right length with the right check digits."""
    bare = value.replace(" ", "").replace("-", "").upper()
    return len(bare) == iban_length(bare) and mod97(bare)


def aba(value: str) -> bool:
    """Whether nine digits are a US bank routing number."""
    if len(value) != 9 or not value.isdigit() or not value.isascii():
        return False
    weighted = sum(int(sign) * weight for sign, weight in zip(value, (3, 7, 1) * 3, strict=True))
    return weighted % 10 == 0 and value != "000000000"


def base58check(value: str) -> bool:
    """Whether this is base58 with its four bytes of double SHA-256 at the end (Bitcoin, Tron, Litecoin, Dogecoin)."""
    number = 0
    for sign in value:
        place = _BASE58.get(sign)
        if place is None:
            return False
        number = number * 58 + place
    leading = len(value) - len(value.lstrip("1"))
    raw = b"\0" * leading + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return len(raw) == 25 and hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


def bech32(value: str) -> bool:
    """Whether this is bech32 or bech32m with a right checksum (Bitcoin's bc1…, and others of the family)."""
    text = value.lower()
    name, one, rest = text.rpartition("1")
    if not one or len(rest) < 6 or value not in {text, value.upper()}:
        return False
    spread = [ord(sign) >> 5 for sign in name] + [0] + [ord(sign) & 31 for sign in name]
    check = 1
    for number in [*spread, *(_BECH32.get(sign, -1) for sign in rest)]:
        if number < 0:
            return False
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ number
        for bit, generator in enumerate(_BECH32_STEPS):
            check ^= generator if top >> bit & 1 else 0
    return check in {1, 0x2BC830A3}


def entropy(value: str) -> float:
    """Shannon entropy in bits for each sign; 0.0 for an empty value."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values()) if size else 0.0


def address(value: str) -> bool:
    """Whether this is an IPv4 or IPv6 address of a host (not "any", loopback, link-local, broadcast)."""
    if "." in value and ":" not in value:
        return _IP_V4.fullmatch(value) is not None and value not in _NO_HOST and not value.startswith(_NEAR)
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return False
    return not (found.is_unspecified or found.is_loopback or found.is_link_local)


_IP_V4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.|$)){4}")
_NO_HOST = ("0.0.0.0", "255.255.255.255")  # noqa: S104  # nothing is bound
_NEAR = ("127.", "169.254.")
"""How addresses begin that mean the machine itself, or the wire next to it."""


_KINDS_OF_LINE = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip",
                  "pager", "uan", "voicemail")  # fmt: skip


def abroad(number: str) -> bool:
    """Whether digits that begin with a country's code are as many as that country's numbers have."""
    for size in (1, 2, 3):
        lengths = _lengths(int(number[:size] or 0))
        if lengths:
            return len(number) - size in lengths or (number[size:][:1] == "0" and len(number) - size - 1 in lengths)
    return False


@lru_cache(maxsize=1024)
def _lengths(code: int) -> frozenset[int]:
    """How many digits follow a country's code; none for no country."""
    regions = COUNTRY_CODE_TO_REGION_CODE.get(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0]) if regions else None
    if metadata is None or metadata.general_desc is None:
        return frozenset()
    return frozenset((*metadata.general_desc.possible_length, *metadata.general_desc.possible_length_local_only))


def at_home(number: str) -> bool:
    """Whether digits without a country's code are a number of one of some large countries, dialled within it.

    Behind a 0 those of Britain, France, Germany, India, Italy, Australia, the Netherlands and Japan; else those of
    Spain, Portugal and Poland.
    """
    if number[:1] != "0":
        return _plan("ES", "PT", "PL").fullmatch(number) is not None
    return bool(_plan("IT").fullmatch(number) or _plan("GB", "FR", "DE", "IN", "AU", "NL", "JP").fullmatch(number[1:]))


@lru_cache(maxsize=4)
def _plan(*regions: str) -> Any:
    """The numbers of these numbering plans as one pattern. In RE2: dozens of alternatives cost it one look."""
    lines = [
        line.national_number_pattern
        for region in regions
        for shared in COUNTRY_CODE_TO_REGION_CODE[country_code_for_region(region)]
        for kind in _KINDS_OF_LINE
        if (line := getattr(PhoneMetadata.metadata_for_region(shared), kind)) and line.national_number_pattern
    ]
    return re2.compile("|".join(dict.fromkeys(lines)))


_RESIDENT = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def resident(value: str) -> bool:
    """Whether this is the number of a Chinese resident: a day of birth in it, and ISO 7064 mod 11-2 at the end.

    Ours, because python-stdnum's stumbles over birth places that its own table lacks.
    """
    total = sum(int(sign) * weight for sign, weight in zip(value[:17], _RESIDENT, strict=True))
    return "10X98765432"[total % 11] == value[17].upper() and _is_day(value[6:14])


def malaysian(value: str) -> bool:
    """Whether this is a Malaysian identity number: a day of birth and a known place.

    Ours, because python-stdnum's takes twenty microseconds to find out more than that.
    """
    number = digits(value)
    if len(number) != 12 or number[6:8] in _NO_PLACE:
        return False
    return _is_day("19" + number[:6]) or _is_day("20" + number[:6])


_NO_PLACE = frozenset({"00", "17", "18", "19", "20", "69", "70", "73", "80", "81", "94", "95", "96", "97"})
_OURS: dict[str, Callable[[str], bool]] = {"cn.ric": resident, "my.nric": malaysian}
_FIRST: dict[str, Callable[[str], bool]] = {"se.personnummer": lambda value: luhn(digits(value)[-10:])}
"""A cheap question that is part of the answer anyway, asked before the rest."""


def _is_day(value: str) -> bool:
    """Whether eight digits are a day of a year since 1800."""
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:])).year >= 1800
    except ValueError:
        return False


@lru_cache(maxsize=64)
def _standard(name: str) -> Callable[[str], Any]:
    if name in _OURS:
        return _OURS[name]
    return import_module(f"stdnum.{name}").is_valid  # type: ignore[no-any-return]  # python-stdnum has no types


def national(name: str, value: str) -> bool:
    """Whether python-stdnum's module `name` ("es.dni") takes the value; its check digits are the point."""
    return (name not in _FIRST or _FIRST[name](value)) and bool(_standard(name)(value))
