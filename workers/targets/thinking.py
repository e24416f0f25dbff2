"""Thought apart from speech, where an upstream sends both as one text. Pure.

Reasoning models write `<think>…</think>` before their answer, some between its sentences too, and many a server passes
that on as content. Nobody wants to hear such a tag, nor what is in it, so none is ever said; not even a quoted one.

Some chat templates (of DeepSeek-R1, QwQ, Qwen3-Thinking) open the block in the prompt, so that only its end comes.
Until then such an answer looks like any other: the target has to be told, or the thought would be spoken.

A block's first end ends it, as in the reasoning parsers of vLLM: a model that opens a block which its template has
opened closes it once, and its answer must not be taken for thought.

Source: SGLang's page on its reasoning parser, issue 526 of deepseek-ai/DeepSeek-R1, issue 13125 of vllm-project/vllm.
"""

import re

MAX_SPACE = 64  # characters of white space that may precede a tag: some models never end it
WITHIN = r"\s{0,8}"  # before a tag's last character
TAG = re.compile(rf"\s{{0,{MAX_SPACE}}}(?ai:<(/?)think(?:ing)?{WITHIN}>)")
ANY_TAG = re.compile(rf"(?ai:<(/?)think(?:ing)?{WITHIN}>)")
END = re.compile(rf"(?ai:</think(?:ing)?{WITHIN}>)")
BEGUN = re.compile(rf"(?ai:</?(?:t|th|thi|thin|thinki|thinkin|think(?:ing)?{WITHIN})?)")  # what may become one


class Thinking:
    """Feed it content, take what is thought and what is said. What may yet become a tag is held back.

    `inside`: the answer begins in the middle of a thought. `is_data`: it is JSON, in which a tag after the beginning is
    a part of some string. White space around a block before the first word is no part of anything.
    """

    def __init__(self, *, inside: bool = False, is_data: bool = False) -> None:
        self.speaking = False  # the first word is there
        self.stray_end = False  # after it, a thought ended that never began
        self.at_end = False  # what was said last is one piece, and the end of what has come
        self._trims = inside  # a thought has: the white space after it goes with it
        self._inside = inside
        self._is_data = is_data
        self._blank = True  # nothing visible since the beginning, or since the last tag
        self._held = ""

    def plain(self, text: str) -> bool:
        """Whether it is said as it is, and need not come by here: nearly all of an answer, after its first word."""
        return self.speaking and not (self._inside or self._held) and ("<" not in text or self._is_data)

    @property
    def holding(self) -> bool:
        """Something may yet become a tag."""
        return bool(self._held)

    def push(self, text: str) -> tuple[str, str]:
        """What is known now to be thought, and what to be said."""
        if not (self._inside or self._held) and text[:1].isalnum():  # so nearly every answer begins
            self.speaking = True
        if self.speaking:
            self._held += text
            return self._between_words()
        self._held += text
        thought = ""
        while self._past_tags():
            if not self._inside:
                self.speaking = True
                more, said = self._between_words()
                return thought + more, said
            thought += self._to_its_end()
            if self._inside:
                break
        return thought, ""

    def flush(self) -> tuple[str, str]:
        """What was held back, in the same order: something else has come, or nothing will."""
        held, self._held = self._held, ""
        self.speaking |= not self._inside
        self.at_end = True
        return (held, "") if self._inside else ("", held)

    def told_apart(self) -> None:
        """The upstream sends a thought in a field of its own: its content does not begin in one."""
        self._trims = True
        if self._blank and not self._held:
            self._inside = False

    def _past_tags(self) -> bool:
        """Drop the tags that come next. Whether anything else has begun after them."""
        while self._blank:
            if self._trims:
                self._held = self._held.lstrip()
            if tag := TAG.match(self._held):
                self._pass(tag, inside=not tag[1])
            elif _may_become_tag(self._held):
                return False
            else:
                self._blank = False
        return True

    def _to_its_end(self) -> str:
        """The thought, as far as it is there; up to its end tag when that is."""
        held = self._held
        if end := END.search(held):
            self._pass(end, inside=False)
            return held[: end.start()]
        at = _certain(held)
        self._held = held[at:]
        return held[:at]

    def _between_words(self) -> tuple[str, str]:
        """After the first word: whole blocks apart, and what may yet become a tag held back."""
        if self._is_data:
            return "", self.flush()[1]
        thought = said = ""
        while tag := ANY_TAG.search(self._held):
            before, self._held = self._held[: tag.start()], self._held[tag.end() :]
            if self._inside:
                thought += before if tag[1] else before + tag[0]
                self._inside = not tag[1]
            else:
                said += before
                self.stray_end |= bool(tag[1])
                self._inside = not tag[1]
        at = _certain(self._held)
        rest, self._held = self._held[:at], self._held[at:]
        self.at_end = not (said or self._held or self._inside)
        return (thought + rest, said) if self._inside else (thought, said + rest)

    def _pass(self, tag: re.Match[str], *, inside: bool) -> None:
        self._held = self._held[tag.end() :]
        self._inside, self._blank = inside, True
        self._trims = True


def _may_become_tag(text: str) -> bool:
    begun = text.lstrip()
    return len(text) - len(begun) <= MAX_SPACE and (not begun or BEGUN.fullmatch(begun) is not None)


def _certain(text: str) -> int:
    """How many characters are no beginning of a tag."""
    at = text.rfind("<")
    return at if at >= 0 and BEGUN.fullmatch(text, at) else len(text)
