"""The table of what is private: one row for each kind, and the door that scans a text with all of them.

To add a kind, add a row: its examples are its test. Rows stand in the order in which they win where two want the same
characters; those of vendors' tokens are in `vendors`, those of national numbers in `nations`. Patterns are RE2's, over
the bytes of UTF-8: a letter with an accent may stand in a row, but neither in brackets nor before a `?`.

Private IP ranges count (they draw a map of the inside), loopback and link-local do not; numbers that are reserved and
never given out count as real, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from membrain.pii import checks, values
from membrain.pii.kinds import Kind, Severity, Span, named
from membrain.pii.nations import BY_THEMSELVES, BY_WORDS
from membrain.pii.scan import Scanner
from membrain.pii.vendors import SEED, VENDORS, fill

_CRITICAL, _HIGH, _MEDIUM, _LOW = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW

_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|février|mar(?:ch|s|zo)?|märz|apr(?:il)?|avril|abril|may|mai|mayo|"
    r"june?|juni|juin|junio|july?|juli|juillet|julio|aug(?:ust)?|août|agosto|sept?(?:ember|embre|iembre)?|"
    r"oct(?:ober|obre|ubre)?|okt(?:ober)?|nov(?:ember|embre|iembre)?|dec(?:ember)?|dez(?:ember)?|décembre|diciembre|"
    r"enero|febrero)\.?"
)
_DATE = (
    r"(?:(?:19|20)\d\d[-/. ]\d\d?[-/. ]\d\d?|\d\d?[-/. ]\d\d?[-/. ](?:19|20)?\d\d|(?:19|20)\d\d[01]\d[0-3]\d|(?i:"
    rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? ?\d{{4}}|"
    rf"\d{{1,2}}(?:st|nd|rd|th|\.)?[ -](?:of |de )?{_MONTH},?[ -](?:de )?\d{{4}}))"
)
_PHONE = r"(?:\+|00)?\(?\+?\d[\d ().\xc2\xa0/-]{4,22}\d(?i:,? ?(?:x|ext\.? ?|extension )\d{1,6})?"
_MORE = r"(?:[ /.-]?\d{2,6})"
_SEVEN = (
    r"\(?\b0\d\)?[ /.-]{1,2}(?:"
    rf"\d{{4}}(?:[ /.-]?\d{{3,6}}{_MORE}{{0,3}}|[ /.-]?\d{{2}}{_MORE}{{1,3}})|"
    rf"\d{{3}}(?:[ /.-]?\d{{4,6}}{_MORE}{{0,3}}|[ /.-]?\d{{2,3}}{_MORE}{{1,3}})|"
    rf"\d{{2}}(?:[ /.-]?\d{{5,6}}{_MORE}{{0,3}}|[ /.-]?\d{{3,4}}{_MORE}{{1,3}}"
    rf"|[ /.-]?\d{{2}}(?:[ /.-]?\d{{3,6}}{_MORE}{{0,2}}|[ /.-]?\d{{2}}{_MORE}{{1,2}})))\b"
)
"""Groups behind a 0 and one digit, seven or more digits in all: the seconds of a time of day have six behind them."""
_EMAIL = (
    r"[A-Za-z0-9._%+'\x80-\xff-]{1,64}(?:@|%40)"
    r"(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,62}[A-Za-z0-9\x80-\xff])?\.){1,6}"
    r"[A-Za-z\x80-\xff]{2,24}"
)
_KEYS = (
    r"(?i:passw(?:or)?[dt]|(?:\b|_)pass\b|passwd|passphrase|passcode|pwd|kennwort|contraseña|senha|secret|token|credentials?|"
    r"key|auth|login|access_?id|cookie|session|salt|"
    r"client_?id|licen[sc]e_?key|webhook|contribsys__com|sourcegraph|discord|loki|pin)"
)
_SECRET = (
    _KEYS + r"(?i:s?[\w.-]{0,24}?)"
    r"(?:[\"'`\])]{0,2}\s{0,3}(?:=>|::=|:=|\|\|:|\?=|<=|=|:|,)\s{0,3}[\"'`(]{0,2}|>)"
    r"([^\s\"'`,;<>(){}\[\]][^\s\"'`,;<>]{3})"
)

_ISSUER = r"(?:(?:[3-6]\d|2[2-7]|81)\d\d|1800|2131)"
_CARD = (
    rf"\b{_ISSUER}(?:\d{{8,15}}|(?:[ -]\d{{4}}){{2}}[ -]\d{{1,4}}(?:[ -]\d{{1,3}})?|[ -]\d{{6}}[ -]\d{{4,5}}"
    r"|\d{2}[ -]\d{6,13}|\d{4}[ -]\d{8})\b"
)
"""Grouped as cards are: not at all, by fours, in few other ways. A number behind it may look like its last group."""
_IBAN = (
    rf"\b(?i:{'|'.join(checks.IBANS_OF_FIGURES)})\d{{2}}(?:[ -]?\d){{11,30}}"
    rf"|\b(?i:{'|'.join(checks.IBANS_WITH_LETTERS)})\d{{2}}(?:[ -]?[A-Za-z0-9]){{11,30}}"
)
"""With the countries spelled out, and figures where they have nothing else: other numbers in hex look alike."""

_SECRETS: tuple[Kind, ...] = (
    Kind(
        "private_key", "SECRET", _CRITICAL, "tokens",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", values.key_block,
        hit=f"-----BEGIN RSA PRIVATE KEY-----\n{SEED}\n-----END RSA PRIVATE KEY-----\n",
        value=f"-----BEGIN RSA PRIVATE KEY-----\n{SEED}\n-----END RSA PRIVATE KEY-----",
        miss="-----BEGIN PRIVATE KEY-----\nanything\n-----END PRIVATE KEY-----",
    ),
    Kind(
        "jwt", "SECRET", _CRITICAL, "tokens",
        r"\bey[A-Za-z0-9_-]{10}", values.web_token,
        hit=f"cookie eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{fill(43)}",
        value=f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{fill(43)}", miss="eye.eye.eye",
    ),
    Kind(
        "signed_url", "SECRET", _HIGH, "tokens",
        r"(?i:[?&;](?:X-Amz-Signature|X-Goog-Signature|X-Amz-Security-Token|Signature|sig|se?cret|token"
        r"|access_token|api_?key|auth)=)([A-Za-z0-9%+/=_.~-]{16})", values.varied,
        hit=f"https://a.example/f?X-Amz-Signature={fill(64, 'h')}", value=fill(64, "h"),
        miss="https://a.example/f?sig=none",
    ),
    Kind(
        "url_credentials", "URL_CREDENTIALS", _CRITICAL, "urls",
        r"\b[A-Za-z][A-Za-z0-9+.-]{1,30}://([^\s/:@\"'`<>?#]{0,80}:[^\s@\"'`<>]{2,120})@", values.credentials,
        hit="postgres://app:Tr0ub4dor@db.internal/main", value="app:Tr0ub4dor",
        miss="postgres://app:${DB_PASS}@db.internal/main",
    ),
    Kind(
        "authorization", "SECRET", _CRITICAL, "headers",
        r"(?i:authorization|proxy-authorization|x-api-key|x-auth-token"
        r"|private-token)[\"'`]{0,2}\s{0,2}[:=,]\s{0,3}[\"'`]?(?i:(?:bearer|basic|token|apikey|digest|key"
        r"|[a-z]{2,20}-token) {1,3})?([A-Za-z0-9+/=_.~:-]{6,200})", values.handed,
        hit=f"Authorization: Bearer {fill(30)}", value=fill(30), miss="Authorization: Bearer <token>",
    ),
    Kind(
        "bearer", "SECRET", _CRITICAL, "headers",
        r"\b(?:Bearer|Basic) ([A-Za-z0-9+/=_.~-]{16})", values.varied,
        hit=f"send Bearer {fill(30)}", value=fill(30), miss="the Bearer of bad news",
    ),
    Kind(
        "option_user", "SECRET", _CRITICAL, "headers",
        r"\s(?:-u|--user|--proxy-user)[ =][\"']?([^\s:\"'<>${}]{1,60}:[^\s\"'<>{}]{3,100})", values.handed,
        hit="curl -u app:Tr0ub4dor3 https://a.example", value="app:Tr0ub4dor3",
        miss="curl -u username:password https://a.example",
    ),
    Kind(
        "option_secret", "SECRET", _CRITICAL, "headers",
        r"\s--?(?i:password|passwd|token|secret|api-?key|auth-?token"
        r"|access-?key)[ =][\"']?([^\s\"'<>${}-][^\s\"'<>]{4,200})", values.handed,
        hit="tool login --token 8f2kQ9zz1x", value="8f2kQ9zz1x", miss="tool login --token TOKEN",
    ),
    Kind(
        "attribute", "SECRET", _CRITICAL, "headers",
        r"(?i:(?:key|name)=\"[\w.-]{0,40}(?:password|passwd|secret|token|apikey)\" {1,3}value=\")([^\"<>\n]{5,200})",
        values.attribute,
        hit='<add key="DbPassword" value="CleartextOne1" />', value="CleartextOne1",
        miss='<add key="DbName" value="CleartextOne1" />',
    ),
    Kind(
        "said_password", "SECRET", _CRITICAL, "headers",
        r"(?i:\b(?:password|passwort|passphrase|contraseña|mot de passe|kennwort|wachtwoord|hasło|senha|pin|secret"
        r"|token|api key)(?: (?:for|of|für|vom|von|zum|zur|du|de|del|do|da|van|di|della?) [\w.@ -]{1,40}?)?"
        r"(?: (?:is|ist|es|est|lautet|was|è|é|to|set to)[: ]{1,2}| ?: )[\"'`]?)([^\s\"'`<>,;]{4,100})",
        values.handed,
        hit="my password is hunter2go, do not tell", value="hunter2go", miss="my password is secret",
    ),
    Kind(
        "secret_assigned", "SECRET", _HIGH, "keys",
        _SECRET, values.assigned,
        hit='API_KEY = "q7Rk2ZpX9vLm4TnB8sWd"', value="q7Rk2ZpX9vLm4TnB8sWd",
        miss='token = get_token("q7Rk2ZpX9vLm4TnB8sWd")',
    ),
)  # fmt: skip

_STRUCTURED: tuple[Kind, ...] = (
    Kind(
        "email", "EMAIL", _MEDIUM, "mail",
        _EMAIL, values.email,
        hit="write to ana.b+x@example.com now", value="ana.b+x@example.com", miss="icon@2x.png",
    ),
    Kind(
        "iban", "IBAN", _HIGH, "shapes",
        _IBAN, values.iban,
        hit="pay DE89 3704 0044 0532 0130 00 today", value="DE89 3704 0044 0532 0130 00",
        miss="pay DE88 3704 0044 0532 0130 00 today",
    ),
    named(
        "iban_named", "IBAN", _HIGH,
        r"\biban\b", r"[A-Za-z]{2}\d{2}[A-Za-z0-9]{8,30}", values.alone,
        value="GB95ABCD60049445", said="IBAN",
    ),
    Kind(
        "ip_v6", "IP", _LOW, "shapes",
        r"\b(?:[0-9A-Fa-f]{1,4}:){7,60}[0-9A-Fa-f]{1,4}|\b(?:[0-9A-Fa-f]{1,4}:){1,6}:(?:[0-9A-Fa-f]{1,4}"
        r"(?::[0-9A-Fa-f]{1,4}){0,5})?", values.address,
        hit="from 2a02:1277:9519::1 to", value="2a02:1277:9519::1", miss="at 12:34:56 on",
    ),
    Kind(
        "mac", "MAC", _LOW, "shapes",
        r"\b[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})\b"
        r"|\b[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b",
        values.when(lambda value: value.lower() not in {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}, b".-:"),
        hit="mac 00:1A:2B:3C:4D:5E", value="00:1A:2B:3C:4D:5E", miss="mac ff:ff:ff:ff:ff:ff",
    ),
    Kind(
        "ip_v4", "IP", _LOW, "shapes",
        r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", values.address,
        hit="host 192.168.17.4 is up", value="192.168.17.4", miss="version 10.27.4.13 is out",
    ),
    Kind(
        "card", "CREDIT_CARD", _CRITICAL, "shapes",
        _CARD, values.card,
        hit="paid with 4242 4242 4242 4242 then", value="4242 4242 4242 4242",
        miss="order 4242 4242 4242 4241 then",
    ),
    named(
        "card_named", "CREDIT_CARD", _CRITICAL,
        r"credit card|debit card|card number|\bcard\b|kreditkarte|tarjeta|carte bancaire|\bcc\b|\bpan\b",
        r"\d(?:[ -]?\d){11,18}", values.card_said,
        value="060426070011", said="credit card",
    ),
    *BY_THEMSELVES,
    *BY_WORDS,
    named(
        "za_id_said", "NATIONAL_ID", _HIGH,
        r"\bid\b", r"\d{10}[01]\d{2}", values.national("za.idnr"),
        value="7503305044089", said="ID",
    ),
    Kind(
        "ssn", "US_SSN", _CRITICAL, "shapes",
        r"\b\d{3}-\d{2}-\d{4}\b", values.social,
        hit="it is 923-45-6789.", value="923-45-6789", miss="it is 92-345-6789.",
    ),
    named(
        "ssn_named", "US_SSN", _CRITICAL,
        r"\bssns?\b|ssn[_-][a-z]{2,12}|social[ _-]?security|seguro social", r"\d{3}[ .-]?\d{2}[ .-]?\d{4}",
        values.alone,
        value="679 67 1029", said="SSN",
    ),
    named(
        "ssn_misread", "US_SSN", _CRITICAL,
        r"\bssns?\b|social[ _-]?security", r"[0-9OIlBSZG]{3}-[0-9OIlBSZG]{2}-[0-9OIlBSZG]{4}", values.identity,
        value="86l-81-4744", said="SSN",
    ),
    named(
        "insurance_id", "NATIONAL_ID", _HIGH,
        r"insurance[ _-]?(?:id|number)?|(?:national|health|tax|government|citizen|fiscal)[ _-]?(?:health )?(?:id"
        r"|identification|identity)|tax[ _-]?payer", r"(?:NID|TAX|TIN|HID|NHI)-?\d{6,12}|\d{3}-\d{2}-\d{4}",
        values.identity,
        value="NID-900196035", said="Insurance ID",
    ),
    Kind(
        "prefixed_id", "NATIONAL_ID", _HIGH, "shapes",
        r"\b(?:NID|TAX|TIN|NIN)-\d{6,12}\b", values.alone,
        hit="see TAX-700016537 there", value="TAX-700016537", miss="see TAX-12 there",
    ),
    named(
        "passport", "PASSPORT", _HIGH,
        r"passports?|reisepass|passeport|pasaporte|passaporto|paspoort|\bppt\b",
        r"[A-Z]{0,3}\d{6,9}[A-Z]?\b|[A-Z0-9]{8,9}\b", values.passport,
        value="C736LVJ04", said="Passport",
    ),
    named(
        "driver_licence", "DRIVER_LICENSE", _HIGH,
        r"driv(?:er|ing)(?:'?s|\xe2\x80\x99s)?[ _-]?licen[cs]e|führerschein|permis de conduire"
        r"|licencia de conducir|patente|\blicen[cs]e|\bdln?\b",
        r"[A-Z]{0,2}-?[A-Z]?\d{2,4}(?:[ -]?\d{2,6}){1,3}[A-Z]{0,2}|[A-Z]{5}\d{6}[A-Z0-9]{5}", values.identity,
        value="F2730447", said="Driver's license",
    ),
    Kind(
        "driver_licence_prefixed", "DRIVER_LICENSE", _HIGH, "shapes",
        r"\bDL-[A-Z]?\d{5,9}(?:-\d{2})?\b", values.alone,
        hit="his DL-B24145-45 is", value="DL-B24145-45", miss="his DL-12 is",
    ),
    named(
        "birth", "DATE_OF_BIRTH", _MEDIUM,
        r"\bd\.?o\.?b\b\.?|date[ _-]?of[ _-]?birth|birth[ _-]?(?:date|day)|\bborn\b|geboren|geburtsdatum|\bgeb\."
        r"|née?\(?e?\)? le|naissance|nacid[oa]|nacimiento|nascita|nascimento|nascid[oa]|\bnat[oa] il\b|\bur\."
        r"|data urodzenia|urodzon[ya]|född|født|geboorte", _DATE, values.alone,
        value="June 26, 2000", said="DOB",
    ),
    named(
        "bank_account", "BANK_ACCOUNT", _HIGH,
        r"(?:bank|checking|savings|source|destination|deposit|giro|target|from|to)[ _-]?(?:account|acct)|\b"
        r"(?:account|acct|konto|kontonummer|cuenta|compte)\b|account[ _-]?(?:number|no)",
        r"\d{6,18}|\d{2,4}(?:[ -]\d{2,4}){2,4}", values.count(6, 18),
        value="532933260391", said="account number",
    ),
    named(
        "routing", "BANK_ACCOUNT", _MEDIUM,
        r"routing|\baba\b|\brtn\b", r"\d{9}", values.alone,
        value="021000021", said="Routing",
    ),
    named(
        "sort_code", "BANK_ACCOUNT", _MEDIUM,
        r"sort[ _-]?code|\bbsb\b|transit|bankleitzahl|\bblz\b|\bifsc\b",
        r"\d{2}-\d{2}-\d{2}|\d{3}-\d{3}|\d{5,8}|[A-Z]{4}0[A-Z0-9]{6}", values.alone,
        value="12-34-56", said="sort code",
    ),
    named(
        "clabe", "BANK_ACCOUNT", _HIGH,
        r"clabe|\bcbu\b", r"\d{18,22}", values.alone,
        value="032180000118359719", said="CLABE",
    ),
    Kind(
        "phone_abroad", "PHONE", _MEDIUM, "phones",
        r"\+\d[\d ().\xc2\xa0/-]{5,22}\d(?i:,? ?(?:x|ext\.? ?)\d{1,6})?", values.phone_abroad,
        hit="ring +34 612 51 19 32 now", value="+34 612 51 19 32", miss="at +12 34 56 now",
    ),
    Kind(
        "phone_double_zero", "PHONE", _MEDIUM, "phones",
        r"\b00[1-9]\d{0,3}[ .-]\(?\d[\d ().-]{5,16}\d\b", values.phone_abroad,
        hit="ring 0033 6 12 28 37 14 now", value="0033 6 12 28 37 14", miss="at 0012 34 now",
    ),
    Kind(
        "phone_american", "PHONE", _MEDIUM, "phones",
        r"(?:\b1[ .-])?(?:\(\d{3}\)[ .-]?|\b\d{3}[. -])\d{3}[. -]\d{4}(?i:,? ?(?:x|ext\.? ?)\d{1,6})?\b",
        values.phone_american,
        hit="ring (201) 555-0123 x12 now", value="(201) 555-0123 x12", miss="ring 123-456-7890 now",
    ),
    Kind(
        "phone_at_home", "PHONE", _MEDIUM, "phones",
        rf"\(?\b0\d{{2,5}}\)?[ /.-]{{1,2}}\d{{2,4}}{_MORE}{{1,4}}\b|{_SEVEN}|\b[6-9]\d{{2}}(?:[ .]\d{{2,3}}){{2,3}}\b",
        values.phone_at_home,
        hit="ring 0121 234 0770 now", value="0121 234 0770", miss="see 2021 234 0770 now",
    ),
    named(
        "phone_named", "PHONE", _MEDIUM,
        r"phones?|\btel\b|tel(?:e|é)(?:fono?|phone|fon)|mobile?|\bcell\b|cellphone|handy|\bfax\b|whatsapp"
        r"|móvil|portable|cellulare|celular|komórk[ai]|rufnummer|\bcall me|reach me|contact(?: number)?|my number"
        r"|numéro|meine nummer|erreichbar unter|mi número", _PHONE, values.count(6, 21),
        value="451 5986", said="phone",
    ),
    named(
        "person_keyed", "PERSON", _MEDIUM,
        r"(?:first|last|full|given|family|sur|middle|maiden|customer|patient|employee)[ _-]?names?|vorname|nachname"
        r"|prénom|apellidos?|cognome|voornaam|achternaam|sobrenome|nazwisko",
        r"[A-Z\x80-\xff][A-Za-z\x80-\xff]{1,30}(?:[ '-][A-Za-z\x80-\xff]{2,30}){0,4}", values.quoted_name,
        value="Babajide", hit='{"first_name": "Babajide"}', miss='{"first_name": "String"}',
    ),
    named(
        "phone_said", "PHONE", _MEDIUM,
        r"\b(?:call|ring|rang|dial|text|sms|reached)\b|número|numero|numeru|\bnumer\b|telefoonnummer",
        r"\+?\(?\d[\d ().-]{7,20}\d", values.dialled,
        value="4155550108", said="call",
    ),
    Kind(
        "phone_brazilian", "PHONE", _MEDIUM, "phones",
        r"\([1-9]\d\) ?9?\d{4}[- ]\d{4}\b", values.alone,
        hit="ring (11) 98765-4195 now", value="(11) 98765-4195", miss="ring (11) 98765-419 now",
    ),
    Kind(
        "bitcoin_segwit", "CRYPTO", _HIGH, "shapes",
        r"\b(?i:bc1|tb1|ltc1)[a-zA-Z0-9]{25,87}\b", values.alone,
        hit="to bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq now", value="bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        miss="to bc1qar0 now",
    ),
    Kind(
        "ethereum", "CRYPTO", _HIGH, "shapes",
        r"\b0x[0-9a-fA-F]{40}\b", values.alone,
        hit=f"to 0x{fill(40, 'h')} now", value=f"0x{fill(40, 'h')}", miss="to 0x7c1f9e3b now",
    ),
    Kind(
        "base58_coin", "CRYPTO", _HIGH, "shapes",
        r"\b[13LMDT][1-9A-HJ-NP-Za-km-z]{25,34}\b", values.when(checks.base58check),
        hit="to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa now", value="1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        miss="to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb now",
    ),
    named(
        "coin_named", "CRYPTO", _HIGH,
        r"wallet|\bbtc\b|bitcoin|\beth\b|\bsol\b|solana|monero|\bxmr\b|\bxrp\b|ripple|tron|cardano|crypto",
        r"[1-9A-HJ-NP-Za-km-z]{26,44}|4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|addr1[0-9a-z]{50,110}", values.alone,
        value="1va9xPvVeuCEDRWedEsnV1hH8uGBokPxND", said="wallet",
    ),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (*VENDORS, *_SECRETS, *_STRUCTURED)
"""Every kind, in the order in which they win."""


@lru_cache(maxsize=1)
def scanner() -> Scanner:
    """The rules alone, with the whole table and nothing known or allowed; made at the first call."""
    return Scanner(KINDS)


@lru_cache(maxsize=1)
def _find() -> Callable[[str], tuple[Span, ...]]:
    from membrain.pii.detector import Detector  # which runs this table: a ring, if it stood above

    return Detector().scan


def find(text: str) -> tuple[Span, ...]:
    """What is private in `text`, in order, never overlapping, with all that comes with us. Raises `DetectionFailed`."""
    return _find()(text)


def detect(text: str) -> list[tuple[int, int, str]]:
    """The same as bare (start, end, label): character offsets, end excluded."""
    return [(span.start, span.end, span.label) for span in find(text)]
