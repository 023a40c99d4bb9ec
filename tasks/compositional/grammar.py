"""English sentences in the manner of COGS, with their chain-structured forms: an own lexicon, an own grammar.

A sentence is a row of frames: a verb, a template of English, and the noun phrases in the verb's roles. English and form
are both read off the frames, so that what changes one of them changes the other.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .chain_form import ROLES, Clause, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..dice import Dice
    from .chain_form import Chain, Phrase

NAMES = tuple(
    """Adam Bella Clara Daniel Diana Dora Felix Frida George Greta Hanna Hugo Ida Ivan Jonas Julia Karl Kira Lara Leon
    Lucy Marco Maria Martin Nadia Nina Oscar Paul Petra Robert Rosa Sara Simon Sofia Stella Teresa Thomas Victor
    Vera Walter""".split()
)
PEOPLE = tuple(
    """badger baker barber beaver boy bunny butcher camel cat clown cobbler cousin cow crab dancer deer dentist dog
    doctor donkey dragon duck falcon farmer ferret fox frog gardener girl goat goose guard hamster hen horse
    hunter judge king kitten knight lamb lion lizard mayor miner monk monkey mouse neighbour nun nurse panda
    parrot pilot pirate plumber poet pony prince puppy queen rabbit raccoon sailor seal sheep shepherd singer
    soldier spider squirrel swan tailor tiger toad turtle waiter whale witch wizard wolf zebra""".split()
)
"""Living things: they can act, be acted on and be given something."""
THINGS = tuple(
    """bagel ball balloon banana biscuit blanket book bottle broom brush bun button cake candle carrot cherry coin
    cookie cup dress drum feather flag flower flute fork gift glove guitar hammer hat jacket jar jewel key kite
    knife ladder lamp lemon letter map medal melon mirror mug muffin necklace noodle paper peach pear pen pencil
    pie pillow pizza plate potato pumpkin purse puzzle ribbon ring rope rose sandwich sausage scarf shell shirt
    shoe sock spoon statue sword tomato torch towel toy trophy vase violin whistle""".split()
)
"""Lifeless things: something is done to them."""
PLACES: Mapping[str, tuple[str, ...]] = {
    "in": tuple(
        """bag bakery barn basket bathtub box bucket cabin cage car castle cave cellar cupboard drawer fridge garage
        garden hall hut kitchen library museum nest palace pantry park prison room school shed shop stable suitcase tent
        tower tunnel village wagon""".split()
    ),
    "on": tuple(
        """balcony bed bench boat bridge carpet chair cloud couch counter deck desk floor hill mat pier platform porch
        raft rock roof rug sheet shelf sled sofa stage stool stump surfboard table throne tray tricycle""".split()
    ),
    "beside": tuple(
        """bush canal cliff column door fence fireplace fountain gate gravestone haystack hedge lake lamppost lighthouse
        mailbox monument pillar piano pond pyramid river road signpost stove stream sunflower swamp telescope tree
        volcano wall waterfall well windmill window""".split()
    ),
}
"""Preposition -> the nouns that follow it."""

_VERBS = {
    "omissible": """bake baked, clean cleaned, cook cooked, draw drew drawn, drink drank drunk, eat ate eaten,
        hunt hunted, juggle juggled, knit knitted, paint painted, scrub scrubbed, sketch sketched, study studied,
        sweep swept, wash washed, weave wove woven""",
    "transitive": """admire admired, bless blessed, carry carried, catch caught, chase chased, choose chose chosen,
        discover discovered, examine examined, fetch fetched, find found, greet greeted, hide hid hidden, hold held,
        inspect inspected, kick kicked, lift lifted, lose lost, poke poked, praise praised, protect protected,
        pull pulled, push pushed, rescue rescued, see saw seen, squeeze squeezed, steal stole stolen,
        take took taken, tickle tickled, touch touched, visit visited, watch watched""",
    "causative": """bend bent, break broke broken, burn burned, crack cracked, crumple crumpled, double doubled,
        float floated, freeze froze frozen, grow grew grown, improve improved, inflate inflated, melt melted,
        redden reddened, roll rolled, shake shook shaken, shatter shattered, shrink shrank shrunk, slide slid,
        snap snapped, spin spun, stretch stretched, tear tore torn""",
    "unergative": """blush blushed, cough coughed, cry cried, dance danced, frown frowned, gasp gasped,
        giggle giggled, jog jogged, jump jumped, kneel knelt, laugh laughed, nap napped, scream screamed,
        sing sang sung, skate skated, sleep slept, smile smiled, sneeze sneezed, snore snored, stumble stumbled,
        swim swam swum, walk walked, wander wandered, yawn yawned""",
    "dative": """bring brought, feed fed, give gave given, hand handed, lend lent, mail mailed, offer offered,
        pass passed, pay paid, post posted, promise promised, sell sold, send sent, serve served, show showed shown,
        throw threw thrown, toss tossed""",
    "embedding": """believe believed, claim claimed, confess confessed, declare declared, dream dreamed,
        fear feared, feel felt, forget forgot forgotten, guess guessed, hear heard, hope hoped, imagine imagined,
        know knew known, mean meant, notice noticed, prove proved, realise realised, remember remembered,
        repeat repeated, say said, suspect suspected, think thought, whisper whispered, wish wished,
        write wrote written""",
    "control": """attempt attempted, decide decided, hesitate hesitated, need needed, plan planned,
        prefer preferred, refuse refused, struggle struggled, try tried, want wanted""",
}
"""Kind -> its verbs: lemma, past and, where it differs, participle."""

ACTIVE, PASSIVE = "{agent} {past} {theme}", "{theme} was {participle}"
THAT, TO, INFINITIVE = "{agent} {past} that", "{agent} {past} to", "{lemma}"
_DROPPED = "{agent} {past}"
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "omissible": (ACTIVE, _DROPPED, PASSIVE, f"{PASSIVE} by {{agent}}"),
    "transitive": (ACTIVE, PASSIVE, f"{PASSIVE} by {{agent}}"),
    "causative": (ACTIVE, "{theme} {past}", PASSIVE, f"{PASSIVE} by {{agent}}"),
    "unergative": (_DROPPED,),
    "dative": (
        f"{ACTIVE} to {{recipient}}",
        "{agent} {past} {recipient} {theme}",
        f"{PASSIVE} to {{recipient}}",
        f"{PASSIVE} to {{recipient}} by {{agent}}",
        "{recipient} was {participle} {theme}",
        "{recipient} was {participle} {theme} by {agent}",
    ),
    "embedding": (THAT,),
    "control": (TO,),
}
"""Kind of verb -> its sentences. The first noun phrase is the subject; before ``that`` and ``to`` a frame follows."""
CLOSING = ("omissible", "transitive", "causative", "unergative", "dative")
"""Kinds of verbs that can end a sentence."""
TRANSITIVE = ("omissible", "transitive", "causative")
"""Kinds of verbs with an agent that does something to a theme, and with a passive."""
_LINKS = {THAT: "CCOMP", TO: "XCOMP"}


class Verb(NamedTuple):
    """A verb: ``eat``, ``ate``, ``eaten``."""

    lemma: str
    past: str
    participle: str


class Translation(NamedTuple):
    """An English sentence and its chain-structured form."""

    sentence: str
    form: str


@dataclass(slots=True)
class Frame:
    """A clause in the making.

    Attributes:
        verb: Of the clause.
        template: One of `TEMPLATES` or ``INFINITIVE``.
        slots: Role -> its noun phrase in English: ``the cat in a box``.
    """

    verb: Verb
    template: str
    slots: dict[str, str] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the template names, in the order of the English sentence."""
        return _roles(self.template)

    @property
    def text(self) -> str:
        """The clause in English."""
        return self.template.format(**self.verb._asdict(), **self.slots)


Sentence: TypeAlias = "list[Frame]"


@functools.cache
def _roles(template: str) -> tuple[str, ...]:
    return tuple(re.findall("|".join(ROLES), template))


@functools.cache
def verbs(*kinds: str) -> tuple[Verb, ...]:
    """Return the verbs of some kinds."""
    entries = [entry.split() for kind in kinds for entry in _VERBS[kind].split(",")]
    return tuple(Verb(lemma, past, (rest or [past])[0]) for lemma, past, *rest in entries)


@functools.cache
def kind_of(verb: Verb) -> str:
    """Return the kind of a verb; no verb is of two."""
    return next(kind for kind in _VERBS if verb in verbs(kind))


def translation(sentence: Iterable[Frame]) -> Translation:
    """Return what a sentence is in English and in its chain-structured form."""
    frames = list(sentence)
    text = " ".join(frame.text for frame in frames)
    return Translation(f"{text[0].upper()}{text[1:]} .", write(chain(frames)))


def chain(sentence: Iterable[Frame]) -> Chain:
    """Return the clauses of a sentence."""
    clauses, link = [], ""
    for frame in sentence:
        slots = {role: phrase_of(text) for role, text in frame.slots.items()}
        clauses.append(Clause(frame.verb.lemma.upper(), **slots, link=link))
        link = _LINKS.get(frame.template, "")
    return tuple(clauses)


def phrase_of(text: str) -> Phrase:
    """Return the phrase of a noun phrase in English."""
    return tuple(word.upper() for word in text.split() if word not in {"a", "the"})


def with_article(noun: str, dice: Dice) -> str:
    """Return a noun with an article before it, a name as it is."""
    return noun if noun[0].isupper() else f"{dice.choose(('a', 'the'))} {noun}"


def placed(text: str, place: tuple[str, str], dice: Dice) -> str:
    """Return a noun phrase with a place after it, such as ``("in", "box")``."""
    return f"{text} {place[0]} {with_article(place[1], dice)}"


def any_place(dice: Dice) -> tuple[str, str]:
    """Return a preposition and a noun that goes with it."""
    how = dice.choose(tuple(PLACES))
    return how, dice.choose(PLACES[how])
