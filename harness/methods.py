"""What modifies a model: one class that holds a method's options, what it does to a model, and what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from . import budgets
from .arguments import shown, words
from .errors import MissingArgument, UserError
from .specs import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

    from .execution import Execution
    from .measure.work import Work
    from .registry import Entry
    from .specs import Call, Value
    from .transformer import Architecture

Budget: TypeAlias = Annotated[float, AfterValidator(budgets.checked)]
"""The field of a method that takes a budget: ``budget: Budget = 1.0``, where 1.0 is what it spends if none is said."""

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**64)]
"""The field of a method that draws: ``seed: Seed = 0``. No generator takes a larger one."""

Stage: TypeAlias = Literal["images", "vision", "language", "weights"]
"""Where a method acts: on the images, between vision tower and language model, in the language model, or on the weights
that all of these run with."""
STAGES: tuple[Stage, ...] = get_args(Stage)


class Method(BaseModel):
    """One way to modify a model.

    A subclass declares its options as fields: type, default and range (pydantic's ``Field``), and below it a docstring
    that says what it means. They are checked before anything loads, by every command in the same words. A field
    ``budget`` is set to the number after ``@`` in a spec, a field ``seed`` the run's seed unless the spec says another.

    A method without `leaves` can be run, and its cost is measured. One without `apply` can be priced only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    stage: ClassVar[Stage] = "language"
    size_options: ClassVar[tuple[str, ...]] = ()
    """Options that say how many visual tokens it leaves; none if it leaves them all, or as many as it finds."""

    def apply(self, model: Any) -> Any:  # noqa: ARG002 - this is the default
        """Return the modified model; the given one stays as it is.

        Args:
            model: It offers what the method's card says that the method needs.

        Raises:
            UserError: An option does not suit this model.
        """
        raise UserError("it can be priced, not run", todo="use `adaptbench cost`, or leave it out")

    def leaves(self, work: Work) -> Work:  # noqa: ARG002 - this is the default
        """Return what is left of one prompt's work. It must agree with what `apply` makes the model run.

        Raises:
            UserError: An option does not suit this architecture.
        """
        raise UserError("it has no cost model", todo="run it: its cost is measured")

    def sized(self, share: float, visual: int, depth: int) -> Mapping[str, Value]:  # noqa: ARG002 - of equal blocks
        """Return what the ``size_options`` are for a share of the visual tokens to be left where it leaves fewest.

        The more is asked, the more must be left. By default the first of these options is their number.

        Args:
            share: Above 0, at most 1.
            visual: Visual tokens that it is given, of an image for a method between tower and language model.
            depth: Blocks of the language model.
        """
        return {self.size_options[0]: max(1, round(share * visual))}

    def for_base(self, factory: object) -> Self:  # noqa: ARG002 - most methods take every base alike
        """Return the method with options resolved that name something of the base, such as a checkpoint it ships.

        Not called for an architecture, which has no weights.

        Args:
            factory: Of the base; see `harness.abilities` for what it may tell.
        """
        return self

    def switched_on(self) -> Self:
        """Return the same method with everything on: what a budget is a share of."""
        return self.model_copy(update={"budget": 1.0}) if "budget" in type(self).model_fields else self

    def fingerprint(self) -> str:
        """Identify what it does, such as by the weights of its checkpoint; its options are known anyway.

        Empty for a method that its source code and the files that its options name say all about.
        """
        return ""

    @classmethod
    def has_cost_model(cls) -> bool:
        """Whether it can be priced without being run."""
        return cls.leaves is not Method.leaves

    @classmethod
    def can_run(cls) -> bool:
        """Whether it can be run, rather than only priced."""
        return cls.apply is not Method.apply


class Selector(Method):
    """A method that leaves fewer visual tokens between vision tower and projector, image by image.

    Compared by its options, as all methods are: models whose selectors are equal share what they computed of an image.
    One that ``asks`` chooses by the question; what it leaves is shared by prompts of equal image and question only.
    """

    stage = "vision"
    asks: ClassVar[bool] = False
    """Whether it is called with the questions too: ``selector(llava, pixels, questions)``, one text per image."""

    def __call__(self, llava: Any, pixels: Any) -> Any:
        """Return for each image the features, [n, width], that the projector is given.

        An image must give the same features alone and among others, so take no statistic over a batch.

        Args:
            llava: The transformers model.
            pixels: [images, 3, h, w].
        """
        raise NotImplementedError

    def kept(self, given: int) -> int:  # noqa: ARG002 - this is the default
        """Return how many visual tokens are left of an image that has ``given``.

        Raises:
            UserError: An option does not fit that number.
        """
        raise UserError("it has no cost model", todo="run it: its cost is measured")

    def flops(self, model: Architecture, left: int) -> int:  # noqa: ARG002 - this is the default
        """Return the FLOPs of choosing, of one image: of matrix products; 0 for those that do not count them.

        Args:
            model: With the visual tokens, patches and tiles of the image.
            left: Visual tokens that are left of the image.
        """
        return 0

    def choosing(self, model: Architecture, left: int) -> int:
        """Return `flops`, or 0 for a model of whose tower too little is known."""
        return self.flops(model, left) if model.vision is not None and model.vision.merged else 0

    def tower(self, model: Architecture) -> Execution | None:  # noqa: ARG002 - this is the default
        """Return what runs of the vision tower for one image, for a selector that acts inside it; else ``None``."""
        return None

    def apply(self, model: Any) -> Any:
        """Return the model with this selector."""
        return model.with_selector(self)

    def leaves(self, work: Work) -> Work:
        """Return the work on a shorter prompt."""
        left = self.kept(work.image_tokens)
        return work.with_visual_tokens(work.images * left).selecting(work.images * self.choosing(work.model, left))

    @classmethod
    def has_cost_model(cls) -> bool:
        """Whether it says how many tokens it keeps."""
        return cls.kept is not Selector.kept


def bind(entry: Entry, call: Call, **offered: Any) -> Method:
    """Return a method with its options.

    Args:
        entry: The registered method.
        call: As the user wrote it; its target is the first option, if that one must be given.
        offered: ``seed`` and ``budget``, for methods that have such a field, unless the user gave it.

    Raises:
        UserError: It is not a `Method`, or an option is unknown, missing, of the wrong type or out of range.
    """
    where, kind = f"method {call}", method_class(entry)
    given = {name: value for name, value in offered.items() if name in kind.model_fields} | dict(call.args)
    if call.target is not None:
        first, field = next(iter(kind.model_fields.items()), ("", None))
        if field is None or not field.is_required() or first in given:
            what = f"{call.name!r} takes nothing after ':', nor a value without a name"
            raise UserError(what, where=where, todo="write name=value")
        given[first] = call.target
    try:
        return kind(**given)
    except ValidationError as error:
        raise readable(error, kind, where) from error
    except UserError as error:
        raise type(error)(error.what, where=where, todo=error.todo) from error


def method_class(entry: Entry) -> type[Method]:
    """Import a registered method's class.

    Raises:
        UserError: It is not a subclass of `Method`, its card and its fields disagree about a budget, or its
            ``size_options`` are not names, or lack where it has a `sized`.
    """
    kind, where, todo = entry.factory(), f"method {entry.name!r}", f"fix plugin {entry.owner!r}"
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise UserError("it is not a subclass of adaptbench.Method", where=where, todo=todo)
    if entry.card.takes_budget != ("budget" in kind.model_fields):
        told = "takes a budget, but it has no field" if entry.card.takes_budget else "takes none, but it has a field"
        raise UserError(f"its card says that it {told} 'budget'", where=where, todo=todo)
    if not isinstance(kind.size_options, tuple):
        raise UserError(f"size_options is not a tuple: {kind.size_options!r}", where=where, todo=todo)
    if kind.sized is not Method.sized and not kind.size_options:
        raise UserError("it has sized, but no size_options, the options that this returns", where=where, todo=todo)
    return kind


def options(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """The options that a spec may give in parentheses: all fields but the budget."""
    return {name: field for name, field in kind.model_fields.items() if name != "budget"}


def expects(field: FieldInfo) -> str:
    """Say in words which values an option takes, such as "a whole number of at least 1"."""
    bounds = [
        f"{word} {'2^64' if getattr(rule, name) == 2**64 else format(getattr(rule, name), 'g')}"
        for name, word in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
        for rule in field.metadata
        if getattr(rule, name, None) is not None
    ]
    kinds = words(field.annotation)
    return f"{kinds} {'of ' if bounds[0].startswith('at') else ''}{' and '.join(bounds)}" if bounds else kinds


def meaning(name: str, field: FieldInfo) -> str:
    """Say what an option means, such as "keep: how many visual tokens of each image are kept"."""
    text = " ".join((field.description or "").split()).rstrip(".")
    return f"{name}: {text[0].lower()}{text[1:]}" if text else ""


def check_one_given(method: Method, one: str, other: str) -> None:
    """Refuse two options that say the same, where both are given.

    Raises:
        UserError: They are; ``None`` and an empty text give nothing.
    """
    given = [
        name for name in (one, other) if name in method.model_fields_set and getattr(method, name) not in (None, "")
    ]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} say the same", todo="give one of the two")


def readable(error: ValidationError, kind: type[BaseModel], where: str) -> UserError:
    """Return the first thing that pydantic finds wrong with options, in one line.

    Args:
        error: What it found.
        kind: The class whose fields they are.
        where: What the message is about.
    """
    found, known = error.errors(include_url=False)[0], options(kind)
    name = str(found["loc"][0]) if found["loc"] else ""
    if found["type"] == "extra_forbidden":
        takes = f"it takes {', '.join(known)}" if known else "it takes no options"
        return UserError(f"unknown argument {name!r}{did_you_mean(name, known)}", where=where, todo=takes)
    if name == "budget":
        return MissingArgument("argument 'budget' is missing", where=where, todo="write it after '@', as in @0.5")
    if name not in known:
        return UserError(str(found["msg"]), where=where)
    if found["type"] == "missing":
        return MissingArgument(
            f"argument {name!r} is missing", where=where, todo=f"write {name}={expects(known[name])}"
        )
    what = f"{name} must be {expects(known[name])}, not {shown(found['input'])}"
    return UserError(what, where=where, todo=meaning(name, known[name]))
