"""Finds postal addresses: the street with its number, and whatever else of the address stands beside it.

One RE2 alternation over the UTF-8 bytes finds streets (linear time, whatever the text). From each of them Python walks
over the parts that may follow - unit, city, state, postcode, country - a bounded number of bounded steps. A street that
says what it is (`12 Baker Street`, `Musterstraße 3`) stands alone; one that could be anything (`88 Broadway`) needs such
a part or a word like "address" in front of it. No lists of cities or streets: a street without a number, and a city by
itself, are left to the names. Fields of JSON are found one by one, so that what holds them together stays.
"""

# ruff: noqa: E501, RUF001  # rows of patterns: broken in two they are read wrongly; other scripts have look-alikes

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

import re2  # type: ignore[import-untyped]  # the package ships no types

from membrain.pii.kinds import Severity, Span
from membrain.pii.scan import Together, options

_BOTH = re2._re2.RE2.Anchor.ANCHOR_BOTH  # noqa: SLF001  # the wrapper builds objects that this loop has no use for
_START = re2._re2.RE2.Anchor.ANCHOR_START  # noqa: SLF001
_ANYWHERE = re2._re2.RE2.Anchor.UNANCHORED  # noqa: SLF001
_AHEAD = 320
"""How many bytes of an address are looked for behind its street."""
_BEHIND = 96
"""How many bytes before the street are looked at for its context."""
_MOST = 10
"""How many parts an address has behind its street."""
_LOOSE = 4
"""How many of them may be mere names in a row."""
_INNER = bytes(range(0x80, 0xC0))
_NEXT = re.compile(rb"[A-Za-z0-9\x80-\xff]+|[^A-Za-z0-9\x80-\xff]+")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")

# --- the small words of the patterns, over UTF-8 bytes -------------------------------------------------------------

_BITS: tuple[tuple[str, str], ...] = (
    ("<city>", r"<w>(?:[ -]<joint><w>){0,4}"),
    ("<cap>", r"(?:<w>|\d{1,3}(?:st|nd|rd|th|ST|ND|RD|TH))"),
    ("<name>", r"<joint><w>(?:[ -]<joint><w>){0,5}"),
    ("<num>", r"\d{1,6}(?:<s>?[A-Za-z]\b)?(?:<s>?[-/]<s>?(?:\d{1,5}[A-Za-z]?|[A-Z])\b)?"),
    ("<no>", r"\d{1,4}(?:<s>?[A-Za-z]\b)?(?:<s>?(?:-|/|–)<s>?(?:\d{1,4}[A-Za-z]?|[A-Za-z])\b){0,3}"),
    ("<joint>", r"(?:(?:de|del|della|delle|dei|degli|di|da|do|dos|das|du|des|la|le|les|las|los|el|al|y|e|et|van|von|vom|der|den|dem|het|'t|te|ter|ten|of|the|am|an|im|in|zu|zum|zur|und|auf|sur|sous|aux?|en|og|i|u|v|na|nad|pod|pri|ob|bei|św\.|gen\.|ks\.) |[dlDL](?:'|’)){0,3}"),
    ("<w>", r"(?:<U><L>*(?:(?:'|’|-)<L>+){0,4}|<U><L>{0,4}\.)"),
    ("<sep>", r"(?:<s>*[,;]{1,2}<s>*<nl>?|<s>*<nl>(?:,<s>*)?|<s>{1,3}(?:(?:-|–|·|•)<s>)?)"),
    ("<nl>", r"(?:(?:\r?\n|\\n|<br ?/?>)[ >?*#|]{0,14})"),
    ("<s>", r"(?: |\xc2\xa0)"),
    ("<U>", r"(?:[A-Z]|\xc3[\x80-\x9e]|[\xc4-\xc6][\x80-\xbf]|\xce[\x86-\xab]|\xd0[\x80-\xaf]|\xe1[\xb8-\xbb][\x80-\xbf])"),
    ("<l>", r"(?:(?:[a-z]|\xc3[\x9f-\xbf]|[\xc4-\xc6][\x80-\xbf])<L>*)"),
    ("<L>", r"(?:[A-Za-z]|[\xc3-\xd4][\x80-\xbf]|\xe1[\x80-\xbf]{2})"),
    ("<han>", r"(?:[\xe4-\xe9][\x80-\xbf]{2}|\xe3[\x80-\x83][\x80-\xbf])"),
    ("<heb>", r"(?:\xd7[\x90-\xaa]|['\"])"),
    ("<hangul>", r"(?:[\xea-\xed][\x80-\xbf]{2})"),
)  # fmt: skip


def _bytes(pattern: str) -> bytes:
    """The pattern with its small words spelt out; signs beyond ASCII become their UTF-8 bytes."""
    for word, meaning in _BITS:
        pattern = pattern.replace(word, meaning)
    return _WIDE.sub(lambda sign: f"(?:{sign[0].encode().decode('latin-1')})", pattern).encode("latin-1")


_WIDE = re.compile(r"[^\x00-\x7f]")


@cache
def _matcher(pattern: str, *, capture: bool = False) -> Any:
    """The match function of a pattern, made at its first use."""
    return re2.compile(_bytes(pattern), options(capture=capture))._regexp.Match  # noqa: SLF001


# --- the streets ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """One way in which the world writes a street.

    `pattern` is RE2 syntax over bytes with the small words above, at most one group (the street; without one the whole
    match). `family` names the pass it runs in: those that begin alike share one, which keeps the automaton small.
    `needs` is what has to stand beside it where no word like "address" stands before it. `before` is what belongs to
    the street in front of it. `hit` is a text in which `value` is found, `miss` one in which nothing is.
    """

    name: str
    family: str
    needs: str
    pattern: str
    hit: str
    value: str
    miss: str
    before: str = ""


NUMBER, NAME, WORD, SCRIPT = "number", "name", "word", "script"
"""Families: the street begins with its number, with its name, with a word such as "rue"; it is not all ASCII."""
SURE, PART, CODE = "nothing", "any part", "a postcode or a unit"
"""Needs. A country alone does not prove `12 Angry Men, France`."""


_SUFFIX = r"(?i:(?:street|avenue|road|lane|drive|boulevard|terrace|parkway|highway|crescent|mews|turnpike|expressway)\b|(?:str|st|ave|av|rd|ln|blvd|pkwy|hwy|cres)\b\.?)"
_SUFFIX_SHORT = (
    r"(?i:(?:court|place|way|circle|close|trail|square|gardens|grove|broadway)\b|(?:ct|pl|cir|trl|dr|sq)\b\.?)"
)
_SUFFIX_RARE = (
    r"(?:Yard|Bend|Hollow|Rise|Ridge|Cove|Glen|Heights|Wharf|Quay|Bank|Mead|Meadows?|Croft|Garth|Crossing|Creek|Landing|"
    r"Trace|Knoll|Vale|Dell|Parade|Villas|Cottages|Fold|Row|Walk|Hill|Green)"
)
"""Told only by the town behind it."""
_QUARTER = r"(?:<s>(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West|Northwest|Northeast|Southwest|Southeast)\b\.?)?"
_ROMANCE = (
    r"(?:(?:C/|Cl\.|Cra\.|Av\.|Blv(?:d)?\.|Bv\.|Jl\.|Gg\.|Jln\.|Cda\.|Prol\.|Avda?\.|Pza\.|Ctra\.|Tv\.|P\.za|V\.le|C\.so)<s>?|(?:Calle|CALLE|calle|Avenida|avenida|AVENIDA|Avda|Plaza|plaza|Pza|Plaça|Paseo|paseo|Camino|Carretera|Ctra|Ronda|Traves(?:í|i)a|Pasaje|Callej(?:ó|o)n|Glorieta|"
    r"Alameda|Rambla|Urbanizaci(?:ó|o)n|Acceso|Cuesta|Carrer|Passeig|R(?:ú|u)a|r(?:ú|u)a|RUA|Travessa|Pra(?:ç|c)a|Largo|Estrada|Rodovia|Beco|Jir(?:ó|o)n|"
    r"Via|VIA|Viale|Piazza|piazza|Piazzale|Corso|Vicolo|Strada|Contrada|Canale|Rotonda|Stretto|Incrocio|Rione|Traversa|Sestiere|Fondamenta|Viaducto|Privada|Prolongaci(?:ó|o)n|Circunvalaci(?:ó|o)n|Andador|Circuito|Cerrada|Retorno|Calzada|Continuaci(?:ó|o)n|Perif(?:é|e)rico|Boulevard|Bulevar|Trecho|S(?:í|i)tio|Ladeira|Viela|Quadra|Fazenda|Recanto|Loteamento|Jardim|Drumul|(?:Ș|Ş|S)oseaua|Intrarea|Splaiul|Pia(?:ț|ţ|t)a|Jalan|Lungomare|Borgo|Salita|Bulevardul|Calea|Aleea)<s>)"
)
_NUMERO = r"(?:,?<s>?(?:n(?:º|°|o\.?|r\.?|ro\.?|um\.?)|N(?:º|°|o\.?|r\.?)|#|num(?:é|e)ro|№|[Kk]m\.?))?"
_FRENCH = r"(?i:rue|avenue|av\.|boulevard|bd|blvd|chemin|impasse|quai|ruelle|faubourg|all(?:é|É|e)e|sentier)"
_FRENCH_LOOSE = r"(?i:place|route|cours|square|voie|cit(?:é|e)|villa|mont(?:é|e)e|promenade|r(?:é|e)sidence|esplanade|hameau|lotissement|passage)"
_OF = r"(?:de la |de l'|de l’|des |du |de |d'|d’)"
_COMPOUND = (
    r"(?:stra(?:ß|ss)e|STRA(?:ß|SS|ẞ)E|gasse|allee|chaussee|gatan|v(?:ä|a)gen|gr(?:ä|a)nd|stigen|torget|str(?:æ|ae)de|v(?:æ|ae)nget|veien|vegen|gaten|"
    r"straat|laan|gracht|plein|singel|steeg|dreef|burgwal|dijk|str(?:æ|ae)ti|stræti|katu|kuja|polku|weg|vej|all(?:é|e))"
)
_COMPOUND_LOOSE = (
    r"(?:str\.|platz|ring|damm|ufer|steig|graben|hof|markt|promenade|stieg|pfad|wall|kamp|gade|gate|gata|g(?:ö|o)tu|vegur|braut|tie|tee|väg|torg|backen|plads|torv|stien|bakken|"
    r"lia|vollen|moor|poort|baan|lei|pad|wei|berg|kade|tun|feld|tal|park|garten|hang|anger|winkel|rain)"
)
_GERMAN_HYPHEN = r"-(?:Stra(?:ß|ss)e|Str\.|Weg|Platz|Allee|Ring|Gasse|Ufer|Damm|Steig|Stieg|Promenade)"
_SLAVIC = r"(?:(?i:ul|al|pl|os)\.<s>?|(?i:ulica|ulice|aleja|osiedle|plac|skwer|rondo|rynek|n(?:á|a)m\.|n(?:á|a)m(?:ě|e)st(?:í|i)|t(?:ř|r)(?:í|i)da|trg|cesta|str\.|bd\.|gatv(?:ė|e))<s>)"
_RUSSIAN = r"(?:(?:ул|пр|просп|пер|наб|вул|пл|пр-т|б-р|ш|алл|бул|пров|Ул)\.|улица|проспект|переулок|бульвар|набережная|шоссе|вулиця|площадь|Улица|аллея|шосе|площа|сквер|парк|набережна|провулок|узвіз)"
_SIDE = r"(?:<num> )?(?:(?:ul|al|pl|os)\. )?<name>(?: (?:street|st|str|road|rd|avenue|ave|lane|kapu|utca|u|út)\.?)?(?: \d{1,5}[a-z]?\b\.?)?"
_UNIT_WORD = r"(?i:apt|apartment|suite|ste|unit|flat|studio|room|floor|level|lot|bldg|building)"

_MARK = r"(?:[A-Z]{1,3}-|ΤΚ<s>|Τ\.Κ\.<s>|C\.?P\.?:?<s>|CEP:?<s>|PLZ:?<s>)"
_LONG_CODE = (
    _MARK + r"?(?:\d{5}-\d{3,4}|\d{3}-\d{4}|\d{4}-\d{3}|\d{2}-\d{3}|\d{3}<s>\d{2,3}|\d{6}|\d{5}|\d{4}<s>?[A-Z]{2}\b)"
)
_SHORT_CODE = r"(?:[03-9]\d{3}|1[0-8]\d{2}|2[1-9]\d{2})"
"""Four figures that are no year of our time."""
_POSTCODE = "(?:" + _LONG_CODE + r"|" + _MARK + r"?\d{4})"

SHAPES: tuple[Shape, ...] = (
    Shape("military", WORD, SURE, r"(?i:(?:psc|cmr|unit)<s>\d{3,5},?<s>box<s>\d{1,5}|(?:uss|usns|uscgc|usnv)<s><L>+(?:<s><L>+)?)<sep>(?i:[adf]po)<s>(?i:a[aep])<s>\d{5}(?:-\d{4})?",
          "send to PSC 7589, Box 0572\nAPO AE 20040 now", "PSC 7589, Box 0572\nAPO AE 20040", "unit 12 of box 3 is full"),
    Shape("post_box", WORD, SURE, r"(?i:p\.?<s>?o\.?<s>?box|post office box|gpo box|locked bag|postfach|postbus|apartado(?: de correos| postal)?|casella postale|caixa postal|bo(?:î|i)te postale|postboks|skrytka pocztowa|a/я|(?:rr|r\.r\.|rural route|hc)<s>\d{1,3},?<s>box)<s>(?:#<s>?)?\d{1,6}(?:<s>\d{2,3})*",
          "write to PO Box 1729, Springfield, IL 62701.", "PO Box 1729, Springfield, IL 62701", "the inbox 1729 is full"),
    Shape("corner", WORD, SURE, r"(?i:(?:the )?(?:corner|intersection|junction) of) " + _SIDE + " (?:and|&) " + _SIDE,
          "meet at the corner of 5 Bond Street and Elm Road today", "the corner of 5 Bond Street and Elm Road", "the corner of the page and the text"),
    Shape("english_numbered", NUMBER, SURE, r"(?:\d{3,6}<s>(?:<cap><s>){0,3}(?i:highway|hwy\.?|route|rte\.?|county road|state road|cr|fm)|<num><s>(?:<cap><s>){1,4}(?i:avenue|ave\.?))<s>(?:\d{1,4}|[A-Z])\b" + _QUARTER,
          "at 4500 State Route 12, Dover, OH 44622 since May", "4500 State Route 12, Dover, OH 44622", "add 12 Route handlers"),
    Shape("english", NUMBER, SURE, r"<num>,?<s>(?:<cap><s>(?:(?:of|the|de|la|el|del|and|&)<s>)?){1,4}" + _SUFFIX + _QUARTER,
          "I live at 221B Baker Street, London NW1 6XE, UK.", "221B Baker Street, London NW1 6XE, UK", "we had 3 Wide Streaming tasks"),
    Shape("english_short", NUMBER, SURE, r"\d{2,6}[A-Za-z]?,?<s>(?:<cap><s>){1,3}" + _SUFFIX_SHORT + _QUARTER,
          "it is 1862 Spruce Way, Salem, NC 21368.", "1862 Spruce Way, Salem, NC 21368", "do it 12 Times Squared"),
    Shape("english_rare", NUMBER, SURE, r"\d{1,5}[A-Za-z]?<s>(?:<cap><s>){1,2}" + _SUFFIX_RARE + r",<s><U><L>{2,}",
          "from 14 Potter's Yard, Kendal since May", "14 Potter's Yard, Kendal", "in 14 Long Hill walks"),
    Shape("english_lower", NUMBER, PART, r"\d{1,6}[a-z]?,?<s>(?:(?:[a-z']{2,15}|\d{1,3}(?:st|nd|rd|th))<s>){1,3}(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|place|way|terrace|parkway)\b(?: [nsew]\b)?",
          "address: 742 evergreen terrace", "742 evergreen terrace", "it is a 5 minute walk down the road"),
    Shape("french", NUMBER, SURE, r"(?:<num>(?:<s>(?:bis|ter|quater)\b)?,?<s>)" + _FRENCH + r"<s>(?:" + _OF + r"?<name>|" + _OF + r"<L>+(?: <joint><w>)?)(?:,?<s>\d{1,4}\b)?",
          "au 12 bis rue de la Paix, 75002 Paris", "12 bis rue de la Paix, 75002 Paris", "the 3 passage"),
    Shape("french_lower", NUMBER, SURE, r"<num>,?<s>(?i:rue|chemin|impasse|ruelle|all(?:é|e)e)<s><L>{3,}",
          "au 31 rue tachkent, 1000 Tunis", "31 rue tachkent, 1000 Tunis", "a 3 rued day"),
    Shape("french_loose", NUMBER, SURE, r"(?:<num>(?:<s>(?:bis|ter|quater)\b)?,?<s>)" + _FRENCH_LOOSE + r"<s>" + _OF + r"<name>",
          "au 3, place de la République, 35000 Rennes.", "3, place de la République, 35000 Rennes", "a 3 place Decimal"),
    Shape("french_after", WORD, SURE, _FRENCH + r"<s>" + _OF + r"?<name>(?:<s><no>|,<s>\d{1,3}[A-Za-z]?)\b",
          "Rue de Virton 38, 6700 Arlon", "Rue de Virton 38, 6700 Arlon", "rue the day 38"),
    Shape("romance_numbered", WORD, SURE, r"(?i:calle|carrera|cra\.?|transversal|tr\.?|diagonal|dg\.?|avenida|av\.?|kr\.?|cl\.?|cll\.?)<s>(?:\d{1,3}(?:ª|º|[A-Za-z])?|<w>(?:<s><w>)?)(?:<s>bis)?(?:<s>(?:sur|norte|este))?<s>?(?:#|(?i:no)\.?|[Nn](?:º|°))<s>?\d{1,4}[A-Za-z]?(?:<s>?-<s>?\d{1,3})?\b(?:<s>(?:Este|Sur|Norte|Oeste)\b)?",
          "en Carrera 7 No. 71-21, Bogotá", "Carrera 7 No. 71-21, Bogotá", "see calle 7 and 8"),
    Shape("romance", WORD, SURE, _ROMANCE + r"(?:<name>|<joint><L>+(?: <joint><w>)?)" + _NUMERO + r",?<s>?(?:(?:<no>|\d{1,4}<s>?bis)\b|[Ss]/[Nn]\b)",
          "vive en Calle Mayor 5, 3º B, 28013 Madrid, España.", "Calle Mayor 5, 3º B, 28013 Madrid, España", "via port 8080, Plaza is closed"),
    Shape("romance_with_no", WORD, SURE, r"(?:Gang|Carrera|Diagonal|Komplek|Perumahan)<s><name>,?<s>?(?:[Nn]o\.?|[Nn](?:º|°)|#)<s>?<no>\b",
          "di Gang Rajawali Barat No. 231, Pontianak", "Gang Rajawali Barat No. 231, Pontianak", "Gang Foo has 3 of"),
    Shape("romance_short", NAME, PART, r"C\.<s>(?:<joint><w>)(?:<s><joint><w>){0,4},?<s>\d{1,4}\b",
          "en C. Rosa Barreda 27, 33227 Lugo", "C. Rosa Barreda 27, 33227 Lugo", "Gen. C. Foo, 15 years"),
    Shape("romance_lower", WORD, PART, r"(?i:via|viale|calle|rua|r(?:ú|u)a|avenida|piazza|plaza|paseo|praça|trg)<s>(?:<L>{2,}<s>){1,4}\d{1,5}[a-z]?\b",
          "indirizzo: via roma 10, 00184 Roma", "via roma 10, 00184 Roma", "sent via port nr 8080"),
    Shape("germanic", NAME, SURE, r"(?:<U><L>*(?:-<U><L>*){0,4})?" + _COMPOUND + r"<s>?<no>",
          "Musterstraße 12a, 10115 Berlin ist es", "Musterstraße 12a, 10115 Berlin", "der Umwegfaktor 12", r"(?:Alte[rn]?|Neue[rn]?|Obere[rn]?|Untere[rn]?|Gro(?:ß|ss)e|Kleine|Hintere|Vordere|Lange|Innere|(?:Ä|Ae)u(?:ß|ss)ere|<U><L>+er) "),
    Shape("germanic_hyphen", NAME, SURE, r"(?:<U><L>*(?:-<U><L>*){0,4}(?: (?:van|von|der|de|zu))?)" + _GERMAN_HYPHEN + r"<s><no>",
          "in der Nadja-Stolze-Weg 1, 93987 Ingolstadt wohnen", "Nadja-Stolze-Weg 1, 93987 Ingolstadt", "per-Weg 1"),
    Shape("germanic_apart", NAME, SURE, r"<w><s>(?:Stra(?:ß|ss)e|Str\.|Allee|Gasse|Chaussee)<s><no>",
          "Augsburger Strasse 36, 10789 Berlin", "Augsburger Strasse 36, 10789 Berlin", "Open gate number 5", r"<w> (?:van |von )?"),
    Shape("germanic_apart_loose", NAME, PART, r"<w><s>(?:str\.|Weg|Platz|Ring|Damm|Ufer|gate|gata|gade|vei|väg|allé|tee)<s><no>",
          "Trenerys gate 232, 7014 Trondheim", "Trenerys gate 232, 7014 Trondheim", "Boarding gate 5 is open", r"<w> (?:van |von )?"),
    Shape("germanic_first", WORD, SURE, r"(?:Stra(?:ß|ss)e|Platz|Allee|Weg|Ufer)<s>(?:de[srmn]|am|zu[mr]|an der|von)<s>(?:\d{1,2}\.<s>)?<w>(?:<s>(?:und<s>)?<w>)?<s><no>\b",
          "Straße des 17. Juni 135, 10623 Berlin", "Straße des 17. Juni 135, 10623 Berlin", "Straße des Jahres"),
    Shape("germanic_loose", NAME, PART, r"<U><L>*(?:-<U><L>*){0,3}(?:" + _COMPOUND_LOOSE + r")<s><no>\b",
          "Krausering 1, 04874 Erding", "Krausering 1, 04874 Erding", "the String 5 is short", r"(?:<w>[ -]<joint>){1,3}"),
    Shape("english_word", WORD, PART, r"(?:One|Two|Three|Four|Five|Six|Seven|Eight|Nine|Ten|Eleven|Twelve)<s>(?:<cap><s>){1,3}(?:" + _SUFFIX + "|" + _SUFFIX_SHORT + r"|Plaza|Center|Centre|Park|Loop)\b",
          "at One Microsoft Way, Redmond, WA 98052.", "One Microsoft Way, Redmond, WA 98052", "One Long Road ends here"),
    Shape("german_place", WORD, PART, r"(?:Am|An der|An den|Auf der|Auf dem|Im|In der|In den|Zum|Zur|Unter den|Hinter der|Beim|Vor dem|Bei der)<s><w>(?:<s><w>)?<s>\d{1,4}[a-z]?\b",
          "An der Alten Mühle 12, 21335 Lüneburg", "An der Alten Mühle 12, 21335 Lüneburg", "Am Montag 12 Uhr"),
    Shape("slavic", WORD, SURE, _SLAVIC + r"<joint>(?:<w>|<L>+)(?:[ -]<joint><w>){0,4}<s>(?:nr\.?<s>?)?<no>(?:<s>m\.<s>?\d{1,4})?",
          "mieszka: ul. Długa 5/7 m. 3, 00-238 Warszawa", "ul. Długa 5/7 m. 3, 00-238 Warszawa", "et al. Foo, 5 pages"),
    Shape("eastern_after", NAME, SURE, r"<w><s>(?:<l><s>)?(?:utca|út|útja|tér|tere|u\.|krt\.|körút|sétány|kapu|köz|bulevardi|trg|vrh|naselje|iela|náměstí|nám\.|třída|tänav|mnt|pst|põik|g\.|ulica|cesta|gatvė)<s>\d{1,4}(?:[A-Za-z]\b)?\.?",
          "Kossuth Lajos utca 14, 1053 Budapest", "Kossuth Lajos utca 14, 1053 Budapest", "the Foo u. is here", r"(?:<w> ){1,3}"),
    Shape("finnish_apart", NAME, SURE, r"<U><L>*n<s>(?:katu|kuja|tie|polku|kaari|rinne|tori|raitti)<s><no>",
          "Ida Ekmanin katu 83, 06400 Sottunga", "Ida Ekmanin katu 83, 06400 Sottunga", "The tie 3 is worn", r"(?:<w> ){1,2}"),
    Shape("turkish", NAME, SURE, r"<w><s>(?:Mah(?:allesi|\.)?|Cad(?:desi|\.)?|Sok(?:a(?:k|ğı)|\.)?|Sk\.|Bulvar(?:ı|i)|Blv\.),?<s>(?:(?:<w>|\d{1,4}\.?)<s>){0,4}(?:(?:Cad(?:desi|\.)?|Sok(?:a(?:k|ğı)|\.)?|Sk\.|Bulvar(?:ı|i)),?<s>)?(?:No<s>?[:.]?<s>?)\d{1,4}(?:/\d{1,4})?",
          "Atatürk Mah. Gül Sok. No: 12/3, 34000 İstanbul", "Atatürk Mah. Gül Sok. No: 12/3, 34000 İstanbul", "Mah. No comment", r"(?:<w> ){1,3}"),
    Shape("russian", SCRIPT, SURE, _RUSSIAN + r"<s>?(?:\d{1,3}(?:-<L>+)?<s>)?(?:<w>|<L>+)(?:[ -](?:<w>|<L>+)){0,3},?<s>(?:\d-<L>,?<s>)?(?:(?:д|буд|дом|б)\.?<s>?)?\d{1,4}<L>?(?:/\d{1,4})?(?:,?<s>(?:корп|стр|к|с|кв|офис|оф|этаж)\.?<s>?\d{1,4}(?:/\d{1,4})?)*",
          "адрес: ул. Ленина, д. 5, кв. 12", "ул. Ленина, д. 5, кв. 12", "ул. без номера"),
    Shape("russian_after", SCRIPT, SURE, r"<U><L>+(?:ая|ий|ый)<s>(?:ул\.|улица|пр\.|проспект|пер\.|переулок|площадь|шоссе),?<s>(?:д\.?<s>?|дом<s>)?\d{1,4}<L>?(?:,?<s>(?:корп|стр|к|кв)\.?<s>?\d{1,4})*",
          "это Тверская улица, дом 7, кв. 4", "Тверская улица, дом 7, кв. 4", "Тверская улица красива"),
    Shape("greek", SCRIPT, SURE, r"(?:Λ\.|Λεωφ(?:όρος|\.)|Οδός|οδός|Πλατεία|πλατεία)<s>(?:<w>|<L>+)(?:<s><w>){0,3}<s>\d{1,4}\b",
          "στην Λ. Αλεξάνδρας 14 μένω", "Λ. Αλεξάνδρας 14", "Πλατεία Συντάγματος είναι"),
    Shape("japanese", SCRIPT, SURE, r"(?:〒?\d{3}-\d{4}<s>?)?(?:東京都|北海道|大阪府|京都府|(?:<han>){2,3}県)(?:<han>){1,16}(?:<s>?(?:\d{1,4}|(?:一|二|三|四|五|六|七|八|九|十){1,3}))(?:丁目|番地?|号|-|−|－|\d){1,12}(?:<s>?(?:<han>){1,14}\d{1,4}(?:号室|階)?)?",
          "住所は東京都千代田区丸の内1-2-3です", "東京都千代田区丸の内1-2-3", "東京都に住む"),
    Shape("japanese_latin", NUMBER, SURE, r"\d{1,3}-\d{1,3}(?:-\d{1,3})?,?<s>(?:<w>,?<s>){0,2}<w>-(?:ku|cho|machi|shi|gun)(?:,<s><w>(?:-(?:shi|to|fu|ken|ku))?){0,2}(?:<s>\d{3}-\d{4})?",
          "at 1-2-3 Marunouchi, Chiyoda-ku, Tokyo 100-0005", "1-2-3 Marunouchi, Chiyoda-ku, Tokyo 100-0005", "see 1-2-3 Foo, bar"),
    Shape("chinese", SCRIPT, SURE, r"(?:\d{3,6}<s>?)?(?:<han>){1,18}(?:路|街|道|巷|弄|段|里|胡同)(?:<s>?\d{1,5}(?:段|巷|弄)){0,3}<s>?(?:\d{1,5}<s>?(?:号|號)|[A-Za-z]座)(?:之\d{1,3})?(?:<s>?(?:<han>){0,8}<s>?[A-Z]?\d{1,5}<s>?(?:室|楼|樓|层|單元|单元|栋|座|号)){0,4}(?:<s>\d{6}\b)?",
          "地址：北京市朝阳区建国路88号2栋301室", "北京市朝阳区建国路88号2栋301室", "第88号文件"),
    Shape("korean", SCRIPT, SURE, r"(?:(?:<hangul>){1,8}(?:시|도|구|군|동|읍|면)<s>){1,3}(?:<hangul>|\d){1,12}(?:로|길|동|가|거리)<s>?(?:지하)?\d{1,4}(?:-\d{1,4})?(?:길<s>?\d{1,4})?(?:<s>\((?:<hangul>|[ ,]){1,16}\))?",
          "서울특별시 강남구 테헤란로 152 에서", "서울특별시 강남구 테헤란로 152", "서울특별시 강남구"),
    Shape("hebrew", SCRIPT, SURE, r"(?:רחוב|רח'|שדרות|שד'|דרך|סמטת|משעול|כיכר|ככר)(?:<s><heb>+){1,3}<s>\d{1,3}(?:,<s><heb>+(?:<s><heb>+){0,2})?(?:,<s>\d{5,7})?|<heb>+(?:<s><heb>+){0,2}<s>\d{1,3},<s><heb>+(?:<s><heb>+){0,2},<s>\d{7}\b",
          "גר ברחוב אחר: רחוב הרצל 18, תל אביב", "רחוב הרצל 18, תל אביב", "רחוב הרצל"),
    Shape("vietnamese", SCRIPT, SURE, r"(?:Số<s>)?\d{1,4}(?:/\d{1,4}){0,3}[A-Z]?,?<s>(?:(?:<L>+|\d{1,4}),?<s>){1,8}(?:[Pp]hường|[Xx]ã|[Qq]uận|[Hh]uyện)<s>(?:<w>|\d{1,2})(?:,?<s>(?:[Tt]hành<s>phố|TP\.|tỉnh|[Qq]uận|[Hh]uyện|<w>)){0,6}(?:<s>\d{5,6}\b)?",
          "ở 20/618 Nguyễn Hữu Cảnh, Phường 22, TP. Hồ Chí Minh", "20/618 Nguyễn Hữu Cảnh, Phường 22, TP. Hồ Chí Minh", "20 Nguyễn Hữu"),
    Shape("arabic", SCRIPT, SURE, r"(?:\d{1,4}<s>)?(?:شارع|طريق)(?:<s>[\xd8-\xdb][\x80-\xbf](?:[\xd8-\xdb][\x80-\xbf])*){1,3}(?:،|,)?<s>\d{1,4}|\d{1,4}<s>(?:شارع|طريق)(?:<s>[\xd8-\xdb][\x80-\xbf](?:[\xd8-\xdb][\x80-\xbf])*){1,3}",
          "في 12 شارع الملك فهد", "12 شارع الملك فهد", "شارع الملك فهد"),
    Shape("indian", WORD, SURE, r"(?:(?i:h(?:ouse)?|flat|plot|door|shop|d|qtr)\.?<s>?(?i:no)\.?<s>?)[A-Z]?-?\d{1,5}(?:[-/]\d{1,4})?[A-Z]?<sep><name>",
          "lives at H.No. 17, Chokshi Ganj, Malegaon 611280.", "H.No. 17, Chokshi Ganj, Malegaon 611280", "plot no. 3 shows it"),
    Shape("indian_place", NUMBER, SURE, r"(?:[A-Z]-?\d{1,4}[A-Z]?,?<s>)(?:(?i:sector|phase|block)<s>\d{1,3}[A-Z]?,?<s>|(?:<w><s>){1,3}(?:Nagar|Marg|Colony|Vihar|Enclave|Road),?<s>)<w>|<num><sep>(?:<w><s>){1,3}(?:Nagar|Marg|Ganj|Zila|Colony|Chowk|Vihar|Enclave|Layout|Puram|Bagh|Salai|Sector)\b(?:<s>\d{1,3}\b)?|(?i:sector|phase)<s>\d{1,3}[A-Z]?,<s><w>",
          "to 08/334, Shere Nagar, Purnia 558310 please", "08/334, Shere Nagar, Purnia 558310", "Nagar has 12 sectors"),
    Shape("british", NAME, SURE, r"<w>,?<sep>(?:GIR ?0AA|[A-Z]{1,2}\d[A-Z\d]?<s>\d[ABD-HJLNP-UW-Z]{2})\b",
          "at Rose Cottage, Mill Lane, Little Snoring, NR21 0HT again", "Rose Cottage, Mill Lane, Little Snoring, NR21 0HT", "Foo, Bar, AB1 CD2", r"(?:<w>(?:[ -]|,<s>?)<joint>){1,12}"),
    Shape("american_city", NAME, SURE, r"<w>,<sep>(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])<s>\d{5}(?:-\d{4})?\b",
          "born in Springfield, IL 62701.", "Springfield, IL 62701", "Error, OR 12", r"(?:<w>[ -]<joint>){1,4}"),
    Shape("unit_first", WORD, PART, "(?:" + _UNIT_WORD + r"|(?i:plot|villa|house|shop|block|tower))\.?<s>#?(?:\d{1,5}[A-Za-z]?|[A-Z]\d{0,4})<sep>(?:<num>,?<s>)?<name>(?:,?<s>\d{1,5})?",
          "at Flat 8, Jake Key, South Hollie, LU1H 3JB.", "Flat 8, Jake Key, South Hollie, LU1H 3JB", "Unit 3, Testing is fun"),
    Shape("french_bare", WORD, PART, _FRENCH + r"<s>" + _OF + r"?<w>(?:[ -]<joint><w>){0,2}",
          "lives at rue Lemaître, 23902 Saint Simon.", "rue Lemaître, 23902 Saint Simon", "la rue Lemaître est belle"),
    Shape("romance_bare", WORD, CODE, _ROMANCE + r"<joint><w>(?: <joint><w>){0,2}",
          "Strada Stancu\nCălărași, 239099 e", "Strada Stancu\nCălărași, 239099", "Via Appia is old"),
    Shape("twice_numbered", NUMBER, CODE, r"\d{3,6}<s>(?:\d{1,5}<s>)?<joint><w>(?:<s><joint><w>){0,4}(?:<s><L>{2,12}){0,2},?<s>\d{1,4}[a-z]?\b",
          "to 641 Dašická 688, 39001 Tábor by car", "641 Dašická 688, 39001 Tábor", "GET 200 Okay 512, done"),
    Shape("numbered", NUMBER, CODE, r"(<num>,?<s><name>)(?:,|<s>?<nl>|<s>" + _UNIT_WORD + r"\b)",
          "to 2 Billy River, Jacobborough, OX4 3WA today", "2 Billy River, Jacobborough, OX4 3WA", "12 Angry Men, 1957"),
    Shape("number_after", NAME, CODE, r"(<w>,?<s><no>)(?:,|<s>?<nl>|<s>" + _UNIT_WORD + r"\b)",
          "at Tylova 285\n Suite 578\n Praha", "Tylova 285\n Suite 578", "Python 3, Django 5", r"(?:<w>[ -]<joint>){1,5}"),
    Shape("number_after_lower", NAME, CODE, r"(<w><s>(?:<l><s>){1,2}<no>)(?:,<s>|<s>?<nl>)" + _LONG_CODE + r"\b",
          "at Mlynské luhy 2\n990 10 Soľnička", "Mlynské luhy 2\n990 10 Soľnička", "See the section 5, Foo"),
)  # fmt: skip
"""Every shape, in the order in which they are tried on the same words."""

# --- what may follow a street --------------------------------------------------------------------------------------

_COUNTRY = (
    r"(?i:afghanistan|albania|algeria|andorra|angola|argentina|armenia|australia|austria|azerbaijan|bahrain|bangladesh|belarus|belgi(?:um|en|que|(?:ë))|bolivia|bosnia(?: and herzegovina)?|"
    r"brazil|brasil|bulgaria|cambodia|cameroon|canada|chile|china|colombia|costa rica|croatia|cuba|cyprus(?: \(greek\))?|czech(?:ia| republic)|denmark|danmark|deutschland|ecuador|egypt|england|"
    r"estonia|ethiopia|finland|suomi|france|georgia|germany|ghana|greece|greenland(?:er)?|guatemala|hong kong|hungary|iceland|india|indonesia|iran|iraq|ireland|israel|italy|italia|jamaica|japan|"
    r"jordan|kazakhstan|kenya|kuwait|latvia|lebanon|liechtenstein|lithuania|luxembourg|malaysia|malta|mexico|m(?:é)xico|moldova|monaco|mongolia|morocco|nederland|the netherlands|netherlands|"
    r"new zealand|nigeria|north macedonia|norway|norge|northern ireland|(?:ö)sterreich|pakistan|panama|paraguay|peru|per(?:ú)|philippines|poland|polska|portugal|puerto rico|qatar|republic of ireland|romania|russia(?:n federation)?|"
    r"saudi arabia|schweiz|suisse|scotland|senegal|serbia|singapore|slovakia|slovenia|south africa|south korea|korea|spain|espa(?:ñ)a|sri lanka|sverige|sweden|switzerland|taiwan|tanzania|thailand|tunisia|"
    r"t(?:u|ü)rk(?:ey|iye)|uganda|ukraine|united arab emirates|uae|united kingdom|u\.?k\.?|great britain|united states(?: of america)?|u\.?s\.?a\.?|uruguay|uzbekistan|venezuela|viet ?nam|wales|zimbabwe)"
    r"|Россия|Україна|Ελλάδα"
)  # fmt: skip
_UNIT = (
    r"(?:(?i:apt|apartment|suite|ste|unit|flat|studio|room|rm|floor|fl|level|lot|rd|bldg|building|tower|block|wing|puerta|pta|piso|apartamento|appartamento|interior|edif(?:icio)?|dep(?:ar)?to|dpto|dto|of|casa|bodega|etapa|torre|manzana|mz|lote|bloque|bl|sc|ap|et|esc|escalera|portal|planta|appt|appartement|b(?:â|a)t(?:iment)?|escalier|int|interno|scala|piano|"
    r"apto|andar|bloco|sala|lok|lokal|kat|daire|kv|bus|bte|bo(?:î|i)te|t(?:ü|u)r|top|stiege|whg|box|p\.?o\.?<s>?box|spc|hangar|dept|oficina|local|loja|sector|phase|кв|корп|этаж)"
    r"\.?:?<s>?(?:(?:n(?:º|°|o)\.?|#)<s>?)?(?:[A-Z]?-?\d{1,5}[A-Z]?|[A-Z])\b|#<s>?[A-Z]?\d{1,5}(?:-\d{1,5})?[A-Z]?\b|\d{1,2}-[A-Z]\b|(?:D|K|Kat|Daire)<s>?[:.]<s>?\d{1,3}\b|\d{1,2}(?:st|nd|rd|th)<s>(?i:floor|fl\b)\.?|"
    r"\d{1,2}<s>?(?:º|ª|°)(?:<s>?(?:(?i:izquierda|izqda|izq|derecha|dcha|dto|esq|ext|int|puerta)\b\.?|[A-Za-z]\b)|<s>?\d?\b)?|\d{1,2}\.<s>?(?:OG|Stock|Etage|sal|th\b|tv\b|mf\b)|\d{1,2}(?:er|e|(?:è|e)me)<s>(?:é|e)tage|(?:Parterre|Bajo|Hinterhaus|EG))"
)
_PROVINCE = r"(?:<s>\([A-Z]{2}\)|<s>?/<s>?[A-Z]{2}\b|<s>(?:-|–)<s>[A-Z]{2}\b|<s>\d{1,2}\b)?"
_CODE = r"(?:" + _LONG_CODE + "|" + _SHORT_CODE + r"|\d{8}\b)"
_BREAK = r"(?:<s>*,<s>*<nl>?|<s>*<nl>)"
_BRITISH = r"(?i:gir ?0aa|[a-z]{1,2}\d[a-z\d]?<s>?\d[a-z]{2}|(?:[a-z]{2}<s>)?[a-z]\d[a-z][ -]?\d[a-z]\d|[ac-fhknprtv-y]\d[\dw]<s>?[ac-fhknprtv-y\d]{4})\b"
"""British, Canadian and Irish postcodes."""
_PARTS: tuple[tuple[str, str], ...] = (
    ("unit", r"<sep>" + _UNIT),
    ("country", r"<sep>(?:<city>,?<sep>)?(?:" + _COUNTRY + r")\b(?:<s>" + _POSTCODE + r"\b)?"),
    ("postcode", r"<sep>(?:<city>,?<sep>)?" + _BRITISH),
    ("postcode", r"<sep>(?:<city><s>*,?<sep>)?(?:[A-Z]{2,4}|nan|null|None|\d{2}),?<sep>" + _POSTCODE + r"\b"),
    ("code first", r"<sep>" + _CODE + r"(?:<s>*,<s>?|<s>*<nl>)<city>" + _PROVINCE),
    ("postcode", r"<sep>" + _CODE + r"<s>+<city>" + _PROVINCE),
    ("postcode", _BREAK + _MARK + r"?\d{4}<s>+<city>" + _PROVINCE),
    ("postcode", r"<sep><city>(?:,<s>?|<s>*<nl>)" + _CODE + r"<s><city>" + _PROVINCE),
    ("postcode", r"<sep><city>(?:,?<sep>|<s>?(?:-|–)<s>?)(?:" + _LONG_CODE + "|" + _SHORT_CODE + r")\b"),
    ("postcode", _BREAK + "(?:" + _LONG_CODE + r")\b"),
    ("number", _BREAK + r"(?:\d{3}<s><city>|\d{7}\b|" + _SHORT_CODE + r"\b)"),
    ("words", r"<sep>(?:(?i:near|nr\.?|opp\.?|opposite|behind|beside|next to)<s>)?(?:<name>(?:/<w>)?(?:<s>\d{1,3}\b|<s>(?:nan|null|None)\b|<s>\(<L>+\))?|nan\b|null\b|None\b|N/A)"),
)  # fmt: skip
"""The parts in the order in which they are tried. "words" belong to the address where another part follows them."""
_PROVING = "|".join(f"(?:{pattern})" for _, pattern in _PARTS[:-1])
"""All parts but mere names, to know in one step that there is none."""
_NOT_PART = re.compile(
    rb"(?i)[\s,;>?*#|\\-]*(?:n\b)?[\s>]*(?:phone|tel|telephone|mobile|cell|fax|e-?mail|mail|dob|ssn|id|mrn|date|ticket|order|call|please|my|he|she|it|they|we|i|you|"
    rb"this|that|and|or|contact|name|from|to|notes?|born|age|is|was|thanks|regards|dear|hi|hello|the)\b"
)
"""Words that begin what comes after an address."""
_CITY_STOP = re.compile(rb"\s*(?:[.;?!)\]\"'<]|\\n|\r?\n|,\s*[a-z]|$)")
"""What has to come behind a city for it to belong to a street without any postcode."""
_CODES = frozenset(("postcode", "number", "code first"))
_NEVER_AFTER = {
    "unit": frozenset[str](),
    "country": frozenset[str](),
    "words": frozenset[str](),
    "postcode": frozenset(("postcode",)),
    "number": frozenset(("number",)),
    "code first": frozenset(("postcode", "words")),
}
"""Which parts a part never follows: there is one postcode, and a city behind it only where none stood before."""
_JOINED = re.compile(rb"[A-Za-z0-9_.\-/$#@&=%](?<!\\n)\Z|\d:\Z|[\xc3-\xd4][\x80-\xbf]\Z")
_COPYRIGHT = re.compile(rb"(?i)(?:copyright|\(c\)|\xc2\xa9)[\s#*/,;%-]{0,8}\Z")
"""What stands before the years of a copyright, which look like a house number."""
_DATED = re.compile(rb"(?i)\b(?:in|since|until|by|during|after|before)\s(?:19|20)\d\d\Z")
_PUBLISHER = re.compile(rb"(?i)\bsoftware[\s#*/]{1,6}foundation,?\s?(?:inc\b)?[\w\s,.#*/-]{0,88}\Z")
"""What stands before the address in the head of each file under a common licence; it is nobody's home."""
_DIGITS = re.compile(rb"[ .-]?\d{3}")

# --- what may stand before it --------------------------------------------------------------------------------------

_EDGE = rb"(?:(?<=[\s:>(,;\"'])|^)"
_BEFORE = re.compile(
    rb"(?:" + _EDGE + rb"(?:(?i:blk|block) |\d{1,2}/F,? )"
    rb"|"
    + _EDGE
    + rb"(?:(?i:apt|apartment|suite|unit|flat|studio|level|room|floor|block|blk|lot)\.? #?(?:\d\w{0,5}|[A-Z]\d{0,4}),?[ \n]{1,2}){0,3}(?:\d{3,6} ){1,2}"
    rb"|"
    + _EDGE
    + rb"(?:(?i:apt|apartment|suite|unit|flat|studio|level|room|floor|block|blk|lot)\.? #?(?:\d\w{0,5}|[A-Z]\d{0,4}),?[ \n]{1,2}){1,3}"
    rb"|" + _EDGE + rb"(?i:apt|apartment|suite|unit|flat|studio|level|room|floor|block|blk|lot)\.? #?"
    rb"|(?:\d{5}|\d{2}-\d{3}|\d{6}),? [^\W\d_a-z][\w\x80-\xff-]{2,30}, "
    rb"|(?:\d{6}, )?(?:(?:\xd0\xb3|\xd1\x81|\xd0\xb4|\xd0\xbf|\xd0\xba|\xd1\x81\xd1\x82|\xd0\xbf\xd0\xbe\xd1\x81|\xd0\xba\xd0\xbb\xd1\x85)\.? )?[\xd0-\xd1\x80-\xbf-]{4,60}, )\Z"
)
"""A number, a unit, or a postcode and its city in front of the street."""
_SAID = (
    r"(?i)(?:^|[^a-z])(?:addr(?:ess)?(?:es)?|adresse|adresa|anschrift|adres|adress|direcci(?:ó|o)n|domicilio|domicile|indirizzo|endere(?:ç|c)o|morada|адрес|住所|地址|wohnhaft|wohnt|wohne|(?:lives?|living|lived) (?:at|in|on)|"
    r"resid(?:es?|ing|ence|ent)|located (?:at|on)|ship(?:ped|ping)? to|deliver(?:ed|y)?(?: it| them)? (?:to|at)|sent to|mail(?:ed)? (?:it )?to|return(?:ed)?(?: it)? to|moved? (?:in)?to|drops? (?:you|me|us) off at|"
    r"taxi to|pick (?:me|us|him|her) up (?:at|from)|side of|habite|demeurant|viv[eo] (?:en|na|in)|abit[ao]|residente|woont|woonachtig|mieszkam?|zamieszka(?:ł)[ya]?|street|home is|house (?:at|on|is)|card to)"
    r"(?:[^a-z;.{}()=][^;.{}()=]{0,47})?$"
)
"""Words that say an address follows."""
_NOT_SAID = re.compile(
    rb"(?i)(?:e-?mail|web|ip|mac|memory|wallet|bitcoin|bind|listen|base|server|remote|host|network|source|virtual|return|physical|start|end|byte|bus|port|url)[ _-]?addr(?:ess)?(?:es)?[^;.]{0,48}\Z"
)
"""Addresses of other sorts."""
_NOT_STREET = (
    r"(?i)\b(?:google|hard|disk|usb|thumb|flash|test|page|table|figure|fig|section|chapter|version|step|part|line|lines|python|java|node|windows|ubuntu|debian|rfc|issue|error|code|http|https|get|post|put|"
    r"delete|patch|level|phase|stage|round|option|rule|item|note|example|case|type|class|block|port|january|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar|apr|jun|jul|"
    r"aug|sep|sept|oct|nov|dec|monday|tuesday|wednesday|thursday|friday|saturday|sunday|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|januar|februar|märz|mai|juni|juli|oktober|dezember|"
    r"string|integer|row|column|col|index|size|total|count|test|tests|http/\d|uhr|kapitel|seite|artikel|article|volume|vol|no|grade|group|team|room|top|number|size|unit|chapter|psalm|act|world war|copyright|in|since|until|by|from|during|after|before|circa)\.?,?<s>\d{1,6}\b"
    r"|^(?:suite|ste|apt|apartment|unit|flat|studio|floor|building|bldg|lot|box)\.? #?\d{1,5}[a-z]?$|^\d{1,6},? (?:[ap]\.?m\b|january|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar|apr|jun|jul|aug|sep|oct|nov|dec|google|hard|flash|usb|disk|test)\b"
)
"""Words that number things other than houses."""

# --- fields --------------------------------------------------------------------------------------------------------

_KEY = r"\\*[\"'](?i:(?:[a-z]{2,12}[_-]?)?(?:street(?:[_-]?(?:address|name|line_?\d?|\d))?|address(?:[_-]?line)?[_-]?\d?|addr(?:ess)?|line_?1|stra(?:ß|ss)e|rue|calle|indirizzo|adresse|anschrift|direcci(?:ó|o)n|domicilio|endere(?:ç|c)o|ulica|adres))\\*[\"']<s>?:<s>?\\*"
_FIELD = _KEY + r"(\"[^\"\n\\]{5,160}|'[^'\n\\]{5,160})[\"'\\]"
_BESIDE = re.compile(
    rb"(?i)[\"'](?:[a-z]{2,12}[_-]?)?(?:zip(?:[_-]?code)?|post(?:al)?[_-]?code|plz|postleitzahl|cap|cp|code[_-]?postal|city|town|ort|stadt|ville|ciudad|citt\xc3\xa0|cidade|miasto)\\*[\"']\s?:\s?"
    rb"\\*[\"']?([^\"'\n\\,{}\[\]]{3,60})"
)
"""A postcode or a city in a field of its own; it counts beside a street's field only."""
_NEAR = 240
_PLAIN = re.compile(rb"(?=[^\n]*\d)(?=[^\n]*[A-Za-z\x80-\xff]{3})[^\n@=_{}$<>|\\]{5,160}")
_SAYS = (
    r"\b(?:(?i:address(?:[ _]?line)?[ _]?\d?|street(?:[ _]?(?:address|name|\d))?|addr|adresse|anschrift|stra(?:ß|ss)e|domicilio|direcci(?:ó|o)n|indirizzo|endere(?:ç|c)o|adres|address to the same|house)(?:[\"']?<s>?[:=>]|<s>(?:is|was|ist|est|es|è|é)\b:?|<s>on file:)|"
    r"(?i:(?:lives?|living|lived) (?:at|on)|resid(?:es|ing) at|located at|side of|ships? to|shipping to|deliver(?:ed)? (?:it )?to|sent to|moved to|taxi to|card to|return to|off at|house at|"
    r"wohnt in der|wohne in der|wohnhaft|habite(?: au)?|vive en|mora na|abita in|woont (?:op|aan)))"
    r"<s>{0,8}<nl>?[\"']?(?:(?i:the|it is|at|in)<s>)?"
)
"""Words behind which an address is bound to stand."""
_SAID_STREET = r"(?:<num>,?<s>(?:\d{1,5}<s>)?<city>(?:,?<s><no>)?|(?:<w> and )?<city>,?<s><no>)"
"""What may stand there: a number and a name, or a name and a number."""
_WINDOW = 200
_CAPITAL = re.compile(rb"[A-Z]")
_CLOSE = 16
"""How far into lower-case words an address may begin."""
_MADE = re.compile(rb"://|^[\w.:/-]*$|\d\.\d+\.\d|:\d")

_FIGURES = r"\d{5}(?:-\d{3,4})?|\d{4}-\d{3}|\d{3} \d{2}|\d{2}-\d{3}|\d{6}|(?!19\d\d|20\d\d)\d{4}(?: [A-Z]{2})?"
_CODE_BEFORE = re.compile(rf"(?<![\w.,:/+-])({_FIGURES}),? \Z")
_CODE_AFTER = re.compile(
    rf"[ ,-]{{1,2}}({_FIGURES})(?=\Z|[.,;!?)\]\"'\n<](?!\d)| [A-Z]| (?:in|is|was|and|or|for|on|at|to|with|und|et|y|e|i)\b)"
)
"""A postcode in front of a town, and behind one; what is counted in thousands goes on with a small letter."""

# --- the engine ----------------------------------------------------------------------------------------------------

_Found = tuple[int, int]
_PROOFS = {PART: frozenset(("unit", "postcode", "country")), CODE: frozenset(("unit", "postcode"))}
_UNIT_SIZE = 24
_UNIT_TAIL = re.compile(rb"(?i)[ ,]+(?:apt|apartment|suite|unit|flat|room|floor)\.?(?: #?\d{1,5})?\Z")
_GROUP = re.compile(r"(?<!\\)\((?!\?)")
_GROUPED = frozenset(shape.name for shape in SHAPES if _GROUP.search(shape.pattern))
_PROVES = {
    need: "|".join(f"(?:{pattern})" for name, pattern in _PARTS if name.replace("code first", "postcode") in proofs)
    for need, proofs in _PROOFS.items()
}
"""What has to come behind a street that needs one of these."""
_FRONT = r"(?:^|[^A-Za-z\x80-\xff])"


def _holds(pattern: str, data: bytes) -> bool:
    """Whether the pattern is found in `data`."""
    return bool(_matcher(pattern)(_ANYWHERE, data, 0, len(data))[0][0] >= 0)


_PASSES = {NAME: 2}
"""Families of which the automaton for all shapes at once has too many states."""


class _Streets:
    """One alternation of the shapes of a family, and what tells them apart."""

    __slots__ = ("_search", "_shapes", "_which")

    def __init__(self, family: str) -> None:
        self._shapes = [shape for shape in SHAPES if shape.family == family]
        size = -(-len(self._shapes) // _PASSES.get(family, 1))
        patterns = [f"(?:{shape.pattern})" for shape in self._shapes]
        parts = ("|".join(patterns[place : place + size]) for place in range(0, len(patterns), size))
        self._search = Together([_matcher(part) for part in parts])
        self._which: Any = None

    def run(self, data: bytes) -> Iterator[_Found]:
        """The addresses of `data`, in order, never overlapping; byte offsets."""
        find, place, floor = self._search.over(data), 0, 0
        while True:
            start, end = find(place)
            if start < 0:
                return
            taken = self._judge(data, start, end, floor)
            if taken is None:
                step = _NEXT.match(data, start)
                place = step.end() if step else end
                continue
            yield taken
            place = floor = taken[1]

    def _tellers(self) -> Any:
        """What tells which shapes a candidate has; made at the first one."""
        which = re2.Set.FullMatchSet(options())
        for shape in self._shapes:
            which.Add(_bytes(shape.pattern))
        which.Compile()
        self._which = which
        return which

    def _judge(self, data: bytes, start: int, end: int, floor: int) -> _Found | None:
        """The whole address around a candidate, or None where it proves nothing."""
        for row in sorted((self._which or self._tellers()).Match(data[start:end])):
            shape = self._shapes[row]
            last, sure = _street_end(shape, data, start, end), shape.needs == SURE
            if not (sure or _provable(shape.needs, data, last) or _said(data, start, floor)):
                continue
            if not _stands_alone(data, start, last) or (not sure and _holds(_NOT_STREET, data[start:last])):
                continue
            stop, parts = _grown_right(data, last)
            if sure or parts & _PROOFS[shape.needs] or _said(data, start, floor):
                return _grown_left(shape, data, start, floor), stop
        return None


def _provable(need: str, data: bytes, place: int) -> bool:
    """Whether what proves a street stands as near behind `place` as parts are looked for: else no walk is worth it."""
    ahead = min(len(data), place + _AHEAD)
    return bool(_matcher(_PROVES[need])(_ANYWHERE, data, place, ahead)[0][0] >= 0)


def _street_end(shape: Shape, data: bytes, start: int, end: int) -> int:
    """Where the street ends: neither what marked its end nor a unit is a part of it."""
    if shape.name in _GROUPED:
        match = _matcher(shape.pattern, capture=True)
        end = start + match(_BOTH, data[start:end], 0, end - start)[1][1]
    unit = _UNIT_TAIL.search(data, max(start + 1, end - _UNIT_SIZE), end)
    return unit.start() if unit else end


def _said(data: bytes, start: int, floor: int) -> bool:
    """Whether words in front of the street say that it is one."""
    before = data[max(floor, start - _BEHIND) : start]
    return _holds(_SAID, before) and not _NOT_SAID.search(before)


def _stands_alone(data: bytes, start: int, end: int) -> bool:
    """Whether the street is no part of a longer word, number or path, and its number no year."""
    if _JOINED.search(data, max(0, start - 3), start) or _COPYRIGHT.search(data, max(0, start - 24), start):
        return False
    if data[start : start + 2] in (b"19", b"20") and _DATED.search(data, max(0, start - 8), start + 4):
        return False
    return not (end < len(data) and data[end] in _WORD and data[end - 1] in _WORD)


def _grown_left(shape: Shape, data: bytes, start: int, floor: int) -> int:
    """The start with the words of the street's name in front of it, and then a number, a unit or the city."""
    low = max(floor, start - _BEHIND)
    if shape.before:
        match = _matcher(f"{_FRONT}({shape.before})$", capture=True)
        spans = match(_ANYWHERE, data[low:start], 0, start - low)
        start = low + spans[1][0] if spans[0][0] >= 0 else start
    before = _BEFORE.search(data[low:start])
    return low + before.start() if before else start


def _grown_right(data: bytes, end: int) -> tuple[int, set[str]]:
    """The end of the last part that follows, and the names of the parts."""
    limit, place, pending, had = min(len(data), end + _AHEAD), end, 0, set[str]()
    for _ in range(_MOST):
        name, stop = _part(data, place, limit, had)
        if not name:
            break
        if name != "words":
            end, pending = stop, 0
        elif _closes(data, place, stop, proved=bool(had - {"words"})):
            end, pending = stop, 2
        elif (pending := pending + 1) > _LOOSE:
            break
        place = stop
        had.add(name)
    return end, had


def _part(data: bytes, place: int, limit: int, had: set[str]) -> tuple[str, int]:
    """The part that follows at `place`: its name and its end; no name for none. `had` are those before it."""
    if "country" in had or _NOT_PART.match(data, place, limit):
        return "", place
    _, some = _matcher(_PROVING)(_START, data, place, limit)[0]
    for name, pattern in _PARTS if some > place else _PARTS[-1:]:
        if had & _NEVER_AFTER[name]:
            continue
        _, stop = _matcher(pattern)(_START, data, place, limit)[0]
        if stop > place and not (name in _CODES and _DIGITS.match(data, stop)):
            return "postcode" if name == "code first" else name, stop
    return "", place


def _closes(data: bytes, place: int, stop: int, *, proved: bool) -> bool:
    """Whether a city without a postcode may be the end of the address: on the same line, and nothing goes on."""
    if data[place : place + 1] not in ((b",", b" ") if proved else (b",",)):
        return False
    return _CITY_STOP.match(data, stop, stop + 16) is not None or (proved and data[stop : stop + 1] == b",")


def _told(data: bytes) -> Iterator[_Found]:
    """What follows "lives at", "address:" and their like, where no shape of a street is needed to know it."""
    place, size, match = 0, len(data), _matcher(_SAYS)
    while (span := match(_ANYWHERE, data, place, size)[0])[0] >= 0:
        place = span[1]
        if _NOT_SAID.search(data[max(0, span[0] - 12) : place]):
            continue
        window = data[place : place + _WINDOW]
        taken = _told_plain(window) if _CAPITAL.search(window) else _told_small(window)
        if taken is not None:
            yield place + taken[0], place + taken[1]
            place += taken[1]


def _told_plain(window: bytes) -> _Found | None:
    """An address at the very start of `window`, its names with capitals."""
    _, end = _matcher(_SAID_STREET)(_START, window, 0, len(window))[0]
    if end <= 0 or _holds(_NOT_STREET, window[:end]) or not _stands_alone(window, 0, end):
        return None
    return 0, _grown_right(window, end)[0]


def _told_small(window: bytes) -> _Found | None:
    """An address that begins in the first words of `window`, in which nothing has a capital: read as if it had."""
    titled = window.title()
    found = [each for street in _streets(ascii_only=True) for each in islice(street.run(titled), 1)]
    return min((each for each in found if each[0] <= _CLOSE), default=None)


def _fields(data: bytes) -> Iterator[_Found]:
    """The values of fields named for a street, and of the postcode and city fields beside them."""
    place, match = 0, _matcher(_FIELD, capture=True)
    while (spans := match(_ANYWHERE, data, place, len(data)))[0][0] >= 0:
        start, place = spans[1][0] + 1, spans[1][1]
        value = data[start:place]
        if b" " not in value or not _PLAIN.fullmatch(value) or _MADE.search(value):
            continue
        yield start, place
        low = max(0, start - _NEAR)
        for each in _BESIDE.finditer(data[low : place + _NEAR]):
            yield low + each.start(1), low + each.end(1)


def _joined(found: Iterable[_Found]) -> list[_Found]:
    """The spans in order, those that overlap made one."""
    kept: list[_Found] = []
    for start, end in sorted(found):
        if kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
        else:
            kept.append((start, end))
    return kept


def _characters(data: bytes, found: Sequence[_Found]) -> list[_Found]:
    """The same spans with character offsets, moved outwards to whole characters; `data` is not ASCII."""
    spans: list[_Found] = []
    before, count = 0, 0
    for start, end in found:
        count += len(data[before:start].translate(None, _INNER))
        size = len(data[start:end].translate(None, _INNER))
        spans.append((count, count + size))
        count, before = count + size, end
    return spans


@cache
def _streets(*, ascii_only: bool) -> tuple[_Streets, ...]:
    """The passes that a text needs; made at the first text."""
    if ascii_only:
        return tuple(_Streets(family) for family in (NUMBER, NAME, WORD))
    return (*_streets(ascii_only=True), _Streets(SCRIPT))


def addresses(text: str) -> list[Span]:
    """The postal addresses of `text` as character offsets: in order, never overlapping, the label ADDRESS."""
    data = text.encode("utf-8", "surrogatepass")
    plain = len(data) == len(text)
    streets = chain.from_iterable(street.run(data) for street in _streets(ascii_only=plain))
    found = _joined(chain(streets, _told(data), _fields(data)))
    found = [each for each in found if not _PUBLISHER.search(data[max(0, each[0] - 128) : each[0]])]
    if not plain:
        found = _characters(data, found)
    return [Span(start, end, "ADDRESS", "street_address", Severity.MEDIUM) for start, end in found]


def codes_beside(text: str, places: Iterable[Span]) -> list[Span]:
    """The postcodes that stand next to known places (`10115 Berlin`, `Lyon 69007`), label ADDRESS; years are none.

    `places` are spans of towns in `text`, found by whoever knows towns; offsets are characters, the result in order.
    """
    spans: list[Span] = []
    for place in places:
        before = _CODE_BEFORE.search(text, max(0, place.start - 12), place.start)
        after = _CODE_AFTER.match(text, place.end, place.end + 14)
        spans += [Span(*each.span(1), "ADDRESS", "street_address", Severity.MEDIUM) for each in (before, after) if each]
    return sorted(set(spans))
