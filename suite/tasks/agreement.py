"""The task `agreement`: does an encoder give the same embeddings after quantization?"""

from __future__ import annotations

from dataclasses import replace

from suite.errors import Missing
from suite.models.sentence import Reading
from suite.tasks.base import DataOptions
from suite.tasks.snippets import sentences
from suite.tasks.text import encoder_for
from suite.tasks.texts import Texts, read_texts


class AgreementTask:
    """Compares a quantized encoder with its own FP32 embeddings on any texts; without --texts on
    the sentences of `snippets`."""

    name = "agreement"
    modality = "text"
    metric = "cosine"
    digits = 4
    reads_texts = True
    summary = "cosine and nearest-neighbour agreement of embeddings with FP32, on any text file"

    def missing(self, options: DataOptions) -> Missing | None:
        """The text file, when one was named and is not there."""
        if options.texts is None or options.texts.is_file():
            return None
        return Missing(f"There is no file {options.texts}; give a UTF-8 text file as --texts FILE.")

    def open(self, options: DataOptions) -> Texts:
        """Read, tokenise and check the texts."""
        named = options.texts
        reading = Reading() if options.reading is None else options.reading()
        texts = sentences() if named is None else read_texts(named)
        if options.own_length and reading.max_length:
            options = replace(options, max_length=reading.max_length)
        return Texts(
            [text.lower() for text in texts] if reading.lower else texts,
            encoder_for(self.name, options),
            source="snippets" if named is None else named.name,
            too_long=options.too_long,
            reading=reading,
        )


AGREEMENT = AgreementTask()
