"""Numbers by which countries know their people: tax, health, identity.

A row has a name (the country comes first), the words that stand in front of such a number, its shape, python-stdnum's
module for its check digits, whether shape and check digits say enough without the words, and an example. To add a
country, add a row. What runs the rows is in `scan`.
"""

from __future__ import annotations

from membrain.pii import values
from membrain.pii.kinds import Kind, Severity, named

_ROWS: tuple[tuple[str, str, str, str, bool, str], ...] = (
    ("ar_dni", r"\bdni\b|documento", r"\d{1,2}\.\d{3}\.\d{3}", "ar.dni", False, "20.123.456"),
    ("ar_cuit", r"cui[tl]", r"\d{2}-\d{8}-\d", "ar.cuit", True, "20-05536168-2"),
    ("at_svnr", r"svnr|sozialversicherungsnummer|versicherungsnummer", r"\d{4} ?\d{6}", "at.vnr", False,
     "1237 010180"),
    ("au_tfn", r"tfn|tax file", r"\d{3} ?\d{3} ?\d{3}", "au.tfn", False, "123 456 782"),
    ("au_medicare", r"medicare", r"\d{4} ?\d{5} ?\d", "", False, "2123 45670 1"),
    ("be_nn", r"rijksregister|registre national|national number|insz|niss", r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}",
     "be.nn", False, "85.07.30-033.28"),
    ("bg_egn", r"\begn\b|ЕГН", r"\d{10}", "bg.egn", False, "7523169263"),
    ("br_cpf", r"\bcpf\b|cadastro de pessoa", r"\d{3}\.\d{3}\.\d{3}-\d{2}", "br.cpf", True, "390.533.447-05"),
    ("br_cnpj", r"\bcnpj\b", r"\d{2}\.?\d{3}\.?\d{3}/?\d{4}-?\d{2}", "", False, "16.727.230/0001-97"),
    ("br_cpf_bare", r"\bcpf\b", r"\d{11}", "br.cpf", False, "39053344705"),
    ("ca_sin", r"\bsin\b|social insurance|\bnas\b|assurance sociale", r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", False,
     "046 454 286"),
    ("ch_ahv", r"\bahv\b|\bavs\b", r"756\.?\d{4}\.?\d{4}\.?\d{2}", "ch.ssn", True, "756.9217.0769.85"),
    ("cl_rut", r"\brut\b", r"\d{1,2}\.?\d{3}\.?\d{3}-[\dkK]", "cl.rut", True, "12.531.909-2"),
    ("cn_ric", r"resident|identity card|id card|身份证", r"\d{17}[\dXx]", "cn.ric",
     True, "360426199101010071"),
    ("co_nit", r"cédula|cedula|\bnit\b", r"\d{1,3}\.?\d{3}\.?\d{3}(?:-\d)?", "", False, "213.123.432-1"),
    ("cz_rc", r"rodné|\brc\b", r"\d{6}/\d{3,4}", "cz.rc", True, "710319/2745"),
    ("de_idnr", r"steuer-?id(?:entifikationsnummer)?|steuer-?idnr|tax id|tin", r"\d{2} ?\d{3} ?\d{3} ?\d{3}",
     "de.idnr", False, "36 574 261 809"),
    ("de_rvnr", r"rentenversicherung|sozialversicherung|sv-nummer|rvnr", r"\d{2} ?\d{6} ?[A-Z] ?\d{3}", "", False,
     "15 070649 C 103"),
    ("de_ausweis", r"personalausweis|ausweisnummer|ausweis", r"[CFGHJKLMNPRTVWXYZ0-9]{9}", "", False, "L01X00T47"),
    ("de_kvnr", r"versichertennummer|krankenversichertennummer|\bkvnr\b", r"[A-Z]\d{9}", "", False, "A123456780"),
    ("dk_cpr", r"\bcpr\b", r"\d{6}-?\d{4}", "", False, "211062-5629"),
    ("ee_ik", r"isikukood", r"\d{11}", "ee.ik", False, "36805280109"),
    ("es_dni", r"\bdni\b|\bnif\b", r"\d{8}[ -]?[A-Za-z]", "es.dni", True, "54362315K"),
    ("es_nie", r"\bnie\b", r"[XYZxyz][ -]?\d{7}[ -]?[A-Za-z]", "es.nie", True, "X-2482300W"),
    ("fi_hetu", r"hetu|henkilötunnus", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]", "fi.hetu", True,
     "131052-308T"),
    ("fr_nir", r"sécu|securite sociale|\bnir\b|insee",
     r"[12][ .]?\d{2}[ .]?(?:0[1-9]|[1-9]\d)[ .]?\d[\dAB][ .]?\d{3}[ .]?\d{3}[ .]?\d{2}", "fr.nir", True,
     "2 95 10 99 126 111 93"),
    ("gb_nino", r"national insurance|\bnino?\b|\bni (?:number|no\b)",
     r"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z] ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]", "", False,
     "CE 79 46 93 B"),
    ("gb_nhs", r"\bnhs\b", r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs", False, "943 476 5870"),
    ("gb_utr", r"\butr\b|unique taxpayer", r"\d{5} ?\d{5}", "", False, "19550 00001"),
    ("gr_amka", r"amka", r"\d{11}", "gr.amka", False, "01013099997"),
    ("hk_hkid", r"hkid|hong kong id", r"[A-Z]{1,2}\d{6}\([0-9A]\)", "", False, "A123456(3)"),
    ("hr_oib", r"\boib\b", r"\d{11}", "hr.oib", False, "33392005961"),
    ("hu_taj", r"\btaj\b", r"\d{3}[ -]?\d{3}[ -]?\d{3}", "", False, "111 111 110"),
    ("id_nik", r"\bnik\b|\bktp\b", r"\d{16}", "", False, "3171011708450001"),
    ("ie_pps", r"\bpps\b|ppsn", r"\d{7}[A-W][A-IW]?", "ie.pps", False, "6433435F"),
    ("il_id", r"teudat|israeli id|mispar zehut", r"\d{7,8}-?\d", "il.idnr", False, "39337423"),
    ("in_aadhaar", r"aadhaar|aadhar|uidai|\buid\b", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", "in_.aadhaar", False,
     "2341 2341 2346"),
    ("in_pan", r"\bpan\b|permanent account", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", "", True, "ACUPA7085R"),
    ("is_kennitala", r"kennitala", r"\d{6}-?\d{4}", "is_.kennitala", False, "450401-3150"),
    ("it_carta", r"carta d.{1,3}identit(?:à|a)", r"[A-Z]{2}\d{5}[A-Z]{2}|[A-Z]{2} ?\d{7}", "", False, "CA12345AA"),
    ("it_cf", r"codice fiscale|\bc\.?f\.?\b",
     r"[A-Za-z]{6}[0-9LMNP-V]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9LMNP-V]{2}[A-Za-z][0-9LMNP-V]{3}[A-Za-z]",
     "it.codicefiscale", True, "RCCMNL83S18D969H"),
    ("jp_my_number", r"my ?number|マイナンバー",
     r"\d{4}[ -]?\d{4}[ -]?\d{4}", "", False, "6214 9832 0257"),
    ("kr_rrn", r"\brrn\b|resident registration|주민", r"\d{6}-\d{7}", "kr.rrn", True,
     "971013-9019902"),
    ("lt_asmens", r"asmens kodas", r"\d{11}", "lt.asmens", False, "33309240064"),
    ("mx_curp", r"curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d", "mx.curp", True, "BOXW310820HNERXN09"),
    ("mx_rfc", r"\brfc\b", r"[A-Z]{4}\d{6}[A-Z0-9]{3}", "", False, "GODE561231GR8"),
    ("my_nric", r"\bnric\b|mykad|\bic (?:no|number)", r"\d{6}-\d{2}-\d{4}", "my.nric", True, "770305-02-1234"),
    ("nl_bsn", r"\bbsn\b|burgerservicenummer|sofinummer", r"\d{4}\.?\d{2}\.?\d{3}", "nl.bsn", False, "1112.22.333"),
    ("no_fnr", r"fødselsnummer|fodselsnummer|\bfnr\b|personnummer", r"\d{6} ?\d{5}", "no.fodselsnummer", False,
     "151086 95088"),
    ("nz_ird", r"\bird\b|inland revenue", r"\d{2,3}[ -]?\d{3}[ -]?\d{3}", "nz.ird", False, "49-091-850"),
    ("ph_tin", r"\btin\b|philsys|philhealth", r"\d{3}-\d{3}-\d{3}(?:-\d{3})?", "", False, "123-456-789-000"),
    ("pl_dowod", r"dow(?:ó|o)d(?:u|em)?(?: osobist(?:y|ego|ym))?", r"[A-Z]{3} ?\d{6}", "", False, "ABA300000"),
    ("pl_nip", r"\bnip\b", r"\d{3}-?\d{3}-?\d{2}-?\d{2}", "", False, "856-734-62-15"),
    ("pl_pesel", r"pesel", r"\d{11}", "pl.pesel", False, "44051401359"),
    ("pt_nif", r"\bnif\b|contribuinte", r"\d{3} ?\d{3} ?\d{3}", "pt.nif", False, "501 964 843"),
    ("ro_cnp", r"\bcnp\b", r"[1-9]\d{12}", "ro.cnp", False, "1630615123457"),
    ("ru_snils", r"snils|СНИЛС", r"\d{3}-\d{3}-\d{3} \d{2}", "", True,
     "112-233-445 95"),
    ("se_pnr", r"personnummer|\bpnr\b", r"(?:19|20)?\d{6}[-+]\d{4}", "se.personnummer", True, "880320-0016"),
    ("sg_nric", r"\bnric\b|\bfin\b", r"[STFGM]\d{7}[A-Z]", "", True, "S1234567D"),
    ("th_pin", r"thai id|บัตร", r"\d-\d{4}-\d{5}-\d{2}-\d", "th.pin",
     True, "1-2345-45678-78-1"),
    ("tr_tckimlik", r"t\.?c\.? ?kimlik|tckn|kimlik", r"[1-9]\d{10}", "tr.tckimlik", False, "17291716060"),
    ("tw_id", r"taiwan", r"[A-Z][12]\d{8}", "", False, "A123456789"),
    ("ua_rnokpp", r"rnokpp|рнокпп", r"\d{10}", "", False, "1759013776"),
    ("us_itin", r"\bitin\b|individual taxpayer", r"9\d{2}-\d{2}-\d{4}", "", False, "912-90-3456"),
    ("us_ein", r"\bein\b|employer id(?:entification)?|federal tax", r"\d{2}-\d{7}", "", False, "12-3456789"),
    ("us_mbi", r"medicare|\bmbi\b",
     r"[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y]{2}\d{2}",
     "", True, "1EG4-TE5-MK73"),
    ("us_npi", r"\bnpi\b|provider identifier", r"[12]\d{9}", "", False, "1234567893"),
    ("us_dea", r"\bdea\b", r"[A-Z][A-Z9]\d{7}", "", False, "AB1234563"),
    ("vn_cccd", r"cccd|can cuoc|căn cước", r"\d{12}", "", False, "001099012345"),
    ("za_id", r"south african id|\bsa id\b|\brsa id\b|id number", r"\d{10}[01]\d{2}", "za.idnr", False,
     "8909036004085"),
)  # fmt: skip

_SAID = {
    "ar_cuit": "CUIT", "at_svnr": "SVNR", "de_idnr": "Steuer-ID", "de_rvnr": "SV-Nummer",
    "gb_nino": "National Insurance", "it_carta": "carta d'identità", "pl_dowod": "dowód",
    "tr_tckimlik": "TC kimlik",
}  # fmt: skip
"""How a person writes the words, where the first of them is a pattern."""


def _by_words(name: str, words: str, shape: str, value: str) -> Kind:
    """A number behind its own words: there a mistyped check digit does not save anybody."""
    said = _SAID.get(name) or words.split("|", maxsplit=1)[0].replace(r"\b", "").replace("?", "")
    return named(f"{name}_named", "NATIONAL_ID", Severity.HIGH, words, shape, values.alone, value=value, said=said)


def _by_itself(name: str, shape: str, module: str, value: str) -> Kind:
    """A number that shows what it is: a shape of its own, and check digits."""
    return Kind(
        name, "NATIONAL_ID", Severity.HIGH, "shapes",
        r"\b" + shape + ("" if shape.endswith(")") else r"\b"),
        values.national(module) if module else values.alone,
        hit=f"it is {value}, I think", value=value, miss="it is 12-34, I think",
    )  # fmt: skip


BY_THEMSELVES = tuple(_by_itself(name, shape, module, value) for name, _, shape, module, bare, value in _ROWS if bare)
"""The kinds that need no word."""

BY_WORDS = tuple(_by_words(name, words, shape, value) for name, words, shape, _, _, value in _ROWS)
"""All of them, behind their words."""
