"""Widely known names are known however they are written; ordinary names stay private."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrain.errors import Misconfigured
from membrain.pii import public
from membrain.pii.public import COMMON_SURNAMES, LIST, in_public, is_public
from tests.growth import assert_within

LINES = LIST.read_text(encoding="utf-8").splitlines()

ORDINARY = """
    james john robert michael william david richard joseph thomas charles christopher daniel matthew anthony mark donald
    steven paul andrew joshua kenneth kevin brian george edward ronald timothy jason jeffrey ryan jacob gary nicholas
    eric jonathan stephen larry justin scott brandon benjamin samuel gregory frank alexander raymond patrick jack dennis
    jerry tyler aaron jose adam henry nathan peter zachary walter kyle mary patricia jennifer linda elizabeth barbara
    susan jessica sarah karen nancy lisa betty margaret sandra ashley kimberly emily donna michelle carol amanda dorothy
    melissa deborah stephanie rebecca sharon laura cynthia kathleen amy shirley angela helen anna brenda pamela nicole
    emma samantha katherine christine debra rachel catherine carolyn janet ruth maria heather diane olivia julia alice
    mario luca marco giulia hans klaus jürgen petra ursula pierre michel françois juan pedro josé carmen pilar luis
    mohammed fatima ahmed priya rahul anil wei hiroshi yuki ivan olga sergei anastasia alex sam chris max leo noah mia
"""
FIRST_NAMES = ORDINARY.split()


def names_of(line: str) -> list[str]:
    return line.lstrip("=~").split("|")


def key_of(name: str) -> str:
    return " ".join(public._words(name))


def sections() -> list[list[str]]:
    found: list[list[str]] = []
    for line in LINES:
        if line.startswith("#"):
            found.append([])
        elif line:
            found[-1].append(line)
    return found


NAMED = [line for section in sections() for line in section]


# --- the list -------------------------------------------------------------------------------------------------------


def test_the_list_is_long():
    assert len(NAMED) > 5_000


def test_each_section_has_a_title_and_is_sorted():
    assert LINES[0].startswith("# ")
    for section in sections():
        keys = [key_of(names_of(line)[0]) for line in section]
        assert keys == sorted(keys)


def test_no_name_stands_twice():
    keys = Counter(key_of(name) for line in NAMED for name in names_of(line))
    assert not [key for key, count in keys.items() if count > 1]


def test_a_line_is_names_with_a_bar_between():
    stray = set("=~;:\t#")
    names = [name for line in NAMED for name in names_of(line)]
    assert not [name for name in names if not key_of(name) or name != " ".join(name.split()) or stray & set(name)]


def test_the_names_of_things_come_last():
    things = [line.startswith("~") for line in NAMED]
    assert things == sorted(things)


def test_the_whole_file_is_read_as_each_name_is():
    wrong = [name for line in NAMED for name in names_of(line) if public._keys(name) != key_of(name)]
    assert not wrong


def test_every_name_on_the_list_is_public():
    assert not [name for line in NAMED for name in names_of(line) if not is_public(name)]


def test_no_name_that_is_enough_alone_is_a_common_surname():
    famous = [key_of(names_of(line)[0]).split()[-1] for line in NAMED if line.startswith("=")]
    assert len(famous) > 200
    assert not COMMON_SURNAMES & set(famous)


def test_a_list_without_its_last_part_is_refused(monkeypatch, tmp_path):
    half = tmp_path / "public_names.txt"
    half.write_text("# Physicists\n=Albert Einstein\n", encoding="utf-8")
    monkeypatch.setattr(public, "LIST", half)
    with pytest.raises(Misconfigured):
        public._lists.__wrapped__()


# --- ways of writing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *["Marie Curie", "curie", "CURIE", "Madame Curie", "Curie, Marie", "Marie Skłodowska-Curie", "  Marie  Curie "],
        *["Einstein", "Albert Einstein's", "Albert Einstein’s", "A. Einstein", "Dr. Einstein", "einstein"],  # noqa: RUF001
        *["J. K. Rowling", "JK Rowling", "J.K. Rowling", "j k rowling", "Rowling"],
        *["Johann Sebastian Bach", "J. S. Bach", "J.S. Bach", "Bach", "Johann Bach", "Bach, J. S."],
        *["Gabriel García Márquez", "Garcia Marquez", "gabriel garcia marquez"],
        *["President Obama", "Barack Hussein Obama", "Barack Obama’s", "Obama, Barack"],  # noqa: RUF001
        *["Dr. Martin Luther King, Jr.", "Martin Luther King", "MLK", "Robert Downey Jr."],
        *["Kurt Gödel", "Goedel", "Kurt Goedel", "Kurt Godel", "Schrödinger", "Erwin Schroedinger", "Poincaré"],
        *["Sir Isaac Newton", "Queen Elizabeth II", "Pope Francis", "St. Augustine", "Saint Augustine", "Louis XIV"],
        *[
            "George W. Bush",
            "George HW Bush",
            "George H. W. Bush",
            "John F. Kennedy",
            "Harry S. Truman",
            "Harry Truman",
        ],
        *["Mozart", "Kafka", "Dijkstra", "Shakespeare", "Madonna", "van Gogh", "Beethoven", "Ludwig Beethoven"],
        *["Zeus", "Odysseus", "Sherlock Holmes", "Harry Potter", "Mr. Darcy", "Dr. Seuss", "Super Mario", "Spider-Man"],
        *["Xi Jinping", "Kim Jong-un", "Kim Jong Un", "Narendra Modi", "Chinua Achebe", "Frida Kahlo", "Lionel Messi"],
        *["Linus Torvalds", "Guido van Rossum", "Ada Lovelace", "Grace Hopper", "Donald E. Knuth", "Tim Berners-Lee"],
    ],
)
def test_a_known_name_is_known_however_it_is_written(name):
    assert is_public(name)


@pytest.mark.parametrize(
    "name",
    [
        *["Bellman-Ford", "Bellman–Ford", "Navier-Stokes", "Cauchy–Schwarz", "Bose-Einstein", "Diffie-Hellman"],  # noqa: RUF001
        *["Michelin", "Morgan Stanley", "Johns Hopkins", "Ford", "Tesla", "Disney", "Levi Strauss", "Philip Morris"],
        *["Parkinson", "Alzheimer", "Alzheimer's", "Johnson & Johnson", "Johnson and Johnson"],
    ],
)
def test_a_name_that_became_a_thing_is_public(name):
    assert is_public(name)


@pytest.mark.parametrize(
    "name",
    [
        *["John Smith", "Michael Brown", "David Miller", "Chris Evans", "Robert Johnson", "Maria Garcia", "Jane Doe"],
        *["Smith", "Jordan", "Jackson", "Johnson", "Brown", "Lee", "Martin", "Mr. Smith", "Dr. King"],
        *["Anna Schmidt", "Juan García", "Priya Sharma", "Wei Zhang", "Michael B. Jackson", "Maria Elena Lopez"],
        *["Peter Einstein", "M. Einstein", "Clara Mozart", "Sandra Kafka", "Tim Obama", "Hans-Georg Scholl"],
        *["", " ", "'s", ",", "-", "–", "Einstein " * 20, "Путин", "Иван Einstein", "= Albert", "# Physicists"],  # noqa: RUF001
    ],
)
def test_what_is_in_doubt_is_private(name):
    assert not is_public(name)


@pytest.mark.parametrize("name", ["Mrs. Curie", "Mr Einstein", "Frau Mozart", "Ms. Ford", "Mr. Tesla", "Señor Dalí"])
def test_a_surname_behind_mister_is_the_neighbours(name):
    assert not is_public(name)


@pytest.mark.parametrize("name", ["Dr. Parkinson", "Dr Ford", "President Ford", "Professor Parkinson"])
def test_a_thing_with_a_title_is_a_person(name):
    assert not is_public(name)


# --- ordinary names -------------------------------------------------------------------------------------------------


def test_first_names_and_common_surnames_alone_are_private():
    alone = [name for name in [*FIRST_NAMES, *COMMON_SURNAMES] if is_public(name) or is_public(name.title())]
    assert not alone


def test_ordinary_first_and_last_names_together_are_private_but_for_a_few_that_all_know():
    pairs = [f"{first} {last}" for first in FIRST_NAMES for last in sorted(COMMON_SURNAMES)]
    known = [pair for pair in pairs if is_public(pair)]
    assert "michael jackson" in known
    assert len(known) / len(pairs) < 0.005


def test_a_middle_name_does_not_make_an_ordinary_name_known():
    pairs = [f"{first} Quentin {last}" for first in FIRST_NAMES for last in sorted(COMMON_SURNAMES)]
    assert not [pair for pair in pairs if is_public(pair)]


@given(st.text(max_size=100))
def test_any_text_has_an_answer(text):
    assert is_public(text) in {True, False}


@pytest.mark.parametrize("case", [str.upper, str.lower, str.title])
def test_capitals_make_no_difference(case):
    assert not [name for line in NAMED for name in names_of(line) if not is_public(case(name))]


@pytest.mark.parametrize("written", ["{}'s", "{}’s", " {}\n", "{}"])  # noqa: RUF001
def test_a_possessive_or_blanks_make_no_difference(written):
    assert not [name for line in NAMED for name in names_of(line) if not is_public(written.format(name))]


# --- in a sentence --------------------------------------------------------------------------------------------------


def told(text: str, *persons: str) -> list[str]:
    """Which of these findings are known where they stand in *text*; each stands there once."""
    places = sorted((text.index(each), text.index(each) + len(each)) for each in persons)
    known = in_public(text, places)
    return [text[start:end] for start, end in places if start in known]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Was Catherine of Aragon the first?", "Aragon"),
        ("Is Wall Street open today?", "Wall"),
        ("How do I get to King's Cross?", "King"),
        ("Are they better than Ben & Jerry's?", "Jerry"),
        ("Prove Zwickmann's theorem.", "Zwickmann"),
        ("Wie geht der Zwickmann-Algorithmus?", "Zwickmann-Algorithmus"),
        ("Explique la loi de Zwickmann.", "Zwickmann"),
        ('Chords for "Arlene" by Dolly Parton?', "Arlene"),
        ("What is Beyoncé's Arlene about?", "Arlene"),
        ("When did Felipe II die?", "Felipe II"),
        ("Is it Julia or Haskell?", "Julia"),
        ("How fast is a loop in Julia, compared with C++?", "Julia"),
        ("Is Travis CI down?", "Travis"),
        ("Who are the Elizabeth Bennets of today?", "Elizabeth Bennets"),
    ],
)
def test_what_stands_around_a_name_can_make_it_known(text: str, finding: str):
    assert told(text, finding) == [finding]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Can Julia review my Python code?", "Julia"),
        ("Ask Ruby in accounting about the code.", "Ruby"),
        ("Travis and I deploy to kubernetes.", "Travis"),
        ("My colleague Pascal knows Haskell and Java.", "Pascal"),
        ("Mrs Zwickmann's formula for the cake", "Zwickmann"),
        ("Miller v. Zwickmann is my case.", "Zwickmann"),
        ("Zwickmann's test results are bad.", "Zwickmann"),
        ("Dr Watson at the clinic called.", "Watson"),
        ("Is Wall ill?", "Wall"),
        ("a poem by my sister Arlene", "Arlene"),
    ],
)
def test_a_private_name_stays_private_whatever_stands_around_it(text: str, finding: str):
    assert told(text, finding) == []


def test_a_surname_is_known_beside_the_whole_name():
    assert told("Rosalind Franklin knew that Gosling helped. Later, Franklin left.", "Rosalind Franklin") != []
    text = "Mahmoud Abbas spoke. Abbas, who was ill, left."
    assert in_public(text, [(0, 13), (21, 26)]) == {0, 21}


def test_a_bare_name_joined_to_a_known_one_is_known_unless_the_text_is_somebodys():
    assert told("How did Marie Curie and Zwickmann meet?", "Marie Curie", "Zwickmann") == ["Marie Curie", "Zwickmann"]
    mail = "How did Marie Curie and Zwickmann meet? Answer to z@example.org"
    assert told(mail, "Marie Curie", "Zwickmann") == ["Marie Curie"]
    assert told("Marie Curie and my doctor Zwickmann", "Marie Curie", "Zwickmann") == ["Marie Curie"]
    both = "Marie Curie and Zwickmann, says Odalys Brandhorst."
    assert told(both, "Marie Curie", "Zwickmann", "Odalys Brandhorst") == ["Marie Curie"]


def test_an_ordinary_surname_is_known_beside_its_companion():
    text = "Sherlock Holmes asked Dr Watson for help."
    assert told(text, "Sherlock Holmes", "Watson") == ["Sherlock Holmes", "Watson"]


# --- cost -----------------------------------------------------------------------------------------------------------


def test_the_list_is_read_in_milliseconds():
    assert_within(0.05, public._lists.__wrapped__)


def test_a_look_up_takes_microseconds():
    asked = ["Marie Curie", "Jane Doe", "Dr. Maria Elena Lopez-García", "President Barack Hussein Obama"] * 250
    assert_within(50e-6 * len(asked), lambda: [is_public(name) for name in asked])
