"""Checks a Membrain audit without Membrain: python verify_audit.py membrain.db --key FILE [--head FILE]

Exit status 0: sound. 1: the first bad record is printed. 2: not checkable. Needs nothing but Python 3.11 or newer.
Entry n of the table `entries` is sealed like this, with a secret key of 32 bytes, which FILE holds in hex:
    digest = SHA-256(salt + body)
    seal   = HMAC-SHA256(key, seal of entry n-1 + "n at kind id" + digest); before entry 1 stand 32 zero bytes
A body that is gone must be named by a later entry of the kind "erased" or "pruned". A line of the head file is
"seq seal at mac" with mac = HMAC-SHA256(key, "membrain audit head seq seal at"): that entry must be there, so sealed.
The table `exchanges`, from which lists are made, must say of each exchange what the body of its latest entry says.
"""
import argparse, functools, hashlib, hmac, json, pathlib, sqlite3, sys

def noted(lines, key):  # the seals that were noted of each number, in lines that were signed with the key
    heads = {}
    for said, _, mac in (line.strip().rpartition(" ") for line in lines):
        if hmac.digest(key, b"membrain audit head " + said.encode(), "sha256").hex() == mac:
            heads.setdefault(int(said.split()[0]), set()).add(bytes.fromhex(said.split()[1]))
    return heads

def flaw(prior, key, named, seq, kind, id, at, salt, body, digest, seal, erased):  # what is wrong with an entry
    if len(digest) != 32 or hmac.digest(key, prior + b"%d %d %b %b" % (seq, at, kind, id) + digest, "sha256") != seal:
        return "it does not match its seal"
    if body is not None and (erased or len(salt) != 16 or hashlib.sha256(salt + body).digest() != digest):
        return "its text was changed"
    if body is None and (salt or erased <= seq or not any(first <= seq <= last for first, last in named(erased))):
        return "its text is gone, and no later record says that it was erased"

def chain(database, key, heads):  # how many entries are sound, then the first bad one and what is wrong, or None
    @functools.lru_cache(8)
    def named(seq):
        kind, body = database.execute("SELECT kind, body FROM entries WHERE seq = ?", (seq,)).fetchone()
        return json.loads(body)["seqs"] if kind in (b"erased", b"pruned") else []
    count, prior, database.text_factory = 0, bytes(32), bytes
    for row in database.execute("SELECT seq, kind, id, at, salt, body, digest, seal, erased FROM entries ORDER BY seq"):
        if row[0] != count + 1:
            return count, (min(row[0], count + 1), "it is missing, or one too many")
        try:
            wrong = flaw(prior, key, named, *row)
        except (TypeError, ValueError, KeyError):
            wrong = "a part of it is missing, or of another kind"
        if wrong or heads.get(row[0], {row[7]}) != {row[7]}:
            return count, (row[0], wrong or "it is not the one that was noted elsewhere")
        count, prior = count + 1, row[7]
    return count, (count + 1, "the end was cut off") if max(heads, default=0) > count else None

def index(database):  # the first entry of which the index of exchanges does not say the same, or None
    database.text_factory, database.row_factory = lambda text: text.decode("utf-8", "replace"), sqlite3.Row
    bad = [row["seq"] for row in database.execute(
        "SELECT e.seq FROM entries e LEFT JOIN exchanges x ON x.id = e.id AND e.seq BETWEEN x.seq AND x.entry"
        " WHERE x.seq IS NULL AND body NOTNULL AND kind IN ('intent', 'outcome', 'interrupted') ORDER BY 1 LIMIT 1")]
    for row in map(dict, database.execute(
            "SELECT e.body, e.at AS sealed, e.id AS latest, f.id AS first, x.* FROM exchanges x"
            " LEFT JOIN entries e ON e.seq = x.entry LEFT JOIN entries f ON f.seq = x.seq ORDER BY x.seq")):
        body, sealed, latest, first, seq, entry, at = map(row.pop, "body sealed latest first seq entry at".split())
        said = json.loads(body or "{}")
        said["pii_labels"] = json.dumps(said.get("pii_labels"), ensure_ascii=False, separators=(",", ":"))
        if not first == latest == row["id"] or sealed != at or any(said.get(name) != row[name] for name in row):
            bad.append(entry if latest else seq)
            break
    return (min(bad), "the index of exchanges does not match it") if bad else None

def main(arguments=None):  # checks, says what was found, and gives the exit status
    parser = argparse.ArgumentParser(description="Checks a Membrain audit without Membrain.")
    for name, more in (("database", {}), ("--key", {"required": True}), ("--head", {})):
        parser.add_argument(name, type=pathlib.Path, **more)
    given = parser.parse_args(arguments)
    try:
        key = bytes.fromhex(given.key.read_text())
        heads = noted(given.head.read_text("ascii", "replace").splitlines(), key) if given.head else {}
        database = sqlite3.connect(given.database.absolute().as_uri() + "?mode=ro", uri=True, isolation_level=None)
        database.execute("BEGIN")
        count, bad = chain(database, key, heads)
        bad = bad or index(database)
    except (OSError, ValueError, sqlite3.Error) as fault:
        return print(f"Not checkable: {fault}.") or 2
    print(f"Record {bad[0]} is bad: {bad[1]}." if bad else f"{count} records are sound; heads at hand: {len(heads)}.")
    return 1 if bad else 0

if __name__ == "__main__":
    sys.exit(main())
