"""The table of what is private: one row for each kind, and the door that scans a text with all of them.

To add a kind, add a row: its two examples are its test. Rows stand in the order in which they win where two want the
same characters. Private IP ranges count (they draw a map of the inside), loopback and link-local do not; numbers that
are reserved and never given out count as real, everywhere. Tokens in the examples are put together here, so that no
tool takes this file for a leak.
"""

# ruff: noqa: E501  # rows of patterns: broken in two they are read wrongly

from __future__ import annotations

import re
from functools import lru_cache

from membrain.pii import checks, values
from membrain.pii.kinds import Check, Kind, Severity, Span
from membrain.pii.scan import Scanner

_CRITICAL, _HIGH, _MEDIUM, _LOW = Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW
_SEED = "q7Rk2ZpX9vLm4TnB8sWd3YhC6gJf5AeU1oKiD0xQwErTyMzNbVcPlSaHjFuGtIo"
_HEX = "7c1f9e3b50a2d846e1b97f03c5d82a64"


def _fill(size: int, alphabet: str = "w") -> str:
    """A token's body for the examples: `w` any word sign, `a` small letters and figures, `A` capitals, `h` hex."""
    body = {"w": _SEED, "a": _SEED.lower(), "A": _SEED.upper(), "h": _HEX, "9": "8302746195"}[alphabet]
    return (body * (size // len(body) + 1))[:size]


# --- secrets that carry their vendor's own mark: name, pattern, example in parts (text, or size and alphabet) -------

_Part = str | tuple[int, str]
_VENDORS: tuple[tuple[str, str, tuple[_Part, ...]], ...] = (
    ("aws_access_key", r"\b(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z2-7]{16}\b", ("AKIA", "Q7RK2ZPX2VLM4TNB")),
    ("aws_bedrock", r"\bABSK[A-Za-z0-9+/]{109,269}={0,2}", ("ABSK", (116, "w"))),
    ("aws_bedrock_short", r"\bbedrock-api-key-[A-Za-z0-9+/=._-]{20,800}", ("bedrock-api-key-", (40, "w"))),
    ("github", r"\bgh[pousr]_[A-Za-z0-9]{36,255}", ("ghp_", (36, "w"))),
    ("github_fine", r"\bgithub_pat_\w{40,255}", ("github_pat_", (82, "w"))),
    ("gitlab", r"\bgl(?:pat|ptt|rt|dt|ft|imt|agent|oas|soat|cbt|ffct|rtr)-(?:t\d_)?[\w.-]{16,300}",
     ("glpat-", (20, "w"))),
    ("gitlab_runner", r"\bGR1348941[\w-]{20,60}", ("GR1348941", (20, "w"))),
    ("gitlab_session", r"\b_gitlab_session=[0-9a-z]{32}", ("_gitlab_session=", (32, "a"))),
    ("slack", r"\bxox(?:[abprs]-(?:\d-)?\d{8,14}-?[0-9A-Za-z]{2,14}[0-9A-Za-z-]{2,120}|e(?:\.xox[bp])?-\d-[A-Za-z0-9]{40})", ("xoxb-", (12, "9"), "-", (24, "w"))),
    ("slack_app", r"\bxapp-\d-[A-Za-z0-9]{8,20}-\d{8,20}-[a-z0-9]{30,80}",
     ("xapp-1-A", (10, "A"), "-", (13, "9"), "-", (64, "h"))),
    ("slack_webhook", r"https?://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,56}",
     ("https://hooks.slack.com/services/T", (10, "A"), "/B", (10, "A"), "/", (24, "w"))),
    ("teams_webhook", r"https://[a-z0-9]{1,60}\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{60,300}",
     ("https://acme.webhook.office.com/webhookb2/", (80, "h"))),
    ("discord_webhook", r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/\d{15,22}/[\w-]{50,90}",
     ("https://discord.com/api/webhooks/", (18, "9"), "/", (63, "w"))),
    ("discord_bot", r"\b[MNO][A-Za-z\d_-]{23,27}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,45}",
     ("M", (23, "w"), ".", (6, "w"), ".", (38, "w"))),
    ("telegram_bot", r"\b\d{8,10}:A[A-Za-z0-9_-]{34}\b", ((10, "9"), ":A", (34, "w"))),
    ("stripe", r"\b[rs]k_(?:test|live|prod)_[A-Za-z0-9]{10,255}", ("sk_live_", (24, "w"))),
    ("stripe_webhook", r"\bwhsec_[A-Za-z0-9+/=]{24,80}", ("whsec_", (32, "w"))),
    ("openai", r"\bsk-(?:proj|svcacct|admin|None)-[\w-]{20,300}", ("sk-proj-", (60, "w"))),
    ("anthropic", r"\bsk-ant-(?:api|admin|oat|sid)\d\d-[\w-]{80,300}", ("sk-ant-api03-", (95, "w"))),
    ("openrouter", r"\bsk-or-v1-[0-9a-f]{40,80}", ("sk-or-v1-", (64, "h"))),
    ("sk_token", r"\bsk-[A-Za-z0-9]{12,100}\b", ("sk-", (48, "w"))),
    ("langfuse", r"\b[sp]k-lf-[0-9a-f-]{36}", ("sk-lf-", "7c1f9e3b-50a2-4846-e1b9-7f03c5d82a64")),
    ("langsmith", r"\blsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}", ("lsv2_pt_", (32, "h"), "_", (10, "h"))),
    ("google_api", r"\bAIza[\w-]{35}", ("AIza", (35, "w"))),
    ("google_oauth", r"\bGOCSPX-[\w-]{24,40}", ("GOCSPX-", (28, "w"))),
    ("google_access", r"\bya29\.[\w-]{20,500}", ("ya29.", (60, "w"))),
    ("azure_ad", r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}", ("bP8", "8Q~", (34, "w"))),
    ("azure_storage", r"\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,88}={0,2})", ("AccountKey=", (86, "w"), "==")),
    ("twilio", r"\bSK[0-9a-f]{32}\b", ("SK", (32, "h"))),
    ("sendgrid", r"\bSG\.[\w=-]{16,32}\.[\w=-]{30,64}", ("SG.", (22, "w"), ".", (43, "w"))),
    ("sendinblue", r"\bxkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}", ("xkeysib-", (64, "h"), "-", (16, "a"))),
    ("mailchimp", r"\b[0-9a-f]{32}-us\d{1,2}\b", ((32, "h"), "-us20")),
    ("mailgun", r"\b(?:pubkey|key)-[0-9a-f]{32}\b", ("key-", (32, "h"))),
    ("npm", r"\bnpm_[A-Za-z0-9]{36}", ("npm_", (36, "w"))),
    ("pypi", r"\bpypi-AgE[\w-]{50,300}", ("pypi-AgE", (80, "w"))),
    ("rubygems", r"\brubygems_[0-9a-f]{48}", ("rubygems_", (48, "h"))),
    ("clojars", r"\bCLOJARS_[A-Za-z0-9]{60}", ("CLOJARS_", (60, "a"))),
    ("cargo", r"\bcio[A-Za-z0-9]{32}\b", ("cio", (32, "w"))),
    ("dockerhub", r"\bdckr_(?:pat|oat)_[\w-]{27,60}", ("dckr_pat_", (27, "w"))),
    ("huggingface", r"\b(?:hf|api_org)_[A-Za-z]{34}\b", ("hf_", "qRkZpXvLmTnBsWdYhCgJfAeUoKiDxQwErT")),
    ("replicate", r"\br8_[A-Za-z0-9]{37}", ("r8_", (37, "w"))),
    ("groq", r"\bgsk_[A-Za-z0-9]{40,60}", ("gsk_", (52, "w"))),
    ("perplexity", r"\bpplx-[A-Za-z0-9]{40,60}", ("pplx-", (48, "w"))),
    ("xai", r"\bxai-[A-Za-z0-9]{60,90}", ("xai-", (80, "w"))),
    ("digitalocean", r"\bdo[opr]_v1_[0-9a-f]{64}", ("dop_v1_", (64, "h"))),
    ("shopify", r"\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}", ("shpat_", (32, "h"))),
    ("square", r"\bsq0[a-z]{3}-[\w-]{22,80}", ("sq0atp-", (22, "w"))),
    ("square_access", r"\bEAAA[A-Za-z0-9+_=-]{56,64}", ("EAAA", (60, "w"))),
    ("facebook", r"\bEAA[MC][A-Za-z0-9]{60,300}", ("EAAM", (120, "w"))),
    ("paypal", r"\baccess_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
     ("access_token$production$", (16, "a"), "$", (32, "h"))),
    ("plaid", r"\baccess-(?:sandbox|development|production)-[0-9a-f-]{36}",
     ("access-production-", "7c1f9e3b-50a2-4846-e1b9-7f03c5d82a64")),
    ("flutterwave", r"\bFLW(?:SEC|PUB)K_TEST-[A-Za-z0-9-]{12,40}", ("FLWSECK_TEST-", (32, "h"), "-X")),
    ("razorpay", r"\brzp_(?:live|test)_[A-Za-z0-9]{14,30}", ("rzp_live_", (14, "w"))),
    ("shippo", r"\bshippo_(?:live|test)_[0-9a-fA-F]{40}", ("shippo_live_", (40, "h"))),
    ("easypost", r"\bEZ[AT]K[A-Za-z0-9]{54}", ("EZAK", (54, "w"))),
    ("duffel", r"\bduffel_(?:test|live)_[\w=-]{43}", ("duffel_test_", (43, "w"))),
    ("frameio", r"\bfio-u-[\w=-]{64}", ("fio-u-", (64, "w"))),
    ("airtable", r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}", ("pat", (14, "w"), ".", (64, "h"))),
    ("atlassian", r"\bATATT3[\w=-]{80,300}", ("ATATT3", (186, "w"))),
    ("linear", r"\blin_(?:api|oauth)_[A-Za-z0-9]{40,64}", ("lin_api_", (40, "w"))),
    ("notion", r"\bntn_\d{11}[A-Za-z0-9]{35}", ("ntn_", (11, "9"), (35, "w"))),
    ("figma", r"\bfig[dour]_[\w-]{40,60}", ("figd_", (40, "w"))),
    ("typeform", r"\btfp_[\w.=-]{59}", ("tfp_", (59, "w"))),
    ("postman", r"\bPMAK-[0-9a-fA-F]{24}-[0-9a-fA-F]{34}", ("PMAK-", (24, "h"), "-", (34, "h"))),
    ("databricks", r"\bdapi[0-9a-f]{32}(?:-\d)?\b", ("dapi", (32, "h"))),
    ("dynatrace", r"\bdt0[a-z]\d{2}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}", ("dt0c01.", (24, "w"), ".", (64, "w"))),
    ("newrelic", r"\bNR(?:AK|II|JS|RA)-[A-Za-z0-9-]{19,40}", ("NRAK-", (27, "A"))),
    ("grafana", r"\bglsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}", ("glsa_", (32, "w"), "_", (8, "h"))),
    ("grafana_cloud", r"\bglc_[A-Za-z0-9+/]{32}[^\s\"'`,;]{0,120}", ("glc_", (64, "w"))),
    ("sentry", r"\bsntry[su]_[A-Za-z0-9+/=_]{60,300}", ("sntryu_", (64, "h"))),
    ("pulumi", r"\bpul-[0-9a-f]{40}", ("pul-", (40, "h"))),
    ("terraform", r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}", ((14, "w"), ".atlasv1.", (67, "w"))),
    ("vault", r"\bhv[sbr]\.[\w-]{24,300}", ("hvs.", (90, "w"))),
    ("vault_old", r"\b[sb]\.[A-Za-z0-9]{24}\b", ("s.", (24, "w"))),
    ("doppler", r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,80}", ("dp.pt.", (43, "w"))),
    ("onepassword", r"\bA3-[A-Z0-9]{6}-[A-Z0-9]{6}-?[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}(?:-[A-Z0-9]{5})?",
     ("A3-", (6, "A"), "-", "M4TNB8", "-", "SWD3Y", "-", "HC6GJ", "-", "F5AEU", "-", "1OK9D")),
    ("onepassword_account", r"\bops_eyJ[A-Za-z0-9+/_=-]{100}", ("ops_eyJ", (250, "w"))),
    ("planetscale", r"\bpscale_(?:tkn|pw|oauth)_[\w=.-]{32,64}", ("pscale_pw_", (40, "w"))),
    ("prefect", r"\bpnu_[A-Za-z0-9]{36}", ("pnu_", (36, "a"))),
    ("heroku", r"\bHRKU-AA[\w-]{58}", ("HRKU-AA", (58, "w"))),
    ("harness", r"\b(?:pat|sat)\.[\w-]{22}\.[0-9a-zA-Z]{24}\.[0-9a-zA-Z]{20}",
     ("pat.", (22, "w"), ".", (24, "w"), ".", (20, "w"))),
    ("infracost", r"\bico-[A-Za-z0-9]{32}", ("ico-", (32, "w"))),
    ("fly", r"\b(?:fo1_[\w-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{100})", ("fo1_", (43, "w"))),
    ("cloudflare_ca", r"\bv1\.0-[0-9a-f]{24}-[0-9a-f]{146}", ("v1.0-", (24, "h"), "-", (146, "h"))),
    ("openshift", r"\bsha256~[\w-]{43}", ("sha256~", (43, "w"))),
    ("sourcegraph", r"\bsgp_(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}", ("sgp_", (40, "h"))),
    ("readme", r"\brdme_[a-z0-9]{70}", ("rdme_", (70, "a"))),
    ("scalingo", r"\btk-us-[\w-]{48}", ("tk-us-", (48, "w"))),
    ("settlemint", r"\bsm_(?:aat|pat|sat)_[A-Za-z0-9]{16,24}", ("sm_pat_", (16, "w"))),
    ("artifactory", r"\bAKCp[A-Za-z0-9]{69}", ("AKCp", (69, "w"))),
    ("artifactory_reference", r"\bcmVmd[A-Za-z0-9]{59}", ("cmVmd", (59, "w"))),
    ("adobe", r"\bp8e-[A-Za-z0-9]{32}", ("p8e-", (32, "w"))),
    ("alibaba", r"\bLTAI[A-Za-z0-9]{20}\b", ("LTAI", (20, "w"))),
    ("tencent", r"\bAKID[A-Za-z0-9]{32}\b", ("AKID", (32, "w"))),
    ("yandex", r"\b(?:AQVN[A-Za-z0-9_-]{35,38}|YC[A-Za-z0-9_-]{38}|t1\.[A-Z0-9a-z_-]{20,40}={0,2}\.[A-Za-z0-9_-]{86}={0,2})",
     ("AQVN", (36, "w"))),
    ("sidekiq", r"\b[a-f0-9]{8}:[a-f0-9]{8}@(?:gems|enterprise)\.contribsys\.com",
     ("7c1f9e3b:50a2d846@gems.contribsys.com",)),
    ("intra42", r"\bs-s4t2(?:ud|af)-[0-9a-f]{64}", ("s-s4t2ud-", (64, "h"))),
    ("octopus", r"\bAPI-[A-Z0-9]{26}\b", ("API-", (26, "A"))),
    ("snyk", r"\bsnyk_(?:uat|sat)\.[0-9a-f]{8}\.[\w-]{40,80}", ("snyk_uat.", (8, "h"), ".", (60, "w"))),
    ("supabase", r"\bsb[pr]?_(?:secret_)?[A-Za-z0-9_]{31,60}", ("sbp_", (40, "h"))),
    ("vercel", r"\bvc[pkair]_[A-Za-z0-9]{24,80}", ("vcp_", (56, "w"))),
    ("neon", r"\bnapi_[a-z0-9]{60,70}", ("napi_", (64, "a"))),
    ("tailscale", r"\btskey-[a-z]{3,12}-[A-Za-z0-9]{8,30}-[A-Za-z0-9]{20,60}", ("tskey-auth-", (17, "w"), "-", (32, "w"))),
    ("mapbox", r"\b[ps]k\.[a-zA-Z0-9]{60}\.[a-zA-Z0-9]{22}", ("pk.", (60, "w"), ".", (22, "w"))),
    ("age", r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", ("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE")),
    ("extended_private_key", r"\b[xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,112}", ("xprv", (107, "a"))),
)  # fmt: skip


def _vendor(name: str, pattern: str, parts: tuple[_Part, ...]) -> Kind:
    value = "".join(part if isinstance(part, str) else _fill(*part) for part in parts)
    value = value if name != "extended_private_key" else value.replace("0", "2").replace("l", "m")
    prefix = parts[0] if isinstance(parts[0], str) and len(parts) > 1 else ""
    found = value.partition("=")[2] if name == "azure_storage" else value
    check = values.diced if name in {"vault_old", "infracost"} else values.varied
    pattern = re.sub(r"\{(\d+),\d+\}$", r"{\1}", pattern)  # the check takes what follows
    return Kind(name, "SECRET", _CRITICAL, "tokens", pattern, check, f"use {value} here", found,
                f"use {prefix}{'x' * 60} here")  # fmt: skip


# --- numbers of persons in many countries: country, words, shape, python-stdnum's module, and whether the shape and
# its check digits say enough without the words ---------------------------------------------------------------------

_NATIONAL: tuple[tuple[str, str, str, str, bool, str], ...] = (
    ("ar_dni", r"\bdni\b|documento", r"\d{1,2}\.\d{3}\.\d{3}", "ar.dni", False, "20.123.456"),
    ("ar_cuit", r"cui[tl]", r"\d{2}-\d{8}-\d", "ar.cuit", True, "20-05536168-2"),
    ("at_svnr", r"svnr|sozialversicherungsnummer|versicherungsnummer", r"\d{4} ?\d{6}", "at.vnr", False, "1237 010180"),
    ("au_tfn", r"tfn|tax file", r"\d{3} ?\d{3} ?\d{3}", "au.tfn", False, "123 456 782"),
    ("au_medicare", r"medicare", r"\d{4} ?\d{5} ?\d", "", False, "2123 45670 1"),
    ("be_nn", r"rijksregister|registre national|national number|insz|niss", r"\d{2}\.?\d{2}\.?\d{2}-?\d{3}\.?\d{2}", "be.nn", False, "85.07.30-033.28"),
    ("bg_egn", r"\begn\b|\xd0\x95\xd0\x93\xd0\x9d", r"\d{10}", "bg.egn", False, "7523169263"),
    ("br_cpf", r"\bcpf\b|cadastro de pessoa", r"\d{3}\.\d{3}\.\d{3}-\d{2}", "br.cpf", True, "390.533.447-05"),
    ("br_cpf_bare", r"\bcpf\b", r"\d{11}", "br.cpf", False, "39053344705"),
    ("ca_sin", r"\bsin\b|social insurance|\bnas\b|assurance sociale", r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", False, "046 454 286"),
    ("ch_ahv", r"\bahv\b|\bavs\b", r"756\.?\d{4}\.?\d{4}\.?\d{2}", "ch.ssn", True, "756.9217.0769.85"),
    ("cl_rut", r"\brut\b", r"\d{1,2}\.?\d{3}\.?\d{3}-[\dkK]", "cl.rut", True, "12.531.909-2"),
    ("cn_ric", r"resident|identity card|id card|\xe8\xba\xab\xe4\xbb\xbd\xe8\xaf\x81", r"\d{17}[\dXx]", "cn.ric", True, "360426199101010071"),
    ("co_nit", r"c\xc3\xa9dula|cedula|\bnit\b", r"\d{1,3}\.?\d{3}\.?\d{3}(?:-\d)?", "", False, "213.123.432-1"),
    ("cz_rc", r"rodn\xc3\xa9|\brc\b", r"\d{6}/\d{3,4}", "cz.rc", True, "710319/2745"),
    ("de_idnr", r"steuer-?id(?:entifikationsnummer)?|steuer-?idnr|tax id|tin", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", "de.idnr", False, "36 574 261 809"),
    ("de_rvnr", r"rentenversicherung|sozialversicherung|sv-nummer|rvnr", r"\d{2} ?\d{6} ?[A-Z] ?\d{3}", "", False, "15 070649 C 103"),
    ("de_ausweis", r"personalausweis|ausweisnummer|ausweis", r"[CFGHJKLMNPRTVWXYZ0-9]{9}", "", False, "L01X00T47"),
    ("dk_cpr", r"\bcpr\b", r"\d{6}-?\d{4}", "", False, "211062-5629"),
    ("ee_ik", r"isikukood", r"\d{11}", "ee.ik", False, "36805280109"),
    ("es_dni", r"\bdni\b|\bnif\b", r"\d{8}[ -]?[A-Za-z]", "es.dni", True, "54362315K"),
    ("es_nie", r"\bnie\b", r"[XYZxyz][ -]?\d{7}[ -]?[A-Za-z]", "es.nie", True, "X-2482300W"),
    ("fi_hetu", r"hetu|henkil\xc3\xb6tunnus", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]", "fi.hetu", True, "131052-308T"),
    ("fr_nir", r"s\xc3\xa9cu|securite sociale|\bnir\b|insee", r"[12][ .]?\d{2}[ .]?(?:0[1-9]|[1-9]\d)[ .]?\d[\dAB][ .]?\d{3}[ .]?\d{3}[ .]?\d{2}", "fr.nir", True, "2 95 10 99 126 111 93"),
    ("gb_nino", r"national insurance|\bnino?\b", r"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z] ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]", "", False, "CE 79 46 93 B"),
    ("gb_nhs", r"\bnhs\b", r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs", False, "943 476 5870"),
    ("gb_utr", r"\butr\b|unique taxpayer", r"\d{5} ?\d{5}", "", False, "19550 00001"),
    ("gr_amka", r"amka", r"\d{11}", "gr.amka", False, "01013099997"),
    ("hk_hkid", r"hkid|hong kong id", r"[A-Z]{1,2}\d{6}\([0-9A]\)", "", False, "A123456(3)"),
    ("hr_oib", r"\boib\b", r"\d{11}", "hr.oib", False, "33392005961"),
    ("hu_taj", r"\btaj\b", r"\d{3}[ -]?\d{3}[ -]?\d{3}", "", False, "111 111 110"),
    ("id_nik", r"\bnik\b|\bktp\b", r"\d{16}", "", False, "3171011708450001"),
    ("ie_pps", r"\bpps\b|ppsn", r"\d{7}[A-W][A-IW]?", "ie.pps", False, "6433435F"),
    ("il_id", r"teudat|israeli id|mispar zehut", r"\d{7,8}-?\d", "il.idnr", False, "39337423"),
    ("in_aadhaar", r"aadhaar|aadhar|uidai|\buid\b", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", "in_.aadhaar", False, "2341 2341 2346"),
    ("in_pan", r"\bpan\b|permanent account", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", "", True, "ACUPA7085R"),
    ("is_kennitala", r"kennitala", r"\d{6}-?\d{4}", "is_.kennitala", False, "450401-3150"),
    ("it_cf", r"codice fiscale|\bc\.?f\.?\b", r"[A-Za-z]{6}[0-9LMNP-V]{2}[A-EHLMPR-Ta-ehlmpr-t][0-9LMNP-V]{2}[A-Za-z][0-9LMNP-V]{3}[A-Za-z]", "it.codicefiscale", True, "RCCMNL83S18D969H"),
    ("jp_my_number", r"my ?number|\xe3\x83\x9e\xe3\x82\xa4\xe3\x83\x8a\xe3\x83\xb3\xe3\x83\x90\xe3\x83\xbc", r"\d{4}[ -]?\d{4}[ -]?\d{4}", "", False, "6214 9832 0257"),
    ("kr_rrn", r"\brrn\b|resident registration|\xec\xa3\xbc\xeb\xaf\xbc", r"\d{6}-\d{7}", "kr.rrn", True, "971013-9019902"),
    ("lt_asmens", r"asmens kodas", r"\d{11}", "lt.asmens", False, "33309240064"),
    ("mx_curp", r"curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d", "mx.curp", True, "BOXW310820HNERXN09"),
    ("mx_rfc", r"\brfc\b", r"[A-Z]{4}\d{6}[A-Z0-9]{3}", "", False, "GODE561231GR8"),
    ("my_nric", r"\bnric\b|mykad|\bic (?:no|number)", r"\d{6}-\d{2}-\d{4}", "my.nric", True, "770305-02-1234"),
    ("nl_bsn", r"\bbsn\b|burgerservicenummer|sofinummer", r"\d{4}\.?\d{2}\.?\d{3}", "nl.bsn", False, "1112.22.333"),
    ("no_fnr", r"f\xc3\xb8dselsnummer|fodselsnummer|\bfnr\b|personnummer", r"\d{6} ?\d{5}", "no.fodselsnummer", False, "151086 95088"),
    ("nz_ird", r"\bird\b|inland revenue", r"\d{2,3}[ -]?\d{3}[ -]?\d{3}", "nz.ird", False, "49-091-850"),
    ("ph_tin", r"\btin\b|philsys|philhealth", r"\d{3}-\d{3}-\d{3}(?:-\d{3})?", "", False, "123-456-789-000"),
    ("pl_pesel", r"pesel", r"\d{11}", "pl.pesel", False, "44051401359"),
    ("pt_nif", r"\bnif\b|contribuinte", r"\d{3} ?\d{3} ?\d{3}", "pt.nif", False, "501 964 843"),
    ("ro_cnp", r"\bcnp\b", r"[1-9]\d{12}", "ro.cnp", False, "1630615123457"),
    ("ru_snils", r"snils|\xd0\xa1\xd0\x9d\xd0\x98\xd0\x9b\xd0\xa1", r"\d{3}-\d{3}-\d{3} \d{2}", "", True, "112-233-445 95"),
    ("se_pnr", r"personnummer|\bpnr\b", r"(?:19|20)?\d{6}[-+]\d{4}", "se.personnummer", True, "880320-0016"),
    ("sg_nric", r"\bnric\b|\bfin\b", r"[STFGM]\d{7}[A-Z]", "", True, "S1234567D"),
    ("th_pin", r"thai id|\xe0\xb8\x9a\xe0\xb8\xb1\xe0\xb8\x95\xe0\xb8\xa3", r"\d-\d{4}-\d{5}-\d{2}-\d", "th.pin", True, "1-2345-45678-78-1"),
    ("tr_tckimlik", r"t\.?c\.? ?kimlik|tckn|kimlik", r"[1-9]\d{10}", "tr.tckimlik", False, "17291716060"),
    ("tw_id", r"taiwan", r"[A-Z][12]\d{8}", "", False, "A123456789"),
    ("ua_rnokpp", r"rnokpp|\xd1\x80\xd0\xbd\xd0\xbe\xd0\xba\xd0\xbf\xd0\xbf", r"\d{10}", "", False, "1759013776"),
    ("us_itin", r"\bitin\b|individual taxpayer", r"9\d{2}-\d{2}-\d{4}", "", False, "912-90-3456"),
    ("us_ein", r"\bein\b|employer id(?:entification)?|federal tax", r"\d{2}-\d{7}", "", False, "12-3456789"),
    ("us_mbi", r"medicare|\bmbi\b", r"[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y]{2}\d{2}", "", True, "1EG4-TE5-MK73"),
    ("us_npi", r"\bnpi\b|provider identifier", r"[12]\d{9}", "", False, "1234567893"),
    ("us_dea", r"\bdea\b", r"[A-Z][A-Z9]\d{7}", "", False, "AB1234563"),
    ("vn_cccd", r"cccd|can cuoc|c\xc4\x83n c\xc6\xb0\xe1\xbb\x9bc", r"\d{12}", "", False, "001099012345"),
    ("za_id", r"south african id|\bsa id\b|\brsa id\b|id number", r"\d{10}[01]\d{2}", "za.idnr", False, "8909036004085"),
)  # fmt: skip

_GAP = (
    r"[\s\"'`\]):=#>|*_-]{0,6}"
    r"(?:(?:number|numbers|num|no|nr|n\xc2?[\xb0\xba]|id|code|is|was|of|on|at|es|est|ist|lautet|le|el|am|"
    r"num\xc3\xa9ro|numero|n\xc3\xbamero|nummer|value|the|card)[\s\"'`.:=#>*)_-]{1,5}){0,3}\(??"
)
_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|f\xc3\xa9vrier|mar(?:ch|s|zo)?|m\xc3\xa4rz|apr(?:il)?|avril|abril|may|mai|mayo|"
    r"june?|juni|juin|junio|july?|juli|juillet|julio|aug(?:ust)?|ao\xc3\xbbt|agosto|sept?(?:ember|embre|iembre)?|"
    r"oct(?:ober|obre|ubre)?|okt(?:ober)?|nov(?:ember|embre|iembre)?|dec(?:ember)?|dez(?:ember)?|d\xc3\xa9cembre|diciembre|"
    r"enero|febrero)\.?"
)
_DATE = (
    r"(?:(?:19|20)\d\d[-/. ]\d\d?[-/. ]\d\d?|\d\d?[-/. ]\d\d?[-/. ](?:19|20)?\d\d|(?:19|20)\d\d[01]\d[0-3]\d|"
    r"(?i:"
    + _MONTH
    + r" \d{1,2}(?:st|nd|rd|th)?,? ?\d{4}|\d{1,2}(?:st|nd|rd|th|\.)?[ -](?:of |de )?"
    + _MONTH
    + r",?[ -](?:de )?\d{4}))"
)
_PHONE = r"(?:\+|00)?\(?\+?\d[\d ().\xc2\xa0/-]{4,22}\d(?i:,? ?(?:x|ext\.? ?|extension )\d{1,6})?"
_EMAIL = (
    r"[A-Za-z0-9._%+'\x80-\xff-]{1,64}(?:@|%40)(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,62}[A-Za-z0-9\x80-\xff])?\.){1,6}"
    r"[A-Za-z\x80-\xff]{2,24}"
)
_KEYS = (
    r"(?i:passw(?:or)?[dt]|passwd|passphrase|passcode|pwd|kennwort|contrase\xc3\xb1a|senha|secret|token|credentials?|"
    r"key|auth|login|access_?id|cookie|session|salt|"
    r"client_?id|licen[sc]e_?key|webhook|contribsys__com|sourcegraph|discord|loki|pin)"
)
_SECRET = (
    _KEYS
    + r"(?i:s?[\w.-]{0,24}?)(?:[\"'`\])]{0,2}\s{0,3}(?:=>|::=|:=|\|\|:|\?=|<=|=|:|,)\s{0,3}[\"'`(]{0,2}|>)([^\s\"'`,;<>(){}\[\]][^\s\"'`,;<>]{3})"
)


def _named(name: str, label: str, severity: Severity, words: str, shape: str, check: Check, value: str, said: str) -> Kind:  # fmt: skip
    """A kind whose value counts because of the words in front of it."""
    pattern = r"(?i:" + words + r")(?i:" + _GAP + r")(" + shape + r")"
    return Kind(name, label, severity, "named", pattern, check, f"{said}: {value}.", value, f"{said}: none yet")


def _ids_named() -> list[Kind]:
    """The national numbers behind their own words: there a mistyped check digit does not save anybody."""
    said = {"at_svnr": "SVNR", "de_idnr": "Steuer-ID", "de_rvnr": "SV-Nummer", "gb_nino": "National Insurance"}
    return [
        _named(f"{name}_named", "NATIONAL_ID", _HIGH, words, shape, values.alone, value, said.get(name, _first(words)))
        for name, words, shape, _, _, value in _NATIONAL
    ]


def _first(words: str) -> str:
    """The first of the words, as a person would write it."""
    first = words.split("|", maxsplit=1)[0].replace(r"\b", "").replace("?", "")
    plain = {"cui[tl]": "cuit", r"t\.c\. kimlik": "TC kimlik", "steuer-id(:entifikationsnummer)": "steuer-id"}.get(
        first, first
    )
    return plain.encode("latin-1").decode("unicode_escape").encode("latin-1").decode("utf-8")


def _ids_bare() -> list[Kind]:
    """The national numbers that show what they are without a word: a shape of their own and check digits."""
    return [
        Kind(name, "NATIONAL_ID", _HIGH, "shapes", r"\b" + shape + (r"\b" if not shape.endswith(")") else ""),
             values.national(module) if module else values.alone, f"it is {value}, I think", value, "it is 12-34, I think")
        for name, _, shape, module, bare, value in _NATIONAL
        if bare
    ]  # fmt: skip


_SECRETS: tuple[Kind, ...] = (
    Kind("private_key", "SECRET", _CRITICAL, "tokens", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", values.key_block,
         f"-----BEGIN RSA PRIVATE KEY-----\n{_SEED}\n-----END RSA PRIVATE KEY-----\n",
         f"-----BEGIN RSA PRIVATE KEY-----\n{_SEED}\n-----END RSA PRIVATE KEY-----",
         "-----BEGIN PRIVATE KEY-----\nanything\n-----END PRIVATE KEY-----"),
    Kind("jwt", "SECRET", _CRITICAL, "tokens", r"\bey[A-Za-z0-9_-]{10}", values.web_token,
         f"cookie eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{_fill(43)}", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{_fill(43)}", "eye.eye.eye"),
    Kind("signed_url", "SECRET", _HIGH, "tokens", r"(?i:[?&;](?:X-Amz-Signature|X-Goog-Signature|X-Amz-Security-Token|Signature|sig|se?cret|token|access_token|api_?key|auth)=)([A-Za-z0-9%+/=_.~-]{16})", values.varied,
         f"https://a.example/f?X-Amz-Signature={_fill(64, 'h')}", _fill(64, "h"), "https://a.example/f?sig=none"),
    Kind("url_credentials", "URL_CREDENTIALS", _CRITICAL, "urls", r"\b[A-Za-z][A-Za-z0-9+.-]{1,30}://([^\s/:@\"'`<>?#]{0,80}:[^\s@\"'`<>]{2,120})@", values.credentials,
         "postgres://app:Tr0ub4dor@db.internal/main", "app:Tr0ub4dor", "postgres://app:${DB_PASS}@db.internal/main"),
    Kind("authorization", "SECRET", _CRITICAL, "headers", r"(?i:authorization|proxy-authorization|x-api-key|x-auth-token|private-token)[\"'`]{0,2}\s{0,2}[:=,]\s{0,3}[\"'`]?(?i:(?:bearer|basic|token|apikey|digest|key|[a-z]{2,20}-token) {1,3})?([A-Za-z0-9+/=_.~:-]{6,200})", values.handed,
         f"Authorization: Bearer {_fill(30)}", _fill(30), "Authorization: Bearer <token>"),
    Kind("bearer", "SECRET", _CRITICAL, "headers", r"\b(?:Bearer|Basic) ([A-Za-z0-9+/=_.~-]{16})", values.varied,
         f"send Bearer {_fill(30)}", _fill(30), "the Bearer of bad news"),
    Kind("option_user", "SECRET", _CRITICAL, "headers", r"\s(?:-u|--user|--proxy-user)[ =][\"']?([^\s:\"'<>${}]{1,60}:[^\s\"'<>{}]{3,100})", values.handed,
         "curl -u app:Tr0ub4dor3 https://a.example", "app:Tr0ub4dor3", "curl -u username:password https://a.example"),
    Kind("option_secret", "SECRET", _CRITICAL, "headers", r"\s--?(?i:password|passwd|token|secret|api-?key|auth-?token|access-?key)[ =][\"']?([^\s\"'<>${}-][^\s\"'<>]{4,200})", values.handed,
         "tool login --token 8f2kQ9zz1x", "8f2kQ9zz1x", "tool login --token TOKEN"),
    Kind("attribute", "SECRET", _CRITICAL, "headers", r"(?i:(?:key|name)=\"[\w.-]{0,40}(?:password|passwd|secret|token|apikey)\" {1,3}value=\")([^\"<>\n]{5,200})", values.attribute,
         '<add key="DbPassword" value="CleartextOne1" />', "CleartextOne1", '<add key="DbName" value="CleartextOne1" />'),
    Kind("said_password", "SECRET", _CRITICAL, "headers", r"(?i:\b(?:password|passwort|passphrase|contrase\xc3\xb1a|mot de passe|kennwort|pin|secret|token|api key)(?: for [\w.@ -]{1,40}?)? (?:is|ist|es|est|lautet|was)[: ]{1,2}[\"'`]?)([^\s\"'`<>,;]{4,100})", values.handed,
         "my password is hunter2go, do not tell", "hunter2go", "my password is secret"),
    Kind("secret_assigned", "SECRET", _HIGH, "keys", _SECRET, values.assigned,
         'API_KEY = "q7Rk2ZpX9vLm4TnB8sWd"', "q7Rk2ZpX9vLm4TnB8sWd", 'token = get_token("q7Rk2ZpX9vLm4TnB8sWd")'),
)  # fmt: skip

_STRUCTURED: tuple[Kind, ...] = (
    Kind("email", "EMAIL", _MEDIUM, "mail", _EMAIL, values.email, "write to ana.b+x@example.com now", "ana.b+x@example.com", "icon@2x.png"),
    Kind("iban", "IBAN", _HIGH, "shapes", r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}", values.iban,
         "pay DE89 3704 0044 0532 0130 00 today", "DE89 3704 0044 0532 0130 00", "pay DE88 3704 0044 0532 0130 00 today"),
    _named("iban_named", "IBAN", _HIGH, r"\biban\b", r"[A-Za-z]{2}\d{2}[A-Za-z0-9]{8,30}", values.alone, "GB95ABCD60049445", "IBAN"),
    Kind("ip_v6", "IP", _LOW, "shapes", r"(?:[0-9A-Fa-f]{1,4}:){7,60}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){1,6}:(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,5})?", values.address,
         "from 2a02:1277:9519::1 to", "2a02:1277:9519::1", "at 12:34:56 on"),
    Kind("mac", "MAC", _LOW, "shapes", r"\b[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})\b|\b[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b", values.when(lambda value: value.lower() not in {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}, b".-:"),
         "mac 00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5E", "mac ff:ff:ff:ff:ff:ff"),
    Kind("ip_v4", "IP", _LOW, "shapes", r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", values.address,
         "host 192.168.17.4 is up", "192.168.17.4", "version 10.27.4.13 is out"),
    Kind("card", "CREDIT_CARD", _CRITICAL, "shapes", r"\b(?:[3-6]\d|2[2-7]|81|18[ -]?00|21[ -]?31)(?:[ -]?\d){10,17}\b", values.card,
         "paid with 4242 4242 4242 4242 then", "4242 4242 4242 4242", "order 4242 4242 4242 4241 then"),
    _named("card_named", "CREDIT_CARD", _CRITICAL, r"credit card|debit card|card number|\bcard\b|kreditkarte|tarjeta|carte bancaire|\bcc\b|\bpan\b",
           r"\d(?:[ -]?\d){11,18}", values.alone, "060426070011", "credit card"),
    *_ids_bare(),
    *_ids_named(),
    Kind("ssn", "US_SSN", _CRITICAL, "shapes", r"\b\d{3}-\d{2}-\d{4}\b", values.social, "it is 923-45-6789.", "923-45-6789", "it is 92-345-6789."),
    _named("ssn_named", "US_SSN", _CRITICAL, r"\bssns?\b|ssn[_-][a-z]{2,12}|social[ _-]?security|seguro social",
           r"\d{3}[ .-]?\d{2}[ .-]?\d{4}", values.alone, "679 67 1029", "SSN"),
    _named("ssn_misread", "US_SSN", _CRITICAL, r"\bssns?\b|social[ _-]?security", r"[0-9OIlBSZG]{3}-[0-9OIlBSZG]{2}-[0-9OIlBSZG]{4}", values.identity, "86l-81-4744", "SSN"),
    _named("insurance_id", "NATIONAL_ID", _HIGH, r"insurance[ _-]?(?:id|number)?|(?:national|health|tax|government|citizen|fiscal)[ _-]?(?:health )?(?:id|identification|identity)|tax[ _-]?payer",
           r"(?:NID|TAX|TIN|HID|NHI)-?\d{6,12}|\d{3}-\d{2}-\d{4}", values.identity, "NID-900196035", "Insurance ID"),
    Kind("prefixed_id", "NATIONAL_ID", _HIGH, "shapes", r"\b(?:NID|TAX|TIN|NIN)-\d{6,12}\b", values.alone, "see TAX-700016537 there", "TAX-700016537", "see TAX-12 there"),
    _named("passport", "PASSPORT", _HIGH, r"passports?|reisepass|passeport|pasaporte|passaporto|paspoort|\bppt\b",
           r"[A-Z]{0,3}\d{6,9}[A-Z]?|[A-Z0-9]{8,9}", values.passport, "C736LVJ04", "Passport"),
    _named("driver_licence", "DRIVER_LICENSE", _HIGH, r"driv(?:er|ing)(?:'?s|\xe2\x80\x99s)?[ _-]?licen[cs]e|f\xc3\xbchrerschein|permis de conduire|licencia de conducir|patente|\blicen[cs]e|\bdln?\b",
           r"[A-Z]{0,2}-?[A-Z]?\d{2,4}(?:[ -]?\d{2,6}){1,3}[A-Z]{0,2}|[A-Z]{5}\d{6}[A-Z0-9]{5}", values.identity, "F2730447", "Driver's license"),
    Kind("driver_licence_prefixed", "DRIVER_LICENSE", _HIGH, "shapes", r"\bDL-[A-Z]?\d{5,9}(?:-\d{2})?\b", values.alone, "his DL-B24145-45 is", "DL-B24145-45", "his DL-12 is"),
    _named("birth", "DATE_OF_BIRTH", _MEDIUM, r"\bd\.?o\.?b\b\.?|date[ _-]?of[ _-]?birth|birth[ _-]?(?:date|day)|\bborn\b|geboren|geburtsdatum|\bgeb\.|n\xc3\xa9e?\(?e?\)? le|naissance|nacid[oa]|nacimiento|nascita|nascimento|nascid[oa]",
           _DATE, values.alone, "June 26, 2000", "DOB"),
    _named("bank_account", "BANK_ACCOUNT", _HIGH, r"(?:bank|checking|savings|source|destination|deposit|giro|target|from|to)[ _-]?(?:account|acct)|\b(?:account|acct|konto|kontonummer|cuenta|compte)\b|account[ _-]?(?:number|no)",
           r"\d{6,18}|\d{2,4}(?:[ -]\d{2,4}){2,4}", values.count(6, 18), "532933260391", "account number"),
    _named("routing", "BANK_ACCOUNT", _MEDIUM, r"routing|\baba\b|\brtn\b", r"\d{9}", values.alone, "021000021", "Routing"),
    _named("sort_code", "BANK_ACCOUNT", _MEDIUM, r"sort[ _-]?code|\bbsb\b|transit|bankleitzahl|\bblz\b|\bifsc\b", r"\d{2}-\d{2}-\d{2}|\d{3}-\d{3}|\d{5,8}|[A-Z]{4}0[A-Z0-9]{6}", values.alone, "12-34-56", "sort code"),
    _named("clabe", "BANK_ACCOUNT", _HIGH, r"clabe|\bcbu\b", r"\d{18,22}", values.alone, "032180000118359719", "CLABE"),
    Kind("phone_abroad", "PHONE", _MEDIUM, "phones", r"\+\d[\d ().\xc2\xa0/-]{5,22}\d(?i:,? ?(?:x|ext\.? ?)\d{1,6})?", values.phone_abroad, "ring +34 612 51 19 32 now", "+34 612 51 19 32", "at +12 34 56 now"),
    Kind("phone_double_zero", "PHONE", _MEDIUM, "phones", r"\b00[1-9]\d{0,3}[ .-]\(?\d[\d ().-]{5,16}\d\b", values.phone_abroad, "ring 0033 6 12 28 37 14 now", "0033 6 12 28 37 14", "at 0012 34 now"),
    Kind("phone_american", "PHONE", _MEDIUM, "phones", r"(?:\b1[ .-])?(?:\(\d{3}\)[ .-]?|\b\d{3}[. -])\d{3}[. -]\d{4}(?i:,? ?(?:x|ext\.? ?)\d{1,6})?\b", values.phone_american, "ring (201) 555-0123 x12 now", "(201) 555-0123 x12", "ring 123-456-7890 now"),
    Kind("phone_at_home", "PHONE", _MEDIUM, "phones", r"\(?\b0\d{1,5}\)?[ /.-]{1,2}\d{2,4}(?:[ /.-]?\d{2,6}){1,4}\b|\b[6-9]\d{2}(?:[ .]\d{2,3}){2,3}\b", values.phone_at_home, "ring 0121 234 0770 now", "0121 234 0770", "see 2021 234 0770 now"),
    _named("phone_named", "PHONE", _MEDIUM, r"phones?|\btel\b|tel(?:e|\xc3\xa9)(?:fono?|phone|fon)|mobile?|\bcell\b|cellphone|handy|\bfax\b|whatsapp|m\xc3\xb3vil|portable|rufnummer|\bcall me|reach me|contact(?: number)?|my number|num\xc3\xa9ro|meine nummer|erreichbar unter|mi n\xc3\xbamero",
           _PHONE, values.count(6, 21), "451 5986", "phone"),
    Kind("bitcoin_segwit", "CRYPTO", _HIGH, "shapes", r"\b(?i:bc1|tb1|ltc1)[a-zA-Z0-9]{25,87}\b", values.alone, "to bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq now", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "to bc1qar0 now"),
    Kind("ethereum", "CRYPTO", _HIGH, "shapes", r"\b0x[0-9a-fA-F]{40}\b", values.alone, f"to 0x{_fill(40, 'h')} now", f"0x{_fill(40, 'h')}", "to 0x7c1f9e3b now"),
    Kind("base58_coin", "CRYPTO", _HIGH, "shapes", r"\b[13LMDT][1-9A-HJ-NP-Za-km-z]{25,34}\b", values.when(checks.base58check), "to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa now", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb now"),
    _named("coin_named", "CRYPTO", _HIGH, r"wallet|\bbtc\b|bitcoin|\beth\b|\bsol\b|solana|monero|\bxmr\b|\bxrp\b|ripple|tron|cardano|crypto", r"[1-9A-HJ-NP-Za-km-z]{26,44}|4[0-9AB][1-9A-HJ-NP-Za-km-z]{93}|addr1[0-9a-z]{50,110}", values.alone, "1va9xPvVeuCEDRWedEsnV1hH8uGBokPxND", "wallet"),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (*(_vendor(*row) for row in _VENDORS), *_SECRETS, *_STRUCTURED)
"""Every kind, in the order in which they win."""


@lru_cache(maxsize=1)
def scanner() -> Scanner:
    """The scanner with the whole table and nothing known or allowed; made at the first call."""
    return Scanner(KINDS)


def find(text: str) -> tuple[Span, ...]:
    """What is private in `text`, in order, never overlapping. Raises `DetectionFailed`."""
    return scanner().scan(text)


def detect(text: str) -> list[tuple[int, int, str]]:
    """The same as bare (start, end, label): character offsets, end excluded."""
    return [(span.start, span.end, span.label) for span in find(text)]
