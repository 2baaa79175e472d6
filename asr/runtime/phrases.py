"""Phrases that the caller expects: a bonus in beam search for each token of one, taken back where it stays unfinished.

A trie over the tokens of all phrases. While a hypothesis is inside one, each token earns its phrase's boost; at the
phrase's end, before a token that does not go on with the word, all of it is kept; where the hypothesis leaves the
phrase it is lost, but for what is also the beginning of another (Aho and Corasick 1975, as in k2's context graph). So
"Ann" earns nothing in "Annapolis", half a phrase earns nothing at all, and no token earns twice.

A phrase is known as it is written and with its first letter a capital, with a space before it or at the very start of
the text. Of the ways to cut it into tokens only the tokenizer's own is known, which nearly always is the decoder's.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asr.errors import OptionError

MOST_PHRASES = 1_000  # of one call
MOST_CHARACTERS = 20_000  # of all of them: the trie of as many takes a few megabytes, at worst some eighty
LONGEST_PHRASE = 100  # characters, as Google has it
BOOST = 1.5  # nats a token, where none is given
LARGEST_BOOST = 20.0


@dataclass(frozen=True)
class Phrase:
    """What is expected, and how much."""

    text: str
    boost: float = 0.0  # nats a token, up to LARGEST_BOOST; 0: BOOST

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST_PHRASE:
            raise OptionError(f"a phrase has at most {LONGEST_PHRASE} characters, but this one has {len(self.text)}")
        if not any(map(str.isalnum, self.text)):
            raise OptionError(f"a phrase holds at least one letter or figure, but this is {self.text!r}")
        if not 0 <= self.boost <= LARGEST_BOOST:
            raise OptionError(f"a boost is 0 (the server's choice) to {LARGEST_BOOST:g}, but this is {self.boost:g}")


def check(phrases: Sequence[Phrase]) -> None:
    """OptionError where there are too many."""
    size = sum(len(phrase.text) for phrase in phrases)
    if len(phrases) > MOST_PHRASES or size > MOST_CHARACTERS:
        raise OptionError(
            f"at most {MOST_PHRASES} phrases with {MOST_CHARACTERS} characters are boosted at once, "
            f"but these are {len(phrases)} with {size}"
        )


@dataclass(eq=False, slots=True)
class Node:
    """Some tokens of a phrase, from its first on. It grows while the trie is built, and never after."""

    depth: int = 0  # tokens
    gain: float = 0.0  # of the last one
    fresh: int = 0  # tokens since the last phrase's end among them, all where there is none
    hoped: float = 0.0  # of these
    ends: bool = False  # it is a whole phrase
    fail: "Node | None" = None  # the longest end of these that is the beginning of a phrase, too; None: there is none
    children: dict[int, "Node"] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PhrasePlace:
    """Where a hypothesis stands."""

    node: Node
    kept: float = 0.0  # for phrases that are finished


class Phrases:
    """The bonus of one call, shared by its segments."""

    def __init__(self, written: Iterable[tuple[Sequence[int], Sequence[int], float]], opens: NDArray[np.bool_]):
        """written  of each spelling: its tokens after a space, those at a text's start, its boost
        opens    (vocabulary,) whether a token begins anew rather than going on with a word
        """
        self.opens = opens
        self.root, self.first = Node(), Node()  # anywhere; before the first token, where a space may be missing
        self.most = 0.0
        for spaced, bare, boost in written:
            self.most = max(self.most, boost)
            self._add(self.root, spaced, boost)
            self._add(self.first, bare, boost)
        for start in (self.root, self.first):
            self._link(start)
        begins = {token: node.hoped for token, node in self.root.children.items()}
        self.begun = gains(begins)
        self.begun_first = gains(begins | {token: node.hoped for token, node in self.first.children.items()})

    def start(self) -> PhrasePlace:
        return PhrasePlace(self.first)

    def after(self, known: PhrasePlace, token: int) -> PhrasePlace:
        opens = bool(self.opens[token])
        kept = known.kept
        for node in suffixes(known.node):
            over = node.ends and opens
            if (child := node.children.get(token)) is not None:
                return PhrasePlace(child, kept + (node.hoped if over else 0.0))
            if over:
                kept += node.hoped
                break
        return PhrasePlace(self.root.children.get(token, self.root), kept)

    def so_far(self, known: PhrasePlace) -> float:
        return known.kept + known.node.hoped

    def at_end(self, known: PhrasePlace) -> float:
        return known.kept + self._finished(known.node)

    def changes(self, known: PhrasePlace, vocabulary: int) -> NDArray[np.float32]:
        """(vocabulary,) what each next token would change in so_far."""
        node = known.node
        finished = self._finished(node)
        made = np.full(vocabulary, -node.hoped, np.float32)
        if finished:
            opens = self.opens[:vocabulary]
            made[: len(opens)][opens] += finished
        tokens, more = self.begun_first if node is self.first else self.begun
        made[tokens] += more
        now = self.so_far(known)
        for suffix in suffixes(node):
            if suffix is self.first or suffix is self.root:
                continue
            for token in suffix.children:
                made[token] = self.so_far(self.after(known, token)) - now
        return made

    def _add(self, start: Node, tokens: Sequence[int], boost: float) -> None:
        node = start
        for token in tokens:
            node = node.children.setdefault(token, Node(node.depth + 1))
            node.gain = max(node.gain, boost)
        node.ends = True

    def _link(self, start: Node) -> None:
        """What each node hopes for and where it fails to, those with fewer tokens first (Aho and Corasick)."""
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for token, child in node.children.items():
                over = node.ends and bool(self.opens[token])
                child.fresh = 1 if over else node.fresh + 1
                child.hoped = child.gain + (0.0 if over else node.hoped)
                if node is not self.root:
                    lower = (one.children.get(token) for one in (*suffixes(node.fail), self.root))
                    child.fail = next((one for one in lower if one is not None and one.depth <= child.fresh), None)
                queue.append(child)

    def _finished(self, node: Node) -> float:
        """What is earned if the text, or the word, is over here."""
        return next((one.hoped for one in suffixes(node) if one.ends), 0.0)


def gains(by_token: Mapping[int, float]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    return np.array(list(by_token), np.intp), np.array(list(by_token.values()), np.float32)


def suffixes(node: Node | None) -> Iterator[Node]:
    """The node and those that it fails to."""
    while node is not None:
        yield node
        node = node.fail


def opening(pieces: Sequence[str]) -> NDArray[np.bool_]:
    """Of each token's text whether it begins anew: a space or a sign first. What is part of a character goes on."""
    return np.array([text != "" and not text[0].isalnum() for text in pieces], bool)


def spellings(
    phrase: Phrase, tokens_of: Callable[[str], Sequence[int]]
) -> Iterator[tuple[list[int], list[int], float]]:
    """Tokens of a phrase after a space and at a text's start, as it is written and with a capital."""
    text = " ".join(phrase.text.split())
    for written in dict.fromkeys((text, text[0].upper() + text[1:])):
        yield list(tokens_of(f" {written}")), list(tokens_of(written)), phrase.boost or BOOST
