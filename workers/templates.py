"""Templates of prompts, in a sandbox: what they may do, and how what they are given is kept apart from their own words.

Jinja's own sandbox keeps a template from the machine. This one is narrower: names are looked up in what was given and
nowhere else, no methods are called, the filters are a short list, loops and sizes have bounds. And whatever a template
puts out that is not its own text stands in a block of its own, escaped; no filter undoes that, because it is done to
the compiled expression, after all of them.
"""

import re
import traceback
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from jinja2 import ChainableUndefined, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARS = 64 << 10  # of what comes out
MAX_ROUNDS = 2000  # of all loops together
MAX_RANGE = 1000
MAX_DIGITS = 15  # to which a number is rounded: the filter raises ten to their power
MAX_NUMBER = 10**18  # by which no text can be repeated, and no power be raised

ALLOWED = (
    *("abs", "capitalize", "d", "default", "dictsort", "first", "float", "int", "items", "join", "last", "length"),
    *("list", "lower", "max", "min", "round", "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper"),
    *("count", "e", "escape", "safe"),  # the last three change nothing: a block is escaped in any case
)
FOREIGN = (
    *(nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock),
    *(nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block),
    nodes.ScopedEvalContextModifier,  # it escapes what stands around a value too, and so undoes the block
)
WORDS: dict[type[nodes.Node], str] = {
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter",
    nodes.AssignBlock: "set … endset",
    nodes.FromImport: "from",
    nodes.ScopedEvalContextModifier: "autoescape",
}
ROUND = "__round"  # in a template's context: counts a loop's round

GIVEN = ("extra", "metadata", "call", "language", "call_id", "model")  # what a template can name
ITS_OWN = ("range", "loop")

NAMES = ("<template>", "<unknown>")  # Jinja's, of a template that is no file

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn"}  # categories of characters that nobody sees, but a model reads
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]")
"""Of other categories, but nobody sees them either: fillers, and variation selectors but the one that emoji have."""
SEEN = "\n\t\u200c\u200d"  # those of them that texts need: Persian and emoji have joiners

Rendered = Callable[[Mapping[str, Any]], str]


class TemplateError(Exception):
    """A template that cannot be one. `line` counts from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def line_of(error: Exception) -> int:
    """Where in a template something went wrong: Jinja writes its lines into tracebacks."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 1 for frame in reversed(frames) if frame.filename in NAMES), 1)


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=ChainableUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
        self.filters = {name: FILTERS[name] for name in ALLOWED}
        self.filters |= {"escape": str, "e": str, "safe": str, "round": _rounded}
        self.globals = {"range": _range}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A value's own entries; attributes only of a loop."""
        if isinstance(obj, LoopContext):
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An entry by its name, an item by its number."""
        if isinstance(obj, Undefined):
            return obj
        if isinstance(obj, dict) and isinstance(argument, str):
            return obj.get(argument, self.undefined(obj=obj, name=argument))
        if isinstance(obj, list | tuple | str) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(obj=obj, name=argument)

    def is_safe_callable(self, obj: Any) -> bool:
        """Only what a template is given to call."""
        return obj is _range or isinstance(obj, _Rounds)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Numbers alone, and no large ones."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or not numbers or abs(left) * abs(right) > MAX_NUMBER:
            raise SecurityError(f"{operator} is for small numbers here")
        return super().call_binop(context, operator, left, right)


class _Rounds:
    """Counts."""

    def __init__(self) -> None:
        self._left = MAX_ROUNDS

    def __call__(self) -> str:
        self._left -= 1
        if self._left < 0:
            raise SecurityError(f"more than {MAX_ROUNDS} rounds")
        return ""


def _range(*given: int) -> range:
    numbers = range(*given)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range is for {MAX_RANGE} numbers at most")
    return numbers


def _rounded(value: Any, precision: int = 0, method: str = "common") -> Any:
    if not -MAX_DIGITS <= precision <= MAX_DIGITS:
        raise SecurityError(f"round is for {MAX_DIGITS} digits at most")
    return FILTERS["round"](value, precision, method)


def compiled(source: str) -> Rendered:
    """What renders a template. What renders raises whatever goes wrong in it.

    Raises:
        TemplateError: it cannot be read, or does what no prompt may.
    """
    sandbox = _Sandbox()
    sandbox.filters["__block"] = _block
    try:
        tree = sandbox.parse(source)
        for node in tree.find_all(FOREIGN):
            word = WORDS.get(type(node), type(node).__name__.lower())
            raise TemplateError(node.lineno, f"{{% {word} %}} is not for prompts")
        _refuse_unknown_names(tree)
        _refuse_what_fails_on_data(tree)
        _keep_apart(tree)
        template = sandbox.from_string(tree)
    except TemplateSyntaxError as error:
        raise TemplateError(error.lineno, (error.message or "it is no template").rstrip(".")) from None
    except RecursionError:
        raise TemplateError(1, "it is nested too deeply") from None

    def render(given: Mapping[str, Any]) -> str:
        parts: list[str] = []
        chars = 0
        for part in template.generate({**given, ROUND: _Rounds()}):
            parts.append(part)
            chars += len(part)
            if chars > MAX_CHARS:
                raise SecurityError(f"more than {MAX_CHARS} characters")
        return "".join(parts).strip()

    return render


def _refuse_unknown_names(tree: nodes.Template) -> None:
    """A name that nothing is ever given for, and that the template does not set: its value would be missed in calls."""
    names = list(tree.find_all(nodes.Name))
    known = {*GIVEN, *ITS_OWN} | {name.name for name in names if name.ctx != "load"}
    for name in names:
        if name.name not in known:
            raise TemplateError(
                name.lineno, f"there is no {name.name!r}; write extra.{name.name}; known: {', '.join(GIVEN)}"
            )


def _refuse_what_fails_on_data(tree: nodes.Template) -> None:
    """Calls, powers, a loop as a value: where nothing is known of a call no loop runs, and nobody sees them fail."""
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise TemplateError(loop.lineno, "a recursive loop is not for prompts; write a loop for each level")
    for power in tree.find_all(nodes.Pow):
        raise TemplateError(power.lineno, "** is not for prompts; multiply")
    products: list[nodes.Mul | nodes.Mod] = [*tree.find_all(nodes.Mul), *tree.find_all(nodes.Mod)]
    for product in products:
        if _is_no_number(product.left) or _is_no_number(product.right):
            raise TemplateError(
                product.lineno, f"{product.operator} is for numbers here; write texts beside each other"
            )
    for call in tree.find_all(nodes.Call):
        if not (isinstance(call.node, nodes.Name) and call.node.name == "range"):
            raise TemplateError(call.lineno, f"{_called(call.node)}() is not for prompts; use {_instead(call.node)}")
    parts: list[nodes.Getattr | nodes.Getitem] = [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]
    whose = {id(part.node) for part in parts}
    for name in tree.find_all(nodes.Name):
        if name.name == "loop" and name.ctx == "load" and id(name) not in whose:
            raise TemplateError(name.lineno, "a loop has no value of its own; name what it has, as loop.index")


def _is_no_number(node: nodes.Node) -> bool:
    is_text = isinstance(node, nodes.Const) and isinstance(node.value, str)
    return is_text or isinstance(node, nodes.TemplateData | nodes.List | nodes.Tuple | nodes.Dict | nodes.Concat)


def _called(node: nodes.Node) -> str:
    is_loop = isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name) and node.node.name == "loop"
    name = _name_of(node) or "a call"
    return f"loop.{name}" if is_loop else name


def _instead(node: nodes.Node) -> str:
    return "loop.index and {% if %}" if _called(node).startswith("loop.") else "a filter, or the value's name alone"


def _keep_apart(tree: nodes.Template) -> None:
    """Have every expression that is put out end in a block, and every loop's rounds counted."""
    for output in tree.find_all(nodes.Output):
        output.nodes = [node if _is_own(node) else _in_block(node) for node in output.nodes]
    for loop in tree.find_all(nodes.For):
        call = nodes.Call(nodes.Name(ROUND, "load"), [], [], None, None)
        loop.body.insert(0, nodes.Output([call], lineno=loop.lineno))


def _is_own(node: nodes.Expr) -> bool:
    """The template's own words: text, a literal, or a choice between two of them."""
    if isinstance(node, nodes.CondExpr):
        return _is_own(node.expr1) and (node.expr2 is None or _is_own(node.expr2))
    return isinstance(node, nodes.TemplateData | nodes.Const)


def _in_block(node: nodes.Expr) -> nodes.Expr:
    name = nodes.Const(_name_of(node))
    return nodes.Filter(node, "__block", [name], [], None, None, lineno=node.lineno)


def _name_of(node: nodes.Node) -> str:
    """What an expression is about, for a reader: the last name of the first thing in it."""
    match node:
        case nodes.Getattr(attr=name):
            return name
        case nodes.Getitem(arg=nodes.Const(value=str(name))):
            return name
        case nodes.Name(name=name):
            return name
    return next((name for child in node.iter_child_nodes() if (name := _name_of(child))), "")


def _block(value: Any, name: str) -> str:
    """A value where nobody can take it for anything else; what is not there is nothing."""
    if value is None or isinstance(value, Undefined):
        return ""
    text = escaped(value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=_plain).decode())
    if not text:
        return ""
    label = escaped(name).replace('"', "&quot;")
    return f'<data name="{label}">{text}</data>' if label else f"<data>{text}</data>"


def _plain(value: Any) -> Any:
    """What JSON has no word for: something that is not there, or a row of values."""
    return None if isinstance(value, Undefined) else list(value)


def escaped(text: str) -> str:
    """Text without a tag in it, and without what nobody sees."""
    text = UNSEEN.sub("", text)
    if not text.isprintable():
        text = "".join(char for char in text if char in SEEN or unicodedata.category(char) not in HIDDEN)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
