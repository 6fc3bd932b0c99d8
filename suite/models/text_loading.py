"""Text models and tokenizers from a local folder, the hub or a configuration alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from suite.errors import EnvironmentProblem, Missing, UsageError
from suite.files import refuse_pointers
from suite.models.encoder import TextModel, check_family, text_model
from suite.models.folder_types import check_types
from suite.models.outputs import output_order as by_names

T = TypeVar("T")

DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
    StrictDataclassError,
    SafetensorError,
    UnpicklingError,
)
"""What transformers raises for files that are missing, damaged or of no known model."""

HEAD = ("classifier", "pooler", "out_proj")
"""Parts that a checkpoint of the bare encoder may lack; they are initialised here."""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Files of which a folder with a tokenizer has at least one."""


def load_model(
    source: str | Path, classes: int, *, seed: int = 0, names: Sequence[str] = (), **options: Any
) -> TextModel:
    """A sequence classifier with empty slots from a folder in transformers' layout or a hub id.

    classes: number of outputs (1: a rating). A checkpoint without a head gets one that is drawn
    with `seed`; the global generator is left alone. names: the task's classes; the outputs of a
    checkpoint that names its own are put into their order. options go to the family's placement.
    Weights are float32, on the CPU, from safetensors where there are any; code that a checkpoint
    brings along is never run. Raises UsageError for a model that has not the expected places or
    another number of outputs, EnvironmentProblem for a damaged one, Missing for one not here.
    """
    from transformers import AutoModelForSequenceClassification

    config = load_config(source)
    check_family(config.model_type)
    folder = _folder(source)
    if folder:
        check_types(folder)
    classes = classes or config.num_labels
    loaded, report = _drawn(
        seed,
        lambda: _fetched(
            source,
            AutoModelForSequenceClassification.from_pretrained,
            num_labels=classes,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        ),
    )
    _check_outputs(source, config, classes, report["mismatched_keys"])
    _check_complete(source, report["missing_keys"], report["mismatched_keys"])
    _check_finite(source, loaded)
    order = None if headless(report["missing_keys"]) else output_order(config, names, source)
    if order:
        _reorder(loaded, order)
    model = text_model(loaded, **options)
    model.output_order = order
    return model


def output_order(config: Any, names: Sequence[str], source: str | Path) -> list[int] | None:
    """`suite.models.outputs.output_order` of transformers' configuration; None without names."""
    return by_names(config.id2label, names, source) if names else None


def headless(lacking: Any) -> bool:
    """Whether the last layer is among the tensors that a checkpoint lacks: it is drawn then."""
    return any(key.startswith("classifier") for key in _names(lacking))


def _reorder(model: Any, order: list[int]) -> None:
    """Put the outputs of a sequence classifier into another order."""
    last = getattr(model.classifier, "out_proj", model.classifier)
    with torch.no_grad():
        last.weight.copy_(last.weight[order].clone())
        if last.bias is not None:
            last.bias.copy_(last.bias[order].clone())


def model_from_config(
    config: Mapping[str, Any], classes: int, *, seed: int = 0, **options: Any
) -> TextModel:
    """A randomly initialised classifier; config: `model_type` and transformers' own fields."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    fields = {**config, "num_labels": classes}
    made = AutoConfig.for_model(fields.pop("model_type"), **fields)
    build = AutoModelForSequenceClassification.from_config
    source = _drawn(seed, lambda: build(made, attn_implementation="eager", dtype=torch.float32))
    return text_model(source, **options)


def load_config(source: str | Path) -> Any:
    """transformers' configuration of a folder or hub id; errors as `load_model`."""
    from transformers import AutoConfig

    return _fetched(source, AutoConfig.from_pretrained)


def load_tokenizer(source: str | Path) -> Any:
    """The tokenizer of a folder or hub id, limited to the texts that its model takes.

    Raises Missing for a folder without one, UsageError for one of another model.
    """
    from transformers import AutoTokenizer

    folder = _folder(source)
    if folder and not any(any(folder.glob(pattern)) for pattern in TOKENIZERS):
        raise Missing(
            f"The folder {folder} holds no tokenizer (one of {', '.join(TOKENIZERS)}); save the "
            "model's own there with its save_pretrained."
        )
    config = load_config(source)
    tokenizer = _fetched(source, AutoTokenizer.from_pretrained)
    if len(tokenizer) > config.vocab_size:
        raise UsageError(
            f"The tokenizer of {source} knows {len(tokenizer)} tokens, but its model has "
            f"embeddings for {config.vocab_size}; use the tokenizer that belongs to the model."
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest_text(config))
    # Both texts of a pair are of one segment, whatever the tokenizer says of the second.
    tokenizer.one_segment = getattr(config, "type_vocab_size", 2) < 2
    return tokenizer


def longest_text(config: Any) -> int:
    """Tokens a text can have, special ones included; positions of RoBERTa skip the padding's."""
    counts_up = config.model_type in ("bert", "mobilebert")
    return int(config.max_position_embeddings - (0 if counts_up else config.pad_token_id + 1))


def wordpiece(vocabulary: Path, longest: int) -> Any:
    """A lower-casing WordPiece tokenizer like BERT's, from a file with one token a line.

    longest: tokens a text can have, special ones included.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {token: i for i, token in enumerate(read_vocabulary(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", known["[SEP]"]), ("[CLS]", known["[CLS]"])
    )
    special = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **special)


def read_vocabulary(path: Path) -> list[str]:
    """The tokens of a vocabulary file; it must be UTF-8 and hold BERT's special tokens."""
    try:
        tokens = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise Missing(
            f"The vocabulary {path} cannot be read ({problem}); name a UTF-8 file with one token "
            "a line."
        ) from problem
    lacking = set(SPECIAL) - set(tokens)
    if lacking or len(set(tokens)) != len(tokens):
        what = f"lacks {', '.join(sorted(lacking))}" if lacking else "holds a token twice"
        raise EnvironmentProblem(
            f"The vocabulary {path} {what}; name a WordPiece vocabulary with one token a line."
        )
    return tokens


def _drawn(seed: int, make: Callable[[], T]) -> T:
    """Call `make` with torch's generator at `seed`, and restore the generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _folder(source: str | Path) -> Path | None:
    """The folder that `source` names, or None for a hub id; raises Missing for a lost folder."""
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise Missing(
                f"The folder {path} has no config.json; name one in transformers' layout, as "
                "save_pretrained writes it."
            )
        return path
    text = str(source)
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise Missing(
            f"There is no folder {path}; name a folder in transformers' layout, or a hub id such "
            "as bert-base-uncased."
        )
    return None


def _fetched(source: str | Path, load: Any, **options: Any) -> Any:
    """What `load` gives for a folder, or for a hub id: from the cache, else from the hub."""
    folder = _folder(source)
    options["trust_remote_code"] = False
    with _quiet():
        if folder:
            return _read(folder, lambda: load(folder, local_files_only=True, **options))
        return _from_hub(str(source), load, options)


def _read(folder: Path, load: Callable[[], T]) -> T:
    try:
        return load()
    except ImportError as problem:
        raise Missing(
            f"The folder {folder} needs a package that is not installed "
            f"({_first_line(problem)}); install it, or save a fast tokenizer there "
            "(tokenizer.json)."
        ) from problem
    except DAMAGE as problem:
        refuse_pointers(folder.iterdir())
        raise EnvironmentProblem(
            f"The folder {folder} cannot be loaded ({_first_line(problem)}); it must hold a "
            "sequence classifier or encoder in transformers' layout, as save_pretrained writes it."
        ) from problem


def _from_hub(name: str, load: Any, options: dict[str, Any]) -> Any:
    try:
        try:
            return load(name, local_files_only=True, **options)
        except OSError:
            return load(name, **options)
    except DAMAGE as problem:
        raise Missing(
            f"The model {name} cannot be had from the hub ({_first_line(problem)}); download it on "
            "a machine that reaches the hub and name the folder, or correct the name."
        ) from problem


def _check_outputs(source: str | Path, config: Any, classes: int, mismatched: Any) -> None:
    """A head that the checkpoint brings must have as many outputs as the task."""
    if any(_of_head(key) for key in _names(mismatched)):
        raise UsageError(
            f"The model {source} has {config.num_labels} outputs, but the task needs {classes}; "
            f"name a checkpoint that was trained for {classes}, or an encoder without a head."
        )


def _check_complete(source: str | Path, lacking: Any, mismatched: Any) -> None:
    body = sorted(key for key in _names([*lacking, *mismatched]) if not _of_head(key))
    if body:
        raise EnvironmentProblem(
            f"The weights of {source} do not fit its config.json: {len(body)} tensors of the "
            f"encoder are missing or misshapen (first: {body[0]}); copy config and weights again "
            "from one place."
        )


def _names(keys: Any) -> list[str]:
    """Names of tensors from a report of transformers, where some come with their shapes."""
    return [key if isinstance(key, str) else key[0] for key in keys]


def _of_head(key: str) -> bool:
    return any(part in key for part in HEAD)


def _check_finite(source: str | Path, model: Any) -> None:
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise EnvironmentProblem(
                f"The weights of {source} hold NaN or infinity in {name}; nothing can be "
                "calibrated with them: copy or train them again."
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep reports and progress bars of transformers and the hub off the terminal, for a while."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging

    level, hub_level, bars = (
        logging.get_verbosity(),
        hub.get_verbosity(),
        logging.is_progress_bar_enabled(),
    )
    logging.set_verbosity_error()
    hub.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        hub.set_verbosity(hub_level)
        if bars:
            logging.enable_progress_bar()


def _first_line(problem: BaseException) -> str:
    text = str(problem).strip().splitlines()
    return text[0][:160] if text else type(problem).__name__
