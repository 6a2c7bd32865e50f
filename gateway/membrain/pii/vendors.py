"""Secrets that carry their vendor's own mark: a name, a pattern, an example.

To add one, add a row. Its example is given in parts, either text or a size and an alphabet, and put together here, so
that no tool takes this file for a leak; it is its test, too. What runs the rows is in `scan`.
"""

from __future__ import annotations

import re

from membrain.pii import values
from membrain.pii.kinds import Kind, Severity

SEED = "q7Rk2ZpX9vLm4TnB8sWd3YhC6gJf5AeU1oKiD0xQwErTyMzNbVcPlSaHjFuGtIo"
_HEX = "7c1f9e3b50a2d846e1b97f03c5d82a64"
_ALPHABETS = {
    "w": SEED, "a": SEED.lower(), "A": SEED.upper(), "b": SEED.lower().translate(str.maketrans("0l", "2m")),
    "h": _HEX, "9": "8302746195",
}  # fmt: skip


def fill(size: int, alphabet: str = "w") -> str:
    """A token's body for an example: `w` any letter or figure, `a` small ones, `A` capitals, `b` base58, `h` hex."""
    body = _ALPHABETS[alphabet]
    return (body * (size // len(body) + 1))[:size]


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
    ("slack",
     r"\bxox(?:[abprs]-(?:\d-)?\d{8,14}-?[0-9A-Za-z]{2,14}[0-9A-Za-z-]{2,120}|e(?:\.xox[bp])?-\d-[A-Za-z0-9]{40})",
     ("xoxb-", (12, "9"), "-", (24, "w"))),
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
    ("telegram_bot", r"\b\d{8,10}:A[A-Za-z0-9_-]{34}", ((10, "9"), ":A", (34, "w"))),
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
    ("azure_storage", r"\b(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,88}={0,2})",
     ("AccountKey=", (86, "w"), "==")),
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
    ("yandex",
     r"\b(?:AQVN[A-Za-z0-9_-]{35,38}|YC[A-Za-z0-9_-]{38}|t1\.[A-Z0-9a-z_-]{20,40}={0,2}\.[A-Za-z0-9_-]{86}={0,2})",
     ("AQVN", (36, "w"))),
    ("sidekiq", r"\b[a-f0-9]{8}:[a-f0-9]{8}@(?:gems|enterprise)\.contribsys\.com",
     ("7c1f9e3b:50a2d846@gems.contribsys.com",)),
    ("intra42", r"\bs-s4t2(?:ud|af)-[0-9a-f]{64}", ("s-s4t2ud-", (64, "h"))),
    ("octopus", r"\bAPI-[A-Z0-9]{26}\b", ("API-", (26, "A"))),
    ("snyk", r"\bsnyk_(?:uat|sat)\.[0-9a-f]{8}\.[\w-]{40,80}", ("snyk_uat.", (8, "h"), ".", (60, "w"))),
    ("supabase", r"\bsb[pr]?_(?:secret_)?[A-Za-z0-9_]{31,60}", ("sbp_", (40, "h"))),
    ("vercel", r"\bvc[pkair]_[A-Za-z0-9]{24,80}", ("vcp_", (56, "w"))),
    ("neon", r"\bnapi_[a-z0-9]{60,70}", ("napi_", (64, "a"))),
    ("tailscale", r"\btskey-[a-z]{3,12}-[A-Za-z0-9]{8,30}-[A-Za-z0-9]{20,60}",
     ("tskey-auth-", (17, "w"), "-", (32, "w"))),
    ("mapbox", r"\b[ps]k\.[a-zA-Z0-9]{60}\.[a-zA-Z0-9]{22}", ("pk.", (60, "w"), ".", (22, "w"))),
    ("age", r"\bAGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
     ("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE")),
    ("extended_private_key", r"\b[xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,112}", ("xprv", (107, "b"))),
)  # fmt: skip
_GROUPED = {"azure_storage"}
"""Rows whose value is only what stands behind the sign of equality."""
_SHORT = {"vault_old", "infracost"}
"""Rows whose mark is so short that words have it, too: these must look thrown by dice."""


def _vendor(name: str, pattern: str, parts: tuple[_Part, ...]) -> Kind:
    said = "".join(part if isinstance(part, str) else fill(*part) for part in parts)
    mark = parts[0] if isinstance(parts[0], str) and len(parts) > 1 else ""
    return Kind(
        name, "SECRET", Severity.CRITICAL, "tokens",
        re.sub(r"\{(\d+),\d+\}$", r"{\1}", pattern),  # the check takes what follows
        values.diced if name in _SHORT else values.varied,
        hit=f"use {said} here",
        value=said.partition("=")[2] if name in _GROUPED else said,
        miss=f"use {mark}{'x' * 60} here",
    )  # fmt: skip


VENDORS: tuple[Kind, ...] = tuple(_vendor(*row) for row in _VENDORS)
"""Every row as a kind, in the order in which they win."""
