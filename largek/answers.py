"""From sampled tokens to the text of an answer: tags of thoughts stay in it, and it ends before a stop string."""

from collections.abc import Sequence
from itertools import groupby

from largek.thoughts import tags_among


def before(text: str, stop: Sequence[str]) -> str | None:
    """What stands before the first stop string in a text; None if there is none in it."""
    places = [place for each in stop if (place := text.find(each)) >= 0]
    return text[: min(places)] if places else None


class Reader:
    """Reads the tokens of a tokenizer as texts, and finds out where answers end."""

    def __init__(self, tokenizer, stop: Sequence[str] = ()):
        self.tokenizer, self.stop = tokenizer, stop
        added = tokenizer.added_tokens_decoder
        self.tags = tags_among({number: token.content for number, token in added.items() if token.special})

    def texts(self, rows: list[list[int]]) -> list[str]:
        """The rows as texts without special tokens, but with tags of thoughts, or a thought would be an answer."""
        if not self.tags:
            return self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        found = []
        for ids in rows:
            runs = [(tag, list(run)) for tag, run in groupby(ids, key=self.tags.get)]
            words = iter(self.tokenizer.batch_decode([run for tag, run in runs if not tag], skip_special_tokens=True))
            found.append("".join(tag * len(run) if tag else next(words) for tag, run in runs))
        return found

    def size(self, ids: list[int]) -> int | None:
        """The number of tokens with which a stop string is there; None if there is none. Stop strings and characters
        may be spread over several tokens, so texts are read whole."""

        def stopped(number: int) -> bool:
            return before(self.texts([ids[:number]])[0], self.stop) is not None

        if not stopped(len(ids)):
            return None
        less, enough = 0, len(ids)
        while enough - less > 1:
            middle = (less + enough) // 2
            less, enough = (less, middle) if stopped(middle) else (middle, enough)
        return enough
